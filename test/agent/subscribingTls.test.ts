/** The rows of subscribing that matter most, once more on real sockets and a real database. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemRandom } from '../../src/crypto/index.js'
import { systemClock } from '../../src/runtime/clock.js'
import { connectRouter } from '../../src/smp/client.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { tlsDialer } from '../../src/smp/transport/tls.js'
import { textOf } from '../support/agentWorld.js'
import { type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'
import { asAdmin, noPostgres } from '../store/postgres.js'

const missing = await noPostgres()

describe.skipIf(missing !== undefined)(
  `TLS and Postgres${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let world: TlsWorld
    let alice: TlsAgent
    let bob: TlsAgent
    beforeEach(async () => {
      world = await tlsWorld()
      ;[alice, bob] = await Promise.all([world.startAgent(), world.startAgent()])
    })
    afterEach(() => world.close())

    const say = async (from: TlsAgent, connectionId: string, to: TlsAgent, body: string): Promise<void> => {
      await from.agent.sendMessage({ connectionId, body })
      const message = await to.next('MSG')
      expect(textOf(message.body)).toBe(body)
      expect(message.integrity).toEqual({ result: 'ok' })
      await to.agent.ackMessage({ connectionId: message.connectionId, messageId: message.messageId })
      await from.next('SENT', connectionId)
    }

    it('B60 B66 UP of everything in one event, DOWN with the router, UP when it is back; messages go on', async () => {
      const ids = await Promise.all([0, 1, 2].map(() => world.connect(alice, bob)))
      const mine = ids.map(({ joinerId }) => joinerId).sort()
      bob = await bob.restart()
      const { results } = await bob.agent.subscribe({})
      expect(results.map(({ connectionId, ok }) => (ok ? connectionId : '')).sort()).toEqual(mine)
      expect([...(await bob.next('UP')).connectionIds].sort()).toEqual(mine)
      await world.stopRouter()
      expect([...(await bob.next('DOWN')).connectionIds].sort()).toEqual(mine)
      await alice.next('DOWN')
      const [first] = ids
      await alice.agent.sendMessage({ connectionId: first?.initiatorId ?? '', body: 'while it was away' })
      await world.startRouter()
      expect([...(await bob.next('UP')).connectionIds].sort()).toEqual(mine)
      expect(textOf((await bob.next('MSG', first?.joinerId)).body)).toBe('while it was away')
    })

    it('B60 B63 another client takes a queue: END for its connection, which can be subscribed again; messages go on', async () => {
      const { initiatorId, joinerId } = await world.connect(alice, bob)
      const other = await world.connect(alice, bob)
      const { rows } = await asAdmin(
        `SELECT rcv_id, rcv_private_key FROM "${bob.schema}".rcv_queues WHERE connection_id = '${joinerId}'`,
      )
      const [{ rcv_id: entityId, rcv_private_key: privateKey }] = rows as [Record<string, Buffer>]
      const thief = await connectRouter({
        dialer: tlsDialer(),
        router: parseRouterAddress(world.address),
        clock: systemClock,
        random: systemRandom,
      })
      await thief.send({
        command: { type: 'SUB' },
        entityId: entityId as Buffer,
        key: { algorithm: 'ed25519', privateKey: privateKey as Buffer },
      })
      await bob.next('END', joinerId)
      const { connections } = await bob.agent.listConnections({})
      expect(connections.find(({ connectionId }) => connectionId === joinerId)?.subscribed).toBe(false)
      await say(alice, other.initiatorId, bob, 'the other connection is still there')
      const { results } = await bob.agent.subscribe({ connectionIds: [joinerId] })
      expect(results).toEqual([{ connectionId: joinerId, ok: true }])
      expect((await bob.next('UP')).connectionIds).toEqual([joinerId])
      await say(alice, initiatorId, bob, 'taken back')
      thief.close()
    })

    it('B65 B66 everything page by page from the database, the active user first, and again without a SUB', async () => {
      await alice.agent.createUser({})
      const made = await Promise.all(
        Array.from({ length: 25 }, (_, index) => alice.agent.createConnection({ userId: index < 10 ? 1 : 2 })),
      )
      alice = await alice.restart({ config: { subscribeBatch: 4, maxPendingSubscriptions: 4 } })
      const { results } = await alice.agent.subscribe({ activeUserId: 2 })
      expect(results.every(({ ok }) => ok)).toBe(true)
      expect(results.map(({ connectionId }) => connectionId).sort()).toEqual(
        made.map(({ connectionId }) => connectionId).sort(),
      )
      const ups: Array<readonly [number, number]> = []
      for (let count = 0; count < 25; ) {
        const { userId, connectionIds } = await alice.next('UP')
        ups.push([userId, connectionIds.length])
        count += connectionIds.length
      }
      expect(ups).toEqual([
        [2, 4],
        [2, 4],
        [2, 4],
        [2, 3],
        [1, 4],
        [1, 4],
        [1, 2],
      ])
      await alice.agent.subscribe({})
      expect(alice.events.filter(({ type }) => type === 'UP')).toHaveLength(7)
    })

    it('B68 session mode: DOWN, UP in sessions of their own, and messages both ways; offline, nothing is tried', async () => {
      const first = await world.connect(alice, bob)
      const second = await world.connect(alice, bob)
      await alice.agent.setNetworkConfig({ sessionMode: 'entity' })
      expect((await alice.next('DOWN')).connectionIds).toHaveLength(2)
      const up = [await alice.next('UP'), await alice.next('UP')].flatMap(({ connectionIds }) => connectionIds)
      expect(up.sort()).toEqual([first.initiatorId, second.initiatorId].sort())
      for (const { initiatorId, joinerId } of [first, second]) {
        await say(alice, initiatorId, bob, 'there')
        await say(bob, joinerId, alice, 'and back')
      }
      await alice.agent.setNetwork({ online: false })
      await world.stopRouter()
      await alice.next('DOWN')
      await alice.next('DOWN')
      await world.startRouter()
      await bob.next('UP')
      // Bob is back, with the same delays as alice has.
      expect(alice.events.filter(({ type }) => type === 'UP')).toHaveLength(2)
      await alice.agent.setNetwork({ online: true })
      await alice.next('UP')
      await alice.next('UP')
      await say(bob, first.joinerId, alice, 'again')
    })

    it('B69 messages are asked for one by one', async () => {
      const { initiatorId, joinerId } = await world.connect(alice, bob)
      // What belongs to the handshake is acknowledged: else it would be the first answer.
      await vi.waitFor(() => expect(world.router.stats().messagesStored).toBe(0), { timeout: 10_000, interval: 5 })
      bob = await bob.restart()
      for (const body of ['one', 'two']) await alice.agent.sendMessage({ connectionId: initiatorId, body })
      await alice.next('SENT', initiatorId)
      await alice.next('SENT', initiatorId)
      for (const body of ['one', 'two']) {
        const { results } = await bob.agent.getMessages({ connectionIds: [joinerId] })
        const message = await bob.next('MSG', joinerId)
        expect(results).toEqual([{ connectionId: joinerId, ok: true, brokerId: message.brokerId }])
        expect(textOf(message.body)).toBe(body)
        await bob.agent.ackMessage({ connectionId: joinerId, messageId: message.messageId })
      }
      const { results } = await bob.agent.getMessages({ connectionIds: [joinerId] })
      expect(results).toEqual([{ connectionId: joinerId, ok: true }])
    })

    it('B69 a session that nobody uses is closed, and made again when it is needed', async () => {
      const { initiatorId, joinerId } = await world.connect(alice, bob)
      bob = await bob.restart({ config: { idleSessionMs: 100 } })
      const sessions = async (count: number) =>
        vi.waitFor(() => expect(world.router.stats().sessions).toBe(count), { timeout: 10_000, interval: 5 })
      await sessions(1)
      for (const body of ['one', 'two']) {
        await bob.agent.sendMessage({ connectionId: joinerId, body })
        await bob.next('SENT', joinerId)
        const message = await alice.next('MSG', initiatorId)
        expect(textOf(message.body)).toBe(body)
        await alice.agent.ackMessage({ connectionId: initiatorId, messageId: message.messageId })
        await sessions(1)
      }
      expect(bob.events.filter(({ type }) => type === 'DOWN' || type === 'ERR')).toEqual([])
    })
  },
)
