import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Router } from '../../src/router/router.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { afterCommits } from '../support/storeFaults.js'

let world: AgentWorld
let router: Router
let alice: TestAgent
let bob: TestAgent
let ids: { initiatorId: string; joinerId: string }

beforeEach(async () => {
  world = agentWorld()
  router = await world.startRouter()
  alice = await world.startAgent('alice', [router])
  bob = await world.startAgent('bob', [router])
  ids = await world.connect(alice, bob)
})
afterEach(() => world.close())

const sendFrom = (side: TestAgent, body: string) =>
  side.agent.sendMessage({ connectionId: side === alice ? ids.initiatorId : ids.joinerId, body })

describe('suspension', () => {
  it('B04 gradual: SUSPENDED comes when nothing is under way; calls that change something are refused until the agent is in the foreground again', async () => {
    expect(await alice.agent.suspendAgent({ maxDelayMs: 10_000 })).toEqual({ state: 'suspended' })
    await alice.next('SUSPENDED')
    await expect(sendFrom(alice, 'no')).rejects.toMatchObject({ code: 'AGENT_SUSPENDED' })
    await expect(alice.agent.createConnection({})).rejects.toMatchObject({ code: 'AGENT_SUSPENDED' })
    const { connections } = await alice.agent.listConnections({})
    expect(connections).toHaveLength(1)
    await alice.agent.foregroundAgent({})
    await sendFrom(alice, 'yes')
    expect(textOf((await bob.next('MSG')).body)).toBe('yes')
  })

  it('B04 immediate: suspended at once and silently', async () => {
    expect(await alice.agent.suspendAgent({})).toEqual({ state: 'suspended' })
    await world.clock.advance(60_000)
    expect(alice.events.map(event => event.type)).not.toContain('SUSPENDED')
    await expect(sendFrom(alice, 'no')).rejects.toMatchObject({ code: 'AGENT_SUSPENDED' })
    await alice.agent.foregroundAgent({})
  })

  it('B04 what arrives while the agent is suspended is stored by nobody, and processed once when it is in the foreground', async () => {
    await bob.agent.suspendAgent({ maxDelayMs: 1_000 })
    await bob.next('SUSPENDED')
    await sendFrom(alice, 'one')
    await sendFrom(alice, 'two')
    await world.clock.advance(600_000)
    expect(bob.events.filter(event => event.type === 'MSG')).toEqual([])
    await bob.agent.foregroundAgent({})
    const first = await bob.next('MSG')
    expect(textOf(first.body)).toBe('one')
    await bob.agent.ackMessage({ connectionId: ids.joinerId, messageId: first.messageId })
    expect(textOf((await bob.next('MSG')).body)).toBe('two')
    expect(bob.events.filter(event => event.type === 'MSG')).toHaveLength(2)
  })

  it('B05 a message that was accepted before the suspension is delivered before SUSPENDED', async () => {
    const sent = sendFrom(alice, 'last')
    // The unit of work has begun, its delivery has not.
    const suspending = alice.agent.suspendAgent({ maxDelayMs: 10_000 })
    expect(await suspending).toEqual({ state: 'suspending' })
    await sent
    await alice.next('SUSPENDED')
    await alice.agent.foregroundAgent({})
    await alice.next('SENT')
    expect(textOf((await bob.next('MSG')).body)).toBe('last')
  })

  it('B05 an attempt under way holds the suspension up: SENT stands before SUSPENDED in the log', async () => {
    world.network.setLatency(50)
    await sendFrom(alice, 'on its way')
    expect(await alice.agent.suspendAgent({ maxDelayMs: 10_000 })).toEqual({ state: 'suspending' })
    await alice.next('SUSPENDED')
    const types = alice.events.map(event => event.type)
    expect(types.indexOf('SENT')).toBeGreaterThan(-1)
    expect(types.indexOf('SENT')).toBeLessThan(types.indexOf('SUSPENDED'))
    world.network.setLatency(0)
    await alice.agent.foregroundAgent({})
  })

  it('B05 a queue with many messages ends with the one under way: the others wait for the foreground, and keep their order', async () => {
    world.network.setLatency(50)
    const bodies = Array.from({ length: 8 }, (_, n) => String(n))
    for (const body of bodies) await sendFrom(alice, body)
    await world.clock.advance(10)
    await alice.agent.suspendAgent({ maxDelayMs: 60_000 })
    await alice.next('SUSPENDED')
    expect(alice.events.filter(({ type }) => type === 'SENT')).toHaveLength(1)
    world.network.setLatency(0)
    await alice.agent.foregroundAgent({})
    for (const body of bodies) {
      const { messageId, body: got } = await bob.next('MSG')
      expect(textOf(got)).toBe(body)
      await bob.agent.ackMessage({ connectionId: ids.joinerId, messageId })
    }
    await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 8, 'SENT of all')
  })

  it('B06 a delivery that waits for its next attempt lets SUSPENDED out, and is tried again at once in the foreground', async () => {
    cutOff('alice')
    await sendFrom(alice, 'later')
    await world.clock.advance(100_000)
    await alice.agent.suspendAgent({ maxDelayMs: 60_000 })
    await alice.next('SUSPENDED')
    world.network.setReachable(place(), 'answers')
    await world.clock.advance(600_000)
    expect(alice.events.map(event => event.type)).not.toContain('SENT')
    const resumedAt = world.clock.now()
    await alice.agent.foregroundAgent({})
    await alice.next('SENT')
    expect(world.clock.now() - resumedAt).toBeLessThan(1_000)
  })

  it('B06 a command that waits for its next attempt lets SUSPENDED out, and does not run until the foreground', async () => {
    cutOff('alice')
    await alice.agent.deleteConnection({ connectionId: ids.initiatorId })
    await world.clock.advance(5_000)
    await alice.agent.suspendAgent({ maxDelayMs: 60_000 })
    await alice.next('SUSPENDED')
    world.network.setReachable(place(), 'answers')
    await world.clock.advance(600_000)
    expect(alice.events.map(event => event.type)).not.toContain('DEL_CONN')
    await alice.agent.foregroundAgent({})
    await alice.next('DEL_CONN')
  })

  it('B04 closing a suspended agent ends: what waited is stored or comes again', async () => {
    await bob.agent.suspendAgent({})
    await sendFrom(alice, 'while away')
    await world.clock.advance(1_000)
    await bob.agent.close()
    await expect(bob.agent.foregroundAgent({})).rejects.toMatchObject({ code: 'AGENT_CLOSED' })
    const again = await world.startAgent('bob', [router], { store: { open: bob.store.reopen() } })
    await again.agent.subscribe({})
    expect(textOf((await again.next('MSG')).body)).toBe('while away')
  })
})

