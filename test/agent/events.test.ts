/** The event log as applications use it: slow readers, several readers, acknowledgements, restarts, a bound. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ackEvents } from '../../src/agent/acknowledge.js'
import { type AgentContext, silentLogger } from '../../src/agent/context.js'
import { type Agent, type AgentEvent, openAgent } from '../../src/agent/index.js'
import { Publisher } from '../../src/agent/publisher.js'
import type { Runtime } from '../../src/runtime/runtime.js'
import { rcvMessages } from '../../src/store/agent/messages.js'
import { eventAcks, eventConsumers, events } from '../../src/store/eventLog.js'
import { put, remove } from '../../src/store/index.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { beforeCommits, brokenDisk, commitGate } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

const acks = (): number => world.router.all('ACK').length
const messagesOf = (agent: TestAgent) => agent.events.flatMap(event => (event.type === 'MSG' ? [event] : []))
const restart = async (agent: TestAgent, options: Parameters<ScriptedWorld['start']>[1] = {}): Promise<TestAgent> =>
  world.start(agent.name, { store: { open: agent.crash() }, ...options })

/** Reads events by call, so that the test decides when. */
const read = async (agent: Agent, consumer = 'default', after = 0): Promise<AgentEvent[]> =>
  (await agent.readEvents({ consumer, after })).events as AgentEvent[]

describe('B54 lock, commit, release, then notify', () => {
  it('B54 with the log full, a reader that needs the same connection for every event, and messages both ways, everything moves', async () => {
    alice = await world.start('alice', { config: { maxUnreadEvents: 2 } })
    const bob = await world.start('bob')
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    await alice.agent.ackEvents({ upTo: 1_000 })
    const bodies = Array.from({ length: 30 }, (_, index) => `message ${index}`)
    for (const body of bodies) void bob.agent.sendMessage({ connectionId: joinerId, body })
    await world.clock.advance(5_000)
    expect(messagesOf(alice).length).toBeLessThanOrEqual(2)
    // The reader answers each message on the same connection, and acknowledges only then.
    const answered: string[] = []
    const reading = (async () => {
      for await (const event of alice.agent.events()) {
        if (event.type === 'MSG') {
          await alice.agent.sendMessage({ connectionId: initiatorId, body: `re: ${textOf(event.body)}` })
          answered.push(textOf(event.body))
        }
        await alice.agent.ackEvents({ cursor: event.cursor })
        if (answered.length === bodies.length) return
      }
    })()
    await world.until(() => answered.length === bodies.length, 'every message answered')
    await reading
    expect(answered).toEqual(bodies)
    for (const body of bodies) {
      const answer = await bob.next('MSG', joinerId)
      expect(textOf(answer.body)).toBe(`re: ${body}`)
      await bob.agent.ackMessage({ connectionId: joinerId, messageId: answer.messageId })
    }
  })

  it('B54 a reader that never reads holds up no call, no delivery and no other connection', async () => {
    alice = await world.start('alice')
    const first = await world.befriend(alice)
    const second = await world.befriend(alice)
    const stalled = alice.agent.events({ consumer: 'stalled' })[Symbol.asyncIterator]()
    await stalled.next()
    for (let index = 0; index < 20; index++) {
      await alice.agent.sendMessage({ connectionId: first.connectionId, body: `${index}` })
      await second.peer.say(`${index}`)
      const { messageId } = await alice.next('MSG', second.connectionId)
      await alice.agent.ackMessage({ connectionId: second.connectionId, messageId })
      await alice.next('SENT', first.connectionId)
      await alice.agent.ackMessage({ connectionId: second.connectionId, messageId, consumer: 'stalled' })
    }
    await stalled.return?.(undefined)
  })

  it('B54 an event is told and a call answered only after the commit; the locks are free by then', async () => {
    alice = await world.start('alice')
    const friend = await world.befriend(alice)
    const gate = commitGate(alice.store)
    gate.close()
    let alone = false
    const first = alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'alone' }).then(() => {
      alone = true
    })
    await world.clock.settle()
    expect([gate.waiting, alone]).toEqual([1, false])
    gate.step()
    await first
    await friend.peer.say('one')
    const sent = world.router.all('SEND').length
    let answered = false
    const sending = alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'x' }).then(() => {
      answered = true
    })
    await world.clock.settle()
    expect(gate.waiting).toBe(1)
    expect(messagesOf(alice)).toEqual([])
    expect(answered).toBe(false)
    expect(world.router.all('SEND')).toHaveLength(sent)
    gate.open()
    await sending
    await alice.next('MSG')
  })
})

