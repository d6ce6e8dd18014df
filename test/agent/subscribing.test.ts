/** Subscriptions over sessions that come and go, and routers that answer late, oddly, or with somebody else in the queue. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { randomBytes } from 'node:crypto'
import { systemRandom } from '../../src/crypto/index.js'
import { connectRouter } from '../../src/smp/client.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import type { Dialer } from '../../src/smp/transport/port.js'
import { rcvQueues } from '../../src/store/agent/connections.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import {
  errorAnswer,
  type ScriptedQueue,
  type ScriptedRouter,
  scriptedRouter,
  type SeenCommand,
} from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

const told = (agent: TestAgent, ...types: string[]) => agent.events.filter(({ type }) => types.includes(type))
const create = async (agent: TestAgent, count: number, userId = 1): Promise<string[]> => {
  const ids: string[] = []
  for (let index = 0; index < count; index++) ids.push((await agent.agent.createConnection({ userId })).connectionId)
  return ids
}
const restart = async (agent: TestAgent, options: Parameters<ScriptedWorld['start']>[1] = {}) =>
  world.start(agent.name, { store: { open: agent.crash() }, ...options })
const sorted = (ids: readonly string[]): string[] => [...ids].sort()
const subsOf = (queue: ScriptedQueue | undefined): SeenCommand[] =>
  world.router
    .all('SUB')
    .filter(({ entityId }) => Buffer.compare(entityId, queue?.recipientId ?? Buffer.alloc(0)) === 0)
const isSubscribed = async (agent: TestAgent) =>
  (await agent.agent.listConnections({})).connections.map(({ subscribed }) => subscribed)

describe('B60 UP, DOWN, END', () => {
  it('B60 one UP with all connections of a batch, router by router', async () => {
    const other = await scriptedRouter({ clock: world.clock, network: world.network, host: 'other' })
    alice = await world.start('alice')
    const here = await create(alice, 3)
    alice = await restart(alice, { routers: [other.address] })
    const there = await create(alice, 2)
    alice = await restart(alice)
    const { results } = await alice.agent.subscribe({})
    expect(results).toHaveLength(5)
    expect(results.every(({ ok }) => ok)).toBe(true)
    await world.clock.settle()
    const ups = told(alice, 'UP').map(event => (event.type === 'UP' ? [event.router, sorted(event.connectionIds)] : []))
    expect(new Map(ups as Array<[string, string[]]>)).toEqual(
      new Map([
        [world.router.address, sorted(here)],
        [other.address, sorted(there)],
      ]),
    )
    expect(ups).toHaveLength(2)
  })

  it('B60 a larger number goes in batches, each with its own UP', async () => {
    alice = await world.start('alice')
    const ids = await create(alice, 5)
    alice = await restart(alice, { config: { subscribeBatch: 2 } })
    await alice.agent.subscribe({})
    await world.clock.settle()
    const ups = told(alice, 'UP').map(event => (event.type === 'UP' ? event.connectionIds : []))
    expect(ups.map(({ length }) => length)).toEqual([2, 2, 1])
    expect(sorted(ups.flat())).toEqual(sorted(ids))
  })

  it('B60 DOWN names one router and its connections only; when it is back there is one UP, and each SUB was sent once', async () => {
    const other = await scriptedRouter({ clock: world.clock, network: world.network, host: 'other' })
    alice = await world.start('alice')
    const here = await create(alice, 3)
    alice = await restart(alice, { routers: [other.address] })
    const there = await create(alice, 2)
    await alice.agent.subscribe({})
    await alice.next('UP')
    for (const link of world.network.links({ place: world.router.place })) link.cut()
    const down = await alice.next('DOWN')
    expect([down.router, sorted(down.connectionIds)]).toEqual([world.router.address, sorted(here)])
    const up = await alice.next('UP')
    expect([up.router, sorted(up.connectionIds)]).toEqual([world.router.address, sorted(here)])
    await world.clock.advance(60_000)
    expect(told(alice, 'UP', 'DOWN')).toHaveLength(3)
    expect(world.router.all('SUB')).toHaveLength(6)
    expect(other.all('SUB')).toEqual([])
    for (const link of world.network.links({ place: other.place })) link.cut()
    const second = await alice.next('DOWN')
    expect([second.router, sorted(second.connectionIds)]).toEqual([other.address, sorted(there)])
  })

  it('B60 a connection that is created is subscribed without UP, and belongs to the next DOWN', async () => {
    alice = await world.start('alice')
    const ids = await create(alice, 1)
    expect(told(alice, 'UP')).toEqual([])
    expect(await isSubscribed(alice)).toEqual([true])
    world.cut('alice')
    expect((await alice.next('DOWN')).connectionIds).toEqual(ids)
    expect(await isSubscribed(alice)).toEqual([false])
    expect((await alice.next('UP')).connectionIds).toEqual(ids)
    expect(await isSubscribed(alice)).toEqual([true])
  })

  it('B60 END when another client takes the queue: told for its connection, which is not fought for', async () => {
    const base = await world.startRouter()
    alice = await world.startAgent('alice', [base])
    const [connectionId] = await create(alice, 2)
    const [queue] = await alice.store.find(rcvQueues, { where: { connectionId: connectionId as string } })
    const session = await connectRouter({
      dialer: world.network.dialer('thief'),
      router: parseRouterAddress(base.address),
      clock: world.clock,
      random: systemRandom,
    })
    await session.send({
      command: { type: 'SUB' },
      entityId: queue?.rcvId ?? Buffer.alloc(0),
      key: { algorithm: 'ed25519', privateKey: queue?.rcvPrivateKey ?? Buffer.alloc(0) },
    })
    await alice.next('END', connectionId)
    const { connections } = await alice.agent.listConnections({})
    expect(connections.filter(({ subscribed }) => subscribed)).toHaveLength(1)
    // Lost and found again, the session subscribes what was not taken over.
    world.cut('alice')
    const up = await alice.next('UP')
    expect(up.connectionIds).not.toContain(connectionId)
    expect(told(alice, 'END')).toHaveLength(1)
    session.close()
  })

  it('B60 a router that deletes the queue is told of as DELD', async () => {
    alice = await world.start('alice')
    const [connectionId] = await create(alice, 1)
    const [queue] = world.router.queues
    queue?.subscriber?.send({ entityId: queue.recipientId, response: { type: 'DELD' } })
    await alice.next('DELD', connectionId)
    expect(await isSubscribed(alice)).toEqual([false])
  })

  it('B60 each connection answers subscribe for itself: unknown, refused and good ones in one call', async () => {
    alice = await world.start('alice')
    const [good, refused] = await create(alice, 2)
    alice = await restart(alice)
    const [, second] = world.router.queues
    world.router.react = ({ command, entityId }) =>
      command.type === 'SUB' && Buffer.compare(entityId, second?.recipientId ?? Buffer.alloc(0)) === 0
        ? { type: 'ERR', error: { type: 'AUTH' } }
        : undefined
    const { results } = await alice.agent.subscribe({ connectionIds: [good as string, refused as string, 'nobody'] })
    const byId = new Map(results.map(result => [result.connectionId, result]))
    expect(byId.get(good as string)).toEqual({ connectionId: good, ok: true })
    expect(byId.get(refused as string)).toMatchObject({ ok: false, error: { code: 'AUTH' } })
    expect(byId.get('nobody')).toMatchObject({ ok: false, error: { code: 'CONN_NOT_FOUND', field: 'nobody' } })
    const up = await alice.next('UP')
    expect(up.connectionIds).toEqual([good])
    expect((await alice.next('ERR', refused)).error.code).toBe('AUTH')
    // A final refusal is not asked for again.
    world.cut('alice')
    await alice.next('UP')
    expect(subsOf(second)).toHaveLength(1)
  })
})

describe('B61 a result counts only while the queue is pending and its session is the current one', () => {
  // Ends the first connection right behind the block that brings an answer, before anybody has looked at it.
  const breakingDialer = (dialer: Dialer, breaks: () => boolean): Dialer => {
    let broken = false
    return {
      dial: async (router, how) => {
        const channel = await dialer.dial(router, how)
        return Object.assign(Object.create(channel) as typeof channel, {
          onBlock: (handler: (block: Uint8Array) => void) =>
            channel.onBlock(block => {
              handler(block)
              if (broken || !breaks()) return
              broken = true
              channel.destroy()
            }),
        })
      },
    }
  }

  it('B61 an OK that comes with the end of its session does not count: SUB is sent in the next one, then UP', async () => {
    alice = await world.start('alice')
    const ids = await create(alice, 2)
    const rows = alice.crash()
    let answered = 0
    world.router.react = ({ command }) => {
      if (command.type === 'SUB') answered++
      return undefined
    }
    const dialer = breakingDialer(world.network.dialer('alice'), () => answered === 2)
    alice = await world.start('alice', { store: { open: rows }, dialer })
    const subscribing = alice.agent.subscribe({})
    await world.until(() => answered === 4, 'SUB again')
    const { connectionIds } = await alice.next('UP')
    expect(sorted(connectionIds)).toEqual(sorted(ids))
    await subscribing
    await world.clock.advance(60_000)
    expect(told(alice, 'UP')).toHaveLength(1)
    expect(told(alice, 'DOWN')).toEqual([])
    expect(await isSubscribed(alice)).toEqual([true, true])
  })

  it('B61 an answer that comes after its deadline, in the same session, still counts; the repeated SUB’s does nothing', async () => {
    alice = await world.start('alice')
    const [up, late] = await create(alice, 2)
    alice = await restart(alice)
    const [, queue] = world.router.queues
    world.router.react = ({ command, entityId }) =>
      command.type === 'SUB' && Buffer.compare(entityId, queue?.recipientId ?? Buffer.alloc(0)) === 0
        ? 'hold'
        : undefined
    const subscribing = alice.agent.subscribe({})
    expect((await alice.next('UP')).connectionIds).toEqual([up])
    await world.until(() => subsOf(queue).length === 2, 'SUB again')
    const { results } = await subscribing
    expect(results.find(({ connectionId }) => connectionId === late)).toMatchObject({
      ok: false,
      error: { code: 'TRANSPORT_TIMEOUT' },
    })
    const [first, second] = subsOf(queue) as [SeenCommand, SeenCommand]
    expect(first.session === second.session).toBe(true)
    world.router.release(first)
    expect((await alice.next('UP')).connectionIds).toEqual([late])
    world.router.release(second)
    await world.clock.advance(100_000)
    expect(told(alice, 'UP', 'DOWN', 'ERR')).toHaveLength(2)
    expect(subsOf(queue)).toHaveLength(2)
  })

  it('B61 an error that comes with the end of its session does not count either', async () => {
    alice = await world.start('alice')
    const ids = await create(alice, 1)
    const rows = alice.crash()
    let answered = 0
    world.router.react = ({ command }) => {
      if (command.type !== 'SUB') return undefined
      answered++
      return answered === 1 ? { type: 'ERR', error: { type: 'AUTH' } } : undefined
    }
    const dialer = breakingDialer(world.network.dialer('alice'), () => answered === 1)
    alice = await world.start('alice', { store: { open: rows }, dialer })
    void alice.agent.subscribe({})
    expect((await alice.next('UP')).connectionIds).toEqual(ids)
    expect(told(alice, 'ERR')).toEqual([])
  })

  it('B61 a queue that was deleted while SUB was on its way stays deleted', async () => {
    alice = await world.start('alice')
    const [connectionId] = await create(alice, 1)
    alice = await restart(alice)
    world.router.react = ({ command }) => (command.type === 'SUB' ? 'hold' : undefined)
    const subscribing = alice.agent.subscribe({})
    await world.until(() => world.router.all('SUB').length === 1, 'SUB')
    await alice.agent.deleteConnection({ connectionId: connectionId as string })
    await subscribing
    const [sub] = world.router.all('SUB') as [SeenCommand]
    world.router.release(sub)
    await alice.next('DEL_CONN')
    await world.clock.advance(60_000)
    expect(told(alice, 'UP', 'DOWN', 'ERR')).toEqual([])
  })
})

describe('B62 a router that answers SUB with the message itself', () => {
  const oldRouter = (router: ScriptedRouter): void => {
    router.react = seen => {
      const queue = router.queues.find(({ recipientId }) => Buffer.compare(recipientId, seen.entityId) === 0)
      const [message] = queue?.messages ?? []
      if (seen.command.type !== 'SUB' || queue === undefined || message === undefined) return undefined
      queue.subscriber = seen.session
      queue.delivered = true
      return { type: 'MSG', messageId: message.id, body: message.body }
    }
  }

  it('B62 UP, and the message', async () => {
    alice = await world.start('alice')
    const { peer, connectionId } = await world.befriend(alice)
    const rows = alice.crash()
    await peer.say('one')
    oldRouter(world.router)
    alice = await world.start('alice', { store: { open: rows } })
    expect(await alice.agent.subscribe({})).toEqual({ results: [{ connectionId, ok: true }] })
    expect((await alice.next('UP')).connectionIds).toEqual([connectionId])
    const { body, messageId } = await alice.next('MSG', connectionId)
    expect(textOf(body)).toBe('one')
    await alice.agent.ackMessage({ connectionId, messageId })
    await world.until(() => world.router.queues[0]?.messages.length === 0, 'the ACK')
  })

  it('B62 UP even if processing the message fails; it is reported, acknowledged, and the next one arrives', async () => {
    alice = await world.start('alice')
    const { peer, connectionId, queue } = await world.befriend(alice)
    const rows = alice.crash()
    queue.messages.push({ id: randomBytes(24), body: randomBytes(16_122) })
    await peer.say('two')
    oldRouter(world.router)
    alice = await world.start('alice', { store: { open: rows } })
    await alice.agent.subscribe({})
    expect((await alice.next('UP')).connectionIds).toEqual([connectionId])
    expect((await alice.next('ERR', connectionId)).error.code).toBe('CRYPTO_BOX')
    expect(textOf((await alice.next('MSG', connectionId)).body)).toBe('two')
    expect(told(alice, 'UP')).toHaveLength(1)
  })
})

describe('B63 words about subscriptions that are not there', () => {
  it('B63 ENDS, as a service would get it, changes nothing: messages still come in the same session', async () => {
    alice = await world.start('alice')
    const { peer, connectionId, queue } = await world.befriend(alice)
    const { subscriber } = queue
    // A service’s id, none at all, and the id of a queue that is subscribed.
    for (const entityId of [randomBytes(24), Buffer.alloc(0), queue.recipientId]) {
      subscriber?.send({ entityId, response: { type: 'ENDS', count: 1 } })
    }
    await peer.say('still here')
    expect(textOf((await alice.next('MSG', connectionId)).body)).toBe('still here')
    expect(queue.subscriber === subscriber).toBe(true)
    expect(told(alice, 'END', 'DOWN', 'ERR')).toEqual([])
  })

  it('B63 END for a queue that nobody here has subscribed changes nothing', async () => {
    alice = await world.start('alice')
    const [connectionId] = await create(alice, 1)
    world.router.queues[0]?.subscriber?.send({ entityId: randomBytes(24), response: { type: 'END' } })
    await world.clock.advance(60_000)
    expect(told(alice, 'END')).toEqual([])
    expect((await alice.agent.listConnections({})).connections).toMatchObject([{ connectionId, subscribed: true }])
  })
})

describe('sessions', () => {
  it('B22 two users at one router have a session each', async () => {
    alice = await world.start('alice')
    await alice.agent.createUser({})
    await create(alice, 2, 1)
    await create(alice, 2, 2)
    const sessions = new Set(world.router.all('NEW').map(({ session }) => session))
    expect(sessions.size).toBe(2)
    expect(world.network.links({ from: 'alice' })).toHaveLength(2)
    const news = world.router.all('NEW').map(({ session }) => session)
    expect(news[0]).toBe(news[1])
    expect(news[2]).toBe(news[3])
    world.cut('alice')
    const downs = [await alice.next('DOWN'), await alice.next('DOWN')]
    expect(downs.map(({ userId, connectionIds }) => [userId, connectionIds.length])).toEqual([
      [1, 2],
      [2, 2],
    ])
  })

  it('B66 reconnects after 2 s, growing after 10 s, to 180 s at most, for as long as subscriptions wait', async () => {
    const attempts: number[] = []
    const dialer = world.network.dialer('alice')
    alice = await world.start('alice', {
      dialer: {
        dial: (router, how) => {
          attempts.push(world.clock.now())
          return dialer.dial(router, how)
        },
      },
    })
    await create(alice, 1)
    world.network.setReachable(world.router.place, 'refuses')
    attempts.length = 0
    const lostAt = world.clock.now()
    world.cut('alice')
    await world.clock.advance(3_600_000)
    const waits = attempts.map((at, index) => at - (attempts[index - 1] ?? lostAt))
    expect(waits.slice(0, 6)).toEqual([2_000, 2_000, 2_000, 2_000, 2_000, 3_000])
    expect(waits.slice(6, 9)).toEqual([4_500, 6_750, 10_125])
    expect(Math.max(...waits)).toBe(180_000)
    expect(waits.slice(-3)).toEqual([180_000, 180_000, 180_000])
    expect(told(alice, 'DOWN')).toHaveLength(1)
    world.network.setReachable(world.router.place, 'answers')
    await alice.next('UP')
    world.cut('alice')
    const again = world.clock.now()
    attempts.length = 0
    await alice.next('UP')
    // The delay starts anew after a session that was open.
    expect((attempts[0] ?? 0) - again).toBe(2_000)
  })

  it('B66 does not come back to a router that no subscription waits for', async () => {
    alice = await world.start('alice')
    const [connectionId] = await create(alice, 1)
    await alice.agent.deleteConnection({ connectionId: connectionId as string })
    await alice.next('DEL_CONN')
    const sessions = world.router.sessions.length
    world.cut('alice')
    await world.clock.advance(3_600_000)
    expect(world.router.sessions).toHaveLength(sessions)
  })

  it.each(['END', 'DELD'] as const)('B66 does not come back for a queue after its %s either', async type => {
    alice = await world.start('alice')
    const [connectionId] = await create(alice, 1)
    const [queue] = world.router.queues
    queue?.subscriber?.send({ entityId: queue.recipientId, response: { type } })
    await alice.next(type, connectionId)
    const sessions = world.router.sessions.length
    world.cut('alice')
    await world.clock.advance(3_600_000)
    expect(world.router.sessions).toHaveLength(sessions)
  })

  it('B66 does not come back for a queue whose subscription was refused for good', async () => {
    alice = await world.start('alice')
    await create(alice, 1)
    alice = await restart(alice)
    world.router.react = ({ command }) => (command.type === 'SUB' ? errorAnswer('AUTH') : undefined)
    expect(await alice.agent.subscribe({})).toMatchObject({ results: [{ ok: false, error: { code: 'AUTH' } }] })
    const sessions = world.router.sessions.length
    world.cut('alice')
    await world.clock.advance(3_600_000)
    expect(world.router.sessions).toHaveLength(sessions)
  })

  it('B61 a queue that was taken over can be subscribed again in the same session', async () => {
    alice = await world.start('alice')
    const [connectionId] = await create(alice, 1)
    alice = await restart(alice)
    await alice.agent.subscribe({})
    await alice.next('UP')
    const [queue] = world.router.queues
    queue?.subscriber?.send({ entityId: queue.recipientId, response: { type: 'END' } })
    await alice.next('END', connectionId)
    const again = alice.agent.subscribe({})
    await alice.next('UP')
    expect(await again).toEqual({ results: [{ connectionId, ok: true }] })
    expect(world.router.all('SUB')).toHaveLength(2)
    expect(await isSubscribed(alice)).toEqual([true])
  })

  it('B61 a call of subscribe is answered when the queue is deleted before SUB is', async () => {
    alice = await world.start('alice')
    const [connectionId] = await create(alice, 1)
    alice = await restart(alice)
    const [queue] = world.router.queues
    world.router.react = ({ command, session }) => {
      if (command.type !== 'SUB' || queue === undefined) return undefined
      session.send({ entityId: queue.recipientId, response: { type: 'DELD' } })
      return 'lose'
    }
    const { results } = await alice.agent.subscribe({})
    expect(results).toMatchObject([{ connectionId, ok: false, error: { code: 'SMP_SUBSCRIPTION_ENDED' } }])
    expect(await isSubscribed(alice)).toEqual([false])
  })
})
