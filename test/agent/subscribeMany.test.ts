/** What subscribe answers for connections with no queue or several, and how everything is subscribed: in which order, how much at once. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { commands, connections, rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { users } from '../../src/store/agent/users.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { type MemoryStore, openMemoryStore } from '../../src/store/memory.js'
import { insert, patch, remove } from '../../src/store/index.js'
import type { TestAgent } from '../support/agentWorld.js'
import { errorAnswer, scriptedRouter, type SeenCommand } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { type Seeded, seedQueues } from '../support/seedQueues.js'

let world: ScriptedWorld
let alice: TestAgent
let store: MemoryStore
beforeEach(async () => {
  world = await scriptedWorld()
  store = openMemoryStore()
})
afterEach(() => world.close())

const start = async (options: Parameters<ScriptedWorld['start']>[1] = {}): Promise<TestAgent> => {
  alice = await world.start('alice', { store: { open: store }, ...options })
  return alice
}
/** Lets time pass until a call is answered. */
const answered = async <T>(call: Promise<T>): Promise<T> => {
  let done = false
  void call.finally(() => (done = true)).catch(() => {})
  await world.until(() => done, 'the answer')
  return call
}
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
const idsOf = (seeded: readonly Seeded[]): string[] => seeded.map(({ connectionId }) => connectionId)
const upIds = (): string[] => alice.events.flatMap(event => (event.type === 'UP' ? event.connectionIds : []))
const downIds = (): string[] => alice.events.flatMap(event => (event.type === 'DOWN' ? event.connectionIds : []))
const connectionOf = (seeded: readonly Seeded[], { entityId }: SeenCommand): string =>
  seeded.find(({ queue }) => same(queue.recipientId, entityId))?.connectionId ?? 'unknown'

