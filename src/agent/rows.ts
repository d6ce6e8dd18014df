import { CallError, InternalError } from '../errors.js'
import type { NewEvent, UnitState } from '../runtime/unit.js'
import { connections, rcvQueues, skippedKeys, sndQueues } from '../store/agent/connections.js'
import type { Json, Row } from '../store/index.js'

export type ConnectionRow = Row<typeof connections>
export type RcvQueueRow = Row<typeof rcvQueues>
export type SndQueueRow = Row<typeof sndQueues>

/** The connection of a locked aggregate, or undefined. */
export const findConnection = (state: UnitState, connectionId: string): ConnectionRow | undefined =>
  state.rows(connections, connectionId)[0]

/** The connection of a locked aggregate. Throws CallError `CONN_NOT_FOUND`. */
export const requireConnection = (state: UnitState, connectionId: string): ConnectionRow => {
  const row = findConnection(state, connectionId)
  if (row !== undefined) return row
  throw new CallError('CONN_NOT_FOUND', 'there is no such connection', {
    field: 'connectionId',
    hint: 'listConnections names those that exist',
  })
}

/** States of a connection that the user has deleted: it may still deliver what waits, and nothing else becomes of it. */
export const deletedStatuses: readonly string[] = ['deleted', 'closing']
export const isDeleted = ({ status }: Pick<ConnectionRow, 'status'>): boolean => deletedStatuses.includes(status)

export const rcvQueuesOf = (state: UnitState, connectionId: string): readonly RcvQueueRow[] =>
  state.rows(rcvQueues, connectionId)

export const findRcvQueue = (state: UnitState, connectionId: string, queueId: string): RcvQueueRow | undefined =>
  rcvQueuesOf(state, connectionId).find(queue => queue.queueId === queueId)

export const sndQueuesOf = (state: UnitState, connectionId: string): readonly SndQueueRow[] =>
  state.rows(sndQueues, connectionId)

export const findSndQueue = (state: UnitState, connectionId: string, queueId: string): SndQueueRow | undefined =>
  sndQueuesOf(state, connectionId).find(queue => queue.queueId === queueId)

/** The queue that messages go to: the primary one, or its replacement once the other party uses that. Throws InternalError when there is none. */
export const usedSndQueue = (state: UnitState, connectionId: string): SndQueueRow => {
  const queues = sndQueuesOf(state, connectionId)
  const old = queues.find(row => row.switchStatus === 'sendingQTEST')
  const queue = queues.find(row => (old === undefined ? row.primary : row.replaces === old.queueId))
  if (queue === undefined) throw new InternalError('connection has no send queue', { field: connectionId })
  return queue
}

export const skippedKeysOf = (state: UnitState, connectionId: string): ReadonlyArray<Row<typeof skippedKeys>> =>
  state.rows(skippedKeys, connectionId)

/** A new event of a connection. */
export const eventOf = (
  connection: { readonly connectionId: string; readonly userId: number },
  type: string,
  payload: Json,
  more: Partial<Pick<NewEvent, 'messageId' | 'body' | 'correlationId'>> = {},
): NewEvent => ({
  network: 'simplex',
  userId: connection.userId,
  connectionId: connection.connectionId,
  type,
  payload,
  ...more,
})
