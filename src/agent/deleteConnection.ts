import { CallError } from '../errors.js'
import { follow } from '../runtime/follow.js'
import type { NewEvent, Outcome, Read, UnitState } from '../runtime/unit.js'
import { commands, connections, handshakes, invitations } from '../store/agent/connections.js'
import { shortLinks } from '../store/agent/links.js'
import { deliveries } from '../store/agent/messages.js'
import { patch, remove, removeWhere } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { type CommandRow, commandDone, commandsChanged, storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection } from './decideConnection.js'
import { errorFact } from './events.js'
import { connectionGone, deletionRouter } from './finishDeletion.js'
import type { SndMessageRow } from './outgoing.js'
import { type ConnectionRow, eventOf, findConnection, type RcvQueueRow, rcvQueuesOf, sndQueuesOf } from './rows.js'
import { readSharing, sharingGone } from './sharedBodies.js'
import { storedCallOf } from './storeCall.js'

/**
 * deleteConnection: what is stored for the connection is dropped and the deletion of the queues at their routers is stored, in one commit
 * (B90). With `waitDelivery` the waiting messages stay until they are delivered, at most `deleteDeliveryTimeoutMs`. DEL_RCVQ tells of
 * each queue, DEL_CONN of the end. A repeated call changes nothing, nor does one for a connection that is gone.
 */
export const deleteConnection = async (
  context: AgentContext,
  { connectionId, waitDelivery }: ParsedParamsOf<'deleteConnection'>,
): Promise<ResultOf<'deleteConnection'>> => {
  const { queues, droppedQueueIds } = await context.runtime.run({
    name: 'deleteConnection',
    locks: [connectionId],
    load: read => readStored(read, connectionId),
    compute: (state, stored) => deletion(context, state, { connectionId, waitDelivery, stored }),
  })
  for (const queue of queues) context.sessions.remove(queue)
  for (const queueId of droppedQueueIds) context.forgetDelivery(queueId)
  context.inbox.forget(connectionId)
  return {}
}

/** Connections that are deleted at the same time. */
const deletedTogether = 500

/**
 * deleteConnections: each as deleteConnection, in the order of their ids; the writer merges their commits. One that fails answers for
 * itself.
 */
export const deleteConnections = async (
  context: AgentContext,
  { connectionIds, waitDelivery }: ParsedParamsOf<'deleteConnections'>,
): Promise<ResultOf<'deleteConnections'>> => {
  const sorted = [...new Set(connectionIds)].sort()
  const errors = new Map<string, object>()
  const deleteOne = async (connectionId: string): Promise<void> => {
    try {
      await deleteConnection(context, { connectionId, waitDelivery })
    } catch (error) {
      errors.set(connectionId, errorFact(error))
    }
  }
  for (let start = 0; start < sorted.length; start += deletedTogether) {
    await Promise.all(sorted.slice(start, start + deletedTogether).map(deleteOne))
  }
  return {
    results: connectionIds.map(connectionId => {
      const error = errors.get(connectionId)
      return error === undefined ? { connectionId, ok: true } : { connectionId, ok: false, error }
    }),
  }
}

/** What is stored for a connection and not loaded with it. */
interface Stored {
  readonly commands: readonly CommandRow[]
  readonly waiting: boolean
  /** Messages that wait with a body that other connections share. */
  readonly sharing: readonly SndMessageRow[]
}

const readStored = async (read: Read, connectionId: string): Promise<Stored> => {
  const [rows, waiting, sharing] = await Promise.all([
    read(commands, { where: { connectionId }, orderBy: ['commandId'] }),
    read(deliveries, { where: { connectionId }, limit: 1 }),
    readSharing(read, connectionId),
  ])
  return { commands: rows, waiting: waiting.length > 0, sharing }
}

interface Deleted {
  readonly queues: readonly RcvQueueRow[]
  /** Send queues whose deliveries are given up. */
  readonly droppedQueueIds: readonly string[]
}

