/**
 * Two agents that send each other numbered messages without a pause, repeat what was refused under the same key, and keep a ledger in
 * which every breach of the delivery promise shows.
 */
import { randomUUID } from 'node:crypto'
import type { Agent, AgentEvent } from '../../src/index.js'
import { DuologueError } from '../../src/errors.js'
import { pause } from './killer.js'

/** An agent with the events that it has told so far. */
export interface Told {
  readonly agent: Pick<Agent, 'sendMessage' | 'ackMessage'>
  readonly events: readonly AgentEvent[]
}

/** Messages of one side that may be on their way. */
const mostOnTheirWay = 20
/** The longest wait of a test for anything; a machine that does other work too is slow. */
const patienceMs = 60_000

class Party {
  /** What sendMessage answered, by the number of the message. */
  readonly answered = new Map<number, number>()
  /** Numbers of the messages that came, in the order in which they came. */
  readonly received: number[] = []
  readonly integrity = new Set<string>()
  /** Codes that calls were refused with, before they were repeated. */
  readonly refused = new Set<string>()
  readonly #told: Told
  readonly #connectionId: string
  readonly #key: string
  #seen = 0

  constructor(told: Told, connectionId: string, key: string) {
    this.#key = key
    this.#told = told
    this.#connectionId = connectionId
    this.#seen = told.events.length
  }

  async send(n: number): Promise<void> {
    const params = { connectionId: this.#connectionId, body: `${n}`, idempotencyKey: `${this.#key}-${n}` }
    const { messageId } = await this.#repeated(() => this.#told.agent.sendMessage(params))
    this.answered.set(n, messageId)
  }

  /** Takes and acknowledges the messages that have come. */
  async receive(): Promise<void> {
    while (this.#seen < this.#told.events.length) {
      const event = this.#told.events[this.#seen++]
      if (event?.type !== 'MSG' || event.connectionId !== this.#connectionId) continue
      this.received.push(Number(Buffer.from(event.body).toString()))
      this.integrity.add(event.integrity.result)
      const { connectionId, messageId } = event
      await this.#repeated(() => this.#told.agent.ackMessage({ connectionId, messageId }))
    }
  }

  /** Ids of the messages of a connection that were reported as sent, and as failed. */
  ids(type: 'SENT' | 'MERR'): number[] {
    return this.#told.events.flatMap(event =>
      event.type === type && event.connectionId === this.#connectionId ? [event.messageId] : [],
    )
  }

  async #repeated<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call()
      } catch (error) {
        if (!(error instanceof DuologueError) || !error.code.startsWith('STORE_')) throw error
        this.refused.add(error.code)
        await pause(20)
      }
    }
  }
}

/** What a party sent and the other one got, as it must be at the end. */
export interface Ledger {
  readonly sent: number
  /** Answered OK, and not with the other party. */
  readonly lost: number[]
  readonly twice: number[]
  readonly outOfOrder: number[]
  /** Answered OK, and no SENT event. */
  readonly untold: number[]
  /** SENT more than once, or MERR. */
  readonly wronglyTold: number[]
  /** What the other party was told of the chain of messages. */
  readonly integrity: string[]
}

export class Exchange {
  readonly #parties: readonly [Party, Party]
  #stopped = false
  readonly #running: Promise<unknown>
  #failure: unknown

  /** Begins to send. `ids`: the connection as each side knows it. */
  constructor([alice, bob]: readonly [Told, Told], [aliceId, bobId]: readonly [string, string]) {
    // Another exchange of the same agents sends other messages.
    const key = randomUUID()
    this.#parties = [new Party(alice, aliceId, key), new Party(bob, bobId, key)]
    const [one, two] = this.#parties
    this.#running = Promise.all([this.#send(one, two), this.#send(two, one), this.#receive(one), this.#receive(two)])
    this.#running.catch((error: unknown) => {
      this.#failure = error
    })
  }

  /** Codes that calls of either side were refused with so far. */
  get refused(): string[] {
    return [...new Set(this.#parties.flatMap(({ refused }) => [...refused]))].toSorted()
  }

  /** Waits until a message that is sent from now on has arrived each way; how long that took, in ms. */
  async moved(): Promise<number> {
    const since = performance.now()
    const [alice, bob] = this.#parties
    const next = [alice.answered.size + 1, bob.answered.size + 1] as const
    await this.until('a new message each way', () => bob.received.includes(next[0]) && alice.received.includes(next[1]))
    return Math.round(performance.now() - since)
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = Date.now() + patienceMs
    while (!holds()) {
      if (this.#failure !== undefined) throw this.#failure
      if (Date.now() > deadline) throw new Error(`did not happen in ${patienceMs} ms: ${what}`)
      await pause(5)
    }
  }

  /** Sends nothing more, waits until all has arrived, and gives the ledger of each side. */
  async finish(): Promise<readonly [Ledger, Ledger]> {
    this.#stopped = true
    const [alice, bob] = this.#parties
    const complete = (from: Party, to: Party) =>
      to.received.length >= from.answered.size && from.ids('SENT').length >= from.answered.size
    // What is missing then shows in the ledgers.
    await this.until('everything has arrived', () => complete(alice, bob) && complete(bob, alice)).catch(
      (error: unknown) => {
        if (this.#failure !== undefined) throw error
      },
    )
    await this.#running
    return [ledgerOf(alice, bob), ledgerOf(bob, alice)]
  }

  async #send(from: Party, to: Party): Promise<void> {
    for (let n = 0; !this.#stopped; ) {
      if (n - to.received.length < mostOnTheirWay) await from.send(n++)
      await pause(5)
    }
  }

  async #receive(party: Party): Promise<void> {
    const other = this.#parties[this.#parties[0] === party ? 1 : 0]
    const deadline = (): boolean => this.#stopped && party.received.length >= other.answered.size
    while (!deadline() && this.#failure === undefined) {
      await party.receive()
      await pause(5)
    }
    await party.receive()
  }
}

const ledgerOf = (from: Party, to: Party): Ledger => {
  const { received } = to
  const sent = from.ids('SENT')
  return {
    sent: from.answered.size,
    lost: [...from.answered.keys()].filter(n => !received.includes(n)),
    twice: received.filter((n, index) => received.indexOf(n) !== index),
    outOfOrder: received.filter((n, index) => index > 0 && n < (received[index - 1] ?? 0)),
    untold: [...from.answered].flatMap(([n, id]) => (sent.includes(id) ? [] : [n])),
    wronglyTold: [...sent.filter((id, index) => sent.indexOf(id) !== index), ...from.ids('MERR')],
    integrity: [...to.integrity],
  }
}

/** Nothing is lost, twice or out of order, and the sender was told of each message once. */
export const kept = (sent: number): Ledger => ({
  sent,
  lost: [],
  twice: [],
  outOfOrder: [],
  untold: [],
  wronglyTold: [],
  integrity: ['ok'],
})
