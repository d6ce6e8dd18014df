/** Transmissions: a command or response with its credentials, and the batches that carry them in blocks (P: "SMP transmission"). */
import { sha3_384 } from '../../crypto/hash.js'
import { type Bytes, concat, maybe, Reader, short } from '../../encoding/index.js'
import { EncodeError } from '../../errors.js'
import { BATCH_ROOM } from './block.js'

/** A transmission whose command is not read yet. */
export interface RawTransmission {
  /** A signature or authenticator; empty for none. See `authorization.ts`. */
  readonly authorization: Bytes
  /** From 16 on: the Ed25519 signature of a service, which only stands beside an authorization. */
  readonly serviceSignature?: Bytes | undefined
  /** 24 bytes that tie the answer to the command; empty for what a router sends by itself. */
  readonly corrId: Bytes
  /** The queue, link or session that it is about; empty for none. */
  readonly entityId: Bytes
  readonly command: Bytes
  /** Below 7 only: the session id stands in the transmission itself. */
  readonly sessionId?: Bytes | undefined
}

/** Commands per batch at most: its count is one byte. */
export const MAX_BATCH = 255
/** From this version on the session id is authorized, but not sent. */
export const VERSION_SESSION_IMPLIED = 7
/** From this version on a service signature may follow the authorization. */
const VERSION_SERVICE_SIGNATURE = 16
const SERVICE_SIGNATURE_BYTES = 64
const LENGTH_BYTES = 2

/** The bytes of a transmission, without the length that a batch puts before them. Throws `ENCODE_INVALID`, `ENCODE_TOO_LONG`. */
export const encodeTransmission = (version: number, transmission: RawTransmission): Bytes =>
  concat(
    short(transmission.authorization, 'authorization'),
    encodeServiceSignature(version, transmission),
    encodeSessionId(version, transmission.sessionId),
    short(transmission.corrId, 'corrId'),
    short(transmission.entityId, 'entityId'),
    transmission.command,
  )

/** Reads a transmission; its fields are views of the bytes. Throws `DecodeError`. */
export const decodeTransmission = (version: number, bytes: Bytes): RawTransmission => {
  const reader = new Reader(bytes, 'transmission')
  const authorization = reader.short('authorization')
  const serviceSignature =
    version >= VERSION_SERVICE_SIGNATURE && authorization.length > 0
      ? reader.maybe(readServiceSignature, 'serviceSignature')
      : undefined
  const sessionId = version < VERSION_SESSION_IMPLIED ? reader.short('sessionId') : undefined
  return {
    authorization,
    corrId: reader.short('corrId'),
    entityId: reader.short('entityId'),
    command: reader.rest(),
    ...(serviceSignature === undefined ? {} : { serviceSignature }),
    ...(sessionId === undefined ? {} : { sessionId }),
  }
}

/** What an authorization covers, in every version: the id of the TLS session, then the transmission without its credentials. */
export const authorizedBytes = (
  sessionId: Bytes,
  { corrId, entityId, command }: Pick<RawTransmission, 'corrId' | 'entityId' | 'command'>,
): Bytes => concat(short(sessionId, 'sessionId'), short(corrId, 'corrId'), short(entityId, 'entityId'), command)

/** One block's worth of transmissions, or the one that no block can take (`LARGE_MSG`). */
export type Batch =
  | { readonly block: Bytes; readonly count: number }
  | { readonly error: EncodeError; readonly count: 1 }

/**
 * Packs encoded transmissions, in their order, into as few blocks as the reference would: it fills blocks from the end. `block` is
 * what `padBlock` and `BlockCipher.encrypt` take.
 */
export const batchTransmissions = (encoded: readonly Bytes[]): Batch[] => {
  const batches: Batch[] = []
  let items: Bytes[] = []
  let size = 0
  const closeBatch = () => {
    if (items.length > 0) batches.push({ block: encodeBatch(items.reverse(), size), count: items.length })
    items = []
    size = 0
  }
  for (const item of encoded.toReversed()) {
    const itemSize = LENGTH_BYTES + item.length
    if (size + itemSize > BATCH_ROOM || items.length === MAX_BATCH) closeBatch()
    if (itemSize > BATCH_ROOM) {
      batches.push({ error: tooLarge(item.length), count: 1 })
    } else {
      items.push(item)
      size += itemSize
    }
  }
  closeBatch()
  return batches.reverse()
}

/** The transmissions of a block's content, as views of it: at least one. Throws `DecodeError`. */
export const readBatch = (blockContent: Bytes): Bytes[] => {
  const reader = new Reader(blockContent, 'batch')
  const transmissions = reader.nonEmptyList(item => item.large('transmission'), 'transmissions')
  reader.end()
  return transmissions
}

/** The sender id (24 bytes) of a queue that is created together with link data: the client can tell it before the router answers. */
export const senderIdOf = (corrId: Bytes): Bytes => sha3_384(corrId).subarray(0, 24)

const encodeServiceSignature = (version: number, { authorization, serviceSignature }: RawTransmission): Bytes => {
  const hasRoom = version >= VERSION_SERVICE_SIGNATURE && authorization.length > 0
  if (hasRoom) return maybe(serviceSignature, signature => short(signature, 'serviceSignature'))
  if (serviceSignature === undefined) return NOTHING
  throw new EncodeError('ENCODE_INVALID', 'this transmission cannot carry a service signature', {
    field: 'transmission.serviceSignature',
  })
}

const readServiceSignature = (reader: Reader): Bytes => {
  const signature = reader.short('serviceSignature')
  return signature.length === SERVICE_SIGNATURE_BYTES
    ? signature
    : reader.fail('serviceSignature', 'must have 64 bytes')
}

const encodeSessionId = (version: number, sessionId: Bytes | undefined): Bytes => {
  if (version >= VERSION_SESSION_IMPLIED) return NOTHING
  if (sessionId !== undefined) return short(sessionId, 'sessionId')
  throw new EncodeError('ENCODE_INVALID', `a transmission of version ${version} needs its session id`, {
    field: 'transmission.sessionId',
  })
}

/** The count, then each transmission behind its 2-byte length. */
const encodeBatch = (items: readonly Bytes[], size: number): Bytes => {
  const block = Buffer.allocUnsafe(1 + size)
  block[0] = items.length
  let at = 1
  for (const item of items) {
    block.writeUInt16BE(item.length, at)
    block.set(item, at + LENGTH_BYTES)
    at += LENGTH_BYTES + item.length
  }
  return block
}

const tooLarge = (length: number): EncodeError =>
  new EncodeError('LARGE_MSG', 'the transmission is larger than a block', {
    field: 'transmission',
    facts: { length, limit: BATCH_ROOM - LENGTH_BYTES },
  })

const NOTHING: Bytes = Buffer.alloc(0)
