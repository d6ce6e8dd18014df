import { CallError } from '../errors.js'

/** Work that needs the locks of some aggregates. */
interface Job<T> {
  readonly keys: readonly string[]
  readonly item: T
  /** How many of its keys it holds; all of them are taken in sorted order, so no two jobs can wait for each other. */
  held: number
}

interface Lock<T> {
  busy: boolean
  readonly waiting: Array<Job<T>>
}

/**
 * Locks of aggregates, taken in one order. Items that wait for the same single aggregate are handed out together, as one
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
    const sorted = [...new Set(keys)].sort()
    const job: Job<T> = { keys: sorted, item, held: 0 }
    if (sorted.length === 0) void this.#process([], [job])
    else this.#enqueue(job)
  }

  // Takes the job's keys one after the other, until one is taken or all are held.
  #enqueue(job: Job<T>): void {
    for (;;) {
      const key = job.keys[job.held] as string
      let lock = this.#locks.get(key)
      if (lock === undefined) {
        lock = { busy: false, waiting: [] }
        this.#locks.set(key, lock)
      }
      if (lock.busy) {
        lock.waiting.push(job)
        return
      }
      lock.busy = true
      job.held++
      if (job.held < job.keys.length) continue
      void this.#process(job.keys, [job])
      return
    }
  }

  // Hands a free lock to those who wait for it first.
  #pump(key: string, lock: Lock<T>): void {
    const first = lock.waiting[0]
    if (first === undefined) {
      this.#locks.delete(key)
      return
    }
    lock.busy = true
    if (first.keys.length === 1) {
      let count = 1
      while (count < this.#maxGroup && lock.waiting[count]?.keys.length === 1) count++
      void this.#process([key], lock.waiting.splice(0, count))
      return
    }
    lock.waiting.shift()
    first.held++
    if (first.held === first.keys.length) void this.#process(first.keys, [first])
    else this.#enqueue(first)
  }

  async #process(keys: readonly string[], jobs: ReadonlyArray<Job<T>>): Promise<void> {
    const items = jobs.map(job => job.item)
    const notify = await this.#run(keys, items)
    this.#waiting -= jobs.length
    for (const key of keys) {
      const lock = this.#locks.get(key)
      if (lock === undefined) continue
      lock.busy = false
      this.#pump(key, lock)
    }
    notify()
  }
}
