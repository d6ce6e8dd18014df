/** A trace that was written to a file, moved through step by step. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { actorsOf, connectionsOf, isOfConnection, type ParsedTrace, parseTrace, unitsOf } from '../../model/trace.js'
import { ActorPanel, type ActorName, Counts, shortId, timeText, Units } from '../parts/TraceParts.js'
import { ConnectionFilter } from './LiveView.js'

// It stays while the reader looks at other views.
let loaded: { readonly name: string; readonly trace: ParsedTrace } | undefined

export const ReplayView = (): JSX.Element => {
  const [file, setFile] = useState(loaded)
  const [problem, setProblem] = useState('')
  const load = async (chosen: File | undefined): Promise<void> => {
    if (chosen === undefined) return
    const trace = parseTrace(await chosen.text())
    if (trace.records.length === 0) {
      setProblem(`${chosen.name} holds no trace records.`)
      return
    }
    setProblem('')
    loaded = { name: chosen.name, trace }
    setFile(loaded)
  }
  const close = (): void => {
    loaded = undefined
    setFile(undefined)
  }
  return (
    <div
      class="drop"
      onDragOver={event => event.preventDefault()}
      onDrop={event => {
        event.preventDefault()
        void load(event.dataTransfer?.files[0])
      }}
    >
      {file === undefined ? (
        <div class="page ready">
          <h1>Replay a trace</h1>
          <p class="soft">
            <code>duologue agent --trace file.jsonl …</code> writes one JSON line for each unit of work and transition;
            a simulation that fails writes one too. The file stays in this page.
          </p>
          <label class="file">
            <input
              type="file"
              aria-label="Trace file"
              accept=".jsonl,.json,.ndjson,.log,.txt"
              onChange={event => void load(event.currentTarget.files?.[0])}
            />
            Choose a file, or drop it here
          </label>
          {problem !== '' && (
            <p class="note bad" role="alert">
              {problem}
            </p>
          )}
        </div>
      ) : (
        <Scrubber key={file.name} name={file.name} trace={file.trace} close={close} />
      )}
    </div>
  )
}

interface ScrubberProps {
  readonly name: string
  readonly trace: ParsedTrace
  readonly close: () => void
}

const mostUnits = 120
const tickMs = 160

const Scrubber = ({ name, trace, close }: ScrubberProps): JSX.Element => {
  const [connectionId, setConnectionId] = useState('')
  const [kind, setKind] = useState('')
  const [actor, setActor] = useState<ActorName | undefined>(undefined)
  const [playing, setPlaying] = useState(false)
  const records = useMemo(
    () => trace.records.filter(record => isOfConnection(record, connectionId)),
    [trace, connectionId],
  )
  const [position, setPosition] = useState(records.length)
  const at = Math.min(position, records.length)
  const seen = useMemo(() => records.slice(0, at), [records, at])
  const actors = useMemo(() => actorsOf(seen), [seen])
  const counts = useMemo(() => countsOf(actors), [actors])
  const connections = useMemo(() => connectionsOf(trace.records), [trace])
  const units = useMemo(() => unitsOf(seen).slice(-mostUnits).toReversed(), [seen])
  const found = actors.find(one => one.machine === actor?.machine && one.id === actor.id)
  const move = (by: number): void => setPosition(Math.max(0, Math.min(records.length, at + by)))
  useEffect(() => {
    if (!playing) return
    if (at >= records.length) {
      setPlaying(false)
      return
    }
    const timer = setTimeout(() => setPosition(at + 1), tickMs)
    return () => clearTimeout(timer)
  }, [playing, at, records.length])
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
          onClick={() => (at >= records.length ? (setPosition(0), setPlaying(true)) : setPlaying(!playing))}
        >
          {playing ? 'Pause' : 'Play'}
        </button>
        <button type="button" onClick={() => move(1)} disabled={at === records.length} aria-label="One record on">
          ›
        </button>
        <input
          class="scrub"
          type="range"
          min={0}
          max={records.length}
          value={at}
          aria-label="Position in the trace"
          aria-valuetext={`record ${at} of ${records.length}`}
          onInput={event => setPosition(Number(event.currentTarget.value))}
        />
        <span class="mono soft">
          {at} / {records.length}
          {seen.length > 0 && ` · ${timeText(seen.at(-1)?.at ?? 0)}`}
        </span>
        <ConnectionFilter connections={connections} chosen={connectionId} choose={setConnectionId} />
        <button type="button" onClick={close}>
          Another file
        </button>
        {trace.bad > 0 && <span class="chip warn">{trace.bad} lines are no records</span>}
        {trace.leftOut > 0 && <span class="chip warn">{trace.leftOut} records were left out by the writer</span>}
      </header>
      <aside class="party" aria-label="Actors">
        <h2 class="small-title">Actors at this moment</h2>
        <Counts counts={counts} chosen={kind} choose={setKind} />
        {kind !== '' && (
          <ul>
            {actors
              .filter(({ machine }) => machine === kind)
              .slice(0, 200)
              .map(({ machine, id, state }) => (
                <li key={id}>
                  <button
                    type="button"
                    class="plain actor"
                    aria-pressed={actor?.id === id}
                    onClick={() => setActor({ machine, id })}
                  >
                    <span class="mono" title={id}>
                      {shortId(id)}
                    </span>
                    <span class="chip lit">{state}</span>
                  </button>
                </li>
              ))}
          </ul>
        )}
      </aside>
      <section class="between" aria-label="Units of work" tabIndex={0}>
        <Units units={units} chosen={actor} choose={setActor} />
      </section>
      <aside class="panel" aria-label="One actor">
        {actor === undefined ? (
          <p class="empty">Choose an actor to see its chart and its events up to this moment.</p>
        ) : (
          <ActorPanel actor={actor} state={found?.state ?? ''} records={found?.records ?? []} />
        )}
      </aside>
    </div>
  )
}

const countsOf = (actors: ReturnType<typeof actorsOf>): Array<{ machine: string; state: string; count: number }> => {
  const counts = new Map<string, { machine: string; state: string; count: number }>()
  for (const { machine, state } of actors) {
    const key = `${machine} ${state}`
    counts.set(key, { machine, state, count: (counts.get(key)?.count ?? 0) + 1 })
  }
  return [...counts.values()].sort((a, b) => a.machine.localeCompare(b.machine))
}
