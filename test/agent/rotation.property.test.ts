import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'

type Name = 'alice' | 'bob'
type Step =
  | { readonly type: 'switch'; readonly side: Name }
  | { readonly type: 'say'; readonly side: Name; readonly count: number }
  | { readonly type: 'pass'; readonly ms: number }
  | { readonly type: 'cut'; readonly side: Name }

const side = fc.constantFrom<Name>('alice', 'bob')
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('switch' as const), side }) },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('say' as const), side, count: fc.integer({ min: 1, max: 5 }) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 2_000 }) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('cut' as const), side }) },
)

/** Two agents that talk while their queues move through three routers; answers how many switches were completed. */
const talk = async (
  steps: readonly Step[],
  { latency, quota }: { latency: number; quota: number },
): Promise<number> => {
  const world = agentWorld()
  try {
    const routers = []
    for (let n = 0; n < 3; n++) routers.push(await world.startRouter({ messageQuota: quota }))
    const agents = {
      alice: await world.startAgent('alice', routers),
      bob: await world.startAgent('bob', routers),
    }
    const pair = await world.connect(agents.alice, agents.bob)
    const connectionOf = { alice: pair.initiatorId, bob: pair.joinerId }
    const wanted = { alice: [] as string[], bob: [] as string[] }
    const got = { alice: read(agents.alice), bob: read(agents.bob) }
    world.network.setLatency(latency)
    let counter = 0
    const say = async (name: Name): Promise<void> => {
      const body = `${name} ${counter++}`
      await agents[name].agent.sendMessage({ connectionId: connectionOf[name], body })
      wanted[name === 'alice' ? 'bob' : 'alice'].push(body)
    }
    for (const { type, ...rest } of steps) {
      const one = rest as { side: Name; count: number; ms: number }
      if (type === 'pass') await world.clock.advance(one.ms)
      else if (type === 'cut') for (const link of world.network.links({ from: one.side })) link.cut()
      else if (type === 'say') for (let n = 0; n < one.count; n++) await say(one.side)
      else {
        // One that is under way refuses the next one.
        await agents[one.side].agent.switchConnection({ connectionId: connectionOf[one.side] }).catch(() => {})
        await world.clock.advance(latency * 4)
      }
    }
    for (const name of ['alice', 'bob'] as const) await say(name)
    const quiet = async (): Promise<boolean> => {
      const queues = await Promise.all(
        [agents.alice, agents.bob].flatMap(agent => [agent.store.count(rcvQueues), agent.store.count(sndQueues)]),
      )
      return queues.every(count => count === 1)
    }
    let settled = false
    for (let n = 0; n < 3_000 && !settled; n++) {
      await world.clock.advance(1_000)
      settled = got.alice.length >= wanted.alice.length && got.bob.length >= wanted.bob.length && (await quiet())
    }
    await world.clock.advance(60_000)
    expect({ settled, ...got }).toEqual({ settled: true, ...wanted })
    world.network.setLatency(0)
    return completed(agents.alice) + completed(agents.bob)
  } finally {
    world.network.setLatency(0)
    await world.close()
  }
}

const completed = ({ events }: TestAgent): number =>
  events.filter(event => event.type === 'SWITCH' && event.direction === 'rcv' && event.phase === 'completed').length

const read = (agent: TestAgent): string[] => {
  const got: string[] = []
  void (async () => {
    for await (const event of agent.agent.events()) {
      if (event.type !== 'MSG') continue
      got.push(textOf(event.body))
      await agent.agent.ackMessage({ connectionId: event.connectionId, messageId: event.messageId }).catch(() => {})
    }
  })()
  return got
}

const numRuns = Number(process.env['ROTATION_RUNS'] ?? 6)

it('B70 B78 rotations at any moment of a conversation: nothing lost, twice or out of order', { timeout: 600_000 }, () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 30 }),
      fc.record({ latency: fc.constantFrom(0, 20, 300), quota: fc.constantFrom(4, 128) }),
      async (steps, network) => void (await talk(steps, network)),
    ),
    { numRuns },
  ),
)

it('B70 two agents rotate through three routers 100 times while they talk', { timeout: 600_000 }, async () => {
  const steps = Array.from({ length: 50 }, (_, n): Step[] => [
    { type: 'say', side: 'alice', count: 2 },
    { type: 'switch', side: 'alice' },
    { type: 'say', side: 'bob', count: 3 },
    { type: 'switch', side: 'bob' },
    { type: 'say', side: n % 2 === 0 ? 'alice' : 'bob', count: 1 },
    { type: 'pass', ms: 500 },
  ]).flat()
  expect(await talk(steps, { latency: 10, quota: 128 })).toBeGreaterThanOrEqual(100)
})
