/** What live view and replay share: units of work with their phases, and one actor with its history. */
import type { JSX } from 'preact'
import { useMemo } from 'preact/hooks'
import { eventText, type TracedUnit, type TraceRecord, transitionsOf } from '../../model/trace.js'
import { machineOf } from '../charts.js'
import { hrefOf } from '../route.js'
import type { ActorName } from '../live.js'
import { shortId } from './ActorList.js'
import { SmallChart } from './SmallChart.js'

export const timeText = (at: number): string => {
  const date = new Date(at)
  return `${date.toISOString().slice(11, 19)}.${String(date.getUTCMilliseconds()).padStart(3, '0')}`
}

export const Units = ({
  units,
  chosen,
  choose,
}: {
  readonly units: readonly TracedUnit[]
  readonly chosen: ActorName | undefined
  readonly choose: (actor: ActorName) => void
}): JSX.Element => (
  <ol class="units">
    {units.map(unit => (
      <li key={unit.key}>
        <div class="unit-head">
          <time class="mono soft">{timeText(unit.at)}</time>
          <b>{unit.name}</b>
          {unit.summary?.error !== undefined && <span class="chip bad">{unit.summary.error}</span>}
        </div>
        {unit.transitions.map((record, index) => (
          <TransitionRow key={index} record={record} chosen={chosen} choose={choose} />
        ))}
        {unit.summary !== undefined && unit.summary.error === undefined && <Phases summary={unit.summary} />}
      </li>
    ))}
  </ol>
)

const TransitionRow = ({
  record,
  chosen,
  choose,
}: {
  readonly record: TraceRecord
  readonly chosen: ActorName | undefined
  readonly choose: (actor: ActorName) => void
}): JSX.Element => {
  const { machine = '', id = '', event = '', from = '', to = '', intents = [] } = record
  const isChosen = chosen?.machine === machine && chosen.id === id
  return (
    <button
      type="button"
      class={`plain transition-row ${isChosen ? 'chosen' : ''}`}
      onClick={() => choose({ machine, id })}
      title={`Show ${machine} ${id}`}
    >
      <span class="event">{machine}</span> <span class="soft mono">{shortId(id)}</span> {eventText(event)}{' '}
      {to !== '' && <span class="chip">{from === to || from === '' ? to : `${from} → ${to}`}</span>}{' '}
      {intents.length > 0 && <span class="action">/ {intents.join(', ')}</span>}
      {record.facts !== undefined && <span class="payload">{factsText(record.facts)}</span>}
    </button>
  )
}

/** lock → compute → commit → release → notify, with the time of each that has one. */
const Phases = ({ summary }: { readonly summary: TraceRecord }): JSX.Element => {
  const { durations = { lock: 0, compute: 0, commit: 0 }, events = [], wakes = [] } = summary
  const total = durations.lock + durations.compute + durations.commit
  const part = (ms: number): string => `${total === 0 ? 0 : Math.max(2, (ms / total) * 100)}%`
  return (
    <div class="phases">
      <div class="phase-bar" aria-hidden="true">
        {(['lock', 'compute', 'commit'] as const).map(phase => (
          <span key={phase} class={phase} style={`width:${part(durations[phase])}`} />
        ))}
      </div>
      <p>
        <span class="phase lock">lock {msText(durations.lock)}</span>
        <span class="phase compute">compute {msText(durations.compute)}</span>
        <span class="phase commit">commit {msText(durations.commit)}</span>
        <span class="phase">release</span>
        <span class="phase notify">
          notify
          {events.length === 0 && wakes.length === 0 ? ' nobody' : ''}
          {events.map((type, index) => (
            <b key={index} class="mono">
              {' '}
              {type}
            </b>
          ))}
          {wakes.length > 0 && <span class="soft"> woke {wakes.join(', ')}</span>}
        </span>
      </p>
    </div>
  )
}

const msText = (ms: number): string => `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`

const mostShown = 200

export const ActorPanel = ({
  actor: { machine, id },
  state,
  records,
  goTo,
}: {
  readonly actor: ActorName
  readonly state: string
  readonly records: readonly TraceRecord[]
  /** Goes to the moment of one of the records. */
  readonly goTo?: (index: number) => void
}): JSX.Element => {
  const chart = machineOf(machine)?.chart
  const last = records.at(-1)
  const taken = useMemo(
    () => (last === undefined || chart === undefined ? [] : transitionsOf(last, chart.transitions)),
    [last, chart],
  )
  return (
    <>
      <h1>
        <small>{id}</small>
        {machine}
      </h1>
      <p class="lead row">
        <span class="chip lit" data-testid="actor-state">
          {state || 'not known yet'}
        </span>
        {state !== '' && <a href={hrefOf('chart', machine, state)}>What this state is</a>}
      </p>
      <SmallChart machine={machine} state={state} taken={taken} most={0.8} />
      <h2>
        {records.length === 0 ? 'No events yet' : `Last ${Math.min(records.length, mostShown)} events, newest first`}
      </h2>
      <ol class="facts actor-history">
        {records
          .map((record, index) => <Happened key={index} record={record} goTo={goTo && (() => goTo(index))} />)
          .slice(-mostShown)
          .toReversed()}
      </ol>
    </>
  )
}

interface HappenedProps {
  readonly record: TraceRecord
  readonly goTo: (() => void) | undefined
}

/** One event of an actor. */
const Happened = ({
  record: { at, event = '', from = '', to = '', intents = [], facts },
  goTo,
}: HappenedProps): JSX.Element => (
  <li>
    {goTo === undefined ? (
      <time class="mono soft">{timeText(at)}</time>
    ) : (
      <button type="button" class="plain" onClick={goTo} title="Go to this moment">
        <time class="mono soft">{timeText(at)}</time>
      </button>
    )}{' '}
    <span class="event">{eventText(event)}</span>{' '}
    <span class="soft">{from === to || from === '' ? to : `${from} → ${to}`}</span>{' '}
    {intents.length > 0 && <span class="action">/ {intents.join(', ')}</span>}
    {facts !== undefined && <span class="payload">{factsText(facts)}</span>}
  </li>
)

const factsText = (facts: NonNullable<TraceRecord['facts']>): string =>
  Object.entries(facts)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ')
