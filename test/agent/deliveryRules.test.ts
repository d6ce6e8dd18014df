/** What becomes of a message that the router does not take, by its type and by the router's answer, and of those behind it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type SentMessageType, sentMessageTypes } from '../../machines/sndQueue.js'
import { defaultConfig } from '../../src/agent/config.js'
import type { AgentConfig, AgentEvent } from '../../src/index.js'
import type { Response } from '../../src/smp/protocol/responses.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { insert } from '../../src/store/index.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer, type SeenCommand } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { storeWaiting } from '../support/storedMessages.js'
import { beforeCommits, brokenDisk, commitGate, touches } from '../support/storeFaults.js'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

let world: ScriptedWorld
let alice: TestAgent
let bob: TestAgent
let connectionId: string
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

const connect = async () => {
  bob = await world.start('bob')
  connectionId = (await world.connect(alice, bob)).initiatorId
  await world.clock.settle()
}
const restart = async (config: Partial<AgentConfig> = {}) => {
  alice = await world.start('alice', { store: { open: alice.crash() }, config })
}
/** Days of attempts take long even without waiting: hours stand for them. */
const shortly = { messageTimeoutMs: 2 * hour, quotaTimeoutMs: 7 * hour }

it('B41 B43 messages wait for 2 days, for a full queue 7', () => {
  const twoDays = { messageTimeoutMs: 2 * day, helloTimeoutMs: 2 * day }
  expect(defaultConfig).toMatchObject({ ...twoDays, quotaTimeoutMs: 7 * day })
})
/** Stops alice, stores a message of a type for the connection, and starts her again. */
const restartWith = async (type: SentMessageType): Promise<number> => {
  const store = alice.crash()
  const messageId = await storeWaiting(store, connectionId, type, world.clock.now())
  alice = await world.start('alice', { store: { open: store } })
  return messageId
}
/** How many waiting messages alice’s workers read at once, from now on. */
const watchReads = (): number[] => {
  const { find } = alice.store
  const limits: number[] = []
  alice.store.find = (table, query) => {
    const { where, limit } = query as { where?: object; limit?: number }
    if (table.name === deliveries.name && limit !== undefined && 'queueId' in (where ?? {})) limits.push(limit)
    return find.call(alice.store, table, query) as never
  }
  return limits
}
const sends = () => world.router.all('SEND')
const answerSends = (answer: Response | 'lose' | 'hold' | undefined) => {
  world.router.react = ({ command }) => (command.type === 'SEND' ? answer : undefined)
}
const send = async (body: string): Promise<number> => (await alice.agent.sendMessage({ connectionId, body })).messageId
const told = (...types: string[]): AgentEvent[] => alice.events.filter(({ type }) => types.includes(type))
const failures = () =>
  told('MERR', 'MERRS', 'ERR').map(({ cursor: _cursor, at: _at, traceId: _traceId, ...event }) => event)
const common = () => ({ network: 'simplex', userId: 1, connectionId })
const proxyFailure = (error: 'HOST' | 'TIMEOUT'): Response => ({
  type: 'ERR',
  error: { type: 'PROXY', error: { type: 'BROKER', error: { type: error } } },
})

/** Alice’s side of a handshake, up to the confirmation that gets this answer. */
const handshakeUpTo = async (role: 'initiator' | 'joiner', answer: Response): Promise<void> => {
  if (role === 'initiator') {
    const { connectionId, confirmationId } = await world.invite(alice)
    answerSends(answer)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    return
  }
  const other = await world.start('other')
  const { link } = await other.agent.createConnection({})
  answerSends(answer)
  await alice.agent.joinConnection({ link })
}

