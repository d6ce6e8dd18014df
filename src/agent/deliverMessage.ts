import type { SndQueueEvent, SentMessageType } from '../../machines/sndQueue.js'
import { boxSecret, type PublicKey, publicKeyOf, type Random } from '../crypto/index.js'
import type { Bytes, Parts } from '../encoding/index.js'
import { InternalError, RouterError } from '../errors.js'
import { decodeMessageEncryptKey, encryptBodyParts } from '../ratchet/index.js'
import { isHostError, isTemporaryOrHostError, type ProxiedRequest } from '../smp/client.js'
import { messageEnvelopeParts } from '../smp/protocol/agentEnvelope.js'
import { CONFIRMATION_PADDING, MESSAGE_PADDING, sealEnvelope } from '../smp/protocol/clientMessage.js'
import type { AgentConfig } from './config.js'
import { numberedMessage } from './limits.js'
import type { QueuedDelivery, SndMessageRow } from './outgoing.js'
import { isSecurable } from './queues.js'
import type { SndQueueRow } from './rows.js'

/**
 * SEND for a waiting message. The body is encrypted here, under the header that the ratchet gave at enqueue, so every attempt has the
 * same ratchet message (B40); only the queue’s own encryption gets a new nonce.
 */
export const sendRequest = (
  queue: SndQueueRow,
  { message, body: content }: Pick<QueuedDelivery, 'message' | 'body'>,
  { random, config }: { readonly random: Random; readonly config: AgentConfig },
  isSigned = !needsRecipient(queue, message),
): ProxiedRequest => {
  const confirmation = isConfirmation(message.type)
  const body = message.encrypted ?? encryptedMessage(message, content, config.agentVersions.max)
  const header = { version: queue.clientVersion, ...(confirmation ? { dhKey: queue.e2ePublicKey } : {}) }
  const sealed = sealEnvelope(
    boxSecret(queue.e2eSecret),
    random(24),
    header,
    needsRecipient(queue, message) ? { body, senderKey: senderKeyOf(queue) } : { body },
    confirmation ? CONFIRMATION_PADDING : MESSAGE_PADDING,
  )
  return {
    command: { type: 'SEND', flags: { notification: message.notify }, body: sealed },
    entityId: queue.sndId,
    ...(isSigned ? { key: { algorithm: 'ed25519', privateKey: queue.sndPrivateKey } } : {}),
  }
}

/**
 * Whether a message is a confirmation whose recipient must secure the queue (legacy handshake): it carries this side’s key, and the
 * router takes it unsigned until the recipient has given it that key.
 */
export const needsRecipient = (queue: SndQueueRow, { type }: Pick<SndMessageRow, 'type'>): boolean =>
  isConfirmation(type) && !isSecurable(queue)

const senderKeyOf = ({ sndPrivateKey }: SndQueueRow): PublicKey => ({
  algorithm: 'ed25519',
  raw: publicKeyOf('ed25519', sndPrivateKey),
})

const encryptedMessage = (message: SndMessageRow, content: Bytes | null, agentVersion: number): Parts => {
  if (message.header === null || content === null) {
    throw new InternalError('a waiting message has no body', { field: message.connectionId })
  }
  const plaintext = numberedMessage(message.sendId, message.previousHash, content)
  const encrypted = encryptBodyParts(decodeMessageEncryptKey(message.header), plaintext, message.paddedLength)
  return messageEnvelopeParts(agentVersion, encrypted)
}

const isConfirmation = (type: string): boolean => type === 'CONN_INFO' || type === 'CONN_INFO_REPLY'

/** What an attempt means for the sndQueue machine. */
export const attemptEvent = (
  { message, delivery }: Pick<QueuedDelivery, 'message' | 'delivery'>,
  queue: SndQueueRow,
  error: unknown,
  config: AgentConfig,
  now: number,
): SndQueueEvent => {
  const messageType = message.type as SentMessageType
  if (error === undefined) return { type: 'message.sent', messageType, securable: isSecurable(queue) }
  const expired = now > expiryOf({ message, delivery }, error, config)
  if (isQuota(error)) return { type: 'message.overQuota', messageType, expired }
  if (error instanceof RouterError && error.code === 'AUTH') return { type: 'message.unauthorized', messageType }
  if (isTemporaryOrHostError(error))
    return { type: 'message.unreached', messageType, host: isHostError(error), expired }
  return { type: 'message.failed', messageType }
}

const isQuota = (error: unknown): boolean => error instanceof RouterError && error.code === 'QUOTA'

/** How long a message of a type may wait behind attempts that fail with an error, in ms (B41, B43). */
export const timeoutOf = (messageType: string, error: unknown, config: AgentConfig): number => {
  if (isQuota(error)) return config.quotaTimeoutMs
  return messageType === 'HELLO' ? config.helloTimeoutMs : config.messageTimeoutMs
}

/** The time, in ms since 1970, after which an attempt that fails with this error is the last one. */
export const expiryOf = (
  { message, delivery }: Pick<QueuedDelivery, 'message' | 'delivery'>,
  error: unknown,
  config: AgentConfig,
): number => delivery.createdAt + timeoutOf(message.type, error, config)