describe('B64 connections with no queue, or several', () => {
  const joined = async (sndStatus: string): Promise<string> => {
    const bob = await world.start('bob')
    const { link } = await bob.agent.createConnection({})
    await start()
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.until(() => world.router.all('SEND').length > 0, 'the confirmation')
    store = alice.crash()
    // As an interrupted deletion, or a database of an older version, leaves it.
    const [rcv] = await store.find(rcvQueues, { where: { connectionId } })
    const [snd] = await store.find(sndQueues, { where: { connectionId } })
    await store.commit([
      remove(rcvQueues, { queueId: rcv?.queueId ?? '' }),
      patch(sndQueues, { queueId: snd?.queueId ?? '' }, { status: sndStatus }),
    ])
    await start()
    return connectionId
  }

  it('B64 a send-only connection in its handshake is no error', async () => {
    const connectionId = await joined('confirmed')
    const { results } = await alice.agent.subscribe({ connectionIds: [connectionId] })
    expect(results).toEqual([{ connectionId, ok: true }])
  })

  it('B64 a send-only connection that is complete answers CONN SIMPLEX', async () => {
    const connectionId = await joined('active')
    const { results } = await alice.agent.subscribe({ connectionIds: [connectionId] })
    expect(results).toMatchObject([{ connectionId, ok: false, error: { code: 'CONN_SIMPLEX', field: connectionId } }])
    expect(world.router.all('SUB')).toEqual([])
  })

  it('B64 a connection whose queue the router has not made yet is no error, and each is answered once, in the order of the call', async () => {
    await seedQueues(store, world.router, 3)
    const [, second] = await store.find(rcvQueues, { orderBy: ['connectionId'] })
    await store.commit([patch(rcvQueues, { queueId: second?.queueId ?? '' }, { rcvId: null })])
    await start()
    const connectionIds = ['seeded-00002', 'nobody', 'seeded-00001', 'seeded-00000', 'seeded-00002']
    const { results } = await alice.agent.subscribe({ connectionIds })
    expect(results).toEqual([
      { connectionId: 'seeded-00002', ok: true },
      { connectionId: 'nobody', ok: false, error: expect.objectContaining({ code: 'CONN_NOT_FOUND' }) },
      { connectionId: 'seeded-00001', ok: true },
      { connectionId: 'seeded-00000', ok: true },
    ])
    expect(world.router.all('SUB')).toHaveLength(2)
  })

  it('B64 a complete connection that can receive is no error, though its send queue is active too', async () => {
    alice = await world.start('alice')
    const { connectionId } = await world.befriend(alice)
    expect(await alice.store.find(sndQueues, {})).toMatchObject([{ connectionId, status: 'active' }])
    expect(await alice.agent.subscribe({ connectionIds: [connectionId] })).toEqual({
      results: [{ connectionId, ok: true }],
    })
  })

  it('B64 a deleted connection and one of a deleted user answer that they are not there, and are not subscribed', async () => {
    const [gone] = await seedQueues(store, world.router, 1)
    const [deleted] = await seedQueues(store, world.router, 1, { userId: 2, prefix: 'other' })
    await store.commit([
      insert(users, { userId: 2, name: '', createdAt: 0, hidden: false, deleted: true }),
      patch(connections, { connectionId: gone?.connectionId ?? '' }, { status: 'deleted' }),
    ])
    await start()
    const connectionIds = [gone?.connectionId ?? '', deleted?.connectionId ?? '']
    const { results } = await alice.agent.subscribe({ connectionIds })
    expect(results).toMatchObject(connectionIds.map(id => ({ connectionId: id, error: { code: 'CONN_NOT_FOUND' } })))
    expect(await alice.agent.subscribe({})).toEqual({ results: [] })
    expect(world.router.all('SUB')).toEqual([])
  })

  it('B64 more than are looked up at once are answered once each', async () => {
    await start()
    const connectionIds = Array.from({ length: 1_001 }, (_, n) => `nobody-${n}`)
    const { results } = await alice.agent.subscribe({ connectionIds })
    expect(results.map(({ connectionId }) => connectionId)).toEqual(connectionIds)
  })

  // [status of a queue, whether its SUB succeeds] in the order of their ids, and whether the connection is subscribed then.
  type Case = readonly [ReadonlyArray<readonly [string, boolean]>, boolean]
  const cases: readonly Case[] = [
    [
      [
        ['active', false],
        ['new', true],
      ],
      false,
    ],
    [
      [
        ['new', true],
        ['active', false],
      ],
      false,
    ],
    [
      [
        ['active', true],
        ['new', false],
      ],
      true,
    ],
    [
      [
        ['new', false],
        ['active', true],
      ],
      true,
    ],
    [
      [
        ['active', false],
        ['active', true],
      ],
      true,
    ],
    [
      [
        ['active', true],
        ['active', false],
      ],
      true,
    ],
    [
      [
        ['new', false],
        ['secured', true],
      ],
      true,
    ],
    [
      [
        ['confirmed', true],
        ['new', false],
      ],
      true,
    ],
    [
      [
        ['new', false],
        ['new', false],
      ],
      false,
    ],
  ]
  it.each(cases)(
    'B64 of several queues the one in use counts, then the one that succeeds: %j → %s',
    async (queues, ok) => {
      const [first] = await seedQueues(store, world.router, 1)
      const connectionId = first?.connectionId ?? ''
      await seedQueues(store, world.router, 1, { connectionId })
      const rows = await store.find(rcvQueues, { orderBy: ['queueId'] })
      await store.commit(
        rows.map(({ queueId }, index) => patch(rcvQueues, { queueId }, { status: queues[index]?.[0] ?? 'new' })),
      )
      const dead = rows.filter((_, index) => queues[index]?.[1] === false)
      world.router.react = ({ command, entityId }) =>
        command.type === 'SUB' && dead.some(({ rcvId }) => same(rcvId ?? Buffer.alloc(0), entityId))
          ? errorAnswer('AUTH')
          : undefined
      await start()
      for (const params of [{ connectionIds: [connectionId] }, {}]) {
        const { results } = await alice.agent.subscribe(params)
        expect(results).toHaveLength(1)
        expect(results[0]).toMatchObject(ok ? { connectionId, ok } : { connectionId, ok, error: { code: 'AUTH' } })
      }
    },
  )

  it('B60 a connection with two queues on one router is told of once: UP, DOWN, UP', async () => {
    const [first] = await seedQueues(store, world.router, 1)
    const connectionId = first?.connectionId ?? ''
    await seedQueues(store, world.router, 1, { connectionId })
    await start({ config: { subscribeBatch: 1 } })
    await alice.agent.subscribe({})
    expect(upIds()).toEqual([connectionId])
    expect(world.router.all('SUB')).toHaveLength(2)
    world.cut('alice')
    await world.until(() => upIds().length === 2, 'UP again')
    await world.clock.advance(60_000)
    expect(downIds()).toEqual([connectionId])
    expect(upIds()).toEqual([connectionId, connectionId])
  })
})

