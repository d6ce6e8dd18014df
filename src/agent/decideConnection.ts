import { connectionMachine, type ConnectionEvent } from '../../machines/connection.js'
import { CallError } from '../errors.js'
import { decide, type Decision } from '../runtime/decide.js'
import type { Doings, Effects } from '../runtime/follow.js'
import type { NewEvent, UnitState } from '../runtime/unit.js'
import { confirmations, connections } from '../store/agent/connections.js'
import { type Change, patch, removeWhere } from '../store/index.js'
import { type ConnectionRow, eventOf } from './rows.js'

/** Asks the connection machine what an event means for a connection in its present state. */
export const decideConnection = (
  state: UnitState,
  { connectionId, status }: Pick<ConnectionRow, 'connectionId' | 'status'>,
  event: ConnectionEvent,
): Decision => {
  const decision = decide(connectionMachine, status, {}, event)
  state.traced('connection', connectionId, event.type, decision)
  return decision
}

/** The new state of the connection, if it has one. */
export const statusChange = (connectionId: string, { from, to }: Decision): Change[] =>
  from === to ? [] : [patch(connections, { connectionId }, { status: to })]

/** The machine’s refusal as the error of the call. Throws CallError `CMD_PROHIBITED`. */
export const refusal = (connectionId: string): Pick<Doings, 'refuse'> => ({
  refuse: ({ reason }) => {
    throw new CallError('CMD_PROHIBITED', String(reason), { field: connectionId })
  },
})

/**
 * notifyCon: the connection is complete, and the confirmation that waited for it goes. `pqEncryption`: whether the message that completes it
 * was encrypted post-quantum (B19).
 */
export const complete = (connection: ConnectionRow, pqEncryption: boolean): Effects => ({
  changes: [removeWhere(confirmations, { connectionId: connection.connectionId })],
  events: [eventOf(connection, 'CON', { pqEncryption })],
})

/** What a handshake that a router has ended is told as. */
export const ended = (connection: ConnectionRow): Pick<Doings, 'notifyNotAvailable' | 'notifyNotAccepted'> => ({
  notifyNotAvailable: () => ({ events: [notAvailable(connection)] }),
  notifyNotAccepted: () => ({
    events: [errorOf(connection, 'CONN_NOT_ACCEPTED', 'the other party has not accepted the connection')],
  }),
})

/** A message was refused for good (B42). */
export const notAvailable = (connection: ConnectionRow): NewEvent =>
  errorOf(connection, 'CONN_NOT_AVAILABLE', 'the other party’s queue is gone')

const errorOf = (connection: ConnectionRow, code: string, message: string): NewEvent =>
  eventOf(connection, 'ERR', { error: { code, message, field: connection.connectionId } })
