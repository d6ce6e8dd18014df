/** The end of a process by SIGINT or SIGTERM: in order at the first, at once at the second. */
import { exitCodes } from './failure.js'

const signals = ['SIGINT', 'SIGTERM'] as const

export interface StopSignal {
  /** Aborted by the first signal, and when a parent that watches over this process is gone. */
  readonly signal: AbortSignal
  /** Gives the signals back their usual effect. */
  release(): void
}

/** Takes over SIGINT and SIGTERM until released. */
export const catchStopSignals = (): StopSignal => {
  const stop = new AbortController()
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(exitCodes.failed)
    stop.abort()
  }
  const onParentGone = (): void => stop.abort()
  for (const signal of signals) process.on(signal, onSignal)
  process.on('disconnect', onParentGone)
  return {
    signal: stop.signal,
    release: () => {
      for (const signal of signals) process.off(signal, onSignal)
      process.off('disconnect', onParentGone)
    },
  }
}

/** Resolves when the signal is aborted. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
