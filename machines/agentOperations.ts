import { assign, setup } from 'xstate'
import { type StateMeta, stub } from './stub.js'

/** Kinds of work, in the order in which a suspension ends them (B04). */
export const operations = ['receiving', 'delivery', 'sending', 'database'] as const
export type Operation = (typeof operations)[number]

export interface AgentOperationsContext {
  /** How many of each kind are under way. */
  inProgress: Record<Operation, number>
  /** Longest time that a gradual suspension may take, in ms. */
  maxDelay: number
}

export type AgentOperationsEvent =
  | { type: 'operation.began'; operation: Operation }
  | { type: 'operation.ended'; operation: Operation }
  /** `maxDelay` 0: at once, without waiting for what is under way. `inProgress`: what is under way of each kind. */
  | { type: 'agent.suspend'; maxDelay: number; inProgress: Record<Operation, number> }
  | { type: 'agent.foreground' }

const stopAll = operations.map(operation => ({ type: 'stopOperation' as const, params: { operation } }))
const resumeAll = operations
  .toReversed()
  .map(operation => ({ type: 'resumeOperation' as const, params: { operation } }))
const stepOf = (operation: Operation, next: string) => ({
  always: { guard: { type: 'isIdle' as const, params: { operation } }, target: next },
})

/**
 * What the agent as a whole may do (worker machine): a suspension ends receiving, delivery, sending and database work one after
 * the other, each when nothing of the kind before is under way; after a timeout receiving and delivery are not waited for.
 */
export const agentOperationsMachine = setup({
  types: {} as { context: AgentOperationsContext; events: AgentOperationsEvent; meta: StateMeta },
  actions: {
    count: assign(({ context, event }) =>
      event.type === 'operation.began' || event.type === 'operation.ended'
        ? {
            inProgress: {
              ...context.inProgress,
              [event.operation]: Math.max(
                0,
                context.inProgress[event.operation] + (event.type === 'operation.began' ? 1 : -1),
              ),
            },
          }
        : {},
    ),
    takeCounts: assign(({ event }) =>
      event.type === 'agent.suspend' ? { maxDelay: event.maxDelay, inProgress: event.inProgress } : {},
    ),
    stopOperation: stub('stopOperation') as (_: unknown, params: { operation: Operation }) => void,
    resumeOperation: stub('resumeOperation') as (_: unknown, params: { operation: Operation }) => void,
    notifySuspended: stub('notifySuspended'),
  },
  guards: {
    isIdle: ({ context }, params: { operation: Operation }) => context.inProgress[params.operation] === 0,
    atOnce: ({ event }) => event.type === 'agent.suspend' && event.maxDelay === 0,
  },
  delays: { suspendTimeout: ({ context }) => context.maxDelay },
}).createMachine({
  id: 'agentOperations',
  description: 'What the agent as a whole may do',
  initial: 'foreground',
  context: { inProgress: { receiving: 0, delivery: 0, sending: 0, database: 0 }, maxDelay: 0 },
  states: {
    foreground: {
      description: 'Everything runs.',
      meta: {
        spec: ['B01', 'B04'],
        ignores: {
          'agent.foreground': 'it is in the foreground',
          'operation.began': 'counted by the agent; a suspension is told of the counts',
          'operation.ended': 'counted by the agent; a suspension is told of the counts',
        },
      },
      on: {
        'agent.suspend': [
          { guard: 'atOnce', target: 'suspended' },
          { target: 'suspending', actions: ['takeCounts'] },
        ],
      },
    },
    suspending: {
      description: 'Work that is under way is ended kind by kind.',
      initial: 'network',
      meta: { spec: ['B04', 'B05', 'B06'] },
      on: {
        'operation.began': { actions: ['count'] },
        'operation.ended': { actions: ['count'] },
        'agent.suspend': [{ guard: 'atOnce', target: 'suspended' }, {}],
        'agent.foreground': { target: 'foreground', actions: resumeAll },
      },
      states: {
        network: {
          description: 'What comes from or goes to other parties; it is waited for only so long.',
          initial: 'receiving',
          meta: { spec: ['B04', 'B05'] },
          after: { suspendTimeout: 'sending' },
          states: {
            receiving: {
              description: 'Nothing new is received; messages that are being processed are finished.',
              meta: { spec: ['B04'] },
              entry: [{ type: 'stopOperation', params: { operation: 'receiving' } }],
              ...stepOf('receiving', 'delivery'),
            },
            delivery: {
              description: 'Deliveries that were counted are finished.',
              meta: { spec: ['B04', 'B05'] },
              entry: [{ type: 'stopOperation', params: { operation: 'delivery' } }],
              ...stepOf('delivery', '#agentOperations.suspending.sending'),
            },
          },
        },
        sending: {
          description: 'Commands to routers are finished.',
          meta: { spec: ['B04', 'B06'] },
          entry: [{ type: 'stopOperation', params: { operation: 'sending' } }],
          ...stepOf('sending', 'database'),
        },
        database: {
          description: 'Units of work are finished.',
          meta: { spec: ['B04'] },
          entry: [{ type: 'stopOperation', params: { operation: 'database' } }],
          always: {
            guard: { type: 'isIdle', params: { operation: 'database' } },
            target: '#agentOperations.suspended',
            actions: ['notifySuspended'],
          },
        },
      },
    },
    suspended: {
      description: 'Nothing runs; everything that matters is in rows.',
      entry: stopAll,
      meta: {
        spec: ['B04'],
        ignores: {
          'agent.suspend': 'suspended already',
          'operation.began': 'refused at its call: nothing begins while suspended',
          'operation.ended': 'nothing waits for it: it was under way when the agent was suspended at once',
        },
      },
      on: { 'agent.foreground': { target: 'foreground', actions: resumeAll } },
    },
  },
})
