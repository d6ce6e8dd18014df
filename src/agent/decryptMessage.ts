import { type Bytes, intersect } from '../encoding/index.js'
import { asDuologueError, CallError, type DuologueError, InternalError } from '../errors.js'
import {
  decodeRatchetState,
  decrypt,
  encodeRatchetState,
  type RatchetState,
  type SkippedChange,
  type SkippedKey,
} from '../ratchet/index.js'
import type { AgentEnvelope } from '../smp/protocol/agentEnvelope.js'
import { decodeAgentMessage, type NumberedMessage } from '../smp/protocol/agentMessage.js'
import { skippedKeys } from '../store/agent/connections.js'
import { type Change, put, remove } from '../store/index.js'
import { type Arrival, encryptedHashOf, isRatchetDuplicate } from './arrival.js'
import { type ConnectionRow, skippedKeysOf } from './rows.js'

/** A message of the double ratchet, as far as it could be read. */
export type DecryptedMessage = {
  readonly encryptedHash: Bytes
  /** The ratchet before; afterwards, and what else of it changes. */
  readonly before: RatchetState
  readonly ratchet: Bytes
  readonly ratchetChanges: readonly Change[]
} & (
  | {
      readonly type: 'message'
      readonly plaintext: Bytes
      readonly message: NumberedMessage
      readonly agentVersion: number
      readonly pqEncryption: boolean
    }
  /** Decrypted, and no numbered message. */
  | { readonly type: 'unreadable'; readonly error: DuologueError; readonly agentVersion: number }
  /** The ratchet says that it was received before. */
  | { readonly type: 'suspect'; readonly error: DuologueError }
  | { readonly type: 'undecrypted'; readonly error: DuologueError }
)

/**
 * Decrypts and reads a message; changes nothing by itself. It waits for the KEM where a turn of the ratchet needs it. Throws CallError
 * `AGENT_PROHIBITED` when there is no ratchet yet, KemError when nothing could be decided and the same message must come again.
 */
export const decryptMessage = async ({ context, state, connection, opened }: Arrival): Promise<DecryptedMessage> => {
  const envelope = opened.content?.envelope
  if (envelope?.type !== 'message') throw new InternalError('no message')
  if (connection.ratchet === null) {
    throw new CallError('AGENT_PROHIBITED', 'a message came before the ratchet', { field: connection.connectionId })
  }
  const { connectionId } = connection
  const skipped = skippedKeysOf(state, connectionId)
  const before = decodeRatchetState(connection.ratchet)
  const decryption = await decrypt(before, skipped, envelope.encryptedMessage, context.ratchetPorts)
  const { result, state: after, skippedChange, pqEncrypted: pqEncryption } = decryption
  const common = {
    before,
    encryptedHash: encryptedHashOf(envelope.encryptedMessage),
    ratchet: after === before ? connection.ratchet : encodeRatchetState(after),
    ratchetChanges: [
      ...skippedChanges(connectionId, skippedChange),
      ...evictSkipped(connectionId, skipped, skippedChange),
    ],
  }
  if (!result.ok) {
    const { error } = result
    return { ...common, type: after === before && isRatchetDuplicate(error) ? 'suspect' : 'undecrypted', error }
  }
  const agentVersion = risenVersion(connection, envelope, context.config.agentVersions)
  try {
    const message = numbered(result.plaintext, connection)
    return { ...common, type: 'message', plaintext: result.plaintext, message, agentVersion, pqEncryption }
  } catch (error) {
    return { ...common, type: 'unreadable', error: asDuologueError(error), agentVersion }
  }
}

const numbered = (plaintext: Bytes, connection: ConnectionRow): NumberedMessage => {
  const message = decodeAgentMessage(plaintext)
  if (message.type === 'message') return message
  throw new CallError('AGENT_PROHIBITED', `${message.type} came as a message`, { field: connection.connectionId })
}

// The agreed version rises with the sender’s maximum and never falls (B20).
const risenVersion = (
  connection: ConnectionRow,
  { agentVersion }: Extract<AgentEnvelope, { type: 'message' }>,
  own: { readonly min: number; readonly max: number },
): number => {
  const common = intersect({ min: Math.min(own.min, agentVersion), max: agentVersion }, own)
  return common === undefined ? connection.agentVersion : Math.max(connection.agentVersion, common.max)
}

const skippedChanges = (connectionId: string, { add, remove: gone }: SkippedChange): Change[] => [
  ...add.map(key => put(skippedKeys, { connectionId, ...key })),
  ...gone.map(({ headerKey, messageNumber }) => remove(skippedKeys, { connectionId, headerKey, messageNumber })),
]

/** Skipped keys that one connection may keep: a peer chooses how many messages it skips, and all are loaded with the connection. */
const maxSkippedKeys = 2048

// The keys of older chains go first: their messages are the least likely to come still.
const evictSkipped = (
  connectionId: string,
  kept: ReadonlyArray<Pick<SkippedKey, 'headerKey' | 'messageNumber'>>,
  { add, remove: gone }: SkippedChange,
): Change[] => {
  const overflow = kept.length + add.length - gone.length - maxSkippedKeys
  const newest = add.at(-1)
  if (overflow <= 0 || newest === undefined) return []
  const isNewest = (key: Pick<SkippedKey, 'headerKey'>): boolean =>
    Buffer.compare(key.headerKey, newest.headerKey) === 0
  return [...kept]
    .sort((a, b) => Number(isNewest(a)) - Number(isNewest(b)) || a.messageNumber - b.messageNumber)
    .slice(0, overflow)
    .map(({ headerKey, messageNumber }) => remove(skippedKeys, { connectionId, headerKey, messageNumber }))
}
