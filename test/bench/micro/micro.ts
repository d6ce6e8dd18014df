import { type Effort, type Figure, microseconds, round } from '../measure.js'
import type { Case } from './cases.js'
import { codecCases } from './codec.js'
import { cryptoCases } from './crypto.js'
import { runKem } from './kem.js'

export interface MicroResult {
  readonly name: string
  /** Microseconds of one run. */
  readonly us: Figure
  readonly perSecond: number
}

/** Every microbenchmark, in the order of the report. */
export const microCases = (): Case[] => [...cryptoCases(), ...codecCases()]

/** Runs the microbenchmarks one after the other in this thread, then those of the KEM, which has another one. */
export const runMicro = async (effort: Effort, progress: (text: string) => void): Promise<MicroResult[]> => {
  const results = microCases().map(({ name, run }) => {
    progress(name)
    return { name, us: microseconds(run, effort) }
  })
  return [...results, ...(await runKem(effort, progress))].map(result => ({
    ...result,
    perSecond: round(1_000_000 / result.us.median),
  }))
}
