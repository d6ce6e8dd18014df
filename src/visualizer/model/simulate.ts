/** Walking through a machine by hand: what can happen in a state, what it leads to, and why a guard says no. */
import {
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type AnyStateNode,
  type AnyTransitionDefinition,
  initialTransition,
  transition,
} from 'xstate'
import { ancestry, type Chart, type ChartTransition, ignoresAt, textOf, transitionId } from './chart.js'
import { type GuardAnswer, type GuardSubject, guardAnswer } from './guards.js'
import type { NamedMachine } from './machines.js'

/** Where a walk begins: the machine's own start, or a state of a row with its context. */
export interface Start {
  readonly state?: string
  readonly context?: Readonly<Record<string, unknown>>
  /** Answers of guards that only the runtime can give. */
  readonly answers?: Readonly<Record<string, boolean>>
}

export interface Walked {
  readonly start: Start
  readonly steps: readonly Step[]
}

/** One event of a walk and what it did. */
export interface Step {
  readonly event: AnyEventObject
  readonly from: string
  readonly to: string
  /** Transitions that were taken, in order. */
  readonly taken: readonly string[]
  /** Names of the actions, with their parameters. */
  readonly actions: ReadonlyArray<{ readonly name: string; readonly params: unknown }>
  readonly context: unknown
  /** For an event that did nothing: the guards that said no, and what they had read. */
  readonly blocked: ReadonlyArray<{ readonly guard: string; readonly read: readonly string[] }>
}

/** What one transition says to an event: `answer` is missing where it has no guard. */
export interface Branch {
  readonly transition: ChartTransition
  readonly answer: GuardAnswer | undefined
  /** The one that is taken. */
  readonly taken: boolean
  /** An earlier one is taken, so this one is not asked. */
  readonly behind: boolean
}

/** Something that can happen: an event with its variants, a timer that runs out, work that ends. */
export interface Possible {
  readonly type: string
  readonly label: string
  readonly kind: ChartTransition['kind']
  readonly variants: readonly AnyEventObject[]
  /** Why the state ignores it; undefined when it does not. */
  readonly ignored: string | undefined
}

export interface Simulation {
  readonly machine: AnyStateMachine
  readonly chart: Chart
  readonly snapshot: AnyMachineSnapshot
  readonly steps: readonly Step[]
  readonly start: Start
}

/** The name of the states that a snapshot is in, as rows keep it. */
export const statePath = (snapshot: AnyMachineSnapshot): string =>
  ((snapshot as unknown as { _nodes: readonly AnyStateNode[] })._nodes ?? [])
    .filter(node => Object.keys(node.states).length === 0)
    .map(node => node.path.join('.'))
    .join(',')

/** Paths of all states that are entered, the machine itself among them. */
export const enteredPaths = (snapshot: AnyMachineSnapshot): ReadonlySet<string> =>
  new Set(statePath(snapshot).split(',').flatMap(ancestry))

/** Begins a walk. */
export const begin = (named: NamedMachine, chart: Chart, start: Start = {}): Simulation => {
  const machine = answering(named.machine, start.answers ?? {})
  const context = start.context ?? named.walk?.contexts[0]
  const [initial] = initialTransition(machine, named.walk?.input as never) as [AnyMachineSnapshot, unknown]
  const snapshot =
    start.state === undefined && start.context === undefined
      ? initial
      : (machine.resolveState({
          value: valueOf(start.state ?? statePath(initial)),
          context: (context ?? initial.context) as never,
        }) as AnyMachineSnapshot)
  return { machine, chart, snapshot, steps: [], start }
}

/** Takes one step. The machine's actions are noted and not done. */
export const step = (simulation: Simulation, event: AnyEventObject): Simulation => {
  const { machine, snapshot, steps } = simulation
  const taken = takenBy(machine, snapshot, event)
  const [next, actions] = transition(machine, snapshot as never, event as never) as unknown as [
    AnyMachineSnapshot,
    ReadonlyArray<{ readonly type: string; readonly params: unknown }>,
  ]
  const done: Step = {
    event,
    from: statePath(snapshot),
    to: statePath(next),
    taken,
    actions: actions
      .filter(({ type }) => !type.startsWith('xstate.') && !type.startsWith('@xstate.'))
      .map(({ type, params }) => ({ name: type, params })),
    context: next.context,
    blocked: taken.length > 0 ? [] : blockedBy(simulation, event),
  }
  return { ...simulation, snapshot: next, steps: [...steps, done] }
}

