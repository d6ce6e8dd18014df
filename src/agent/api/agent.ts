import type { CallName, ParamsOf, ResultOf } from './calls.js'
import type { AgentEvent } from './events.js'

type CallMethods = { readonly [N in CallName]: (params: ParamsOf<N>) => Promise<ResultOf<N>> }

export interface EventsOptions {
  /** Name of the consumer, registered if it is new. Default: `default`. */
  readonly consumer?: string
  /** Start after this cursor. Default: the oldest event that this consumer has not acknowledged. */
  readonly after?: number
  readonly signal?: AbortSignal
}

/** A running agent: every call of the list (see calls.ts) as a method, and the event log. Throws DuologueError. */
export interface Agent extends CallMethods {
  /**
   * Events in commit order, first those not yet acknowledged, then new ones as they are committed. Reading does not
   * acknowledge: use ackMessage or ackEvents. A reader that stops reading holds nobody up.
   */
  events(options?: EventsOptions): AsyncIterable<AgentEvent>
  /** Ends every session, waits for running units of work, releases the store. May be repeated. */
  close(): Promise<void>
}
