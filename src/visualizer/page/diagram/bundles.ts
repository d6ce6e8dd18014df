/** Lines of a drawing: transitions that go the same way share one. */
import type { Chart, ChartTransition } from '../../model/chart.js'
import { isEdge, isLarge } from './jumps.js'

export interface Bundle {
  readonly id: string
  readonly source: string
  readonly target: string
  readonly transitions: readonly ChartTransition[]
  /** They end in several states inside `target`; the label says where each of them does. */
  readonly fans: boolean
}

/** In a large chart, a state that leads to so many states inside another one has one line to that. */
const fewest = 2

export const bundlesOf = (chart: Chart): Bundle[] => {
  const edges = chart.transitions.filter(one => isEdge(chart, one))
  const bundles = new Map<string, Bundle & { transitions: ChartTransition[] }>()
  for (const transition of edges) {
    const { source, target = source } = transition
    const around = parentOf(target)
    const fans =
      isLarge(chart) && around !== '' && !isIn(source, around) && targetsIn(edges, source, around).size >= fewest
    const id = fans ? `${source} ⇉ ${around}` : `${source} → ${target}`
    const bundle = bundles.get(id)
    if (bundle !== undefined) bundle.transitions.push(transition)
    else bundles.set(id, { id, source, target: fans ? around : target, transitions: [transition], fans })
  }
  return [...bundles.values()]
}

const targetsIn = (edges: readonly ChartTransition[], source: string, around: string): Set<string> =>
  new Set(
    edges.flatMap(edge =>
      edge.source === source && edge.target !== undefined && parentOf(edge.target) === around ? [edge.target] : [],
    ),
  )

const parentOf = (path: string): string => path.split('.').slice(0, -1).join('.')
const isIn = (path: string, around: string): boolean => path === around || path.startsWith(`${around}.`)
