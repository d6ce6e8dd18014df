/** The exchange of the demo: messages both ways at once, checked and timed. */
import type { AgentEvent } from '../../agent/api/events.js'
import { Direction } from './direction.js'
import { type EventReader, type Party, throwIfFailed, withStallDeadline } from './party.js'

export interface ExchangeOptions {
  /** Messages each way. */
  readonly messages: number
  /** The largest body in bytes. */
  readonly maxLength: number
  readonly window: number
  /** The longest time without any progress, in milliseconds. */
  readonly stallMs: number
  /** How long to watch for messages that arrive once more after the last, in milliseconds. */
  readonly settleMs: number
  readonly onProgress: (arrived: number) => void
}

/** What came of the exchange; counts are of both directions together. */
export interface ExchangeResult {
  readonly messages: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Non-message events are acknowledged when this many have come together. */
const acknowledgeEvery = 64

/**
 * Sends `messages` messages each way and waits until each arrived, was acknowledged, or was reported failed.
 *
 * @throws DuologueError what the agents report; CMD_DEADLINE when nothing moves any more.
 */
export const exchange = async (
  parties: readonly [Party, Party],
  readers: readonly [EventReader, EventReader],
  options: ExchangeOptions,
): Promise<ExchangeResult> => {
  const directions: Direction[] = []
  const startedAt = performance.now()
  const run = (alive: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      const onProgress = (): void => {
        alive()
        options.onProgress(directions.reduce((sum, one) => sum + one.counts.arrived, 0))
        if (directions.every(one => one.complete)) resolve()
      }
      const [first, second] = parties
      const common = { ...options, onProgress, onFailure: reject }
      const there = new Direction(first, second, { ...common, number: 1 })
      const back = new Direction(second, first, { ...common, number: 2 })
      directions.push(there, back)
      for (const reader of readers) reader.failed.catch(reject)
      readers[0].handle = eventHandler(first, there, back, reject)
      readers[1].handle = eventHandler(second, back, there, reject)
      for (const direction of directions) direction.send()
    })
  await withStallDeadline(run, options.stallMs, () => ({
    what: 'the exchange did not move on',
    facts: {
      accepted: sum(directions, one => one.counts.accepted),
      arrived: sum(directions, one => one.counts.arrived),
    },
  }))
  await new Promise(resolve => setTimeout(resolve, options.settleMs))
  return summary(directions, options.messages, startedAt)
}

/** Hands events of one party to the direction that it sends and the one that it receives. */
const eventHandler = (
  party: Party,
  sending: Direction,
  receiving: Direction,
  onFailure: (error: unknown) => void,
): ((event: AgentEvent) => void) => {
  let unacknowledged: number[] = []
  const acknowledge = async (cursors: readonly number[]): Promise<void> => {
    await Promise.all(cursors.map(cursor => party.agent.ackEvents({ cursor })))
  }
  return event => {
    if (event.type === 'MSG') return receiving.received(event)
    if (event.type === 'MERR') sending.failed(1)
    if (event.type === 'MERRS') sending.failed(event.messageIds.length)
    throwIfFailed(event)
    unacknowledged.push(event.cursor)
    if (unacknowledged.length < acknowledgeEvery) return
    acknowledge(unacknowledged).catch(onFailure)
    unacknowledged = []
  }
}

const summary = (directions: readonly Direction[], messages: number, startedAt: number): ExchangeResult => {
  const deliveryMs = directions.flatMap(one => one.deliveryMs).sort((a, b) => a - b)
  const lastArrivalAt = Math.max(startedAt, ...directions.map(one => one.lastArrivalAt))
  const arrived = deliveryMs.length
  return {
    messages: messages * directions.length,
    lost: messages * directions.length - arrived,
    duplicated: sum(directions, one => one.counts.duplicated),
    reordered: sum(directions, one => one.counts.reordered),
    perSecond: arrived === 0 ? 0 : round(arrived / ((lastArrivalAt - startedAt) / 1000)),
    p50Ms: round(quantile(deliveryMs, 0.5)),
    p99Ms: round(quantile(deliveryMs, 0.99)),
  }
}

const sum = <T>(items: readonly T[], count: (item: T) => number): number =>
  items.reduce((total, item) => total + count(item), 0)

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

const round = (value: number): number => Math.round(value * 10) / 10
