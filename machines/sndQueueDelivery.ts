import { assign, fromPromise, setup } from 'xstate'
import { nextDelay, type RetryInterval } from './retry.js'
import { type StateMeta, stub } from './stub.js'

export interface DeliveryInput {
  queueId: string
  fast: RetryInterval
  slow: RetryInterval
  /** While the device is said to be offline one attempt is made after so many ms all the same: it may be wrong (B68). */
  offlineRetry: number
}

/** What one attempt works on. */
export interface DeliveryRun {
  queueId: string
  /** Whatever the device says about its network. */
  insist: boolean
}

export interface DeliveryContext extends DeliveryInput {
  /** Delays that the next waits take, and since when the router has been failing, in ms. */
  fastDelay: number
  slowDelay: number
  fastElapsed: number
  slowElapsed: number
  /** QCONT came, or the device came online, while an attempt was under way: the next wait does not take place. */
  continued: boolean
  /** The agent is being suspended: the attempt under way is the last one. */
  stopping: boolean
  /** The next attempt is made whatever the device says. */
  insist: boolean
}

/** How an attempt to deliver the head of the queue ended, as the sndQueue machine decided. */
export type DeliveryOutcome =
  | 'sent'
  | 'dropped'
  | 'empty'
  | 'retryFast'
  | 'retrySlow'
  /** The device is offline: no attempt was made. */
  | 'offline'

export type DeliveryEvent =
  | { type: 'delivery.added' }
  /** The other party's queue takes messages again (QCONT): do not wait any longer (B45). */
  | { type: 'queue.continued' }
  /** The device was offline and is online again. */
  | { type: 'network.online' }
  | { type: 'delivery.suspended' }
  | { type: 'delivery.resumed' }

/**
 * Delivers the waiting messages of one send queue, one after the other and in order (worker machine). It starts when there is
 * work and ends when there is none; what waits is in rows.
 */
