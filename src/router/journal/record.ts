/**
 * Records of the message journal. Header of 26 bytes, then the payload:
 *
 *     mark (8) · type (1) · flags (1) · id length (1) · 0 (1) · sequence (6) · payload length (4) · CRC-32 (4)
 *
 * payload of a message or marker: queue id · message id (24) · seconds since 1970 (6) · body; of a removal: queue id.
 * The CRC covers header and payload, so a torn or damaged record is told from a whole one. The mark is random and differs
 * by segment: a body, which a sender chooses, cannot pass for a record when a damaged segment is searched for the next one.
 */
import { crc32 } from 'node:zlib'
import type { Bytes } from '../../encoding/index.js'
import type { MessageEntry } from '../messageLog.js'

export const markLength = 8
const headerLength = 26
const at = { type: 8, flags: 9, idLength: 10, reserved: 11, seq: 12, payload: 18, crc: 22 } as const
const types = { message: 1, quota: 2, removed: 3 } as const
const notificationFlag = 1
const messageIdLength = 24
const timestampLength = 6
/** A body is at most what fits a block; anything longer in a header is damage. */
const longestPayload = 255 + messageIdLength + timestampLength + 65_535

/** A record as chunks for one gathered write: a body is never copied. */
export interface EncodedRecord {
  readonly chunks: readonly Bytes[]
  readonly length: number
}

/** The record that keeps a message or a marker. */
export const encodeMessage = (mark: Bytes, entry: MessageEntry, body: Bytes): EncodedRecord => {
  const queue = entry.queue.length
  const head = Buffer.allocUnsafe(headerLength + queue + messageIdLength + timestampLength)
  head.write(entry.queue, headerLength, 'latin1')
  head.write(entry.id, headerLength + queue, messageIdLength, 'latin1')
  head.writeUIntBE(entry.timestamp, headerLength + queue + messageIdLength, timestampLength)
  const flags = entry.notification ? notificationFlag : 0
  return seal(mark, { type: types[entry.kind], flags, idLength: queue, seq: entry.seq }, head, body)
}

/** The record that says that a message is no longer needed. */
export const encodeRemoval = (mark: Bytes, entry: MessageEntry): EncodedRecord => {
  const head = Buffer.allocUnsafe(headerLength + entry.queue.length)
  head.write(entry.queue, headerLength, 'latin1')
  const fields = { type: types.removed, flags: 0, idLength: entry.queue.length, seq: entry.seq }
  return seal(mark, fields, head, undefined)
}

const seal = (
  mark: Bytes,
  fields: { type: number; flags: number; idLength: number; seq: number },
  head: Buffer,
  body: Bytes | undefined,
): EncodedRecord => {
  const length = head.length + (body?.length ?? 0)
  head.set(mark, 0)
  head[at.type] = fields.type
  head[at.flags] = fields.flags
  head[at.idLength] = fields.idLength
  head[at.reserved] = 0
  head.writeUIntBE(fields.seq, at.seq, 6)
  head.writeUInt32BE(length - headerLength, at.payload)
  head.writeUInt32BE(checksum(head, body), at.crc)
  return { chunks: body === undefined || body.length === 0 ? [head] : [head, body], length }
}

/** CRC of header and payload without the CRC's own four bytes. */
const checksum = (head: Bytes, body: Bytes | undefined): number => {
  const sum = crc32(head.subarray(headerLength), crc32(head.subarray(0, at.crc)))
  return body === undefined ? sum : crc32(body, sum)
}

export type JournalRecord =
  | { readonly type: 'message'; readonly entry: MessageEntry; readonly length: number; readonly bodyOffset: number }
  | { readonly type: 'removed'; readonly queue: string; readonly seq: number; readonly length: number }

/**
 * The record at `offset` of a segment with this mark, or undefined when the bytes there are no whole record.
 * `bodyOffset` in the answer counts from `offset`.
 */
export const decodeRecord = (mark: Bytes, bytes: Buffer, offset: number): JournalRecord | undefined => {
  if (bytes.length - offset < headerLength) return undefined
  if (bytes.compare(mark, 0, markLength, offset, offset + markLength) !== 0) return undefined
  const payload = bytes.readUInt32BE(offset + at.payload)
  const length = headerLength + payload
  if (payload > longestPayload || bytes.length - offset < length) return undefined
  const record = bytes.subarray(offset, offset + length)
  if (record.readUInt32BE(at.crc) !== checksum(record, undefined)) return undefined
  return parse(record)
}

const parse = (record: Buffer): JournalRecord | undefined => {
  const [type, flags, idLength] = [record[at.type], record[at.flags] ?? 0, record[at.idLength] ?? 0]
  const seq = record.readUIntBE(at.seq, 6)
  const queue = record.toString('latin1', headerLength, headerLength + idLength)
  if (type === types.removed) return { type: 'removed', queue, seq, length: record.length }
  const idStart = headerLength + idLength
  const bodyOffset = idStart + messageIdLength + timestampLength
  if ((type !== types.message && type !== types.quota) || record.length < bodyOffset) return undefined
  const entry: MessageEntry = {
    seq,
    queue,
    id: record.toString('latin1', idStart, idStart + messageIdLength),
    timestamp: record.readUIntBE(idStart + messageIdLength, timestampLength),
    kind: type === types.quota ? 'quota' : 'message',
    notification: (flags & notificationFlag) !== 0,
    committed: true,
    live: true,
  }
  return { type: 'message', entry, length: record.length, bodyOffset }
}

/** The next place at or after `offset` where a whole record begins; undefined when there is none. */
export const findRecord = (mark: Bytes, bytes: Buffer, offset: number): number | undefined => {
  for (let found = bytes.indexOf(mark, offset); found >= 0; found = bytes.indexOf(mark, found + 1)) {
    if (decodeRecord(mark, bytes, found) !== undefined) return found
  }
  return undefined
}
