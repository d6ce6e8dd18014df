import { follow } from '../runtime/follow.js'
import type { Outcome } from '../runtime/unit.js'
import { rcvQueues } from '../store/agent/connections.js'
import { patch } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { decideConnection, refusal } from './decideConnection.js'
import { createdQueue } from './queues.js'
import { findRcvQueue, type RcvQueueRow, rcvQueuesOf, requireConnection } from './rows.js'

/**
 * suspendConnection: OFF for each queue that a router has made (B91). The other party’s next message is refused by the router; what is in
 * the queue is still received, and the connection stays until it is deleted. SMP knows no way back. Rejects with the first router’s error;
 * a repeated call does the rest.
 */
export const suspendConnection = async (
  context: AgentContext,
  { connectionId }: ParsedParamsOf<'suspendConnection'>,
  { urgency }: Calling,
): Promise<ResultOf<'suspendConnection'>> => {
  const queues = await queuesToSuspend(context, connectionId)
  const outcomes = await Promise.allSettled(queues.map(queue => switchOff(context, queue, urgency)))
  const suspended = queues.filter((_, index) => outcomes[index]?.status === 'fulfilled')
  await storeSuspended(context, connectionId, suspended)
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  return {}
}

const queuesToSuspend = (context: AgentContext, connectionId: string): Promise<readonly RcvQueueRow[]> =>
  context.runtime.run({
    name: 'suspendConnection',
    locks: [connectionId],
    compute: (state): Outcome<readonly RcvQueueRow[]> => {
      const connection = requireConnection(state, connectionId)
      const made = rcvQueuesOf(state, connectionId).filter(queue => queue.rcvId !== null)
      let result: readonly RcvQueueRow[] = []
      const event = { type: 'connection.suspend', receives: made.length > 0 } as const
      follow(decideConnection(state, connection, event), {
        suspendQueues: () => {
          result = made
          return {}
        },
        ...refusal(connectionId),
      })
      return { result }
    },
  })

const switchOff = async (
  { sessions, operations }: AgentContext,
  queue: RcvQueueRow,
  urgency: Calling['urgency'],
): Promise<void> => {
  const { rcvId, rcvPrivateKey } = createdQueue(queue)
  const key = { algorithm: 'ed25519', privateKey: rcvPrivateKey } as const
  await operations.during('sending', () =>
    sessions.request(queue, { command: { type: 'OFF' }, entityId: rcvId, key }, urgency),
  )
}

const storeSuspended = (
  context: AgentContext,
  connectionId: string,
  queues: readonly RcvQueueRow[],
): Promise<undefined> =>
  context.runtime.run({
    name: 'suspendConnection.done',
    locks: [connectionId],
    compute: state => ({
      result: undefined,
      changes: queues
        .filter(({ queueId }) => findRcvQueue(state, connectionId, queueId)?.suspended === false)
        .map(({ queueId }) => patch(rcvQueues, { queueId }, { suspended: true })),
    }),
  })
