import { asBuffer, type Bytes } from '../encoding/bytes.js'
import { asParts, copyParts, type Parts, partsLength } from '../encoding/parts.js'
import { DecodeError, EncodeError } from '../errors.js'

const LENGTH_BYTES = 2
const MAX_MESSAGE = 2 ** 16 - 3
const FILL = 0x23

/**
 * Brings a message to exactly `paddedLength` bytes: 2-byte length, message, `#` fill.
 * Throws `LARGE_MSG` when it does not fit: the limit is `paddedLength − 2`.
 */
export const pad = (message: Bytes, paddedLength: number): Bytes => {
  checkFits(message.length, paddedLength)
  const padded = Buffer.allocUnsafe(paddedLength)
  writePadded([message], message.length, padded)
  return padded
}

/** As `pad`, into a buffer that is as long as the padded message. Throws `LARGE_MSG`. */
export const padInto = (message: Bytes | Parts, target: Bytes): void => {
  const parts = asParts(message)
  const length = partsLength(parts)
  checkFits(length, target.length)
  writePadded(parts, length, asBuffer(target))
}

/** The message inside of a padded one, as a view of it. Throws `DECODE_TRUNCATED` when the length says more than there is. */
export const unpad = (padded: Bytes, field = 'padded'): Bytes => {
  const length = padded.length < LENGTH_BYTES ? undefined : asBuffer(padded).readUInt16BE()
  if (length === undefined || length > padded.length - LENGTH_BYTES) {
    throw new DecodeError('DECODE_TRUNCATED', `${field} is shorter than its length says`, { field })
  }
  return padded.subarray(LENGTH_BYTES, LENGTH_BYTES + length)
}

const checkFits = (length: number, paddedLength: number): void => {
  const limit = Math.min(MAX_MESSAGE, paddedLength - LENGTH_BYTES)
  if (length <= limit) return
  throw new EncodeError('LARGE_MSG', 'message is larger than its padding allows', {
    field: 'message',
    facts: { length, limit },
    hint: 'Send a smaller message.',
  })
}

const writePadded = (parts: Parts, length: number, target: Buffer): void => {
  target.writeUInt16BE(length)
  target.fill(FILL, copyParts(parts, target, LENGTH_BYTES))
}
