import { aesEncrypt, pad, padInto } from '../crypto/index.js'
import { type Bytes, type Parts, Reader, concat, large, short, word16 } from '../encoding/index.js'
import { EncodeError } from '../errors.js'
import { failure } from './failures.js'
import { chainKdf } from './kdf.js'
import { kemParamsOf, requestKem } from './kem.js'
import { IV_BYTES, KEM_E2E_VERSION, KEY_BYTES, type RatchetState, SUPPORTED_E2E_VERSIONS } from './types.js'
import { encodeEncryptedHeader, encodeHeader, messageParts, paddedHeaderLength } from './wire.js'

/** What a message needs to be encrypted later: kept with the delivery, so that a retry sends the same header (B40). */
export interface MessageEncryptKey {
  readonly version: number
  readonly messageKey: Bytes
  readonly messageIv: Bytes
  readonly associatedData: Bytes
  readonly encryptedHeader: Bytes
}

/** How to advance; the defaults are those of every message without a KEM. */
export interface AdvanceOptions {
  /** The highest e2e version that this side announces. */
  readonly supportedVersion?: number
  /** Asks for the KEM, or stops it, from the next turn on; unchanged when left out. */
  readonly enableKem?: boolean
}

/** A ratchet one message further, and what that message is encrypted with. */
export interface Advanced {
  readonly state: RatchetState
  readonly header: MessageEncryptKey
  /** Whether the message's key depends on a KEM secret: a wish shows in the chain after the next turn, not here. */
  readonly pqEncrypted: boolean
}

/**
 * Takes the next message key of the sending chain and encrypts the header: cheap, deterministic, run at enqueue.
 * Throws `CRYPTO_NO_SND_CHAIN` when nothing was received yet by the side that was initialised to receive.
 */
export const advanceHeader = (state: RatchetState, options: AdvanceOptions = {}): Advanced => {
  const { snd, versions, associatedData, dhSelf } = state
  if (snd === undefined) {
    throw failure('CRYPTO_NO_SND_CHAIN', 'nothing can be sent before the first message of the peer is received')
  }
  const version = versions.current
  const kem = requestKem(version, state.kem, options.enableKem)
  const maxVersion = announcedVersion(version, options)
  const { chainKey, messageKey, messageIv, headerIv } = chainKdf(snd.chainKey)
  const params = kemParamsOf(state.kem.agreement)
  const plainHeader = encodeHeader(version, {
    maxVersion,
    dhKey: dhSelf.publicKey,
    previousCount: state.pn,
    messageNumber: state.ns,
    ...(params === undefined ? {} : { kem: params }),
  })
  const padded = pad(plainHeader, paddedHeaderLength(version, kem.support))
  const { ciphertext, tag } = aesEncrypt(snd.headerKey, headerIv, associatedData, padded)
  const encryptedHeader = encodeEncryptedHeader({ version, iv: headerIv, tag, body: ciphertext })
  return {
    state: {
      ...state,
      versions: { current: version, maxSupported: maxVersion },
      kem,
      snd: { ...snd, chainKey },
      ns: state.ns + 1,
    },
    header: { version, messageKey, messageIv, associatedData, encryptedHeader },
    pqEncrypted: kem.sending,
  }
}

/**
 * Encrypts the body under an advanced header: the message as it travels. The same arguments give the same bytes.
 * Throws `LARGE_MSG` when the plaintext does not fit `paddedLength`.
 */
export const encryptBody = (header: MessageEncryptKey, plaintext: Bytes, paddedLength: number): Bytes =>
  concat(...encryptBodyParts(header, plaintext, paddedLength))

/** As `encryptBody`, as parts. */
export const encryptBodyParts = (header: MessageEncryptKey, plaintext: Bytes, paddedLength: number): Parts => {
  const { version, messageKey, messageIv, associatedData, encryptedHeader } = header
  const padded = paddedLength <= scratch.length ? scratch.subarray(0, paddedLength) : Buffer.allocUnsafe(paddedLength)
  padInto(plaintext, padded)
  const { ciphertext, tag } = aesEncrypt(messageKey, messageIv, concat(associatedData, encryptedHeader), padded)
  padded.fill(0)
  return messageParts(version, { header: encryptedHeader, tag, body: ciphertext })
}

/** Padded messages stand here while they are encrypted, and not longer. */
const scratch = Buffer.allocUnsafeSlow(16_384)

const LENGTH_BYTES = 2
const MAX_PADDED_MESSAGE = 2 ** 16 - 3

/** Says before anything is spent whether `length` bytes fit `paddedLength` (B47). Throws `LARGE_MSG`. */
export const checkCanPad = (length: number, paddedLength: number): void => {
  const limit = Math.min(MAX_PADDED_MESSAGE, paddedLength - LENGTH_BYTES)
  if (length <= limit) return
  throw new EncodeError('LARGE_MSG', 'message is larger than its padding allows', {
    field: 'message',
    facts: { length, limit },
    hint: 'Send a smaller message.',
  })
}

/** An advanced header as bytes for the row of a delivery. */
export const encodeMessageEncryptKey = (header: MessageEncryptKey): Bytes =>
  concat(
    word16(header.version),
    header.messageKey,
    header.messageIv,
    short(header.associatedData),
    large(header.encryptedHeader),
  )

/** The reverse of `encodeMessageEncryptKey`. Throws DecodeError. */
export const decodeMessageEncryptKey = (bytes: Bytes): MessageEncryptKey => {
  const reader = new Reader(bytes, 'messageEncryptKey')
  const header = {
    version: reader.word16('version'),
    messageKey: reader.take(KEY_BYTES, 'messageKey'),
    messageIv: reader.take(IV_BYTES, 'messageIv'),
    associatedData: reader.short('associatedData'),
    encryptedHeader: reader.large('encryptedHeader'),
  }
  reader.end()
  return header
}

// The announced version may rise above the current one: the peer's next message then lifts the current one.
const announcedVersion = (current: number, { supportedVersion, enableKem }: AdvanceOptions): number =>
  Math.max(supportedVersion ?? SUPPORTED_E2E_VERSIONS.max, current, enableKem === true ? KEM_E2E_VERSION : 0)
