/** The world that embedders test in, and the arbitraries that go with it. */
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Agent, type AgentEvent, maxMessageLength, maxPqMessageLength, openAgent } from '../../src/index.js'
import { arbitraries } from '../../src/testing/arbitraries.js'
import { type TestWorld, testWorld } from '../../src/testing/testWorld.js'

let world: TestWorld
const agents: Agent[] = []
beforeEach(async () => {
  world = await testWorld()
})
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.close().catch(() => {})
  await world.close()
})

const open = async (name: string): Promise<{ agent: Agent; events: AgentEvent[] }> => {
  const agent = await openAgent(world.agentOptions(name))
  agents.push(agent)
  const events: AgentEvent[] = []
  void (async () => {
    for await (const event of agent.events()) events.push(event)
  })().catch(() => {})
  return { agent, events }
}

const connect = async (one: Awaited<ReturnType<typeof open>>, other: Awaited<ReturnType<typeof open>>) => {
  const { connectionId, link } = await one.agent.createConnection({ pq: false })
  const joined = await other.agent.joinConnection({ link, pq: false })
  const conf = () => one.events.find(event => event.type === 'CONF')
  await world.until(() => conf() !== undefined, 'CONF')
  const { confirmationId } = conf() as Extract<AgentEvent, { type: 'CONF' }>
  await one.agent.allowConnection({ connectionId, confirmationId })
  await world.until(() => other.events.some(event => event.type === 'CON'), 'CON')
  return { ownId: connectionId, otherId: joined.connectionId }
}

describe('testWorld', () => {
  it('an agent that is opened under a name once more has the rows; the one before can write no more', async () => {
    const [alice, bob] = [await open('alice'), await open('bob')]
    const { otherId } = await connect(alice, bob)
    const again = await openAgent(world.agentOptions('bob'))
    agents.push(again)
    expect((await again.listConnections({})).connections).toMatchObject([{ connectionId: otherId }])
    await expect(bob.agent.sendMessage({ connectionId: otherId, body: 'late' })).rejects.toMatchObject({
      code: 'STORE_NOT_OWNER',
    })
    await again.sendMessage({ connectionId: otherId, body: 'now' })
    await world.until(() => alice.events.some(event => event.type === 'MSG'), 'the message')
  })

  it('has several routers, and says what did not happen', async () => {
    const second = await world.startRouter('second')
    expect(second.address).not.toBe(world.router.address)
    const from = world.clock.now()
    await expect(world.until(() => false, 'a miracle')).rejects.toThrow('a miracle')
    expect(world.clock.now() - from).toBeGreaterThan(86_400_000)
  })
})

describe('arbitraries', () => {
  const any = arbitraries(fc)

  it('every body is taken, as the limits are; an oversized one is refused', async () => {
    const [alice, bob] = [await open('alice'), await open('bob')]
    const { ownId } = await connect(alice, bob)
    fc.assert(fc.property(any.body(), body => body.length <= maxPqMessageLength))
    await fc.assert(
      fc.asyncProperty(any.body({ pq: false }), async body => {
        await alice.agent.sendMessage({ connectionId: ownId, body })
      }),
      { numRuns: 20, examples: [[Buffer.alloc(maxMessageLength)], [Buffer.alloc(0)]] },
    )
    await fc.assert(
      fc.asyncProperty(any.oversizedBody(), async body => {
        const refused = await alice.agent.sendMessage({ connectionId: ownId, body }).catch((error: unknown) => error)
        expect(refused).toMatchObject({ code: 'LARGE_MSG' })
      }),
      { numRuns: 10 },
    )
  })

  it('events are of the types that are asked for, and a log has rising cursors and times', () => {
    fc.assert(
      fc.property(any.event('MSG', 'SENT'), event => ['MSG', 'SENT'].includes(event.type) && event.messageId > 0),
    )
    const types = new Set<string>()
    fc.assert(
      fc.property(any.event(), ({ type }) => void types.add(type)),
      { numRuns: 1_000 },
    )
    expect(types.size).toBe(24)
    fc.assert(
      fc.property(any.eventLog({ connections: 2 }), events => {
        expect(events.map(({ cursor }) => cursor)).toEqual(events.map((_, index) => index + 1))
        for (const [index, { at }] of events.entries()) expect(at).toBeGreaterThanOrEqual(events[index - 1]?.at ?? 0)
        const named = new Set(events.map(({ connectionId }) => connectionId).filter(id => id !== ''))
        expect(named.size).toBeLessThanOrEqual(2)
      }),
    )
  })
})
