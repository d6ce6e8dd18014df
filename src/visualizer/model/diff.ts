/** Two versions of a machine as one chart: what came, what went, what was said anew. */
import { type Chart, type ChartState, type ChartTransition, textOf } from './chart.js'

export type Mark = 'added' | 'removed' | 'changed'

export interface ChartDiff {
  /** Everything of both versions. */
  readonly chart: Chart
  readonly states: ReadonlyMap<string, Mark>
  readonly transitions: ReadonlyMap<string, Mark>
  /** How many states and transitions differ. */
  readonly differences: number
}

const nothing = (name: string): Chart => ({ name, description: '', states: [], transitions: [], events: [] })

/** Compares two versions; a machine that is only in one of them is added or removed as a whole. */
export const diffCharts = (before: Chart | undefined, after: Chart | undefined): ChartDiff => {
  const name = after?.name ?? before?.name ?? ''
  const [old, now] = [before ?? nothing(name), after ?? nothing(name)]
  const states = new Map<string, Mark>()
  for (const state of now.states) {
    const known = old.states.find(({ path }) => path === state.path)
    if (known === undefined) states.set(state.path, 'added')
    else if (meaningOf(known) !== meaningOf(state)) states.set(state.path, 'changed')
  }
  const gone = old.states.filter(({ path }) => !now.states.some(state => state.path === path))
  for (const { path } of gone) states.set(path, 'removed')

  const transitions = new Map<string, Mark>()
  const unmatched = [...old.transitions]
  for (const transition of now.transitions) {
    const index = unmatched.findIndex(other => contentOf(other) === contentOf(transition))
    if (index < 0) transitions.set(transition.id, 'added')
    else unmatched.splice(index, 1)
  }
  const removed = unmatched.map(transition => ({ ...transition, id: `was ${transition.id}` }))
  for (const { id } of removed) transitions.set(id, 'removed')

  return {
    chart: {
      ...now,
      description: now.description || old.description,
      states: withChildren([...now.states, ...gone]),
      transitions: [...now.transitions, ...removed],
    },
    states,
    transitions,
    differences: states.size + transitions.size,
  }
}

/** What a state says, without what is inside it. */
const meaningOf = ({ kind, description, initial, spec, ignores, entry, exit, invokes }: ChartState): string =>
  JSON.stringify([kind, description, initial, spec, Object.entries(ignores).sort(), entry, exit, invokes])

/** What a transition says, wherever it stands among others. */
const contentOf = ({ source, target, event, guard, actions, reenter }: ChartTransition): string =>
  JSON.stringify([source, target, event, guard === undefined ? '' : textOf(guard), actions.map(textOf), reenter])

// A state that is gone stands again where it stood.
const withChildren = (states: readonly ChartState[]): ChartState[] =>
  states.map(state => ({
    ...state,
    children: states.filter(({ parent }) => parent === state.path).map(({ path }) => path),
  }))
