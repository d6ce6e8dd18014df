/** What the demo opened is closed at its end in the reverse order, however it ends. */
import { CallError } from '../../errors.js'
import { aborted } from '../signals.js'

export interface Cleanup {
  /**
   * Awaits something that is being opened; it will be closed even when the demo is stopped before it is open.
   *
   * @throws CallError CMD_INTERRUPTED when the demo was stopped.
   */
  own<T>(opening: Promise<T>, close: (opened: T) => Promise<void>): Promise<T>
  add(close: () => Promise<void>): void
  /** Rejects with CMD_INTERRUPTED when the demo is stopped; never resolves. */
  readonly interrupted: Promise<never>
  /** Closes everything; one failure does not keep the others open, the first is thrown at the end. */
  run(): Promise<void>
}

export const createCleanup = (stop: AbortSignal): Cleanup => {
  const closers: Array<() => Promise<void>> = []
  const interrupted = aborted(stop).then((): never => {
    throw stopped()
  })
  interrupted.catch(() => {})
  return {
    own: async (opening, close) => {
      closers.push(async () => {
        // What could not be opened has told so to who awaits it, and needs no closing.
        const opened = await opening.then(value => ({ value })).catch(() => undefined)
        if (opened !== undefined) await close(opened.value)
      })
      const opened = await opening
      if (stop.aborted) throw stopped()
      return opened
    },
    add: close => {
      closers.push(close)
    },
    interrupted,
    run: async () => {
      const failures: unknown[] = []
      for (const close of closers.reverse()) {
        await close().catch((error: unknown) => failures.push(error))
      }
      if (failures.length > 0) throw failures[0]
    },
  }
}

const stopped = (): CallError => new CallError('CMD_INTERRUPTED', 'the demo was stopped before its end')
