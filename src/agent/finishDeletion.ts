import type { CommandOutcome } from '../../machines/commandWorker.js'
import { CallError } from '../errors.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { NewEvent, Read, UnitState } from '../runtime/unit.js'
import {
  commands,
  confirmations,
  connections,
  handshakes,
  invitations,
  ratchetKeyHashes,
  rcvQueues,
  skippedKeys,
  sndQueues,
} from '../store/agent/connections.js'
import { invitationLinks, shortLinks } from '../store/agent/links.js'
import { deliveries, rcvMessages, sndMessages } from '../store/agent/messages.js'
import { type Change, remove, removeWhere } from '../store/index.js'
import { type CommandRow, commandDone, endCommand, noRouter } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection, statusChange } from './decideConnection.js'
import { errorFact } from './events.js'
import type { SndMessageRow } from './outgoing.js'
import { type ConnectionRow, eventOf, findConnection, type RcvQueueRow, rcvQueuesOf, sndQueuesOf } from './rows.js'
import { readSharing, sharingGone } from './sharedBodies.js'

/** A queue is deleted at its router, or given up with an error: its row goes, and with the last one the connection. */
export const queueGone = (
  context: AgentContext,
  command: CommandRow,
  queue: RcvQueueRow,
  error?: unknown,
): Promise<CommandOutcome> =>
  endCommand<CommandOutcome>(context, command, {
    name: 'deleteQueue',
    gone: 'done',
    compute: state => {
      const { connectionId } = command
      const connection = findConnection(state, connectionId)
      const changes: Change[] = [remove(rcvQueues, { queueId: queue.queueId })]
      if (connection === undefined) return { result: 'done', changes }
      const payload = { router: queue.router, ...(error === undefined ? {} : { error: errorFact(error) }) }
      const events = [eventOf(connection, 'DEL_RCVQ', payload)]
      const left = rcvQueuesOf(state, connectionId).some(row => row.queueId !== queue.queueId && row.rcvId !== null)
      const gone = connection.status === 'deleted' && !left ? connectionGone(connection) : {}
      return {
        result: error === undefined ? 'done' : 'failed',
        changes: [...changes, ...(gone.changes ?? [])],
        events: [...events, ...(gone.events ?? [])],
      }
    },
  })

/** The router whose worker ends the deletion of a connection: the one that its messages wait for. */
export const deletionRouter = (state: UnitState, connectionId: string): string =>
  sndQueuesOf(state, connectionId).find(queue => queue.primary)?.router ?? noRouter

/**
 * The end of a deletion that waits for deliveries (B90): when none is left, or when they have waited for too long, which MERRS tells of.
 * Until then the command stays; whoever ends a delivery wakes its worker.
 */
export const finishDeletion = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const { connectionId } = command
  const isLate = context.clock.now() - command.createdAt >= context.config.deleteDeliveryTimeoutMs
  let droppedQueueIds: readonly string[] = []
  const outcome = await context.runtime.run({
    name: 'finishDeletion',
    internal: true,
    locks: [connectionId],
    load: read => readWaiting(read, command, isLate),
    compute: (state, waiting) => {
      const connection = findConnection(state, connectionId)
      if (waiting === undefined || connection?.status !== 'closing')
        return { result: 'done' as const, changes: [commandDone(command)] }
      if (waiting.any && !isLate) return { result: 'retry' as const }
      const decision = decideConnection(state, connection, { type: 'connection.delete', waiting: false })
      const { changes, events } = follow(decision, {
        dropDeliveries: () => {
          droppedQueueIds = sndQueuesOf(state, connectionId).map(({ queueId }) => queueId)
          return {
            changes: [removeWhere(deliveries, { connectionId }), ...sharingGone(connectionId, waiting.sharing)],
            events: undelivered(connection, waiting.messageIds),
          }
        },
        finishDeletion: () =>
          rcvQueuesOf(state, connectionId).some(queue => queue.rcvId !== null) ? {} : connectionGone(connection),
      })
      return {
        result: 'done' as const,
        changes: [commandDone(command), ...statusChange(connectionId, decision), ...changes],
        events,
      }
    },
  })
  for (const queueId of droppedQueueIds) context.forgetDelivery(queueId)
  return outcome
}

interface Waiting {
  readonly any: boolean
  /** Messages of the application among them, if they are to be told of. */
  readonly messageIds: readonly number[]
  /** Those whose body other connections share. */
  readonly sharing: readonly SndMessageRow[]
}

// Undefined when the command was taken away meanwhile.
const readWaiting = async (
  read: Read,
  { commandId, connectionId }: CommandRow,
  isLate: boolean,
): Promise<Waiting | undefined> => {
  const [[stored], rows] = await Promise.all([
    read(commands, { where: { commandId } }),
    read(deliveries, { where: { connectionId }, orderBy: ['messageId'], ...(isLate ? {} : { limit: 1 }) }),
  ])
  if (stored === undefined) return undefined
  if (!isLate || rows.length === 0) return { any: rows.length > 0, messageIds: [], sharing: [] }
  const messages = await read(sndMessages, {
    where: { connectionId, type: 'A_MSG', messageId: { in: rows.map(row => row.messageId) } },
    orderBy: ['messageId'],
  })
  const sharing = await readSharing(read, connectionId)
  return { any: true, messageIds: messages.map(({ messageId }) => messageId), sharing }
}

const undelivered = (connection: ConnectionRow, messageIds: readonly number[]): NewEvent[] => {
  if (messageIds.length === 0) return []
  const error = new CallError('CONN_DELETED', 'the connection was deleted, and the message could not be delivered', {
    field: connection.connectionId,
  })
  return [eventOf(connection, 'MERRS', { messageIds, error: errorFact(error) })]
}

/** The end of a connection. */
export const connectionGone = (connection: ConnectionRow): Effects => ({
  changes: purge(connection.connectionId),
  events: [eventOf(connection, 'DEL_CONN', {})],
})

/** Every row of a connection but its unread events, and the calls that are still to be answered. */
export const purge = (connectionId: string): Change[] => [
  removeWhere(commands, { connectionId, type: { not: 'call' } }),
  removeWhere(deliveries, { connectionId }),
  removeWhere(sndMessages, { connectionId }),
  removeWhere(rcvMessages, { connectionId }),
  removeWhere(skippedKeys, { connectionId }),
  removeWhere(ratchetKeyHashes, { connectionId }),
  removeWhere(confirmations, { connectionId }),
  remove(handshakes, { connectionId }),
  remove(shortLinks, { connectionId }),
  removeWhere(invitationLinks, { connectionId }),
  removeWhere(invitations, { connectionId, accepted: false }),
  removeWhere(invitations, { acceptedBy: connectionId, accepted: true }),
  removeWhere(rcvQueues, { connectionId }),
  removeWhere(sndQueues, { connectionId }),
  remove(connections, { connectionId }),
]
