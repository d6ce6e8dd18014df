/** A microbenchmark: something small that is done over and over in one thread. */
export interface Case {
  readonly name: string
  /** Does it once, and fails if the outcome is wrong. */
  readonly run: () => void
}

/** One that waits for another thread. */
export interface AwaitedCase {
  readonly name: string
  readonly run: () => Promise<void>
}

/** Stops a benchmark of something that does not work. */
export const must = <T>(value: T | undefined | false, what: string): T => {
  if (value === undefined || value === false) throw new Error(`benchmark: ${what}`)
  return value
}
