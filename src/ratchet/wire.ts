import { AES_TAG_BYTES, decodePublicKey, encodePublicKey } from '../crypto/index.js'
import {
  type Bytes,
  type Parts,
  Reader,
  ascii,
  concat,
  large,
  maybe,
  short,
  word16,
  word32,
} from '../encoding/index.js'
import { IV_BYTES, KEM_E2E_VERSION, type KemParams } from './types.js'

/** The header that travels encrypted before every message body. */
export interface MessageHeader {
  /** The highest e2e version of the sender: it lets both sides rise to it. */
  readonly maxVersion: number
  readonly dhKey: Bytes
  readonly kem?: KemParams
  /** How many messages the sender's previous chain had. */
  readonly previousCount: number
  readonly messageNumber: number
}

/** The encrypted header, taken apart. */
export interface EncryptedHeader {
  readonly version: number
  readonly iv: Bytes
  readonly tag: Bytes
  readonly body: Bytes
}

/** A ratchet message, taken apart; the header keeps its exact bytes because they are associated data of the body. */
export interface EncryptedMessage {
  readonly header: Bytes
  readonly tag: Bytes
  readonly body: Bytes
}

/** Bytes that a header is padded to: more once it may carry KEM keys. */
export const paddedHeaderLength = (version: number, kemSupport: boolean): number =>
  kemSupport && version >= KEM_E2E_VERSION ? 2310 : 88

/** A plain header in the form of `version`. */
export const encodeHeader = (version: number, header: MessageHeader): Bytes =>
  concat(
    word16(header.maxVersion),
    short(encodePublicKey('x448', header.dhKey)),
    ...(version >= KEM_E2E_VERSION ? [maybe(header.kem, encodeKemParams)] : []),
    word32(header.previousCount),
    word32(header.messageNumber),
  )

/** Reads a plain header; what follows it is left to later versions. Throws DecodeError. */
export const decodeHeader = (version: number, bytes: Bytes): MessageHeader => {
  const reader = new Reader(bytes, 'ratchetHeader')
  const maxVersion = reader.word16('maxVersion')
  const dhKey = readX448Key(reader, 'dhKey')
  const kem = version >= KEM_E2E_VERSION ? reader.maybe(readKemParams, 'kem') : undefined
  const previousCount = reader.word32('previousCount')
  const messageNumber = reader.word32('messageNumber')
  return { maxVersion, dhKey, previousCount, messageNumber, ...(kem === undefined ? {} : { kem }) }
}

/** Version, IV, tag and the header behind its length. */
export const encodeEncryptedHeader = ({ version, iv, tag, body }: EncryptedHeader): Bytes =>
  concat(word16(version), iv, tag, withLength(version, body))

/** The reverse of `encodeEncryptedHeader`. Throws DecodeError. */
export const decodeEncryptedHeader = (bytes: Bytes): EncryptedHeader => {
  const reader = new Reader(bytes, 'encryptedHeader')
  const header = {
    version: reader.word16('version'),
    iv: reader.take(IV_BYTES, 'iv'),
    tag: reader.take(AES_TAG_BYTES, 'tag'),
    body: readWithLength(reader, 'body'),
  }
  reader.end()
  return header
}

/** The header behind its length, the tag, the body to the end. */
export const encodeMessage = (version: number, message: EncryptedMessage): Bytes =>
  concat(...messageParts(version, message))

/** As `encodeMessage`, as parts. */
export const messageParts = (version: number, { header, tag, body }: EncryptedMessage): Parts => [
  withLength(version, header),
  tag,
  body,
]

/** The reverse of `encodeMessage`. Throws DecodeError. */
export const decodeMessage = (bytes: Bytes): EncryptedMessage => {
  const reader = new Reader(bytes, 'ratchetMessage')
  return {
    header: readWithLength(reader, 'header'),
    tag: reader.take(AES_TAG_BYTES, 'tag'),
    body: reader.rest(),
  }
}

/** KEM fields: `P` key, or `A` ciphertext key. */
export const encodeKemParams = (kem: KemParams): Bytes =>
  kem.kind === 'proposed'
    ? concat(ascii('P'), large(kem.publicKey))
    : concat(ascii('A'), large(kem.ciphertext), large(kem.publicKey))

/** The reverse of `encodeKemParams`. Throws DecodeError. */
export const readKemParams = (reader: Reader): KemParams => {
  const kind = String.fromCharCode(reader.byte('kem'))
  if (kind === 'P') return { kind: 'proposed', publicKey: reader.large('kem.publicKey') }
  if (kind !== 'A') return reader.fail('kem', 'must start with P or A')
  return { kind: 'accepted', ciphertext: reader.large('kem.ciphertext'), publicKey: reader.large('kem.publicKey') }
}

/** An X448 key as SPKI behind its length, read as raw bytes. Throws DecodeError. */
export const readX448Key = (reader: Reader, field: string): Bytes =>
  decodePublicKey(reader.short(field), ['x448'], field).raw

const withLength = (version: number, bytes: Bytes): Bytes => (version >= KEM_E2E_VERSION ? large(bytes) : short(bytes))

// A header is never shorter than 32 bytes, so a smaller first byte must be the high half of a 2-byte length. Both forms
// are read in every version: a side may rise to the next version from one message to the next.
const readWithLength = (reader: Reader, field: string): Bytes =>
  (reader.peek() ?? 0) < 32 ? reader.large(field) : reader.short(field)
