/** The machines of one party, and how they are asked. What their intents do is the business of whoever asks. */
import type { AnyEventObject } from 'xstate'
import { type Chart, chartOf, ignoresAt, textOf } from '../chart.js'
import { machineNamed, type NamedMachine } from '../machines.js'
import { begin, type Simulation, statePath, type Step, step } from '../simulate.js'
import type { Answer, Request } from './router.js'
import type { ActorView, LinkKind, SideName } from './types.js'
import { ModelWorker, type ModelWorkerOptions } from './worker.js'

/** What a party needs of the world around it. */
export interface Surroundings {
  readonly request: (
    side: SideName,
    request: Request,
    about: string,
    answered: (answer: Answer) => void,
    failed: () => void,
  ) => void
  /** Whether the sender of a queue secures it itself. */
  readonly securable: boolean
  /** Gives something to the other party outside of the network. */
  readonly handOver: (from: SideName, word: string, about: string, queue: string, kind: LinkKind) => void
  /** Returns how to call it off. */
  readonly setTimer: (run: () => void, ms: number) => () => void
  readonly nextHash: () => number
  readonly told: (side: SideName, word: string, about: string) => void
  readonly noted: (side: SideName, text: string) => void
  readonly stepped: (side: SideName, machine: string, actor: string, done: Step, ignored: string | undefined) => void
}

/** A protocol machine with the state of its row. */
export interface Protocol {
  readonly named: NamedMachine
  readonly chart: Chart
  /** Which one of its kind. */
  readonly actor: string
  /** What its guards read of the row. */
  readonly context?: () => Readonly<Record<string, unknown>>
  simulation: Simulation
}

/** What intents do, by their names. */
export type Doings = Readonly<Record<string, (params: Readonly<Record<string, unknown>>) => void>>

const charts = new Map<string, Chart>()
const chartFor = (named: NamedMachine): Chart => {
  const known = charts.get(named.name) ?? chartOf(named.machine)
  charts.set(named.name, known)
  return known
}

const required = (name: string): NamedMachine => {
  const named = machineNamed(name)
  if (named === undefined) throw new Error(`there is no machine ${name}`)
  return named
}

export class Actors {
  readonly side: SideName
  readonly world: Surroundings

  constructor(side: SideName, world: Surroundings) {
    this.side = side
    this.world = world
  }

  protocol(name: string, actor: string, context?: Protocol['context']): Protocol {
    const named = required(name)
    const chart = chartFor(named)
    const simulation = begin(named, chart, context === undefined ? {} : { context: context() })
    return { named, chart, actor, simulation, ...(context === undefined ? {} : { context }) }
  }

  worker(name: string, actor: string, works: ModelWorkerOptions['works']): ModelWorker {
    const named = required(name)
    const { setTimer, stepped } = this.world
    const options = { named, chart: chartFor(named), works, setTimer }
    return new ModelWorker({ ...options, stepped: done => stepped(this.side, name, actor, done, undefined) })
  }

  /** One decision of a protocol machine, and what follows from its intents. An intent that nobody does is only shown. */
  decide(protocol: Protocol, event: AnyEventObject, doings: Doings = {}): void {
    const { named, chart, actor, context } = protocol
    if (context !== undefined) {
      protocol.simulation = begin(named, chart, { state: stateOf(protocol), context: context() })
    }
    protocol.simulation = step(protocol.simulation, event)
    const done = protocol.simulation.steps.at(-1)
    if (done === undefined) return
    const ignored = done.taken.length === 0 ? ignoresAt(chart, done.from)[event.type] : undefined
    this.world.stepped(this.side, named.name, actor, done, ignored)
    for (const { name, params } of done.actions) doings[name]?.((params ?? {}) as Record<string, unknown>)
  }

  told(word: string, about = ''): void {
    this.world.told(this.side, word, about)
  }

  view(protocol: Protocol): ActorView {
    const { named, actor, simulation } = protocol
    const taken = simulation.steps.at(-1)?.taken ?? []
    return { side: this.side, machine: named.name, actor, state: stateOf(protocol), taken }
  }

  workerView(machine: string, actor: string, { state, lastTaken }: ModelWorker): ActorView {
    return { side: this.side, machine, actor, state, taken: lastTaken }
  }
}

export const stateOf = ({ simulation }: Protocol): string => statePath(simulation.snapshot)

export const nameOf = (side: SideName): string => (side === 'alice' ? 'Alice' : 'Bob')

/** The names of actions, with their parameters. */
export const intentNames = (done: Step): string[] =>
  done.actions.map(({ name, params }) =>
    textOf(
      typeof params === 'object' && params !== null ? { name, params: params as Record<string, unknown> } : { name },
    ),
  )
