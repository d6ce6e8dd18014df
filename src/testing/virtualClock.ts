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

/** The default start of virtual time: a date at which test certificates are valid. */
export const virtualEpoch = Date.UTC(2026, 0, 1)

/** More timers at one instant than any honest test sets: two that set each other for ever. */
const timersPerInstant = 1_000_000

/** A clock that stands still until it is advanced. Virtual time starts at 2026-01-01 UTC unless told otherwise. */
export const virtualClock = (start: number = virtualEpoch): VirtualClock => {
  let now = start
  let order = 0
  const timers = new Set<Timer>()

  const nextTimer = (until: number): Timer | undefined => {
    let best: Timer | undefined
    for (const timer of timers) {
      if (timer.at > until) continue
      if (best === undefined || timer.at < best.at || (timer.at === best.at && timer.order < best.order)) best = timer
    }
    return best
  }

  const runUntil = async (until: number): Promise<void> => {
    await drainPromises()
    let ranAtThisInstant = 0
    for (let timer = nextTimer(until); timer !== undefined; timer = nextTimer(until)) {
      timers.delete(timer)
      ranAtThisInstant = timer.at > now ? 0 : ranAtThisInstant + 1
      if (ranAtThisInstant > timersPerInstant) throw new InternalError('timers set each other without end')
      now = Math.max(now, timer.at)
      timer.run()
      await drainPromises()
    }
    now = Math.max(now, until)
  }

  return {
    now: () => now,
    setTimeout: (run, ms) => {
      const timer: Timer = { at: now + Math.max(0, ms), order: order++, run }
      timers.add(timer)
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
    settle: () => drainPromises(),
    get pendingTimers() {
      return timers.size
    },
  }
}

/**
 * Two turns of the event loop: promise jobs, queueMicrotask, nextTick and what was scheduled by setImmediate meanwhile.
 * Real sockets and threads are not waited for.
 */
const drainPromises = async (): Promise<void> => {
  await new Promise<void>(resolve => setImmediate(resolve))
  await new Promise<void>(resolve => setImmediate(resolve))
}
