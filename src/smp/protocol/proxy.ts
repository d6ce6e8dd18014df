/**
 * The encryption of commands that a proxy forwards: client → proxy (PFWD) → destination router (RFWD), and the answers back (RRES,
 * PRES). The inner box is between client and destination, the outer one between proxy and destination (P: "Proxying sender commands").
 */
import {
  type BoxKey,
  cbDecrypt,
  cbDecryptNoPad,
  cbEncrypt,
  cbEncryptNoPad,
  reverseNonce,
  toNonce,
} from '../../crypto/box.js'
import { type Bytes, concat, Reader, short, type VersionRange, word16 } from '../../encoding/index.js'
import { encodeDhKey, readDhKey } from './fields.js'

/** The highest version that clients and destinations use through a proxy. */
export const MAX_PROXIED_VERSION = 17
/** What a proxy lets clients and destinations speak: capped, so that a destination cannot tell clients apart by their newest version. */
export const PROXIED_VERSIONS: VersionRange = { min: 8, max: MAX_PROXIED_VERSION }
/** To what length the batch with the one forwarded transmission is padded. */
const PROXIED_PADDING = 16_226

/** What the proxy tells the destination about a PFWD. */
export interface ForwardedTransmission {
  /** The correlation id of PFWD: the nonce between client and destination. */
  readonly corrId: Bytes
  /** The version that the client chose from PKEY. */
  readonly version: number
  /** The client's raw X25519 key, made for this command alone. */
  readonly key: Bytes
  readonly transmission: Bytes
}

/** What the destination answers to the proxy. */
export interface ForwardedResponse {
  readonly corrId: Bytes
  readonly response: Bytes
}

/** The client's batch for PFWD. The key is of the command's X25519 key and the destination's session key. Throws `LARGE_MSG`. */
export const sealProxiedTransmission = (key: BoxKey, corrId: Bytes, batch: Bytes): Bytes =>
  cbEncrypt(key, toNonce(corrId), batch, PROXIED_PADDING)

/** The destination opens what `sealProxiedTransmission` made. Throws `CRYPTO_BOX`, `DecodeError`. */
export const openProxiedTransmission = (key: BoxKey, corrId: Bytes, transmission: Bytes): Bytes =>
  cbDecrypt(key, toNonce(corrId), transmission)

/** The destination's batch for PRES. Answers use the nonce of the command with its bytes reversed. Throws `LARGE_MSG`. */
export const sealProxiedResponse = (key: BoxKey, corrId: Bytes, batch: Bytes): Bytes =>
  cbEncrypt(key, reverseNonce(toNonce(corrId)), batch, PROXIED_PADDING)

/** The client opens PRES. Throws `CRYPTO_BOX`, `DecodeError`. */
export const openProxiedResponse = (key: BoxKey, corrId: Bytes, response: Bytes): Bytes =>
  cbDecrypt(key, reverseNonce(toNonce(corrId)), response)

/** The proxy's body of RFWD. The key is of the session keys of proxy and destination, `corrId` that of RFWD. */
export const sealForwardedTransmission = (key: BoxKey, corrId: Bytes, forwarded: ForwardedTransmission): Bytes =>
  cbEncryptNoPad(key, toNonce(corrId), encodeForwardedTransmission(forwarded))

/** The destination opens RFWD. Throws `CRYPTO_BOX`, `DecodeError`. */
export const openForwardedTransmission = (key: BoxKey, corrId: Bytes, body: Bytes): ForwardedTransmission =>
  decodeForwardedTransmission(cbDecryptNoPad(key, toNonce(corrId), body))

/** The destination's body of RRES. */
export const sealForwardedResponse = (key: BoxKey, corrId: Bytes, forwarded: ForwardedResponse): Bytes =>
  cbEncryptNoPad(key, reverseNonce(toNonce(corrId)), encodeForwardedResponse(forwarded))

/** The proxy opens RRES. Throws `CRYPTO_BOX`, `DecodeError`. */
export const openForwardedResponse = (key: BoxKey, corrId: Bytes, body: Bytes): ForwardedResponse =>
  decodeForwardedResponse(cbDecryptNoPad(key, reverseNonce(toNonce(corrId)), body))

export const encodeForwardedTransmission = (forwarded: ForwardedTransmission): Bytes =>
  concat(
    short(forwarded.corrId, 'corrId'),
    word16(forwarded.version, 'version'),
    encodeDhKey(forwarded.key),
    forwarded.transmission,
  )

/** Throws `DecodeError`. */
export const decodeForwardedTransmission = (bytes: Bytes): ForwardedTransmission => {
  const reader = new Reader(bytes, 'forwardedTransmission')
  return {
    corrId: reader.short('corrId'),
    version: reader.word16('version'),
    key: readDhKey(reader, 'key'),
    transmission: reader.rest(),
  }
}

export const encodeForwardedResponse = ({ corrId, response }: ForwardedResponse): Bytes =>
  concat(short(corrId, 'corrId'), response)

/** Throws `DecodeError`. */
export const decodeForwardedResponse = (bytes: Bytes): ForwardedResponse => {
  const reader = new Reader(bytes, 'forwardedResponse')
  return { corrId: reader.short('corrId'), response: reader.rest() }
}
