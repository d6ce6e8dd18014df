interface Waiter {
  readonly count: number
  readonly resolve: (taken: boolean) => void
}

/** A bound on how much of something is under way at once. Who has to wait is served in order; nobody passes one that asks for more. */
export class Permits {
  readonly #limit: number
  readonly #waiting: Waiter[] = []
  #free: number

  /** @param limit how many may be taken at once; nobody may ask for more than that in one call */
  constructor(limit: number) {
    this.#limit = limit
    this.#free = limit
  }

  /** Whether nothing is taken and nobody waits. */
  get unused(): boolean {
    return this.#free === this.#limit && this.#waiting.length === 0
  }

  /** Resolves with true when `count` are taken, with false when `signal` aborts before: nothing is taken then. */
  take(count = 1, signal?: AbortSignal): Promise<boolean> {
    if (signal?.aborted === true) return Promise.resolve(false)
    return new Promise(resolve => {
      const waiter: Waiter = {
        count,
        resolve: taken => {
          signal?.removeEventListener('abort', leave)
          resolve(taken)
        },
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        waiter.resolve(false)
        this.#serve()
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.push(waiter)
      this.#serve()
    })
  }

  /** Gives back what was taken. */
  give(count = 1): void {
    this.#free += count
    this.#serve()
  }

  #serve(): void {
    for (let [next] = this.#waiting; next !== undefined && next.count <= this.#free; [next] = this.#waiting) {
      this.#waiting.shift()
      this.#free -= next.count
      next.resolve(true)
    }
  }
}
