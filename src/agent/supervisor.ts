import { asDuologueError, InternalError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import type { NewEvent } from '../runtime/unit.js'
import type { Logger } from './context.js'
import { errorFact } from './events.js'
import { eventOf } from './rows.js'

export interface SupervisorOptions {
  readonly clock: Clock
  readonly log: Logger
  readonly maxRestartsPerMinute: number
  readonly publish: (event: NewEvent) => void
}

const minute = 60_000

/**
 * Hears of every worker that has crashed (B02): it is told in an ERR event and started again, up to `maxRestartsPerMinute` times a
 * minute; past that the event is CRITICAL and the worker is left to its next wake-up. Silent once the agent is being disposed.
 */
export class Supervisor {
  readonly #options: SupervisorOptions
  /** Crashes of the last minute by worker. */
  readonly #crashes = new Map<string, number[]>()
  #disposed = false

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Notes a crash of a worker. Answers whether it is started again. */
  crashed(worker: string, key: string, error: unknown): boolean {
    if (this.#disposed) return false
    const recent = this.#note(`${worker} ${key}`)
    const again = recent <= this.#options.maxRestartsPerMinute
    this.#tell(worker, key, error, !again)
    return again
  }

  /** Notes a crash of a part that the agent has only one of, and that is not started again: always CRITICAL. */
  failed(part: string, error: unknown): void {
    if (!this.#disposed) this.#tell(part, '', error, true)
  }

  /** From now on crashes are silent: what fails while everything ends is no news. */
  dispose(): void {
    this.#disposed = true
  }

  #note(name: string): number {
    const since = this.#options.clock.elapsed() - minute
    for (const [other, times] of this.#crashes) if ((times.at(-1) ?? 0) <= since) this.#crashes.delete(other)
    const times = [...(this.#crashes.get(name) ?? []), this.#options.clock.elapsed()].filter(at => at > since)
    this.#crashes.set(name, times)
    return times.length
  }

  #tell(worker: string, key: string, cause: unknown, critical: boolean): void {
    const { log, publish } = this.#options
    log.error({ code: asDuologueError(cause).code, worker, key, critical }, 'a worker crashed')
    const error = new InternalError(`${worker} crashed: ${asDuologueError(cause).message}`, {
      ...(key === '' ? {} : { field: key }),
      hint: critical
        ? 'it is not started again by itself: report this, and restart the agent'
        : 'it was started again: report this if it goes on',
    })
    publish(eventOf({ connectionId: '', userId: 1 }, 'ERR', { error: errorFact(error), critical }))
  }
}
