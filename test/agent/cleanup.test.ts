import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { StoreError } from '../../src/errors.js'
import type { Router } from '../../src/router/router.js'
import { rcvMessages, sndMessages } from '../../src/store/agent/messages.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'

let world: AgentWorld
let router: Router
let alice: TestAgent
let bob: TestAgent
let ids: { initiatorId: string; joinerId: string }
const hour = 60 * 60 * 1000
// Weeks of virtual time take seconds; what is tested does not depend on how long the time is.
const config = { storedDataMs: 3 * hour }

beforeEach(async () => {
  world = agentWorld()
  router = await world.startRouter()
  alice = await world.startAgent('alice', [router], { config })
  bob = await world.startAgent('bob', [router], { config })
  ids = await world.connect(alice, bob)
})
afterEach(() => world.close())

const counts = async ({ store }: TestAgent): Promise<{ sent: number; received: number }> => ({
  sent: await store.count(sndMessages),
  received: await store.count(rcvMessages),
})

const exchange = async (body: string): Promise<void> => {
  await alice.agent.sendMessage({ connectionId: ids.initiatorId, body })
  const { messageId } = await bob.next('MSG')
  await bob.agent.ackMessage({ connectionId: ids.joinerId, messageId })
}

describe('cleanup', () => {
  it('B07 takes away what messages have left behind after 21 days, and not before', async () => {
    expect(defaultConfig.storedDataMs).toBe(21 * 24 * hour)
    await exchange('one')
    await world.clock.advance(2 * hour)
    await exchange('two')
    expect((await counts(alice)).sent).toBe(2)
    expect((await counts(bob)).received).toBe(2)
    await world.clock.advance(hour + 600_000)
    expect((await counts(alice)).sent).toBe(1)
    expect((await counts(bob)).received).toBe(1)
  })

  it('B07 keeps a message that waits for its delivery, and takes away what is as old beside it', async () => {
    await exchange('delivered')
    const place = `localhost:${new URL(router.address.replace('smp:', 'http:')).port}`
    world.network.setReachable(place, 'refuses')
    for (const link of world.network.links({ from: 'alice' })) link.cut()
    await alice.agent.sendMessage({ connectionId: ids.initiatorId, body: 'waits' })
    await world.clock.advance(4 * hour)
    expect((await counts(alice)).sent).toBe(1)
    world.network.setReachable(place, 'answers')
    expect(textOf((await bob.next('MSG')).body)).toBe('waits')
    await world.clock.advance(600_000)
    expect((await counts(alice)).sent).toBe(0)
  })

  it('B07 keeps a message that nobody has acknowledged', async () => {
    await alice.agent.sendMessage({ connectionId: ids.initiatorId, body: 'unread' })
    await bob.next('MSG')
    await world.clock.advance(4 * hour)
    expect((await counts(bob)).received).toBe(1)
    const { messageId } = bob.events.find(event => event.type === 'MSG') as { messageId: number }
    await bob.agent.ackMessage({ connectionId: ids.joinerId, messageId })
    await world.clock.advance(600_000)
    expect((await counts(bob)).received).toBe(0)
  })

  it('B07 begins 30 s after the start and goes on every 5 min, with 200 ms between two kinds', async () => {
    const ran: Array<[string, number]> = []
    const startedAt = world.clock.now()
    await world.startAgent('carol', [router], {
      trace: ({ unit, at }) => {
        if (unit.startsWith('cleanup.')) ran.push([unit, at - startedAt])
      },
    })
    await world.clock.advance(29_999)
    expect(ran).toEqual([])
    await world.clock.advance(10_000)
    const first = ran.find(([unit]) => unit === 'cleanup.statistics')?.[1] ?? 0
    expect(first).toBeGreaterThanOrEqual(30_000 + 4 * 200)
    expect(first).toBeLessThan(32_000)
    await world.clock.advance(300_000 + 10_000)
    const second = ran.findLast(([unit]) => unit === 'cleanup.statistics')?.[1] ?? 0
    expect(second - first).toBeGreaterThanOrEqual(300_000)
    expect(second - first).toBeLessThan(303_000)
  })

  it('B07 a kind that fails is told of and does not keep the others from being cleaned up', async () => {
    await exchange('one')
    await world.clock.advance(3 * hour - 60_000)
    alice.store.failNext(new StoreError('STORE_WRITE', 'the disk failed'))
    await world.clock.advance(700_000)
    const told = alice.events.filter(event => event.type === 'ERR')
    expect(told).toMatchObject([{ temporary: true, error: { code: 'STORE_WRITE' } }])
    expect((await counts(alice)).sent).toBe(0)
  })

  it('B01 an agent in the background does not clean up, and neither restores nor saves statistics', async () => {
    const units: string[] = []
    await alice.agent.createConnection({})
    await alice.agent.close()
    const background = await world.startAgent('alice', [router], {
      store: { open: alice.store.reopen() },
      background: true,
      trace: ({ unit }) => units.push(unit),
    })
    expect((await background.agent.getStatistics({})).statistics).toEqual([])
    await background.agent.subscribe({})
    await bob.agent.sendMessage({ connectionId: ids.joinerId, body: 'received all the same' })
    await background.next('MSG')
    await world.clock.advance(hour)
    await background.agent.close()
    expect(units.filter(unit => unit.startsWith('cleanup.') || unit === 'statistics')).toEqual([])
    const foreground = await world.startAgent('alice', [router], { store: { open: background.store.reopen() } })
    const [saved] = (await foreground.agent.getStatistics({})).statistics
    expect(saved?.counts['NEW']).toBe(2)
  })
})
