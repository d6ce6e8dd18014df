import { sha256 } from '../crypto/index.js'
import { type Bytes, concat } from '../encoding/index.js'
import { type E2eParams, type E2ePrivateKeys, e2eParamsOf, generateKemE2eParams } from '../ratchet/index.js'
import type { UnitState } from '../runtime/unit.js'
import type { AgentContext } from './context.js'
import { type ConnectionRow, type SndQueueRow, sndQueuesOf, usedSndQueue } from './rows.js'

/** X3DH keys of one side of a synchronisation. */
export interface RatchetKeys {
  readonly privateKeys: E2ePrivateKeys
  readonly params: E2eParams
}

/** New X3DH keys for a synchronisation, with a KEM key to propose where messages have room for one (B19). Throws KemError. */
export const newRatchetKeys = (
  { ratchetPorts }: AgentContext,
  version: number,
  pqSupport: boolean,
): Promise<RatchetKeys> => generateKemE2eParams(version, pqSupport ? { kind: 'propose' } : undefined, ratchetPorts)

/** The keys that were stored when the synchronisation was started. */
export const storedRatchetKeys = (version: number, privateKeys: E2ePrivateKeys): RatchetKeys => ({
  privateKeys,
  params: e2eParamsOf(version, privateKeys),
})

/** What a ratchet key is known again by, and what the order of the two parties’ keys is the order of (B81, B82). */
export const ratchetKeyHash = ({ key1, key2 }: Pick<E2eParams, 'key1' | 'key2'>): Bytes => sha256(concat(key1, key2))

/**
 * The queues that a ratchet key goes to: the one in use, and during the end of a rotation also the old one, which the other party reads as
 * well. Whichever copy comes first is processed.
 */
export const ratchetKeyQueues = (
  state: UnitState,
  { connectionId }: ConnectionRow,
): readonly [SndQueueRow, ...SndQueueRow[]] => {
  const old = sndQueuesOf(state, connectionId).filter(queue => queue.switchStatus === 'sendingQTEST')
  return [usedSndQueue(state, connectionId), ...old]
}
