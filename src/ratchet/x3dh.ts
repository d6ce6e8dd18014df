import { equalConstantTime, type Kem, type KeyPair, x448 } from '../crypto/index.js'
import { type Bytes, concat } from '../encoding/index.js'
import type { E2eParams, E2ePrivateKeys } from './e2eParams.js'
import { kemFailure, noKemFailure } from './failures.js'
import { rootKdf, x3dhKdf } from './kdf.js'
import { opening } from './kem.js'
import {
  KEM_E2E_VERSION,
  type KemAgreement,
  NO_KEM,
  type RatchetKem,
  type RatchetState,
  type RatchetVersions,
} from './types.js'

/** What both sides hold after X3DH. */
export interface X3dhSecrets {
  readonly associatedData: Bytes
  readonly rootKey: Bytes
  readonly joinerHeaderKey: Bytes
  readonly initiatorHeaderKey: Bytes
  /** Our KEM key, with what was agreed on when one side accepted the other's: its secret is then in the keys above. */
  readonly kem?: KemAgreement
}

/**
 * X3DH at the side that joins, with the initiator's offer and our reply (see `replyKem`).
 * Throws `CRYPTO_BAD_KEY` when the offered keys give no secret, `CRYPTO_KEM` when our reply accepts another KEM key than was offered.
 */
export const x3dhJoiner = (own: E2ePrivateKeys, initiator: E2eParams): X3dhSecrets =>
  agree(
    own.key1.publicKey,
    initiator.key1,
    [
      x448(own.key2.privateKey, initiator.key1),
      x448(own.key1.privateKey, initiator.key2),
      x448(own.key2.privateKey, initiator.key2),
    ],
    joinerKem(own.kem, initiator),
  )

const joinerKem = (own: KemAgreement | undefined, { version, kem }: E2eParams): KemAgreement | undefined => {
  if (version < KEM_E2E_VERSION) return undefined
  if (own?.accepted === undefined) return own
  if (kem?.kind === 'proposed' && equalConstantTime(own.accepted.peerKey, kem.publicKey)) return own
  throw kemFailure('our reply accepts a KEM key that the peer did not propose')
}

/**
 * X3DH at the side that offered, with the joiner's reply. It answers at once, but for a reply that accepts our KEM key: then with a
 * promise, which rejects with KemError when the KEM cannot do its work now. Without a KEM such a reply is refused.
 * A key that the joiner only proposes is not taken up here: the next turns agree on it, as with peers.
 * Throws `CRYPTO_BAD_KEY`, and `CRYPTO_KEM` when the reply accepts a KEM key that was never offered.
 */
export function x3dhInitiator(own: E2ePrivateKeys, joiner: E2eParams): X3dhSecrets
export function x3dhInitiator(
  own: E2ePrivateKeys,
  joiner: E2eParams,
  kem: Kem | undefined,
): X3dhSecrets | Promise<X3dhSecrets>
export function x3dhInitiator(own: E2ePrivateKeys, joiner: E2eParams, kem?: Kem): X3dhSecrets | Promise<X3dhSecrets> {
  const secrets = (agreement: KemAgreement | undefined): X3dhSecrets =>
    agree(
      joiner.key1,
      own.key1.publicKey,
      [
        x448(own.key1.privateKey, joiner.key2),
        x448(own.key2.privateKey, joiner.key1),
        x448(own.key2.privateKey, joiner.key2),
      ],
      agreement,
    )
  const agreement = initiatorKem(own.kem, joiner, kem)
  return agreement === undefined ? secrets(undefined) : agreement.then(secrets)
}

const initiatorKem = (
  proposed: KemAgreement | undefined,
  { version, kem: reply }: E2eParams,
  kem: Kem | undefined,
): Promise<KemAgreement> | undefined => {
  if (reply?.kind !== 'accepted' || version < KEM_E2E_VERSION) return undefined
  const { ciphertext, privateKey } = opening(reply.ciphertext, proposed)
  if (kem === undefined || proposed === undefined) throw noKemFailure()
  return kem.decapsulate(ciphertext, privateKey).then(sharedSecret => ({
    own: proposed.own,
    accepted: { peerKey: reply.publicKey, sharedSecret, ciphertext },
  }))
}

/**
 * The ratchet of the joiner, which sends first. `dhSelf` is a fresh pair; `initiatorKey2` is the second key of the offer. It uses the KEM
 * from the start if the reply had a key.
 */
export const initSndRatchet = (
  versions: RatchetVersions,
  initiatorKey2: Bytes,
  dhSelf: KeyPair,
  secrets: X3dhSecrets,
): RatchetState => {
  const agreement = secrets.kem
  const dh = x448(dhSelf.privateKey, initiatorKey2)
  const { rootKey, chainKey, nextHeaderKey } = rootKdf(secrets.rootKey, dh, agreement?.accepted?.sharedSecret)
  const kem = { ...firstKem(agreement !== undefined, agreement), sending: agreement?.accepted !== undefined }
  return {
    ...start(versions, dhSelf, secrets, kem),
    rootKey,
    snd: { peerKey: initiatorKey2, chainKey, headerKey: secrets.joinerHeaderKey },
    nextHeaderKeySnd: nextHeaderKey,
    nextHeaderKeyRcv: secrets.initiatorHeaderKey,
  }
}

/**
 * The ratchet of the initiator, which receives first. `dhSelf` is the second key pair of its offer. With `kemSupport` it answers a KEM key
 * of the joiner at the first turn, and proposes one where the joiner has none.
 */
export const initRcvRatchet = (
  versions: RatchetVersions,
  dhSelf: KeyPair,
  secrets: X3dhSecrets,
  kemSupport = false,
): RatchetState => ({
  ...start(versions, dhSelf, secrets, firstKem(kemSupport, secrets.kem)),
  rootKey: secrets.rootKey,
  nextHeaderKeySnd: secrets.initiatorHeaderKey,
  nextHeaderKeyRcv: secrets.joinerHeaderKey,
})

const firstKem = (support: boolean, agreement: KemAgreement | undefined): RatchetKem => ({
  ...NO_KEM,
  support,
  enabled: support,
  ...(agreement === undefined ? {} : { agreement }),
})

const start = (versions: RatchetVersions, dhSelf: KeyPair, { associatedData }: X3dhSecrets, kem: RatchetKem) => ({
  versions,
  associatedData,
  dhSelf,
  kem,
  ns: 0,
  nr: 0,
  pn: 0,
})

const agree = (
  joinerKey1: Bytes,
  initiatorKey1: Bytes,
  dhSecrets: readonly Bytes[],
  kem: KemAgreement | undefined,
): X3dhSecrets => ({
  associatedData: concat(joinerKey1, initiatorKey1),
  ...x3dhKdf(concat(...dhSecrets, ...(kem?.accepted === undefined ? [] : [kem.accepted.sharedSecret]))),
  ...(kem === undefined ? {} : { kem }),
})
