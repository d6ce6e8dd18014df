/** The page’s end of the live view: one WebSocket, what it has told, and questions to it. */
import { useEffect, useReducer, useRef } from 'preact/hooks'
import type { TraceRecord } from '../model/trace.js'

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

export interface ActorName {
  readonly machine: string
  readonly id: string
}

/** Which actors: those of one machine, of one connection and in one state if that is said. */
export interface ActorsQuestion {
  readonly machine: string
  readonly connectionId?: string
  readonly state?: string
}

export interface LiveListing extends ActorsQuestion {
  readonly actors: readonly LiveActorFact[]
  /** There are more after the last one. */
  readonly more: boolean
}

export interface LiveState {
  readonly status: 'closed' | 'connecting' | 'open' | 'refused' | 'lost'
  readonly records: readonly TraceRecord[]
  /** The number of the first of `records`, counted from the start. */
  readonly first: number
  readonly leftOut: number
  readonly counts: readonly LiveCount[]
  /** The actors that were asked for last. */
  readonly listing: LiveListing | undefined
  /** The last events of the actor that was asked for. */
  readonly history: (ActorName & { readonly records: readonly TraceRecord[] }) | undefined
}

type Message =
  | { readonly type: 'welcome'; readonly records: readonly TraceRecord[] }
  | { readonly type: 'records'; readonly records: readonly TraceRecord[]; readonly leftOut: number }
  | { readonly type: 'counts'; readonly counts: readonly LiveCount[] }
  | ({ readonly type: 'actors'; readonly after?: string } & LiveListing)
  | ({ readonly type: 'actor'; readonly records: readonly TraceRecord[] } & ActorName)
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
  listing: undefined,
  history: undefined,
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
        listing: state.listing === undefined ? undefined : moved(state.listing, message.records),
        history: grown(state.history, message.records),
      }
    }
    case 'counts':
      return { ...state, counts: message.counts }
    case 'actors':
      return { ...state, listing: listed(state.listing, message) }
    case 'actor':
      return { ...state, history: message }
    case 'failed':
      return state
  }
}

const grown = (history: LiveState['history'], records: readonly TraceRecord[]): LiveState['history'] => {
  const own = records.filter(({ machine, id }) => machine === history?.machine && id === history?.id)
  return history === undefined || own.length === 0
    ? history
    : { ...history, records: [...history.records, ...own].slice(-perActor) }
}

const listed = (known: LiveListing | undefined, message: Extract<Message, { type: 'actors' }>): LiveListing => {
  const { type: _, after, ...listing } = message
  const goesOn = after !== undefined && known !== undefined && known.actors.at(-1)?.id === after
  return goesOn ? { ...listing, actors: [...known.actors, ...listing.actors] } : listing
}

const moved = (listing: LiveListing, records: readonly TraceRecord[]): LiveListing => {
  const states = new Map(
    records.flatMap(({ machine, id, to }) =>
      machine === listing.machine && id !== undefined && to !== undefined ? [[id, to]] : [],
    ),
  )
  if (states.size === 0) return listing
  return { ...listing, actors: listing.actors.map(actor => ({ ...actor, state: states.get(actor.id) ?? actor.state })) }
}

export interface Live {
  readonly state: LiveState
  /** Asks for the history of an actor, which grows from then on. */
  readonly askActor: (actor: ActorName) => void
  /** Asks for actors, now and again as time passes; `undefined` ends that. */
  readonly list: (question: ActorsQuestion | undefined) => void
  /** Asks for those after the last one. */
  readonly listMore: () => void
}

/** Who is in which state is asked for so often. */
const askMs = 2_500

/** Follows an agent while `target` is set; another object with the same values connects again. */
export const useLive = (target: { readonly url: string; readonly token: string } | undefined): Live => {
  const [state, dispatch] = useReducer(liveReducer, nothing)
  const socket = useRef<WebSocket | undefined>(undefined)
  const wanted = useRef<ActorsQuestion | undefined>(undefined)
  const paged = useRef(false)
  const followed = useRef<ActorName | undefined>(undefined)
  const ask = (question: object): void => {
    if (socket.current?.readyState === WebSocket.OPEN) socket.current.send(JSON.stringify(question))
  }
  const list = (question: ActorsQuestion | undefined): void => {
    wanted.current = question
    paged.current = false
    if (question !== undefined) ask({ type: 'actors', ...question })
  }
  const askActor = (actor: ActorName): void => {
    followed.current = actor
    ask({ type: 'actor', ...actor })
  }
  const listMore = (): void => {
    const last = state.listing?.actors.at(-1)
    if (wanted.current === undefined || last === undefined) return
    paged.current = true
    ask({ type: 'actors', ...wanted.current, after: last.id })
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
        const askAgain = (): void => {
          ask({ type: 'counts' })
          // A list of several pages would begin again.
          if (wanted.current !== undefined && !paged.current) ask({ type: 'actors', ...wanted.current })
        }
        if (followed.current !== undefined) ask({ type: 'actor', ...followed.current })
        askAgain()
        timer = window.setInterval(askAgain, askMs)
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
  return { state, askActor, list, listMore }
}
