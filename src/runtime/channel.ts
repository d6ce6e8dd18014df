import type { Random } from '../crypto/index.js'
import type { Store, Table } from '../store/index.js'
import type { Clock } from './clock.js'
import type { EventLog } from './eventLog.js'
import type { Logger, Trace } from './ports.js'
import type { Runtime } from './runtime.js'
import type { Wake } from './unit.js'

/** What a further network shares with the agent that hosts it: one store, one runtime, one event log, one clock. */
export interface ChannelHost {
  readonly store: Store
  readonly runtime: Runtime
  readonly eventLog: EventLog
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly trace?: Trace
  /** A worker’s machine has thrown, which is a bug: it is told, and the answer says whether it starts again at once. */
  readonly crashed: (worker: string, key: string, error: unknown) => boolean
}

/** A network beside SimpleX: its rows stand in the agent's store, its events in the agent's log. */
export interface Channel {
  /** Names its migrations (migrations/<scope>). */
  readonly scope: string
  /** Tables whose rows the runtime keeps loaded with their aggregate. */
  readonly aggregateTables: readonly Table[]
  /** Starts the workers of what is stored. Called once, before the agent takes calls. */
  start(host: ChannelHost): Promise<RunningChannel>
}

export interface RunningChannel {
  /** Work for a worker of some channel: each knows its own names. */
  woken(wake: Wake): void
  /** Nothing is received or sent until `resume`: the agent suspends. What waits is in rows. */
  suspend(): void
  resume(): void
  /** Ends workers and connections; the host closes runtime and store afterwards. */
  close(): Promise<void>
}