const blockedBy = (simulation: Simulation, event: AnyEventObject): Step['blocked'] =>
  branches(simulation, event, []).flatMap(({ transition: { guard }, answer }) =>
    guard === undefined || answer === undefined ? [] : [{ guard: textOf(guard), read: answer.read }],
  )

/** Walks again from the start, without the last steps. */
export const replay = (
  named: NamedMachine,
  chart: Chart,
  start: Start,
  events: readonly AnyEventObject[],
): Simulation => events.reduce(step, begin(named, chart, start))

/** Everything that can happen now: handled events first, then those that are ignored and why. */
export const possibleNow = ({ chart, snapshot }: Simulation, named: NamedMachine): Possible[] => {
  const entered = enteredPaths(snapshot)
  const ignores: Record<string, string> = {}
  for (const path of statePath(snapshot).split(',')) Object.assign(ignores, ignoresAt(chart, path))
  const here = chart.transitions.filter(({ source, kind }) => entered.has(source) && kind !== 'always')
  const handled = unique(here.map(({ event }) => event))
  const possible = handled.map(type => {
    const { label, kind } = here.find(({ event }) => event === type) as ChartTransition
    return { type, label, kind, variants: variantsOf(named, type), ignored: ignores[type] }
  })
  const others = unique([...Object.keys(named.walk?.events ?? {}), ...chart.events])
    .filter(type => !handled.includes(type))
    .map(type => ({
      type,
      label: type,
      kind: 'event' as const,
      variants: variantsOf(named, type),
      ignored: ignores[type] ?? 'not handled here, and no reason is given',
    }))
  return [...possible, ...others].sort((a, b) => Number(a.ignored !== undefined) - Number(b.ignored !== undefined))
}

const unique = (texts: readonly string[]): string[] => [...new Set(texts)]

const variantsOf = ({ walk }: NamedMachine, type: string): readonly AnyEventObject[] => {
  const listed = walk?.events[type] ?? walk?.internal.filter(event => event.type === type) ?? []
  return listed.length === 0 ? [{ type }] : listed
}

/** The transitions that are asked about an event, from the innermost state outwards, with what their guards say. */
export const branchesFor = (simulation: Simulation, event: AnyEventObject, named: NamedMachine): Branch[] =>
  branches(simulation, event, variantsOf(named, event.type))

const branches = (
  { machine, chart, snapshot }: Simulation,
  event: AnyEventObject,
  others: readonly AnyEventObject[],
): Branch[] => {
  const taken = new Set(takenBy(machine, snapshot, event))
  const nodes = (snapshot as unknown as { _nodes: readonly AnyStateNode[] })._nodes
  const inward = [...nodes].sort((a, b) => b.path.length - a.path.length)
  const asked: Branch[] = []
  let found = false
  for (const node of inward) {
    for (const definition of node.transitions.get(event.type) ?? []) {
      const id = transitionId(definition)
      const drawn = chart.transitions.find(one => one.id === id)
      if (drawn === undefined) continue
      const isTaken = taken.has(id)
      const subject: GuardSubject = { machine, snapshot, event, others }
      asked.push({
        transition: drawn,
        answer: definition.guard === undefined ? undefined : guardAnswer(definition.guard, subject),
        taken: isTaken,
        behind: found && !isTaken,
      })
      found ||= isTaken
    }
  }
  return asked
}

const takenBy = (machine: AnyStateMachine, snapshot: AnyMachineSnapshot, event: AnyEventObject): string[] =>
  (machine.getTransitionData(snapshot as never, event as never) as AnyTransitionDefinition[]).map(transitionId)

/** Names of guards whose answer only the runtime knows. */
export const runtimeGuards = (machine: AnyStateMachine): string[] =>
  Object.entries(machine.implementations.guards)
    .filter(([, guard]) => isStub(guard))
    .map(([name]) => name)

// A stub throws at once, whatever it is asked.
const isStub = (guard: unknown): boolean => {
  if (typeof guard !== 'function' || guard.length > 0) return false
  try {
    ;(guard as () => unknown)()
    return false
  } catch (error) {
    return error instanceof Error && error.message.endsWith('is provided by the runtime')
  }
}

const answering = (machine: AnyStateMachine, answers: Readonly<Record<string, boolean>>): AnyStateMachine => {
  const guards = Object.fromEntries(runtimeGuards(machine).map(name => [name, () => answers[name] ?? false]))
  return Object.keys(guards).length === 0 ? machine : machine.provide({ guards })
}

const valueOf = (path: string): never =>
  path
    .split('.')
    .reduceRight<unknown>((child, key) => (child === undefined ? key : { [key]: child }), undefined) as never
