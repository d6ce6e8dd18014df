import { type Kem, type KeyPair, type Random, encodePublicKey, generateKeyPair } from '../crypto/index.js'
import { type Bytes, Reader, concat, maybe, short, word16 } from '../encoding/index.js'
import { encodeAgreement, readAgreement } from './encode.js'
import { kemFailure } from './failures.js'
import { checkPeerSize, kemParamsOf } from './kem.js'
import { type GenerateKeyPair, KEM_E2E_VERSION, type KemAgreement, type KemParams, X448_BYTES } from './types.js'
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
  /** Our KEM key; in a reply with what was made for the key that the peer offered, if it did. */
  readonly kem?: KemAgreement
}

/** What X3DH parameters say of a KEM: a first key, or the answer to the key that the peer proposes and the next key. */
export type KemUse = { readonly kind: 'propose' } | { readonly kind: 'accept'; readonly peerKey: Bytes }

/** A fresh X448 key pair of the system's randomness. */
export const generateX448: GenerateKeyPair = () => generateKeyPair('x448')

/** Makes X448 key pairs of this randomness. */
export const x448KeysFrom =
  (random: Random): GenerateKeyPair =>
  () =>
    generateKeyPair('x448', random)

/**
 * New X3DH keys without a KEM: the private half to store, the public half to send. The initiator takes the highest version
 * it supports, the joiner the version agreed on.
 */
export const generateE2eParams = (
  version: number,
  generate: GenerateKeyPair = generateX448,
): { privateKeys: E2ePrivateKeys; params: E2eParams } => withParams(version, { key1: generate(), key2: generate() })

/**
 * New X3DH keys with a KEM key, or without one when `use` is undefined or the version has none. The initiator and both sides of a
 * synchronisation propose, the joiner does what `replyKem` says. Throws `CRYPTO_KEM` for a peer's key of a wrong size, KemError when the
 * KEM cannot do its work now.
 */
export const generateKemE2eParams = async (
  version: number,
  use: KemUse | undefined,
  { kem, generate = generateX448 }: { readonly kem: Kem; readonly generate?: GenerateKeyPair },
): Promise<{ privateKeys: E2ePrivateKeys; params: E2eParams }> => {
  if (use === undefined || version < KEM_E2E_VERSION) return generateE2eParams(version, generate)
  const agreement = await newAgreement(use, kem)
  return withParams(version, { key1: generate(), key2: generate(), kem: agreement })
}

const newAgreement = async (use: KemUse, kem: Kem): Promise<KemAgreement> => {
  if (use.kind === 'propose') return { own: await kem.generateKeyPair() }
  const { peerKey } = use
  checkPeerSize('publicKey', peerKey)
  const [encapsulation, own] = await Promise.all([kem.encapsulate(peerKey), kem.generateKeyPair()])
  return { own, accepted: { peerKey, ...encapsulation } }
}

/**
 * What a joiner that supports the KEM replies to an offer: it accepts the offered key, or proposes one of its own. Undefined
 * without support or in a version without KEM. Throws `CRYPTO_KEM` for an offer that accepts a key: nothing was proposed to it.
 */
export const replyKem = (version: number, offered: KemParams | undefined, support: boolean): KemUse | undefined => {
  if (!support || version < KEM_E2E_VERSION) return undefined
  if (offered === undefined) return { kind: 'propose' }
  if (offered.kind === 'proposed') return { kind: 'accept', peerKey: offered.publicKey }
  throw kemFailure('the offer accepts a KEM key that was not proposed')
}

const withParams = (version: number, privateKeys: E2ePrivateKeys) => ({
  privateKeys,
  params: e2eParamsOf(version, privateKeys),
})

/** The public half that belongs to stored private keys. */
export const e2eParamsOf = (version: number, { key1, key2, kem }: E2ePrivateKeys): E2eParams => {
  const params = kemParamsOf(kem)
  const keys = { version, key1: key1.publicKey, key2: key2.publicKey }
  return params === undefined || version < KEM_E2E_VERSION ? keys : { ...keys, kem: params }
}

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

/** The first byte of stored keys: without a KEM, with a proposed key, with an accepted one. */
const FORMAT = { noKem: 1, proposed: 2, accepted: 3 }

/** Private X3DH keys as bytes for a row (own format). */
export const encodeE2ePrivateKeys = ({ key1, key2, kem }: E2ePrivateKeys): Bytes =>
  concat(
    Buffer.of(kem === undefined ? FORMAT.noKem : kem.accepted === undefined ? FORMAT.proposed : FORMAT.accepted),
    key1.publicKey,
    key1.privateKey,
    key2.publicKey,
    key2.privateKey,
    ...encodeAgreement(kem),
  )

/** The reverse of `encodeE2ePrivateKeys`. Throws DecodeError. */
export const decodeE2ePrivateKeys = (bytes: Bytes): E2ePrivateKeys => {
  const reader = new Reader(bytes, 'e2ePrivateKeys')
  const format = reader.byte('format')
  if (!Object.values(FORMAT).includes(format)) return reader.fail('format', 'is not known')
  const keys = { key1: readKeyPair(reader, 'key1'), key2: readKeyPair(reader, 'key2') }
  const kem = format === FORMAT.noKem ? undefined : readAgreement(reader, format === FORMAT.accepted)
  reader.end()
  return kem === undefined ? keys : { ...keys, kem }
}

const readKeyPair = (reader: Reader, field: string): KeyPair => ({
  publicKey: reader.take(X448_BYTES, field),
  privateKey: reader.take(X448_BYTES, field),
})
