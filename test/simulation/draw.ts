/** Draws what happens in a world out of a seed. */
import type { Action, Fault, Kind, Plan, Side, Step } from './plan.js'
import { type Seeded, seeded } from './seeded.js'

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** A short one: some agents, some tens of steps, from seconds to a few days; of those that take days fewer agents, so that it is played in 2 s. */
export const shortPlan = (seed: number): Plan => {
  const random = seeded(`short ${seed}`)
  const span = random.pick([20 * second, 20 * second, 3 * minute, 3 * minute, hour, hour, hour, 12 * hour, 2 * day])
  const agents = span > day ? 2 : random.int(2, 4)
  const routers = random.int(1, 3)
  const healAt = 30 * second + span
  const world: World = {
    random,
    agents,
    routers,
    pairs: span > day ? random.int(1, 2) : random.int(1, 3),
    span,
    outage: 8 * hour,
  }
  const steps: Step[] = [
    ...meetings(world),
    ...Array.from({ length: random.int(5, 25) }, () => ({ at: moment(world), ...anAction(world) })),
    ...Array.from({ length: random.int(0, 14) }, () => ({ at: moment(world), ...aFault(world) })),
  ]
  return {
    seed,
    agents,
    routers,
    quota: random.pick([2, 8, 128]),
    cleanupIntervalMs: span > hour ? hour : 5 * minute,
    latency: random.pick([
      { min: 0, max: 0 },
      { min: 1, max: 30 },
      { min: 20, max: 800 },
    ]),
    steps: inOrder(steps),
    healAt,
  }
}

/** A week of twenty agents at three routers with ten thousand messages. */
export const weekPlan = (seed: number): Plan => {
  const random = seeded(`week ${seed}`)
  const world: World = { random, agents: 20, routers: 3, pairs: 30, span: 7 * day, outage: 2 * day }
  const says = Array.from(
    { length: 4_100 },
    (): Step => ({
      at: moment(world),
      do: 'say',
      pair: random.int(0, world.pairs - 1),
      side: aSide(random),
      count: random.int(1, 5),
      how: random.pick(['one', 'one', 'batch', 'burst', 'async'] as const),
    }),
  )
  const others = Array.from({ length: 120 }, (): Step => ({ at: moment(world), ...aRareAction(world) }))
  const faults = Array.from({ length: 300 }, (): Step => ({ at: moment(world), ...aFault(world) }))
  return {
    seed,
    agents: world.agents,
    routers: world.routers,
    quota: 128,
    cleanupIntervalMs: hour,
    latency: { min: 5, max: 200 },
    steps: inOrder([...meetings(world), ...says, ...others, ...faults]),
    healAt: 7 * day + minute,
  }
}

interface World {
  readonly random: Seeded
  readonly agents: number
  readonly routers: number
  readonly pairs: number
  readonly span: number
  /** The longest that a process is down or a network parted. */
  readonly outage: number
}

const inOrder = (steps: readonly Step[]): Step[] => [...steps].sort((one, other) => one.at - other.at)

// Most of it happens in bursts: what is close together disturbs each other.
const moment = ({ random, span }: World): number => {
  const at = random.int(0, span)
  return random.chance(0.5)
    ? at
    : Math.floor(at / (span / 4)) * Math.floor(span / 4) + random.int(0, Math.min(span, 4_000))
}

const aSide = (random: Seeded): Side => random.pick(['a', 'b'])

const meetings = (world: World): Step[] =>
  Array.from({ length: world.pairs }, (_, pair): Step => {
    const { random, agents } = world
    const a = random.int(0, agents - 1)
    const b = (a + random.int(1, agents - 1)) % agents
    const kind = random.pick<Kind>(['fast', 'fast', 'legacy', 'contact'])
    return { at: random.int(0, 5_000), do: 'meet', pair, a, b, kind, pq: random.chance(0.7) }
  })

const anAction = (world: World): Action => {
  const { random } = world
  if (!random.chance(0.6)) return aRareAction(world)
  return {
    do: 'say',
    pair: random.int(0, world.pairs - 1),
    side: aSide(random),
    count: random.int(1, 6),
    how: random.pick(['one', 'batch', 'burst', 'async']),
  }
}

const aRareAction = ({ random, ...world }: World): Action => {
  const pair = random.int(0, world.pairs - 1)
  const agent = random.int(0, world.agents - 1)
  const side = aSide(random)
  const ms = aWhile(random, world.span)
  switch (random.int(0, 11)) {
    case 0:
    case 1:
    case 2:
      return { do: 'switch', pair, side }
    case 3:
      return { do: 'abort', pair, side }
    case 4:
    case 5:
      return { do: 'sync', pair, side }
    case 6:
      return random.chance(0.3) ? { do: 'delete', pair, side, wait: random.chance(0.5) } : { do: 'switch', pair, side }
    case 7:
    case 8:
      return { do: 'stall', agent, ms }
    case 9:
      return { do: 'suspend', agent, graceMs: random.pick([0, 0, 500, 20_000]), ms }
    case 10:
      return { do: 'offline', agent, ms }
    default: {
      const sessionMode = random.pick(['session', 'entity'] as const)
      return { do: 'configure', agent, sessionMode, proxyMode: random.pick(['never', 'unknown', 'always'] as const) }
    }
  }
}

const aWhile = (random: Seeded, span: number): number =>
  Math.min(random.pick([50, 3 * second, 40 * second, 5 * minute, 8 * hour, 2 * day]), Math.floor(span / 2))

const aFault = ({ random, ...world }: World): Fault => {
  const agent = random.int(0, world.agents - 1)
  const router = random.int(0, world.routers - 1)
  const ms = Math.min(aWhile(random, world.span), world.outage)
  switch (random.int(0, 12)) {
    case 0:
    case 1:
    case 2:
      return { do: 'crash', agent, after: random.int(0, 25), downMs: random.chance(0.8) ? random.int(0, 3_000) : ms }
    case 3:
    case 4:
      return { do: 'disk', agent, after: random.int(0, 12), how: random.pick(['refused', 'lost', 'applied'] as const) }
    case 5:
      return { do: 'jump', agent, ms: random.pick([-1, 1]) * random.pick([3 * second, hour, day, 3 * day]) }
    case 6:
      return {
        do: 'crashRouter',
        router,
        after: random.int(0, 25),
        downMs: random.chance(0.8) ? random.int(0, 9_000) : ms,
      }
    case 7:
      return { do: 'jumpRouter', router, ms: random.pick([-1, 1]) * random.pick([3 * second, hour]) }
    case 8:
      return { do: random.pick(['cut', 'halt'] as const), agent, router }
    case 9:
      return { do: 'halfOpen', agent, router, direction: random.pick(['toRouter', 'toClient'] as const) }
    case 10:
      return { do: 'partition', agent, router, how: random.pick(['refuses', 'silent'] as const), ms }
    case 11:
      return { do: 'duplicate', agent, count: random.int(1, 4) }
    default: {
      const max = random.pick([0, 10, 300, 3_000])
      return { do: 'latency', min: Math.floor(max / 3), max }
    }
  }
}
