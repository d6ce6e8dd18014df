import { boolean, bytes, defineTable, integer, nullable, text } from '../table.js'

/**
 * A message that this side sends. Late encryption (B40): the ratchet has advanced, `header` keeps what the body needs, and the
 * body is encrypted at delivery. Handshake messages are stored encrypted, in `encrypted`.
 */
export const sndMessages = defineTable(
  'snd_messages',
  {
    connectionId: text,
    messageId: integer,
    /** The number on the wire. */
    sendId: integer,
    type: text,
    /** The content, encoded, if it is this message's alone; null once it is at the router. */
    body: nullable(bytes),
    /** The body that it shares with other messages (B46); null once it is at the router. */
    bodyId: nullable(text),
    /** What the ratchet gave at enqueue: encrypted header, key, IV, associated data. Private; null once it is at the router. */
    header: nullable(bytes),
    paddedLength: integer,
    /** Its key depends on a secret of the KEM (B19). */
    pqEncryption: boolean,
    encrypted: nullable(bytes),
    previousHash: bytes,
    hash: bytes,
    notify: boolean,
    idempotencyKey: nullable(text),
    /** What the other party's receipt says: `ok`, `badHash`; null until it has come. */
    receipt: nullable(text),
    createdAt: integer,
  },
  {
    key: ['connectionId', 'messageId'],
    unique: [['connectionId', 'idempotencyKey']],
    indexes: [['createdAt'], ['connectionId', 'sendId']],
    sparse: ['bodyId'],
  },
)

/** The content of messages to many connections, stored once; the row goes with the last message that names it. */
export const sndBodies = defineTable(
  'snd_bodies',
  { bodyId: text, body: bytes, createdAt: integer },
  { key: ['bodyId'] },
)

/** A message that waits for a send queue; the row goes when the router has it or it has failed for good (B48). */
export const deliveries = defineTable(
  'deliveries',
  {
    queueId: text,
    messageId: integer,
    connectionId: text,
    /** Codes of the errors that MWARN has told of, with spaces between them. */
    warned: nullable(text),
    /** The other queue of a rotation has delivered the message: nothing is told any more. */
    sent: boolean,
    createdAt: integer,
  },
  { key: ['queueId', 'messageId'], indexes: [['connectionId']] },
)

/** A message that was received: kept without its body to know it again when it is delivered once more (B34). */
export const rcvMessages = defineTable(
  'rcv_messages',
  {
    connectionId: text,
    messageId: integer,
    queueId: text,
    /** The router's id. */
    brokerId: bytes,
    /** SHA-256 of the ratchet message as it was received. */
    encryptedHash: bytes,
    /** SHA-256 of the message inside, for the receipt. */
    internalHash: bytes,
    senderMessageId: integer,
    type: text,
    /** `received`, `receipted` (a receipt is on its way, not everybody has acknowledged it yet) or `acknowledged`. */
    state: text,
    /** How often the router has delivered it again while nobody had acknowledged it. */
    attempts: integer,
    createdAt: integer,
  },
  { key: ['connectionId', 'messageId'], indexes: [['connectionId', 'encryptedHash'], ['createdAt']] },
)
