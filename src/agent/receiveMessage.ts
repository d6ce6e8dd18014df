import { sha256 } from '../crypto/index.js'
import { type Bytes, intersect } from '../encoding/index.js'
import { CallError, InternalError } from '../errors.js'
import {
  decodeRatchetState,
  decrypt,
  encodeRatchetState,
  type SkippedChange,
  type SkippedKey,
} from '../ratchet/index.js'
import type { NewEvent, Wake } from '../runtime/unit.js'
import type { AgentEnvelope } from '../smp/protocol/agentEnvelope.js'
import { decodeAgentMessage, type NumberedMessage } from '../smp/protocol/agentMessage.js'
import { formatRouterAddress } from '../smp/protocol/routerAddress.js'
import { skippedKeys } from '../store/agent/connections.js'
import { rcvMessages } from '../store/agent/messages.js'
import { type Change, insert, put, remove } from '../store/index.js'
import type { MessageIntegrity } from './api/events.js'
import { errorFact } from './events.js'
import {
  acknowledged,
  type Arrival,
  brokerIdOf,
  encryptedHashOf,
  isRatchetDuplicate,
  patchConnection,
  type Step,
} from './arrival.js'
import { decideConnection } from './decideConnection.js'
import { type ConnectionRow, eventOf, skippedKeysOf, sndQueuesOf } from './rows.js'

/** A message of the double ratchet: decrypted, numbered, checked and stored in one commit (B32). */
export const receiveMessage = (arrival: Arrival): Step => {
  const { context, state, connection, opened } = arrival
  const envelope = opened.content?.envelope
  if (envelope?.type !== 'message') throw new InternalError('no message')
  if (connection.ratchet === null) {
    throw new CallError('AGENT_PROHIBITED', 'a message came before the ratchet', { field: connection.connectionId })
  }
  const skipped = skippedKeysOf(state, connection.connectionId)
  const before = decodeRatchetState(connection.ratchet)
  const { result, state: after, skippedChange } = decrypt(before, skipped, envelope.encryptedMessage)
  const encryptedHash = encryptedHashOf(envelope.encryptedMessage)
  const ratchetChanges = [
    ...skippedChanges(connection.connectionId, skippedChange),
    ...evictSkipped(connection.connectionId, skipped, skippedChange),
  ]
  const ratchet = after === before ? connection.ratchet : encodeRatchetState(after)
  if (!result.ok) {
    if (after === before && isRatchetDuplicate(result.error)) {
      return { ...acknowledged(), received: { type: 'suspect', encryptedHash, error: result.error } }
    }
    // A protocol failure is a result: what the ratchet has learned is kept, the error is told, the message acknowledged.
    return acknowledged({
      changes: [patchConnection(connection, { ratchet }), ...ratchetChanges],
      events: [eventOf(connection, 'ERR', { error: errorFact(result.error) })],
    })
  }
  const agentVersion = risenVersion(connection, envelope, context.config.agentVersions)
  const step = decrypted(arrival, { plaintext: result.plaintext, encryptedHash, ratchet, agentVersion })
  return { ...step, changes: [...ratchetChanges, ...step.changes] }
}

interface Decrypted {
  readonly plaintext: Bytes
  readonly encryptedHash: Bytes
  readonly ratchet: Bytes
  readonly agentVersion: number
}