describe('B41 a full queue', () => {
  it('B41 QUOTA: one MWARN, attempts after 5, 7.5, 11.25 min …, and SENT when there is room', async () => {
    await connect()
    answerSends(errorAnswer('QUOTA'))
    const before = sends().length
    const messageId = await send('one')
    await world.clock.advance(60 * minute)
    const attempts = sends().slice(before)
    const waits = attempts.slice(1).map(({ at }, index) => at - (attempts[index]?.at ?? 0))
    expect(waits.map(wait => wait / minute)).toEqual([5, 7.5, 11.25, 16.875])
    expect(told('MWARN')).toMatchObject([{ messageId, error: { code: 'QUOTA' } }])
    answerSends(undefined)
    await alice.next('SENT', connectionId)
    expect(failures()).toEqual([])
  })

  it('B41 while it waits only its first message is in memory, after a restart the first few; all arrive, in order', async () => {
    await connect()
    const messageIds: number[] = []
    const sent = () => told('SENT').map(event => ('messageId' in event ? event.messageId : 0))
    answerSends(errorAnswer('QUOTA'))
    for (let index = 0; index < 20; index++) messageIds.push(await send(`${index}`))
    await world.clock.advance(6 * minute)
    messageIds.push(await send('20'))
    const limits = watchReads()
    answerSends(undefined)
    await world.until(() => sent().length === 21, 'every SENT')
    expect(sent()).toEqual(messageIds)
    expect(limits).toEqual([64])
    answerSends(errorAnswer('QUOTA'))
    for (let index = 0; index < 20; index++) messageIds.push(await send(`${index}`))
    const rows = alice.crash()
    const before = sends().length
    alice = await world.start('alice', { store: { open: rows } })
    const restarted = watchReads()
    await world.clock.advance(minute)
    expect(sends()).toHaveLength(before + 1)
    answerSends(undefined)
    await world.until(() => sent().length === 41, 'every SENT')
    expect(sent()).toEqual(messageIds)
    expect(restarted).toEqual([64])
  })

  it('B41 past its time the message and all expired behind it are dropped: MERR, then MERRS; what is younger goes on', async () => {
    await connect()
    const bobsRows = bob.crash()
    await restart(shortly)
    answerSends(errorAnswer('QUOTA'))
    const head = await send('head')
    const behind = [await send('two'), await send('three')]
    await world.clock.advance(3 * hour)
    const young = await send('four')
    await world.clock.advance(4 * hour - minute)
    expect(failures()).toEqual([])
    // The next attempt shows it.
    await world.clock.advance(3 * hour)
    const error = { code: 'QUOTA', message: expect.any(String) }
    expect(failures()).toEqual([
      { ...common(), type: 'MERR', messageId: head, error: expect.objectContaining(error) },
      { ...common(), type: 'MERRS', messageIds: behind, error: expect.objectContaining(error) },
    ])
    expect((await alice.store.find(deliveries, {})).map(row => row.messageId)).toEqual([young])
    answerSends(undefined)
    expect((await alice.next('SENT', connectionId)).messageId).toBe(young)
    bob = await world.start('bob', { store: { open: bobsRows } })
    await bob.agent.subscribe({})
    const { body, integrity } = await bob.next('MSG')
    expect([textOf(body), integrity]).toEqual(['four', { result: 'skipped', from: head, to: young - 1 }])
  })

  it('B41 a restart gives a full queue no new time, and warns no second time', async () => {
    await connect()
    await bob.agent.close()
    answerSends(errorAnswer('QUOTA'))
    const messageId = await send('one')
    await alice.next('MWARN')
    for (let restarts = 0; restarts < 3; restarts++) {
      await world.clock.advance(2 * hour)
      await restart(shortly)
    }
    await world.clock.advance(hour - minute)
    expect(told('MWARN')).toHaveLength(1)
    expect(failures()).toEqual([])
    await world.clock.advance(hour)
    expect(failures()).toMatchObject([{ type: 'MERR', messageId }])
  })

  it.each(['initiator', 'joiner'] as const)(
    'B41 QUOTA for the confirmation of the %s: the connection is not available, nothing waits',
    async role => {
      await handshakeUpTo(role, errorAnswer('QUOTA'))
      const { error } = await alice.next('ERR')
      expect(error.code).toBe('CONN_NOT_AVAILABLE')
      expect(await alice.store.find(deliveries, {})).toEqual([])
      expect(told('MWARN')).toEqual([])
    },
  )
})

