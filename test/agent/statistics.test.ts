import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Router } from '../../src/router/router.js'
import { type AgentWorld, agentWorld, type TestAgent } from '../support/agentWorld.js'

let world: AgentWorld
let router: Router
let alice: TestAgent

beforeEach(async () => {
  world = agentWorld()
  router = await world.startRouter()
  alice = await world.startAgent('alice', [router])
})
afterEach(() => world.close())

const countsOf = async ({ agent }: TestAgent, userId = 1): Promise<Record<string, number>> =>
  (await agent.getStatistics({ userId })).statistics.find(({ router: at }) => at === router.address)?.counts ?? {}

describe('statistics', () => {
  it('B01 are counted by user and router, saved at the end and restored at the start', async () => {
    await alice.agent.createUser({})
    await alice.agent.createConnection({})
    await alice.agent.createConnection({})
    await alice.agent.createConnection({ userId: 2 })
    expect(await countsOf(alice)).toEqual({ connect: 1, NEW: 2 })
    expect(await countsOf(alice, 2)).toEqual({ connect: 1, NEW: 1 })
    await alice.agent.close()
    const again = await world.startAgent('alice', [router], { store: { open: alice.store.reopen() } })
    await again.agent.createConnection({})
    expect(await countsOf(again)).toEqual({ connect: 2, NEW: 3 })
    expect((await again.agent.getStatistics({})).statistics).toHaveLength(2)
  })

  it('B01 count what fails under its code, and messages that routers send', async () => {
    const bob = await world.startAgent('bob', [router])
    const { initiatorId } = await world.connect(alice, bob)
    await alice.agent.sendMessage({ connectionId: initiatorId, body: 'hi' })
    await bob.next('MSG')
    expect(await countsOf(bob)).toMatchObject({ SKEY: 1, NEW: 1, SEND: 1 })
    expect((await countsOf(bob))['event MSG']).toBe(2)
    world.network.setReachable(router.address.slice(router.address.indexOf('@') + 1), 'refuses')
    for (const link of world.network.links({ from: 'alice' })) link.cut()
    await world.clock.advance(3_000)
    expect((await countsOf(alice))['connect TRANSPORT_CONNECT']).toBeGreaterThan(0)
  })

  it('B01 survive a kill as the last cleanup has saved them, and a reset', async () => {
    await alice.agent.createConnection({})
    await world.clock.advance(60_000)
    const rows = alice.crash()
    const again = await world.startAgent('again', [router], { store: { open: rows } })
    expect(await countsOf(again)).toMatchObject({ NEW: 1 })
    await again.agent.resetStatistics({})
    expect(await again.agent.getStatistics({})).toEqual({ since: world.clock.now(), statistics: [] })
  })
})
