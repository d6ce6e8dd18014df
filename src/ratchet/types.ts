import type { Kem, KeyPair } from '../crypto/index.js'
import type { Bytes, VersionRange } from '../encoding/index.js'

/** The first e2e version with KEM fields and 2-byte lengths. */
export const KEM_E2E_VERSION = 3
/** The e2e versions that are spoken, and offered in links and ratchet keys. */
export const SUPPORTED_E2E_VERSIONS: VersionRange = { min: 2, max: 3 }

/** Lengths in bytes of what has only one length. */
export const X448_BYTES = 56
export const KEY_BYTES = 32
export const IV_BYTES = 16

/** The version spoken now, and the highest that this side announces; the current one only ever rises. */
export interface RatchetVersions {
  readonly current: number
  readonly maxSupported: number
}

/** The sending chain: the peer key it was made with, where it stands, and the key that hides its headers. */
export interface SndChain {
  readonly peerKey: Bytes
  readonly chainKey: Bytes
  readonly headerKey: Bytes
}

/** The receiving chain. */
export interface RcvChain {
  readonly chainKey: Bytes
  readonly headerKey: Bytes
}

/** Own KEM key pair, and what was agreed on with the peer's key once its proposal is accepted. */
export interface KemAgreement {
  readonly own: KeyPair
  readonly accepted?: { readonly peerKey: Bytes; readonly sharedSecret: Bytes; readonly ciphertext: Bytes }
}

/**
 * What the ratchet knows about the KEM. `sending` and `receiving` say whether messages are encrypted post-quantum now: only the
 * turns change them, and `enabled` is what the next turn will do.
 */
export interface RatchetKem {
  /** Headers have room for KEM keys; once on it stays on. */
  readonly support: boolean
  /** The next turn of the ratchet is to use the KEM. */
  readonly enabled: boolean
  /** The sending chain was made with a KEM secret. */
  readonly sending: boolean
  /** The receiving chain was made with a KEM secret. */
  readonly receiving: boolean
  readonly agreement?: KemAgreement
}

/** A ratchet that never met a KEM. */
export const NO_KEM: RatchetKem = { support: false, enabled: false, sending: false, receiving: false }

/** Everything of one ratchet that must be stored, with raw keys. Never changed in place. */
export interface RatchetState {
  readonly versions: RatchetVersions
  /** The joiner's and the initiator's first X3DH keys: the same on both sides. */
  readonly associatedData: Bytes
  readonly dhSelf: KeyPair
  readonly kem: RatchetKem
  readonly rootKey: Bytes
  readonly snd?: SndChain
  readonly rcv?: RcvChain
  /** Number of the next message of the sending chain. */
  readonly ns: number
  /** Number of the next message of the receiving chain. */
  readonly nr: number
  /** How many messages the previous sending chain had. */
  readonly pn: number
  readonly nextHeaderKeySnd: Bytes
  readonly nextHeaderKeyRcv: Bytes
}

/** The key of a message that was passed over and may still come. */
export interface SkippedKey {
  readonly headerKey: Bytes
  readonly messageNumber: number
  readonly messageKey: Bytes
  readonly messageIv: Bytes
}

/** KEM fields of X3DH parameters and headers: a proposed key, or the answer to a proposal with the next key. */
export type KemParams =
  | { readonly kind: 'proposed'; readonly publicKey: Bytes }
  | { readonly kind: 'accepted'; readonly ciphertext: Bytes; readonly publicKey: Bytes }

/** Makes an X448 key pair: a port, so that tests hand in recorded ones and the agent ones made ahead. */
export type GenerateKeyPair = () => KeyPair

/** What a step of the ratchet takes from outside. */
export interface RatchetPorts {
  /** Makes the X448 key pair of a turn; `generateX448` when left out. */
  readonly generate?: GenerateKeyPair
  /** Does the KEM operations; a step that needs one is refused without it (`CRYPTO_KEM`). */
  readonly kem?: Kem | undefined
}
