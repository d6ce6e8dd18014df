/** A bound on how much of something is under way at once. Who has to wait is served in order; nobody passes one that asks for more. */
export class Permits {
  readonly #limit: number
  readonly #waiting: Array<{ readonly count: number; readonly resolve: () => void }> = []
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

  /** Resolves when `count` are taken. */
  take(count = 1): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push({ count, resolve })
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
      next.resolve()
    }
  }
}
