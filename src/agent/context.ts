import type { Kem, Random } from '../crypto/index.js'
import type { RatchetPorts } from '../ratchet/index.js'
import type { Clock } from '../runtime/clock.js'
import type { EventLog } from '../runtime/eventLog.js'
import { type Logger, silentLogger, type Trace } from '../runtime/ports.js'
import type { Runtime } from '../runtime/runtime.js'
import type { NewEvent } from '../runtime/unit.js'
import type { RouterSession } from '../smp/client.js'
import type { Store } from '../store/index.js'
import type { LiveActor } from './actors.js'
import type { ResultOf } from './api/calls.js'
import type { CommandProgress } from './commandWorkers.js'
import type { AgentConfig } from './config.js'
import type { WaitingDelivery } from './deliveries.js'
import type { Inbox } from './inbox.js'
import type { Network } from './network.js'
import type { Operations } from './operations.js'
import type { PrivateRouting } from './privateRouting.js'
import type { BackupWatch } from './restoredBackup.js'
import type { Routers } from './routers.js'
import type { Sessions } from './sessions.js'
import type { Statistics } from './statistics.js'
import type { Supervisor } from './supervisor.js'
import type { Users } from './users.js'

export { type Logger, silentLogger }

/** Who makes a call: the application, which waits for the answer, or the worker of a stored call (B21). */
export interface Calling {
  readonly urgency: 'interactive' | 'background'
  /** The command of a stored call. */
  readonly commandId?: number
  /** The id of the connection that a stored call makes, so that what waits for it can be found by it. */
  readonly connectionId?: string
  /** The idempotency key of a stored call whose caller gave none: nobody else comes back under it. */
  readonly key?: string
}

export const byApplication: Calling = { urgency: 'interactive' }

/** What the parts of one agent share. Each field has one owner: openAgent, which closes them in reverse order. */
export interface AgentContext {
  readonly config: AgentConfig
  readonly store: Store
  readonly runtime: Runtime
  readonly eventLog: EventLog
  /** Whether there is a network, and how it is used: what can be changed while the agent runs. */
  readonly network: Network
  readonly sessions: Sessions
  /** The way of what senders do at other parties' queues: directly or through a proxy. */
  readonly privateRouting: PrivateRouting
  readonly inbox: Inbox
  readonly clock: Clock
  readonly random: Random
  /** The KEM, and the keys of the ratchet's turns. */
  readonly ratchetPorts: Required<RatchetPorts> & { readonly kem: Kem }
  readonly log: Logger
  readonly operations: Operations
  readonly supervisor: Supervisor
  readonly users: Users
  readonly routers: Routers
  readonly statistics: Statistics
  /** Knows whether the database is a restored backup. */
  readonly backup: BackupWatch
  /** A session of the caller’s own, who closes it. */
  readonly connect: (router: string, timeoutMs: number) => Promise<RouterSession>
  /** Stores an event that belongs to no other change. Never throws. */
  readonly publish: (event: NewEvent) => void
  /** Calls of createConnection that wait for their router, by connection. */
  readonly creating: Map<string, Promise<ResultOf<'createConnection'>>>
  /** Changes of short links that wait for their router, the last one of each connection. */
  readonly changingLinks: Map<string, Promise<unknown>>
  /** The next id of a stored command: rising, so that commands run in the order in which they were stored. */
  readonly nextCommandId: () => number
  /** Starts the workers of what is stored for these connections, or for all: deliveries and commands (B67). */
  readonly resumeWork: (connectionIds?: readonly string[]) => Promise<void>
  /** Drops what the delivery worker of a deleted queue has in memory. */
  readonly forgetDelivery: (queueId: string) => void
  /** Whether the agent is being closed: what comes back now may be so because of that, and is not to be told. */
  readonly isClosing: () => boolean
  /** How far the first command of a worker has come, after an attempt has failed. */
  readonly commandProgress: (workerKey: string) => CommandProgress | undefined
  /** Send queues of which messages were given up while an attempt at one may have been under way. */
  readonly contestedQueues: Set<string>
  /** Why the first message of a send queue waits, after an attempt has failed. */
  readonly waitingDelivery: (queueId: string) => WaitingDelivery | undefined
  /** Hears of transitions that no unit of work makes. */
  readonly trace: Trace | undefined
  /** The workers and sessions that run now. */
  readonly liveActors: () => Iterable<LiveActor>
}
