/** deleteConnection at every moment of a connection’s life: rows, router, events. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { agentTables } from '../../src/store/agent/tables.js'
import { commands, connections, rcvQueues } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { legacyLink } from '../support/legacyLink.js'
import { errorAnswer, type ScriptedRouter, scriptedRouter } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { afterCommits, commitGate, touches } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

/** Rows of a connection in every table but the event log. */
const rowsOf = async (store: MemoryStore, connectionId: string): Promise<string[]> => {
  const left: string[] = []
  for (const table of agentTables) {
    if (!('connectionId' in table.columns) || table.name === 'events') continue
    for (const _ of await store.find(table, { where: { connectionId } })) left.push(table.name)
  }
  return left
}
/** Queues at the router that this agent has made and not deleted. */
const queuesOf = (name: string): number => {
  const made = new Set(
    world.router
      .all('NEW')
      .filter(({ session }) => session.channel.remoteAddress === name)
      .map(({ command }) => (command.type === 'NEW' ? Buffer.from(command.authKey.raw).toString('hex') : '')),
  )
  return world.router.queues.filter(({ recipientKey }) => made.has(Buffer.from(recipientKey).toString('hex'))).length
}
const hold = (...types: string[]): void => {
  world.router.react = ({ command, session }) =>
    types.includes(command.type) && session.channel.remoteAddress === 'alice' ? 'hold' : undefined
}
const release = (): void => {
  const held = world.router.seen.filter(seen => world.router.react(seen) === 'hold' && !seen.session.channel.closed)
  world.router.react = () => undefined
  for (const seen of held) world.router.release(seen)
}
const firstId = async (): Promise<string> => {
  const [row] = await alice.store.find(connections, {})
  if (row === undefined) throw new Error('no connection')
  return row.connectionId
}
const bobs = async (): Promise<{ bob: TestAgent; link: string; bobId: string }> => {
  const bob = await world.start('bob')
  const { connectionId: bobId, link } = await bob.agent.createConnection({})
  return { bob, link, bobId }
}

const bobsAddress = async (): Promise<string> => {
  const bob = await world.start('bob')
  return (await bob.agent.createConnection({ mode: 'contact' })).link
}
/** alice has joined bob’s invitation of the legacy form, and her next command of a type is on its way. */
const legacyJoiner = async (type: string): Promise<{ connectionId: string }> => {
  const { link, bob, bobId } = await bobs()
  const joined = await alice.agent.joinConnection({ link: legacyLink(link) })
  const { confirmationId } = await bob.next('CONF')
  hold(type)
  await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
  await alice.next('INFO')
  await world.clock.settle()
  return joined
}

