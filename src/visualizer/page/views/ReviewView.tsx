/** What a reviewer asks: what is unreachable or unanswered, what the tests take, and what has changed between two revisions. */
import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { type Coverage, countsForCoverage, type MachineReview, readCoverage } from '../../model/analysis.js'
import type { Chart } from '../../model/chart.js'
import { type ChartDiff, diffCharts, type Mark } from '../../model/diff.js'
import { machines } from '../../model/machines.js'
import { reviewElementId } from '../../model/embedded.js'
import { type Review, reviewAll, type ReviewData } from '../../model/review.js'
import { knownMachines, machineOf } from '../charts.js'
import { Canvas } from '../diagram/Canvas.js'
import { Diagram, type Marks } from '../diagram/Diagram.js'
import { TransitionText } from '../parts/Inspector.js'
import { Missing } from '../parts/Missing.js'
import { hrefOf, type Route } from '../route.js'
import { useLayout } from '../useLayout.js'

/** The review that the page was written with. */
const embedded = (): ReviewData => {
  const text = document.getElementById(reviewElementId)?.textContent
  return text === undefined || text === null
    ? { coverage: undefined, diff: undefined }
    : (JSON.parse(text) as ReviewData)
}

// Walking every machine takes a moment: once for each coverage.
const reviews = new Map<Coverage | undefined, Review>()
const reviewWith = (coverage: Coverage | undefined): Review => {
  const known = reviews.get(coverage) ?? reviewAll(machines, coverage)
  reviews.set(coverage, known)
  return known
}

type Paint = 'coverage' | 'changes'

export const ReviewView = ({ route }: { readonly route: Route }): JSX.Element => {
  const data = useMemo(embedded, [])
  const [coverage, setCoverage] = useState(data.coverage)
  const [paint, setPaint] = useState<Paint>(data.diff === undefined ? 'coverage' : 'changes')
  const review = useMemo(() => reviewWith(coverage), [coverage])
  const name = route.subject || (knownMachines[0]?.name ?? '')
  const pair = data.diff?.charts.find(chart => chart.name === name)
  const diff = useMemo(
    () => (data.diff === undefined ? undefined : diffCharts(pair?.before ?? undefined, pair?.after ?? undefined)),
    [data, pair],
  )
  const own = review.machines.find(machine => machine.name === name)
  const chart = machineOf(name)?.chart
  const showsChanges = paint === 'changes' && diff !== undefined && diff.chart.states.length > 0
  const shown = showsChanges ? diff.chart : chart
  const layout = useLayout(shown)
  const marks = useMemo(
    () => (showsChanges ? { states: diff.states, transitions: diff.transitions } : coverageMarks(own, chart, coverage)),
    [showsChanges, diff, own, chart, coverage],
  )
  const load = async (file: File | undefined): Promise<void> => {
    if (file !== undefined) setCoverage(readCoverage(await file.text()))
  }
  if (shown === undefined) return <Missing what={`There is no machine ${name}.`} />
  return (
    <div class="split widest">
      {layout === undefined ? (
        <div class="canvas" aria-busy="true" />
      ) : (
        <Canvas
          key={`${name} ${String(showsChanges)}`}
          label={`Review of ${name}`}
          width={layout.width}
          height={layout.height}
          start={layout.start}
          landmarks={layout.leaves}
          tools={
            data.diff === undefined ? undefined : (
              <>
                <button type="button" aria-pressed={paint === 'coverage'} onClick={() => setPaint('coverage')}>
                  Coverage
                </button>
                <button type="button" aria-pressed={paint === 'changes'} onClick={() => setPaint('changes')}>
                  Changes
                </button>
              </>
            )
          }
        >
          <Diagram layout={layout} stateMarks={marks.states} transitionMarks={marks.transitions} />
        </Canvas>
      )}
      <aside class="panel" aria-label="The review">
        <h1>Review</h1>
        <p class="lead soft">
          {coverage === undefined
            ? 'No test run is loaded: duologue review --out writes a page with one, or choose its file here.'
            : `Coverage of the test run of ${new Date(coverage.at).toISOString().slice(0, 16).replace('T', ' ')} UTC, ${coverage.files} test files.`}
        </p>
        {coverage === undefined && (
          <label class="file small">
            <input
              type="file"
              aria-label="Coverage file"
              accept=".json"
              onChange={event => void load(event.currentTarget.files?.[0])}
            />
            test/results/transitions.json
          </label>
        )}
        <Table review={review} name={name} changed={data.diff} />
        {showsChanges && data.diff !== undefined && <Changes diff={diff} from={data.diff.from} to={data.diff.to} />}
        {own !== undefined && !showsChanges && <Findings own={own} />}
        {review.unserved.length > 0 && (
          <>
            <h2>Behaviours that no state of their machine serves</h2>
            <p class="mono soft">{review.unserved.join(' ')}</p>
          </>
        )}
        {review.unknown.length > 0 && (
          <p class="note bad">Named by states and not in the list: {review.unknown.join(' ')}</p>
        )}
      </aside>
    </div>
  )
}