const place = (): string => `localhost:${/:(\d+)$/.exec(router.address)?.[1]}`
const cutOff = (name: string): void => {
  world.network.setReachable(place(), 'refuses')
  for (const link of world.network.links({ from: name })) link.cut()
}

/** A call that the application makes again while the agent is suspended. */
const insisting = async <T>(call: () => Promise<T>): Promise<T> => {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if ((error as { code?: string }).code !== 'AGENT_SUSPENDED') throw error
      await world.clock.advance(1_000)
    }
  }
}

describe.each(['initiator', 'joiner'] as const)('a handshake whose %s is suspended for a minute', role => {
  it('B04 behind any of its commits, it goes on with the same keys and completes', async () => {
    for (let at = 1; ; at++) {
      const anna = await world.startAgent(`anna${at}`, [router])
      const ben = await world.startAgent(`ben${at}`, [router])
      const { agent, store } = role === 'initiator' ? anna : ben
      let commits = 0
      let done = false
      let foreground: unknown
      afterCommits(store, () => {
        if (++commits !== at || done) return
        void agent.suspendAgent({})
        world.clock.setTimeout(() => {
          foreground = agent.foregroundAgent({})
        }, 60_000)
      })
      const { connectionId, link } = await insisting(() => anna.agent.createConnection({ idempotencyKey: 'once' }))
      const joined = await insisting(() => ben.agent.joinConnection({ link, idempotencyKey: 'once' }))
      const { confirmationId } = await anna.next('CONF', connectionId)
      await insisting(() => anna.agent.allowConnection({ connectionId, confirmationId }))
      await anna.next('CON', connectionId)
      await ben.next('CON', joined.connectionId)
      done = true
      await world.clock.advance(61_000)
      await anna.agent.sendMessage({ connectionId, body: 'hello' })
      expect((await ben.next('MSG')).integrity).toEqual({ result: 'ok' })
      for (const one of [anna, ben]) expect(one.events.filter(({ type }) => type === 'CON')).toHaveLength(1)
      await Promise.all([anna.agent.close(), ben.agent.close()])
      if (foreground === undefined) return
    }
  })
})
