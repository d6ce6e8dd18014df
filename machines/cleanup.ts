import { assign, fromPromise, setup } from 'xstate'
import { type StateMeta, stub } from './stub.js'

export interface CleanupInput {
  /** What is cleaned up, in this order. */
  steps: readonly string[]
  /** Until the first cleanup, between two, and between two steps of one, in ms. */
  initial: number
  interval: number
  pause: number
}

export interface CleanupContext extends CleanupInput {
  /** The step that is next or under way. */
  step: number
  delay: number
}

export type CleanupEvent = { type: 'cleanup.suspended' } | { type: 'cleanup.resumed' }

/**
 * Takes away what has expired (worker machine, B07): each kind apart, with a pause between two steps, so that cleaning up never keeps
 * the database to itself; a step that fails does not keep the others from running.
 */
export const cleanupMachine = setup({
  types: {} as { context: CleanupContext; events: CleanupEvent; input: CleanupInput; meta: StateMeta },
  actors: { runStep: fromPromise<void, { step: string }>(stub('runStep')) },
  actions: {
    /** Tells of a step that failed; the next cycle tries it again. */
    notifyFailed: stub('notifyFailed') as (_: unknown, params: { step: string; error: unknown }) => void,
    nextStep: assign(({ context }) => ({ step: context.step + 1 })),
    firstStep: assign(({ context }) => ({ step: 0, delay: context.interval })),
  },
  guards: { isDone: ({ context }) => context.step >= context.steps.length },
  delays: { cycle: ({ context }) => context.delay, pause: ({ context }) => context.pause },
}).createMachine({
  id: 'cleanup',
  description: 'Takes away what has expired, one kind after the other',
  context: ({ input }) => ({ ...input, step: 0, delay: input.initial }),
  initial: 'waiting',
  states: {
    waiting: {
      description: 'Until the next cycle.',
      meta: { spec: ['B07'], ignores: { 'cleanup.resumed': 'nothing is suspended' } },
      after: { cycle: 'cleaning' },
      on: { 'cleanup.suspended': 'suspended' },
    },
    cleaning: {
      description: 'One kind of expired rows is being taken away.',
      meta: { spec: ['B07'], ignores: { 'cleanup.resumed': 'nothing is suspended' } },
      invoke: {
        src: 'runStep',
        input: ({ context }) => ({ step: context.steps[context.step] as string }),
        onDone: { target: 'pausing', actions: ['nextStep'] },
        onError: {
          target: 'pausing',
          actions: [
            {
              type: 'notifyFailed',
              params: ({ context, event }) => ({ step: context.steps[context.step] as string, error: event.error }),
            },
            'nextStep',
          ],
        },
      },
      on: { 'cleanup.suspended': 'suspended' },
    },
    pausing: {
      description: 'Others have the database to themselves for a moment.',
      meta: { spec: ['B07'], ignores: { 'cleanup.resumed': 'nothing is suspended' } },
      always: { guard: 'isDone', target: 'waiting', actions: ['firstStep'] },
      after: { pause: 'cleaning' },
      on: { 'cleanup.suspended': 'suspended' },
    },
    suspended: {
      description: 'The agent is suspended; the cycle goes on with the step that was next.',
      meta: { spec: ['B04', 'B07'], ignores: { 'cleanup.suspended': 'suspended already' } },
      on: { 'cleanup.resumed': 'pausing' },
    },
  },
})
