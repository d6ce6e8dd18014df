import type { Bytes } from '../encoding/bytes.js'
import { hkdfSha512 } from './hash.js'

/** The two chain keys of an encrypted session. The router sends with the first and receives with the second; the client swaps. */
export interface BlockChains {
  readonly chain1: Bytes
  readonly chain2: Bytes
}

const KEY_BYTES = 32
const NONCE_BYTES = 24
const NO_SALT: Bytes = Buffer.alloc(0)

/** The chains of a session from its id and the X25519 secret of both session keys. Protocol: block encryption, SMP ≥ 11. */
export const sbcInit = (sessionId: Bytes, secret: Bytes): BlockChains => {
  const output = hkdfSha512(sessionId, secret, 'SimpleXSbChainInit', 2 * KEY_BYTES)
  return { chain1: output.subarray(0, KEY_BYTES), chain2: output.subarray(KEY_BYTES) }
}

/** Key and nonce of the next block (for `sbEncrypt`), and the chain key after it. */
export const sbcNext = (chainKey: Bytes): { key: Bytes; nonce: Bytes; next: Bytes } => {
  const output = hkdfSha512(NO_SALT, chainKey, 'SimpleXSbChain', 2 * KEY_BYTES + NONCE_BYTES)
  return {
    next: output.subarray(0, KEY_BYTES),
    key: output.subarray(KEY_BYTES, 2 * KEY_BYTES),
    nonce: output.subarray(2 * KEY_BYTES),
  }
}
