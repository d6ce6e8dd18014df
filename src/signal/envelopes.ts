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
import { isDeviceId } from './wire/serviceId.js'
import { plainText } from './wire/text.js'
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

/** The service takes no larger frame. */
const maxFrame = 512 * 1_024

/** Whether a list of messages goes into one frame, with room for what else is in it. */
export const fitsFrame = (messages: readonly EncryptedMessage[]): boolean =>
  messages.reduce((sum, { content = new Uint8Array() }) => sum + Math.ceil(content.length / 3) * 4 + 128, 1_024) <=
  maxFrame

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
        waitMs: retryAfterMs(response, config) ?? config.challengeWaitMs,
        ...(typeof json['token'] === 'string' ? { token: plainText(json['token'], 2_048) } : {}),
        options: optionsOf(json['options']),
      }
    case 429:
      return { type: 'limited', status, waitMs: retryAfterMs(response, config) ?? config.limitedWaitMs }
    case 508:
      // The server has rejected it, and wants no repetition.
      return { type: 'invalid', status }
    default:
      // What is no refusal may be an answer of something between here and the server: it says nothing of the message.
      return { type: status >= 400 && status < 500 && !passing.has(status) ? 'invalid' : 'serverError', status }
  }
}

/** Refusals of the moment: request timeout, too early. */
const passing: ReadonlySet<number> = new Set([408, 425])

/** What a user can answer a challenge with: a few words. */
const optionsOf = (value: unknown): string[] =>
  Array.isArray(value)
    ? value
        .filter(one => typeof one === 'string')
        .slice(0, 16)
        .map(one => plainText(one, 64))
    : []

/** No answer came: the server may have the message. */
export const unanswered = (error: unknown): DetailedAnswer => ({
  type: 'unanswered',
  error: asDuologueError(error).code,
})

/** The server’s Retry-After, in ms; undefined when it names none. A message never waits for longer than it may. */
export const retryAfterMs = (
  { headers }: SignalResponse,
  { messageTimeoutMs }: Pick<SignalConfig, 'messageTimeoutMs'>,
): number | undefined => {
  const text = headers['retry-after'] ?? ''
  return /^\d+$/.test(text) ? Math.min(Number(text) * 1_000, messageTimeoutMs) : undefined
}

/** Ids of devices in a list of the server; what is none is left out. */
const deviceIds = (value: unknown): number[] =>
  Array.isArray(value) ? [...new Set(value.filter((id): id is number => typeof id === 'number' && isDeviceId(id)))] : []

/** The bundles of an answer to `GET /v2/keys`; what is none, or is not signed by the identity, is left out. */
export const bundlesOf = (response: SignalResponse): PreKeyBundle[] => {
  try {
    const { identityKey, devices } = jsonOf(response) as unknown as KeysAnswer
    const identity = PublicKey.deserialize(fromBase64(identityKey))
    return devices.flatMap(device => bundleOf(identity, device))
  } catch {
    return []
  }
}

const bundleOf = (identity: PublicKey, device: KeysAnswer['devices'][number]): PreKeyBundle[] => {
  try {
    const { deviceId, registrationId, signedPreKey, preKey, pqPreKey } = device
    const bundle = PreKeyBundle.new(
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
    )
    const signed =
      identity.verify(bundle.signedPreKeyPublic().serialize(), bundle.signedPreKeySignature()) &&
      identity.verify(bundle.kyberPreKeyPublic().serialize(), bundle.kyberPreKeySignature())
    return signed ? [bundle] : []
  } catch {
    return []
  }
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
