import { diffieHellman } from 'node:crypto'
import sodium from 'sodium-native'
import { asBuffer, type Bytes } from '../encoding/bytes.js'
import { CryptoError } from '../errors.js'
import { checkKeySize, nodePrivateKey, nodePublicKey } from './keys.js'

/** The X25519 secret (32 bytes) of raw keys. Throws `CRYPTO_KEY_SIZE`, or `CRYPTO_BAD_KEY` for a peer key that gives zero. */
export const x25519 = (privateKey: Bytes, publicKey: Bytes): Bytes => {
  checkKeySize('x25519', privateKey, 'privateKey')
  checkKeySize('x25519', publicKey, 'publicKey')
  const secret = Buffer.allocUnsafe(32)
  try {
    sodium.crypto_scalarmult(secret, asBuffer(privateKey), asBuffer(publicKey))
  } catch (cause) {
    throw badKey(cause)
  }
  return secret
}

/** The X448 secret (56 bytes) of raw keys. Throws as `x25519` does. */
export const x448 = (privateKey: Bytes, publicKey: Bytes): Bytes => {
  checkKeySize('x448', privateKey, 'privateKey')
  checkKeySize('x448', publicKey, 'publicKey')
  const own = nodePrivateKey('x448', privateKey)
  try {
    return diffieHellman({ privateKey: own, publicKey: nodePublicKey('x448', publicKey) })
  } catch (cause) {
    throw badKey(cause)
  }
}

const badKey = (cause: unknown): CryptoError =>
  new CryptoError('CRYPTO_BAD_KEY', 'publicKey gives no shared secret', { field: 'publicKey', cause })
