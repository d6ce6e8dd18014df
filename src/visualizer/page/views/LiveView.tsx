/** An agent as it runs: who is in which state, what was just decided, and one actor followed. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { connectionsOf, isOfConnection, lastState, unitsOf } from '../../model/trace.js'
import { type ActorName, type Live, type LiveState, useLive } from '../live.js'
import { ActorList, ConnectionFilter, Counts, type Kind } from '../parts/ActorList.js'
import { ActorPanel, Units } from '../parts/TraceParts.js'
import type { Route } from '../route.js'

const defaultUrl = (): string =>
  location.protocol.startsWith('http') ? `ws://${location.host}/visualizer/live` : 'ws://127.0.0.1:4747/visualizer/live'

export const LiveView = ({ route }: { readonly route: Route }): JSX.Element => {
  const given = route.query.get('token') ?? ''
  const [target, setTarget] = useState(given === '' ? undefined : { url: defaultUrl(), token: given })
  const live = useLive(target)
  // The token need not stand in the address any longer than it takes to read it.
  useEffect(() => {
    if (given !== '') history.replaceState(undefined, '', '#/live')
  }, [given])
  return live.state.status === 'open' || (live.state.status === 'lost' && live.state.records.length > 0) ? (
    <Following live={live} again={() => setTarget(target === undefined ? undefined : { ...target })} />
  ) : (
    <Connect status={live.state.status} connect={setTarget} />
  )
}

const statusText: Readonly<Record<LiveState['status'], string>> = {
  closed: '',
  connecting: 'Connecting…',
  open: '',
  refused: 'The agent does not take this token.',
  lost: 'The agent cannot be reached there.',
}

interface ConnectProps {
  readonly status: LiveState['status']
  readonly connect: (target: { url: string; token: string }) => void
}

const Connect = ({ status, connect }: ConnectProps): JSX.Element => {
  const [url, setUrl] = useState(defaultUrl())
  const [token, setToken] = useState('')
  return (
    <div class="page ready">
      <h1>Follow a running agent</h1>
      <p class="soft">
        Start it with <code>duologue agent --stdio --visualizer 4747 …</code>; it prints a link that opens this view.
        The view is read-only, and the agent sends names, ids and times only: no keys, bodies or links.
      </p>
      <form
        class="form"
        onSubmit={event => {
          event.preventDefault()
          connect({ url, token })
        }}
      >
        <label>
          Address
          <input type="text" value={url} onInput={event => setUrl(event.currentTarget.value)} spellcheck={false} />
        </label>
        <label>
          Token
          <input
            type="password"
            value={token}
            onInput={event => setToken(event.currentTarget.value)}
            autocomplete="off"
          />
        </label>
        <button type="submit" class="primary" disabled={token === '' || status === 'connecting'}>
          Connect
        </button>
        {statusText[status] !== '' && (
          <p role="status" class={status === 'connecting' ? 'soft' : 'note bad'}>
            {statusText[status]}
          </p>
        )}
      </form>
    </div>
  )
}

const mostUnits = 150

const Following = ({ live, again }: { readonly live: Live; readonly again: () => void }): JSX.Element => {
  const { state, askActor, list, listMore } = live
  const [paused, setPaused] = useState<LiveState | undefined>(undefined)
  const shown = paused ?? state
  const [connectionId, setConnectionId] = useState('')
  const [kind, setKind] = useState<Kind | undefined>(undefined)
  const [actor, setActor] = useState<ActorName | undefined>(undefined)
  const connections = useMemo(() => connectionsOf(shown.records), [shown.records])
  const units = useMemo(
    () =>
      unitsOf(
        shown.records.filter(record => isOfConnection(record, connectionId)),
        shown.first,
      )
        .slice(-mostUnits)
        .toReversed(),
    [shown.records, connectionId],
  )
  const choose = (chosen: ActorName): void => {
    setActor(chosen)
    askActor(chosen)
  }
  useEffect(() => {
    if (kind === undefined) return list(undefined)
    const { machine, state } = kind
    list({ machine, ...(state === '' ? {} : { state }), ...(connectionId === '' ? {} : { connectionId }) })
  }, [kind, connectionId])
  const { listing, history } = state
  const isListed =
    kind !== undefined && listing?.machine === kind.machine && (listing.state ?? '') === kind.state
      ? listing
      : undefined
  const isFollowed = actor !== undefined && history?.machine === actor.machine && history.id === actor.id
  const records = isFollowed ? history.records : []
  const listed = listing?.machine === actor?.machine ? listing?.actors.find(({ id }) => id === actor?.id) : undefined
  return (
    <div class="trace ready">
      <header class="bar">
        <span class={`chip ${state.status === 'open' ? 'good' : 'bad'}`}>
          {state.status === 'open' ? 'live' : 'connection lost'}
        </span>
        {state.status !== 'open' && (
          <button type="button" onClick={again}>
            Connect again
          </button>
        )}
        <button
          type="button"
          aria-pressed={paused !== undefined}
          onClick={() => setPaused(paused === undefined ? state : undefined)}
        >
          {paused === undefined ? 'Pause' : 'Go on'}
        </button>
        <ConnectionFilter connections={connections} chosen={connectionId} choose={setConnectionId} />
        {state.leftOut > 0 && (
          <span class="soft">{state.leftOut.toLocaleString('en')} records left out: this page was too slow</span>
        )}
      </header>
      <aside class="party" aria-label="Actors">
        <h2 class="small-title">Actors</h2>
        <Counts counts={state.counts} chosen={kind} choose={setKind} />
        {kind !== undefined && (
          <ActorList
            kind={kind}
            actors={isListed?.actors ?? []}
            chosen={actor}
            choose={choose}
            more={isListed?.more === true ? listMore : undefined}
          />
        )}
      </aside>
      <section class="between" aria-label="Units of work" tabIndex={0}>
        {units.length === 0 && <p class="empty">Nothing has happened yet.</p>}
        <Units units={units} chosen={actor} choose={choose} />
      </section>
      <aside class="panel" aria-label="One actor">
        {actor === undefined ? (
          <p class="empty">Choose an actor, here or in a unit of work, to see its chart and its last events.</p>
        ) : (
          <ActorPanel actor={actor} state={lastState(records) ?? listed?.state ?? ''} records={records} />
        )}
      </aside>
    </div>
  )
}