const decrypted = (arrival: Arrival, { plaintext, encryptedHash, ratchet, agentVersion }: Decrypted): Step => {
  const { state, connection, queue, message } = arrival
  const kept = patchConnection(connection, { ratchet, agentVersion })
  let agentMessage: NumberedMessage
  try {
    agentMessage = numbered(plaintext, connection)
  } catch (error) {
    return acknowledged({ changes: [kept], events: [eventOf(connection, 'ERR', { error: errorFact(error) })] })
  }
  const messageId = connection.lastMessageId + 1
  const internalHash = sha256(plaintext)
  const changes: Change[] = [
    patchConnection(connection, {
      ratchet,
      agentVersion,
      lastMessageId: messageId,
      lastReceiveId: connection.lastReceiveId + 1,
      lastExternalId: agentMessage.id,
      lastReceiveHash: internalHash,
    }),
    insert(rcvMessages, {
      connectionId: connection.connectionId,
      messageId,
      queueId: queue.queueId,
      brokerId: Buffer.from(message.messageId),
      encryptedHash,
      internalHash,
      senderMessageId: agentMessage.id,
      type: agentMessage.content.type,
      state: agentMessage.content.type === 'A_MSG' ? 'received' : 'acknowledged',
      attempts: 0,
      createdAt: state.now,
    }),
  ]
  return contentStep(arrival, agentMessage, messageId, changes)
}

// ACK is the user’s for a message, automatic for everything that the agents say to each other (B31).
const contentStep = (
  arrival: Arrival,
  { id, previousHash, content }: NumberedMessage,
  messageId: number,
  changes: readonly Change[],
): Step => {
  const { connection, message, brokerAt, notify } = arrival
  const events: NewEvent[] = []
  const wakes: Wake[] = []
  switch (content.type) {
    case 'A_MSG': {
      const decision = decideConnection(arrival.state, connection, { type: 'message.received' })
      if (!decision.intents.some(intent => intent.type === 'deliverMessage')) return acknowledged({ changes })
      const payload = {
        integrity: integrityOf(connection, id, previousHash),
        brokerId: brokerIdOf(message),
        brokerAt,
        senderMessageId: id,
        notify,
      }
      events.push(eventOf(connection, 'MSG', payload, { messageId, body: Buffer.from(content.body) }))
      return { received: { type: 'keep', messageId }, changes, events, wakes }
    }
    case 'A_QCONT': {
      const router = formatRouterAddress(content.queue.router)
      const queue = sndQueuesOf(arrival.state, connection.connectionId).find(
        row => row.router === router && Buffer.compare(row.sndId, content.queue.senderId) === 0,
      )
      if (queue === undefined) events.push(queueError(connection, 'A_QCONT names a queue that is not there'))
      else {
        events.push(eventOf(connection, 'QCONT', {}))
        wakes.push({ worker: 'continue', key: queue.queueId })
      }
      return acknowledged({ changes, events, wakes })
    }
    default:
      events.push(unsupported(connection, content.type))
      return acknowledged({ changes, events })
  }
}

const unsupported = (connection: ConnectionRow, what: string): NewEvent =>
  eventOf(connection, 'ERR', {
    error: { code: 'AGENT_UNSUPPORTED', message: `the other party sent ${what}`, field: connection.connectionId },
  })

const queueError = (connection: ConnectionRow, message: string): NewEvent =>
  eventOf(connection, 'ERR', { error: { code: 'AGENT_QUEUE', message, field: connection.connectionId } })

const numbered = (plaintext: Bytes, connection: ConnectionRow): NumberedMessage => {
  const message = decodeAgentMessage(plaintext)
  if (message.type === 'message') return message
  throw new CallError('AGENT_PROHIBITED', `${message.type} came as a message`, { field: connection.connectionId })
}

/** The check of number and hash chain (B35): its result is told and never blocks. */
export const integrityOf = (
  connection: Pick<ConnectionRow, 'lastExternalId' | 'lastReceiveHash'>,
  id: number,
  previousHash: Bytes,
): MessageIntegrity & { readonly [key: string]: string | number } => {
  const last = connection.lastExternalId
  if (id < last) return { result: 'badId', previousId: last }
  if (id === last) return { result: 'duplicate' }
  if (id > last + 1) return { result: 'skipped', from: last + 1, to: id - 1 }
  return Buffer.compare(previousHash, connection.lastReceiveHash) === 0 ? { result: 'ok' } : { result: 'badHash' }
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
