/**
 * Where message bodies live. The index of what waits in which queue is in memory (`messages.ts`); a log keeps the bodies
 * and, when it is durable, enough to build that index again. Two implementations: memory and journal.
 */
import type { Bytes } from '../encoding/index.js'

/** A queue's recipient id as a map key: its bytes as latin1 text. */
export type QueueKey = string

/** Bytes of an id as a map key: one character a byte. */
export const keyOf = (id: Bytes): string => Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1')
/** The id behind a map key. */
export const idOf = (key: string): Buffer => Buffer.from(key, 'latin1')

/** One message that waits in a queue. The log owns `place`; everything else is fixed, but for `committed`. */
export interface MessageEntry {
  /** Rises with each message of the router: the order within a queue, across restarts. */
  readonly seq: number
  readonly queue: QueueKey
  /** The 24 bytes that name the message on the wire, as latin1 text; also the nonce of its delivery. */
  readonly id: string
  /** When the router took it: seconds since 1970. */
  readonly timestamp: number
  /** `quota` is the marker that stands for the message that found the queue full. */
  readonly kind: 'message' | 'quota'
  /** The sender's flag: a subscribed notifier is told. */
  readonly notification: boolean
  /** False until the log has it for good: such a message is counted, but not delivered. */
  committed: boolean
  /** False once it was acknowledged, expired or dropped. */
  live: boolean
  /** Where the log keeps it. */
  place?: unknown
}

export interface MessageLog {
  /** The highest sequence that was ever used and is still known; new messages count on from it. */
  readonly lastSeq: number
  /** Messages that survived the last run, in the order of their queues; each is handed out once. */
  recovered(): readonly MessageEntry[]
  /** Keeps a message for good. Rejects with StoreError STORE_FULL or STORE_WRITE when it cannot; the entry is then not kept. */
  write(entry: MessageEntry, body: Bytes): Promise<void>
  /**
   * Forgets an entry. It is not waited for: an entry that comes back after a crash is only delivered once more, which
   * the protocol allows.
   */
  remove(entry: MessageEntry): void
  /**
   * The body of a committed live entry: at once when it is in memory. Rejects with StoreError STORE_DAMAGED when it is lost,
   * STORE_READ when it cannot be read now.
   */
  read(entry: MessageEntry): Bytes | Promise<Bytes>
  /** Resolves when new messages may be written: backpressure by bytes that wait for the disk. */
  room(): Promise<void> | undefined
  stats(): LogStats
  /** Writes what waits and closes. */
  close(): Promise<void>
}

export interface LogStats {
  readonly liveBytes: number
  readonly totalBytes: number
  readonly cachedBytes: number
  readonly groups: number
  readonly segments: number
}
