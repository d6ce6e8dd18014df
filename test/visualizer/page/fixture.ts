/** The page with a live agent behind it whose records are always the same, and a trace file of them. */
import { createLiveFeed, type LiveFeed } from '../../../src/service/liveFeed.js'
import { openVisualizerHost, type VisualizerHost } from '../../../src/service/visualizerHost.js'
import type { TraceRecord } from '../../../src/runtime/ports.js'
import { FakeAgent } from '../../support/fakeAgent.js'

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
  aggregates: [id === 'conn-2' ? id : connection],
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

export interface PageFixture {
  readonly host: VisualizerHost
  readonly feed: LiveFeed
}

/** Serves the page, with all records in the feed already. */
export const openFixture = async (): Promise<PageFixture> => {
  const agent = new FakeAgent('conn')
  await agent.createConnection()
  const feed = createLiveFeed()
  for (const record of records) feed.trace(record)
  const host = await openVisualizerHost({ live: { agent, feed, token } })
  return { host, feed }
}
