/** What a review asks of a machine: can every state be reached, is every event answered, what have the tests taken. */
import { type AnyStateMachine, type AnyStateNode, initialTransition } from 'xstate'
import { getAdjacencyMap } from 'xstate/graph'
import { type Chart, type ChartTransition, ignoresAt } from './chart.js'
import type { NamedMachine } from './machines.js'

/** How often the last test run has taken each transition, by machine and transition id. */
export interface Coverage {
  /** When the run ended, in ms since 1970. */
  readonly at: number
  /** Test files that ran. */
  readonly files: number
  readonly taken: Readonly<Record<string, Readonly<Record<string, number>>>>
}

/** A state and an event that it neither handles nor gives a reason for ignoring. */
export interface Silence {
  readonly state: string
  readonly event: string
}

export interface MachineReview {
  readonly name: string
  readonly kind: NamedMachine['kind']
  readonly states: number
  readonly events: number
  readonly transitions: number
  readonly unreachable: readonly string[]
  readonly silent: readonly Silence[]
  /** Ids of behaviours that its states serve. */
  readonly spec: readonly string[]
  /** Undefined without a test run. */
  readonly coverage: { readonly taken: number; readonly untaken: readonly string[] } | undefined
}

export const reviewOf = (named: NamedMachine, chart: Chart, coverage?: Coverage): MachineReview => ({
  name: chart.name,
  kind: named.kind,
  states: chart.states.length - 1,
  events: eventsOf(named, chart).length,
  transitions: chart.transitions.length,
  unreachable: unreachable(named, chart),
  silent: silences(named, chart),
  spec: [...new Set(chart.states.flatMap(({ spec }) => spec))].sort(),
  coverage: coverage === undefined ? undefined : covered(chart, coverage),
})

const eventsOf = ({ walk }: NamedMachine, chart: Chart): string[] =>
  walk === undefined ? [...chart.events] : Object.keys(walk.events)

/** Transitions that have neither target nor actions say only that an event is ignored: no test need take them. */
export const countsForCoverage = ({ target, actions }: ChartTransition): boolean =>
  target !== undefined || actions.length > 0

const covered = (chart: Chart, { taken }: Coverage): MachineReview['coverage'] => {
  const ofMachine = taken[chart.name] ?? {}
  const counted = chart.transitions.filter(countsForCoverage)
  const untaken = counted.filter(({ id }) => ofMachine[id] === undefined).map(({ id }) => id)
  return { taken: counted.length - untaken.length, untaken }
}

/** Leaf states that some event in some variant meets without an answer and without a reason. */
const silences = (named: NamedMachine, chart: Chart): Silence[] => {
  const { machine, walk } = named
  if (walk === undefined) return []
  const contexts = walk.contexts.length > 0 ? walk.contexts : [startOf(machine, walk.input).context]
  return chart.states
    .filter(({ path, children }) => path !== '' && children.length === 0)
    .flatMap(({ path }) => {
      const ignored = ignoresAt(chart, path)
      return Object.entries(walk.events).flatMap(([event, variants]) => {
        if (event in ignored) return []
        const isSilent = walk.machines.some(walked =>
          contexts.some(context =>
            variants.some(variant => {
              const snapshot = walked.resolveState({ value: valueOf(path), context: context as never })
              return walked.getTransitionData(snapshot, variant as never).length === 0
            }),
          ),
        )
        return isSilent ? [{ state: path, event }] : []
      })
    })
}

/** States that no walk through the machine enters. */
const unreachable = (named: NamedMachine, chart: Chart): string[] => {
  const { machine, walk } = named
  const reached = new Set<string>()
  for (const walked of walk?.machines ?? [machine]) {
    for (const start of startsOf(walked, walk)) {
      const map = getAdjacencyMap(walked as never, {
        ...(start === undefined ? {} : { fromState: start as never }),
        input: walk?.input as never,
        events: [...Object.values(walk?.events ?? {}).flat(), ...(walk?.internal ?? [])] as never,
        serializeState: state => JSON.stringify([(state as { value: unknown }).value, coarse(state)]),
        limit: 50_000,
      })
      for (const { state } of Object.values(map)) {
        for (const node of (state as unknown as { _nodes: readonly AnyStateNode[] })._nodes)
          reached.add(node.path.join('.'))
      }
    }
  }
  return chart.states.map(({ path }) => path).filter(path => !reached.has(path))
}

const startsOf = (machine: AnyStateMachine, walk: NamedMachine['walk']): unknown[] =>
  walk === undefined || walk.contexts.length === 0
    ? [undefined]
    : walk.contexts.map(context =>
        machine.resolveState({ value: machine.root.initial.target[0]?.key as string, context: context as never }),
      )

const startOf = (machine: AnyStateMachine, input: unknown): { readonly context: object } =>
  initialTransition(machine, input as never)[0] as unknown as { context: object }

// Counters of a context grow without end: for the walk it is enough whether they are 0, 1 or more.
const coarse = (state: unknown): unknown =>
  JSON.parse(JSON.stringify((state as { context: unknown }).context ?? null), (_key, value: unknown) =>
    typeof value === 'number' ? Math.min(value, 2) : value,
  )

const valueOf = (path: string): never =>
  path
    .split('.')
    .reduceRight<unknown>((child, key) => (child === undefined ? key : { [key]: child }), undefined) as never

/** Coverage as the tests write it down; undefined for a text that is none. */
export const readCoverage = (text: string): Coverage | undefined => {
  try {
    const value = JSON.parse(text) as Partial<Coverage> | null
    return typeof value?.at === 'number' && typeof value.files === 'number' && typeof value.taken === 'object'
      ? (value as Coverage)
      : undefined
  } catch {
    return undefined
  }
}
