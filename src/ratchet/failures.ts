import { CryptoError, type ErrorDetails } from '../errors.js'

/** The ways in which a ratchet refuses, as codes of `CryptoError`. The errors say numbers, never keys. */
export type RatchetFailure =
  /** The bytes are no ratchet message, or a header opens and holds no header. */
  | 'CRYPTO_FORMAT'
  /** No known key opens the header: another ratchet, a chain that is over, or tampered bytes. */
  | 'CRYPTO_HEADER'
  /** The header is good, the body is not. */
  | 'CRYPTO_AES'
  /** The body opens to something that is not padded. */
  | 'CRYPTO_PADDING'
  /** More than 512 messages are missing before this one; `facts.skipped` says how many, this one included. */
  | 'CRYPTO_TOO_MANY_SKIPPED'
  /** This message was the last one of the chain that was decrypted. */
  | 'CRYPTO_DUPLICATE'
  /** An earlier message of the chain whose key is used up; `facts.earlier` says by how much. */
  | 'CRYPTO_EARLIER'
  /** The side that was initialised to receive cannot send before it received. */
  | 'CRYPTO_NO_SND_CHAIN'
  /** The peer's public key gives no shared secret. */
  | 'CRYPTO_BAD_KEY'
  /** The peer's KEM fields do not fit this ratchet, or the step needs a KEM and this side has none. */
  | 'CRYPTO_KEM'

/** A ratchet failure as a typed error. */
export const failure = (code: RatchetFailure, message: string, details: ErrorDetails = {}): CryptoError =>
  new CryptoError(code, message, { field: 'ratchet', ...details })

/** The KEM fields of the peer are not those that this ratchet can go on with. */
export const kemFailure = (problem: string): CryptoError =>
  failure('CRYPTO_KEM', problem, { hint: 'The ratchets may have to be synchronised.' })

/** The step needs a KEM operation, and no KEM was handed in. */
export const noKemFailure = (): CryptoError =>
  failure('CRYPTO_KEM', 'this side has no KEM', { hint: 'Connect without post-quantum encryption.' })
