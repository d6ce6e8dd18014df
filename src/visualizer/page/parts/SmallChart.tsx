/** A machine without its words: which of its states is entered, beside something else. */
import type { JSX } from 'preact'
import { useMemo } from 'preact/hooks'
import { ancestry } from '../../model/chart.js'
import { machineOf } from '../charts.js'
import { Diagram, Markers } from '../diagram/Diagram.js'
import { go, hrefOf } from '../route.js'
import { useLayout } from '../useLayout.js'

interface SmallChartProps {
  readonly machine: string
  readonly state: string
  readonly taken: readonly string[]
  /** The largest scale. */
  readonly most?: number
}

const nothing = new Set<string>()

export const SmallChart = ({ machine, state, taken, most = 0.9 }: SmallChartProps): JSX.Element | null => {
  const layout = useLayout(machineOf(machine)?.chart, 'bare')
  const active = useMemo(() => new Set(state === '' ? [] : state.split(',').flatMap(ancestry)), [state])
  const marks = useMemo(() => (taken.length === 0 ? nothing : new Set(taken)), [taken.join()])
  if (layout === undefined) return <div class="small-chart" aria-busy="true" />
  const { width, height } = layout
  return (
    <div class="small-chart">
      <svg
        viewBox={`-6 -6 ${width + 12} ${height + 12}`}
        style={`max-width:${Math.round((width + 12) * most)}px`}
        role="group"
        aria-label={`${machine}, now in ${state || 'no state'}`}
      >
        <Markers />
        <Diagram layout={layout} active={active} taken={marks} onState={path => go(hrefOf('chart', machine, path))} />
      </svg>
    </div>
  )
}
