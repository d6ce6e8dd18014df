/** The page with a live agent behind it whose records are always the same, and a trace file of them. */
import { routerSessionMachine } from '../../../machines/routerSession.js'
import { createLiveFeed, type LiveFeed } from '../../../src/service/liveFeed.js'
import { openVisualizerHost, type VisualizerHost } from '../../../src/service/visualizerHost.js'
import { type Chart, chartOf } from '../../../src/visualizer/model/chart.js'
import type { ReviewData } from '../../../src/visualizer/model/review.js'
import type { TraceRecord } from '../../../src/runtime/ports.js'

export const token = 'token-of-the-test'
const at = Date.UTC(2026, 0, 1, 12)
const connection = 'conn-1'
const queue = 'queue-1'

const transition = (
  offset: number,
  traceId: string,
  unit: string,
  machine: string,
  id: string,
  event: string,
  from: string,
  to: string,
  ...intents: string[]
): TraceRecord => ({
  at: at + offset,
  traceId,
  unit,
  machine,
  id,
  event,
  from,
  to,
  intents,
  aggregates: [id === 'queue-2' ? 'conn-2' : connection],
})

const unit = (
  offset: number,
  traceId: string,
  name: string,
  events: string[],
  wakes: string[],
  [lock, compute, commit]: [number, number, number],
): TraceRecord => ({
  at: at + offset,
  traceId,
  unit: name,
  events,
  wakes,
  aggregates: [connection],
  durations: { lock, compute, commit },
})

/** The subscription of a queue, and a session that is lost and comes back. */
export const records: readonly TraceRecord[] = [
  transition(0, '', 'session', 'subscription', queue, 'subscription.requested', 'removed', 'pending', 'sendSub'),
  transition(40, '', 'session', 'subscription', queue, 'subscription.confirmed', 'pending', 'active', 'notifyUp'),
  unit(52, 'a1', 'session', ['UP'], [], [0, 0, 1]),
  transition(900, 'b1', 'receive', 'rcvQueue', queue, 'message.arrived', 'new', 'new', 'processConfirmation'),
  unit(900, 'b1', 'receive', ['CONF'], [], [0, 6, 2]),
  unit(2_000, 'c1', 'sendMessage', [], ['delivery'], [3, 1, 2]),
  { at: at + 2_100, traceId: 'd1', unit: 'sendMessage', error: 'MSG_TOO_LONG', aggregates: [connection] },
  transition(5_000, '', 'session', 'subscription', queue, 'session.closed', 'active', 'pending', 'notifyDown'),
  unit(5_001, 'e1', 'session', ['DOWN'], [], [0, 0, 1]),
  transition(
    7_000,
    '',
    'session',
    'subscription',
    'queue-2',
    'subscription.requested',
    'removed',
    'pending',
    'sendSub',
  ),
]

/** Who is in which state, as an agent with a few connections says. */
const counts = [
  { machine: 'connection', state: 'connected', count: 41 },
  { machine: 'connection', state: 'joined', count: 2 },
  { machine: 'rcvQueue', state: 'active', count: 42 },
  { machine: 'rcvQueueSwitch', state: 'idle', count: 41 },
  { machine: 'rcvQueueSwitch', state: 'sendingQUSE', count: 1 },
  { machine: 'ratchetSync', state: 'ok', count: 43 },
  { machine: 'sndQueueDelivery', state: 'waiting.slow', count: 1 },
  { machine: 'routerSession', state: 'reconnecting', count: 1 },
  { machine: 'subscription', state: 'active', count: 40 },
  { machine: 'subscription', state: 'pending', count: 2 },
]

export interface PageFixture {
  readonly host: VisualizerHost
  readonly feed: LiveFeed
}

/** Serves the page, with all records in the feed already. */
export const openFixture = async (): Promise<PageFixture> => {
  const agent = { countActors: async () => ({ counts }), listActors: async () => ({ actors: [] }) }
  const feed = createLiveFeed()
  for (const record of records) feed.trace(record)
  const host = await openVisualizerHost({ live: { agent, feed, token } })
  return { host, feed }
}

/** A test run that has taken two transitions of three, and a machine that has changed: a state and its transitions are new. */
export const review: ReviewData = (() => {
  const after = chartOf(routerSessionMachine)
  const isOffline = (path = ''): boolean => path === 'offline'
  const before: Chart = {
    ...after,
    states: after.states
      .filter(({ path }) => !isOffline(path))
      .map(state => (state.path === 'closed' ? { ...state, description: 'Nobody needs one.' } : state)),
    transitions: [
      ...after.transitions.filter(({ source, target }) => !isOffline(source) && !isOffline(target)),
      {
        id: 'reconnecting | network.lost | 0',
        source: 'reconnecting',
        target: 'closed',
        event: 'network.lost',
        label: 'network.lost',
        kind: 'event',
        guard: undefined,
        actions: [{ name: 'rejectWaiting' }],
        reenter: false,
      },
    ],
  }
  const taken = after.transitions.filter((_, index) => index % 3 > 0).map(({ id }) => [id, 1] as const)
  return {
    coverage: { at, files: 120, taken: { routerSession: Object.fromEntries(taken) } },
    diff: { from: 'v0.1', to: 'this build', charts: [{ name: 'routerSession', before, after }] },
  }
})()
