import { boolean, bytes, defineTable, integer, json, nullable, text } from '../table.js'

/**
 * A connection: the aggregate root. `status` is the connection machine's state; ids, hashes and the ratchet are what a
 * message changes, so that a message of a connection is one update of one row.
 */
export const connections = defineTable(
  'connections',
  {
    connectionId: text,
    userId: integer,
    status: text,
    /** What made it: `created`, `contact` (an address), `joined` by an invitation, `requested` by an address, `accepted`. */
    origin: text,
    /** The agreed version of the agent protocol: it rises, never falls (B20). */
    agentVersion: integer,
    /** Messages leave room for keys of a KEM: from the call that wished for it, if both versions allow it; it rises, never falls (B19). */
    pqSupport: boolean,
    /** Last number that the application sees; received and sent messages share it. */
    lastMessageId: integer,
    lastSendId: integer,
    lastSendHash: bytes,
    lastReceiveId: integer,
    /** The other party's number of its last message. */
    lastExternalId: integer,
    lastReceiveHash: bytes,
    ratchetSync: text,
    /** The double ratchet, from the moment that both keys are known (B13). Private. */
    ratchet: nullable(bytes),
    /** This side's X3DH keys, until they are used. Private. */
    x3dhKeys: nullable(bytes),
    /** The link that createConnection returned, or that was prepared. */
    link: nullable(text),
    /** The same as a short link, while it has one. */
    shortLink: nullable(text),
    idempotencyKey: nullable(text),
    createdAt: integer,
  },
  {
    key: ['connectionId'],
    unique: [['userId', 'idempotencyKey']],
    indexes: [['userId', 'connectionId']],
    aggregate: 'connectionId',
  },
)

/** A queue that this side receives from. `rcvId` and `sndId` are null until the router has made it. */
export const rcvQueues = defineTable(
  'rcv_queues',
  {
    queueId: text,
    connectionId: text,
    userId: integer,
    /** The router as `smp://fingerprint@host:port`, without password. */
    router: text,
    rcvId: nullable(bytes),
    sndId: nullable(bytes),
    /** Ed25519, authorizes commands to the router. */
    rcvPrivateKey: bytes,
    /** X25519 with the router: its encryption of the messages. */
    routerDhPrivateKey: bytes,
    routerDhSecret: nullable(bytes),
    /** X25519 with the sender: the private key, and the secret from the confirmation on (B30). */
    e2ePrivateKey: bytes,
    e2eSecret: nullable(bytes),
    /** The sender's key as DER, which the router must know before the sender can send (legacy handshake). */
    senderKey: nullable(bytes),
    status: text,
    clientVersion: integer,
    /** `messaging` (the sender secures it) or `contact`; null for a queue of the legacy form. */
    queueMode: nullable(text),
    primary: boolean,
    replaces: nullable(text),
    switchStatus: nullable(text),
    /** OFF: the router takes no more messages for it (B91). */
    suspended: boolean,
    createdAt: integer,
  },
  {
    key: ['queueId'],
    unique: [['router', 'rcvId']],
    indexes: [['connectionId'], ['userId', 'router', 'queueId']],
    aggregate: 'connectionId',
  },
)

/** A queue that this side sends to. */
export const sndQueues = defineTable(
  'snd_queues',
  {
    queueId: text,
    connectionId: text,
    userId: integer,
    router: text,
    sndId: bytes,
    /** Ed25519, authorizes SEND. */
    sndPrivateKey: bytes,
    /** X25519 with the recipient: this side's public key travels in the confirmation. */
    e2ePublicKey: bytes,
    e2eSecret: bytes,
    status: text,
    clientVersion: integer,
    queueMode: nullable(text),
    primary: boolean,
    replaces: nullable(text),
    switchStatus: nullable(text),
    createdAt: integer,
  },
  { key: ['queueId'], indexes: [['connectionId']], aggregate: 'connectionId' },
)

/** Keys of messages that the ratchet has skipped. Private. */
export const skippedKeys = defineTable(
  'skipped_keys',
  { connectionId: text, headerKey: bytes, messageNumber: integer, messageKey: bytes, messageIv: bytes },
  { key: ['connectionId', 'headerKey', 'messageNumber'], aggregate: 'connectionId' },
)

/** Keys of the other party’s ratchet synchronisations that were processed: each is processed once (B82). */
export const ratchetKeyHashes = defineTable(
  'ratchet_key_hashes',
  { connectionId: text, hash: bytes, createdAt: integer },
  { key: ['connectionId', 'hash'], indexes: [['createdAt']] },
)

/** A confirmation that waits for allowConnection: what the reply needs. */
export const confirmations = defineTable(
  'confirmations',
  {
    confirmationId: text,
    connectionId: text,
    senderKey: nullable(bytes),
    /** The other party's reply queues, in their wire form. */
    replyQueues: bytes,
    /** Own info, once allowed. */
    ownInfo: nullable(bytes),
    createdAt: integer,
  },
  { key: ['confirmationId'], indexes: [['connectionId']], aggregate: 'connectionId' },
)

/**
 * What the next steps of a handshake need and no other row holds: until the joiner's confirmation is stored, or the invitation is
 * at the contact address. A step that was refused for good is asked for again with it (B15).
 */
export const handshakes = defineTable(
  'handshakes',
  {
    connectionId: text,
    /** The joiner's X3DH parameters, for its confirmation. */
    e2eParams: nullable(bytes),
    /** The queue of the contact address that the invitation goes to, in its wire form. */
    contactQueue: nullable(bytes),
    /** Own info. */
    info: bytes,
  },
  { key: ['connectionId'] },
)

/**
 * Invitations that came to a contact address (B18). One that was accepted stays as long as the connection that was made of it, so
 * that a repeated one is known again; the others go with the address.
 */
export const invitations = defineTable(
  'invitations',
  {
    invitationId: text,
    /** The contact address. */
    connectionId: text,
    userId: integer,
    /** The link inside: it holds the other party's public keys. */
    request: text,
    /** SHA-256 of its X3DH keys: every invitation has its own. */
    requestHash: bytes,
    accepted: boolean,
    /** The connection that was made of it; one whose handshake failed is gone on with. */
    acceptedBy: nullable(text),
    createdAt: integer,
  },
  { key: ['invitationId'], unique: [['connectionId', 'requestHash']], indexes: [['acceptedBy']] },
)

/**
 * Commands whose effect needs the network: stored first, run by the command worker of their (connection, router), gone
 * when they are done (B50–B53). `secret` holds what must not be in JSON.
 */
export const commands = defineTable(
  'commands',
  {
    commandId: integer,
    connectionId: text,
    userId: integer,
    router: text,
    type: text,
    argument: json,
    secret: nullable(bytes),
    correlationId: nullable(text),
    createdAt: integer,
  },
  { key: ['commandId'], indexes: [['connectionId', 'router']] },
)
