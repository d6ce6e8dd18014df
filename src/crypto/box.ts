import sodium from 'sodium-native'
import { asBuffer, type Bytes } from '../encoding/bytes.js'
import type { Parts } from '../encoding/parts.js'
import { CryptoError } from '../errors.js'
import { x25519 } from './dh.js'
import { equalConstantTime, sha512 } from './hash.js'
import { padInto, unpad } from './pad.js'

/** Bytes that a box adds before the (padded) message. */
export const BOX_TAG_BYTES = 16
export const NONCE_BYTES = 24
/** Bytes of an X25519 authenticator: the boxed SHA-512 of what is authorized. */
export const AUTHENTICATOR_BYTES = 64 + BOX_TAG_BYTES

/** What XSalsa20-Poly1305 takes: a shared secret after HSalsa20. Worth keeping for as long as the secret is used. */
export interface BoxKey {
  readonly boxKey: Buffer
}

/** The key of crypto_box from a raw X25519 secret (or any 32-byte secret). Throws `CRYPTO_KEY_SIZE`. */
export const boxSecret = (dhSecret: Bytes): BoxKey => {
  if (dhSecret.length !== 32)
    throw new CryptoError('CRYPTO_KEY_SIZE', 'secret is not 32 bytes long', { field: 'secret' })
  return { boxKey: hsalsa20Zero(dhSecret) }
}

/** NaCl crypto_box (tag first) of the padded message: `paddedLength + 16` bytes. Throws `LARGE_MSG`. */
export const cbEncrypt = (key: BoxKey, nonce: Bytes, plaintext: Bytes | Parts, paddedLength: number): Bytes => {
  const packet = Buffer.allocUnsafe(BOX_TAG_BYTES + Math.max(0, paddedLength))
  padInto(plaintext, packet.subarray(BOX_TAG_BYTES))
  sealInPlace(key, nonce, packet)
  return packet
}

/** Opens what `cbEncrypt` made. Throws `CRYPTO_BOX`, or `DECODE_TRUNCATED` when the padding is broken. */
export const cbDecrypt = (key: BoxKey, nonce: Bytes, packet: Bytes): Bytes => unpad(cbDecryptNoPad(key, nonce, packet))

/** NaCl crypto_box without padding: 16 bytes longer than the message. */
export const cbEncryptNoPad = (key: BoxKey, nonce: Bytes, plaintext: Bytes): Bytes => {
  const packet = Buffer.allocUnsafe(BOX_TAG_BYTES + plaintext.length)
  packet.set(plaintext, BOX_TAG_BYTES)
  sealInPlace(key, nonce, packet)
  return packet
}

/** Opens what `cbEncryptNoPad` made. Throws `CRYPTO_BOX` when key, nonce or packet are not the right ones. */
export const cbDecryptNoPad = (key: BoxKey, nonce: Bytes, packet: Bytes): Bytes => {
  const plaintext = Buffer.allocUnsafe(Math.max(0, packet.length - BOX_TAG_BYTES))
  if (!open(key, nonce, packet, plaintext)) throw boxError()
  return plaintext
}

/**
 * Secretbox as SMP has it, which is not NaCl's: the raw key goes through one more HSalsa20 first. Throws `LARGE_MSG`.
 */
export const sbEncrypt = (rawKey: Bytes, nonce: Bytes, plaintext: Bytes, paddedLength: number): Bytes =>
  cbEncrypt(boxSecret(rawKey), nonce, plaintext, paddedLength)

/** Opens what `sbEncrypt` made. Throws as `cbDecrypt` does. */
export const sbDecrypt = (rawKey: Bytes, nonce: Bytes, packet: Bytes): Bytes =>
  cbDecrypt(boxSecret(rawKey), nonce, packet)

/** Seals in place: `packet` holds 16 free bytes, then the message; afterwards the tag, then the ciphertext. */
export const sealInPlace = ({ boxKey }: BoxKey, nonce: Bytes, packet: Bytes): void => {
  checkNonce(nonce)
  const buffer = asBuffer(packet)
  const text = buffer.subarray(BOX_TAG_BYTES)
  sodium.crypto_secretbox_detached(text, buffer.subarray(0, BOX_TAG_BYTES), text, asBuffer(nonce), boxKey)
}

