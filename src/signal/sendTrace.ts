import type { Clock } from '../runtime/clock.js'
import type { Trace } from '../runtime/ports.js'
import type { Json } from '../store/index.js'

/** One step of a send, as a line of the trace under its correlation id (S16). */
export type SendStep =
  | 'queued'
  | 'devices'
  | 'probed'
  | 'path'
  | 'keys'
  | 'encrypted'
  | 'request'
  | 'answer'
  | 'fallback'
  | 'wait'
  | 'settled'
  | 'sync'

export interface SendTrace {
  (
    about: { readonly correlationId: string; readonly recipientId: string; readonly messageId: number | undefined },
    step: SendStep,
    facts: { readonly [name: string]: Json },
  ): void
}

export const sendTrace =
  (clock: Clock, trace: Trace | undefined): SendTrace =>
  ({ correlationId, recipientId, messageId }, step, facts) => {
    trace?.({
      at: clock.now(),
      traceId: correlationId,
      unit: 'signal.send',
      machine: 'signalSend',
      id: recipientId,
      event: step,
      facts: { ...(messageId === undefined ? {} : { messageId }), ...facts },
    })
  }
