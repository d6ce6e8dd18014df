import {
  isSendProhibited,
  type RatchetSyncEvent,
  ratchetSyncMachine,
  type SyncNeed,
} from '../../machines/ratchetSync.js'
import { asDuologueError } from '../errors.js'
import { decide, type Decision } from '../runtime/decide.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { NewEvent, UnitState } from '../runtime/unit.js'
import type { Change } from '../store/index.js'
import { patchConnection } from './arrival.js'
import { errorFact } from './events.js'
import { type ConnectionRow, eventOf } from './rows.js'

/** Whether the ratchet allows this side to say anything now (B76, B84). */
export const isSynchronized = ({ ratchetSync }: Pick<ConnectionRow, 'ratchetSync'>): boolean =>
  !isSendProhibited(ratchetSync)

/** What an event means for the synchronisation of a connection’s ratchet: the ratchetSync machine decides. */
export const decideSync = (state: UnitState, connection: ConnectionRow, event: RatchetSyncEvent): Decision => {
  const decision = decide(ratchetSyncMachine, connection.ratchetSync, {}, event)
  state.traced('ratchetSync', connection.connectionId, event.type, decision)
  return decision
}

/** The new state of the synchronisation, if it has one. */
export const syncChange = (connection: ConnectionRow, { from, to }: Decision): Change[] =>
  from === to ? [] : [patchConnection(connection, { ratchetSync: to })]

/** RSYNC: the state of the synchronisation, and the error that led to it. */
export const syncEvent = (connection: ConnectionRow, state: string, error?: unknown): NewEvent =>
  eventOf(connection, 'RSYNC', { state: toldState(state), ...(error === undefined ? {} : { error: errorFact(error) }) })

/** Why a synchronisation is required is not the application’s concern: RESTORED tells of a backup. */
export const toldState = (state: string): string => (state === 'restored' ? 'required' : state)

/**
 * What an error of decryption says about the ratchet (B36); undefined for a message that is none of a ratchet. A key that was used up
 * for another message counts as an earlier one: the other party’s ratchet has gone back.
 */
const needs: Readonly<Record<string, SyncNeed>> = {
  CRYPTO_AES: 'allowed',
  CRYPTO_EARLIER: 'allowed',
  CRYPTO_DUPLICATE: 'allowed',
  CRYPTO_HEADER: 'required',
  CRYPTO_TOO_MANY_SKIPPED: 'required',
  CRYPTO_KEM: 'required',
}

/** A message that could not be decrypted, and is none that was received before (B36): RSYNC tells of it where it changes anything, else ERR. */
export const undecryptable = (state: UnitState, connection: ConnectionRow, error: unknown): Required<Effects> => {
  const told = { changes: [], events: [eventOf(connection, 'ERR', { error: errorFact(error) })], wakes: [] }
  const need = needs[asDuologueError(error).code]
  if (need === undefined) return told
  const decision = decideSync(state, connection, { type: 'message.undecryptable', need })
  if (decision.intents.length === 0) return told
  const effects = follow(decision, {
    notifySyncError: () => ({ events: [syncEvent(connection, decision.to, error)] }),
  })
  return { ...effects, changes: [...syncChange(connection, decision), ...effects.changes] }
}
