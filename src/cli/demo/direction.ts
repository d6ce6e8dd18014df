/** Messages of the demo in one direction: sends them, checks what arrives, counts. */
import type { AgentEvent } from '../../agent/api/events.js'
import { InternalError } from '../../errors.js'
import { type DemoBodies, demoBodies } from './bodies.js'
import type { Party } from './party.js'

export interface DirectionOptions {
  readonly number: number
  readonly messages: number
  readonly maxLength: number
  /** The most messages that are sent and not yet acknowledged by the receiver. */
  readonly window: number
  /** Called whenever something moved. */
  readonly onProgress: () => void
  readonly onFailure: (error: unknown) => void
}

export interface DirectionCounts {
  readonly accepted: number
  readonly arrived: number
  /** Messages that arrived again. */
  readonly duplicated: number
  /** Messages that arrived after one that was sent later. */
  readonly reordered: number
}

type MessageEvent = Extract<AgentEvent, { type: 'MSG' }>

/** One direction of the exchange; its owner hands it the receiver's MSG and the sender's MERR events. */
export class Direction {
  readonly #from: Party
  readonly #to: Party
  readonly #options: DirectionOptions
  readonly #bodies: DemoBodies
  readonly #sentAt: number[] = []
  readonly #arrivals: Uint8Array
  readonly #deliveryMs: number[] = []
  #next = 0
  #unacknowledged = 0
  #accepted = 0
  #highest = -1
  #lastArrivalAt = 0
  #duplicated = 0
  #reordered = 0

  constructor(from: Party, to: Party, options: DirectionOptions) {
    this.#from = from
    this.#to = to
    this.#options = options
    this.#bodies = demoBodies(options.number, options.messages, options.maxLength)
    this.#arrivals = new Uint8Array(options.messages)
  }

  get counts(): DirectionCounts {
    return {
      accepted: this.#accepted,
      arrived: this.#deliveryMs.length,
      duplicated: this.#duplicated,
      reordered: this.#reordered,
    }
  }

  /** Times from the call of sendMessage to the MSG event at the other side, in milliseconds, in order of arrival. */
  get deliveryMs(): readonly number[] {
    return this.#deliveryMs
  }

  /** When the last message arrived (performance.now). */
  get lastArrivalAt(): number {
    return this.#lastArrivalAt
  }

  /** Everything is sent and has an outcome, and every arrival is acknowledged. */
  get complete(): boolean {
    return this.#next === this.#options.messages && this.#accepted === this.#next && this.#unacknowledged === 0
  }

  /** Sends as many messages as the window allows. Calls are not awaited one by one: the agent keeps their order. */
  send(): void {
    while (this.#next < this.#options.messages && this.#unacknowledged < this.#options.window) {
      this.#unacknowledged += 1
      this.#sendOne(this.#next++).catch(this.#options.onFailure)
    }
  }

  received(event: MessageEvent): void {
    const now = performance.now()
    const n = this.#bodies.numberOf(event.body)
    if (n === undefined) return this.#options.onFailure(wrongBody())
    const first = this.#arrivals[n] === 0
    if (first) this.#arrived(n, now)
    else this.#duplicated += 1
    this.#acknowledge(event.messageId, first).catch(this.#options.onFailure)
  }

  /** The agent reported that messages failed for good: they stay missing, and make room for the next ones. */
  failed(count: number): void {
    this.#release(count)
  }

  #arrived(n: number, now: number): void {
    this.#arrivals[n] = 1
    this.#deliveryMs.push(now - (this.#sentAt[n] ?? now))
    this.#lastArrivalAt = now
    if (n < this.#highest) this.#reordered += 1
    this.#highest = Math.max(this.#highest, n)
  }

  async #sendOne(n: number): Promise<void> {
    const { agent, connectionId } = this.#from
    this.#sentAt[n] = performance.now()
    await agent.sendMessage({ connectionId, body: this.#bodies.body(n) })
    this.#accepted += 1
    this.#options.onProgress()
  }

  async #acknowledge(messageId: number, first: boolean): Promise<void> {
    const { agent, connectionId } = this.#to
    await agent.ackMessage({ connectionId, messageId })
    if (first) this.#release(1)
  }

  #release(count: number): void {
    this.#unacknowledged -= count
    this.send()
    this.#options.onProgress()
  }
}

const wrongBody = (): InternalError =>
  new InternalError('a message arrived whose body is, byte for byte, none that was sent', { field: 'body' })
