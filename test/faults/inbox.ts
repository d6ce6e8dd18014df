/**
 * The events of an agent as a careful application treats them: each is dealt with once, acknowledged when that is done, and
 * the acknowledgement repeated until it is answered. What comes again after that is a breach of the delivery promise.
 */
import type { AgentProcess, EventLine } from './harness.js'

export class Inbox {
  readonly agent: AgentProcess
  /** Deals with an event that came for the first time; the acknowledgement follows. */
  handle: (event: EventLine) => void | Promise<void> = () => {}
  /** Told of every event that came, and of every one whose acknowledgement was answered. */
  onProgress: () => void = () => {}
  /** Events delivered again after their acknowledgement was answered OK. */
  readonly twice: string[] = []
  /** Acknowledgements and handlers that failed. */
  readonly failures: string[] = []
  /** Events delivered again before their acknowledgement was answered, as they should be. */
  redelivered = 0
  #working = new Map<number, Promise<void>>()
  #acknowledged = new Set<number>()

  constructor(agent: AgentProcess) {
    this.agent = agent
    agent.onEvent = event => this.#take(event)
  }

  /** Resolves when every event so far is dealt with and acknowledged. */
  async settled(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working.values())
  }

  #take(event: EventLine): void {
    const { cursor } = event
    this.onProgress()
    if (this.#acknowledged.has(cursor)) this.twice.push(describeEvent(event))
    else if (this.#working.has(cursor)) this.redelivered += 1
    else {
      const work = this.#work(event)
        .catch((error: Error) => {
          this.failures.push(`${describeEvent(event)}: ${error.message}`)
        })
        .finally(() => this.#working.delete(cursor))
      this.#working.set(cursor, work)
    }
  }

  async #work(event: EventLine): Promise<void> {
    await this.handle(event)
    const { type, cursor, connectionId, messageId } = event
    if (type === 'MSG') await this.agent.repeat('ackMessage', { connectionId, messageId: messageId as number })
    else await this.agent.repeat('ackEvents', { cursor })
    this.#acknowledged.add(cursor)
    this.onProgress()
  }
}

/** An event without what it carries. */
export const describeEvent = (event: EventLine): string =>
  JSON.stringify({ ...event, body: undefined, info: undefined }).slice(0, 300)
