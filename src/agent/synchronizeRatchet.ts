import { CallError } from '../errors.js'
import { encodeE2ePrivateKeys } from '../ratchet/index.js'
import { follow } from '../runtime/follow.js'
import type { Outcome, UnitState } from '../runtime/unit.js'
import { sndMessages } from '../store/agent/messages.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { patchConnection } from './arrival.js'
import type { AgentContext } from './context.js'
import { refusal } from './decideConnection.js'
import { readBeforeKey } from './movableDeliveries.js'
import { encryptionWith, enqueueRatchetKey } from './outgoing.js'
import { newRatchetKeys, ratchetKeyQueues } from './ratchetKeys.js'
import { decideSync, syncChange, syncEvent } from './ratchetSync.js'
import { type ConnectionRow, findConnection, requireConnection, sndQueuesOf } from './rows.js'

/**
 * synchronizeRatchet: new keys are stored and sent to the other party, whose answer makes a new ratchet (B80). RSYNC tells of the states; until
 * `ok` nothing of the application is sent. Without `force` only where messages did not decrypt. A repeated call under the same
 * idempotency key does nothing. With `pq` its keys have a KEM key, if the versions allow it (B19). Throws CallError `CMD_PROHIBITED`, KemError.
 */
export const synchronizeRatchet = (
  context: AgentContext,
  { connectionId, force, pq, idempotencyKey }: ParsedParamsOf<'synchronizeRatchet'>,
): Promise<ResultOf<'synchronizeRatchet'>> =>
  context.runtime.run({
    name: 'synchronizeRatchet',
    locks: [connectionId],
    load: async (read, state) => {
      const connection = findConnection(state, connectionId)
      const known =
        idempotencyKey !== undefined &&
        (await read(sndMessages, { where: { connectionId, idempotencyKey } })).length > 0
      return { known, beforeKey: connection === undefined ? {} : await readBeforeKey(read, state, connection) }
    },
    compute: async (state, { known, beforeKey }): Promise<Outcome<ResultOf<'synchronizeRatchet'>>> => {
      const { config } = context
      const connection = requireConnection(state, connectionId)
      if (known) return { result: {} }
      if (connection.status !== 'connected' || !isDuplex(state, connection)) {
        throw new CallError('CMD_PROHIBITED', 'the connection is not complete', {
          field: 'connectionId',
          hint: 'wait for its CON event',
        })
      }
      const decision = decideSync(state, connection, { type: 'sync.start', force })
      const { pqSupport } = encryptionWith(connection, { pq, e2eVersion: config.e2eVersions.max })
      const { privateKeys, params } = await newRatchetKeys(context, config.e2eVersions.max, pqSupport)
      const effects = follow(decision, {
        sendKey: () => {
          const queues = ratchetKeyQueues(state, connection)
          const options = { agentVersion: config.agentVersions.max, now: state.now, idempotencyKey, before: beforeKey }
          const { changes, wakes } = enqueueRatchetKey({ ...connection, pqSupport }, queues, params, options)
          const stored = patchConnection(connection, { x3dhKeys: encodeE2ePrivateKeys(privateKeys) })
          return { changes: [stored, ...changes], wakes }
        },
        notifySync: () => ({ events: [syncEvent(connection, decision.to)] }),
        ...refusal(connectionId),
      })
      return { result: {}, ...effects, changes: [...syncChange(connection, decision), ...effects.changes] }
    },
  })

/** Whether both parties have a ratchet and a queue to each other. */
export const isDuplex = (state: UnitState, { connectionId, ratchet }: ConnectionRow): boolean =>
  ratchet !== null && sndQueuesOf(state, connectionId).length > 0