describe('B55 the order of events', () => {
  it('B55 a reader that pauses while the log is full gets every event of every connection in commit order', async () => {
    alice = await world.start('alice', { config: { maxUnreadEvents: 5 } })
    const friends: Invited[] = []
    for (let index = 0; index < 3; index++) friends.push(await world.befriend(alice))
    await alice.agent.ackEvents({ upTo: 1_000 })
    for (let index = 0; index < 15; index++) {
      for (const { peer, connectionId } of friends) {
        await peer.say(`in ${index}`)
        await alice.agent.sendMessage({ connectionId, body: `out ${index}` })
      }
    }
    await world.clock.advance(60_000)
    const seen: AgentEvent[] = []
    let after = 0
    while (seen.filter(({ type }) => type === 'MSG').length < 45) {
      const page = await read(alice.agent, 'default', after)
      expect(page.length).toBeGreaterThan(0)
      for (const event of page) {
        seen.push(event)
        after = event.cursor
        await alice.agent.ackEvents({ cursor: event.cursor })
      }
      // Pauses; what is held back comes in the meantime, and no more than the bound allows.
      await world.clock.advance(10_000)
      expect(await alice.store.count(events)).toBeLessThanOrEqual(5 + friends.length)
    }
    expect(seen.map(({ cursor }) => cursor)).toEqual(seen.map(({ cursor }) => cursor).sort((a, b) => a - b))
    for (const { connectionId } of friends) {
      const own = seen.filter(event => event.connectionId === connectionId)
      const bodies = own.flatMap(event => (event.type === 'MSG' ? [textOf(event.body)] : []))
      expect(bodies).toEqual(Array.from({ length: 15 }, (_, index) => `in ${index}`))
      const sent = own.flatMap(event => (event.type === 'SENT' ? [event.messageId] : []))
      expect(sent).toEqual([...sent].sort((a, b) => a - b))
      expect(sent).toHaveLength(15)
    }
  })

  it('B55 cursors rise by one in commit order, for readers that wait and for those that come later', async () => {
    alice = await world.start('alice')
    const friends = [await world.befriend(alice), await world.befriend(alice)]
    for (let index = 0; index < 20; index++) {
      for (const { connectionId } of friends) void alice.agent.sendMessage({ connectionId, body: `${index}` })
      if (index === 10) await alice.agent.registerConsumer({ consumer: 'late' })
    }
    await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 40, 'every SENT')
    expect(alice.events.map(({ cursor }) => cursor)).toEqual(alice.events.map((_, index) => index + 1))
    expect(await read(alice.agent, 'late')).toEqual(alice.events)
    expect(await read(alice.agent, 'late', 7)).toEqual(alice.events.slice(7))
  })
})

describe('a bound on unread events', () => {
  it('stops receiving, drops nothing, and goes on one by one as events are acknowledged', async () => {
    alice = await world.start('alice', { config: { maxUnreadEvents: 4 } })
    const friends: Invited[] = []
    for (let index = 0; index < 2; index++) friends.push(await world.befriend(alice))
    // CONF and CON of both wait: the log is full.
    expect(await alice.store.count(events)).toBe(4)
    for (const { peer } of friends) for (const body of ['one', 'two', 'three']) await peer.say(body)
    await world.clock.advance(600_000)
    const before = acks()
    expect(messagesOf(alice)).toHaveLength(2)
    const [first] = messagesOf(alice)
    if (first === undefined) throw new Error('no message')
    // Six wait; one acknowledged leaves five: still full.
    await alice.agent.ackEvents({ cursor: first.cursor })
    await world.clock.advance(60_000)
    expect(acks()).toBe(before)
    expect(messagesOf(alice)).toHaveLength(2)
    for (const cursor of [1, 2]) await alice.agent.ackEvents({ cursor })
    await world.clock.advance(1_000)
    expect(acks()).toBe(before + 1)
    expect(messagesOf(alice)).toHaveLength(3)
    await alice.agent.ackEvents({ upTo: 100 })
    const third = await alice.next('MSG')
    expect(third).toBeDefined()
    for (let taken = 0; taken < 6; taken++) {
      await world.clock.advance(1_000)
      await alice.agent.ackEvents({ upTo: 100 })
    }
    for (const { connectionId } of friends) {
      const own = messagesOf(alice).filter(event => event.connectionId === connectionId)
      expect(own.map(({ body }) => textOf(body))).toEqual(['one', 'two', 'three'])
    }
    expect(await alice.store.count(events)).toBe(0)
  })

  it('holds after a restart too, and sending goes on while receiving is stopped', async () => {
    alice = await world.start('alice', { config: { maxUnreadEvents: 2 } })
    const { peer, connectionId } = await world.befriend(alice)
    alice = await restart(alice, { config: { maxUnreadEvents: 2 } })
    await alice.agent.subscribe({})
    const before = acks()
    await peer.say({ type: 'EREADY', lastDecryptedId: 1 })
    await peer.say('one')
    await world.clock.advance(60_000)
    expect(acks()).toBe(before)
    await alice.agent.sendMessage({ connectionId, body: 'out' })
    await alice.next('SENT')
    await alice.agent.ackEvents({ upTo: 100 })
    expect(textOf((await alice.next('MSG')).body)).toBe('one')
  })
})