describe('B65 everything', () => {
  it('B65 the active user’s connections first, at most maxPendingSubscriptions at once, each once', async () => {
    const other = await scriptedRouter({ clock: world.clock, network: world.network, host: 'other' })
    const routers = [world.router, other]
    const seeded: Seeded[] = []
    for (const userId of [1, 2, 3]) {
      await store.commit([insert(users, { userId, name: '', createdAt: 0, hidden: false, deleted: false })])
      for (const [index, router] of routers.entries()) {
        seeded.push(...(await seedQueues(store, router, 5, { userId, prefix: `user${userId}-${index}` })))
      }
    }
    const order: SeenCommand[] = []
    const open: SeenCommand[] = []
    let most = 0
    for (const router of routers) {
      router.react = seen => {
        if (seen.command.type !== 'SUB') return undefined
        order.push(seen)
        open.push(seen)
        most = Math.max(most, open.length)
        world.clock.setTimeout(() => {
          open.splice(open.indexOf(seen), 1)
          router.release(seen)
        }, 1_000)
        return 'hold'
      }
    }
    await start({ config: { maxPendingSubscriptions: 4, subscribeBatch: 3 } })
    const subscribing = alice.agent.subscribe({ activeUserId: 2 })
    await world.until(() => upIds().length === 30, 'everything')
    const { results } = await answered(subscribing)
    expect(results.map(({ connectionId }) => connectionId).sort()).toEqual(idsOf(seeded).sort())
    expect(results.every(({ ok }) => ok)).toBe(true)
    expect(most).toBeLessThanOrEqual(4)
    expect(most).toBeGreaterThan(1)
    const byUser = order.map(seen => connectionOf(seeded, seen).slice(0, 5))
    expect(byUser.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 'user2'))
    expect(byUser.slice(10).toSorted()).toEqual(byUser.slice(10))
    expect(order).toHaveLength(30)
  })

  it('B65 one router that does not answer does not keep the others waiting, as long as there is room', async () => {
    const dead = await scriptedRouter({ clock: world.clock, network: world.network, host: 'dead' })
    await seedQueues(store, dead, 20, { prefix: 'dead' })
    const live = await seedQueues(store, world.router, 20, { prefix: 'live' })
    dead.react = ({ command }) => (command.type === 'SUB' ? 'lose' : undefined)
    await start({ config: { maxPendingSubscriptions: 20, subscribeBatch: 5 } })
    const subscribing = alice.agent.subscribe({})
    await world.until(() => upIds().length === 20, 'the live router')
    expect(upIds().sort()).toEqual(idsOf(live))
    const { results } = await answered(subscribing)
    expect(results.filter(({ ok }) => !ok)).toHaveLength(20)
  })

  it('B65 routers with few connections each are asked side by side: what they do not need of the bound is there for others', async () => {
    const routers = [world.router]
    for (let index = 0; index < 7; index++) {
      routers.push(await scriptedRouter({ clock: world.clock, network: world.network, host: `r${index}` }))
    }
    for (const [index, router] of routers.entries()) await seedQueues(store, router, 1, { prefix: `r${index}` })
    let open = 0
    for (const router of routers) {
      router.react = () => {
        open++
        return 'hold'
      }
    }
    await start({ config: { maxPendingSubscriptions: 13, subscribeBatch: 5 } })
    const subscribing = alice.agent.subscribe({})
    await world.until(() => open === 8, 'all routers')
    for (const router of routers) for (const seen of router.all('SUB')) router.release(seen)
    expect((await answered(subscribing)).results.filter(({ ok }) => ok)).toHaveLength(8)
  })

  it('B65 a router that cannot be reached is not knocked at again for each page of its connections', async () => {
    await seedQueues(store, world.router, 20)
    world.network.setReachable(world.router.place, 'refuses')
    let dialled = 0
    const dialer = world.network.dialer('alice')
    await start({
      config: { subscribeBatch: 2 },
      dialer: {
        dial: (router, how) => {
          dialled++
          return dialer.dial(router, how)
        },
      },
    })
    const { results } = await answered(alice.agent.subscribe({}))
    expect(results).toHaveLength(20)
    expect(results.every(result => !result.ok && (result.error as { code: string }).code === 'TRANSPORT_CONNECT')).toBe(
      true,
    )
    expect(dialled).toBe(1)
    world.network.setReachable(world.router.place, 'answers')
    await world.until(() => upIds().length === 20, 'the router is back')
  })

  it('B65 deleted connections and disabled queues are left out; there is no service, so each queue gets its own SUB', async () => {
    const [gone, disabled, ...rest] = await seedQueues(store, world.router, 5)
    await store.commit([patch(connections, { connectionId: gone?.connectionId ?? '' }, { status: 'deleted' })])
    const [row] = await store.find(rcvQueues, { where: { connectionId: disabled?.connectionId ?? '' } })
    await store.commit([patch(rcvQueues, { queueId: row?.queueId ?? '' }, { status: 'disabled' })])
    await start()
    const { results } = await answered(alice.agent.subscribe({}))
    expect(results.map(({ connectionId }) => connectionId).sort()).toEqual(idsOf(rest))
    expect(world.router.seen.map(({ command }) => command.type)).toEqual(['SUB', 'SUB', 'SUB'])
  })
})

