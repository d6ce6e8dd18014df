import { assign, fromPromise, setup } from 'xstate'
import { nextDelay, type RetryInterval } from './retry.js'
import { type StateMeta, stub } from './stub.js'

export interface CommandWorkerInput {
  connectionId: string
  router: string
  retry: RetryInterval
  /** While the device is said to be offline one attempt is made after so many ms all the same: it may be wrong (B68). */
  offlineRetry: number
}

/** What one run works on. */
export interface CommandRun {
  connectionId: string
  router: string
  /** Whatever the device says about its network. */
  insist: boolean
}

export interface CommandWorkerContext extends CommandWorkerInput {
  delay: number
  elapsed: number
  /** The agent is being suspended: the run under way is the last one. */
  stopping: boolean
  /** Rows were changed, or the device came online, while a command was being run: the next wait does not take place. */
  changed: boolean
  /** The next run takes place whatever the device says. */
  insist: boolean
}

/**
 * How the run of the head command ended; `done` and `failed` have left their rows and events behind. `offline`: the device is offline,
 * nothing was run.
 */
export type CommandOutcome = 'done' | 'failed' | 'moved' | 'empty' | 'retry' | 'offline'

export type CommandWorkerEvent =
  | { type: 'command.added' }
  /** Stored commands were taken away, or what one waits for has happened: look again at once. */
  | { type: 'commands.changed' }
  | { type: 'worker.suspended' }
  | { type: 'worker.resumed' }
  /** The device was offline and is online again. */
  | { type: 'network.online' }

/**
 * Runs the stored commands of one (connection, router) in their order (worker machine, B50): temporary errors are retried,
 * permanent ones are reported and delete the command (B53). Commands of different workers run side by side.
 */
export const commandWorkerMachine = setup({
  types: {} as {
    context: CommandWorkerContext
    events: CommandWorkerEvent
    input: CommandWorkerInput
    meta: StateMeta
  },
  actors: {
    runNext: fromPromise<CommandOutcome, CommandRun>(stub('runNext')),
  },
  delays: { retry: ({ context }) => context.delay, offlineRetry: ({ context }) => context.offlineRetry },
  guards: {
    isStopping: ({ context }) => context.stopping,
    isEmpty: (_, outcome: CommandOutcome) => outcome === 'empty',
    isOffline: (_, outcome: CommandOutcome) => outcome === 'offline',
    isRetry: (_, outcome: CommandOutcome) => outcome === 'retry',
    isChanged: ({ context }) => context.changed,
  },
  actions: {
    noteStopping: assign({ stopping: true }),
    forgetStopping: assign({ stopping: false }),
    noteChanged: assign({ changed: true }),
    forgetChanged: assign({ changed: false }),
    insist: assign({ insist: true }),
    forgetInsist: assign({ insist: false }),
    resetDelay: assign(({ context }) => ({ delay: context.retry.initial, elapsed: 0 })),
    growDelay: assign(({ context }) => ({
      elapsed: context.elapsed + context.delay,
      delay: nextDelay(context.retry, context.delay, context.elapsed + context.delay),
    })),
  },
}).createMachine({
  id: 'commandWorker',
  description: 'Runs the stored commands of one connection at one router in order',
  context: ({ input }) => ({
    ...input,
    delay: input.retry.initial,
    elapsed: 0,
    stopping: false,
    changed: false,
    insist: false,
  }),
  initial: 'running',
  states: {
    running: {
      description: 'The head command is being run.',
      meta: {
        spec: ['B06', 'B50', 'B51', 'B68'],
        ignores: { 'command.added': 'it is found when its turn comes' },
      },
      exit: ['forgetInsist'],
      invoke: {
        src: 'runNext',
        input: ({ context: { connectionId, router, insist } }) => ({ connectionId, router, insist }),
        onDone: [
          {
            guard: { type: 'isEmpty', params: ({ event }) => event.output },
            target: 'idle',
            actions: ['forgetStopping', 'forgetChanged'],
          },
          { guard: 'isStopping', target: 'suspended', actions: ['forgetStopping', 'forgetChanged'] },
          { guard: 'isChanged', target: 'running', reenter: true, actions: ['forgetChanged', 'resetDelay'] },
          { guard: { type: 'isOffline', params: ({ event }) => event.output }, target: 'offline' },
          { guard: { type: 'isRetry', params: ({ event }) => event.output }, target: 'waiting' },
          { target: 'running', reenter: true, actions: ['resetDelay'] },
        ],
        onError: [
          { guard: 'isStopping', target: 'suspended', actions: ['forgetStopping', 'forgetChanged'] },
          { guard: 'isChanged', target: 'running', reenter: true, actions: ['forgetChanged'] },
          { target: 'waiting' },
        ],
      },
      on: {
        // What the run has read may be older than the change.
        'commands.changed': { actions: ['noteChanged'] },
        // What is being run may have failed for want of a network.
        'network.online': { actions: ['noteChanged'] },
        // A suspension waits for the run under way, which ends before the next one begins (B06).
        'worker.suspended': { actions: ['noteStopping'] },
        'worker.resumed': { actions: ['forgetStopping'] },
      },
    },
    waiting: {
      description: 'A temporary error: the same command is run again after a delay.',
      meta: {
        spec: ['B06', 'B53'],
        ignores: {
          'command.added': 'it stands behind the one that waits',
          'worker.resumed': 'nothing is suspended',
        },
      },
      after: { retry: { target: 'running', actions: ['growDelay'] } },
      on: {
        'commands.changed': { target: 'running', actions: ['resetDelay'] },
        'worker.suspended': 'suspended',
        'network.online': { target: 'running', actions: ['resetDelay'] },
      },
    },
    offline: {
      description: 'The device is offline: nothing is run until it is online again, or a long time has passed.',
      meta: {
        spec: ['B68'],
        ignores: {
          'command.added': 'it stands behind the one that waits',
          'worker.resumed': 'nothing is suspended',
        },
      },
      after: { offlineRetry: { target: 'running', actions: ['insist'] } },
      on: {
        'commands.changed': 'running',
        'worker.suspended': 'suspended',
        'network.online': { target: 'running', actions: ['resetDelay'] },
      },
    },
    suspended: {
      description: 'The agent is suspended; commands are in rows.',
      meta: {
        spec: ['B04', 'B06'],
        ignores: {
          'command.added': 'it is found after the resume',
          'commands.changed': 'they are read after the resume',
          'network.online': 'the first run after the resume does not wait',
          'worker.suspended': 'suspended already',
        },
      },
      on: { 'worker.resumed': 'running' },
    },
    idle: {
      description: 'No command is left: the worker can be thrown away.',
      meta: {
        spec: ['B50'],
        ignores: {
          'commands.changed': 'no command is left',
          'worker.suspended': 'nothing runs',
          'worker.resumed': 'nothing is suspended',
          'network.online': 'no command is left',
        },
      },
      on: { 'command.added': 'running' },
    },
  },
})