describe('a bound on unread events, reached for long', () => {
  it('a message that routers deliver again with each session is acknowledged once when there is room', async () => {
    alice = await world.start('alice', { config: { maxUnreadEvents: 2 } })
    const { peer } = await world.befriend(alice)
    await peer.say({ type: 'EREADY', lastDecryptedId: 1 })
    for (let times = 0; times < 5; times++) {
      world.cut('alice')
      await world.clock.advance(10_000)
    }
    const before = acks()
    await alice.agent.ackEvents({ upTo: 1_000 })
    await world.clock.advance(1_000)
    expect(acks()).toBe(before + 1)
  })
})

describe('events that belong to no unit of work', () => {
  it('UP and DOWN are told in their order when the disk works again', async () => {
    alice = await world.start('alice')
    const { connectionId } = await world.befriend(alice)
    let broken = true
    beforeCommits(alice.store, () => {
      if (broken) throw brokenDisk()
    })
    world.cut('alice')
    await world.clock.advance(600_000)
    broken = false
    await world.clock.advance(10_000)
    const told = alice.events.filter(({ type }) => type === 'UP' || type === 'DOWN')
    expect(told).toMatchObject([
      { type: 'DOWN', connectionIds: [connectionId] },
      { type: 'UP', connectionIds: [connectionId] },
    ])
  })

  it('what waits for the disk is bounded', async () => {
    const clock = world.clock
    const dropped: string[] = []
    let stored = 0
    let fails = true
    const publisher = new Publisher({
      clock,
      retryMs: 2_000,
      log: { ...silentLogger, error: (_facts, text) => void dropped.push(text) },
      runtime: {
        run: async (unit: { compute(): { events: readonly unknown[] } }) => {
          if (fails) throw brokenDisk()
          stored += unit.compute().events.length
        },
      } as unknown as Runtime,
    })
    const event = { network: 'simplex', userId: 1, connectionId: '', type: 'UP', payload: {} }
    for (let index = 0; index < 10_003; index++) publisher.publish(event)
    expect(dropped.filter(text => text.includes('too many'))).toHaveLength(3)
    await clock.advance(10_000)
    fails = false
    await clock.advance(2_000)
    expect(stored).toBe(10_000)
  })
})

