import type { Change, Json, Query, Row, Table } from '../store/index.js'
import type { Decision } from './decide.js'

/**
 * A unit of work is data. The runtime takes the locks of its aggregates, loads them, lets `compute` decide, commits what it
 * returned, releases the locks, and only then publishes events and wakes workers. Whoever computes holds no SQL handle, no
 * network and no reader, so nothing can wait for a reader while it holds a lock (B54).
 */
export interface Unit<Loaded, Result> {
  /** Names the unit in traces. */
  readonly name: string
  /** Ids of the aggregates (connections) that it reads or changes; they are locked in one order. */
  readonly locks: readonly string[]
  /**
   * The agent's own work, not a call: it is never refused for overload, because nobody would repeat it. There is at most one
   * such unit at a time for each queue or worker, which bounds them.
   */
  readonly internal?: boolean
  /** Runs although the runtime is paused: it tells of the pause itself. */
  readonly whilePaused?: boolean
  /**
   * Reads what the aggregates' own tables do not hold; the aggregates' rows may tell what that is. Whatever the decision rests on is
   * read through `read`: it sees the changes of the units before this one, also those that wait for the same commit.
   */
  readonly load?: (read: Read, state: UnitState) => Promise<Loaded>
  /** May await cryptography, nothing else. Throwing a DuologueError fails this unit alone and changes nothing. */
  readonly compute: (state: UnitState, loaded: Loaded) => Outcome<Result> | Promise<Outcome<Result>>
}

/** Reads of the load phase. */
export type Read = <T extends Table>(table: T, query: Query<T>) => Promise<Array<Row<T>>>

/** What a computation sees: the rows of its locked aggregates, the time, and a way to put transitions into the trace. */
export interface UnitState {
  readonly now: number
  /** Rows of an aggregate's table, as left by the units before this one. */
  rows<T extends Table>(table: T, aggregateId: string): ReadonlyArray<Row<T>>
  /** Notes a decision of a machine, for the trace. */
  traced(machine: string, id: string, event: string, decision: Decision): void
}

export interface Outcome<Result> {
  readonly result: Result
  readonly changes?: readonly Change[]
  readonly events?: readonly NewEvent[]
  readonly wakes?: readonly Wake[]
}

/** An event for the application, before the writer gives it its cursor. */
export interface NewEvent {
  readonly network: string
  readonly userId: number
  readonly connectionId: string
  readonly messageId?: number
  readonly correlationId?: string
  readonly type: string
  readonly payload: Json
  readonly body?: Uint8Array
}

/**
 * Tells a worker that there is work. The work itself is in rows; `hint` may save the worker from reading them. It is missing where
 * the store did not answer a commit: then the worker finds out by its rows whether there is work.
 */
export interface Wake {
  readonly worker: string
  readonly key: string
  readonly hint?: unknown
}
