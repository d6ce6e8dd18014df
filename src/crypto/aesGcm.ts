import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { Bytes } from '../encoding/bytes.js'
import { CryptoError } from '../errors.js'

export const AES_TAG_BYTES = 16
const KEY_BYTES = 32
const IV_BYTES: ReadonlySet<number> = new Set([16, 12])

/**
 * AES-256-GCM. The ratchet uses 16-byte IVs (GCM hashes them), everything else 12-byte ones; a message is padded before.
 * Throws `CRYPTO_KEY_SIZE`, `CRYPTO_IV_SIZE`.
 */
export const aesEncrypt = (key: Bytes, iv: Bytes, aad: Bytes, padded: Bytes): { ciphertext: Bytes; tag: Bytes } => {
  checkSizes(key, iv)
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: AES_TAG_BYTES }).setAAD(aad)
  const ciphertext = cipher.update(padded)
  cipher.final()
  return { ciphertext, tag: cipher.getAuthTag() }
}

/** Opens what `aesEncrypt` made, padding included. Throws `CRYPTO_AES` when anything does not fit. */
export const aesDecrypt = (key: Bytes, iv: Bytes, aad: Bytes, ciphertext: Bytes, tag: Bytes): Bytes => {
  checkSizes(key, iv)
  if (tag.length !== AES_TAG_BYTES) throw aesError()
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: AES_TAG_BYTES }).setAAD(aad)
  const plaintext = decipher.setAuthTag(tag).update(ciphertext)
  try {
    decipher.final()
  } catch {
    throw aesError()
  }
  return plaintext
}

const aesError = (): CryptoError =>
  new CryptoError('CRYPTO_AES', 'the message does not open with this key', { field: 'ciphertext' })

const checkSizes = (key: Bytes, iv: Bytes): void => {
  if (key.length !== KEY_BYTES) throw new CryptoError('CRYPTO_KEY_SIZE', 'key is not 32 bytes long', { field: 'key' })
  if (!IV_BYTES.has(iv.length)) throw new CryptoError('CRYPTO_IV_SIZE', 'iv is not 16 or 12 bytes', { field: 'iv' })
}