export const sndQueueDeliveryMachine = setup({
  types: {} as { context: DeliveryContext; events: DeliveryEvent; input: DeliveryInput; meta: StateMeta },
  actors: {
    /** Sends the head of the queue and lets the sndQueue machine decide what the answer means. */
    deliverNext: fromPromise<DeliveryOutcome, DeliveryRun>(stub('deliverNext')),
  },
  delays: {
    fast: ({ context }) => context.fastDelay,
    slow: ({ context }) => context.slowDelay,
    offlineRetry: ({ context }) => context.offlineRetry,
  },
  guards: {
    isEmpty: (_, outcome: DeliveryOutcome) => outcome === 'empty',
    isFast: (_, outcome: DeliveryOutcome) => outcome === 'retryFast',
    isOffline: (_, outcome: DeliveryOutcome) => outcome === 'offline',
    isSlow: (_, outcome: DeliveryOutcome) => outcome === 'retrySlow',
    isStopping: ({ context }) => context.stopping,
    isContinued: ({ context }) => context.continued,
    isContinuedRetry: ({ context }, outcome: DeliveryOutcome) =>
      context.continued && (outcome === 'retryFast' || outcome === 'retrySlow' || outcome === 'offline'),
  },
  actions: {
    noteContinued: assign({ continued: true }),
    forgetContinued: assign({ continued: false }),
    noteStopping: assign({ stopping: true }),
    forgetStopping: assign({ stopping: false }),
    insist: assign({ insist: true }),
    forgetInsist: assign({ insist: false }),
    resetDelays: assign(({ context }) => ({
      fastDelay: context.fast.initial,
      slowDelay: context.slow.initial,
      fastElapsed: 0,
      slowElapsed: 0,
    })),
    growFast: assign(({ context }) => ({
      fastElapsed: context.fastElapsed + context.fastDelay,
      fastDelay: nextDelay(context.fast, context.fastDelay, context.fastElapsed + context.fastDelay),
    })),
    growSlow: assign(({ context }) => ({
      slowElapsed: context.slowElapsed + context.slowDelay,
      slowDelay: nextDelay(context.slow, context.slowDelay, context.slowElapsed + context.slowDelay),
    })),
  },
}).createMachine({
  id: 'sndQueueDelivery',
  description: 'Delivers the waiting messages of one send queue in order',
  context: ({ input }) => ({
    ...input,
    fastDelay: input.fast.initial,
    slowDelay: input.slow.initial,
    fastElapsed: 0,
    slowElapsed: 0,
    continued: false,
    stopping: false,
    insist: false,
  }),
  initial: 'sending',
  states: {
    sending: {
      description: 'The head of the queue is on its way to the router.',
      meta: {
        spec: ['B05', 'B40', 'B44', 'B45', 'B68'],
        ignores: { 'delivery.added': 'it is found when its turn comes' },
      },
      exit: ['forgetInsist'],
      invoke: {
        src: 'deliverNext',
        input: ({ context: { queueId, insist } }) => ({ queueId, insist }),
        onDone: [
          {
            guard: { type: 'isEmpty', params: ({ event }) => event.output },
            target: 'idle',
            actions: ['forgetContinued', 'forgetStopping'],
          },
          { guard: 'isStopping', target: 'suspended', actions: ['forgetContinued', 'forgetStopping'] },
          {
            guard: { type: 'isContinuedRetry', params: ({ event }) => event.output },
            target: 'sending',
            reenter: true,
            actions: ['forgetContinued'],
          },
          { guard: { type: 'isOffline', params: ({ event }) => event.output }, target: 'waiting.offline' },
          { guard: { type: 'isFast', params: ({ event }) => event.output }, target: 'waiting.fast' },
          { guard: { type: 'isSlow', params: ({ event }) => event.output }, target: 'waiting.slow' },
          { target: 'sending', reenter: true, actions: ['resetDelays'] },
        ],
        onError: [
          { guard: 'isStopping', target: 'suspended', actions: ['forgetContinued', 'forgetStopping'] },
          { guard: 'isContinued', target: 'sending', reenter: true, actions: ['forgetContinued'] },
          { target: 'waiting.fast' },
        ],
      },
      on: {
        // The answer under way may be older than the room in the queue.
        'queue.continued': { actions: ['noteContinued'] },
        'network.online': { actions: ['noteContinued'] },
        // A suspension waits for the attempt under way.
        'delivery.suspended': { actions: ['noteStopping'] },
        'delivery.resumed': { actions: ['forgetStopping'] },
      },
    },
    waiting: {
      description: 'The head of the queue could not be delivered; it is tried again after a delay.',
      initial: 'fast',
      meta: { spec: ['B41', 'B43', 'B45', 'B68'] },
      on: {
        'queue.continued': 'sending',
        'delivery.suspended': 'suspended',
      },
      states: {
        fast: {
          description: 'The router could not be reached: seconds to minutes.',
          meta: {
            spec: ['B43'],
            ignores: {
              'delivery.added': 'it stands behind the one that waits',
              'delivery.resumed': 'nothing is suspended',
            },
          },
          after: { fast: { target: '#sndQueueDelivery.sending', actions: ['growFast'] } },
          on: { 'network.online': { target: '#sndQueueDelivery.sending', actions: ['resetDelays'] } },
        },
        offline: {
          description: 'The device is offline: no attempt is made until it is online again, or a long time has passed.',
          meta: {
            spec: ['B68'],
            ignores: {
              'delivery.added': 'it stands behind the one that waits',
              'delivery.resumed': 'nothing is suspended',
            },
          },
          after: { offlineRetry: { target: '#sndQueueDelivery.sending', actions: ['insist'] } },
          on: { 'network.online': { target: '#sndQueueDelivery.sending', actions: ['resetDelays'] } },
        },
        slow: {
          description: 'The queue is full: minutes to hours, or until the other party says QCONT.',
          meta: {
            spec: ['B41', 'B45'],
            ignores: {
              'delivery.added': 'it stands behind the one that waits',
              'delivery.resumed': 'nothing is suspended',
              'network.online': 'the queue is full, whatever the network does',
            },
          },
          after: { slow: { target: '#sndQueueDelivery.sending', actions: ['growSlow'] } },
        },
      },
    },
    suspended: {
      description: 'The agent is suspended; what waits is in rows.',
      meta: {
        spec: ['B04', 'B05'],
        ignores: {
          'delivery.added': 'it is found after the resume',
          'queue.continued': 'the first attempt after the resume does not wait',
          'network.online': 'the first attempt after the resume does not wait',
          'delivery.suspended': 'suspended already',
        },
      },
      on: { 'delivery.resumed': 'sending' },
    },
    idle: {
      description: 'Nothing waits: the worker can be thrown away.',
      meta: {
        spec: ['B48'],
        ignores: {
          'queue.continued': 'nothing waits',
          'network.online': 'nothing waits',
          'delivery.suspended': 'nothing runs',
          'delivery.resumed': 'nothing is suspended',
        },
      },
      on: { 'delivery.added': 'sending' },
    },
  },
})
