import { bytes, defineTable, integer, nullable, text } from '../table.js'

/** The short link of an own queue, as long as its data may be set again (B10). */
export const shortLinks = defineTable(
  'short_links',
  {
    connectionId: text,
    /** Under which the router keeps the data. Of an invitation it is the router's, and null until the router has made the queue. */
    linkId: nullable(bytes),
    /** What the link holds: the hash of the fixed data. Private. */
    linkKey: bytes,
    /** Ed25519, signs the data. Private. */
    rootPrivateKey: bytes,
    /** Encrypted: the router takes no other one for this link. */
    fixedData: bytes,
    /** Of the NEW that a prepared link waits for: the sender id is made of it. Null for a link that was not prepared. */
    corrId: nullable(bytes),
  },
  { key: ['connectionId'] },
)

/**
 * One-time links of others that were read: reading secures the queue, so the key is stored before, and whoever joins by the link must use it.
 * The row stays with the connection that was made by it.
 */
export const invitationLinks = defineTable(
  'invitation_links',
  {
    userId: integer,
    /** Its fingerprint. */
    router: text,
    linkId: bytes,
    /** Ed25519. Private. */
    sndPrivateKey: bytes,
    /** The queue that the link leads to, once the router has answered. */
    sndId: nullable(bytes),
    /** The connection that was made by it. */
    connectionId: nullable(text),
    createdAt: integer,
  },
  { key: ['userId', 'router', 'linkId'], indexes: [['userId', 'router', 'sndId'], ['connectionId']] },
)
