import * as nodeCrypto from 'node:crypto'
import sodium from 'sodium-native'
import { asBuffer, type Bytes } from '../encoding/bytes.js'
import { checkKeySize, ed25519SecretKey, nodePrivateKey, nodePublicKey } from './keys.js'

export type SignAlgorithm = 'ed25519' | 'ed448'

/** Bytes of a signature. */
export const SIGNATURE_BYTES: Readonly<Record<SignAlgorithm, number>> = { ed25519: 64, ed448: 114 }

/** Signs with a raw private key. Throws `CRYPTO_KEY_SIZE`. */
export const sign = (algorithm: SignAlgorithm, privateKey: Bytes, message: Bytes): Bytes => {
  checkKeySize(algorithm, privateKey, 'privateKey')
  if (algorithm === 'ed448') return nodeCrypto.sign(null, message, nodePrivateKey('ed448', privateKey))
  const signature = Buffer.allocUnsafe(SIGNATURE_BYTES.ed25519)
  sodium.crypto_sign_detached(signature, asBuffer(message), ed25519SecretKey(privateKey))
  return signature
}

/** Whether the signature is right; a signature or key of the wrong size or form is wrong, not an error. */
export const verify = (algorithm: SignAlgorithm, publicKey: Bytes, message: Bytes, signature: Bytes): boolean => {
  if (signature.length !== SIGNATURE_BYTES[algorithm]) return false
  if (algorithm === 'ed25519') {
    if (publicKey.length !== 32) return false
    return sodium.crypto_sign_verify_detached(asBuffer(signature), asBuffer(message), asBuffer(publicKey))
  }
  try {
    return nodeCrypto.verify(null, message, nodePublicKey('ed448', publicKey), signature)
  } catch {
    return false
  }
}
