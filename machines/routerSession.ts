import { assign, fromPromise, setup } from 'xstate'
import { nextDelay, type RetryInterval } from './retry.js'
import { type StateMeta, stub } from './stub.js'

export interface RouterSessionInput {
  router: string
  reconnect: RetryInterval
}

export interface RouterSessionContext extends RouterSessionInput {
  delay: number
  elapsed: number
}

export type RouterSessionEvent =
  /** Somebody needs the session now: a command, a delivery, a subscription. */
  | { type: 'session.needed' }
  /** The open session is lost. */
  | { type: 'session.lost' }
  /** Nobody needs the session any more. */
  | { type: 'session.released' }

/**
 * The transport session of one (user, router) (worker machine): it connects when it is needed, and after a loss it comes back by
 * itself as long as subscriptions or work wait for it (B66).
 */
export const routerSessionMachine = setup({
  types: {} as {
    context: RouterSessionContext
    events: RouterSessionEvent
    input: RouterSessionInput
    meta: StateMeta
  },
  actors: {
    /** Connects and shakes hands; rejects when that fails. */
    connect: fromPromise<void, { router: string }>(stub('connect')),
    /** Subscribes again what was subscribed. */
    resubscribe: fromPromise<void, { router: string }>(stub('resubscribe')),
  },
  actions: {
    /** Fails those who wait for the session; they decide themselves whether to try again. */
    rejectWaiting: stub('rejectWaiting'),
    resolveWaiting: stub('resolveWaiting'),
    closeSession: stub('closeSession'),
    resetDelay: assign(({ context }) => ({ delay: context.reconnect.initial, elapsed: 0 })),
    growDelay: assign(({ context }) => ({
      elapsed: context.elapsed + context.delay,
      delay: nextDelay(context.reconnect, context.delay, context.elapsed + context.delay),
    })),
  },
  guards: {
    /** Whether subscriptions wait for the session. */
    hasSubscriptions: stub('hasSubscriptions') as () => boolean,
  },
  delays: { reconnect: ({ context }) => context.delay },
}).createMachine({
  id: 'routerSession',
  description: 'The transport session to one router',
  context: ({ input }) => ({ ...input, delay: input.reconnect.initial, elapsed: 0 }),
  initial: 'closed',
  states: {
    closed: {
      description: 'No session, and nobody needs one.',
      meta: {
        spec: ['B69'],
        ignores: {
          'session.lost': 'there is no session',
          'session.released': 'there is no session',
        },
      },
      on: { 'session.needed': 'connecting' },
    },
    connecting: {
      description: 'Connecting and shaking hands.',
      meta: {
        spec: ['B66'],
        ignores: { 'session.needed': 'whoever needs it is told when it is open' },
      },
      invoke: {
        src: 'connect',
        input: ({ context }) => ({ router: context.router }),
        onDone: { target: 'open', actions: ['resolveWaiting', 'resetDelay'] },
        onError: [
          { guard: 'hasSubscriptions', target: 'reconnecting', actions: ['rejectWaiting'] },
          { target: 'closed', actions: ['rejectWaiting'] },
        ],
      },
      on: {
        // The session was lost between the handshake and the word of it: it must not be taken for open.
        'session.lost': [
          { guard: 'hasSubscriptions', target: 'reconnecting', actions: ['rejectWaiting'] },
          { target: 'closed', actions: ['rejectWaiting'] },
        ],
        'session.released': { target: 'closed', actions: ['rejectWaiting', 'closeSession'] },
      },
    },
    open: {
      description: 'The session is open; what was subscribed before is subscribed again.',
      meta: { spec: ['B60', 'B66'], ignores: { 'session.needed': 'it is open' } },
      invoke: {
        src: 'resubscribe',
        input: ({ context }) => ({ router: context.router }),
        // A failed SUB is answered for by its queue; a lost session comes as session.lost.
        onError: {},
      },
      on: {
        // Whoever came when the session had ended already, and its end was not known here, must not wait for it.
        'session.lost': [
          { guard: 'hasSubscriptions', target: 'reconnecting', actions: ['rejectWaiting'] },
          { target: 'closed', actions: ['rejectWaiting'] },
        ],
        'session.released': { target: 'closed', actions: ['closeSession'] },
      },
    },
    reconnecting: {
      description: 'The session was lost or could not be made, and subscriptions wait for it.',
      meta: { spec: ['B66', 'B68'], ignores: { 'session.lost': 'there is no session' } },
      after: { reconnect: { target: 'connecting', actions: ['growDelay'] } },
      on: {
        // Somebody with work at hand does not wait for the delay.
        'session.needed': 'connecting',
        'session.released': 'closed',
      },
    },
  },
})