describe('one acknowledgement', () => {
  let friend: Invited
  beforeEach(async () => {
    alice = await world.start('alice')
    friend = await world.befriend(alice)
    await alice.agent.ackEvents({ upTo: 1_000 })
    await world.clock.settle()
  })
  const receive = async (body: string) => {
    await friend.peer.say(body)
    return alice.next('MSG', friend.connectionId)
  }

  it('ackMessage and ackEvents of the event’s cursor are the same: event gone, row marked, router told once', async () => {
    const before = acks()
    const one = await receive('one')
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: one.messageId })
    const two = await receive('two')
    await alice.agent.ackEvents({ cursor: two.cursor })
    await world.clock.settle()
    expect(await alice.store.find(events, {})).toEqual([])
    const rows = await alice.store.find(rcvMessages, { where: { type: 'A_MSG' } })
    expect(rows.map(({ state }) => state)).toEqual(['acknowledged', 'acknowledged'])
    expect(acks()).toBe(before + 2)
    // Repeated, in both forms, at once and later.
    await Promise.all([
      alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: one.messageId }),
      alice.agent.ackEvents({ cursor: one.cursor }),
      alice.agent.ackEvents({ upTo: two.cursor }),
    ])
    await world.clock.settle()
    expect(acks()).toBe(before + 2)
  })

  it('an acknowledgement that is repeated while the first is on its way to the disk is counted once', async () => {
    const one = await receive('one')
    const gate = commitGate(alice.store)
    gate.close()
    const acking = [0, 1, 2].map(() =>
      alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: one.messageId }),
    )
    await world.clock.settle()
    gate.open()
    await Promise.all(acking)
    // The log counts right: it is full at the third event and not before.
    alice = await restart(alice, { config: { maxUnreadEvents: 3 } })
    await alice.agent.subscribe({})
    for (const body of ['a', 'b']) {
      await friend.peer.say(body)
      const { messageId } = await alice.next('MSG')
      const twice = [0, 1].map(() => alice.agent.ackMessage({ connectionId: friend.connectionId, messageId }))
      await Promise.all(twice)
    }
    for (let index = 0; index < 5; index++) await friend.peer.say(`c${index}`)
    const held = await alice.next('MSG')
    await alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'x' })
    await alice.next('SENT')
    await alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'y' })
    await alice.next('SENT')
    // UP, c0, SENT, SENT wait: the acknowledged c0 leaves three, which is full.
    const before = acks()
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: held.messageId })
    await world.clock.advance(10_000)
    expect(acks()).toBe(before)
  })

  it('an event stays until every registered consumer has acknowledged it; only then is the router told', async () => {
    await alice.agent.registerConsumer({ consumer: 'second', from: 'now' })
    const before = acks()
    const { messageId, cursor } = await receive('one')
    const mine = { connectionId: friend.connectionId, messageId }
    await alice.agent.ackMessage(mine)
    await alice.agent.ackMessage(mine)
    await world.clock.advance(10_000)
    expect(acks()).toBe(before)
    expect(await read(alice.agent)).toEqual([])
    expect(await read(alice.agent, 'second')).toMatchObject([{ cursor, type: 'MSG' }])
    alice = await restart(alice)
    await alice.agent.subscribe({})
    expect((await read(alice.agent)).map(({ type }) => type)).not.toContain('MSG')
    await alice.agent.ackMessage({ ...mine, consumer: 'second' })
    await world.clock.settle()
    expect(acks()).toBe(before + 1)
    expect(await alice.store.find(events, { where: { type: 'MSG' } })).toEqual([])
    expect(await alice.store.find(eventAcks, {})).toEqual([])
  })

  it.each([1, 2])(
    'what is acknowledged while a reader has it in hand is not told any more (%d consumers)',
    async consumers => {
      if (consumers === 2) await alice.agent.registerConsumer({ consumer: 'second', from: 'now' })
      for (const body of ['a', 'b', 'c']) await alice.agent.sendMessage({ connectionId: friend.connectionId, body })
      await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 3, 'every SENT')
      const reader = alice.agent.events()[Symbol.asyncIterator]()
      const first = (await reader.next()).value as AgentEvent
      await alice.agent.ackEvents({ upTo: first.cursor + 1 })
      expect((await reader.next()).value).toMatchObject({ cursor: first.cursor + 2 })
      await alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'd' })
      await alice.next('SENT')
      expect((await reader.next()).value).toMatchObject({ cursor: first.cursor + 3 })
      await reader.return?.(undefined)
    },
  )

  it('two consumers that acknowledge at the same moment leave nothing behind', async () => {
    await alice.agent.registerConsumer({ consumer: 'second', from: 'now' })
    const before = acks()
    for (const body of ['one', 'two', 'three']) {
      const { messageId } = await receive(body)
      const mine = { connectionId: friend.connectionId, messageId }
      const gate = commitGate(alice.store)
      gate.close()
      // Both wait for the connection behind this one, and share a commit.
      void alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'x' })
      await world.clock.settle()
      const acking = [alice.agent.ackMessage(mine), alice.agent.ackMessage({ ...mine, consumer: 'second' })]
      await world.clock.settle()
      gate.open()
      await Promise.all(acking)
      await alice.next('SENT')
    }
    expect(acks()).toBe(before + 3)
    expect(await alice.store.find(events, { where: { type: 'MSG' } })).toEqual([])
    expect(await alice.store.find(eventAcks, {})).toEqual([])
  })

  it('two consumers that acknowledge an event of no connection at the same moment leave nothing behind', async () => {
    await alice.agent.registerConsumer({ consumer: 'second', from: 'now' })
    world.cut('alice')
    const { cursor } = await alice.next('UP')
    await Promise.all([
      alice.agent.ackEvents({ upTo: cursor }),
      alice.agent.ackEvents({ upTo: cursor, consumer: 'second' }),
    ])
    expect(await alice.store.find(events, {})).toEqual([])
    expect(await alice.store.find(eventAcks, {})).toEqual([])
  })

  it('a consumer registered from now is not asked about earlier events, one from the start is', async () => {
    const { messageId } = await receive('one')
    await alice.agent.registerConsumer({ consumer: 'fromNow', from: 'now' })
    expect(await read(alice.agent, 'fromNow')).toEqual([])
    await alice.agent.registerConsumer({ consumer: 'fromStart' })
    expect(await read(alice.agent, 'fromStart')).toHaveLength(1)
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId })
    expect(await alice.store.find(events, {})).toHaveLength(1)
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId, consumer: 'fromStart' })
    expect(await alice.store.find(events, {})).toEqual([])
    // Registered again, under any other start: as it was.
    const again = await alice.agent.registerConsumer({ consumer: 'fromNow', from: 'start' })
    expect(again.from).toBeGreaterThan(0)
  })

  it('ackEvents up to a cursor takes all kinds of events, page after page, and nothing behind it', async () => {
    for (let index = 0; index < 450; index++)
      void alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'x' })
    await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 450, 'every SENT')
    const last = alice.events.at(-1)?.cursor ?? 0
    await alice.agent.ackEvents({ upTo: last - 7 })
    const left = await alice.store.find(events, { orderBy: ['cursor'] })
    expect(left.map(({ cursor }) => cursor)).toEqual([6, 5, 4, 3, 2, 1, 0].map(back => last - back))
  })

  it('B31 ackEvents up to a cursor that no event has yet says nothing of those that come later', async () => {
    const before = acks()
    await alice.agent.ackEvents({ upTo: 1_000_000 })
    await friend.peer.say('later')
    const { cursor } = await alice.next('MSG')
    expect((await read(alice.agent)).map(event => event.cursor)).toEqual([cursor])
    expect(acks()).toBe(before)
    await alice.agent.ackEvents({ upTo: 1_000_000 })
    expect(await read(alice.agent)).toEqual([])
    await world.clock.settle()
    expect(acks()).toBe(before + 1)
  })

  it('B31 an event that comes while ackEvents looks for the last ones up to its cursor is not taken for acknowledged', async () => {
    const done: number[] = []
    const eventLog = {
      lastCursor: 5,
      doneUpTo: () => 0,
      page: () => {
        eventLog.lastCursor = 6
        return Promise.resolve([])
      },
      noteDone: (_consumer: string, cursor: number) => void done.push(cursor),
    }
    const context = { eventLog } as unknown as AgentContext
    await ackEvents(context, { consumer: 'default', upTo: 1_000_000 })
    expect(done).toEqual([5])
  })

  it('what does not exist cannot be acknowledged: typed errors name the field', async () => {
    const { connectionId } = friend
    await expect(alice.agent.ackMessage({ connectionId, messageId: 999 })).rejects.toMatchObject({
      code: 'MESSAGE_NOT_FOUND',
      field: 'messageId',
    })
    await expect(alice.agent.ackMessage({ connectionId: 'nobody', messageId: 1 })).rejects.toMatchObject({
      code: 'MESSAGE_NOT_FOUND',
    })
    const { messageId } = await receive('one')
    await expect(alice.agent.ackMessage({ connectionId, messageId, consumer: 'unknown' })).rejects.toMatchObject({
      code: 'CONSUMER_UNKNOWN',
      field: 'consumer',
    })
    for (const params of [{}, { cursor: 1, upTo: 1 }]) {
      await expect(alice.agent.ackEvents(params)).rejects.toMatchObject({ code: 'CMD_PARAMS', field: 'cursor' })
    }
    await expect(alice.agent.ackEvents({ cursor: 12_345 })).resolves.toEqual({})
    expect(await alice.store.find(events, { where: { type: 'MSG' } })).toHaveLength(1)
  })
})

