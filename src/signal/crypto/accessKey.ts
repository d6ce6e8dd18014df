import { createCipheriv } from 'node:crypto'
import type { Bytes } from '../../encoding/index.js'

/** The right to send sealed messages to somebody, from their profile key: the first block of AES-256-GCM over zeros. */
export const accessKeyOf = (profileKey: Bytes): Bytes =>
  createCipheriv('aes-256-gcm', profileKey, Buffer.alloc(12)).update(Buffer.alloc(16))
