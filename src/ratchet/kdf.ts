import { hkdfSha512 } from '../crypto/index.js'
import { type Bytes, concat } from '../encoding/index.js'
import { IV_BYTES, KEY_BYTES } from './types.js'

const NO_SALT = new Uint8Array(0)
const X3DH_SALT = new Uint8Array(64)
const OUTPUT_BYTES = 3 * KEY_BYTES

/** What X3DH agrees on: the header keys of the joiner's and of the initiator's first chain, and the root key. */
export const x3dhKdf = (dhSecrets: Bytes): { joinerHeaderKey: Bytes; initiatorHeaderKey: Bytes; rootKey: Bytes } => {
  const output = hkdfSha512(X3DH_SALT, dhSecrets, 'SimpleXX3DH', OUTPUT_BYTES)
  return { joinerHeaderKey: key(output, 0), initiatorHeaderKey: key(output, 1), rootKey: key(output, 2) }
}

/**
 * One half of a turn: the next root key, a new chain, and the header key of the chain after it. With a KEM its secret follows the
 * one of the DH.
 */
export const rootKdf = (
  rootKey: Bytes,
  dh: Bytes,
  kemSecret?: Bytes,
): { rootKey: Bytes; chainKey: Bytes; nextHeaderKey: Bytes } => {
  const secret = kemSecret === undefined ? dh : concat(dh, kemSecret)
  const output = hkdfSha512(rootKey, secret, 'SimpleXRootRatchet', OUTPUT_BYTES)
  return { rootKey: key(output, 0), chainKey: key(output, 1), nextHeaderKey: key(output, 2) }
}

/** One step of a chain: the next chain key, and key and IVs of one message. */
export const chainKdf = (
  chainKey: Bytes,
): { chainKey: Bytes; messageKey: Bytes; messageIv: Bytes; headerIv: Bytes } => {
  const output = hkdfSha512(NO_SALT, chainKey, 'SimpleXChainRatchet', OUTPUT_BYTES)
  const ivs = key(output, 2)
  return {
    chainKey: key(output, 0),
    messageKey: key(output, 1),
    messageIv: ivs.subarray(0, IV_BYTES),
    headerIv: ivs.subarray(IV_BYTES),
  }
}

const key = (output: Bytes, index: number): Bytes => output.subarray(index * KEY_BYTES, (index + 1) * KEY_BYTES)