const noMarks: Marks = new Map()

const coverageMarks = (
  own: MachineReview | undefined,
  chart: Chart | undefined,
  coverage: Coverage | undefined,
): { states: Marks; transitions: Marks } => {
  const states = new Map((own?.unreachable ?? []).map(path => [path, 'unreachable']))
  if (coverage === undefined || chart === undefined || own?.coverage === undefined)
    return { states, transitions: noMarks }
  const untaken = new Set(own.coverage.untaken)
  const transitions = chart.transitions
    .filter(countsForCoverage)
    .map(({ id }) => [id, untaken.has(id) ? 'uncovered' : 'covered'] as const)
  return { states, transitions: new Map(transitions) }
}

const takenText = (coverage: MachineReview['coverage']): string =>
  coverage === undefined ? '–' : `${coverage.taken}/${coverage.taken + coverage.untaken.length}`

interface TableProps {
  readonly review: Review
  readonly name: string
  readonly changed: ReviewData['diff']
}

const Table = ({ review, name, changed }: TableProps): JSX.Element => (
  <table class="review">
    <thead>
      <tr>
        <th scope="col">Machine</th>
        <th scope="col">States</th>
        <th scope="col">Events</th>
        <th scope="col" title="Transitions that the last test run has taken, of all that do something">
          Taken
        </th>
        <th scope="col" title="States that cannot be reached">
          Unreach.
        </th>
        <th scope="col" title="Pairs of state and event that are neither handled nor ignored with a reason">
          Not total
        </th>
        {changed !== undefined && <th scope="col">Changed</th>}
      </tr>
    </thead>
    <tbody>
      {review.machines.map(machine => (
        <tr key={machine.name} {...(machine.name === name ? { class: 'chosen' } : {})}>
          <th scope="row">
            <a href={hrefOf('review', machine.name)}>{machine.name}</a>
          </th>
          <td>{machine.states}</td>
          <td>{machine.events}</td>
          <td>{takenText(machine.coverage)}</td>
          <td>{machine.unreachable.length}</td>
          <td>{machine.silent.length}</td>
          {changed !== undefined && <td>{differencesOf(changed, machine.name)}</td>}
        </tr>
      ))}
    </tbody>
  </table>
)

const differencesOf = (diff: NonNullable<ReviewData['diff']>, name: string): number => {
  const pair = diff.charts.find(chart => chart.name === name)
  return pair === undefined ? 0 : diffCharts(pair.before ?? undefined, pair.after ?? undefined).differences
}

const Findings = ({ own }: { readonly own: MachineReview }): JSX.Element => {
  const chart = machineOf(own.name)?.chart
  return (
    <>
      {own.unreachable.length > 0 && <p class="note bad">Cannot be reached: {own.unreachable.join(', ')}</p>}
      {own.silent.length > 0 && (
        <p class="note bad">
          Neither handled nor ignored with a reason:{' '}
          {own.silent.map(({ state, event }) => `${state} × ${event}`).join(', ')}
        </p>
      )}
      {own.unreachable.length === 0 && own.silent.length === 0 && (
        <p class="note">Every state can be reached, every event is handled or ignored with a reason.</p>
      )}
      {own.coverage !== undefined && (
        <>
          <h2>
            {own.coverage.untaken.length === 0 ? 'The tests take every transition' : 'Transitions that no test takes'}
          </h2>
          <ul class="facts">
            {own.coverage.untaken.map(id => {
              const transition = chart?.transitions.find(one => one.id === id)
              return (
                <li key={id}>
                  {transition === undefined || chart === undefined ? (
                    id
                  ) : (
                    <>
                      <span class="soft">{transition.source || 'any state'}</span>{' '}
                      <TransitionText chart={chart} transition={transition} />
                    </>
                  )}
                </li>
              )
            })}
          </ul>
        </>
      )}
    </>
  )
}

const markChip: Readonly<Record<Mark, string>> = { added: 'good', removed: 'bad', changed: 'warn' }

interface ChangesProps {
  readonly diff: ChartDiff
  readonly from: string
  readonly to: string
}

const Changes = ({ diff, from, to }: ChangesProps): JSX.Element => (
  <>
    <h2>
      From {from} to {to}
    </h2>
    {diff.differences === 0 && <p class="empty">Nothing has changed in this machine.</p>}
    <ul class="facts">
      {[...diff.states].map(([path, mark]) => (
        <li key={path}>
          <span class={`chip ${markChip[mark]}`}>{mark}</span> {path || 'the machine'}
        </li>
      ))}
      {[...diff.transitions].map(([id, mark]) => {
        const transition = diff.chart.transitions.find(one => one.id === id)
        return (
          <li key={id}>
            <span class={`chip ${markChip[mark]}`}>{mark}</span>{' '}
            {transition !== undefined && (
              <>
                <span class="soft">{transition.source || 'any state'}</span>{' '}
                <TransitionText chart={diff.chart} transition={transition} />
              </>
            )}
          </li>
        )
      })}
    </ul>
  </>
)
