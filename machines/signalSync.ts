import { assign, fromPromise, setup } from 'xstate'
import { type StateMeta, stub } from './stub.js'

export interface SignalSyncInput {
  accountId: string
  retry: { initial: number; max: number }
}

export interface SignalSyncContext extends SignalSyncInput {
  delay: number
}

/**
 * How an attempt to bring the oldest transcript to the own devices ended. `again`: their list has changed, and the next
 * attempt begins at once; `dropped`: too old, or the server refuses it for good.
 */
export type SignalSyncOutcome = 'synced' | 'dropped' | 'again' | 'empty' | 'retry'

export type SignalSyncEvent =
  | { type: 'sync.added' }
  | { type: 'wait.over' }
  | { type: 'sync.suspended' }
  | { type: 'sync.resumed' }

/**
 * Brings transcripts of sent messages to the account’s own devices (worker machine, S10). It has rows and delays of its
 * own: whatever happens here, the message itself was sent.
 */
export const signalSyncMachine = setup({
  types: {} as { context: SignalSyncContext; events: SignalSyncEvent; input: SignalSyncInput; meta: StateMeta },
  actors: { syncNext: fromPromise<SignalSyncOutcome>(stub('syncNext')) },
  delays: { retry: ({ context }) => context.delay },
  guards: {
    isEmpty: (_, outcome: SignalSyncOutcome) => outcome === 'empty',
    isRetry: (_, outcome: SignalSyncOutcome) => outcome === 'retry',
  },
  actions: {
    resetDelay: assign(({ context }) => ({ delay: context.retry.initial })),
    growDelay: assign(({ context }) => ({ delay: Math.min(context.delay * 2, context.retry.max) })),
  },
}).createMachine({
  id: 'signalSync',
  description: 'Brings transcripts of sent messages to the own devices',
  context: ({ input }) => ({ ...input, delay: input.retry.initial }),
  initial: 'syncing',
  states: {
    syncing: {
      description: 'The oldest transcript is on its way.',
      meta: {
        spec: ['S10'],
        ignores: {
          'sync.added': 'it is found when its turn comes',
          'wait.over': 'nothing waits',
          'sync.resumed': 'nothing is suspended',
        },
      },
      invoke: {
        src: 'syncNext',
        onDone: [
          { guard: { type: 'isEmpty', params: ({ event }) => event.output }, target: 'idle' },
          { guard: { type: 'isRetry', params: ({ event }) => event.output }, target: 'waiting' },
          { target: 'syncing', reenter: true, actions: ['resetDelay'] },
        ],
        onError: 'waiting',
      },
      on: { 'sync.suspended': 'suspended' },
    },
    waiting: {
      description: 'The own devices could not be reached; the same transcript is tried again.',
      meta: {
        spec: ['S10'],
        ignores: { 'sync.added': 'it stands behind the one that waits', 'sync.resumed': 'nothing is suspended' },
      },
      after: { retry: { target: 'syncing', actions: ['growDelay'] } },
      on: { 'wait.over': 'syncing', 'sync.suspended': 'suspended' },
    },
    suspended: {
      description: 'The channel is suspended; transcripts are in rows.',
      meta: {
        spec: ['S10'],
        ignores: {
          'sync.added': 'it is found after the resume',
          'wait.over': 'nothing is sent while suspended',
          'sync.suspended': 'suspended already',
        },
      },
      on: { 'sync.resumed': 'syncing' },
    },
    idle: {
      description: 'No transcript waits: the worker can be thrown away.',
      meta: {
        spec: ['S10'],
        ignores: {
          'wait.over': 'nothing waits',
          'sync.suspended': 'nothing runs',
          'sync.resumed': 'nothing is suspended',
        },
      },
      on: { 'sync.added': 'syncing' },
    },
  },
})