interface Deletion {
  readonly connectionId: string
  readonly waitDelivery: boolean
  readonly stored: Stored
}

const deletion = (
  context: AgentContext,
  state: UnitState,
  { connectionId, waitDelivery, stored }: Deletion,
): Outcome<Deleted> => {
  const connection = findConnection(state, connectionId)
  if (connection === undefined) return { result: { queues: [], droppedQueueIds: [] } }
  const waiting = waitDelivery && stored.waiting
  const decision = decideConnection(state, connection, { type: 'connection.delete', waiting })
  if (decision.from === decision.to) return { result: { queues: [], droppedQueueIds: [] } }
  const queues = rcvQueuesOf(state, connectionId)
  const { userId } = connection
  let droppedQueueIds: readonly string[] = []
  const { changes, events, wakes } = follow(decision, {
    dropCommands: () => {
      const dropped = stored.commands.filter(row => !isDeletion(row))
      return {
        changes: [...dropped.map(commandDone), remove(handshakes, { connectionId })],
        events: dropped.flatMap(row => unansweredCall(connection, row)),
        wakes: dropped.map(commandsChanged),
      }
    },
    dropInvitations: () => ({ changes: [removeWhere(invitations, { connectionId, accepted: false })] }),
    dropDeliveries: () => {
      droppedQueueIds = sndQueuesOf(state, connectionId).map(({ queueId }) => queueId)
      return { changes: [removeWhere(deliveries, { connectionId }), ...sharingGone(connectionId, stored.sharing)] }
    },
    // DEL for the queues that routers have made; without any the connection may be gone at once.
    deleteQueues: () => {
      const known = queues.filter(queue => queue.rcvId !== null)
      const deletions = known.map(({ router, queueId }) =>
        storedCommand(context, {
          connectionId,
          userId,
          router,
          type: 'deleteQueue',
          argument: { queueId },
          now: state.now,
        }),
      )
      const gone = known.length === 0 && decision.to === 'deleted' ? connectionGone(connection) : {}
      return {
        ...gone,
        changes: [...(gone.changes ?? []), ...deletions.flatMap(({ changes }) => changes)],
        wakes: deletions.map(({ wake }) => wake),
      }
    },
    // Stored behind the deletions of the queues, which do not wait.
    commandFinishDeletion: () => {
      const { changes, wake } = storedCommand(context, {
        connectionId,
        userId,
        router: deletionRouter(state, connectionId),
        type: 'finishDeletion',
        argument: {},
        now: state.now,
      })
      return { changes, wakes: [wake] }
    },
    // Deleted at once after all: the queues’ own commands go on, or are done.
    finishDeletion: () => {
      const ending = stored.commands.filter(({ type }) => type === 'finishDeletion')
      const gone = queues.some(queue => queue.rcvId !== null) ? {} : connectionGone(connection)
      return {
        ...gone,
        changes: [...ending.map(commandDone), ...(gone.changes ?? [])],
        wakes: ending.map(commandsChanged),
      }
    },
  })
  const secrets = { status: decision.to, link: null, shortLink: null, x3dhKeys: null, ratchet: null }
  return {
    result: { queues, droppedQueueIds },
    changes: [patch(connections, { connectionId }, secrets), remove(shortLinks, { connectionId }), ...changes],
    events,
    wakes,
  }
}

// A call that wants the same has its answer when its turn comes, also the one that is being run.
const isDeletion = (row: CommandRow): boolean => row.type === 'call' && storedCallOf(row).call === 'deleteConnection'

// Whoever waits for the answer of a stored call gets one.
const unansweredCall = (connection: ConnectionRow, { type, correlationId }: CommandRow): NewEvent[] =>
  type === 'call' && correlationId !== null
    ? [eventOf(connection, 'ERR', { error: errorFact(deletedFirst(connection.connectionId)) }, { correlationId })]
    : []

const deletedFirst = (connectionId: string): CallError =>
  new CallError('CMD_PROHIBITED', 'the connection was deleted before the call was done', { field: connectionId })
