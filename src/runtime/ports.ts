/**
 * Small ports of the runtime: what a process owns, and where traces and log lines go.
 */
import type { Json } from '../store/index.js'

/** A logger as pino's: words and plain facts, never keys, bodies or links. */
export interface Logger {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}

export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** Which aggregates this process owns. A single process owns everything; a cluster answers from its leases. */
export interface Ownership {
  owns(aggregateId: string): boolean
}

export const ownsEverything: Ownership = { owns: () => true }

/** One line of a trace: a unit of work or a transition, the same record for live view, replay, simulation and support. */
export interface TraceRecord {
  readonly at: number
  readonly traceId: string
  readonly unit: string
  readonly machine?: string
  readonly id?: string
  readonly event?: string
  readonly from?: string
  readonly to?: string
  readonly intents?: readonly string[]
  readonly events?: readonly string[]
  /** Workers that were woken. */
  readonly wakes?: readonly string[]
  /** Ids of the aggregates (connections) that the unit has locked, or that the transition belongs to. */
  readonly aggregates?: readonly string[]
  /** Milliseconds: waiting for the locks, computing, committing. */
  readonly durations?: { readonly lock: number; readonly compute: number; readonly commit: number }
  readonly error?: string
  /** More of what a step of the network found: names, numbers, states; never keys or bodies. */
  readonly facts?: { readonly [name: string]: Json }
}

export type Trace = (record: TraceRecord) => void
