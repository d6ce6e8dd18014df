/** What the router adds on the way from the queue to its recipient and notifier: time, flags and one more encryption (P: "Deliver queue message"). */
import { type BoxKey, cbDecrypt, cbEncrypt, toNonce } from '../../crypto/box.js'
import { ascii, asBuffer, type Bytes, concat, int64, type Parts, Reader, short } from '../../encoding/index.js'
import { EncodeError } from '../../errors.js'
import { encodeMessageFlags, type MessageFlags, readMessageFlags } from './fields.js'

/** A message as its recipient sees it after the router's encryption is taken off. `timestamp` is in seconds since 1970. */
export type RecipientMessage =
  | { readonly type: 'message'; readonly timestamp: number; readonly flags: MessageFlags; readonly body: Bytes }
  /** The queue was full: the sender waits until everything up to this marker is acknowledged. */
  | { readonly type: 'quota'; readonly timestamp: number }

/** What a notifier learns of a message; `timestamp` in seconds since 1970. */
export interface NotificationMeta {
  readonly messageId: Bytes
  readonly timestamp: number
}

/** All of them are padded to this, in every version, so that a message, a marker and an empty body look alike. */
const RECIPIENT_PADDING = 16_106
const NOTIFICATION_PADDING = 128

export const encodeRecipientMessage = (message: RecipientMessage): Bytes => concat(...recipientMessageParts(message))

const recipientMessageParts = (message: RecipientMessage): Parts =>
  message.type === 'quota'
    ? [QUOTA, seconds(message.timestamp)]
    : [seconds(message.timestamp), encodeMessageFlags(message.flags), SPACE, message.body]

/** Reads a message or marker, as views of its bytes. Throws `DecodeError`. */
export const decodeRecipientMessage = (bytes: Bytes): RecipientMessage => {
  const reader = new Reader(bytes, 'recipientMessage')
  if (startsWith(bytes, QUOTA)) {
    reader.take(QUOTA.length, 'quota')
    const timestamp = readSeconds(reader)
    reader.end()
    return { type: 'quota', timestamp }
  }
  const timestamp = readSeconds(reader)
  const flags = readMessageFlags(reader)
  reader.space('body')
  return { type: 'message', timestamp, flags, body: reader.rest() }
}

/** The encrypted body of MSG: 16,122 bytes. The message id (24 bytes) is the nonce. Throws `LARGE_MSG`. */
export const sealRecipientMessage = (key: BoxKey, messageId: Bytes, message: RecipientMessage): Bytes =>
  cbEncrypt(key, toNonce(messageId), recipientMessageParts(message), RECIPIENT_PADDING)

/** Opens the body of MSG. Throws `CRYPTO_BOX`, `DecodeError`. */
export const openRecipientMessage = (key: BoxKey, messageId: Bytes, body: Bytes): RecipientMessage =>
  decodeRecipientMessage(cbDecrypt(key, toNonce(messageId), body))

export const encodeNotificationMeta = ({ messageId, timestamp }: NotificationMeta): Bytes =>
  concat(short(messageId, 'messageId'), seconds(timestamp))

/** Reads notification metadata; what later versions add behind it is ignored. Throws `DecodeError`. */
export const decodeNotificationMeta = (bytes: Bytes): NotificationMeta => {
  const reader = new Reader(bytes, 'notificationMeta')
  return { messageId: reader.short('messageId'), timestamp: readSeconds(reader) }
}

/** The encrypted metadata of NMSG. */
export const sealNotificationMeta = (key: BoxKey, nonce: Bytes, meta: NotificationMeta): Bytes =>
  cbEncrypt(key, nonce, encodeNotificationMeta(meta), NOTIFICATION_PADDING)

/** Opens the metadata of NMSG. Throws `CRYPTO_BOX`, `DecodeError`. */
export const openNotificationMeta = (key: BoxKey, nonce: Bytes, metadata: Bytes): NotificationMeta =>
  decodeNotificationMeta(cbDecrypt(key, nonce, metadata))

const QUOTA = ascii('QUOTA ')
const SPACE = ascii(' ')

const seconds = (timestamp: number): Bytes => {
  if (Number.isSafeInteger(timestamp)) return int64(BigInt(timestamp))
  throw new EncodeError('ENCODE_RANGE', 'timestamp is not whole seconds', { field: 'timestamp' })
}

const readSeconds = (reader: Reader): number => {
  const value = Number(reader.int64('timestamp'))
  return Number.isSafeInteger(value) ? value : reader.fail('timestamp', 'is out of range')
}

const startsWith = (bytes: Bytes, prefix: Bytes): boolean => asBuffer(bytes.subarray(0, prefix.length)).equals(prefix)