/** Brings a connection of alice to a state and gives its id. */
const states: Record<string, () => Promise<string>> = {
  'new: NEW is on its way': async () => {
    hold('NEW')
    alice.agent.createConnection({ idempotencyKey: 'k' }).catch(() => {})
    await world.until(() => world.router.all('NEW').length === 1, 'NEW')
    return firstId()
  },
  'rcv: the link is with the user': async () => (await alice.agent.createConnection({})).connectionId,
  'confirmed: not allowed yet': async () => (await world.invite(alice)).connectionId,
  'allowed: SKEY is on its way': async () => {
    const { connectionId, confirmationId } = await world.invite(alice)
    hold('SKEY')
    await alice.agent.allowConnection({ connectionId, confirmationId })
    return connectionId
  },
  'allowed: the confirmation is on its way': async () => {
    const { connectionId, confirmationId } = await world.invite(alice)
    hold('SEND')
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.clock.settle()
    return connectionId
  },
  'snd: SKEY is on its way': async () => {
    const { link } = await bobs()
    hold('SKEY')
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.clock.settle()
    return connectionId
  },
  'snd: the reply queue is being made': async () => {
    const { link } = await bobs()
    hold('NEW')
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.until(() => world.router.all('NEW').length === 2, 'NEW')
    return connectionId
  },
  'snd: the router is away': async () => {
    const { link } = await bobs()
    world.network.setReachable(world.router.place, 'refuses')
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.clock.advance(5_000)
    return connectionId
  },
  'joined: the confirmation is on its way': async () => {
    const { link } = await bobs()
    hold('SEND')
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.clock.settle()
    return connectionId
  },
  'joined: not allowed yet': async () => {
    const { link, bob } = await bobs()
    const { connectionId } = await alice.agent.joinConnection({ link })
    await bob.next('CONF')
    return connectionId
  },
  'securing: KEY is on its way': async () => {
    const { connectionId } = await legacyJoiner('KEY')
    return connectionId
  },
  'greeting: HELLO is on its way': async () => {
    const { connectionId } = await legacyJoiner('SEND')
    return connectionId
  },
  'answered: HELLO has not come': async () => {
    const { connectionId, confirmationId } = await world.invite(alice, { legacyReply: true })
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.clock.settle()
    return connectionId
  },
  'contact: invitations wait': async () => {
    const { connectionId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const bob = await world.start('bob')
    await bob.agent.joinConnection({ link })
    await alice.next('REQ')
    return connectionId
  },
  'requesting: the queue is being made': async () => {
    const link = await bobsAddress()
    hold('NEW')
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.until(() => world.router.all('NEW').length === 2, 'NEW')
    return connectionId
  },
  'inviting: the invitation is on its way': async () => {
    const link = await bobsAddress()
    hold('SEND')
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.until(() => world.router.all('SEND').length === 1, 'SEND')
    return connectionId
  },
  'prepared: nothing is known to a router': async () =>
    (await alice.agent.prepareConnectionToJoin({ link: await bobsAddress() })).connectionId,
  'connected: at rest': async () => (await world.befriend(alice)).connectionId,
  'connected: messages wait both ways': async () => {
    const { connectionId, peer } = await world.befriend(alice)
    await peer.say('in')
    await peer.say('in too')
    hold('SEND')
    for (const body of ['out', 'out too']) await alice.agent.sendMessage({ connectionId, body })
    await alice.next('MSG')
    return connectionId
  },
}

describe('deleteConnection', () => {
  it.each(
    [false, true].flatMap(waitDelivery =>
      Object.entries(states).map(([state, bring]) => [state, waitDelivery, bring] as const),
    ),
  )(
    'B90 %s (waitDelivery %s): its rows go, its queue at the router too, DEL_CONN comes last',
    async (_, waitDelivery, bring) => {
      const connectionId = await bring()
      await world.clock.settle()
      const before = alice.events.length
      await alice.agent.deleteConnection({ connectionId, waitDelivery })
      await world.clock.settle()
      release()
      world.network.setReachable(world.router.place, 'answers')
      await alice.next('DEL_CONN', connectionId)
      await world.clock.advance(200_000)
      expect(await rowsOf(alice.store, connectionId)).toEqual([])
      expect(queuesOf('alice')).toBe(0)
      const after = alice.events.slice(before)
      const own = after.filter(event => event.connectionId === connectionId).map(({ type }) => type)
      expect(own.at(-1)).toBe('DEL_CONN')
      expect(own.filter(type => type === 'ERR' || type === 'DEL_CONN')).toEqual(['DEL_CONN'])
      expect(own.filter(type => type === 'DEL_RCVQ').length).toBeLessThanOrEqual(1)
      // Nothing of it is subscribed any more: a lost session is not made again.
      const sessions = world.router.sessions.length
      world.cut('alice')
      await world.clock.advance(60_000)
      expect(world.router.sessions).toHaveLength(sessions)
      expect(alice.events.filter(({ type }) => type === 'DOWN')).toEqual([])
    },
  )

  it('B90 DEL_RCVQ names the router; DEL_CONN follows; repeated calls change nothing, also for what never existed', async () => {
    const { connectionId } = await world.befriend(alice)
    await Promise.all([0, 1, 2].map(() => alice.agent.deleteConnection({ connectionId })))
    const deleted = await alice.next('DEL_RCVQ', connectionId)
    expect(deleted).toMatchObject({ router: world.router.address })
    await alice.next('DEL_CONN', connectionId)
    await alice.agent.deleteConnection({ connectionId })
    await alice.agent.deleteConnection({ connectionId: 'nobody' })
    await world.clock.advance(10_000)
    expect(alice.events.filter(({ type }) => type.startsWith('DEL'))).toHaveLength(2)
    expect(world.router.all('DEL')).toHaveLength(1)
  })

  it('B90 calls for it are refused from the moment of the answer on, and it is told as deleted until its queue is', async () => {
    const { connectionId, confirmationId } = await world.befriend(alice)
    hold('DEL')
    await alice.agent.deleteConnection({ connectionId })
    await expect(alice.agent.sendMessage({ connectionId, body: 'x' })).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    await expect(alice.agent.allowConnection({ connectionId, confirmationId })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
    })
    expect(await alice.agent.subscribe({ connectionIds: [connectionId] })).toMatchObject({
      results: [{ ok: false, error: { code: 'CONN_NOT_FOUND' } }],
    })
    expect(await alice.agent.listConnections({})).toMatchObject({
      connections: [{ connectionId, status: 'deleted', ready: false, subscribed: false }],
    })
    release()
    await alice.next('DEL_CONN')
    await expect(alice.agent.sendMessage({ connectionId, body: 'x' })).rejects.toMatchObject({ code: 'CONN_NOT_FOUND' })
    expect(await alice.agent.listConnections({})).toEqual({ connections: [] })
  })

  it('B90 nothing that waited is done any more: no message is sent, no other command is run, after a restart neither', async () => {
    const { connectionId } = await world.befriend(alice)
    const invited = await world.invite(alice)
    hold('SEND', 'SKEY', 'DEL')
    for (const body of ['one', 'two']) await alice.agent.sendMessage({ connectionId, body })
    await alice.agent.allowConnection({ connectionId: invited.connectionId, confirmationId: invited.confirmationId })
    await world.clock.settle()
    for (const id of [connectionId, invited.connectionId]) await alice.agent.deleteConnection({ connectionId: id })
    expect(await alice.store.find(deliveries, {})).toEqual([])
    const waiting = await alice.store.find(commands, {})
    expect(waiting.map(({ type }) => type)).toEqual(['deleteQueue', 'deleteQueue'])
    const rows = alice.crash()
    const seen = world.router.seen.length
    alice = await world.start('alice', { store: { open: rows } })
    await world.clock.advance(100_000)
    const later = world.router.seen.slice(seen).map(({ command }) => command.type)
    expect(new Set(later)).toEqual(new Set(['DEL']))
  })

  it.each(['OK', 'AUTH'] as const)(
    'B90 the answer (%s) to a message that was on its way comes after the deletion: nothing is told of it',
    async answer => {
      const { connectionId } = await world.befriend(alice)
      hold('SEND', 'DEL')
      await alice.agent.sendMessage({ connectionId, body: 'on its way' })
      await world.clock.settle()
      const [held] = world.router.all('SEND').slice(-1)
      if (held === undefined) throw new Error('nothing was sent')
      await alice.agent.deleteConnection({ connectionId })
      if (answer === 'OK') world.router.release(held)
      else held.session.send({ to: held, response: errorAnswer('AUTH') })
      await world.clock.settle()
      release()
      await alice.next('DEL_CONN')
      expect(alice.events.map(({ type }) => type).filter(type => ['SENT', 'MERR', 'ERR'].includes(type))).toEqual([])
      expect(await rowsOf(alice.store, connectionId)).toEqual([])
    },
  )

  it('B90 its unread events stay, and can be acknowledged', async () => {
    const { connectionId, peer } = await world.befriend(alice)
    await peer.say('unread')
    const { messageId } = await alice.next('MSG')
    await alice.agent.deleteConnection({ connectionId })
    await alice.next('DEL_CONN')
    alice = await world.start('alice', { store: { open: alice.crash() } })
    expect((await alice.next('MSG')).messageId).toBe(messageId)
    await alice.agent.ackMessage({ connectionId, messageId })
    await alice.agent.ackEvents({ upTo: 100 })
    expect((await alice.agent.readEvents({})).events).toEqual([])
  })

  it('B90 a message that arrives with the deletion is not told, nor is it an error', async () => {
    const { connectionId, peer } = await world.befriend(alice)
    const gate = commitGate(alice.store)
    gate.close()
    void alice.agent.sendMessage({ connectionId, body: 'holds the lock' })
    await world.clock.settle()
    const deleting = alice.agent.deleteConnection({ connectionId })
    await peer.say('too late')
    await world.clock.settle()
    gate.open()
    await deleting
    await alice.next('DEL_CONN')
    expect(alice.events.filter(({ type }) => type === 'MSG' || type === 'ERR')).toEqual([])
  })

  it('B90 a queue that is gone at the router already counts as deleted', async () => {
    const { connectionId } = await world.befriend(alice)
    world.router.queues.length = 0
    await alice.agent.deleteConnection({ connectionId })
    expect((await alice.next('DEL_RCVQ')).error).toBeUndefined()
    await alice.next('DEL_CONN')
  })

  it('B90 other connections of the same session go on', async () => {
    const [gone, kept] = [await world.befriend(alice), await world.befriend(alice)]
    await alice.agent.deleteConnection({ connectionId: gone.connectionId })
    await alice.next('DEL_CONN')
    await kept.peer.say('still here')
    await alice.next('MSG', kept.connectionId)
    await alice.agent.sendMessage({ connectionId: kept.connectionId, body: 'me too' })
    await alice.next('SENT')
  })

  it.each([
    [
      'behind the commit of the deletion',
      (changes: Parameters<typeof touches>[0]) => touches(changes, deliveries, 'removeWhere'),
    ],
    [
      'behind the commit that notes the router’s OK',
      (changes: Parameters<typeof touches>[0]) => touches(changes, rcvQueues, 'removeWhere'),
    ],
  ])('B90 killed %s, it goes on after the restart and is told once', async (_, at) => {
    const { connectionId } = await world.befriend(alice)
    let rows: MemoryStore | undefined
    afterCommits(alice.store, changes => {
      if (rows === undefined && at(changes)) rows = alice.crash()
    })
    alice.agent.deleteConnection({ connectionId }).catch(() => {})
    await world.until(() => rows !== undefined, 'the crash')
    alice = await world.start('alice', { store: { open: rows as MemoryStore } })
    await alice.next('DEL_CONN', connectionId)
    await world.clock.advance(60_000)
    expect(await rowsOf(alice.store, connectionId)).toEqual([])
    expect(queuesOf('alice')).toBe(0)
    expect(alice.events.filter(({ type }) => type.startsWith('DEL')).map(({ type }) => type)).toEqual([
      'DEL_RCVQ',
      'DEL_CONN',
    ])
  })

  it('B90 killed while DEL is on its way, whether the router did it or not', async () => {
    for (const reaction of ['lose', 'loseAnswer'] as const) {
      const { connectionId } = await world.befriend(alice)
      world.router.react = ({ command }) => (command.type === 'DEL' ? reaction : undefined)
      await alice.agent.deleteConnection({ connectionId })
      await world.clock.settle()
      const rows = alice.crash()
      world.router.react = () => undefined
      alice = await world.start('alice', { store: { open: rows } })
      await alice.next('DEL_CONN', connectionId)
      expect(await rowsOf(alice.store, connectionId)).toEqual([])
      expect(queuesOf('alice')).toBe(0)
    }
  })
})

