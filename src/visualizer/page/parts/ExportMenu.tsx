/** Saves a chart in one of the formats that others read. */
import type { JSX } from 'preact'
import type { Chart } from '../../model/chart.js'
import { mermaidOf } from '../../model/exports/mermaid.js'
import { scxmlOf } from '../../model/exports/scxml.js'
import type { Layout } from '../diagram/layout.js'
import { pngOf, save, svgOf } from '../export.js'

const formats = ['SVG', 'PNG', 'Mermaid', 'SCXML', 'JSON'] as const
type Format = (typeof formats)[number]

export const ExportMenu = ({ chart, layout }: { readonly chart: Chart; readonly layout: Layout }): JSX.Element => (
  <select
    aria-label="Export the chart"
    value=""
    onChange={event => {
      const { value } = event.currentTarget
      event.currentTarget.value = ''
      void exportChart(value as Format, chart, layout)
    }}
  >
    <option value="" disabled>
      Export
    </option>
    {formats.map(format => (
      <option key={format} value={format}>
        {format}
      </option>
    ))}
  </select>
)

const exportChart = async (format: Format, chart: Chart, layout: Layout): Promise<void> => {
  const { name } = chart
  switch (format) {
    case 'SVG':
      return save(`${name}.svg`, new Blob([svgOf(layout)], { type: 'image/svg+xml' }))
    case 'PNG':
      return save(`${name}.png`, await pngOf(layout))
    case 'Mermaid':
      return save(`${name}.mmd`, new Blob([mermaidOf(chart)], { type: 'text/plain' }))
    case 'SCXML':
      return save(`${name}.scxml`, new Blob([scxmlOf(chart)], { type: 'application/xml' }))
    case 'JSON':
      return save(`${name}.json`, new Blob([`${JSON.stringify(chart, null, 2)}\n`], { type: 'application/json' }))
  }
}
