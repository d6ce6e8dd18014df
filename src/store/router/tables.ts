import { bytes, defineTable, integer, nullable, text, type Table } from '../table.js'

/** The queues of an SMP router; their messages are not here but in the router's journal. */
export const routerQueues = defineTable(
  'router_queues',
  {
    recipientId: bytes,
    senderId: bytes,
    /** The keys that authorize the recipient's commands: each DER SubjectPublicKeyInfo behind a length byte. */
    recipientKeys: bytes,
    /** The raw X25519 secret for bodies between router and recipient. */
    rcvDhSecret: bytes,
    /** DER SubjectPublicKeyInfo; null until the queue is secured. */
    senderKey: nullable(bytes),
    /** 'messaging' or 'contact'; null when NEW said nothing. */
    mode: nullable(text),
    /** 'active' or 'off'. */
    status: text,
    notifierId: nullable(bytes),
    notifierKey: nullable(bytes),
    /** The raw X25519 secret for notifications. */
    notifierDhSecret: nullable(bytes),
    linkId: nullable(bytes),
    /** SHA-256 of the fixed data of the queue's link. */
    linkFixedHash: nullable(bytes),
    createdAt: integer,
  },
  { key: ['recipientId'], unique: [['senderId'], ['notifierId'], ['linkId']] },
)

/** The data of short links: apart from their queues, since it is large and seldom asked for. */
export const routerLinks = defineTable(
  'router_links',
  { linkId: bytes, fixedData: bytes, userData: bytes },
  { key: ['linkId'] },
)

/** Every table of a router's store, as migrations/router makes them. */
export const routerTables: readonly Table[] = [routerQueues, routerLinks]
