import { asDuologueError } from '../errors.js'
import type { SignalContext } from './context.js'

/** Logs why a step of a machine has failed, and fails with it: the machine tries again, whatever it was, so nobody else would tell. */
export const toldFailure = async <T>(
  { log }: SignalContext,
  work: Promise<T>,
  step: { readonly machine: string; readonly step: string },
  { text, isClosed }: { readonly text: string; readonly isClosed: () => boolean },
): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (!isClosed()) log.warn({ ...step, code: asDuologueError(error).code }, text)
    throw error
  }
}
