import type { VirtualClock } from './virtualClock.js'

/** Lets virtual time pass until `done` answers true. Throws what `late` gives when it did not within `limitMs`. */
export const untilDone = async (
  clock: VirtualClock,
  done: () => boolean | Promise<boolean>,
  { limitMs, late }: { readonly limitMs: number; readonly late: () => Error },
): Promise<void> => {
  const from = clock.now()
  for (;;) {
    await clock.settle()
    if (await done()) return
    const waited = clock.now() - from
    if (waited > limitMs) throw late()
    // Longer steps later: what never happens is found out soon.
    await clock.advance(Math.max(100, Math.floor(waited / 20)))
  }
}
