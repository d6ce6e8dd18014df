import { type KeyPair, encodePublicKey, generateKeyPair } from '../crypto/index.js'
import { type Bytes, Reader, concat, maybe, short, word16 } from '../encoding/index.js'
import { type GenerateKeyPair, KEM_E2E_VERSION, type KemParams, X448_BYTES } from './types.js'
import { encodeKemParams, readKemParams, readX448Key } from './wire.js'

/** The public half of an X3DH offer or reply, at one version; links carry the same keys with a version range. */
export interface E2eParams {
  readonly version: number
  readonly key1: Bytes
  readonly key2: Bytes
  readonly kem?: KemParams
}

/** The private half, stored between offer and reply. */
export interface E2ePrivateKeys {
  readonly key1: KeyPair
  readonly key2: KeyPair
}

/** A fresh X448 key pair. */
export const generateX448: GenerateKeyPair = () => generateKeyPair('x448')

/**
 * New X3DH keys: the private half to store, the public half to send. The initiator takes the highest version it
 * supports, the joiner the version agreed on. Never proposes a KEM.
 */
export const generateE2eParams = (
  version: number,
  generate: GenerateKeyPair = generateX448,
): { privateKeys: E2ePrivateKeys; params: E2eParams } => {
  const privateKeys = { key1: generate(), key2: generate() }
  return { privateKeys, params: e2eParamsOf(version, privateKeys) }
}

/** The public half that belongs to stored private keys. */
export const e2eParamsOf = (version: number, { key1, key2 }: E2ePrivateKeys): E2eParams => ({
  version,
  key1: key1.publicKey,
  key2: key2.publicKey,
})

/** E2E parameters as confirmations and ratchet key messages have them. */
export const encodeE2eParams = ({ version, key1, key2, kem }: E2eParams): Bytes =>
  concat(
    word16(version),
    short(encodePublicKey('x448', key1)),
    short(encodePublicKey('x448', key2)),
    ...(version >= KEM_E2E_VERSION ? [maybe(kem, encodeKemParams)] : []),
  )

/** The reverse of `encodeE2eParams`; leaves the reader behind them. Throws DecodeError. */
export const readE2eParams = (reader: Reader): E2eParams => {
  const version = reader.word16('e2e.version')
  const key1 = readX448Key(reader, 'e2e.key1')
  const key2 = readX448Key(reader, 'e2e.key2')
  const kem = version >= KEM_E2E_VERSION ? reader.maybe(readKemParams, 'e2e.kem') : undefined
  return { version, key1, key2, ...(kem === undefined ? {} : { kem }) }
}

const PRIVATE_KEYS_FORMAT = 1

/** Private X3DH keys as bytes for a row (own format). */
export const encodeE2ePrivateKeys = ({ key1, key2 }: E2ePrivateKeys): Bytes =>
  concat(Buffer.of(PRIVATE_KEYS_FORMAT), key1.publicKey, key1.privateKey, key2.publicKey, key2.privateKey)

/** The reverse of `encodeE2ePrivateKeys`. Throws DecodeError. */
export const decodeE2ePrivateKeys = (bytes: Bytes): E2ePrivateKeys => {
  const reader = new Reader(bytes, 'e2ePrivateKeys')
  if (reader.byte('format') !== PRIVATE_KEYS_FORMAT) return reader.fail('format', 'is not known')
  const keys = { key1: readKeyPair(reader, 'key1'), key2: readKeyPair(reader, 'key2') }
  reader.end()
  return keys
}

const readKeyPair = (reader: Reader, field: string): KeyPair => ({
  publicKey: reader.take(X448_BYTES, field),
  privateKey: reader.take(X448_BYTES, field),
})
