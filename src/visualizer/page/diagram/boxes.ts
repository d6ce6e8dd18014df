/** What stands in the box of a state and beside an edge. */
import { type Chart, type ChartState, type ChartTransition, type Named, textOf } from '../../model/chart.js'
import type { Bundle } from './bundles.js'
import { isEdge, isJump } from './jumps.js'
import { type Run, sizeOf, type TextLine, wrap } from './text.js'

export interface Section {
  readonly lines: readonly TextLine[]
  /** A thin line is drawn above. */
  readonly ruled: boolean
}

export interface Box {
  readonly sections: readonly Section[]
  readonly width: number
  readonly height: number
}

export const boxPadding = { x: 14, y: 10, rule: 13 } as const

/** How much a box shows. */
export type Detail = 'full' | 'brief' | 'bare'

/** The widest that text in a box becomes, in px. */
const widest = { leaf: 292, machine: 420, label: 250 } as const

export const boxOf = (chart: Chart, state: ChartState, detail: Detail): Box => {
  const inner = chart.transitions.filter(transition => transition.source === state.path && !isEdge(chart, transition))
  const jumps = inner.filter(transition => isJump(chart, transition))
  if (detail === 'bare') return bareBox(state, jumps)
  const max = state.children.length === 0 ? widest.leaf : headWidth(chart, state, detail)
  const sections: Section[] = [{ lines: headLines(state, max, detail), ruled: false }]
  const work = workLines(state, max)
  if (work.length > 0) sections.push({ lines: work, ruled: true })
  const rows = detail === 'full' ? inner : jumps
  if (rows.length > 0) sections.push({ lines: innerLines(chart, rows, max), ruled: true })
  const width = Math.max(96, ...sections.map(({ lines }) => sizeOf(lines).width)) + 2 * boxPadding.x
  const height =
    sections.reduce((sum, { lines }) => sum + sizeOf(lines).height, 0) +
    2 * boxPadding.y +
    (sections.length - 1) * boxPadding.rule
  return { sections, width, height }
}

// A state around others is made as wide as what is in it, and its own text must fit into that.
const headWidth = (chart: Chart, { path, children }: ChartState, detail: Detail): number => {
  if (path === '') return widest.machine
  const inside = children.flatMap(child => chart.states.find(state => state.path === child) ?? [])
  return Math.max(...inside.map(child => boxOf(chart, child, detail).width)) - 2 * boxPadding.x
}

/** Only the name, and where lines are left out: for charts that stand beside something else. */
const bareBox = ({ key }: ChartState, jumps: readonly ChartTransition[]): Box => {
  const targets = [...new Set(jumps.flatMap(({ target = '' }) => target.split('.').slice(-1)))]
  const jumpLines = targets.flatMap(target => wrap([{ text: `→ ${target}`, look: 'jump' }], widest.leaf))
  const lines = [...wrap([{ text: key, look: 'name' }], widest.leaf), ...jumpLines]
  const { width, height } = sizeOf(lines)
  return {
    sections: [{ lines, ruled: false }],
    width: Math.max(64, width + 2 * boxPadding.x),
    height: height + 2 * boxPadding.y,
  }
}

const headLines = (state: ChartState, max: number, detail: Detail): TextLine[] => {
  const isRoot = state.path === ''
  const name = wrap([{ text: state.key, look: isRoot ? 'title' : 'name' }], max)
  const spec = state.spec.length === 0 ? [] : wrap([{ text: state.spec.join(' '), look: 'spec' }], max)
  const prose = detail === 'full' || isRoot ? wrap([{ text: state.description, look: 'prose' }], max) : []
  return [...name, ...prose, ...spec]
}

const workLines = ({ entry, exit, invokes }: ChartState, max: number): TextLine[] => [
  ...actionList('on entry', entry, max),
  ...invokes.flatMap(src =>
    wrap(
      [
        { text: 'runs', look: 'word' },
        { text: src, look: 'action' },
      ],
      max,
      14,
    ),
  ),
  ...actionList('on exit', exit, max),
]

const actionList = (word: string, actions: readonly Named[], max: number): TextLine[] =>
  actions.length === 0
    ? []
    : wrap(
        [
          { text: word, look: 'word' },
          { text: actions.map(textOf).join(', '), look: 'action' },
        ],
        max,
        14,
      )

const innerLines = (chart: Chart, inner: readonly ChartTransition[], max: number): TextLine[] => {
  const events = [...new Set(inner.map(({ event }) => event))]
  return events.flatMap(event => {
    const branches = inner.filter(transition => transition.event === event)
    const [first] = branches
    if (first === undefined) return []
    if (branches.length === 1) return wrap(transitionRuns(chart, first), max, 14, first.id)
    return [
      ...wrap([{ text: first.label, look: 'event' }], max),
      ...branches.flatMap(branch =>
        wrap([...branchRuns(chart, branch)], max - 14, 14, branch.id).map(line => shifted(line, 14)),
      ),
    ]
  })
}

const shifted = (line: TextLine, by: number): TextLine => ({
  ...line,
  width: line.width + by,
  runs: line.runs.map(run => ({ ...run, x: run.x + by })),
})

/** A transition as runs: `event [guard] / actions`. */
export const transitionRuns = (chart: Chart, transition: ChartTransition): Run[] => [
  { text: transition.label, look: 'event' },
  ...branchRuns(chart, transition),
]

const branchRuns = (chart: Chart, transition: ChartTransition): Run[] => {
  const { guard, actions, target } = transition
  return [
    ...(guard === undefined
      ? isElse(chart, transition)
        ? [{ text: '[else]', look: 'guard' as const }]
        : []
      : [{ text: `[${textOf(guard)}]`, look: 'guard' as const }]),
    ...(actions.length === 0 ? [] : [{ text: `/ ${actions.map(textOf).join(', ')}`, look: 'action' as const }]),
    ...(target === undefined && actions.length === 0 ? [{ text: 'nothing', look: 'word' as const }] : []),
    ...(target !== undefined && isJump(chart, transition)
      ? [{ text: `→ ${target}`, look: 'jump' as const, to: target }]
      : []),
  ]
}

/** Whether a transition without a guard stands behind others that have one. */
export const isElse = (chart: Chart, { source, event, guard, id }: ChartTransition): boolean =>
  guard === undefined &&
  chart.transitions.some(other => other.source === source && other.event === event && other.id !== id)

/** Lines of the label of an edge: one block for each transition that the edge stands for. */
export const labelLines = (chart: Chart, { transitions, fans }: Bundle): TextLine[] =>
  transitions.flatMap(transition => {
    const { target = '' } = transition
    const where: Run[] = fans ? [{ text: `→ ${target.split('.').at(-1) ?? ''}`, look: 'jump', to: target }] : []
    return wrap([...transitionRuns(chart, transition), ...where], widest.label, 10, transition.id)
  })
