import { sha256 } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { CallError } from '../errors.js'
import {
  advanceHeader,
  checkCanPad,
  decodeRatchetState,
  type E2eParams,
  encodeMessageEncryptKey,
  encodeRatchetState,
  encryptBody,
} from '../ratchet/index.js'
import type { Effects } from '../runtime/follow.js'
import type { Wake } from '../runtime/unit.js'
import {
  type AgentMessage,
  encodeAgentMessage,
  encodeMessageContent,
  type MessageContent,
} from '../smp/protocol/agentMessage.js'
import {
  encodeAgentEnvelope,
  paddedInfoLength,
  paddedMessageLength,
  versionsAllowKem,
} from '../smp/protocol/agentEnvelope.js'
import { connections } from '../store/agent/connections.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import { type Change, insert, patch, type Row } from '../store/index.js'
import { type Encryption, numberedMessage } from './limits.js'
import type { ConnectionRow, SndQueueRow } from './rows.js'

export type SndMessageRow = Row<typeof sndMessages>
export type DeliveryRow = Row<typeof deliveries>

/** A delivery with its message, as the delivery worker takes it without reading rows. */
export interface QueuedDelivery {
  readonly delivery: DeliveryRow
  readonly message: SndMessageRow
  /** The content of a numbered message, whether it is the message’s own or shared. */
  readonly body: Bytes | null
}

/** What enqueueing a message changes: rows of the message, and the connection as it is afterwards. */
export interface Enqueued {
  readonly messageId: number
  /** Whether its key depends on a secret of the KEM. */
  readonly pqEncryption: boolean
  readonly connection: ConnectionRow
  readonly changes: readonly Change[]
  readonly wake: Wake
}

/** The content of a message, encoded once for every connection that it goes to. */
export interface EncodedContent {
  readonly type: MessageContent['type']
  readonly body: Bytes
  /** The stored body that its messages name instead of holding it (B46). */
  readonly bodyId?: string | undefined
}

export const encodeContent = (content: MessageContent, bodyId?: string): EncodedContent => ({
  type: content.type,
  body: encodeMessageContent(content),
  bodyId,
})

export interface EnqueueOptions {
  /** ms since 1970. */
  readonly now: number
  readonly notify: boolean
  readonly idempotencyKey?: string | undefined
  /** The wish for the KEM, or against it, from the next turn of the ratchet on (B19); none when left out. */
  readonly pq?: boolean | undefined
  /** The highest e2e version that this agent speaks. Left out: what it has announced before. */
  readonly e2eVersion?: number
}

/**
 * What a connection is encrypted as with a message under these options: a wish for the KEM makes the room that its keys need, for
 * good, if the versions allow it (B19).
 */
export const encryptionWith = (
  { agentVersion, pqSupport }: Encryption,
  { pq, e2eVersion }: Pick<EnqueueOptions, 'pq' | 'e2eVersion'>,
): Encryption => ({ agentVersion, pqSupport: pqSupport || (pq === true && versionsAllowKem(agentVersion, e2eVersion)) })

/**
 * Enqueues a message of an established connection (B40): the ratchet advances once and its header and key are kept; the body is
 * encrypted at delivery.
 */
export const enqueueMessage = (
  before: ConnectionRow,
  queue: SndQueueRow,
  content: EncodedContent,
  options: EnqueueOptions,
): Enqueued => {
  const { type, body, bodyId } = content
  const connection = { ...before, ...encryptionWith(before, options) }
  const sendId = connection.lastSendId + 1
  const plaintext = numberedMessage(sendId, connection.lastSendHash, body)
  const paddedLength = paddedMessageLength(connection.agentVersion, connection.pqSupport)
  checkCanPad(plaintext.length, paddedLength)
  const ratchet = ratchetOf(connection)
  const { state, header, pqEncrypted } = advanceHeader(ratchet, {
    supportedVersion: options.e2eVersion ?? ratchet.versions.maxSupported,
    // A connection that cannot have keys in its messages must not wish for them.
    ...(options.pq === undefined ? {} : { enableKem: options.pq && connection.pqSupport }),
  })
  return enqueued(connection, queue, {
    type,
    plaintext,
    ratchet: encodeRatchetState(state),
    pqEncrypted,
    body,
    bodyId: bodyId ?? null,
    header: encodeMessageEncryptKey(header),
    paddedLength,
    encrypted: null,
    notify: options.notify,
    idempotencyKey: options.idempotencyKey ?? null,
    now: options.now,
  })
}

/** Enqueues HELLO of the legacy handshake (B12); its answer or its end is told to the connection machine. */
export const enqueueHello = (connection: ConnectionRow, queue: SndQueueRow, now: number): Effects => {
  const { changes, wake } = enqueueMessage(connection, queue, encodeContent({ type: 'HELLO' }), { now, notify: true })
  return { changes, wakes: [wake] }
}

