import { ancestry, type Chart, type ChartTransition, textOf } from '../chart.js'

/**
 * The chart as a Mermaid state diagram. Mermaid draws no edge between the insides of two composite states, so such an edge is
 * drawn between the states around them and its label names the inner ones. Of several edges from a state to itself it draws only
 * the last, so they are one with a line for each. Transitions that stay where they are, are left out.
 */
export const mermaidOf = (chart: Chart): string => {
  const lines = ['stateDiagram-v2', '  direction TB']
  const edges = loopsJoined(chart.transitions.filter(({ target }) => target !== undefined).map(edgeOf))
  const anyStates = new Set(edges.filter(({ around }) => around !== undefined).map(({ around }) => around as string))
  const write = (path: string, indent: string): void => {
    const state = chart.states.find(state => state.path === path)
    if (state === undefined) return
    if (state.initial !== undefined) lines.push(`${indent}[*] --> ${idOf(liftTo(state.initial, path))}`)
    if (anyStates.has(path)) {
      lines.push(`${indent}state "any state${path === '' ? '' : ` of ${path}`}" as ${anyOf(path)}`)
    }
    for (const child of state.children) {
      const { key, children, kind } = chart.states.find(({ path }) => path === child) ?? { key: child, children: [] }
      if (children.length === 0) {
        lines.push(`${indent}state "${key}" as ${idOf(child)}`)
        if (kind === 'final') lines.push(`${indent}${idOf(child)} --> [*]`)
        continue
      }
      lines.push(`${indent}state "${key}" as ${idOf(child)} {`)
      write(child, `${indent}  `)
      lines.push(`${indent}}`)
    }
    for (const { owner, from, to, label } of edges) {
      if (owner === path) lines.push(`${indent}${from} --> ${to}${label === '' ? '' : ` : ${label}`}`)
    }
  }
  write('', '  ')
  return `${lines.join('\n')}\n`
}

interface Edge {
  /** The state inside which the edge is drawn. */
  readonly owner: string
  readonly from: string
  readonly to: string
  readonly label: string
  /** The state any of whose states the edge starts in. */
  readonly around?: string
}

const idOf = (path: string): string => path.replaceAll('.', '__')
const anyOf = (path: string): string => (path === '' ? 'any' : `any__${idOf(path)}`)
const within = (path: string, around: string): boolean => (around === '' ? path !== '' : path.startsWith(`${around}.`))

/** The child of `around` that holds a state. */
const liftTo = (path: string, around: string): string =>
  path
    .split('.')
    .slice(0, around === '' ? 1 : around.split('.').length + 1)
    .join('.')

const edgeOf = (transition: ChartTransition): Edge => {
  const { source, target = source } = transition
  const label = transitionText(transition)
  if (within(target, source)) {
    const to = liftTo(target, source)
    return {
      owner: source,
      from: anyOf(source),
      to: idOf(to),
      label: mermaidText(label, '', to === target ? '' : target),
      around: source,
    }
  }
  const owner = ancestry(source).findLast(around => within(source, around) && within(target, around)) ?? ''
  const [from, to] = [liftTo(source, owner), liftTo(target, owner)]
  return {
    owner,
    from: idOf(from),
    to: idOf(to),
    label: mermaidText(label, from === source ? '' : source, to === target ? '' : target),
  }
}

const loopsJoined = (edges: readonly Edge[]): Edge[] => {
  const isLoop = (edge: Edge, from: string): boolean => edge.from === from && edge.to === from
  return edges.flatMap((edge, index) => {
    const { from, to } = edge
    if (from !== to) return [edge]
    if (edges.findIndex(other => isLoop(other, from)) < index) return []
    const labels = edges.filter(other => isLoop(other, from)).map(({ label }) => label)
    return [{ ...edge, label: labels.join('<br>') }]
  })
}

/** A transition in one line: `event [guard] / actions`. */
export const transitionText = ({ label, guard, actions }: ChartTransition): string =>
  [
    label,
    ...(guard === undefined ? [] : [`[${textOf(guard)}]`]),
    ...(actions.length === 0 ? [] : [`/ ${actions.map(textOf).join(', ')}`]),
  ].join(' ')

// A label of Mermaid ends at a colon, a semicolon or the end of the line.
const mermaidText = (text: string, source: string, target: string): string =>
  `${source === '' ? '' : `(${source}) `}${text}${target === '' ? '' : ` → ${target}`}`.replaceAll(/[:;#\n]/g, ' ')
