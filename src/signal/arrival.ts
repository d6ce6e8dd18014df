import {
  CiphertextMessageType,
  sealedSenderDecryptToUsmc,
  type UnidentifiedSenderMessageContent,
} from '@signalapp/libsignal-client'
import { sha256 } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { CryptoError, DecodeError } from '../errors.js'
import { requireAccount, type SignalContext } from './context.js'
import { native } from './crypto/bytes.js'
import { IdentityOverlay } from './crypto/stores.js'
import type { OwnIdentity } from './preKeys.js'
import { decode } from './wire/codec.js'
import { envelope as envelopeSchema, envelopeTypes } from './wire/messages.js'
import { contentHints } from './envelopes.js'
import { isAci, isDeviceId, isPni, serviceIdOf } from './wire/serviceId.js'

/** A message as it has arrived, with its sender known and nothing decrypted. */
export interface Arrival {
  /** SHA-256 of the envelope’s content: the same for every redelivery. */
  readonly hash: Bytes
  readonly source: string
  readonly deviceId: number
  /** The sender’s number, where the sender certificate tells it. */
  readonly e164: string | undefined
  readonly own: OwnIdentity
  /** Type of the ciphertext, as in an envelope: never sealed. */
  readonly type: number
  readonly ciphertext: Bytes
  readonly timestamp: number
  readonly serverTimestamp: number
  readonly sealed: boolean
  readonly contentHint: number
}

const innerTypes: Readonly<Record<number, number>> = {
  [CiphertextMessageType.PreKey]: envelopeTypes.preKey,
  [CiphertextMessageType.Whisper]: envelopeTypes.ratchet,
  [CiphertextMessageType.Plaintext]: envelopeTypes.plaintext,
}

/**
 * Reads an envelope and opens its seal, for which no session is needed. Throws DecodeError, CryptoError, libsignal’s errors: then
 * there is nobody to tell, and the message is only acknowledged.
 */
export const readArrival = async (context: SignalContext, bytes: Bytes): Promise<Arrival> => {
  const envelope = decode(envelopeSchema, bytes)
  const account = requireAccount(context)
  const content = envelope.content ?? Buffer.alloc(0)
  const destination = serviceIdText(envelope.destinationServiceIdBinary, envelope.destinationServiceId)
  const own: OwnIdentity = destination !== undefined && isPni(destination) ? 'pni' : 'aci'
  if (own === 'pni' && account.pniIdentityKey === null)
    throw new DecodeError('DECODE_ENVELOPE', 'an envelope is for a PNI that this account has not', {
      field: 'envelope',
    })
  const timestamp = envelope.clientTimestamp ?? 0
  const base = {
    hash: sha256(content),
    own,
    timestamp,
    serverTimestamp: envelope.serverTimestamp ?? timestamp,
  }
  if (envelope.type !== envelopeTypes.sealed) {
    const source = serviceIdText(envelope.sourceServiceIdBinary, envelope.sourceServiceId)
    const { type, sourceDeviceId: deviceId = 0 } = envelope
    if (source === undefined || type === undefined || !(isAci(source) || isPni(source)) || !isDeviceId(deviceId))
      throw new DecodeError('DECODE_ENVELOPE', 'an envelope names no sender', { field: 'envelope' })
    return {
      ...base,
      source,
      deviceId,
      e164: undefined,
      type,
      ciphertext: content,
      sealed: false,
      contentHint: contentHints.default,
    }
  }
  if (own === 'pni')
    throw new CryptoError('CRYPTO_SEALED', 'a sealed message to the PNI is refused', { field: 'envelope' })
  const store = new IdentityOverlay(account.aciIdentityKey, account.registrationId, undefined)
  const inner = await sealedSenderDecryptToUsmc(native(content), store)
  const sender = trustedSender(context, inner, base.serverTimestamp)
  return {
    ...base,
    ...sender,
    type: innerTypes[inner.msgType()] ?? 0,
    ciphertext: inner.contents(),
    sealed: true,
    contentHint: inner.contentHint(),
  }
}

/** The sender that the server has certified. Throws CryptoError CRYPTO_CERTIFICATE for anybody else’s word. */
const trustedSender = (
  { trustRoots, account }: SignalContext,
  inner: UnidentifiedSenderMessageContent,
  at: number,
): Pick<Arrival, 'source' | 'deviceId' | 'e164'> => {
  const certificate = inner.senderCertificate()
  if (!certificate.validateWithTrustRoots([...trustRoots], at))
    throw new CryptoError('CRYPTO_CERTIFICATE', 'the sender certificate is not of this server, or has expired', {
      field: 'certificate',
    })
  const source = certificate.senderUuid()
  const deviceId = certificate.senderDeviceId()
  if (!isAci(source) || !isDeviceId(deviceId))
    throw new CryptoError('CRYPTO_CERTIFICATE', 'the sender certificate names no device', { field: 'certificate' })
  if (source === account?.aci && deviceId === account.deviceId)
    throw new CryptoError('CRYPTO_SEALED', 'a sealed message of this device itself', { field: 'certificate' })
  return { source, deviceId, e164: certificate.senderE164() ?? undefined }
}

const serviceIdText = (binary: Bytes | undefined, text: string | undefined): string | undefined =>
  binary !== undefined && binary.length > 0 ? serviceIdOf(binary) : text === '' ? undefined : text
