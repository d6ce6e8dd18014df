/**
 * The key encapsulation mechanism sntrup761 (Streamlined NTRU Prime, draft-josefsson-ntruprime-streamlined), with implicit rejection:
 * a ciphertext that was not made for the key gives a secret that only this key gives, and no error.
 * Randomness is handed in. Sizes are checked by the callers (see port.ts).
 */
import { createHash } from 'node:crypto'
import { decodeRounded, decodeRq, decodeSmall, encodeRounded, encodeRq, encodeSmall } from './coding.mjs'
import { modulo3, multiply, P, Q, reciprocal, round, shortFrom, shortOrFixed, smallFrom, triple } from './ring.mjs'

/** Bytes of everything that the mechanism takes and gives. */
export const SNTRUP761 = { publicKey: 1158, privateKey: 1763, ciphertext: 1039, sharedSecret: 32 }

const SMALL_BYTES = 191
const RANDOM_BYTES = 4 * P

/**
 * @typedef {(length: number) => Uint8Array} Random
 * @typedef {{ publicKey: Uint8Array, privateKey: Uint8Array }} KeyPair
 * @typedef {{ ciphertext: Uint8Array, sharedSecret: Uint8Array }} Encapsulation
 */

/**
 * A fresh key pair. The private key holds f, 1/g, the public key, the secret of rejection and the public key's hash.
 * @param {Random} random
 * @returns {KeyPair}
 */
export const generateKeyPair = random => {
  let g = smallFrom(random(RANDOM_BYTES))
  let gInverse = reciprocal(g, 3)
  // Almost always the first one has an inverse.
  while (gInverse === undefined) {
    g = smallFrom(random(RANDOM_BYTES))
    gInverse = reciprocal(g, 3)
  }
  const f = shortFrom(random(RANDOM_BYTES))
  const fInverse = /** @type {Float64Array} */ (reciprocal(f, Q, 3))
  const publicKey = encodeRq(multiply(fInverse, g, Q))
  const secrets = [encodeSmall(f), encodeSmall(gInverse)]
  const rejection = random(SMALL_BYTES)
  const privateKey = joined(...secrets, publicKey, rejection, prefixedHash(4, publicKey))
  forget(f, g, fInverse, gInverse, ...secrets, rejection)
  return { publicKey, privateKey }
}

/**
 * A fresh secret and what brings it to the owner of the public key.
 * @param {Uint8Array} publicKey
 * @param {Random} random
 * @returns {Encapsulation}
 */
export const encapsulate = (publicKey, random) => {
  const secret = shortFrom(random(RANDOM_BYTES))
  const { encoded, ciphertext } = hide(secret, publicKey, prefixedHash(4, publicKey))
  const sharedSecret = sessionKey(1, encoded, ciphertext)
  forget(secret, encoded)
  return { ciphertext, sharedSecret }
}

/**
 * The secret of a ciphertext.
 * @param {Uint8Array} ciphertext
 * @param {Uint8Array} privateKey
 * @returns {Uint8Array}
 */
export const decapsulate = (ciphertext, privateKey) => {
  const [f, gInverse, publicKey, rejection, publicKeyHash] = parts(privateKey, [
    SMALL_BYTES,
    SMALL_BYTES,
    SNTRUP761.publicKey,
    SMALL_BYTES,
    32,
  ])
  const opened = open(ciphertext, decodeSmall(f), decodeSmall(gInverse))
  const { encoded, ciphertext: again } = hide(opened, publicKey, publicKeyHash)
  // −1 when the ciphertext is another one: the secret of rejection then takes the place of what was opened.
  const differs = differenceMask(ciphertext, again)
  const chosen = encoded.map((byte, index) => byte ^ (differs & (byte ^ /** @type {number} */ (rejection[index]))))
  const sharedSecret = sessionKey(1 + differs, chosen, ciphertext)
  forget(opened, encoded, chosen)
  return sharedSecret
}

/**
 * @param {Uint8Array} ciphertext
 * @param {Float64Array} f
 * @param {Float64Array} gInverse
 */
const open = (ciphertext, f, gInverse) => {
  const times3f = triple(multiply(decodeRounded(ciphertext), f, Q))
  const opened = multiply(modulo3(times3f), gInverse, 3)
  const short = shortOrFixed(opened)
  forget(f, gInverse, times3f, opened)
  return short
}

/**
 * The ciphertext of a short polynomial: its rounded product with the public key, then a hash that confirms it.
 * @param {Float64Array} secret
 * @param {Uint8Array} publicKey
 * @param {Uint8Array} publicKeyHash
 */
const hide = (secret, publicKey, publicKeyHash) => {
  const encoded = encodeSmall(secret)
  const rounded = encodeRounded(round(multiply(decodeRq(publicKey), secret, Q)))
  const confirmation = prefixedHash(2, prefixedHash(3, encoded), publicKeyHash)
  return { encoded, ciphertext: joined(rounded, confirmation) }
}

/**
 * @param {number} kind 1, or 0 for a rejected ciphertext
 * @param {Uint8Array} encoded
 * @param {Uint8Array} ciphertext
 */
const sessionKey = (kind, encoded, ciphertext) => prefixedHash(kind, prefixedHash(3, encoded), ciphertext)

/**
 * The first half of SHA-512, of a number that says what for and the rest.
 * @param {number} prefix
 * @param {readonly Uint8Array[]} content
 * @returns {Uint8Array}
 */
const prefixedHash = (prefix, ...content) => {
  const hash = createHash('sha512').update(Uint8Array.of(prefix))
  for (const bytes of content) hash.update(bytes)
  return new Uint8Array(hash.digest().subarray(0, 32))
}

/**
 * −1 when the two differ, else 0, in a time that depends on neither.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
const differenceMask = (a, b) => {
  let differing = 0
  for (const [index, byte] of a.entries()) differing |= byte ^ /** @type {number} */ (b[index])
  return -differing >> 31
}

/**
 * @param {Uint8Array} bytes
 * @param {readonly [number, number, number, number, number]} lengths
 * @returns {[Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]}
 */
const parts = (bytes, lengths) => {
  let offset = 0
  const views = lengths.map(length => bytes.subarray(offset, (offset += length)))
  return /** @type {[Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]} */ (views)
}

/** @param {readonly Uint8Array[]} pieces */
const joined = (...pieces) => {
  const bytes = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0))
  let offset = 0
  for (const piece of pieces) {
    bytes.set(piece, offset)
    offset += piece.length
  }
  return bytes
}

/** @param {ReadonlyArray<Float64Array | Uint8Array>} secrets */
const forget = (...secrets) => {
  for (const secret of secrets) secret.fill(0)
}
