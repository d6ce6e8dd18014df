import { sha256 } from '../crypto/index.js'
import { CallError, CryptoError, InternalError } from '../errors.js'
import {
  decodeE2ePrivateKeys,
  type E2eParams,
  encodeRatchetState,
  initRcvRatchet,
  initSndRatchet,
  type RatchetState,
  x3dhInitiator,
  x3dhJoiner,
} from '../ratchet/index.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { Read } from '../runtime/unit.js'
import { ratchetKeyHashes, skippedKeys } from '../store/agent/connections.js'
import { insert, removeWhere } from '../store/index.js'
import { acknowledged, type Arrival, patchConnection, type Step } from './arrival.js'
import type { AgentContext } from './context.js'
import { enqueueRatchetKey } from './outgoing.js'
import { newRatchetKeys, type RatchetKeys, ratchetKeyHash, ratchetKeyQueues, storedRatchetKeys } from './ratchetKeys.js'
import { decideSync, syncChange, syncEvent } from './ratchetSync.js'
import type { ConnectionRow } from './rows.js'
import { connectionAfter, sayReady } from './syncEnded.js'
import { isDuplex } from './synchronizeRatchet.js'

/** Whether the ratchet key that a message brings was processed before (B82); undefined when it brings none. */
export const readKnownKey = async (
  read: Read,
  { connection, opened }: Pick<Arrival, 'connection' | 'opened'>,
): Promise<boolean | undefined> => {
  const envelope = opened.content?.envelope
  if (envelope?.type !== 'ratchetKey') return undefined
  const where = { connectionId: connection.connectionId, hash: ratchetKeyHash(envelope.e2e) }
  return (await read(ratchetKeyHashes, { where })).length > 0
}

/**
 * The other party’s key of a synchronisation (B80–B83): its hash, the new ratchet and what is said to that are one commit. Throws CallError
 * `AGENT_VERSION`, `AGENT_PROHIBITED`, CryptoError for keys that give no secret, KemError when nothing could be decided.
 */
export const receiveRatchetKey = async (arrival: Arrival): Promise<Step> => {
  const { context, state, connection, keyKnown, beforeKey } = arrival
  const { envelope } = arrival.opened.content ?? {}
  if (envelope?.type !== 'ratchetKey') throw new InternalError('no ratchet key')
  if (keyKnown === true) return acknowledged()
  const { e2e, info } = envelope
  checkAllowed(arrival, e2e)
  const { connectionId } = connection
  const own = await ownKeys(context, connection, e2e.version)
  const hash = ratchetKeyHash(e2e)
  const role = Buffer.compare(ratchetKeyHash(own.params), hash) <= 0 ? 'receiving' : 'sending'
  const decision = decideSync(state, connection, { type: 'key.received', role })
  // The sender gave the key a number. The reference does not count it here, and tells the next message as skipped.
  const received = { lastExternalId: connection.lastExternalId + 1, lastReceiveHash: sha256(info) }
  let row: ConnectionRow = { ...connection, ...received, ratchetSync: decision.to }
  const on = (effects: Effects): Effects => {
    row = connectionAfter(row, effects.changes ?? [])
    return effects
  }
  const ratchet = (made: RatchetState): Effects =>
    on({
      changes: [
        patchConnection(connection, { ratchet: encodeRatchetState(made), x3dhKeys: null }),
        removeWhere(skippedKeys, { connectionId }),
      ],
    })
  const versions = { current: e2e.version, maxSupported: context.config.e2eVersions.max }
  const effects = follow(decision, {
    replyKey: () => {
      const options = { agentVersion: context.config.agentVersions.max, now: state.now, before: beforeKey }
      return on(enqueueRatchetKey(row, ratchetKeyQueues(state, row), own.params, options))
    },
    useStoredKeys: () => ({}),
    createReceivingRatchet: () => {
      const secrets = x3dhInitiator(own.privateKeys, e2e)
      return ratchet(initRcvRatchet(versions, own.privateKeys.key2, secrets, connection.pqSupport))
    },
    createSendingRatchet: () =>
      ratchet(initSndRatchet(versions, e2e.key2, context.ratchetPorts.generate(), x3dhJoiner(own.privateKeys, e2e))),
    sendEREADY: () => on(sayReady(state, row, connection.lastExternalId)),
    notifySync: () => ({ events: [syncEvent(connection, decision.to)] }),
    notifySyncError: () => ({ events: [syncEvent(connection, decision.to, startedAnew(connection))] }),
  })
  return acknowledged({
    ...effects,
    changes: [
      insert(ratchetKeyHashes, { connectionId, hash, createdAt: state.now }),
      patchConnection(connection, received),
      ...syncChange(connection, decision),
      ...effects.changes,
    ],
  })
}

const checkAllowed = ({ context, state, connection }: Arrival, { version }: E2eParams): void => {
  const { min, max } = context.config.e2eVersions
  if (version < min || version > max) {
    throw new CallError('AGENT_VERSION', 'the other party speaks another version of the ratchet', {
      field: connection.connectionId,
      facts: { version, min, max },
    })
  }
  if (isDuplex(state, connection)) return
  throw new CallError('AGENT_PROHIBITED', 'a ratchet key came before the connection was complete', {
    field: connection.connectionId,
  })
}

// Those that were stored when this side started; else new ones, in the version of the other party’s key.
const ownKeys = async (
  context: AgentContext,
  { ratchetSync, x3dhKeys, pqSupport }: ConnectionRow,
  version: number,
): Promise<RatchetKeys> =>
  ratchetSync === 'started' && x3dhKeys !== null
    ? storedRatchetKeys(version, decodeE2ePrivateKeys(x3dhKeys))
    : newRatchetKeys(context, version, pqSupport)

const startedAnew = ({ connectionId }: ConnectionRow): CryptoError =>
  new CryptoError('CRYPTO_SYNC', 'the other party has started another synchronisation during this one', {
    field: connectionId,
    hint: 'start the synchronisation again',
  })
