/** How the benchmarks measure: repeated samples, of which the median counts. */

/** One measured figure: the median over `samples` runs, and the best and worst of them. */
export interface Figure {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly samples: number
}

/** How long to measure. */
export interface Effort {
  /** Samples of a microbenchmark and the time of each in ms. */
  readonly samples: number
  readonly sampleMs: number
  /** Repeats of the long ones (floors, end to end), and the time of a floor in ms. */
  readonly repeats: number
  readonly floorMs: number
}

export const fullEffort: Effort = { samples: 9, sampleMs: 40, repeats: 3, floorMs: 1500 }
export const quickEffort: Effort = { samples: 3, sampleMs: 5, repeats: 1, floorMs: 250 }

/** The middle of the values; of an even number the mean of the two in the middle. 0 for none. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[middle] as number
  return sorted.length === 0 ? 0 : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The value below which `share` (0..1) of the values are; 0 for none. */
export const quantile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

export const figureOf = (values: readonly number[]): Figure => ({
  median: round(median(values)),
  min: round(Math.min(...values)),
  max: round(Math.max(...values)),
  samples: values.length,
})

/** Three digits that count: more would be noise. */
export const round = (value: number): number => (value === 0 ? 0 : Number(value.toPrecision(3)))

/** Microseconds that one call takes: the runs are as many as fill `sampleMs`, after a first sample that only warms up. */
export const microseconds = (run: () => void, { samples, sampleMs }: Effort): Figure => {
  let runs = 1
  for (;;) {
    const ms = timed(run, runs)
    if (ms >= sampleMs) break
    runs = ms < sampleMs / 10 ? runs * 8 : Math.ceil((runs * sampleMs * 1.1) / ms)
  }
  return figureOf(Array.from({ length: samples }, () => (timed(run, runs) * 1000) / runs))
}

/** As `microseconds`, of calls that are awaited one after the other. */
export const awaitedMicroseconds = async (run: () => Promise<void>, { samples, sampleMs }: Effort): Promise<Figure> => {
  const timedRuns = async (runs: number): Promise<number> => {
    const start = performance.now()
    for (let index = 0; index < runs; index++) await run()
    return performance.now() - start
  }
  let runs = 1
  for (;;) {
    const ms = await timedRuns(runs)
    if (ms >= sampleMs) break
    runs = ms < sampleMs / 10 ? runs * 8 : Math.ceil((runs * sampleMs * 1.1) / ms)
  }
  const values: number[] = []
  for (let sample = 0; sample < samples; sample++) values.push(((await timedRuns(runs)) * 1000) / runs)
  return figureOf(values)
}

const timed = (run: () => void, runs: number): number => {
  const start = performance.now()
  for (let index = 0; index < runs; index++) run()
  return performance.now() - start
}

/** How often per second asynchronous work ends, over `ms` milliseconds after a short warm-up; `run` answers how much it did. */
export const ratePerSecond = async (run: () => Promise<number>, ms: number): Promise<number> => {
  const count = async (limit: number): Promise<number> => {
    const start = performance.now()
    let done = 0
    let now = start
    for (; now - start < limit; now = performance.now()) done += await run()
    return (done * 1000) / (now - start)
  }
  await count(ms / 5)
  return count(ms)
}

/** Runs `measure` as often as the effort says, one after the other. */
export const repeated = async (repeats: number, measure: () => Promise<number>): Promise<Figure> => {
  const values: number[] = []
  for (let index = 0; index < repeats; index++) values.push(await measure())
  return figureOf(values)
}