describe('B66 batches, and what is active is left alone', () => {
  it('B66 1,400 SUBs go in batches of 1,350, each in one round trip, the second when the first is answered', async () => {
    await seedQueues(store, world.router, 1_400)
    const held: SeenCommand[] = []
    world.router.react = seen => {
      held.push(seen)
      return 'hold'
    }
    await start()
    const subscribing = alice.agent.subscribe({})
    await world.until(() => held.length === 1_350, 'a batch')
    await world.clock.advance(5_000)
    expect(held).toHaveLength(1_350)
    world.router.react = () => undefined
    for (const seen of held) world.router.release(seen)
    expect((await answered(subscribing)).results).toHaveLength(1_400)
    await world.clock.settle()
    const ups = alice.events.filter(({ type }) => type === 'UP')
    expect(ups.map(event => (event.type === 'UP' ? event.connectionIds.length : 0))).toEqual([1_350, 50])
  })

  it('B66 a repeated subscribe sends SUB only for what is not active', async () => {
    const seeded = await seedQueues(store, world.router, 10)
    await start()
    await alice.agent.subscribe({ connectionIds: idsOf(seeded).slice(0, 4) })
    expect(world.router.all('SUB')).toHaveLength(4)
    const { results } = await answered(alice.agent.subscribe({}))
    expect(results).toHaveLength(10)
    expect(world.router.all('SUB')).toHaveLength(10)
    await alice.agent.subscribe({ connectionIds: idsOf(seeded) })
    expect(world.router.all('SUB')).toHaveLength(10)
  })

  it('B66 calls that come while SUB is on its way share its answer', async () => {
    await seedQueues(store, world.router, 5)
    const held: SeenCommand[] = []
    world.router.react = seen => {
      held.push(seen)
      return 'hold'
    }
    await start()
    const calls = Array.from({ length: 20 }, () => alice.agent.subscribe({}))
    await world.until(() => held.length === 5, 'SUB')
    await world.clock.advance(1_000)
    for (const seen of held) world.router.release(seen)
    for (const { results } of await Promise.all(calls)) expect(results.filter(({ ok }) => ok)).toHaveLength(5)
    expect(held).toHaveLength(5)
  })

  it('B66 a session that is lost in the middle of the batches: the next one sends each SUB once, the lost one none any more', async () => {
    await seedQueues(store, world.router, 7)
    let reactions = 0
    world.router.react = ({ command }) => {
      if (command.type === 'SUB') reactions++
      return reactions <= 2 ? 'hold' : undefined
    }
    await start({ config: { subscribeBatch: 2 } })
    const subscribing = alice.agent.subscribe({})
    await world.until(() => reactions === 2, 'the first batch')
    world.cut('alice')
    await world.until(() => upIds().length === 7, 'everything')
    await world.clock.advance(600_000)
    expect(world.router.all('SUB')).toHaveLength(2 + 7)
    const perSession = world.router.sessions.map(
      ({ received }) => received.filter(({ command }) => command.type === 'SUB').length,
    )
    expect(perSession).toEqual([2, 7])
    expect((await answered(subscribing)).results).toHaveLength(7)
    expect(downIds()).toEqual([])
  })

  it('B66 a session in which a whole batch is not answered, and nothing else is subscribed, is given up', async () => {
    await seedQueues(store, world.router, 3)
    world.router.react = ({ session }) => (session === world.router.sessions[0] ? 'lose' : undefined)
    await start()
    const { results } = await answered(alice.agent.subscribe({}))
    expect(results.every(({ ok }) => !ok)).toBe(true)
    const asked = world.clock.now()
    await world.until(() => upIds().length === 3, 'another session')
    expect(world.clock.now() - asked).toBeLessThan(5_000)
    expect(world.router.sessions).toHaveLength(2)
    expect(downIds()).toEqual([])
  })
})

