/** The page’s end of the live view: one WebSocket, what it has told, and questions to it. */
import { useEffect, useReducer, useRef } from 'preact/hooks'
import { actorKey, type TraceRecord } from '../model/trace.js'

export interface LiveCount {
  readonly machine: string
  readonly state: string
  readonly count: number
}

export interface LiveActorFact {
  readonly id: string
  readonly state: string
  readonly connectionId?: string
}

export interface LiveState {
  readonly status: 'closed' | 'connecting' | 'open' | 'refused' | 'lost'
  readonly records: readonly TraceRecord[]
  /** The number of the first of `records`, counted from the start. */
  readonly first: number
  readonly leftOut: number
  readonly counts: readonly LiveCount[]
  readonly actors: ReadonlyMap<string, readonly LiveActorFact[]>
  /** Histories of actors that were asked for, by machine and id. */
  readonly histories: ReadonlyMap<string, readonly TraceRecord[]>
}

type Message =
  | { readonly type: 'welcome'; readonly records: readonly TraceRecord[] }
  | { readonly type: 'records'; readonly records: readonly TraceRecord[]; readonly leftOut: number }
  | { readonly type: 'counts'; readonly counts: readonly LiveCount[] }
  | { readonly type: 'actors'; readonly machine: string; readonly actors: readonly LiveActorFact[] }
  | { readonly type: 'actor'; readonly machine: string; readonly id: string; readonly records: readonly TraceRecord[] }
  | { readonly type: 'failed' }
  | { readonly type: 'status'; readonly status: LiveState['status'] }

const mostRecords = 2_000
const perActor = 200

const nothing: LiveState = {
  status: 'closed',
  records: [],
  first: 0,
  leftOut: 0,
  counts: [],
  actors: new Map(),
  histories: new Map(),
}

export const liveReducer = (state: LiveState, message: Message): LiveState => {
  switch (message.type) {
    case 'status':
      return message.status === 'connecting'
        ? { ...nothing, status: 'connecting' }
        : { ...state, status: message.status }
    case 'welcome':
      return { ...state, status: 'open', records: message.records, first: 0 }
    case 'records': {
      const all = [...state.records, ...message.records]
      const dropped = Math.max(0, all.length - mostRecords)
      return {
        ...state,
        records: all.slice(dropped),
        first: state.first + dropped,
        leftOut: state.leftOut + message.leftOut,
        actors: movedActors(state.actors, message.records),
        histories: grown(state.histories, message.records),
      }
    }
    case 'counts':
      return { ...state, counts: message.counts }
    case 'actors':
      return { ...state, actors: new Map([...state.actors, [message.machine, message.actors]]) }
    case 'actor':
      return { ...state, histories: new Map([...state.histories, [actorKey(message), message.records]]) }
    case 'failed':
      return state
  }
}

const grown = (histories: LiveState['histories'], records: readonly TraceRecord[]): LiveState['histories'] => {
  const next = new Map(histories)
  for (const record of records) {
    const { machine = '', id = '' } = record
    const history = next.get(actorKey({ machine, id }))
    if (history !== undefined) next.set(actorKey({ machine, id }), [...history, record].slice(-perActor))
  }
  return next
}

const movedActors = (actors: LiveState['actors'], records: readonly TraceRecord[]): LiveState['actors'] => {
  const next = new Map(actors)
  for (const { machine = '', id, to = '' } of records) {
    const listed = next.get(machine)
    if (listed?.some(actor => actor.id === id) !== true) continue
    next.set(
      machine,
      listed.map(actor => (actor.id === id ? { ...actor, state: to } : actor)),
    )
  }
  return next
}

export interface Live {
  readonly state: LiveState
  readonly ask: (question: object) => void
}

const countsMs = 2_500

/** Follows an agent while `target` is set; another object with the same values connects again. */
export const useLive = (target: { readonly url: string; readonly token: string } | undefined): Live => {
  const [state, dispatch] = useReducer(liveReducer, nothing)
  const socket = useRef<WebSocket | undefined>(undefined)
  const ask = (question: object): void => {
    if (socket.current?.readyState === WebSocket.OPEN) socket.current.send(JSON.stringify(question))
  }
  useEffect(() => {
    if (target === undefined) return
    dispatch({ type: 'status', status: 'connecting' })
    let opened: WebSocket
    try {
      opened = new WebSocket(target.url)
    } catch {
      dispatch({ type: 'status', status: 'lost' })
      return
    }
    socket.current = opened
    const left = new AbortController()
    const { signal } = left
    let timer = 0
    opened.addEventListener(
      'open',
      () => {
        opened.send(JSON.stringify({ type: 'hello', token: target.token }))
        ask({ type: 'counts' })
        timer = window.setInterval(() => ask({ type: 'counts' }), countsMs)
      },
      { signal },
    )
    opened.addEventListener('message', event => dispatch(JSON.parse(String(event.data)) as Message), { signal })
    opened.addEventListener(
      'close',
      ({ code }) => {
        clearInterval(timer)
        dispatch({ type: 'status', status: code === 4401 ? 'refused' : 'lost' })
      },
      { signal },
    )
    return () => {
      clearInterval(timer)
      left.abort()
      opened.close()
    }
  }, [target])
  return { state, ask }
}
