/** An agent as it runs: who is in which state, what was just decided, and one actor followed. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { actorKey, connectionsOf, isOfConnection, unitsOf } from '../../model/trace.js'
import { type Live, type LiveState, useLive } from '../live.js'
import { ActorPanel, type ActorName, Counts, shortId, Units } from '../parts/TraceParts.js'
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
  const { state, ask } = live
  const [paused, setPaused] = useState<LiveState | undefined>(undefined)
  const shown = paused ?? state
  const [connectionId, setConnectionId] = useState('')
  const [kind, setKind] = useState('')
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
    ask({ type: 'actor', ...chosen })
  }
  const chooseKind = (machine: string): void => {
    setKind(machine)
    if (machine !== '') ask({ type: 'actors', machine, ...(connectionId === '' ? {} : { connectionId }) })
  }
  const listed = (state.actors.get(kind) ?? []).filter(
    one => connectionId === '' || one.connectionId === undefined || one.connectionId === connectionId,
  )
  const records = actor === undefined ? [] : (state.histories.get(actorKey(actor)) ?? [])
  const known = actor === undefined ? undefined : state.actors.get(actor.machine)?.find(({ id }) => id === actor.id)
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
        <Counts counts={state.counts} chosen={kind} choose={chooseKind} />
        {kind !== '' && (
          <>
            <h2 class="small-title">{kind}</h2>
            <ul>
              {listed.map(({ id, state: inState }) => (
                <li key={id}>
                  <button
                    type="button"
                    class="plain actor"
                    aria-pressed={actor?.id === id}
                    onClick={() => choose({ machine: kind, id })}
                  >
                    <span class="mono" title={id}>
                      {shortId(id)}
                    </span>
                    <span class="chip lit">{inState}</span>
                  </button>
                </li>
              ))}
              {listed.length === 0 && <p class="empty">None runs now.</p>}
            </ul>
          </>
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
          <ActorPanel actor={actor} state={records.at(-1)?.to ?? known?.state ?? ''} records={records} />
        )}
      </aside>
    </div>
  )
}

interface ConnectionFilterProps {
  readonly connections: readonly string[]
  readonly chosen: string
  readonly choose: (connectionId: string) => void
}

export const ConnectionFilter = ({ connections, chosen, choose }: ConnectionFilterProps): JSX.Element => (
  <select aria-label="Connection" value={chosen} onChange={event => choose(event.currentTarget.value)}>
    <option value="">All connections</option>
    {connections.slice(0, 500).map(id => (
      <option key={id} value={id}>
        {id}
      </option>
    ))}
  </select>
)
