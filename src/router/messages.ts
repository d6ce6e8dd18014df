/**
 * What waits in which queue: the index over a message log, with the rules of the protocol. A queue holds up to `quota`
 * messages; the one that finds it full leaves a marker, and from then on senders get QUOTA until the recipient has taken
 * everything, the marker included (SMP protocol, SEND). Messages older than the time to live are dropped; markers are not,
 * since only a delivered marker tells the recipient to call the sender again.
 */
import type { Bytes } from '../encoding/index.js'
import type { Clock } from '../runtime/clock.js'
import { type MessageEntry, type MessageLog, type QueueKey } from './messageLog.js'

export interface NewMessage {
  /** 24 random bytes as latin1 text. */
  readonly id: string
  readonly notification: boolean
  readonly body: Bytes
}

/** What became of a SEND. `entry` is set when a message was stored, not for a marker. */
export type SendResult = { readonly kind: 'stored'; readonly entry: MessageEntry } | { readonly kind: 'quota' }

export interface Messages {
  /**
   * Stores a message, or a marker when the queue is full; resolves when the log has it for good. Order within the queue
   * is the order of the calls. Rejects with StoreError STORE_WRITE or STORE_FULL.
   */
  send(queue: QueueKey, message: NewMessage): Promise<SendResult>
  /** The oldest message that may be delivered: stored for good and not expired. */
  head(queue: QueueKey): MessageEntry | undefined
  /** Messages and markers that wait, including those that are just being written. */
  size(queue: QueueKey): number
  /** Removes the head if it has this id; the removed entry, or undefined. */
  acknowledge(queue: QueueKey, id: string): MessageEntry | undefined
  /** Removes an entry that cannot be read. */
  discard(entry: MessageEntry): void
  /** Removes everything of a deleted queue. */
  drop(queue: QueueKey): void
  read(entry: MessageEntry): Bytes | Promise<Bytes>
  /** Drops expired messages of all queues; how many. */
  expire(): number
  readonly stored: number
  readonly queues: number
}

export interface MessagesOptions {
  readonly log: MessageLog
  readonly clock: Clock
  /** Messages a queue holds before it is full. */
  readonly quota: number
  /** Age at which a message is dropped, seconds. */
  readonly ttlSeconds: number
}

/** What a SEND does to a queue of this length: the whole quota rule. */
export const decideSend = (size: number, lastIsMarker: boolean, quota: number): 'store' | 'mark' | 'refuse' => {
  if (size > 0 && lastIsMarker) return 'refuse'
  return size < quota ? 'store' : 'mark'
}

/** The index over a log; takes over what the log recovered. */
export const createMessages = ({ log, clock, quota, ttlSeconds }: MessagesOptions): Messages => {
  const queues = new Map<QueueKey, MessageEntry[]>()
  let seq = log.lastSeq
  let stored = 0

  const push = (entry: MessageEntry): void => {
    const entries = queues.get(entry.queue)
    if (entries === undefined) queues.set(entry.queue, [entry])
    else entries.push(entry)
    stored++
  }

  const remove = (entries: MessageEntry[], index: number): MessageEntry => {
    const [entry] = entries.splice(index, 1) as [MessageEntry]
    entry.live = false
    if (entries.length === 0) queues.delete(entry.queue)
    stored--
    return entry
  }

  const forget = (entry: MessageEntry): void => {
    const entries = queues.get(entry.queue)
    const index = entries?.indexOf(entry) ?? -1
    if (entries !== undefined && index >= 0) remove(entries, index)
  }

  const nowSeconds = (): number => Math.floor(clock.now() / 1000)

  /** Drops expired messages from the front; a marker or a message that is being written stops it. */
  const expireFront = (entries: MessageEntry[]): number => {
    const before = nowSeconds() - ttlSeconds
    let count = 0
    for (let first = entries[0]; first !== undefined; first = entries[0]) {
      if (first.timestamp >= before || first.kind === 'quota' || !first.committed) break
      log.remove(remove(entries, 0))
      count++
    }
    return count
  }

  for (const entry of log.recovered()) push(entry)

  return {
    send: async (queue, message) => {
      const waiting = queues.get(queue)
      if (waiting !== undefined) expireFront(waiting)
      const entries = queues.get(queue) ?? []
      const decision = decideSend(entries.length, entries.at(-1)?.kind === 'quota', quota)
      if (decision === 'refuse') return { kind: 'quota' }
      const kind = decision === 'store' ? 'message' : 'quota'
      const { id, notification } = message
      const entry: MessageEntry = {
        seq: ++seq,
        queue,
        id,
        timestamp: nowSeconds(),
        kind,
        notification: notification && kind === 'message',
        committed: false,
        live: true,
      }
      push(entry)
      try {
        await log.write(entry, kind === 'message' ? message.body : noBody)
      } catch (error) {
        forget(entry)
        throw error
      }
      entry.committed = true
      return kind === 'message' ? { kind: 'stored', entry } : { kind: 'quota' }
    },
    head: queue => {
      const waiting = queues.get(queue)
      if (waiting === undefined) return undefined
      expireFront(waiting)
      const first = queues.get(queue)?.[0]
      return first?.committed === true ? first : undefined
    },
    size: queue => queues.get(queue)?.length ?? 0,
    acknowledge: (queue, id) => {
      const entries = queues.get(queue)
      if (entries === undefined || entries[0]?.id !== id || !entries[0].committed) return undefined
      const entry = remove(entries, 0)
      log.remove(entry)
      return entry
    },
    discard: entry => {
      forget(entry)
      log.remove(entry)
    },
    drop: queue => {
      for (const entry of queues.get(queue) ?? []) {
        entry.live = false
        stored--
        log.remove(entry)
      }
      queues.delete(queue)
    },
    read: entry => log.read(entry),
    expire: () => {
      let count = 0
      for (const entries of queues.values()) count += expireFront(entries)
      return count
    },
    get stored() {
      return stored
    },
    get queues() {
      return queues.size
    },
  }
}

const noBody = new Uint8Array(0)