describe('deleteConnection with waitDelivery', () => {
  let second: ScriptedRouter
  let bob: TestAgent
  let connectionId: string
  let bobId: string
  beforeEach(async () => {
    // Alice receives at one router and sends to the other.
    second = await scriptedRouter({ clock: world.clock, network: world.network, host: 'second' })
    bob = await world.start('bob', { routers: [second.address] })
    ;({ initiatorId: connectionId, joinerId: bobId } = await world.connect(alice, bob))
  })
  const types = () => alice.events.filter(event => event.connectionId === connectionId).map(({ type }) => type)
  const send = async (...bodies: string[]): Promise<number[]> => {
    const ids: number[] = []
    for (const body of bodies) ids.push((await alice.agent.sendMessage({ connectionId, body })).messageId)
    return ids
  }
  const away = (): void => {
    world.network.setReachable(second.place, 'refuses')
    for (const link of world.network.links({ place: second.place })) link.cut()
  }
  const back = (): void => world.network.setReachable(second.place, 'answers')
  const remove = (waitDelivery = true) => alice.agent.deleteConnection({ connectionId, waitDelivery })

  it('B90 nothing waits: deleted at once', async () => {
    await send('hi')
    await alice.next('SENT')
    await remove()
    await alice.next('DEL_CONN')
    await world.clock.settle()
    expect(types().slice(-2)).toEqual(['DEL_RCVQ', 'DEL_CONN'])
    expect(await rowsOf(alice.store, connectionId)).toEqual([])
    await bob.agent.sendMessage({ connectionId: bobId, body: 'too late' })
    expect((await bob.next('MERR')).error).toMatchObject({ code: 'AUTH' })
  })

  it('B90 its queue goes at once, what waits is delivered, in its order, and only then it is gone', async () => {
    away()
    const ids = await send('one', 'two')
    await remove()
    await alice.next('DEL_RCVQ')
    expect(queuesOf('alice')).toBe(0)
    await world.clock.advance(600_000)
    expect(types()).not.toContain('DEL_CONN')
    expect(await alice.agent.listConnections({})).toMatchObject({
      connections: [{ connectionId, status: 'closing', ready: false, subscribed: false }],
    })
    await expect(send('three')).rejects.toMatchObject({ code: 'CMD_PROHIBITED', field: connectionId })
    expect(await alice.agent.subscribe({ connectionIds: [connectionId] })).toMatchObject({
      results: [{ ok: false, error: { code: 'CONN_NOT_FOUND' } }],
    })
    expect(await alice.agent.subscribe({})).toEqual({ results: [] })
    back()
    for (const id of ids) expect((await alice.next('SENT')).messageId).toBe(id)
    await alice.next('DEL_CONN')
    expect(types().slice(-4)).toEqual(['DEL_RCVQ', 'SENT', 'SENT', 'DEL_CONN'])
    expect(await rowsOf(alice.store, connectionId)).toEqual([])
    await bob.agent.subscribe({})
    expect(textOf((await bob.next('MSG')).body)).toBe('one')
  })

  it('B90 the end follows the last delivery at once, not at the next look', async () => {
    second.react = ({ command }) => (command.type === 'SEND' ? 'hold' : undefined)
    await send('one')
    await remove()
    await world.clock.advance(20_000)
    const held = second.all('SEND').at(-1)
    expect(types()).not.toContain('DEL_CONN')
    if (held !== undefined) second.release(held)
    await world.clock.settle()
    expect(types().slice(-2)).toEqual(['SENT', 'DEL_CONN'])
  })

  it('B90 messages that are refused are told of, and end the waiting too', async () => {
    second.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    await send('one', 'two')
    await remove()
    await world.clock.advance(10_000)
    second.queues.length = 0
    second.react = () => undefined
    await alice.next('DEL_CONN')
    expect(types().slice(-4)).toEqual(['DEL_RCVQ', 'MERR', 'MERR', 'DEL_CONN'])
  })

  it('B90 a full queue is waited for too', async () => {
    let full = true
    second.react = ({ command }) => (command.type === 'SEND' && full ? errorAnswer('QUOTA') : undefined)
    await send('one')
    await remove()
    await alice.next('MWARN')
    await world.clock.advance(60_000)
    full = false
    await alice.next('SENT')
    await alice.next('DEL_CONN')
  })

  const hour = 3_600_000
  it.each([0, 1])('B90 at most two days; what is left is told of by MERRS (%s restarts)', async restarts => {
    const config = { deleteDeliveryTimeoutMs: 5 * hour, messageTimeoutMs: 100 * hour }
    alice = await world.start('alice', { store: { open: alice.crash() }, config })
    second.react = ({ command }) => (command.type === 'SEND' ? errorAnswer('QUOTA') : undefined)
    const ids = await send('one', 'two')
    await remove()
    await world.clock.advance(4 * hour)
    for (let count = 0; count < restarts; count++)
      alice = await world.start('alice', { store: { open: alice.crash() }, config })
    await world.clock.advance(hour - 60_000)
    expect(types()).not.toContain('DEL_CONN')
    await world.clock.advance(60_000 + 120_000)
    const { messageIds, error } = await alice.next('MERRS')
    expect([messageIds, error.code]).toEqual([ids, 'CONN_DELETED'])
    await alice.next('DEL_CONN')
    expect(await rowsOf(alice.store, connectionId)).toEqual([])
    const sent = second.all('SEND').length
    second.react = () => undefined
    await world.clock.advance(48 * hour)
    expect(second.all('SEND')).toHaveLength(sent)
  })

  it('B90 two days are the default', () => {
    expect(defaultConfig).toMatchObject({ deleteDeliveryTimeoutMs: 48 * hour, deleteAttempts: 10 })
  })

  it('B90 called again: waiting changes nothing, without it the rest is dropped at once', async () => {
    away()
    await send('one', 'two')
    await remove()
    await remove()
    await alice.next('DEL_RCVQ')
    await world.clock.advance(hour)
    expect(await alice.store.count(commands)).toBe(1)
    await remove(false)
    await world.clock.settle()
    expect(types().slice(-2)).toEqual(['DEL_RCVQ', 'DEL_CONN'])
    expect(await rowsOf(alice.store, connectionId)).toEqual([])
    const seen = second.all('SEND').length
    back()
    await world.clock.advance(hour)
    expect(second.all('SEND')).toHaveLength(seen)
  })

  it('B90 called again without it while its own queue cannot be deleted: gone when the queue is', async () => {
    away()
    hold('DEL')
    await send('one')
    await remove()
    await remove(false)
    await world.clock.advance(1_000)
    expect(types()).not.toContain('DEL_CONN')
    release()
    await alice.next('DEL_CONN')
    expect(types().slice(-2)).toEqual(['DEL_RCVQ', 'DEL_CONN'])
  })

  it('B90 killed behind each of its commits it still delivers, and is told once', async () => {
    let kill = 0
    for (let killed = true; killed; kill++) {
      const ids = await world.connect(alice, bob)
      connectionId = ids.initiatorId
      const before = { rcvq: deletedQueues(), conn: goneConnections() }
      away()
      await send('one', 'two')
      let rows: MemoryStore | undefined
      let left = kill
      afterCommits(alice.store, () => {
        if (rows === undefined && left-- === 0) rows = alice.crash()
      })
      remove().catch(() => {})
      await world.clock.advance(1_000)
      back()
      await world.until(() => rows !== undefined || types().includes('DEL_CONN'), 'the kill or the end')
      left = -1
      killed = rows !== undefined
      if (rows !== undefined) alice = await world.start('alice', { store: { open: rows } })
      await remove()
      await world.until(() => types().includes('DEL_CONN'), 'DEL_CONN')
      await world.clock.advance(200_000)
      expect([kill, types().filter(type => type === 'SENT' || type.startsWith('DEL'))]).toEqual([
        kill,
        ['DEL_RCVQ', 'SENT', 'SENT', 'DEL_CONN'],
      ])
      expect(await rowsOf(alice.store, connectionId)).toEqual([])
      expect([deletedQueues() - before.rcvq, goneConnections() - before.conn]).toEqual([1, 1])
    }
    expect(kill).toBeGreaterThan(4)
  })
  const deletedQueues = () => alice.events.filter(({ type }) => type === 'DEL_RCVQ').length
  const goneConnections = () => alice.events.filter(({ type }) => type === 'DEL_CONN').length
})

