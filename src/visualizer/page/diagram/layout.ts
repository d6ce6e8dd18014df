/** Where everything of a chart stands: ELK places boxes, edges and labels. */
import type { ElkExtendedEdge, ElkNode } from 'elkjs/lib/elk-api.js'
import { ancestry, type Chart, type ChartState, type ChartTransition } from '../../model/chart.js'
import { type Box, boxOf, boxPadding, type Detail, labelLines } from './boxes.js'
import { type Bundle, bundlesOf } from './bundles.js'
import { elk } from './elk.js'
import { sizeOf, type TextLine } from './text.js'

export interface PlacedState {
  readonly state: ChartState
  readonly box: Box
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface Point {
  readonly x: number
  readonly y: number
}

/** One line on the drawing: all transitions with the same source and target. */
export interface PlacedEdge {
  readonly id: string
  readonly source: string
  readonly target: string
  readonly transitions: readonly ChartTransition[]
  readonly points: readonly Point[]
  readonly label:
    | {
        readonly lines: readonly TextLine[]
        readonly x: number
        readonly y: number
        readonly width: number
        readonly height: number
      }
    | undefined
  /** From the dot that marks where a machine or state begins. */
  readonly initial: boolean
}

export interface Layout {
  readonly chart: Chart
  readonly states: readonly PlacedState[]
  readonly edges: readonly PlacedEdge[]
  readonly dots: ReadonlyArray<Point & { readonly id: string }>
  /** Where transitions begin that hold in every state. */
  readonly anyStates: ReadonlyArray<Point & { readonly id: string; readonly width: number; readonly height: number }>
  /** The state in which the machine begins. */
  readonly start: PlacedState | undefined
  /** States without others inside. */
  readonly leaves: readonly PlacedState[]
  readonly width: number
  readonly height: number
}

export type Direction = 'DOWN' | 'RIGHT'

const rootId = '(root)'
const idOf = (path: string): string => (path === '' ? rootId : path)
const pathOf = (id: string): string => (id === rootId ? '' : id)
const dotOf = (path: string): string => `(start) ${path}`
/** Where transitions begin that hold in every state inside another. */
const anyOf = (path: string): string => `(any) ${path}`
const anySize = { width: 74, height: 26 } as const
const labelPadding = { x: 7, y: 4 } as const

const layered = (direction: Direction): Record<string, string> => ({
  'elk.algorithm': 'layered',
  'elk.direction': direction,
  'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
  'elk.edgeRouting': 'ORTHOGONAL',
  'elk.json.shapeCoords': 'ROOT',
  'elk.json.edgeCoords': 'ROOT',
  // Model order would read better, but this ELK fails on it where edges end at states with states in them.
  'elk.layered.cycleBreaking.strategy': 'DEPTH_FIRST',
  'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
  'elk.layered.nodePlacement.favorStraightEdges': 'true',
  'elk.layered.crossingMinimization.semiInteractive': 'false',
  'elk.edgeLabels.inline': 'true',
  'elk.layered.edgeLabels.sideSelection': 'ALWAYS_DOWN',
  'elk.layered.edgeLabels.centerLabelPlacementStrategy': 'MEDIAN_LAYER',
})

const spacing: Record<string, string> = {
  'elk.spacing.nodeNode': '36',
  'elk.spacing.edgeNode': '26',
  'elk.spacing.edgeEdge': '16',
  'elk.spacing.edgeLabel': '6',
  'elk.spacing.labelLabel': '10',
  'elk.spacing.nodeSelfLoop': '22',
  'elk.layered.spacing.nodeNodeBetweenLayers': '34',
  'elk.layered.spacing.edgeNodeBetweenLayers': '22',
  'elk.layered.spacing.edgeEdgeBetweenLayers': '16',
}

const known = new WeakMap<Chart, Map<string, Promise<Layout>>>()

/** The layout of a chart; the same chart is laid out once. */
export const layoutOf = (chart: Chart, detail: Detail = 'full', direction: Direction = 'DOWN'): Promise<Layout> => {
  const layouts = known.get(chart) ?? new Map<string, Promise<Layout>>()
  known.set(chart, layouts)
  const key = `${detail} ${direction}`
  const layout = layouts.get(key) ?? lay(chart, detail, direction)
  layouts.set(key, layout)
  return layout
}

const lay = async (chart: Chart, detail: Detail, direction: Direction): Promise<Layout> => {
  const boxes = new Map(chart.states.map(state => [state.path, boxOf(chart, state, detail)]))
  const bundles = bundlesOf(chart)
  const placed = await elk.layout({
    id: '(page)',
    layoutOptions: { ...layered(direction), 'elk.padding': '[top=0,left=0,bottom=0,right=0]' },
    children: [nodeOf(chart, '', boxes, bundles, direction, detail === 'bare')],
  })
  return readLayout(chart, placed, boxes, bundles)
}

const nodeOf = (
  chart: Chart,
  path: string,
  boxes: ReadonlyMap<string, Box>,
  bundles: readonly Bundle[],
  direction: Direction,
  bare: boolean,
): ElkNode => {
  const state = chart.states.find(state => state.path === path)
  const box = boxes.get(path) ?? { width: 0, height: 0 }
  if (state === undefined || state.children.length === 0)
    return { id: idOf(path), width: box.width, height: box.height }
  const dot: ElkNode[] = state.initial === undefined ? [] : [{ id: dotOf(path), width: 12, height: 12 }]
  const any: ElkNode[] = bundles.some(({ source, target }) => source === path && holds(path, target))
    ? [{ id: anyOf(path), ...anySize }]
    : []
  return {
    id: idOf(path),
    layoutOptions: {
      ...layered(direction),
      ...spacing,
      'elk.padding': `[top=${Math.ceil(box.height) + 10},left=22,bottom=24,right=22]`,
      'elk.nodeSize.constraints': 'MINIMUM_SIZE',
      'elk.nodeSize.minimum': `(${Math.ceil(box.width)},${Math.ceil(box.height)})`,
    },
    children: [...dot, ...any, ...state.children.map(child => nodeOf(chart, child, boxes, bundles, direction, bare))],
    edges: [
      ...(state.initial === undefined ? [] : [initialEdge(path, state.initial)]),
      ...bundles.filter(bundle => ownerOf(bundle) === path).map(bundle => edgeOf(chart, bundle, bare)),
    ],
  }
}

const edgeOf = (chart: Chart, bundle: Bundle, bare: boolean): ElkExtendedEdge => {
  const { id, source, target } = bundle
  const edge = { id, sources: [holds(source, target) ? anyOf(source) : idOf(source)], targets: [idOf(target)] }
  if (bare) return edge
  const { width, height } = sizeOf(labelLines(chart, bundle))
  const label = {
    id,
    text: id,
    layoutOptions: { 'elk.edgeLabels.inline': 'true' },
    width: Math.ceil(width) + 2 * labelPadding.x,
    height: Math.ceil(height) + 2 * labelPadding.y,
  }
  return { ...edge, labels: [label] }
}

const initialEdge = (path: string, initial: string): ElkExtendedEdge => ({
  id: dotOf(path),
  sources: [dotOf(path)],
  targets: [idOf(initial)],
})

/** The innermost state that holds both ends of an edge. */
const ownerOf = ({ source, target }: Bundle): string =>
  holds(source, target)
    ? source
    : (ancestry(source).findLast(around => holds(around, source) && holds(around, target)) ?? '')

const holds = (around: string, path: string): boolean =>
  path !== around && (around === '' || path.startsWith(`${around}.`))

const readLayout = (
  chart: Chart,
  page: ElkNode,
  boxes: ReadonlyMap<string, Box>,
  bundles: readonly Bundle[],
): Layout => {
  const nodes = flat(page)
  const states = chart.states.flatMap(state => {
    const node = nodes.find(({ id }) => id === idOf(state.path))
    const box = boxes.get(state.path)
    if (node === undefined || box === undefined) return []
    const { x = 0, y = 0, width = 0, height = 0 } = node
    return [{ state, box, x, y, width, height }]
  })
  const edges = nodes.flatMap(node => node.edges ?? []).map(edge => placedEdge(chart, edge, bundles))
  const dots = nodes
    .filter(({ id }) => id.startsWith('(start) '))
    .map(({ id, x = 0, y = 0 }) => ({ id, x: x + 6, y: y + 6 }))
  const anyStates = nodes
    .filter(({ id }) => id.startsWith('(any) '))
    .map(({ id, x = 0, y = 0 }) => ({ id, x, y, ...anySize }))
  const root = states.find(({ state }) => state.path === '')
  const first = firstState(chart)
  return {
    chart,
    states,
    edges,
    dots,
    anyStates,
    start: states.find(({ state }) => state.path === first),
    leaves: states.filter(({ state }) => state.children.length === 0),
    width: root?.width ?? 0,
    height: root?.height ?? 0,
  }
}

const firstState = (chart: Chart, path = ''): string => {
  const initial = chart.states.find(state => state.path === path)?.initial
  return initial === undefined ? path : firstState(chart, initial)
}

const flat = (node: ElkNode): ElkNode[] => [node, ...(node.children ?? []).flatMap(flat)]

const placedEdge = (chart: Chart, edge: ElkExtendedEdge, bundles: readonly Bundle[]): PlacedEdge => {
  const bundle = bundles.find(({ id }) => id === edge.id)
  const points = (edge.sections ?? []).flatMap(({ startPoint, bendPoints = [], endPoint }) => [
    startPoint,
    ...bendPoints,
    endPoint,
  ])
  const [label] = edge.labels ?? []
  const transitions = bundle?.transitions ?? []
  return {
    id: edge.id,
    source: bundle?.source ?? pathOf(edge.sources[0] ?? ''),
    target: bundle?.target ?? pathOf(edge.targets[0] ?? ''),
    transitions,
    points,
    initial: bundle === undefined,
    label:
      label === undefined || bundle === undefined
        ? undefined
        : {
            lines: labelLines(chart, bundle),
            x: label.x ?? 0,
            y: label.y ?? 0,
            width: label.width ?? 0,
            height: label.height ?? 0,
          },
  }
}

export { boxPadding, labelPadding }
