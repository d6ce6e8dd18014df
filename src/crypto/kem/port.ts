import type { Bytes } from '../../encoding/bytes.js'
import { CryptoError } from '../../errors.js'
import type { KeyPair } from '../keys.js'
import { SNTRUP761 } from './sntrup761.mjs'

/** Bytes of the keys, ciphertexts and secrets of sntrup761. */
export const KEM_BYTES: Readonly<typeof SNTRUP761> = SNTRUP761

/** A fresh secret, and what brings it to the owner of the public key that it was made with. */
export interface Encapsulation {
  readonly ciphertext: Bytes
  readonly sharedSecret: Bytes
}

/**
 * The port for the key encapsulation mechanism sntrup761. Its operations take milliseconds, so they are done elsewhere and
 * awaited. They reject with `CRYPTO_KEY_SIZE` for bytes of a wrong size, and with a KemError when they cannot be done now.
 */
export interface Kem {
  /** A fresh key pair, mostly one that was made ahead. */
  generateKeyPair(): Promise<KeyPair>
  /** A fresh secret for the owner of a public key. */
  encapsulate(publicKey: Bytes): Promise<Encapsulation>
  /** The secret of a ciphertext. One that was not made for this key gives another secret, never an error. */
  decapsulate(ciphertext: Bytes, privateKey: Bytes): Promise<Bytes>
}

/** Throws `CRYPTO_KEY_SIZE` unless the bytes have the size that they have in sntrup761. */
export const checkKemSize = (kind: keyof typeof SNTRUP761, bytes: Bytes): void => {
  if (bytes.length === KEM_BYTES[kind]) return
  throw new CryptoError('CRYPTO_KEY_SIZE', `${kind} of the KEM is not ${KEM_BYTES[kind]} bytes long`, { field: kind })
}
