/** Transmissions: a command or response with its credentials, and the batches that carry them in blocks (P: "SMP transmission"). */
import { sha3_384 } from '../../crypto/hash.js'
import {
  asParts,
  type Bytes,
  concat,
  maybe,
  type Parts,
  partsLength,
  Reader,
  short,
  word16,
} from '../../encoding/index.js'
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
/** The longest transmission that a block takes. */
export const MAX_TRANSMISSION = BATCH_ROOM - LENGTH_BYTES

/** The bytes of a transmission, without the length that a batch puts before them. Throws `ENCODE_INVALID`, `ENCODE_TOO_LONG`. */
export const encodeTransmission = (version: number, transmission: RawTransmission): Bytes =>
  concat(...transmissionParts(version, transmission))

/** A transmission to send; its command need not be in one piece. */
export interface NewTransmission extends Omit<RawTransmission, 'command'> {
  readonly command: Bytes | Parts
}

/** As `encodeTransmission`, as parts. */
export const transmissionParts = (version: number, transmission: NewTransmission): Parts => [
  short(transmission.authorization, 'authorization'),
  encodeServiceSignature(version, transmission),
  encodeSessionId(version, transmission.sessionId),
  short(transmission.corrId, 'corrId'),
  short(transmission.entityId, 'entityId'),
  ...asParts(transmission.command),
]

/**
 * The transmission with the bytes that were authorized (`authorizedBytes` of the same session), as parts. For versions that do
 * not send the session id: what was authorized is the transmission behind it. Throws `ENCODE_TOO_LONG`.
 */
export const authorizedTransmission = (
  version: number,
  sessionId: Bytes,
  authorized: Bytes,
  authorization: Bytes,
): Parts => [
  short(authorization, 'authorization'),
  encodeServiceSignature(version, { authorization }),
  authorized.subarray(1 + sessionId.length),
]

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
  { corrId, entityId, command }: Pick<NewTransmission, 'corrId' | 'entityId' | 'command'>,
): Bytes =>
  concat(short(sessionId, 'sessionId'), short(corrId, 'corrId'), short(entityId, 'entityId'), ...asParts(command))

/** One block's worth of transmissions, or the one that no block can take (`LARGE_MSG`). */
export type Batch<Block = Bytes> =
  | { readonly block: Block; readonly count: number }
  | { readonly error: EncodeError; readonly count: 1 }

/**
 * Packs encoded transmissions, in their order, into as few blocks as the reference would: it fills blocks from the end. `block` is
 * what `padBlock` and `BlockCipher.encrypt` take.
 */
export const batchTransmissions = (encoded: readonly Bytes[]): Batch[] =>
  batchParts(encoded.map(asParts)).map(batch =>
    'error' in batch ? batch : { block: concat(...batch.block), count: batch.count },
  )

/** As `batchTransmissions`, with the blocks' content as parts. */
export const batchParts = (encoded: readonly Parts[]): Array<Batch<Parts>> => {
  const batches: Array<Batch<Parts>> = []
  let items: Parts[] = []
  let size = 0
  const closeBatch = () => {
    if (items.length > 0) batches.push({ block: blockParts(items.reverse()), count: items.length })
    items = []
    size = 0
  }
  for (const item of encoded.toReversed()) {
    const length = partsLength(item)
    const itemSize = LENGTH_BYTES + length
    if (size + itemSize > BATCH_ROOM || items.length === MAX_BATCH) closeBatch()
    if (itemSize > BATCH_ROOM) {
      batches.push({ error: tooLarge(length), count: 1 })
    } else {
      items.push(item)
      size += itemSize
    }
  }
  closeBatch()
  return batches.reverse()
}

/** Small transmissions in one piece: many of them in a block are quicker to copy so. */
export const compact = (transmission: Parts): Parts =>
  partsLength(transmission) < COMPACT_BYTES ? [concat(...transmission)] : transmission

const COMPACT_BYTES = 1024

/** The transmissions of a block's content, as views of it: at least one. Throws `DecodeError`. */
export const readBatch = (blockContent: Bytes): Bytes[] => {
  const reader = new Reader(blockContent, 'batch')
  const transmissions = reader.nonEmptyList(item => item.large('transmission'), 'transmissions')
  reader.end()
  return transmissions
}

/** The sender id (24 bytes) of a queue that is created together with link data: the client can tell it before the router answers. */
export const senderIdOf = (corrId: Bytes): Bytes => sha3_384(corrId).subarray(0, 24)

const encodeServiceSignature = (
  version: number,
  { authorization, serviceSignature }: Pick<RawTransmission, 'authorization' | 'serviceSignature'>,
): Bytes => {
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
const blockParts = (items: readonly Parts[]): Parts => [
  Buffer.of(items.length),
  ...items.flatMap(item => [word16(partsLength(item)), ...item]),
]

const tooLarge = (length: number): EncodeError =>
  new EncodeError('LARGE_MSG', 'the transmission is larger than a block', {
    field: 'transmission',
    facts: { length, limit: MAX_TRANSMISSION },
  })

const NOTHING: Bytes = Buffer.alloc(0)
