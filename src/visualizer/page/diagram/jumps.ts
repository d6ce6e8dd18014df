/**
 * In a large chart there are states that so many others lead to that lines to them would cover everything: a transition to such a
 * hub stands in the box of its source, as `event → hub`.
 */
import type { Chart, ChartTransition } from '../../model/chart.js'

/** From so many sources on, a target is a hub. */
const fewest = 8

/** A chart of more states is large: where all lines would be drawn, nobody could follow one. */
const mostStates = 20

export const isLarge = ({ states }: Chart): boolean => states.length > mostStates

const known = new WeakMap<Chart, ReadonlySet<string>>()

const hubsOf = (chart: Chart): ReadonlySet<string> => {
  const found = known.get(chart) ?? findHubs(chart)
  known.set(chart, found)
  return found
}

const findHubs = (chart: Chart): ReadonlySet<string> => {
  if (!isLarge(chart)) return new Set()
  const sources = new Map<string, Set<string>>()
  for (const { source, target } of chart.transitions) {
    if (target === undefined || target === source) continue
    sources.set(target, (sources.get(target) ?? new Set()).add(source))
  }
  return new Set([...sources].filter(([, from]) => from.size >= fewest).map(([target]) => target))
}

/** Whether a transition leads to a hub, and so is words and no line. */
export const isJump = (chart: Chart, { source, target }: ChartTransition): boolean =>
  target !== undefined && target !== source && source !== '' && hubsOf(chart).has(target)

/** Whether a transition is drawn as an edge; others stand in the box of their source. */
export const isEdge = (chart: Chart, transition: ChartTransition): boolean =>
  transition.target !== undefined && !isJump(chart, transition)