describe('B42 AUTH, by the type of the message', () => {
  it.each(['initiator', 'joiner'] as const)(
    'B42 AUTH on the confirmation of the %s: CONN_NOT_AVAILABLE',
    async role => {
      await handshakeUpTo(role, errorAnswer('AUTH'))
      expect((await alice.next('ERR')).error.code).toBe('CONN_NOT_AVAILABLE')
      expect(await alice.store.find(deliveries, {})).toEqual([])
      await world.clock.advance(hour)
      expect(failures()).toHaveLength(1)
    },
  )

  const auth = expect.objectContaining({ code: 'AUTH' })
  const queueError = (type: string) => ({ code: 'AGENT_QUEUE', message: `${type}: AUTH`, field: expect.any(String) })
  it.each<[SentMessageType, object]>([
    ['RATCHET_INFO', { type: 'ERR', error: expect.objectContaining({ code: 'CONN_NOT_AVAILABLE' }) }],
    ['A_MSG', { type: 'MERR', error: auth }],
    ['A_RCVD', { type: 'MERR', messageType: 'A_RCVD', error: auth }],
    ['A_QCONT', { type: 'MERR', messageType: 'A_QCONT', error: auth }],
    ['EREADY', { type: 'MERR', messageType: 'EREADY', error: auth }],
    ['QADD', { type: 'ERR', messageType: 'QADD', error: queueError('QADD') }],
    ['QKEY', { type: 'ERR', messageType: 'QKEY', error: queueError('QKEY') }],
    ['QUSE', { type: 'ERR', messageType: 'QUSE', error: queueError('QUSE') }],
    ['QTEST', { type: 'ERR', messageType: 'QTEST', error: queueError('QTEST') }],
  ])('B42 AUTH on %s: told once, its delivery goes, the message behind it is tried', async (type, event) => {
    await connect()
    let left = 1
    world.router.react = ({ command }) => (command.type === 'SEND' && left-- > 0 ? errorAnswer('AUTH') : undefined)
    const messageId = await restartWith(type)
    const next = await send('behind it')
    expect((await alice.next('SENT', connectionId)).messageId).toBe(next)
    expect(failures()).toEqual([{ ...common(), ...(type === 'RATCHET_INFO' ? {} : { messageId }), ...event }])
    expect(await alice.store.find(deliveries, {})).toEqual([])
    const rows = await alice.store.find(sndMessages, { where: { messageId } })
    expect(rows).toHaveLength(type === 'A_MSG' ? 1 : 0)
  })

  it('B42 every other final answer of the router is told in the same way', async () => {
    await connect()
    answerSends(errorAnswer('LARGE_MSG'))
    const message = await restartWith('A_MSG')
    const rotation = await restartWith('QUSE')
    await world.until(() => failures().length === 2, 'both failures')
    expect(failures()).toMatchObject([
      { type: 'MERR', messageId: message, error: { code: 'LARGE_MSG' } },
      { type: 'ERR', messageId: rotation, error: { code: 'AGENT_QUEUE', message: 'QUSE: LARGE_MSG' } },
    ])
  })
})