describe('events after a restart', () => {
  it('begin with the oldest that was not acknowledged, in their order, and go on with new ones', async () => {
    alice = await world.start('alice')
    const friend = await world.befriend(alice)
    await friend.peer.say('one')
    const before = await alice.next('MSG')
    await alice.agent.ackEvents({ cursor: 1 })
    alice = await restart(alice)
    await alice.agent.subscribe({})
    const again = await alice.next('MSG')
    expect(again).toEqual(before)
    expect(alice.events.map(({ type }) => type)).toEqual(['CON', 'MSG', 'UP'])
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: again.messageId })
    await friend.peer.say('two')
    const next = await alice.next('MSG')
    expect(next.cursor).toBeGreaterThan(before.cursor)
  })

  it('cursors go on where they were although the log is empty', async () => {
    alice = await world.start('alice')
    const friend = await world.befriend(alice)
    const last = alice.events.at(-1)?.cursor ?? 0
    await alice.agent.ackEvents({ upTo: last })
    alice = await restart(alice)
    await alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'x' })
    expect((await alice.next('SENT')).cursor).toBe(last + 1)
  })

  it('events() ends when its signal aborts and when the agent closes', async () => {
    alice = await world.start('alice')
    const abort = new AbortController()
    const until = (signal?: AbortSignal) =>
      (async () => {
        for await (const event of alice.agent.events(signal === undefined ? {} : { signal })) void event
        return 'ended'
      })()
    const aborted = until(abort.signal)
    const closed = until()
    await world.clock.settle()
    abort.abort()
    expect(await aborted).toBe('ended')
    await alice.agent.close()
    expect(await closed).toBe('ended')
  })
})

