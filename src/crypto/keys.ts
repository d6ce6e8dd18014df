import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import sodium from 'sodium-native'
import { asBuffer, type Bytes } from '../encoding/bytes.js'
import { CryptoError, DecodeError } from '../errors.js'
import { type Random, systemRandom } from './random.js'

export type KeyAlgorithm = 'ed25519' | 'ed448' | 'x25519' | 'x448'

/** Raw keys, as the curves define them (an Ed25519 or Ed448 private key is its seed). */
export interface KeyPair {
  readonly publicKey: Bytes
  readonly privateKey: Bytes
}

/** A public key and what it is for. */
export interface PublicKey {
  readonly algorithm: KeyAlgorithm
  readonly raw: Bytes
}

interface Curve {
  readonly bytes: number
  /** The name in JSON Web Keys. */
  readonly jwk: string
  /** What stands before the raw key in DER SubjectPublicKeyInfo. */
  readonly spki: Bytes
  /** What stands before the raw key in DER PKCS #8. */
  readonly pkcs8: Bytes
}

const curve = (bytes: number, jwk: string, spki: string, pkcs8: string): Curve => ({
  bytes,
  jwk,
  spki: Buffer.from(spki, 'hex'),
  pkcs8: Buffer.from(pkcs8, 'hex'),
})

const CURVES: Readonly<Record<KeyAlgorithm, Curve>> = {
  ed25519: curve(32, 'Ed25519', '302a300506032b6570032100', '302e020100300506032b657004220420'),
  ed448: curve(57, 'Ed448', '3043300506032b6571033a00', '3047020100300506032b6571043b0439'),
  x25519: curve(32, 'X25519', '302a300506032b656e032100', '302e020100300506032b656e04220420'),
  x448: curve(56, 'X448', '3042300506032b656f033900', '3046020100300506032b656f043a0438'),
}

const ALGORITHMS = Object.keys(CURVES) as readonly KeyAlgorithm[]

/** A fresh key pair from `random`. */
export const generateKeyPair = (algorithm: KeyAlgorithm, random: Random = systemRandom): KeyPair => {
  const privateKey = random(CURVES[algorithm].bytes)
  return { publicKey: publicKeyOf(algorithm, privateKey), privateKey }
}

/** The public half of a raw private key. Throws `CRYPTO_KEY_SIZE`. */
export const publicKeyOf = (algorithm: KeyAlgorithm, privateKey: Bytes): Bytes => {
  checkKeySize(algorithm, privateKey, 'privateKey')
  if (algorithm === 'ed25519') return ed25519SecretKey(privateKey).subarray(32)
  if (algorithm === 'x25519') {
    const publicKey = Buffer.allocUnsafe(32)
    sodium.crypto_scalarmult_base(publicKey, asBuffer(privateKey))
    return publicKey
  }
  const { x } = createPublicKey(nodePrivateKey(algorithm, privateKey)).export({ format: 'jwk' })
  return Buffer.from(x as string, 'base64url')
}

/** A raw public key as DER SubjectPublicKeyInfo, the form it has on the wire. Throws `CRYPTO_KEY_SIZE`. */
export const encodePublicKey = (algorithm: KeyAlgorithm, raw: Bytes): Bytes => {
  checkKeySize(algorithm, raw, 'publicKey')
  return Buffer.concat([CURVES[algorithm].spki, raw])
}

/** Reads DER SubjectPublicKeyInfo. Throws `DECODE_INVALID` for anything but a key of an allowed algorithm. */
export const decodePublicKey = (
  der: Bytes,
  allowed: readonly KeyAlgorithm[] = ALGORITHMS,
  field = 'publicKey',
): PublicKey => decodeKey(der, allowed, 'spki', field)

/** A raw private key as DER PKCS #8, the form it has in files. Throws `CRYPTO_KEY_SIZE`. */
export const encodePrivateKey = (algorithm: KeyAlgorithm, raw: Bytes): Bytes => {
  checkKeySize(algorithm, raw, 'privateKey')
  return Buffer.concat([CURVES[algorithm].pkcs8, raw])
}

/** Reads DER PKCS #8. Throws `DECODE_INVALID`. */
export const decodePrivateKey = (
  der: Bytes,
  allowed: readonly KeyAlgorithm[] = ALGORITHMS,
  field = 'privateKey',
): PublicKey => decodeKey(der, allowed, 'pkcs8', field)

const decodeKey = (der: Bytes, allowed: readonly KeyAlgorithm[], form: 'spki' | 'pkcs8', field: string): PublicKey => {
  const bytes = asBuffer(der)
  for (const algorithm of allowed) {
    const { bytes: size, [form]: prefix } = CURVES[algorithm]
    if (bytes.length === prefix.length + size && bytes.subarray(0, prefix.length).equals(prefix)) {
      return { algorithm, raw: bytes.subarray(prefix.length) }
    }
  }
  throw new DecodeError('DECODE_INVALID', `${field} is not a key of an allowed algorithm`, { field })
}

/** Throws `CRYPTO_KEY_SIZE` unless the key has the size of its algorithm. */
export const checkKeySize = (algorithm: KeyAlgorithm, key: Bytes, field: string): void => {
  if (key.length === CURVES[algorithm].bytes) return
  throw new CryptoError('CRYPTO_KEY_SIZE', `${field} is not ${CURVES[algorithm].bytes} bytes long`, { field })
}

/** A key for node:crypto. JWK is the fastest way in; the private one does not read `x`, so it may be empty. */
export const nodePublicKey = (algorithm: KeyAlgorithm, raw: Bytes): KeyObject =>
  createPublicKey({ key: { kty: 'OKP', crv: CURVES[algorithm].jwk, x: base64url(raw) }, format: 'jwk' })

/** As `nodePublicKey`. Costs about 150 µs for the 448 curves, so the last use of the same bytes is remembered. */
export const nodePrivateKey = (algorithm: KeyAlgorithm, raw: Bytes): KeyObject =>
  remembered(nodeKeys, raw, () =>
    createPrivateKey({ key: { kty: 'OKP', crv: CURVES[algorithm].jwk, x: '', d: base64url(raw) }, format: 'jwk' }),
  )

/** The 64-byte form (seed ‖ public key) that signing needs, remembered for the same bytes. */
export const ed25519SecretKey = (seed: Bytes): Buffer =>
  remembered(ed25519Keys, seed, () => {
    const secretKey = Buffer.allocUnsafeSlow(64)
    sodium.crypto_sign_seed_keypair(Buffer.allocUnsafe(32), secretKey, asBuffer(seed))
    return secretKey
  })

/** What was derived from a key, for as long as its owner keeps the key; the copy guards against bytes that were overwritten. */
type Derived<T> = WeakMap<Bytes, { readonly copy: Buffer; readonly value: T }>
const nodeKeys: Derived<KeyObject> = new WeakMap()
const ed25519Keys: Derived<Buffer> = new WeakMap()

const remembered = <T>(cache: Derived<T>, key: Bytes, derive: () => T): T => {
  const known = cache.get(key)
  if (known?.copy.equals(key)) return known.value
  const value = derive()
  cache.set(key, { copy: Buffer.from(key), value })
  return value
}

const base64url = (bytes: Bytes): string => asBuffer(bytes).toString('base64url')
