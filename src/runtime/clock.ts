/** A timer's handle; only the clock that gave it can clear it. */
export type TimerHandle = object | number

/**
 * Time as a port: nothing above the transports reads the wall clock or sets a timer by itself, so that a whole world runs
 * on one virtual clock (src/testing/virtualClock.ts).
 */
export interface Clock {
  /** Milliseconds since 1970-01-01 UTC. */
  now(): number
  /** Milliseconds from any moment on, for how long something has taken: unlike the time of day it is never set. */
  elapsed(): number
  /** Runs `run` once after `ms` milliseconds. */
  setTimeout(run: () => void, ms: number): TimerHandle
  /** Forgets a timer; one that already ran is no error. */
  clearTimeout(handle: TimerHandle): void
}

const longestTimerMs = 2_147_483_647

/** The machine's clock. Delays past 24.8 days are cut to that, since Node would run them at once. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, Math.min(ms, longestTimerMs)),
  clearTimeout: handle => clearTimeout(handle as NodeJS.Timeout),
}
