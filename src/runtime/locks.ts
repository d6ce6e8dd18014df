import { CallError } from '../errors.js'

/** Work that needs the locks of some aggregates. */
interface Job<T> {
  readonly keys: readonly string[]
  readonly item: T
  /** How many of its keys it holds. It stands in line for all of them from the start, so no two jobs can wait for each other. */
  held: number
}

/** A lock that is held, and who waits for it. */
interface Lock<T> {
  readonly waiting: Array<Job<T>>
}

/**
 * Locks of aggregates, taken in the one order of submission. Items that wait for the same single aggregate are handed out together, as one
 * group over one loaded state; an item of several aggregates runs alone. `run` is called with every group and holds its locks
 * until its promise resolves; the function that it resolves with is called when the locks are free. It must not reject.
 */
export class Locks<T> {
  readonly #locks = new Map<string, Lock<T>>()
  readonly #run: (keys: readonly string[], items: readonly T[]) => Promise<() => void>
  readonly #maxGroup: number
  readonly #maxWaiting: number
  #waiting = 0

  constructor(
    run: (keys: readonly string[], items: readonly T[]) => Promise<() => void>,
    limits: { readonly maxGroup: number; readonly maxWaiting: number },
  ) {
    this.#run = run
    this.#maxGroup = limits.maxGroup
    this.#maxWaiting = limits.maxWaiting
  }

  /** Items that wait or run. */
  get size(): number {
    return this.#waiting
  }

  /** Keys that are held. */
  get keys(): number {
    return this.#locks.size
  }

  /**
   * Puts an item in the queue of its aggregates. Throws CallError `AGENT_OVERLOADED` when too many wait, unless the item must
   * not be refused (`always`).
   */
  submit(keys: readonly string[], item: T, always = false): void {
    if (!always && this.#waiting >= this.#maxWaiting) {
      throw new CallError('AGENT_OVERLOADED', `more than ${this.#maxWaiting} units of work are waiting`, {
        hint: 'wait for earlier calls to be answered before making new ones',
      })
    }
    this.#waiting++
    const job: Job<T> = { keys: [...new Set(keys)], item, held: 0 }
    if (job.keys.length === 0) void this.#process([], [job])
    else this.#enqueue(job)
  }

  // Takes the keys that are free and stands in line for the others.
  #enqueue(job: Job<T>): void {
    for (const key of job.keys) {
      const lock = this.#locks.get(key)
      if (lock !== undefined) lock.waiting.push(job)
      else {
        this.#locks.set(key, { waiting: [] })
        job.held++
      }
    }
    if (job.held === job.keys.length) void this.#process(job.keys, [job])
  }

  // Hands a lock that was given back to those who wait for it first.
  #pump(key: string, lock: Lock<T>): void {
    const first = lock.waiting[0]
    if (first === undefined) {
      this.#locks.delete(key)
      return
    }
    if (first.keys.length === 1) {
      let count = 1
      while (count < this.#maxGroup && lock.waiting[count]?.keys.length === 1) count++
      void this.#process([key], lock.waiting.splice(0, count))
      return
    }
    lock.waiting.shift()
    first.held++
    if (first.held === first.keys.length) void this.#process(first.keys, [first])
  }

  async #process(keys: readonly string[], jobs: ReadonlyArray<Job<T>>): Promise<void> {
    const items = jobs.map(job => job.item)
    const notify = await this.#run(keys, items)
    this.#waiting -= jobs.length
    for (const key of keys) {
      const lock = this.#locks.get(key)
      if (lock !== undefined) this.#pump(key, lock)
    }
    notify()
  }
}
