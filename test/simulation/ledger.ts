/** The oracle: what was accepted, delivered, reported failed and acknowledged, and what of that must not be. */
import type { Side } from './plan.js'

/** One message of an application. */
export interface Message {
  readonly body: string
  /** When its first call was made, by the clock of its sender’s machine. */
  readonly calledAt: number
  /** The number that the call was answered with. */
  acceptedAs?: number
  /** The number under which the other side got it first. */
  deliveredAs?: number
}

/** What goes one way over one connection. */
export class Direction {
  readonly messages = new Map<string, Message>()
  readonly delivered: string[] = []
  /** Messages that the sender’s agent has a number for. */
  readonly byNumber = new Map<number, Message>()
  /** Numbers that SENT has told of, and those that were told of as failed, with the cursor of the event. */
  readonly sent = new Set<number>()
  readonly failed = new Map<number, Failure>()
}

interface Failure {
  readonly code: string
  readonly cursor: number
  /** When it was read, by the clock of the sender’s machine. */
  readonly at: number
}

/** A message may fail when it has waited so long, ms; less what the clocks of one machine may be apart. */
const patience = 2 * 24 * 3_600_000 - 60_000

export class Ledger {
  readonly wrong: string[] = []
  readonly #directions = new Map<string, Direction>()
  readonly #acknowledged = new Set<string>()

  /** Something that must not be; more than some of one run tell nothing new. */
  blame(what: string): void {
    if (this.wrong.length < 50) this.wrong.push(what)
  }

  direction(pair: number, side: Side): Direction {
    const key = `${pair}.${side}`
    let found = this.#directions.get(key)
    if (found === undefined) this.#directions.set(key, (found = new Direction()))
    return found
  }

  called(pair: number, side: Side, body: string, at: number): Message {
    const { messages } = this.direction(pair, side)
    let message = messages.get(body)
    if (message === undefined) messages.set(body, (message = { body, calledAt: at }))
    return message
  }

  accepted(pair: number, side: Side, body: string, messageId: number): void {
    const { messages, byNumber } = this.direction(pair, side)
    const message = messages.get(body)
    if (message === undefined) throw new Error(`nobody sent ${body}`)
    if (message.acceptedAs !== undefined && message.acceptedAs !== messageId) {
      this.blame(`${body}: accepted as ${message.acceptedAs} and as ${messageId}`)
    }
    const other = byNumber.get(messageId)
    if (other !== undefined && other !== message) this.blame(`${body} and ${other.body} are both number ${messageId}`)
    message.acceptedAs = messageId
    byNumber.set(messageId, message)
  }

  /** An event was read: it was never acknowledged before. */
  read(agent: string, cursor: number, what: string): void {
    if (this.#acknowledged.has(`${agent} ${cursor}`))
      this.blame(`${agent}: event ${cursor} (${what}) again after its acknowledgement`)
  }

  acknowledged(agent: string, cursor: number): void {
    this.#acknowledged.add(`${agent} ${cursor}`)
  }

  failed(pair: number, side: Side, number: number, failure: Failure): void {
    const { failed } = this.direction(pair, side)
    const known = failed.get(number)
    if (known === undefined) failed.set(number, failure)
    else if (known.cursor !== failure.cursor) this.blame(`${pair}.${side}: message ${number} failed twice`)
  }

  /** A message event was read. Answers whether for the first time. */
  delivered(pair: number, side: Side, body: string, messageId: number): boolean {
    const direction = this.direction(pair, side)
    const message = direction.messages.get(body)
    if (message === undefined) {
      this.blame(`${body} was delivered and never sent`)
      return false
    }
    if (message.deliveredAs === undefined) {
      message.deliveredAs = messageId
      direction.delivered.push(body)
      return true
    }
    if (message.deliveredAs !== messageId)
      this.blame(`${body}: delivered as ${message.deliveredAs} and as ${messageId}`)
    return false
  }

  /** How many messages of a way are neither delivered nor failed. */
  open(pair: number, side: Side): number {
    const { byNumber, failed } = this.direction(pair, side)
    let open = 0
    for (const [number, { deliveredAs }] of byNumber) if (deliveredAs === undefined && !failed.has(number)) open++
    return open
  }

  /** What must hold of a way when all is over. `lossy`: one of its ends was deleted, or the two never met. */
  check(pair: number, side: Side, { lossy }: { readonly lossy: boolean }): void {
    const { messages, delivered, sent, failed } = this.direction(pair, side)
    let last = 0
    for (const body of delivered) {
      // Without a number its answer was lost with the connection.
      const number = messages.get(body)?.acceptedAs ?? last
      if (number < last) this.blame(`${body} (number ${number}) came after number ${last}`)
      last = number
    }
    for (const { body, acceptedAs, calledAt, deliveredAs } of messages.values()) {
      if (acceptedAs === undefined) {
        if (!lossy) this.blame(`${body} was never accepted`)
        continue
      }
      const failure = failed.get(acceptedAs)
      if (failure !== undefined && sent.has(acceptedAs)) this.blame(`${body}: SENT and failed with ${failure.code}`)
      if (lossy) continue
      if (failure !== undefined && failure.at - calledAt < patience) {
        this.blame(`${body} failed after ${failure.at - calledAt} ms: ${failure.code}`)
      }
      if (failure !== undefined) continue
      if (deliveredAs === undefined) this.blame(`${body}: accepted, and neither delivered nor failed`)
      else if (!sent.has(acceptedAs)) this.blame(`${body}: delivered, and never SENT`)
    }
  }

  /** How every message ended, as text: the same for two runs that had the same outcome. */
  outcome(): string[] {
    return [...this.#directions]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .flatMap(([key, { messages, delivered, failed }]) => [
        `${key} delivered ${delivered.join()}`,
        `${key} failed ${[...messages.values()]
          .filter(one => failed.has(one.acceptedAs ?? -1))
          .map(one => one.body)
          .join()}`,
      ])
  }
}
