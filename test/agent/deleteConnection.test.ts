/** deleteConnection at every moment of a connection’s life: rows, router, events. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { agentTables } from '../../src/store/agent/tables.js'
import { commands, connections, rcvQueues } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import type { MemoryStore } from '../../src/store/memory.js'
import type { TestAgent } from '../support/agentWorld.js'
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
  it.each(Object.entries(states))(
    '%s: its rows go, its queue at the router too, DEL_CONN comes last',
    async (_, bring) => {
      const connectionId = await bring()
      await world.clock.settle()
      const before = alice.events.length
      await alice.agent.deleteConnection({ connectionId })
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

  it('DEL_RCVQ names the router; DEL_CONN follows; repeated calls change nothing, also for what never existed', async () => {
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

  it('calls for it are refused from the moment of the answer on, and it is told as deleted until its queue is', async () => {
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

  it('nothing that waited is done any more: no message is sent, no other command is run, after a restart neither', async () => {
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

  it('its unread events stay, and can be acknowledged', async () => {
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

  it('a message that arrives with the deletion is not told, nor is it an error', async () => {
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

  it('a queue that is gone at the router already counts as deleted', async () => {
    const { connectionId } = await world.befriend(alice)
    world.router.queues.length = 0
    await alice.agent.deleteConnection({ connectionId })
    expect((await alice.next('DEL_RCVQ')).error).toBeUndefined()
    await alice.next('DEL_CONN')
  })

  it('other connections of the same session go on', async () => {
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
  ])('killed %s, it goes on after the restart and is told once', async (_, at) => {
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

  it('killed while DEL is on its way, whether the router did it or not', async () => {
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
