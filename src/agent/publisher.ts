import { asDuologueError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import type { Runtime } from '../runtime/runtime.js'
import type { NewEvent } from '../runtime/unit.js'
import type { Logger } from './context.js'
import { isNotNow } from './triedAgain.js'

/** Events that wait while the store does not take them. */
const maxWaiting = 10_000
/** Events of one commit. */
const batchLength = 500

export interface PublisherOptions {
  readonly runtime: Runtime
  readonly clock: Clock
  readonly log: Logger
  /** Until a commit that the store has refused is tried again, in ms. */
  readonly retryMs: number
}

/**
 * Puts events into the log that belong to no unit of work, such as UP and DOWN: in their order, and once more when the store does not
 * answer, since nobody would tell of them again.
 */
export class Publisher {
  readonly #options: PublisherOptions
  #waiting: NewEvent[] = []
  #running = false

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  publish(event: NewEvent): void {
    if (this.#waiting.length >= maxWaiting) {
      this.#options.log.error({ type: event.type }, 'an event was dropped: too many wait for the store')
      return
    }
    this.#waiting.push(event)
    if (!this.#running) void this.#run()
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const events = this.#waiting.slice(0, batchLength)
      const stored = await this.#store(events)
      if (stored) this.#waiting.splice(0, events.length)
      else await this.#pause()
    }
    this.#running = false
  }

  /** Answers whether nothing is left to do for these events. */
  async #store(events: readonly NewEvent[]): Promise<boolean> {
    const { runtime, log } = this.#options
    try {
      await runtime.run({
        name: 'event',
        internal: true,
        locks: [],
        compute: () => ({ result: undefined, events }),
      })
      return true
    } catch (error) {
      log.error({ code: asDuologueError(error).code, type: events[0]?.type }, 'event not stored')
      return !isNotNow(error)
    }
  }

  // Of a closed agent it never ends.
  #pause(): Promise<void> {
    const { clock, retryMs } = this.#options
    return new Promise(resolve => clock.setTimeout(resolve, retryMs))
  }
}