describe('B43 a router that cannot be reached', () => {
  it('B43 network errors are silent: attempts after 2 s, growing from 10 s on, and SENT in the end', async () => {
    await connect()
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    await send('one')
    await world.clock.advance(10 * minute)
    expect(alice.events.filter(({ type }) => type !== 'DOWN' && type !== 'UP').map(({ type }) => type)).toEqual([
      'CONF',
      'CON',
    ])
    world.network.setReachable(world.router.place, 'answers')
    await alice.next('SENT', connectionId)
  })

  it('B43 what a proxy says of the network is silent too; that it does not find the host is warned of once', async () => {
    await connect()
    answerSends(proxyFailure('TIMEOUT'))
    const messageId = await send('one')
    await world.clock.advance(minute)
    expect(told('MWARN')).toEqual([])
    answerSends(proxyFailure('HOST'))
    await world.clock.advance(10 * minute)
    expect(told('MWARN')).toMatchObject([{ messageId, error: { code: 'PROXY_BROKER_HOST' } }])
    answerSends(errorAnswer('QUOTA'))
    await world.clock.advance(2 * minute)
    expect(told('MWARN')).toMatchObject([{ messageId }, { messageId, error: { code: 'QUOTA' } }])
    await restart()
    answerSends(proxyFailure('HOST'))
    await world.clock.advance(10 * minute)
    expect(told('MWARN')).toHaveLength(2)
    answerSends(undefined)
    await alice.next('SENT', connectionId)
    // The next message is one of its own.
    answerSends(errorAnswer('QUOTA'))
    const next = await send('two')
    await world.clock.settle()
    expect(told('MWARN').at(-1)).toMatchObject({ messageId: next, error: { code: 'QUOTA' } })
  })

  it('B43 past its time: MERR for the first, MERRS for all expired behind it, in bulk and from the rows', async () => {
    await connect()
    await bob.agent.close()
    await restart(shortly)
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    const ids: number[] = []
    for (let index = 0; index < 300; index++) ids.push(await send(`message ${index}`))
    await world.clock.advance(hour)
    const young = await send('young')
    await world.clock.advance(hour - minute)
    expect(failures()).toEqual([])
    await world.clock.advance(5 * minute)
    expect(failures()).toMatchObject([
      { type: 'MERR', messageId: ids[0] },
      { type: 'MERRS', messageIds: ids.slice(1) },
    ])
    expect((await alice.store.find(deliveries, {})).map(row => row.messageId)).toEqual([young])
    world.network.setReachable(world.router.place, 'answers')
    expect((await alice.next('SENT', connectionId)).messageId).toBe(young)
  })

  it('B43 more than go in one commit: the rest follows with the next one that expires', async () => {
    await connect()
    await restart(shortly)
    answerSends('lose')
    const ids = await Promise.all(Array.from({ length: 1500 }, (_, index) => send(`message ${index}`)))
    await world.clock.advance(2 * hour + 10 * minute)
    const [first, rest, second, last] = failures()
    expect(failures()).toHaveLength(4)
    expect(first).toMatchObject({ type: 'MERR', messageId: ids[0] })
    expect(rest).toMatchObject({ type: 'MERRS', messageIds: ids.slice(1, 1000) })
    expect(second).toMatchObject({ type: 'MERR', messageId: ids[1000] })
    expect(last).toMatchObject({ type: 'MERRS', messageIds: ids.slice(1001) })
    expect(await alice.store.find(deliveries, {})).toEqual([])
  })

  it('B43 each type expires by its own time, also behind another', async () => {
    await connect()
    answerSends('lose')
    const store = alice.crash()
    const hello = await storeWaiting(store, connectionId, 'HELLO', world.clock.now())
    alice = await world.start('alice', { store: { open: store }, config: { helloTimeoutMs: hour } })
    const message = await send('younger than its time')
    await world.clock.advance(hour + 5 * minute)
    expect(failures()).toMatchObject([{ type: 'ERR', messageId: hello }])
    expect((await alice.store.find(deliveries, {})).map(row => row.messageId)).toEqual([message])
  })

  it('B43 what the agents say to each other goes in bulk too, each kind by itself; a rotation’s message is named', async () => {
    await connect()
    answerSends('lose')
    const store = alice.crash()
    const stored: Partial<Record<SentMessageType, number[]>> = {}
    for (const type of ['A_MSG', 'A_RCVD', 'A_MSG', 'QADD', 'A_RCVD', 'A_QCONT', 'A_MSG'] as const) {
      const messageId = await storeWaiting(store, connectionId, type, world.clock.now())
      stored[type] = [...(stored[type] ?? []), messageId]
    }
    alice = await world.start('alice', { store: { open: store }, config: shortly })
    await world.clock.advance(2 * hour + 10 * minute)
    expect(failures()).toMatchObject([
      { type: 'MERR', messageId: stored.A_MSG?.[0] },
      { type: 'MERRS', messageIds: stored.A_RCVD, messageType: 'A_RCVD' },
      { type: 'MERRS', messageIds: stored.A_MSG?.slice(1) },
      { type: 'ERR', messageId: stored.QADD?.[0], error: { code: 'AGENT_QUEUE' } },
      { type: 'MERRS', messageIds: stored.A_QCONT, messageType: 'A_QCONT' },
    ])
    expect(failures()[2]).not.toHaveProperty('messageType')
    expect(await alice.store.find(deliveries, {})).toEqual([])
  })
})

