/** Actors by machine and state, and those of one machine by their ids: what live view and replay share. */
import type { JSX } from 'preact'
import type { ActorName } from '../live.js'

export interface ActorCount {
  readonly machine: string
  readonly state: string
  readonly count: number
}

/** A machine, or a machine in one state, as it was chosen among the counts. */
export interface Kind {
  readonly machine: string
  /** Empty for every state. */
  readonly state: string
}

export const isKind = (a: Kind | undefined, b: Kind): boolean => a?.machine === b.machine && a.state === b.state

interface CountsProps {
  readonly counts: readonly ActorCount[]
  readonly chosen: Kind | undefined
  readonly choose: (kind: Kind | undefined) => void
}

/** Counts of actors by machine and state; each can be chosen. */
export const Counts = ({ counts, chosen, choose }: CountsProps): JSX.Element => {
  const machines = [...new Set(counts.map(({ machine }) => machine))]
  const toggle = (kind: Kind): void => choose(isKind(chosen, kind) ? undefined : kind)
  return (
    <ul class="counts">
      {machines.map(machine => {
        const own = counts.filter(count => count.machine === machine)
        const every = { machine, state: '' }
        return (
          <li key={machine}>
            <button
              type="button"
              class="plain actor"
              aria-pressed={isKind(chosen, every)}
              onClick={() => toggle(every)}
            >
              <span class="event">{machine}</span>
              <span class="mono">{own.reduce((sum, { count }) => sum + count, 0).toLocaleString('en')}</span>
            </button>
            <p class="row count-states">
              {own.map(({ state, count }) => (
                <button
                  key={state}
                  type="button"
                  class="chip"
                  aria-pressed={isKind(chosen, { machine, state })}
                  onClick={() => toggle({ machine, state })}
                >
                  {state || 'no state'} {count.toLocaleString('en')}
                </button>
              ))}
            </p>
          </li>
        )
      })}
    </ul>
  )
}

interface ActorListProps {
  readonly kind: Kind
  readonly actors: ReadonlyArray<{ readonly id: string; readonly state: string }>
  readonly chosen: ActorName | undefined
  readonly choose: (actor: ActorName) => void
  /** Shows those after the last one; undefined when there are none. */
  readonly more: (() => void) | undefined
}

export const ActorList = ({ kind: { machine, state }, actors, chosen, choose, more }: ActorListProps): JSX.Element => (
  <>
    <h2 class="small-title">{state === '' ? machine : `${machine} in ${state}`}</h2>
    <ul>
      {actors.map(({ id, state: now }) => (
        <li key={id}>
          <button
            type="button"
            class="plain actor"
            aria-pressed={chosen?.machine === machine && chosen.id === id}
            onClick={() => choose({ machine, id })}
          >
            <span class="mono" title={id}>
              {shortId(id)}
            </span>
            <span class="chip lit">{now}</span>
          </button>
        </li>
      ))}
      {actors.length === 0 && <li class="empty">None now.</li>}
    </ul>
    {more !== undefined && (
      <button type="button" onClick={more}>
        Show more
      </button>
    )}
  </>
)

/** An id as it is shown: its beginning is enough to tell it from others. */
export const shortId = (id: string): string => (id.length > 12 && !id.includes(' ') ? `${id.slice(0, 8)}…` : id)

interface ConnectionFilterProps {
  readonly connections: readonly string[]
  readonly chosen: string
  readonly choose: (connectionId: string) => void
}

const mostOffered = 500

/** One connection out of those that are known, or any other by its id. */
export const ConnectionFilter = ({ connections, chosen, choose }: ConnectionFilterProps): JSX.Element => (
  <>
    <input
      type="search"
      class="filter"
      aria-label="Connection"
      placeholder="All connections"
      list="connections"
      spellcheck={false}
      autocomplete="off"
      value={chosen}
      // While it is typed it is no id yet; one that is chosen from the list is.
      onInput={event => {
        const { value } = event.currentTarget
        if (value === '' || connections.includes(value)) choose(value)
      }}
      onChange={event => choose(event.currentTarget.value.trim())}
    />
    <datalist id="connections">
      {connections.slice(0, mostOffered).map(id => (
        <option key={id} value={id} />
      ))}
    </datalist>
  </>
)
