/** What happened lately in an agent, within bounds: for readers that come now and for those that follow. */
import type { Trace, TraceRecord } from '../runtime/ports.js'
import { redactRecord } from './redact.js'

export interface LiveFeed {
  /** Hand this to openAgent as its trace. */
  readonly trace: Trace
  /** The last records, oldest first. */
  recent(): readonly TraceRecord[]
  /** The last records of one actor, oldest first: at most 200. */
  historyOf(machine: string, id: string): readonly TraceRecord[]
  /** Hears of every record from now on; returns the end of listening. */
  follow(listener: (record: TraceRecord) => void): () => void
}

export interface LiveFeedOptions {
  /** Records that are kept for readers that come later. Default 2,000. */
  readonly recent?: number
  /** Records of one actor. Default 200. */
  readonly perActor?: number
  /** Records of all actors together; the actor that was silent longest is forgotten first. Default 50,000. */
  readonly ofActors?: number
}

/** Starts an empty feed. Every record is redacted as it comes in, so that nothing else is ever kept. */
export const createLiveFeed = ({
  recent: mostRecent = 2_000,
  perActor = 200,
  ofActors = 50_000,
}: LiveFeedOptions = {}): LiveFeed => {
  const recent: TraceRecord[] = []
  const actors = new Map<string, TraceRecord[]>()
  const listeners = new Set<(record: TraceRecord) => void>()
  let kept = 0

  const keep = (record: TraceRecord): void => {
    recent.push(record)
    // Twice the bound, cut at once: taking away the first of a long array each time is slow.
    if (recent.length >= 2 * mostRecent) recent.splice(0, recent.length - mostRecent)
    const { machine, id } = record
    if (machine === undefined || id === undefined) return
    const key = actorKey(machine, id)
    const history = actors.get(key) ?? []
    // Put at the end again: the first of the map is the one that was silent longest.
    actors.delete(key)
    actors.set(key, history)
    history.push(record)
    kept++
    if (history.length > perActor) {
      history.shift()
      kept--
    }
    for (const [oldest, records] of actors) {
      if (kept <= ofActors || oldest === key) break
      actors.delete(oldest)
      kept -= records.length
    }
  }

  return {
    trace: record => {
      const safe = redactRecord(record)
      keep(safe)
      for (const listener of listeners) listener(safe)
    },
    recent: () => recent.slice(-mostRecent),
    historyOf: (machine, id) => actors.get(actorKey(machine, id)) ?? [],
    follow: listener => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

const actorKey = (machine: string, id: string): string => `${machine} ${id}`
