/** Delays between attempts in ms: `initial` until `growAfter` has passed, then each longer by half, to `max` at the most. */
export interface RetryInterval {
  readonly initial: number
  readonly growAfter: number
  readonly max: number
}

/** The delay after one of `delay`, when `elapsed` ms have been waited in all. */
export const nextDelay = (interval: RetryInterval, delay: number, elapsed: number): number =>
  elapsed < interval.growAfter ? delay : Math.min(Math.floor((delay * 3) / 2), interval.max)
