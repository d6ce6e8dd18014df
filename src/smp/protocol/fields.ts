/** Fields that several commands and responses share. */
import { type Bytes, bool, concat, int64, large, type Reader, short } from '../../encoding/index.js'
import { decodePublicKey, encodePublicKey, type KeyAlgorithm, type PublicKey } from '../../crypto/keys.js'

/** What a queue is for: `messaging` queues can be secured by their sender, `contact` queues stay open to everyone. */
export type QueueMode = 'messaging' | 'contact'

/** The encrypted data of a short link: the part that never changes and the part that its owner may replace. */
export interface LinkData {
  readonly fixedData: Bytes
  readonly userData: Bytes
}

/** What a sender tells the router about a message, in the clear. */
export interface MessageFlags {
  /** The recipient wants to be notified of it. */
  readonly notification: boolean
}

/** Keys that can authorize commands: signatures, or X25519 authenticators. */
const AUTH_ALGORITHMS: readonly KeyAlgorithm[] = ['ed25519', 'ed448', 'x25519']
const DH_ALGORITHMS: readonly KeyAlgorithm[] = ['x25519']

export const encodeAuthKey = (key: PublicKey): Bytes => short(encodePublicKey(key.algorithm, key.raw))

export const readAuthKey = (reader: Reader, field: string): PublicKey =>
  decodePublicKey(reader.short(field), AUTH_ALGORITHMS, field)

/** A raw X25519 key as it stands on the wire. */
export const encodeDhKey = (raw: Bytes): Bytes => short(encodePublicKey('x25519', raw))

/** Reads an X25519 key; the answer is the raw key. */
export const readDhKey = (reader: Reader, field: string): Bytes =>
  decodePublicKey(reader.short(field), DH_ALGORITHMS, field).raw

export const encodeQueueMode = (mode: QueueMode): Bytes => (mode === 'messaging' ? MESSAGING : CONTACT)

export const readQueueMode = (reader: Reader): QueueMode => {
  const tag = reader.byte('queueMode')
  if (tag === MESSAGING[0]) return 'messaging'
  return tag === CONTACT[0] ? 'contact' : reader.fail('queueMode', 'must be M or C')
}

const MESSAGING = Buffer.from('M')
const CONTACT = Buffer.from('C')

export const encodeLinkData = ({ fixedData, userData }: LinkData): Bytes =>
  concat(large(fixedData, 'fixedData'), large(userData, 'userData'))

export const readLinkData = (reader: Reader): LinkData => ({
  fixedData: reader.large('fixedData'),
  userData: reader.large('userData'),
})

export const encodeMessageFlags = ({ notification }: MessageFlags): Bytes => bool(notification)

/** Reads flags up to the space that ends them; flags of later versions are skipped. */
export const readMessageFlags = (reader: Reader): MessageFlags => {
  const notification = reader.bool('flags')
  while (reader.remaining > 0 && reader.peek() !== SPACE) reader.byte('flags')
  return { notification }
}

const SPACE = 0x20

/** A count or message number in eight bytes. */
export const encodeNumber = (value: number): Bytes => int64(BigInt(value))

/** Reads a count or message number: not negative, and no larger than a JavaScript number holds exactly. */
export const readNumber = (reader: Reader, field: string): number => {
  const value = Number(reader.int64(field))
  return Number.isSafeInteger(value) && value >= 0 ? value : reader.fail(field, 'is negative or too large')
}
