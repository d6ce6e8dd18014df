import type { CommandOutcome } from '../../machines/commandWorker.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { Outcome } from '../runtime/unit.js'
import { commands, confirmations, connections, rcvQueues, skippedKeys, sndQueues } from '../store/agent/connections.js'
import { deliveries, rcvMessages, sndMessages } from '../store/agent/messages.js'
import { type Change, patch, remove, removeWhere } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { type CommandRow, storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection } from './decideConnection.js'
import { errorFact } from './events.js'
import { type ConnectionRow, eventOf, findConnection, type RcvQueueRow, rcvQueuesOf, sndQueuesOf } from './rows.js'

/**
 * deleteConnection: what waits is dropped and the deletion of the queues at their routers is stored, in one commit (B90). DEL_RCVQ
 * tells of each queue, DEL_CONN of the end. A repeated call changes nothing, nor does one for a connection that is gone.
 */
export const deleteConnection = async (
  context: AgentContext,
  { connectionId }: ParsedParamsOf<'deleteConnection'>,
): Promise<ResultOf<'deleteConnection'>> => {
  const { queues, sndQueueIds } = await context.runtime.run({
    name: 'deleteConnection',
    locks: [connectionId],
    compute: (state): Outcome<{ queues: readonly RcvQueueRow[]; sndQueueIds: readonly string[] }> => {
      const connection = findConnection(state, connectionId)
      if (connection === undefined || connection.status === 'deleted')
        return { result: { queues: [], sndQueueIds: [] } }
      const decision = decideConnection(state, connection, { type: 'connection.delete' })
      const queues = rcvQueuesOf(state, connectionId)
      const sndQueueIds = sndQueuesOf(state, connectionId).map(queue => queue.queueId)
      const effects = follow(decision, {
        deleteQueues: () => queueDeletions(context, connection, queues, state.now),
      })
      const changes = [
        removeWhere(commands, { connectionId }),
        removeWhere(deliveries, { connectionId }),
        patch(connections, { connectionId }, { status: decision.to, link: null, x3dhKeys: null, ratchet: null }),
        ...effects.changes,
      ]
      return { result: { queues, sndQueueIds }, ...effects, changes }
    },
  })
  for (const queue of queues) context.sessions.remove(queue)
  for (const queueId of sndQueueIds) context.forgetDelivery(queueId)
  context.inbox.forget(connectionId)
  return {}
}

// DEL for the queues that routers have made; without any the connection is gone at once.
const queueDeletions = (
  context: AgentContext,
  connection: ConnectionRow,
  queues: readonly RcvQueueRow[],
  now: number,
): Effects => {
  const { connectionId, userId } = connection
  const known = queues.filter(queue => queue.rcvId !== null)
  if (known.length === 0) return { changes: purge(connectionId), events: [eventOf(connection, 'DEL_CONN', {})] }
  const deletions = known.map(({ router, queueId }) =>
    storedCommand(context, { connectionId, userId, router, type: 'deleteQueue', argument: { queueId }, now }),
  )
  return { changes: deletions.flatMap(({ changes }) => changes), wakes: deletions.map(({ wake }) => wake) }
}

/** A queue is deleted at its router, or given up with an error: its row goes, and with the last one the connection. */
export const queueGone = (
  context: AgentContext,
  command: CommandRow,
  queue: RcvQueueRow,
  error?: unknown,
): Promise<CommandOutcome> =>
  context.runtime.run({
    name: 'deleteQueue',
    internal: true,
    locks: [command.connectionId],
    compute: (state): Outcome<CommandOutcome> => {
      const { connectionId } = command
      const connection = findConnection(state, connectionId)
      const changes: Change[] = [
        remove(commands, { commandId: command.commandId }),
        remove(rcvQueues, { queueId: queue.queueId }),
      ]
      if (connection === undefined) return { result: 'done', changes }
      const payload = { router: queue.router, ...(error === undefined ? {} : { error: errorFact(error) }) }
      const events = [eventOf(connection, 'DEL_RCVQ', payload)]
      const left = rcvQueuesOf(state, connectionId).some(row => row.queueId !== queue.queueId && row.rcvId !== null)
      if (connection.status === 'deleted' && !left) {
        changes.push(...purge(connectionId))
        events.push(eventOf(connection, 'DEL_CONN', {}))
      }
      return { result: error === undefined ? 'done' : 'failed', changes, events }
    },
  })

/** Every row of a connection but its unread events. */
export const purge = (connectionId: string): Change[] => [
  removeWhere(commands, { connectionId }),
  removeWhere(deliveries, { connectionId }),
  removeWhere(sndMessages, { connectionId }),
  removeWhere(rcvMessages, { connectionId }),
  removeWhere(skippedKeys, { connectionId }),
  removeWhere(confirmations, { connectionId }),
  removeWhere(rcvQueues, { connectionId }),
  removeWhere(sndQueues, { connectionId }),
  remove(connections, { connectionId }),
]
