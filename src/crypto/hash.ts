import { createHash, timingSafeEqual } from 'node:crypto'
import sodium from 'sodium-native'
import { asBuffer, type Bytes } from '../encoding/bytes.js'
import { InternalError } from '../errors.js'

const SHA512_BYTES = 64
const SHA512_BLOCK = 128
const MAX_HKDF_BYTES = 255 * SHA512_BYTES

export const sha256 = (data: Bytes): Bytes => createHash('sha256').update(data).digest()
export const sha512 = (data: Bytes): Bytes => createHash('sha512').update(data).digest()
export const sha3_256 = (data: Bytes): Bytes => createHash('sha3-256').update(data).digest()
export const sha3_384 = (data: Bytes): Bytes => createHash('sha3-384').update(data).digest()

/**
 * HKDF with SHA-512 (RFC 5869). `info` is ASCII, `length` in bytes, at most 16,320.
 * Written over one-shot hashes because it runs several times for every message and takes half the time of node:crypto's.
 */
export const hkdfSha512 = (salt: Bytes, ikm: Bytes, info: string, length: number): Bytes => {
  if (!Number.isInteger(length) || length < 0 || length > MAX_HKDF_BYTES) throw new InternalError('HKDF length')
  const suffix = Buffer.from(info, 'latin1')
  const prk = hmacSha512(salt, ikm)
  const blocks = Math.ceil(length / SHA512_BYTES)
  const output = Buffer.allocUnsafeSlow(blocks * SHA512_BYTES)
  let previous: Bytes = EMPTY
  for (let block = 1; block <= blocks; block++) {
    previous = hmacSha512(prk, Buffer.concat([previous, suffix, Buffer.of(block)]))
    output.set(previous, (block - 1) * SHA512_BYTES)
  }
  return output.subarray(0, length)
}

/** Whether both are equal, in a time that depends on their lengths only. */
export const equalConstantTime = (a: Bytes, b: Bytes): boolean => a.length === b.length && timingSafeEqual(a, b)

const EMPTY: Bytes = Buffer.alloc(0)

/** HMAC-SHA512 (RFC 2104). */
const hmacSha512 = (key: Bytes, message: Bytes): Bytes => {
  const blockKey = key.length > SHA512_BLOCK ? sha512(key) : key
  const inner = Buffer.allocUnsafe(SHA512_BLOCK + message.length)
  const outer = Buffer.allocUnsafe(SHA512_BLOCK + SHA512_BYTES)
  for (let index = 0; index < SHA512_BLOCK; index++) {
    const keyByte = blockKey[index] ?? 0
    inner[index] = keyByte ^ 0x36
    outer[index] = keyByte ^ 0x5c
  }
  inner.set(message, SHA512_BLOCK)
  sodium.crypto_hash_sha512(outer.subarray(SHA512_BLOCK), asBuffer(inner))
  const mac = Buffer.allocUnsafe(SHA512_BYTES)
  sodium.crypto_hash_sha512(mac, outer)
  return mac
}
