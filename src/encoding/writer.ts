import { EncodeError } from '../errors.js'
import type { Bytes } from './bytes.js'

const NOTHING = Buffer.from('0')
const JUST = Buffer.from('1')
const TRUE = Buffer.from('T')
const FALSE = Buffer.from('F')
const MAX_BYTE = 0xff
const MAX_WORD16 = 0xffff
const MAX_WORD32 = 0xffffffff
const MIN_INT64 = -(2n ** 63n)
const MAX_INT64 = 2n ** 63n - 1n

/** All parts behind each other. */
export const concat = (...parts: readonly Bytes[]): Bytes => Buffer.concat(parts)

/** ASCII text as it is. Throws `ENCODE_INVALID` for anything else. */
export const ascii = (text: string, field = 'text'): Bytes => {
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length !== text.length) throw new EncodeError('ENCODE_INVALID', `${field} is not ASCII`, { field })
  return bytes
}

/** Text as UTF-8, without a length. */
export const utf8 = (text: string): Bytes => Buffer.from(text, 'utf8')

/** One byte, 0..255. Throws `ENCODE_RANGE`. */
export const byte = (value: number, field = 'number'): Bytes => {
  checkRange(value, MAX_BYTE, field)
  return Buffer.of(value)
}

/** 0..65,535 in two bytes, big-endian. Throws `ENCODE_RANGE`. */
export const word16 = (value: number, field = 'number'): Bytes => {
  checkRange(value, MAX_WORD16, field)
  const bytes = Buffer.allocUnsafe(2)
  bytes.writeUInt16BE(value)
  return bytes
}

/** 0..2³²−1 in four bytes, big-endian. Throws `ENCODE_RANGE`. */
export const word32 = (value: number, field = 'number'): Bytes => {
  checkRange(value, MAX_WORD32, field)
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A signed 64-bit number in eight bytes, big-endian. Throws `ENCODE_RANGE`. */
export const int64 = (value: bigint, field = 'number'): Bytes => {
  if (value < MIN_INT64 || value > MAX_INT64) throw outOfRange(field)
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigInt64BE(value)
  return bytes
}

/** At most 255 bytes behind a 1-byte length. Throws `ENCODE_TOO_LONG`. */
export const short = (bytes: Bytes, field = 'bytes'): Bytes => {
  checkLength(bytes.length, MAX_BYTE, field)
  const result = Buffer.allocUnsafe(1 + bytes.length)
  result[0] = bytes.length
  result.set(bytes, 1)
  return result
}

/** At most 65,535 bytes behind a 2-byte length. Throws `ENCODE_TOO_LONG`. */
export const large = (bytes: Bytes, field = 'bytes'): Bytes => {
  checkLength(bytes.length, MAX_WORD16, field)
  const result = Buffer.allocUnsafe(2 + bytes.length)
  result.writeUInt16BE(bytes.length)
  result.set(bytes, 2)
  return result
}

/** `0` for undefined, `1` and the value otherwise. */
export const maybe = <T>(value: T | undefined, encode: (value: T) => Bytes): Bytes =>
  value === undefined ? NOTHING : Buffer.concat([JUST, encode(value)])

/** `T` or `F`. */
export const bool = (value: boolean): Bytes => (value ? TRUE : FALSE)

/** At most 255 items behind a 1-byte count. Throws `ENCODE_TOO_LONG`. */
export const list = <T>(items: readonly T[], encode: (item: T) => Bytes, field = 'list'): Bytes => {
  checkLength(items.length, MAX_BYTE, field)
  return Buffer.concat([Buffer.of(items.length), ...items.map(item => encode(item))])
}

const checkRange = (value: number, max: number, field: string): void => {
  if (!Number.isInteger(value) || value < 0 || value > max) throw outOfRange(field)
}

const outOfRange = (field: string): EncodeError =>
  new EncodeError('ENCODE_RANGE', `${field} is out of range`, { field })

const checkLength = (length: number, limit: number, field: string): void => {
  if (length <= limit) return
  throw new EncodeError('ENCODE_TOO_LONG', `${field} is longer than ${limit}`, { field, facts: { length, limit } })
}
