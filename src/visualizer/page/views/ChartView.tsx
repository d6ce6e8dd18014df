/** A machine as a statechart, and what is known about the state that was chosen. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { machineOf, knownMachines } from '../charts.js'
import type { Detail } from '../diagram/boxes.js'
import { Canvas } from '../diagram/Canvas.js'
import { Diagram } from '../diagram/Diagram.js'
import { ExportMenu } from '../parts/ExportMenu.js'
import { Inspector } from '../parts/Inspector.js'
import { Missing } from '../parts/Missing.js'
import { go, hrefOf, type Route } from '../route.js'
import { useLayout } from '../useLayout.js'

export const ChartView = ({ route }: { readonly route: Route }): JSX.Element => {
  const known = machineOf(route.subject) ?? (route.subject === '' ? knownMachines[0] : undefined)
  const [detail, setDetail] = useState<Detail>('full')
  const layout = useLayout(known?.chart, detail)
  useEffect(() => {
    if (layout !== undefined) requestAnimationFrame(() => performance.mark('chart drawn'))
  }, [layout])
  if (known === undefined) return <Missing what={`There is no machine ${route.subject}.`} />
  const { chart, name } = known
  const state = chart.states.find(({ path }) => path === route.detail)
  const focus = route.detail === '' ? undefined : layout?.states.find(({ state: { path } }) => path === route.detail)
  const select = (path: string): void => go(hrefOf('chart', name, path))
  return (
    <div class="split">
      {layout === undefined ? (
        <div class="canvas" aria-busy="true" />
      ) : (
        <Canvas
          key={name}
          label={`Statechart of ${name}`}
          width={layout.width}
          height={layout.height}
          start={layout.start}
          landmarks={layout.leaves}
          focus={focus}
          onBackground={() => select('')}
          tools={
            <>
              <button
                type="button"
                aria-pressed={detail === 'brief'}
                onClick={() => setDetail(detail === 'full' ? 'brief' : 'full')}
                title="Hide what happens inside states"
              >
                Brief
              </button>
              <ExportMenu chart={chart} layout={layout} />
            </>
          }
        >
          <Diagram layout={layout} selected={route.detail} onState={select} onTransition={id => select(sourceOf(id))} />
        </Canvas>
      )}
      <aside class="panel" aria-label="What is chosen">
        {state === undefined ? (
          <Missing what={`${name} has no state ${route.detail}.`} />
        ) : (
          <Inspector chart={chart} state={state} />
        )}
      </aside>
    </div>
  )
}

const sourceOf = (id: string): string => {
  const [source = ''] = id.split(' | ')
  return source === '(any)' ? '' : source
}
