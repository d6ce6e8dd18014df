/** The time of day is set while an agent runs: how long something has taken is measured by a clock that nobody sets. */
import { afterEach, expect, it } from 'vitest'
import { SettableClock } from '../simulation/clocks.js'
import { type AgentWorld, agentWorld } from '../support/agentWorld.js'

let world: AgentWorld
afterEach(() => world.close())

const day = 24 * 3_600_000

const connected = async () => {
  world = agentWorld()
  const [near, far] = [await world.startRouter(), await world.startRouter()]
  const clock = new SettableClock(world.clock)
  const alice = await world.startAgent('alice', [near], { clock })
  const bob = await world.startAgent('bob', [far])
  const { initiatorId } = await world.connect(alice, bob)
  return { alice, clock, initiatorId, place: `localhost:${far.port}`, nearPlace: `localhost:${near.port}` }
}

it('B43 a router that could not be reached is tried again, though the time of day was set back after that', async () => {
  const { alice, clock, initiatorId, place } = await connected()
  world.network.setReachable(place, 'refuses')
  for (const link of world.network.links({ place })) link.cut()
  await alice.agent.sendMessage({ connectionId: initiatorId, body: 'hello' })
  await world.clock.advance(1_000)
  clock.jump(-3 * day)
  await world.clock.advance(10_000)
  world.network.setReachable(place, 'answers')
  expect(await alice.next('SENT', initiatorId)).toMatchObject({ connectionId: initiatorId })
})

it('B66 a half-open session is noticed, though the time of day was set back since it was heard last', async () => {
  const { alice, clock, initiatorId, nearPlace } = await connected()
  await alice.agent.subscribe({})
  clock.jump(-3 * day)
  for (const link of world.network.links({ place: nearPlace, from: 'alice' })) link.halt()
  expect(await alice.next('DOWN')).toMatchObject({ connectionIds: [initiatorId] })
  for (const link of world.network.links()) link.cut()
})
