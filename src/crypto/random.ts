import { randomBytes } from 'node:crypto'
import type { Bytes } from '../encoding/bytes.js'

/** The port for randomness: `length` fresh random bytes. A simulation hands in a seeded one. */
export type Random = (length: number) => Bytes

/** The operating system's randomness. */
export const systemRandom: Random = length => randomBytes(length)
