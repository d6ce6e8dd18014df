import type { Clock, TimerHandle } from '../runtime/clock.js'
import type { DeliveredMessage } from './sessions.js'

export interface HeldMessagesOptions {
  readonly clock: Clock
  /** How long the other queue must have been silent before a message is taken without those before it, in ms. */
  readonly silenceMs: number
  /** How long a queue is waited for that has more and gives nothing, or cannot be asked, in ms. */
  readonly patienceMs: number
  /** What the other queue of the rotation has, if none of its messages is held. Never rejects. */
  readonly others: (message: DeliveredMessage, held: ReadonlySet<string>) => Promise<OthersState>
  /** Looks at the message again; `force`: those before it are not waited for any longer. */
  readonly again: (message: DeliveredMessage, force: boolean) => void
}

/**
 * `busy`: nothing is read now, or one of its messages is with the application. `unread`: it has more, or its router does not tell, which
 * is waited for only so long. `empty`: its router has answered that there is nothing more.
 */
export type OthersState = 'busy' | 'unread' | 'empty'

interface Held {
  readonly message: DeliveredMessage
  /** The sender’s number of it; a ratchet key has none, and comes behind all that has one. */
  readonly number: number
  timer: TimerHandle
}

/**
 * Messages that came on one queue of a rotation before others that the other queue still has (B78): at most one for each queue, since none
 * is acknowledged. Each is looked at again whenever another message of its connection was processed; when the other queue has
 * nothing more, it is taken as it is, and its integrity tells what is missing. A session that is dead and not known to be looks like a silent
 * queue: only the router can tell that a queue is empty.
 */
export class HeldMessages {
  readonly #options: HeldMessagesOptions
  /** By connection, then by queue. */
  readonly #held = new Map<string, Map<string, Held>>()
  /** Since when a queue’s message has waited for others that may not come, across looks. */
  readonly #since = new Map<string, number>()

  constructor(options: HeldMessagesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#held.size
  }

  has(queueId: string): boolean {
    for (const queues of this.#held.values()) if (queues.has(queueId)) return true
    return false
  }

  /** `number`: the sender’s number of the message, if it has one. */
  hold(message: DeliveredMessage, number = Number.POSITIVE_INFINITY): void {
    const { connectionId, queueId } = message.queue
    this.#release(connectionId, queueId)
    if (!this.#since.has(queueId)) this.#since.set(queueId, this.#options.clock.elapsed())
    const queues = this.#held.get(connectionId) ?? new Map<string, Held>()
    const held: Held = { message, number, timer: this.#arm(() => held) }
    queues.set(queueId, held)
    this.#held.set(connectionId, queues)
  }

  /** Another message of the connection was processed: what is held may be the next one. */
  progressed(connectionId: string): void {
    for (const { message } of this.#take(connectionId)) {
      this.#since.set(message.queue.queueId, this.#options.clock.elapsed())
      this.#options.again(message, false)
    }
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

  #arm(held: () => Held): TimerHandle {
    return this.#options.clock.setTimeout(() => void this.#look(held()), this.#options.silenceMs)
  }

  async #look(held: Held): Promise<void> {
    const { clock, patienceMs, again } = this.#options
    const { message } = held
    const { connectionId, queueId } = message.queue
    const state = await this.#stateOfOthers(held)
    // Looked at, forgotten or delivered again meanwhile.
    if (this.#held.get(connectionId)?.get(queueId) !== held) return
    if (state === 'busy') this.#since.set(queueId, clock.elapsed())
    if (state === 'empty' || clock.elapsed() - (this.#since.get(queueId) ?? 0) >= patienceMs) {
      this.#release(connectionId, queueId)
      again(message, true)
    } else held.timer = this.#arm(() => held)
  }

  async #stateOfOthers({ message, number }: Held): Promise<OthersState> {
    const queues = this.#held.get(message.queue.connectionId) ?? new Map<string, Held>()
    for (const other of queues.values()) if (other.number < number) return 'busy'
    return this.#options.others(message, new Set(queues.keys()))
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