/** Opens in place and returns the message as a view of the packet. Throws `CRYPTO_BOX`; the packet is then unchanged. */
export const openInPlace = (key: BoxKey, nonce: Bytes, packet: Bytes): Bytes => {
  if (packet.length < BOX_TAG_BYTES) throw boxError()
  const text = packet.subarray(BOX_TAG_BYTES)
  if (!open(key, nonce, packet, text)) throw boxError()
  return text
}

/** The X25519 authenticator of a message (80 bytes): a box of its SHA-512 between the two keys. Protocol: "deniable authorization". */
export const cbAuthenticate = (peerPublic: Bytes, ownPrivate: Bytes, nonce: Bytes, message: Bytes): Bytes =>
  cbEncryptNoPad(boxSecret(x25519(ownPrivate, peerPublic)), nonce, sha512(message))

/** Whether the authenticator is right, compared in constant time; a bad peer key or size is wrong, not an error. */
export const cbVerify = (
  peerPublic: Bytes,
  ownPrivate: Bytes,
  nonce: Bytes,
  authenticator: Bytes,
  message: Bytes,
): boolean => {
  try {
    const digest = cbDecryptNoPad(boxSecret(x25519(ownPrivate, peerPublic)), nonce, authenticator)
    return equalConstantTime(digest, sha512(message))
  } catch (error) {
    if (error instanceof CryptoError) return false
    throw error
  }
}

/** The reference takes any bytes as a nonce: longer ones are cut, shorter ones filled with zeros. */
export const toNonce = (bytes: Bytes): Bytes => {
  const nonce = Buffer.alloc(NONCE_BYTES)
  nonce.set(bytes.subarray(0, NONCE_BYTES))
  return nonce
}

/** A reply through a proxy is boxed under the request's nonce with its bytes reversed. */
export const reverseNonce = (nonce: Bytes): Bytes => Buffer.from(nonce).reverse()

const open = ({ boxKey }: BoxKey, nonce: Bytes, packet: Bytes, target: Bytes): boolean => {
  if (packet.length < BOX_TAG_BYTES) return false
  checkNonce(nonce)
  const buffer = asBuffer(packet)
  const tag = buffer.subarray(0, BOX_TAG_BYTES)
  const text = buffer.subarray(BOX_TAG_BYTES)
  return sodium.crypto_secretbox_open_detached(asBuffer(target), text, tag, asBuffer(nonce), boxKey)
}

const boxError = (): CryptoError =>
  new CryptoError('CRYPTO_BOX', 'the box does not open with this key and nonce', { field: 'packet' })

const checkNonce = (nonce: Bytes): void => {
  if (nonce.length === NONCE_BYTES) return
  throw new CryptoError('CRYPTO_NONCE_SIZE', `nonce is not ${NONCE_BYTES} bytes long`, { field: 'nonce' })
}

const ZERO_NONCE = Buffer.alloc(8)
/** "expand 32-byte k": words 0, 5, 10 and 15 of every Salsa20 state. */
const SIGMA = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const

/**
 * HSalsa20 of a key with zero input. The library does not export it, but it exports Salsa20: with a zero nonce and counter its first
 * block is the permuted state plus the initial one, so taking the known initial words away leaves HSalsa20's output.
 */
const hsalsa20Zero = (key: Bytes): Buffer => {
  const block = Buffer.allocUnsafe(64)
  salsa20(block, ZERO_NONCE, asBuffer(key))
  const output = Buffer.allocUnsafeSlow(32)
  for (let word = 0; word < 4; word++) {
    output.writeUInt32LE((block.readUInt32LE(word * 20) - (SIGMA[word] as number)) >>> 0, word * 4)
    output.writeUInt32LE(block.readUInt32LE(24 + word * 4), 16 + word * 4)
  }
  return output
}

/** Not in the published types. */
const salsa20 = (sodium as unknown as { crypto_stream_salsa20(out: Buffer, nonce: Buffer, key: Buffer): void })
  .crypto_stream_salsa20
