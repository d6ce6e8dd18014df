import type { RetryInterval } from '../../machines/retry.js'
import type { VersionRange } from '../encoding/index.js'
import { SUPPORTED_E2E_VERSIONS } from '../ratchet/index.js'

/** What this agent speaks and how long it waits: the reference's values (see facts: smp.md versions, behaviours: defaults). */
export interface AgentConfig {
  /** Agent versions accepted from others; the highest is the one offered. */
  readonly agentVersions: VersionRange
  /** Versions of messages between SMP clients. */
  readonly clientVersions: VersionRange
  readonly e2eVersions: VersionRange
  /** Delays between attempts, in ms. */
  readonly fastRetry: RetryInterval
  readonly slowRetry: RetryInterval
  readonly reconnect: RetryInterval
  /** How long a failed attempt to connect stands for the next ones, in ms. */
  readonly failedConnectMs: number
  /** How long a message may wait before it fails, in ms. */
  readonly messageTimeoutMs: number
  readonly helloTimeoutMs: number
  readonly quotaTimeoutMs: number
  /** Deadlines of connecting, for callers that wait and for work in the background, in ms. */
  readonly interactiveConnectMs: number
  readonly backgroundConnectMs: number
  readonly interactiveCommandMs: number
  readonly backgroundCommandMs: number
  /** Most SUBs that are on their way to one router at once, in one session. */
  readonly subscribeBatch: number
  /** Most SUBs on their way to all routers together, when everything is subscribed. */
  readonly maxPendingSubscriptions: number
  /** A session that no subscription needs is closed when nobody has used it for so many ms. */
  readonly idleSessionMs: number
  /** The device’s word that it is offline is ignored for so many ms after the last change. */
  readonly offlineDelayMs: number
  /** Offline, work in the background is tried once after so many ms all the same. */
  readonly offlineRetryMs: number
  /** Attempts to delete a queue at its router before it is given up. */
  readonly deleteAttempts: number
  /** How long the deletion of a connection may wait for its messages, in ms (B90). */
  readonly deleteDeliveryTimeoutMs: number
  /** The cleanup: until the first, between two, between two steps of one, in ms (B07). */
  readonly cleanupInitialMs: number
  readonly cleanupIntervalMs: number
  readonly cleanupPauseMs: number
  /** How long what messages leave behind is kept, in ms. */
  readonly storedDataMs: number
  /** Restarts of one worker in a minute, before its crash is CRITICAL (B02). */
  readonly maxWorkerRestartsPerMinute: number
  /** In a rotation: how long a queue must have been silent before the other one is read past it, and how long one is waited for that cannot be read, in ms. */
  readonly drainSilenceMs: number
  readonly drainPatienceMs: number
  /** Sent messages of one queue whose completion may still be on its way to the disk. */
  readonly deliveriesAhead: number
  /** Unread events: at this many the agent stops receiving, so that none is ever dropped. Acknowledge events of every type. */
  readonly maxUnreadEvents: number
  /** The same for the age of the oldest unread event, in ms; no limit when absent. */
  readonly maxUnreadAgeMs?: number
}

const second = 1000
const minute = 60 * second
const day = 24 * 60 * minute

export const defaultConfig: AgentConfig = {
  agentVersions: { min: 6, max: 7 },
  clientVersions: { min: 1, max: 4 },
  e2eVersions: SUPPORTED_E2E_VERSIONS,
  fastRetry: { initial: 2 * second, growAfter: 10 * second, max: 120 * second },
  slowRetry: { initial: 5 * minute, growAfter: minute, max: 360 * minute },
  reconnect: { initial: 2 * second, growAfter: 10 * second, max: 180 * second },
  failedConnectMs: 3 * second,
  messageTimeoutMs: 2 * day,
  helloTimeoutMs: 2 * day,
  quotaTimeoutMs: 7 * day,
  interactiveConnectMs: 15 * second,
  backgroundConnectMs: 45 * second,
  interactiveCommandMs: 10 * second,
  backgroundCommandMs: 30 * second,
  subscribeBatch: 1350,
  maxPendingSubscriptions: 35_000,
  idleSessionMs: 5 * minute,
  offlineDelayMs: 2 * second,
  offlineRetryMs: 30 * minute,
  deleteAttempts: 10,
  cleanupInitialMs: 30 * second,
  cleanupIntervalMs: 5 * minute,
  cleanupPauseMs: 200,
  storedDataMs: 21 * day,
  maxWorkerRestartsPerMinute: 5,
  deleteDeliveryTimeoutMs: 2 * day,
  drainSilenceMs: 30 * second,
  drainPatienceMs: 60 * minute,
  deliveriesAhead: 64,
  maxUnreadEvents: 100_000,
}

/** The agent version from which the initiator makes its ratchet when the confirmation arrives (B13). */
export const versionRatchetOnConfirmation = 7
/** The agent version from which delivery receipts are understood (B38). */
export const versionReceipts = 4
