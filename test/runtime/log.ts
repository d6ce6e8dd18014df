import { EventLog } from '../../src/runtime/eventLog.js'
import { Runtime } from '../../src/runtime/runtime.js'
import type { NewEvent } from '../../src/runtime/unit.js'
import type { EventRow } from '../../src/runtime/writer.js'
import { openMemoryStore } from '../../src/store/index.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'
import { aggregateTables, event, unit, type WatchedStore, watchedStore } from './support.js'

export interface OpenLog {
  readonly store: WatchedStore
  readonly runtime: Runtime
  readonly log: EventLog
  readonly clock: VirtualClock
  /** Commits events, one unit for each. */
  readonly add: (...events: ReadonlyArray<string | NewEvent>) => Promise<void>
  readonly register: (consumer: string, fromCursor?: number) => Promise<void>
  /** Acknowledges as the agent does: decided in the load phase, under the lock of the events' connection. */
  readonly ack: (consumer: string, ...rows: readonly EventRow[]) => Promise<void>
}

/** An event log over a store, wired to a runtime as in an agent. */
export const openLog = async (
  store: WatchedStore = watchedStore(openMemoryStore()),
  maxUnread = 1000,
): Promise<OpenLog> => {
  const clock = virtualClock(0)
  let log: EventLog | undefined
  const runtime = await Runtime.open({
    store,
    aggregateTables,
    clock,
    ownership: { owns: () => true },
    published: rows => log?.publish(rows),
    woken: () => {},
  })
  const opened = await EventLog.open(store, { clock, lastCursor: runtime.lastCursor, maxUnread })
  log = opened
  return {
    store,
    runtime,
    log: opened,
    clock,
    add: async (...events) => {
      await Promise.all(
        events.map(each => {
          const made = typeof each === 'string' ? event('c', each) : each
          return runtime.run(unit(made.connectionId, () => ({ result: undefined, events: [made] })))
        }),
      )
    },
    register: async (consumer, fromCursor = 0) => {
      const changes = [opened.registration(consumer, fromCursor)]
      await runtime.run(unit([], () => ({ result: undefined, changes })))
      opened.registered(consumer, fromCursor)
    },
    ack: async (consumer, ...rows) => {
      const byConnection = new Map<string, EventRow[]>()
      for (const row of rows) byConnection.set(row.connectionId, [...(byConnection.get(row.connectionId) ?? []), row])
      await Promise.all(
        [...byConnection].map(async ([connectionId, group]) => {
          const gone = await runtime.run(
            unit<EventRow[], Awaited<ReturnType<EventLog['acknowledgement']>>>(
              connectionId,
              (_state, { changes, gone }) => ({ result: gone, changes }),
              { load: read => opened.acknowledgement(consumer, group, read) },
            ),
          )
          opened.acknowledged(gone)
        }),
      )
    },
  }
}

/** The same rows in a new process. */
export const reopenLog = ({ store }: OpenLog, maxUnread?: number): Promise<OpenLog> =>
  openLog(watchedStore(store.memory.reopen()), maxUnread)

export const types = (rows: readonly EventRow[]): string[] => rows.map(row => row.type)
export const cursors = (rows: readonly EventRow[]): number[] => rows.map(row => row.cursor)