/** Enqueues a confirmation: encrypted at once, since it is sent once and carries this side’s keys (B40). */
export const enqueueConfirmation = (
  connection: ConnectionRow,
  queue: SndQueueRow,
  message: Extract<AgentMessage, { type: 'connInfo' | 'connInfoReply' }>,
  e2e: E2eParams | undefined,
  now: number,
): Enqueued => {
  const plaintext = encodeAgentMessage(message)
  const paddedLength = paddedInfoLength(connection.agentVersion, connection.pqSupport)
  const ratchet = ratchetOf(connection)
  const { state, header, pqEncrypted } = advanceHeader(ratchet, {
    supportedVersion: ratchet.versions.maxSupported,
    enableKem: connection.pqSupport,
  })
  const encrypted = encodeAgentEnvelope({
    type: 'confirmation',
    agentVersion: connection.agentVersion,
    ...(e2e === undefined ? {} : { e2e }),
    encryptedInfo: encryptBody(header, plaintext, paddedLength),
  })
  return enqueued(connection, queue, {
    type: message.type === 'connInfo' ? 'CONN_INFO' : 'CONN_INFO_REPLY',
    plaintext,
    ratchet: encodeRatchetState(state),
    pqEncrypted,
    body: null,
    bodyId: null,
    header: null,
    paddedLength,
    encrypted,
    notify: true,
    idempotencyKey: null,
    now,
  })
}

export interface RatchetKeyOptions {
  /** The highest version that this side speaks. */
  readonly agentVersion: number
  /** ms since 1970. */
  readonly now: number
  readonly idempotencyKey?: string | undefined
  /** What must be queued ahead of it. */
  readonly before: Effects
}

/**
 * Enqueues this side’s key of a synchronisation on the first queue, and a copy on the others: not encrypted by a ratchet, numbered like any
 * message (B80). What waits before it was encrypted for the old ratchet.
 */
export const enqueueRatchetKey = (
  connection: ConnectionRow,
  [queue, ...siblings]: readonly [SndQueueRow, ...SndQueueRow[]],
  e2e: E2eParams,
  { agentVersion, now, idempotencyKey, before }: RatchetKeyOptions,
): Required<Effects> => {
  const info = encodeAgentMessage({ type: 'ratchetInfo', info: Buffer.alloc(0) })
  const { changes, wake, messageId } = enqueued(connection, queue, {
    type: 'RATCHET_INFO',
    plaintext: info,
    ratchet: encodeRatchetState(ratchetOf(connection)),
    pqEncrypted: false,
    body: null,
    bodyId: null,
    header: null,
    paddedLength: 0,
    encrypted: encodeAgentEnvelope({ type: 'ratchetKey', agentVersion, e2e, info }),
    notify: true,
    idempotencyKey: idempotencyKey ?? null,
    now,
  })
  const { connectionId } = connection
  const copies = siblings.map(({ queueId }) =>
    insert(deliveries, { queueId, messageId, connectionId, warned: null, sent: false, createdAt: now }),
  )
  const woken = siblings.map(({ queueId }): Wake => ({ worker: 'delivery', key: queueId }))
  return {
    changes: [...(before.changes ?? []), ...changes, ...copies],
    events: [],
    wakes: [...(before.wakes ?? []), wake, ...woken],
  }
}

const ratchetOf = (connection: ConnectionRow) => {
  if (connection.ratchet !== null) return decodeRatchetState(connection.ratchet)
  throw new CallError('CONN_NO_RATCHET', 'the connection has no ratchet yet', { field: connection.connectionId })
}

interface NewMessage {
  readonly type: string
  readonly plaintext: Bytes
  readonly ratchet: Bytes
  readonly pqEncrypted: boolean
  readonly body: Bytes | null
  readonly bodyId: string | null
  readonly header: Bytes | null
  readonly paddedLength: number
  readonly encrypted: Bytes | null
  readonly notify: boolean
  readonly idempotencyKey: string | null
  readonly now: number
}

const enqueued = (connection: ConnectionRow, queue: SndQueueRow, message: NewMessage): Enqueued => {
  const { connectionId } = connection
  const messageId = connection.lastMessageId + 1
  const sendId = connection.lastSendId + 1
  const hash = sha256(message.plaintext)
  const { pqSupport } = connection
  const next = { lastMessageId: messageId, lastSendId: sendId, lastSendHash: hash, ratchet: message.ratchet, pqSupport }
  const row: SndMessageRow = {
    connectionId,
    messageId,
    sendId,
    type: message.type,
    body: message.bodyId === null ? message.body : null,
    bodyId: message.bodyId,
    header: message.header,
    paddedLength: message.paddedLength,
    pqEncryption: message.pqEncrypted,
    encrypted: message.encrypted,
    previousHash: connection.lastSendHash,
    hash,
    notify: message.notify,
    idempotencyKey: message.idempotencyKey,
    receipt: null,
    createdAt: message.now,
  }
  const delivery: DeliveryRow = {
    queueId: queue.queueId,
    messageId,
    connectionId,
    warned: null,
    sent: false,
    createdAt: message.now,
  }
  const hint: QueuedDelivery = { delivery, message: row, body: message.body }
  return {
    messageId,
    pqEncryption: message.pqEncrypted,
    connection: { ...connection, ...next },
    changes: [patch(connections, { connectionId }, next), insert(sndMessages, row), insert(deliveries, delivery)],
    wake: { worker: 'delivery', key: queue.queueId, hint },
  }
}
