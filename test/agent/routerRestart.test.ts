/** The bundled router stops, is killed, fills up and comes back, while messages wait on every side. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deliveries } from '../../src/store/agent/messages.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { type DurableRouter, durableRouter } from '../support/durableRouter.js'

let world: AgentWorld
let router: DurableRouter
let alice: TestAgent
let bob: TestAgent
let aliceId: string
let bobId: string

const connect = async (settings: Parameters<typeof durableRouter>[1] = {}): Promise<void> => {
  world = agentWorld()
  router = await durableRouter(world, settings)
  alice = await world.startAgent('alice', [router.router])
  bob = await world.startAgent('bob', [router.router])
  ;({ initiatorId: aliceId, joinerId: bobId } = await world.connect(alice, bob))
}
afterEach(async () => {
  await world.close()
  await router.stop()
})

const take = async (agent: TestAgent, connectionId: string, count: number): Promise<string[]> => {
  const bodies: string[] = []
  while (bodies.length < count) {
    const { body, messageId, integrity } = await agent.next('MSG', connectionId)
    expect(integrity).toEqual({ result: 'ok' })
    bodies.push(textOf(body))
    await agent.agent.ackMessage({ connectionId, messageId })
  }
  return bodies
}
const numbered = (word: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${word} ${index}`)

describe('after a restart of the router', () => {
  beforeEach(() => connect())

  it('subscriptions come back by themselves, and deliveries that waited go out in order', async () => {
    await router.stop()
    await alice.next('DOWN')
    await bob.next('DOWN')
    for (const body of numbered('to bob', 10)) await alice.agent.sendMessage({ connectionId: aliceId, body })
    for (const body of numbered('to alice', 10)) await bob.agent.sendMessage({ connectionId: bobId, body })
    await world.clock.advance(600_000)
    expect(await alice.store.count(deliveries)).toBe(10)
    await router.start()
    expect((await alice.next('UP')).connectionIds).toEqual([aliceId])
    expect((await bob.next('UP')).connectionIds).toEqual([bobId])
    expect(await take(bob, bobId, 10)).toEqual(numbered('to bob', 10))
    expect(await take(alice, aliceId, 10)).toEqual(numbered('to alice', 10))
    await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 10, 'every SENT')
    expect(alice.events.filter(({ type }) => type === 'ERR' || type === 'MERR')).toEqual([])
  })

  it('messages that the router had accepted are delivered, what was delivered and not acknowledged comes once', async () => {
    for (const body of numbered('m', 5)) await alice.agent.sendMessage({ connectionId: aliceId, body })
    await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 5, 'every SENT')
    const first = await bob.next('MSG')
    await router.stop()
    await router.start()
    await bob.next('UP')
    await world.clock.advance(10_000)
    expect(bob.events.filter(({ type }) => type === 'MSG')).toHaveLength(1)
    await bob.agent.ackMessage({ connectionId: bobId, messageId: first.messageId })
    expect(await take(bob, bobId, 4)).toEqual(numbered('m', 5).slice(1))
  })

  it('of the router and both agents at once: everything goes on with subscribe()', async () => {
    await router.stop()
    for (const body of numbered('to bob', 3)) await alice.agent.sendMessage({ connectionId: aliceId, body })
    const rows = [alice.crash(), bob.crash()] as const
    alice = await world.startAgent('alice', [router.router], { store: { open: rows[0] } })
    bob = await world.startAgent('bob', [router.router], { store: { open: rows[1] } })
    const refused = await bob.agent.subscribe({})
    expect(refused.results).toMatchObject([{ connectionId: bobId, ok: false, error: { code: 'TRANSPORT_CONNECT' } }])
    await router.start()
    await bob.next('UP')
    expect(await take(bob, bobId, 3)).toEqual(numbered('to bob', 3))
  })
})

describe('a full queue', () => {
  beforeEach(() => connect({ messageQuota: 3 }))

  it('goes on as soon as it is read, also when its reader, the joiner, has never sent anything', async () => {
    for (const body of numbered('m', 10)) await alice.agent.sendMessage({ connectionId: aliceId, body })
    await alice.next('MWARN', aliceId)
    const before = world.clock.now()
    expect(await take(bob, bobId, 10)).toEqual(numbered('m', 10))
    // The slow retry would come after five minutes.
    expect(world.clock.now() - before).toBeLessThan(60_000)
    await alice.next('QCONT', aliceId)
  })
})
