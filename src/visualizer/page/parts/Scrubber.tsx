/** Moves through a trace that was loaded: who was in which state, what was committed and told, one actor and its events. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { unitsOf } from '../../model/trace.js'
import type { LoadedTrace } from '../../model/traceFile.js'
import type { ActorName } from '../live.js'
import { ActorList, ConnectionFilter, Counts, type Kind } from './ActorList.js'
import { ActorPanel, timeText, Units } from './TraceParts.js'

interface ScrubberProps {
  readonly name: string
  readonly trace: LoadedTrace
  readonly close: () => void
}

const mostUnits = 120
/** Records in which that many units are looked for. */
const unitRecords = 1_200
const mostActors = 200
const mostEvents = 200
const tickMs = 160
/** Records that go by with each tick while it plays. */
const paces = [1, 10, 100, 1_000] as const

export const Scrubber = ({ name, trace, close }: ScrubberProps): JSX.Element => {
  const { table } = trace
  const [connectionId, setConnectionId] = useState('')
  const [kind, setKind] = useState<Kind | undefined>(undefined)
  const [actor, setActor] = useState<ActorName | undefined>(undefined)
  const [playing, setPlaying] = useState(false)
  const [pace, setPace] = useState<number>(paces[0])
  const view = useMemo(() => table.view(connectionId), [table, connectionId])
  const connections = useMemo(() => table.connections, [table])
  const [position, setPosition] = useState(view.length)
  const at = Math.min(position, view.length)
  // So many records of the whole trace are before this moment.
  const before = at === 0 ? 0 : view.numberOf(at - 1) + 1
  const counts = useMemo(() => table.counts(connectionId, before), [table, connectionId, before])
  const units = useMemo(() => {
    const from = Math.max(0, at - unitRecords)
    return unitsOf(view.records(from, at), from).slice(-mostUnits).toReversed()
  }, [view, at])
  const listed = useMemo(
    () => (kind === undefined ? [] : table.list(kind, connectionId, before, mostActors)),
    [table, kind, connectionId, before],
  )
  const history = useMemo(
    () => (actor === undefined ? [] : table.history(actor, before, mostEvents)),
    [table, actor, before],
  )
  const [last] = view.records(Math.max(0, at - 1), at)
  const move = (by: number): void => setPosition(Math.max(0, Math.min(view.length, at + by)))
  const filter = (chosen: string): void => {
    // The moment stays, whatever is counted.
    const next = table.view(chosen)
    setConnectionId(chosen)
    setPosition(countBefore(next, before))
  }
  const goTo = (number: number): void => setPosition(countBefore(view, number + 1))
  useEffect(() => {
    if (!playing) return
    if (at >= view.length) {
      setPlaying(false)
      return
    }
    const timer = setTimeout(() => setPosition(Math.min(at + pace, view.length)), tickMs)
    return () => clearTimeout(timer)
  }, [playing, at, pace, view])
  return (
    <div class="trace ready">
      <header class="bar">
        <b>{name}</b>
        <button type="button" onClick={() => move(-1)} disabled={at === 0} aria-label="One record back">
          ‹
        </button>
        <button
          type="button"
          class="primary"
          onClick={() => (at >= view.length ? (setPosition(0), setPlaying(true)) : setPlaying(!playing))}
        >
          {playing ? 'Pause' : 'Play'}
        </button>
        <button type="button" onClick={() => move(1)} disabled={at === view.length} aria-label="One record on">
          ›
        </button>
        <select aria-label="Pace" value={pace} onChange={event => setPace(Number(event.currentTarget.value))}>
          {paces.map(times => (
            <option key={times} value={times}>
              {times.toLocaleString('en')} ×
            </option>
          ))}
        </select>
        <input
          class="scrub"
          type="range"
          min={0}
          max={view.length}
          value={at}
          aria-label="Position in the trace"
          aria-valuetext={`record ${at} of ${view.length}`}
          onInput={event => setPosition(Number(event.currentTarget.value))}
        />
        <span class="mono soft">
          {at} / {view.length}
          {last !== undefined && ` · ${timeText(last.at)}`}
        </span>
        <ConnectionFilter connections={connections} chosen={connectionId} choose={filter} />
        <button type="button" onClick={close}>
          Another file
        </button>
        <LeftOut trace={trace} />
      </header>
      <aside class="party" aria-label="Actors">
        <h2 class="small-title">Actors at this moment</h2>
        <Counts counts={counts} chosen={kind} choose={setKind} />
        {kind !== undefined && (
          <ActorList kind={kind} actors={listed} chosen={actor} choose={setActor} more={undefined} />
        )}
      </aside>
      <section class="between" aria-label="Units of work" tabIndex={0}>
        <Units units={units} chosen={actor} choose={setActor} />
      </section>
      <aside class="panel" aria-label="One actor">
        {actor === undefined ? (
          <p class="empty">Choose an actor to see its chart and its events up to this moment.</p>
        ) : (
          <ActorPanel
            actor={actor}
            state={table.stateOf(actor, before)}
            records={history.map(number => table.record(number))}
            goTo={index => goTo(history[index] ?? 0)}
          />
        )}
      </aside>
    </div>
  )
}

/** How many records of a view are before a record of the whole trace. */
const countBefore = (
  { length, numberOf }: { readonly length: number; numberOf(n: number): number },
  number: number,
): number => {
  let [low, high] = [0, length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (numberOf(middle) < number) low = middle + 1
    else high = middle
  }
  return low
}

/** What of the file is not shown, and why. */
const LeftOut = ({ trace: { bad, badCount, leftOut, cut } }: { readonly trace: LoadedTrace }): JSX.Element => (
  <>
    {badCount > 0 && (
      <details class="bad-lines">
        <summary class="chip warn">
          {badCount.toLocaleString('en')} {badCount === 1 ? 'line is no record' : 'lines are no records'}
        </summary>
        <ol>
          {bad.map(({ line, why, text }) => (
            <li key={line}>
              <b>line {line.toLocaleString('en')}</b>: {why} <code class="soft">{text}</code>
            </li>
          ))}
          {badCount > bad.length && <li>and {(badCount - bad.length).toLocaleString('en')} more</li>}
        </ol>
      </details>
    )}
    {leftOut > 0 && <span class="chip warn">{leftOut.toLocaleString('en')} records were left out by the writer</span>}
    {cut && <span class="chip warn">the file has more records than are shown</span>}
  </>
)
