/**
 * One side of a conversation under faults: it sends under idempotency keys, repeats what was not answered, and keeps a ledger
 * in which every breach of the delivery promise shows.
 */
import { type EventLine, Unanswered } from './harness.js'
import { describeEvent, type Inbox } from './inbox.js'
import { pause } from './killer.js'

/** The most sendMessage calls that wait for their answers. */
const pipelined = 4
/** The most messages on their way: below the quota of a queue (128), past which a sender waits for minutes. */
const mostOnTheirWay = 100

export class Conversation {
  /** Answered messages by their number, and the agent's id of each. */
  readonly answered = new Map<number, number>()
  readonly sentIds = new Set<number>()
  readonly failedIds = new Set<number>()
  /** The cursor of each message that arrived, by its number. */
  readonly received = new Map<number, number>()
  /** The same message under two events. */
  readonly doubled: string[] = []
  readonly reordered: string[] = []
  /** Events or bodies that must not be. */
  readonly unexpected: string[] = []
  /** Messages of this side that arrived at the other. */
  arrived: () => number = () => this.answered.size
  readonly #inbox: Inbox
  readonly #connectionId: string
  readonly #size: (n: number) => number
  #highest = -1
  /** An earlier process did not answer: what is not answered must be asked again before anything new. */
  #interrupted = false

  constructor(inbox: Inbox, connectionId: string, size: (n: number) => number) {
    this.#inbox = inbox
    this.#connectionId = connectionId
    this.#size = size
    inbox.handle = event => this.#record(event)
  }

  /** Sends messages `from` to `to` (exclusive) in their order, however often the agent is killed. */
  async send(from: number, to: number): Promise<void> {
    let next = from
    while (next < to) {
      await this.#inbox.agent.started()
      next = await this.#sendUntilInterrupted(next, to)
    }
  }

  /** The first number that was not answered. */
  async #sendUntilInterrupted(from: number, to: number): Promise<number> {
    const asked = new Set<Promise<void>>()
    this.#interrupted = false
    for (let n = from; n < to; n++) {
      while (n - this.arrived() >= mostOnTheirWay && !this.#interrupted) await pause(20)
      // Nothing new may be asked before what the killed process did not answer: the order would be lost.
      if (this.#interrupted) break
      const sent: Promise<void> = this.#sendOne(n).finally(() => asked.delete(sent))
      asked.add(sent)
      if (asked.size >= pipelined) await Promise.race(asked)
    }
    await Promise.all(asked)
    let first = from
    while (this.answered.has(first)) first += 1
    return first
  }

  async #sendOne(n: number): Promise<void> {
    const { agent } = this.#inbox
    const params = { connectionId: this.#connectionId, body: this.#body(n), idempotencyKey: `message-${n}` }
    try {
      const { messageId } = await agent.call('sendMessage', params)
      this.answered.set(n, messageId)
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error
      agent.repeats += 1
      this.#interrupted = true
    }
  }

  #body(n: number): string {
    return `${n} ${'x'.repeat(this.#size(n))}`
  }

  #record(event: EventLine): void {
    if (event.type === 'MSG') this.#recordMessage(event)
    else if (event.type === 'SENT') this.sentIds.add(event['messageId'] as number)
    else if (event.type === 'MERR') this.failedIds.add(event['messageId'] as number)
    else if (event.type === 'MERRS') for (const id of event['messageIds'] as number[]) this.failedIds.add(id)
    else if (!expectedTypes.has(event.type)) this.unexpected.push(describeEvent(event))
  }

  #recordMessage(event: EventLine): void {
    const text = (event['body'] as { text?: string }).text ?? ''
    const n = Number.parseInt(text, 10)
    if (text !== this.#body(n)) this.unexpected.push(`body of ${describeEvent(event)}`)
    const before = this.received.get(n)
    if (before !== undefined) this.doubled.push(`message ${n}: cursors ${before} and ${event.cursor}`)
    if (before === undefined && n < this.#highest) this.reordered.push(`message ${n} after ${this.#highest}`)
    this.#highest = Math.max(this.#highest, n)
    this.received.set(n, event.cursor)
  }
}

/** What an agent tells of besides messages while things around it are killed. */
const expectedTypes = new Set(['UP', 'DOWN', 'MWARN', 'QCONT'])
