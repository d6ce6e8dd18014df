import sodium from 'sodium-native'
import type { Bytes } from '../encoding/bytes.js'

/** The port for randomness: `length` fresh random bytes. A simulation hands in a seeded one. */
export type Random = (length: number) => Bytes

/** The operating system's randomness. */
export const systemRandom: Random = length => {
  const bytes = Buffer.allocUnsafe(length)
  if (length > 0) sodium.randombytes_buf(bytes)
  return bytes
}
