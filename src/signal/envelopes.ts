import {
  PreKeyBundle,
  ProtocolAddress,
  PublicKey,
  KEMPublicKey,
  sealedSenderEncrypt,
  UnidentifiedSenderMessageContent,
} from '@signalapp/libsignal-client'
import type { SignalAnswer } from '../../machines/signalSend.js'
import type { Bytes } from '../encoding/index.js'
import { asDuologueError, CryptoError } from '../errors.js'
import { signalIdentities } from '../store/signal/account.js'
import type { SignalConfig } from './config.js'
import { peerOf, requireAccount, type SignalContext } from './context.js'
import { native } from './crypto/bytes.js'
import { IdentityOverlay } from './crypto/stores.js'
import { jsonOf, type SignalResponse } from './net/session.js'
import { encode } from './wire/codec.js'
import { type EncryptedMessage, envelopeTypes, unidentifiedSenderContent } from './wire/messages.js'

/** An answer with what the server said beside its status. */
export type DetailedAnswer = SignalAnswer & {
  readonly status?: number
  readonly missing?: readonly number[]
  readonly extra?: readonly number[]
  readonly stale?: readonly number[]
  /** Of a challenge: what to answer it with. */
  readonly token?: string
  readonly options?: readonly string[]
  /** Why there is no answer. */
  readonly error?: string
}

/** libsignal’s names of what is inside a sealed message, by the type of its envelope. */
const innerTypes: Readonly<Record<number, number>> = {
  [envelopeTypes.preKey]: 1,
  [envelopeTypes.ratchet]: 2,
  [envelopeTypes.plaintext]: 8,
}

/** Content hints: whether a receiver that cannot open it should ask again. */
export const contentHints = { default: 0, resendable: 1, implicit: 2 } as const

/**
 * Seals ciphertexts under the sender certificate. The ratchet is not touched: a stored ciphertext can be sealed as often as
 * it is sent, and goes identified as it is.
 */
export const seal = async (
  context: SignalContext,
  serviceId: string,
  messages: readonly EncryptedMessage[],
  certificate: Bytes,
  contentHint: number,
): Promise<EncryptedMessage[]> => {
  const account = requireAccount(context)
  const [identity] = await context.store.find(signalIdentities, { where: { peer: peerOf(context, serviceId) } })
  if (identity === undefined)
    throw new CryptoError('CRYPTO_SESSION', 'the identity of the recipient is not known', { field: serviceId })
  const store = new IdentityOverlay(account.aciIdentityKey, account.registrationId, identity.identityKey)
  const sealed: EncryptedMessage[] = []
  for (const message of messages) {
    const inner = encode(unidentifiedSenderContent, {
      type: innerTypes[message.type ?? 0],
      senderCertificate: certificate,
      content: message.content,
      contentHint,
    })
    const address = ProtocolAddress.new(serviceId, message.deviceId ?? 1)
    const content = await sealedSenderEncrypt(UnidentifiedSenderMessageContent.deserialize(inner), address, store)
    sealed.push({ ...message, type: envelopeTypes.sealed, content })
  }
  return sealed
}

/** The body of `PUT /v1/messages`. */
export const messageList = (
  messages: readonly EncryptedMessage[],
  { timestamp, urgent }: { readonly timestamp: number; readonly urgent: boolean },
): object => ({
  messages: messages.map(({ deviceId, registrationId, type, content }) => ({
    type,
    destinationDeviceId: deviceId,
    destinationRegistrationId: registrationId,
    content: Buffer.from(content ?? []).toString('base64'),
  })),
  timestamp,
  online: false,
  urgent,
})

/** What an answer to a message means. */
export const answerOf = (response: SignalResponse, config: SignalConfig): DetailedAnswer => {
  const { status } = response
  if (status >= 200 && status < 300) return { type: 'accepted', status }
  const json = jsonOf(response)
  switch (status) {
    case 401:
      return { type: 'unauthorized', status }
    case 404:
      return { type: 'unregistered', status }
    case 409:
      return {
        type: 'mismatched',
        status,
        missing: deviceIds(json['missingDevices']),
        extra: deviceIds(json['extraDevices']),
      }
    case 410:
      return { type: 'stale', status, stale: deviceIds(json['staleDevices']) }
    case 413:
      return { type: 'tooLarge', status }
    case 428:
      return {
        type: 'challenge',
        status,
        waitMs: retryAfterMs(response) ?? config.challengeWaitMs,
        ...(typeof json['token'] === 'string' ? { token: json['token'] } : {}),
        options: Array.isArray(json['options']) ? json['options'].map(String) : [],
      }
    case 429:
      return { type: 'limited', status, waitMs: retryAfterMs(response) ?? config.limitedWaitMs }
    default:
      return { type: status >= 500 ? 'serverError' : 'invalid', status }
  }
}

/** No answer came: the server may have the message. */
export const unanswered = (error: unknown): DetailedAnswer => ({
  type: 'unanswered',
  error: asDuologueError(error).code,
})

/** The server’s Retry-After, in ms; undefined when it names none. */
export const retryAfterMs = ({ headers }: SignalResponse): number | undefined => {
  const seconds = Number(headers['retry-after'])
  return Number.isFinite(seconds) && headers['retry-after'] !== undefined ? Math.max(0, seconds) * 1000 : undefined
}

/** Ids of devices are 1 to 127; a list of anything else is not the server’s. */
const deviceIds = (value: unknown): number[] =>
  Array.isArray(value)
    ? [...new Set(value.filter((id): id is number => Number.isInteger(id) && id >= 1 && id <= 127))]
    : []

/** The bundles of an answer to `GET /v2/keys`. Throws libsignal’s errors for keys that are none. */
export const bundlesOf = (response: SignalResponse): PreKeyBundle[] => {
  const { identityKey, devices } = jsonOf(response) as unknown as KeysAnswer
  const identity = PublicKey.deserialize(fromBase64(identityKey))
  return devices.map(({ deviceId, registrationId, signedPreKey, preKey, pqPreKey }) =>
    PreKeyBundle.new(
      registrationId,
      deviceId,
      preKey?.keyId ?? null,
      preKey === null || preKey === undefined ? null : PublicKey.deserialize(fromBase64(preKey.publicKey)),
      signedPreKey.keyId,
      PublicKey.deserialize(fromBase64(signedPreKey.publicKey)),
      fromBase64(signedPreKey.signature),
      identity,
      pqPreKey.keyId,
      KEMPublicKey.deserialize(fromBase64(pqPreKey.publicKey)),
      fromBase64(pqPreKey.signature),
    ),
  )
}

interface KeyOfAnswer {
  readonly keyId: number
  readonly publicKey: string
  readonly signature: string
}

interface KeysAnswer {
  readonly identityKey: string
  readonly devices: ReadonlyArray<{
    readonly deviceId: number
    readonly registrationId: number
    readonly signedPreKey: KeyOfAnswer
    readonly preKey?: KeyOfAnswer | null
    readonly pqPreKey: KeyOfAnswer
  }>
}

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> => native(Buffer.from(text, 'base64'))
