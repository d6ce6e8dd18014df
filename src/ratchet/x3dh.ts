import { type KeyPair, x448 } from '../crypto/index.js'
import { type Bytes, concat } from '../encoding/index.js'
import type { E2eParams, E2ePrivateKeys } from './e2eParams.js'
import { kemFailure } from './failures.js'
import { rootKdf, x3dhKdf } from './kdf.js'
import { KEM_E2E_VERSION, NO_KEM, type RatchetState, type RatchetVersions } from './types.js'

/** What both sides hold after X3DH. */
export interface X3dhSecrets {
  readonly associatedData: Bytes
  readonly rootKey: Bytes
  readonly joinerHeaderKey: Bytes
  readonly initiatorHeaderKey: Bytes
}

/**
 * X3DH at the side that joins, with the initiator's offer. A KEM proposal in it is not accepted.
 * Throws `CRYPTO_BAD_KEY` when the offered keys give no secret.
 */
export const x3dhJoiner = (own: E2ePrivateKeys, initiator: E2eParams): X3dhSecrets =>
  agree(own.key1.publicKey, initiator.key1, [
    x448(own.key2.privateKey, initiator.key1),
    x448(own.key1.privateKey, initiator.key2),
    x448(own.key2.privateKey, initiator.key2),
  ])

/**
 * X3DH at the side that offered, with the joiner's reply. A KEM proposal in it is not accepted.
 * Throws `CRYPTO_BAD_KEY`, and `CRYPTO_KEM` when the reply accepts a KEM that was never offered.
 */
export const x3dhInitiator = (own: E2ePrivateKeys, joiner: E2eParams): X3dhSecrets => {
  if (joiner.kem?.kind === 'accepted' && joiner.version >= KEM_E2E_VERSION) {
    throw kemFailure('the reply accepts a KEM key that was not offered')
  }
  return agree(joiner.key1, own.key1.publicKey, [
    x448(own.key1.privateKey, joiner.key2),
    x448(own.key2.privateKey, joiner.key1),
    x448(own.key2.privateKey, joiner.key2),
  ])
}

/** The ratchet of the joiner, which sends first. `dhSelf` is a fresh pair; `initiatorKey2` is the second key of the offer. */
export const initSndRatchet = (
  versions: RatchetVersions,
  initiatorKey2: Bytes,
  dhSelf: KeyPair,
  secrets: X3dhSecrets,
): RatchetState => {
  const { rootKey, chainKey, nextHeaderKey } = rootKdf(secrets.rootKey, x448(dhSelf.privateKey, initiatorKey2))
  return {
    ...start(versions, dhSelf, secrets),
    rootKey,
    snd: { peerKey: initiatorKey2, chainKey, headerKey: secrets.joinerHeaderKey },
    nextHeaderKeySnd: nextHeaderKey,
    nextHeaderKeyRcv: secrets.initiatorHeaderKey,
  }
}

/** The ratchet of the initiator, which receives first. `dhSelf` is the second key pair of its offer. */
export const initRcvRatchet = (versions: RatchetVersions, dhSelf: KeyPair, secrets: X3dhSecrets): RatchetState => ({
  ...start(versions, dhSelf, secrets),
  rootKey: secrets.rootKey,
  nextHeaderKeySnd: secrets.initiatorHeaderKey,
  nextHeaderKeyRcv: secrets.joinerHeaderKey,
})

const start = (versions: RatchetVersions, dhSelf: KeyPair, { associatedData }: X3dhSecrets) => ({
  versions,
  associatedData,
  dhSelf,
  kem: NO_KEM,
  ns: 0,
  nr: 0,
  pn: 0,
})

const agree = (joinerKey1: Bytes, initiatorKey1: Bytes, secrets: readonly Bytes[]): X3dhSecrets => ({
  associatedData: concat(joinerKey1, initiatorKey1),
  ...x3dhKdf(concat(...secrets)),
})
