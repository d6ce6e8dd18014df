import { boolean, bytes, defineTable, integer, nullable, text } from '../table.js'

/** What this side has sent or will send; the log from which retry receipts are answered (S13). */
export const signalMessages = defineTable(
  'signal_messages',
  {
    recipientId: text,
    messageId: integer,
    userId: integer,
    /** Names the message everywhere: unique in the account, the same in every repetition (S12). */
    timestamp: integer,
    /** `message`, `receipt`, `retryReceipt`, `null`. */
    kind: text,
    /** The content before padding and encryption; null when nothing may ask for it any more. */
    content: nullable(bytes),
    /** `waiting`, `sent`, `failed`. */
    state: text,
    /** How often it was sent again for a retry receipt. */
    resends: integer,
    idempotencyKey: nullable(text),
    correlationId: text,
    createdAt: integer,
  },
  {
    key: ['recipientId', 'messageId'],
    unique: [['recipientId', 'idempotencyKey']],
    indexes: [['userId', 'timestamp'], ['createdAt']],
  },
)

/** A message that waits for the server’s answer. `encrypted`: what was encrypted for whom, stored before bytes leave (S11). */
export const signalOutbox = defineTable(
  'signal_outbox',
  {
    recipientId: text,
    messageId: integer,
    userId: integer,
    encrypted: nullable(bytes),
    /** A repetition for a retry receipt: SENT was told before. */
    resend: boolean,
    /** Nothing is sent before this time (428, 429). */
    waitUntil: nullable(integer),
    waitReason: nullable(text),
    createdAt: integer,
  },
  { key: ['recipientId', 'messageId'] },
)

/** Transcripts for the account’s own devices, each with its own retry (S10). */
export const signalSyncItems = defineTable(
  'signal_sync_items',
  {
    accountId: text,
    itemId: integer,
    userId: integer,
    timestamp: integer,
    content: bytes,
    encrypted: nullable(bytes),
    waitUntil: nullable(integer),
    correlationId: text,
    createdAt: integer,
  },
  { key: ['accountId', 'itemId'] },
)

/** What has arrived: the hash of the ciphertext knows a redelivery, (peer, device, timestamp) a repetition (S12). */
export const signalSeen = defineTable(
  'signal_seen',
  { hash: bytes, userId: integer, peer: text, deviceId: integer, timestamp: nullable(integer), createdAt: integer },
  { key: ['hash'], indexes: [['peer', 'deviceId', 'timestamp'], ['createdAt']] },
)

/** Where the attachments of received messages are, and their keys. Private. */
export const signalAttachments = defineTable(
  'signal_attachments',
  { recipientId: text, messageId: integer, position: integer, userId: integer, pointer: bytes, createdAt: integer },
  { key: ['recipientId', 'messageId', 'position'], indexes: [['createdAt']] },
)
