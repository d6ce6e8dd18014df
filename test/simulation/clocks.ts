import type { Clock } from '../../src/runtime/clock.js'
import { ownedClock } from '../../src/runtime/ownedClock.js'

/** The clock of one machine, which may be set: timers run on as they were, as those of Node do. */
export class SettableClock implements Clock {
  readonly #world: Clock
  #offset = 0

  constructor(world: Clock) {
    this.#world = world
  }

  jump(ms: number): void {
    this.#offset += ms
  }

  now(): number {
    return this.#world.now() + this.#offset
  }

  elapsed(): number {
    return this.#world.elapsed()
  }

  setTimeout(run: () => void, ms: number): ReturnType<Clock['setTimeout']> {
    return this.#world.setTimeout(run, ms)
  }

  clearTimeout(handle: ReturnType<Clock['setTimeout']>): void {
    this.#world.clearTimeout(handle)
  }
}

/** The timers of one process on a machine: they end with it. */
export const processClock = (machine: Clock) => ownedClock(machine)