describe('a first consumer that reads from now on', () => {
  /** An agent whose log has messages that no consumer was there to acknowledge. */
  const unread = async (): Promise<{ agent: Agent; friends: Invited[]; store: TestAgent['store'] }> => {
    const first = await world.start('alice')
    const friends = [await world.befriend(first), await world.befriend(first)]
    const rows = first.crash()
    await rows.commit([remove(eventConsumers, { consumer: 'default' })])
    const { clock, network, router } = world
    const dialer = network.dialer('alice')
    const agent = await openAgent({ store: { open: rows }, routers: [router.address], clock, dialer })
    await agent.subscribe({})
    for (const { peer } of friends) for (const body of ['one', 'two']) await peer.say(body)
    await clock.settle()
    return { agent, friends, store: rows }
  }

  it('acknowledges what is there, so that no queue waits for ever and nothing counts as unread', async () => {
    const { agent, store } = await unread()
    const before = acks()
    const { from } = await agent.registerConsumer({ consumer: 'late', from: 'now' })
    await world.clock.settle()
    expect(acks()).toBe(before + 2)
    const told = await read(agent, 'late')
    expect(told.map(event => (event.type === 'MSG' ? textOf(event.body) : event.type))).toEqual(['two', 'two'])
    expect(told.every(({ cursor }) => cursor > from)).toBe(true)
    expect(await store.count(events)).toBe(2)
    await agent.close()
  })

  it('does so when it is repeated after a kill in between, and takes nothing from it that came later', async () => {
    const { agent, store } = await unread()
    await agent.close()
    const rows = store.reopen()
    const [last] = await rows.find(events, { orderBy: ['cursor'], descending: true, limit: 1 })
    await rows.commit([put(eventConsumers, { consumer: 'late', fromCursor: (last?.cursor ?? 0) - 1 })])
    const { clock, network, router } = world
    const dialer = network.dialer('alice')
    const again = await openAgent({ store: { open: rows }, routers: [router.address], clock, dialer })
    await again.registerConsumer({ consumer: 'late', from: 'now' })
    expect((await rows.find(events, {})).map(({ cursor }) => cursor)).toEqual([last?.cursor])
    await again.close()
  })

  it('leaves to others what they have not read', async () => {
    alice = await world.start('alice')
    await world.befriend(alice)
    const before = await alice.store.count(events)
    await alice.agent.registerConsumer({ consumer: 'late', from: 'now' })
    expect(await alice.store.count(events)).toBe(before)
    expect(await read(alice.agent)).toHaveLength(before)
  })
})