describe('deleteConnections', () => {
  it('B90 each answers for itself, in the order of the call; repeated and unknown ones too', async () => {
    const created = await Promise.all(Array.from({ length: 5 }, () => alice.agent.createConnection({})))
    const ids = created.map(({ connectionId }) => connectionId)
    const connectionIds = [...ids, 'nobody', ids[0] ?? '']
    expect(await alice.agent.deleteConnections({ connectionIds })).toEqual({
      results: connectionIds.map(connectionId => ({ connectionId, ok: true })),
    })
    await world.until(() => alice.events.filter(({ type }) => type === 'DEL_CONN').length === 5, 'five DEL_CONN')
    await world.clock.advance(60_000)
    expect(alice.events.filter(({ type }) => type === 'DEL_RCVQ')).toHaveLength(5)
    expect(alice.events.filter(({ type }) => type === 'DEL_CONN').map(({ connectionId }) => connectionId)).toEqual(
      expect.arrayContaining(ids),
    )
    expect(await alice.agent.deleteConnections({ connectionIds: [] })).toEqual({ results: [] })
  })

  it('B90 one that fails does not keep the others from being deleted, nor is it changed', async () => {
    const created = await Promise.all(Array.from({ length: 4 }, () => alice.agent.createConnection({})))
    const ids = created.map(({ connectionId }) => connectionId)
    const [foreign = '', ...own] = ids
    const ownership = { owns: (id: string) => id !== foreign }
    alice = await world.start('alice', { store: { open: alice.crash() }, ownership })
    const { results } = await alice.agent.deleteConnections({ connectionIds: ids })
    expect(results).toMatchObject([{ ok: false, error: { code: 'NOT_OWNER' } }, ...own.map(() => ({ ok: true }))])
    await world.until(() => alice.events.filter(({ type }) => type === 'DEL_CONN').length === 3, 'three DEL_CONN')
    expect(await alice.store.find(connections, {})).toMatchObject([{ connectionId: foreign, status: 'rcv' }])
  })

  it('B90 with waitDelivery each waits for its own messages', async () => {
    const [busy, idle] = [await world.befriend(alice), await world.befriend(alice)]
    hold('SEND')
    await alice.agent.sendMessage({ connectionId: busy.connectionId, body: 'wait for me' })
    const connectionIds = [busy.connectionId, idle.connectionId]
    await alice.agent.deleteConnections({ connectionIds, waitDelivery: true })
    await alice.next('DEL_CONN', idle.connectionId)
    await world.clock.advance(5_000)
    expect(alice.events.filter(({ type }) => type === 'DEL_CONN')).toHaveLength(1)
    release()
    await alice.next('SENT', busy.connectionId)
    await alice.next('DEL_CONN', busy.connectionId)
  })

  it('B90 more than are deleted at once, while calls for them come in: no deadlock, each is deleted once', async () => {
    alice = await world.start('alice', { store: { open: alice.crash() }, config: { maxUnreadEvents: 10_000 } })
    const keys = Array.from({ length: 600 }, (_, index) => `${index}`)
    const made = await Promise.all(keys.map(idempotencyKey => alice.agent.createConnection({ idempotencyKey })))
    const connectionIds = made.map(({ connectionId }) => connectionId)
    const others = connectionIds
      .toReversed()
      .map(connectionId => alice.agent.sendMessage({ connectionId, body: 'x' }).catch(() => {}))
    const [{ results }] = await Promise.all([
      alice.agent.deleteConnections({ connectionIds }),
      alice.agent.deleteConnections({ connectionIds: connectionIds.toReversed() }),
      ...others,
    ])
    expect(results.every(({ ok }) => ok)).toBe(true)
    await world.until(() => alice.events.filter(({ type }) => type === 'DEL_CONN').length === 600, 'every DEL_CONN')
    await world.clock.advance(10_000)
    expect(alice.events.filter(({ type }) => type === 'DEL_RCVQ')).toHaveLength(600)
    expect(await alice.store.count(connections)).toBe(0)
    expect(world.router.queues).toEqual([])
  })
})
