import { InternalError } from '../errors.js'
import type { Clock, TimerHandle } from '../runtime/clock.js'

export interface VirtualClock extends Clock {
  /**
   * Moves time on by `ms`, running every timer that falls due at its own time, in order (same time: in order of setting),
   * with all pending promise work done before, between and after.
   */
  advance(ms: number): Promise<void>
  /** Moves time to the next timer, runs what is due then and answers true; false when no timer is set. */
  next(): Promise<boolean>
  /** Lets all promise work that is ready now finish, without moving time. */
  settle(): Promise<void>
  /** Timers that are set; a test of resources ends with 0. */
  readonly pendingTimers: number
}

interface Timer {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** The earliest timer first, in O(log n); cleared timers stay until they come to the front. */
class TimerHeap {
  readonly #timers: Timer[] = []

  get first(): Timer | undefined {
    return this.#timers[0]
  }

  add(timer: Timer): void {
    const timers = this.#timers
    let at = timers.push(timer) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(timer, timers[parent] as Timer)) break
      timers[at] = timers[parent] as Timer
      at = parent
    }
    timers[at] = timer
  }

  removeFirst(): void {
    const timers = this.#timers
    const last = timers.pop()
    if (last === undefined || timers.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= timers.length) break
      if (child + 1 < timers.length && isBefore(timers[child + 1] as Timer, timers[child] as Timer)) child += 1
      if (!isBefore(timers[child] as Timer, last)) break
      timers[at] = timers[child] as Timer
      at = child
    }
    timers[at] = last
  }
}

const isBefore = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** The default start of virtual time: a date at which test certificates are valid. */
export const virtualEpoch = Date.UTC(2026, 0, 1)

/** More timers at one instant than any honest test sets: two that set each other for ever. */
const timersPerInstant = 1_000_000

/**
 * A clock that stands still until it is advanced. Virtual time starts at 2026-01-01 UTC unless told otherwise.
 *
 * @param settle waits for the work that one timer sets off, before time moves on
 */
export const virtualClock = (
  start: number = virtualEpoch,
  settle: () => Promise<void> = drainPromises,
): VirtualClock => {
  let now = start
  let order = 0
  const timers = new Set<Timer>()
  const heap = new TimerHeap()

  const nextTimer = (until: number): Timer | undefined => {
    for (let timer = heap.first; timer !== undefined && timer.at <= until; timer = heap.first) {
      if (timers.has(timer)) return timer
      heap.removeFirst()
    }
    return undefined
  }

  const runUntil = async (until: number): Promise<void> => {
    await settle()
    let ranAtThisInstant = 0
    for (let timer = nextTimer(until); timer !== undefined; timer = nextTimer(until)) {
      timers.delete(timer)
      ranAtThisInstant = timer.at > now ? 0 : ranAtThisInstant + 1
      if (ranAtThisInstant > timersPerInstant) throw new InternalError('timers set each other without end')
      now = Math.max(now, timer.at)
      timer.run()
      await settle()
    }
    now = Math.max(now, until)
  }

  return {
    now: () => now,
    elapsed: () => now - start,
    setTimeout: (run, ms) => {
      const timer: Timer = { at: now + Math.max(0, ms), order: order++, run }
      timers.add(timer)
      heap.add(timer)
      return timer
    },
    clearTimeout: (handle: TimerHandle) => {
      timers.delete(handle as Timer)
    },
    advance: ms => runUntil(now + ms),
    next: async () => {
      const timer = nextTimer(Number.POSITIVE_INFINITY)
      if (timer === undefined) return false
      await runUntil(timer.at)
      return true
    },
    settle: () => settle(),
    get pendingTimers() {
      return timers.size
    },
  }
}

/**
 * Lets promise jobs, queueMicrotask, nextTick and setImmediate work finish, each of which may start more: this many turns of
 * the event loop are enough for a request and its answer through a router and back. Real sockets and threads are not
 * waited for: hand in `settle` for those.
 */
const settleTurns = 12

const drainPromises = async (): Promise<void> => {
  for (let turn = 0; turn < settleTurns; turn++) await new Promise<void>(resolve => setImmediate(resolve))
}
