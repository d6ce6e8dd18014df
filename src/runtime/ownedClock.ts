import type { Clock, TimerHandle } from './clock.js'

/** A clock whose timers end with their owner. */
export interface OwnedClock extends Clock {
  /** What is still set never runs, and nothing can be set any more. */
  close(): void
}

/** The clock of one agent: whatever retries, waits or gives up sets its timers here, so that none outlives the agent. */
export const ownedClock = (clock: Clock): OwnedClock => {
  const timers = new Set<TimerHandle>()
  let closed = false
  return {
    now: () => clock.now(),
    elapsed: () => clock.elapsed(),
    setTimeout: (run, ms) => {
      if (closed) return {}
      const handle = clock.setTimeout(() => {
        timers.delete(handle)
        run()
      }, ms)
      timers.add(handle)
      return handle
    },
    clearTimeout: handle => {
      if (timers.delete(handle)) clock.clearTimeout(handle)
    },
    close: () => {
      closed = true
      for (const handle of timers) clock.clearTimeout(handle)
      timers.clear()
    },
  }
}
