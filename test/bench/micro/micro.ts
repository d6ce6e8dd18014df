import { type Effort, type Figure, microseconds, round } from '../measure.js'
import type { Case } from './cases.js'
import { codecCases } from './codec.js'
import { cryptoCases } from './crypto.js'

export interface MicroResult {
  readonly name: string
  /** Microseconds of one run. */
  readonly us: Figure
  readonly perSecond: number
}

/** Every microbenchmark, in the order of the report. */
export const microCases = (): Case[] => [...cryptoCases(), ...codecCases()]

/** Runs the microbenchmarks one after the other in this thread. */
export const runMicro = (effort: Effort, progress: (text: string) => void): MicroResult[] =>
  microCases().map(({ name, run }) => {
    progress(name)
    const us = microseconds(run, effort)
    return { name, us, perSecond: round(1_000_000 / us.median) }
  })
