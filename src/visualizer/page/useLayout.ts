import { useEffect, useState } from 'preact/hooks'
import type { Chart } from '../model/chart.js'
import type { Detail } from './diagram/boxes.js'
import { type Direction, type Layout, layoutOf } from './diagram/layout.js'

/** The layout of a chart, once it is there. */
export const useLayout = (
  chart: Chart | undefined,
  detail: Detail = 'full',
  direction: Direction = 'DOWN',
): Layout | undefined => {
  const [layout, setLayout] = useState<Layout | undefined>(undefined)
  useEffect(() => {
    let wanted = true
    if (chart === undefined) setLayout(undefined)
    else {
      void layoutOf(chart, detail, direction).then(placed => {
        if (wanted) setLayout(placed)
      })
    }
    return () => {
      wanted = false
    }
  }, [chart, detail, direction])
  return layout?.chart === chart ? layout : undefined
}
