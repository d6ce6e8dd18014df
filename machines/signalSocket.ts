import { assign, fromPromise, setup } from 'xstate'
import { type StateMeta, stub } from './stub.js'

export interface SignalSocketInput {
  /** Which of the two: they differ in nothing but their credentials. */
  socket: 'identified' | 'unidentified'
  keepaliveMs: number
  /** Delays before a new attempt: doubled from the first to the last, in ms. */
  backoff: { initial: number; max: number }
}

export interface SignalSocketContext extends SignalSocketInput {
  delay: number
}

/** How an attempt to connect ended; `refused`: the server does not take the credentials (403). */
export type SignalConnectOutcome = 'open' | 'refused' | 'failed'
/** Whether the server answered a keepalive within its deadline. */
export type SignalProbeOutcome = 'alive' | 'dead'

export type SignalSocketEvent =
  | { type: 'socket.start' }
  | { type: 'socket.stop' }
  /** The connection broke or was closed. */
  | { type: 'socket.lost' }
  /** Closed with 4401: the device is not linked any more. */
  | { type: 'socket.invalidated' }
  /** Closed with 4409: another process uses the same credentials. */
  | { type: 'socket.replaced' }
  /** Somebody is about to send something that must not be lost. */
  | { type: 'probe.requested' }

const closings = {
  'socket.lost': { target: '#signalSocket.backingOff', actions: ['dropSession'] },
  'socket.invalidated': { target: '#signalSocket.closed.invalidated', actions: ['dropSession'] },
  'socket.replaced': { target: '#signalSocket.closed.replaced', actions: ['dropSession'] },
  'socket.stop': { target: '#signalSocket.stopped', actions: ['dropSession'] },
} as const

const noSession = {
  'socket.lost': 'there is no session',
  'socket.invalidated': 'there is no session',
  'socket.replaced': 'there is no session',
  'probe.requested': 'there is no session to probe',
} as const

/**
 * One of the two sockets to Signal (worker machine): it comes back by itself, and is probed every keepalive and whenever
 * somebody is about to send. A socket that does not answer a probe is dropped, so a dead one is found within keepalive and
 * deadline together.
 */
export const signalSocketMachine = setup({
  types: {} as {
    context: SignalSocketContext
    events: SignalSocketEvent
    input: SignalSocketInput
    meta: StateMeta
  },
  actors: {
    connect: fromPromise<SignalConnectOutcome>(stub('connect')),
    probe: fromPromise<SignalProbeOutcome>(stub('probe')),
  },
  actions: {
    /** Ends the session that is there, and what waits for it. */
    dropSession: stub('dropSession'),
    resetDelay: assign(({ context }) => ({ delay: context.backoff.initial })),
    growDelay: assign(({ context }) => ({ delay: Math.min(context.delay * 2, context.backoff.max) })),
  },
  guards: {
    isOpen: (_, outcome: SignalConnectOutcome) => outcome === 'open',
    isRefused: (_, outcome: SignalConnectOutcome) => outcome === 'refused',
    isAlive: (_, outcome: SignalProbeOutcome) => outcome === 'alive',
  },
  delays: {
    keepalive: ({ context }) => context.keepaliveMs,
    backoff: ({ context }) => context.delay,
  },
}).createMachine({
  id: 'signalSocket',
  description: 'One of the two sockets to Signal',
  context: ({ input }) => ({ ...input, delay: input.backoff.initial }),
  initial: 'stopped',
  states: {
    stopped: {
      description: 'No socket is wanted.',
      meta: { spec: ['S02'], ignores: { ...noSession, 'socket.stop': 'stopped already' } },
      on: { 'socket.start': 'connecting' },
    },
    connecting: {
      description: 'Connecting; there is a deadline.',
      meta: {
        spec: ['S02', 'S03'],
        ignores: { 'socket.start': 'on its way', 'probe.requested': 'connecting tells the same' },
      },
      invoke: {
        src: 'connect',
        onDone: [
          { guard: { type: 'isOpen', params: ({ event }) => event.output }, target: 'open', actions: ['resetDelay'] },
          { guard: { type: 'isRefused', params: ({ event }) => event.output }, target: 'closed.refused' },
          { target: 'backingOff' },
        ],
        onError: 'backingOff',
      },
      on: closings,
    },
    open: {
      description: 'Requests and messages go over it.',
      initial: 'quiet',
      meta: { spec: ['S02', 'S05'] },
      on: closings,
      states: {
        quiet: {
          description: 'The last probe, or the connection itself, has shown that it is alive.',
          meta: { spec: ['S03', 'S04'], ignores: { 'socket.start': 'it is open' } },
          after: { keepalive: 'probing' },
          on: { 'probe.requested': 'probing' },
        },
        probing: {
          description: 'A keepalive is on its way; requests may use the socket meanwhile.',
          meta: {
            spec: ['S03', 'S04'],
            ignores: { 'socket.start': 'it is open', 'probe.requested': 'a probe is on its way' },
          },
          invoke: {
            src: 'probe',
            onDone: [
              { guard: { type: 'isAlive', params: ({ event }) => event.output }, target: 'quiet' },
              { target: '#signalSocket.backingOff', actions: ['dropSession'] },
            ],
            onError: { target: '#signalSocket.backingOff', actions: ['dropSession'] },
          },
        },
      },
    },
    backingOff: {
      description: 'Lost, dead or not reached: it connects again after 1 s, then 2 s, up to 30 s.',
      meta: { spec: ['S02', 'S03'], ignores: { ...noSession, 'socket.start': 'it comes back by itself' } },
      after: { backoff: { target: 'connecting', actions: ['growDelay'] } },
      on: { 'socket.stop': 'stopped' },
    },
    closed: {
      description: 'The server has closed it for good; only a start from outside tries again.',
      initial: 'refused',
      meta: { spec: ['S02', 'S15'], ignores: noSession },
      on: { 'socket.start': 'connecting', 'socket.stop': 'stopped' },
      states: {
        refused: { description: 'The credentials are not accepted (403): logged out.', meta: { spec: ['S02', 'S15'] } },
        invalidated: {
          description: 'Closed with 4401: the device is not linked any more.',
          meta: { spec: ['S02', 'S15'] },
        },
        replaced: {
          description: 'Closed with 4409: another process uses the same device.',
          meta: { spec: ['S02', 'S15'] },
        },
      },
    },
  },
})