describe('B44 B48 what the router’s OK means for the other types', () => {
  it.each(['RATCHET_INFO', 'A_RCVD', 'A_QCONT', 'QADD', 'QKEY', 'QUSE', 'QTEST', 'EREADY'] as const)(
    'B44 %s: told to nobody, its rows are gone, the next message goes out',
    async type => {
      await connect()
      await restartWith(type)
      const next = await send('behind it')
      expect((await alice.next('SENT', connectionId)).messageId).toBe(next)
      expect(told('SENT', 'MERR', 'ERR')).toHaveLength(1)
      expect(await alice.store.find(deliveries, {})).toEqual([])
      expect((await alice.store.find(sndMessages, {})).map(row => row.messageId)).toEqual([next])
      expect(await alice.store.find(sndQueues, {})).toMatchObject([{ status: 'active' }])
    },
  )

  it('B44 B48 B78 a message that waits for two queues keeps its body until both have it or have failed; one SENT is all that is told of it', async () => {
    await connect()
    const rows = alice.crash()
    const [queue] = await rows.find(sndQueues, { where: { connectionId } })
    if (queue === undefined) throw new Error('no queue')
    alice = await world.start('alice', { store: { open: rows } })
    answerSends('lose')
    const ids = [await send('one'), await send('two')]
    const store = alice.crash()
    const other = { ...queue, queueId: 'other', sndId: Buffer.alloc(24, 7), primary: false }
    await store.commit([
      insert(sndQueues, other),
      ...ids.map(messageId =>
        insert(deliveries, {
          queueId: 'other',
          messageId,
          connectionId,
          warned: null,
          sent: false,
          createdAt: world.clock.now(),
        }),
      ),
    ])
    // The first queue takes its messages, the second is slow, then gone.
    const isOther = ({ entityId }: { entityId: Uint8Array }) => Buffer.compare(entityId, other.sndId) === 0
    world.router.react = seen => (seen.command.type === 'SEND' && isOther(seen) ? 'lose' : undefined)
    alice = await world.start('alice', { store: { open: store } })
    await world.until(() => told('SENT').length === 2, 'both SENT')
    expect(await alice.store.find(deliveries, {})).toMatchObject([{ queueId: 'other' }, { queueId: 'other' }])
    for (const row of await alice.store.find(sndMessages, {})) {
      expect(row.body).not.toBeNull()
      expect(row.header).not.toBeNull()
    }
    world.router.react = seen => (seen.command.type === 'SEND' && isOther(seen) ? errorAnswer('AUTH') : undefined)
    await world.until(() => world.router.all('SEND').filter(isOther).length >= 2, 'the end of the other queue')
    await world.clock.advance(600_000)
    expect(told('MERR')).toEqual([])
    expect(told('SENT')).toHaveLength(2)
    for (const row of await alice.store.find(sndMessages, {})) expect(row).toMatchObject({ body: null, header: null })
    expect(await alice.store.find(deliveries, {})).toEqual([])
  })

  it('B44 while the disk is slow, few answers wait for it: the next message is sent when one of them is stored', async () => {
    await connect()
    await restart({ deliveriesAhead: 2 })
    const gate = commitGate(alice.store)
    for (const round of [1, 2]) {
      answerSends('hold')
      for (let n = 0; n < 6; n++) await send(String(n))
      await world.clock.settle()
      const [held] = sends().slice(-1)
      const before = sends().length
      if (held === undefined) throw new Error('nothing was sent')
      gate.close()
      answerSends(undefined)
      world.router.release(held)
      await world.clock.settle()
      // Two answers are on their way to the disk, the third waits behind them.
      expect(sends().length - before).toBe(2)
      gate.open()
      await world.until(() => told('SENT').length === 6 * round, 'SENT of all')
    }
  })

  it('B48 while the disk refuses what was delivered, messages go out once; later once more, and each is told of and read once', async () => {
    await connect()
    await restart()
    let broken = true
    beforeCommits(alice.store, changes => {
      if (broken && touches(changes, deliveries, 'remove')) throw brokenDisk()
    })
    answerSends('hold')
    for (const body of ['one', 'two', 'three']) await send(body)
    await world.clock.settle()
    const before = sends().length
    answerSends(undefined)
    world.router.release(sends().at(-1) as SeenCommand)
    await world.clock.advance(defaultConfig.fastRetry.initial - 1)
    expect(sends().length - before).toBe(2)
    expect(told('SENT')).toEqual([])
    broken = false
    await world.until(() => told('SENT').length === 3, 'SENT of all')
    await world.clock.advance(minute)
    expect(sends().length - before).toBe(5)
    expect(told('SENT', 'MERR', 'MERRS')).toHaveLength(3)
    for (const body of ['one', 'two', 'three']) {
      const { connectionId, messageId, body: got, integrity } = await bob.next('MSG')
      expect([textOf(got), integrity]).toEqual([body, { result: 'ok' }])
      await bob.agent.ackMessage({ connectionId, messageId })
    }
    await world.clock.advance(minute)
    expect(bob.events.filter(({ type }) => type === 'MSG' || type === 'RSYNC' || type === 'ERR')).toHaveLength(3)
  })

  it.each([0, 100])(
    'B04 B44 an answer that comes while the agent is suspended, within %d ms, is taken in the foreground: the message goes out once, SENT once',
    async maxDelayMs => {
      await connect()
      answerSends('hold')
      const before = sends().length
      const messageId = await send('one')
      await world.clock.settle()
      await alice.agent.suspendAgent({ maxDelayMs })
      await world.clock.advance(1000)
      answerSends(undefined)
      world.router.release(sends().at(-1) as SeenCommand)
      await world.clock.advance(minute)
      expect(told('SENT')).toEqual([])
      await alice.agent.foregroundAgent({})
      expect((await alice.next('SENT', connectionId)).messageId).toBe(messageId)
      await world.clock.advance(minute)
      expect(sends()).toHaveLength(before + 1)
      expect(told('SENT', 'ERR')).toHaveLength(1)
    },
  )

  it('B44 every type of message is covered by these tests or by those of the handshake', () => {
    const handshake = ['CONN_INFO', 'CONN_INFO_REPLY', 'HELLO']
    const here = ['RATCHET_INFO', 'A_MSG', 'A_RCVD', 'A_QCONT', 'QADD', 'QKEY', 'QUSE', 'QTEST', 'EREADY']
    expect([...handshake, ...here].toSorted()).toEqual([...sentMessageTypes].toSorted())
  })
})

