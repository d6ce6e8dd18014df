/** The frame: views, machines, search, light and dark. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { knownMachines } from './charts.js'
import { Search } from './parts/Search.js'
import { hrefOf, type Route, useRoute, type ViewName } from './route.js'
import { chooseTheme, currentTheme, type Theme } from './theme.js'
import { ChartView } from './views/ChartView.js'
import { LiveView } from './views/LiveView.js'
import { ReplayView } from './views/ReplayView.js'
import { ReviewView } from './views/ReviewView.js'
import { SidesView } from './views/SidesView.js'
import { StepView } from './views/StepView.js'

const tabs: ReadonlyArray<{ readonly view: ViewName; readonly title: string }> = [
  { view: 'chart', title: 'Chart' },
  { view: 'step', title: 'Step' },
  { view: 'sides', title: 'Two sides' },
  { view: 'live', title: 'Live' },
  { view: 'replay', title: 'Replay' },
  { view: 'review', title: 'Review' },
]

/** Views that show one machine keep it when the view changes. */
const aboutMachine: ReadonlySet<ViewName> = new Set(['chart', 'step', 'review'])

export const App = (): JSX.Element => {
  const route = useRoute()
  const machine = aboutMachine.has(route.view) ? route.subject || (knownMachines[0]?.name ?? '') : ''
  useEffect(() => {
    const title = tabs.find(({ view }) => view === route.view)?.title ?? ''
    document.title = `${[machine, title].filter(Boolean).join(' · ')} · duologue visualizer`
  }, [route.view, machine])
  return (
    <div class={aboutMachine.has(route.view) ? 'app' : 'app without-side'}>
      <header class="top">
        <a class="brand" href="#/">
          <Mark />
          <span>
            duologue <small>visualizer</small>
          </span>
        </a>
        <nav class="tabs" aria-label="Views">
          {tabs.map(({ view, title }) => (
            <a
              key={view}
              href={hrefOf(view, aboutMachine.has(view) ? machine : '')}
              {...(view === route.view ? { 'aria-current': 'page' as const } : {})}
            >
              {title}
            </a>
          ))}
        </nav>
        <div class="end">
          <Search />
          <ThemeChoice />
        </div>
      </header>
      {aboutMachine.has(route.view) && (
        <nav class="side" aria-label="Machines">
          {(['protocol', 'worker'] as const).map(kind => (
            <MachineList key={kind} kind={kind} route={route} machine={machine} />
          ))}
        </nav>
      )}
      <main>
        <View route={route} />
      </main>
    </div>
  )
}

const View = ({ route }: { readonly route: Route }): JSX.Element => {
  switch (route.view) {
    case 'step':
      return <StepView route={route} />
    case 'sides':
      return <SidesView route={route} />
    case 'live':
      return <LiveView route={route} />
    case 'replay':
      return <ReplayView />
    case 'review':
      return <ReviewView route={route} />
    default:
      return <ChartView route={route} />
  }
}

interface MachineListProps {
  readonly kind: 'protocol' | 'worker'
  readonly route: Route
  readonly machine: string
}

const MachineList = ({ kind, route, machine }: MachineListProps): JSX.Element => (
  <>
    <h2>{kind === 'protocol' ? 'Protocol machines' : 'Worker machines'}</h2>
    <ul>
      {knownMachines
        .filter(known => known.kind === kind)
        .map(({ name, chart }) => (
          <li key={name}>
            <a
              href={hrefOf(aboutMachine.has(route.view) ? route.view : 'chart', name)}
              title={chart.description}
              {...(name === machine ? { 'aria-current': 'true' as const } : {})}
            >
              {name}
              <small title="states">{chart.states.length - 1}</small>
            </a>
          </li>
        ))}
    </ul>
  </>
)

const themes: readonly Theme[] = ['system', 'light', 'dark']

const ThemeChoice = (): JSX.Element => {
  const [theme, setTheme] = useState(currentTheme())
  return (
    <select
      aria-label="Colours"
      value={theme}
      onChange={event => {
        const chosen = event.currentTarget.value as Theme
        chooseTheme(chosen)
        setTheme(chosen)
      }}
    >
      {themes.map(name => (
        <option key={name} value={name}>
          {name === 'system' ? 'As the system' : name === 'light' ? 'Light' : 'Dark'}
        </option>
      ))}
    </select>
  )
}

const Mark = (): JSX.Element => (
  <svg viewBox="0 0 32 32" aria-hidden="true">
    <rect x="2" y="5" width="18" height="13" rx="4" fill="#4f46e5" />
    <rect x="12" y="14" width="18" height="13" rx="4" fill="#0d9488" />
  </svg>
)
