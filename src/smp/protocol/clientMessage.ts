/**
 * What senders put into queues: an envelope that the recipient opens with the queue's own secret; inside, a private header and the
 * agent's bytes (P: "SMP message body").
 */
import { BOX_TAG_BYTES, type BoxKey, cbDecrypt, NONCE_BYTES, openInPlace, sealInPlace } from '../../crypto/box.js'
import { padInto, unpad } from '../../crypto/pad.js'
import type { PublicKey } from '../../crypto/keys.js'
import {
  ascii,
  asParts,
  type Bytes,
  concat,
  copyParts,
  maybe,
  type Parts,
  partsLength,
  Reader,
  word16,
} from '../../encoding/index.js'
import { encodeAuthKey, encodeDhKey, readAuthKey, readDhKey } from './fields.js'

/** To what length messages are padded inside of their envelope. */
export const MESSAGE_PADDING = 16_000
/** The same for confirmations and invitations, whose envelopes also carry a key. */
export const CONFIRMATION_PADDING = 15_904

/** The readable part of an envelope. */
export interface EnvelopeHeader {
  /** The version of messages between SMP clients. */
  readonly version: number
  /** The sender's raw X25519 key for this queue: in the first message only. */
  readonly dhKey?: Bytes | undefined
}

/** An envelope: the body of SEND. */
export interface Envelope {
  readonly header: EnvelopeHeader
  readonly nonce: Bytes
  /** crypto_box of the padded client message. */
  readonly box: Bytes
}

/** What is inside. */
export interface ClientMessage {
  /** The key that the recipient shall secure the queue with; without it the sender did that itself, or it is done. */
  readonly senderKey?: PublicKey | undefined
  readonly body: Bytes
}

/** The largest body of SEND, in bytes, between peers of this SMP version. */
export const maxMessageLength = (version: number): number => (version >= 11 ? 16_048 : version >= 8 ? 16_064 : 16_088)

/** A client message to send; its body need not be in one piece. */
export interface NewClientMessage {
  readonly senderKey?: PublicKey | undefined
  readonly body: Bytes | Parts
}

export const encodeEnvelopeHeader = ({ version, dhKey }: EnvelopeHeader): Bytes =>
  concat(word16(version, 'clientVersion'), maybe(dhKey, encodeDhKey))

export const readEnvelopeHeader = (reader: Reader): EnvelopeHeader => {
  const version = reader.word16('clientVersion')
  const dhKey = reader.maybe(inner => readDhKey(inner, 'dhKey'), 'dhKey')
  return dhKey === undefined ? { version } : { version, dhKey }
}

export const encodeEnvelope = ({ header, nonce, box }: Envelope): Bytes =>
  concat(encodeEnvelopeHeader(header), nonce, box)

/** Reads an envelope, as views of its bytes. Throws `DecodeError`. */
export const decodeEnvelope = (bytes: Bytes): Envelope => {
  const reader = new Reader(bytes, 'envelope')
  return { header: readEnvelopeHeader(reader), nonce: reader.take(NONCE_BYTES, 'nonce'), box: reader.rest() }
}

export const encodeClientMessage = (message: ClientMessage): Bytes => concat(...clientMessageParts(message))

const clientMessageParts = ({ senderKey, body }: NewClientMessage): Parts => [
  ...(senderKey === undefined ? [EMPTY_HEADER] : [KEY_HEADER, encodeAuthKey(senderKey)]),
  ...asParts(body),
]

/** Reads a client message, as views of its bytes. Throws `DecodeError`. */
export const decodeClientMessage = (bytes: Bytes): ClientMessage => {
  const reader = new Reader(bytes, 'clientMessage')
  const tag = reader.byte('privateHeader')
  if (tag === EMPTY_HEADER[0]) return { body: reader.rest() }
  if (tag !== KEY_HEADER[0]) return reader.fail('privateHeader', 'must be _ or K')
  const senderKey = readAuthKey(reader, 'senderKey')
  return { senderKey, body: reader.rest() }
}

/** Encrypts a client message for its queue and gives the whole envelope. Throws `LARGE_MSG` when it does not fit the padding. */
export const sealEnvelope = (
  key: BoxKey,
  nonce: Bytes,
  header: EnvelopeHeader,
  message: NewClientMessage,
  paddedLength: number,
): Bytes => {
  const head = [encodeEnvelopeHeader(header), nonce]
  const envelope = Buffer.allocUnsafe(partsLength(head) + BOX_TAG_BYTES + paddedLength)
  const box = envelope.subarray(copyParts(head, envelope))
  padInto(clientMessageParts(message), box.subarray(BOX_TAG_BYTES))
  sealInPlace(key, nonce, box)
  return envelope
}

/** Opens an envelope with the queue's secret. Throws `CRYPTO_BOX`, `DecodeError`. */
export const openEnvelope = (key: BoxKey, { nonce, box }: Pick<Envelope, 'nonce' | 'box'>): ClientMessage =>
  decodeClientMessage(cbDecrypt(key, nonce, box))

/** As `openEnvelope`, for who owns the box: its bytes are overwritten, the body is a view of them. */
export const openEnvelopeInPlace = (key: BoxKey, { nonce, box }: Pick<Envelope, 'nonce' | 'box'>): ClientMessage =>
  decodeClientMessage(unpad(openInPlace(key, nonce, box)))

const EMPTY_HEADER = ascii('_')
const KEY_HEADER = ascii('K')