describe('B45 QCONT', () => {
  it('B45 under a delay of 6 h: SENT at once, with QCONT, and nothing is sent twice', async () => {
    const { peer, connectionId, queue } = await world.befriend(alice)
    const { max } = defaultConfig.slowRetry
    expect(max).toBe(6 * hour)
    await restart({ slowRetry: { initial: max, growAfter: minute, max } })
    await alice.agent.subscribe({})
    answerSends(errorAnswer('QUOTA'))
    await alice.agent.sendMessage({ connectionId, body: 'one' })
    await world.clock.advance(max + minute)
    const attempts = sends()
    expect((attempts.at(-1)?.at ?? 0) - (attempts.at(-2)?.at ?? 0)).toBe(max)
    await world.clock.advance(hour)
    world.router.react = () => undefined
    const before = { at: world.clock.now(), sends: sends().length }
    const reply = world.router.queues.find(one => one !== queue)
    if (reply === undefined) throw new Error('no reply queue')
    await peer.say({
      type: 'A_QCONT',
      queue: { router: parseRouterAddress(world.router.address), senderId: reply.senderId },
    })
    await world.clock.settle()
    expect(world.clock.now()).toBe(before.at)
    expect(told('QCONT', 'SENT').map(({ type }) => type)).toEqual(['QCONT', 'SENT'])
    // The peer's own SEND, and this one.
    expect(sends()).toHaveLength(before.sends + 2)
    await world.clock.advance(max + minute)
    expect(sends()).toHaveLength(before.sends + 2)
  })

  it.each(['queue', 'router'])(
    'B45 QCONT for another %s than this side sends to is an error and wakes nothing',
    async which => {
      const { peer, connectionId, queue } = await world.befriend(alice)
      answerSends(errorAnswer('QUOTA'))
      await alice.agent.sendMessage({ connectionId, body: 'one' })
      await world.clock.settle()
      const before = sends().length
      const reply = world.router.queues.find(one => one !== queue)
      const router = parseRouterAddress(world.router.address)
      world.router.put(
        queue,
        peer.seal(
          peer.message({
            type: 'A_QCONT',
            queue:
              which === 'queue'
                ? { router, senderId: Buffer.alloc(24) }
                : { router: { ...router, hosts: ['elsewhere'] }, senderId: reply?.senderId ?? Buffer.alloc(24) },
          }),
        ),
      )
      expect((await alice.next('ERR', connectionId)).error).toMatchObject({ code: 'AGENT_QUEUE' })
      expect(sends()).toHaveLength(before)
      expect(told('QCONT')).toEqual([])
    },
  )

  it('B45 an own A_QCONT is no message of the application: no SENT', async () => {
    await world.close()
    world = await scriptedWorld()
    const router = await world.startRouter({ messageQuota: 2 })
    alice = await world.startAgent('alice', [router])
    bob = await world.startAgent('bob', [router])
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    for (const body of ['1', '2', '3', '4']) await alice.agent.sendMessage({ connectionId: initiatorId, body })
    await alice.next('MWARN')
    for (const body of ['1', '2', '3', '4']) {
      const message = await bob.next('MSG', joinerId)
      expect(textOf(message.body)).toBe(body)
      await bob.agent.ackMessage({ connectionId: joinerId, messageId: message.messageId })
    }
    await alice.next('QCONT', initiatorId)
    await world.clock.settle()
    expect(bob.events.filter(({ type }) => type === 'SENT')).toEqual([])
    expect(await bob.store.find(sndMessages, {})).toEqual([])
  })
})
