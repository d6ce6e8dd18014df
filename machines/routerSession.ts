import { assign, fromPromise, setup } from 'xstate'
import { nextDelay, type RetryInterval } from './retry.js'
import { type StateMeta, stub } from './stub.js'

export interface RouterSessionInput {
  router: string
  reconnect: RetryInterval
  /** While the device is said to be offline one attempt is made after so many ms all the same: it may be wrong (B68). */
  offlineRetry: number
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
  /** The device was offline and is online again, or the agent was suspended and goes on. */
  | { type: 'network.online' }

const comeBack = [
  { guard: 'hasSubscriptions', target: 'connecting', actions: ['resetDelay'] },
  { target: 'closed' },
] as const

/**
 * One transport session to a router (worker machine): it connects when it is needed, comes back by itself after a loss as long as
 * subscriptions wait for it (B66), does not try while the device is offline (B68) or the agent suspended, and ends when nobody uses
 * it (B69).
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
    /** Whether subscriptions need the session. */
    hasSubscriptions: stub('hasSubscriptions') as () => boolean,
    /** Whether the device is offline, or the agent suspended: nothing is tried then. */
    isOffline: stub('isOffline') as () => boolean,
    isSuspended: stub('isSuspended') as () => boolean,
    /** Whether nothing is subscribed, nothing is under way and nothing was for some time. */
    isIdle: stub('isIdle') as () => boolean,
  },
  delays: {
    reconnect: ({ context }) => context.delay,
    offlineRetry: ({ context }) => context.offlineRetry,
    /** Until the session is idle if nobody uses it. */
    idle: stub('idle') as () => number,
  },
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
          'network.online': 'nobody needs a session',
        },
      },
      on: { 'session.needed': 'connecting' },
    },
    connecting: {
      description: 'Connecting and shaking hands.',
      meta: {
        spec: ['B66'],
        ignores: {
          'session.needed': 'whoever needs it is told when it is open',
          'network.online': 'an attempt is under way',
        },
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
      meta: {
        spec: ['B60', 'B66'],
        ignores: { 'session.needed': 'it is open', 'network.online': 'it is open' },
      },
      initial: 'watched',
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
      states: {
        watched: {
          description: 'It is looked after from time to time whether anybody uses the session.',
          meta: { spec: ['B69'] },
          after: {
            idle: [
              { guard: 'isIdle', target: '#routerSession.closed', actions: ['closeSession'] },
              { target: 'watched', reenter: true },
            ],
          },
        },
      },
    },
    reconnecting: {
      description: 'The session was lost or could not be made, and subscriptions wait for it.',
      meta: { spec: ['B66', 'B68'], ignores: { 'session.lost': 'there is no session' } },
      after: {
        reconnect: [
          { guard: 'isOffline', target: 'offline' },
          { guard: 'hasSubscriptions', target: 'connecting', actions: ['growDelay'] },
          // What waited was deleted in the meantime.
          { target: 'closed' },
        ],
      },
      on: {
        // Somebody with work at hand does not wait for the delay.
        'session.needed': 'connecting',
        'network.online': comeBack,
        'session.released': 'closed',
      },
    },
    offline: {
      description: 'Subscriptions wait for the session, and the device is offline or the agent is suspended.',
      meta: { spec: ['B04', 'B68'], ignores: { 'session.lost': 'there is no session' } },
      after: { offlineRetry: [{ guard: 'isSuspended', target: 'offline', reenter: true }, ...comeBack] },
      on: {
        'network.online': comeBack,
        // Calls are tried whatever the device says.
        'session.needed': 'connecting',
        'session.released': 'closed',
      },
    },
  },
})