describe('B67 what waits', () => {
  // Rows that no worker was woken for, as a worker that has crashed leaves them.
  it.each(['all', 'named'])('B67 subscribing %s resumes the deliveries that wait for them', async which => {
    await start()
    const { connectionId } = await world.befriend(alice)
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    const { messageId } = await alice.agent.sendMessage({ connectionId, body: 'one' })
    store = alice.crash()
    const waiting = await store.find(deliveries, {})
    await store.commit(waiting.map(({ queueId, messageId }) => remove(deliveries, { queueId, messageId })))
    world.network.setReachable(world.router.place, 'answers')
    await start()
    await store.commit(waiting.map(row => insert(deliveries, row)))
    await world.clock.advance(3_600_000)
    expect(alice.events.filter(({ type }) => type === 'SENT')).toEqual([])
    await alice.agent.subscribe(which === 'all' ? {} : { connectionIds: [connectionId] })
    expect((await alice.next('SENT', connectionId)).messageId).toBe(messageId)
  })

  it.each(['all', 'named'])('B67 subscribing %s resumes the commands that wait for them', async which => {
    const bob = await world.start('bob')
    const { link } = await bob.agent.createConnection({})
    await start()
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    const { connectionId } = await alice.agent.joinConnection({ link })
    store = alice.crash()
    const waiting = await store.find(commands, {})
    expect(waiting).toHaveLength(1)
    await store.commit(waiting.map(({ commandId }) => remove(commands, { commandId })))
    world.network.setReachable(world.router.place, 'answers')
    await start()
    await store.commit(waiting.map(row => insert(commands, row)))
    await world.clock.advance(3_600_000)
    expect(bob.events.filter(({ type }) => type === 'CONF')).toEqual([])
    await alice.agent.subscribe(which === 'all' ? {} : { connectionIds: [connectionId] })
    await bob.next('CONF')
  })

  it('B67 only of the connections that are named', async () => {
    await start()
    const { connectionId } = await world.befriend(alice)
    const other = await world.befriend(alice)
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    for (const id of [connectionId, other.connectionId])
      await alice.agent.sendMessage({ connectionId: id, body: 'one' })
    store = alice.crash()
    const waiting = await store.find(deliveries, {})
    expect(waiting).toHaveLength(2)
    await store.commit(waiting.map(({ queueId, messageId }) => remove(deliveries, { queueId, messageId })))
    world.network.setReachable(world.router.place, 'answers')
    await start()
    await store.commit(waiting.map(row => insert(deliveries, row)))
    await alice.agent.subscribe({ connectionIds: [connectionId] })
    await alice.next('SENT', connectionId)
    await world.clock.advance(3_600_000)
    expect(alice.events.filter(({ type }) => type === 'SENT')).toHaveLength(1)
  })
})
