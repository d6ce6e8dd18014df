import type { Clock, TimerHandle } from '../runtime/clock.js'
import type { DeliveredMessage } from './sessions.js'

export interface HeldMessagesOptions {
  readonly clock: Clock
  /** How long the other queue must have been silent before a message is taken without those before it, in ms. */
  readonly silenceMs: number
  /** How long a queue that cannot be read is waited for, in ms. */
  readonly patienceMs: number
  /** What the other queues of the connection do: one of their messages is with the application, they are read, or they cannot be read. */
  readonly others: (message: DeliveredMessage) => 'busy' | 'read' | 'away'
  /** Looks at the message again; `force`: those before it are not waited for any longer. */
  readonly again: (message: DeliveredMessage, force: boolean) => void
}

interface Held {
  readonly message: DeliveredMessage
  readonly since: number
  timer: TimerHandle
}

/**
 * Messages that came on one queue of a rotation before others that the other queue still has (B78): at most one for each queue, since none
 * is acknowledged. Each is looked at again whenever another message of its connection was processed; when the other queue has
 * nothing more, it is taken as it is, and its integrity tells what is missing.
 */
export class HeldMessages {
  readonly #options: HeldMessagesOptions
  /** By connection, then by queue. */
  readonly #held = new Map<string, Map<string, Held>>()
  /** Since when a queue’s message has been held, across looks. */
  readonly #since = new Map<string, number>()

  constructor(options: HeldMessagesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#held.size
  }

  hold(message: DeliveredMessage): void {
    const { connectionId, queueId } = message.queue
    const { clock } = this.#options
    this.#release(connectionId, queueId)
    const since = this.#since.get(queueId) ?? clock.elapsed()
    this.#since.set(queueId, since)
    const queues = this.#held.get(connectionId) ?? new Map<string, Held>()
    queues.set(queueId, { message, since, timer: this.#arm(message, since) })
    this.#held.set(connectionId, queues)
  }

  /** Another message of the connection was processed: what is held may be the next one. */
  progressed(connectionId: string): void {
    for (const { message } of this.#take(connectionId)) this.#options.again(message, false)
  }

  /** A queue’s message was taken: the next one is waited for anew. */
  taken(queueId: string): void {
    this.#since.delete(queueId)
  }

  forget(connectionId: string): void {
    for (const { message } of this.#take(connectionId)) this.#since.delete(message.queue.queueId)
  }

  close(): void {
    for (const connectionId of this.#held.keys()) this.forget(connectionId)
  }

  #arm(message: DeliveredMessage, since: number): TimerHandle {
    const { clock, silenceMs, patienceMs, others, again } = this.#options
    return clock.setTimeout(() => {
      const { connectionId, queueId } = message.queue
      const held = this.#held.get(connectionId)?.get(queueId)
      if (held?.message !== message) return
      const state = others(message)
      if (state === 'busy' || (state === 'away' && clock.elapsed() - since < patienceMs)) {
        held.timer = this.#arm(message, since)
        return
      }
      this.#release(connectionId, queueId)
      again(message, true)
    }, silenceMs)
  }

  #take(connectionId: string): Held[] {
    const held = [...(this.#held.get(connectionId)?.values() ?? [])]
    for (const { message } of held) this.#release(connectionId, message.queue.queueId)
    return held
  }

  #release(connectionId: string, queueId: string): void {
    const queues = this.#held.get(connectionId)
    const held = queues?.get(queueId)
    if (queues === undefined || held === undefined) return
    this.#options.clock.clearTimeout(held.timer)
    queues.delete(queueId)
    if (queues.size === 0) this.#held.delete(connectionId)
  }
}
