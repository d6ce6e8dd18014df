import { boxSecret, type BoxKey, x25519 } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { CallError, InternalError } from '../errors.js'
import { type AgentEnvelope, decodeAgentEnvelope } from '../smp/protocol/agentEnvelope.js'
import { decodeEnvelope, openEnvelopeInPlace } from '../smp/protocol/clientMessage.js'
import { openRecipientMessage } from '../smp/protocol/recipientMessage.js'
import type { PublicKey } from '../crypto/index.js'
import type { AgentConfig } from './config.js'
import type { RcvQueueRow } from './rows.js'

/** A router's message after its own encryption: a marker that the queue was full, or what the sender sent. */
export type OpenedMessage =
  | { readonly type: 'quota' }
  | {
      readonly type: 'message'
      /** The router's time, ms since 1970. */
      readonly brokerAt: number
      readonly notify: boolean
      readonly body: Bytes
    }

/** Opens a router's encryption. Throws CryptoError, DecodeError. */
export const openDelivered = (queue: RcvQueueRow, messageId: Bytes, body: Bytes): OpenedMessage => {
  if (queue.routerDhSecret === null)
    throw new InternalError('the queue has no secret with its router', { field: queue.queueId })
  const message = openRecipientMessage(boxSecret(queue.routerDhSecret), messageId, body)
  if (message.type === 'quota') return { type: 'quota' }
  const { timestamp, flags, body: sent } = message
  return { type: 'message', brokerAt: timestamp * 1000, notify: flags.notification, body: sent }
}

/** What a sender put into the queue: as far as the queue’s keys open it. */
export interface OpenedEnvelope {
  readonly clientVersion: number
  /** The sender’s key for this queue: in confirmations and invitations. */
  readonly senderDhKey: Bytes | undefined
  /** Undefined while there is neither a secret nor a key to open it with. */
  readonly content: { readonly senderKey: PublicKey | undefined; readonly envelope: AgentEnvelope } | undefined
}

/** Opens the per-queue encryption of a sender, in place: `body` is overwritten. Throws CallError `AGENT_VERSION`, CryptoError, DecodeError. */
export const openSent = (queue: RcvQueueRow, config: AgentConfig, body: Bytes): OpenedEnvelope => {
  const envelope = decodeEnvelope(body)
  const { version, dhKey } = envelope.header
  const { min, max } = config.clientVersions
  if ((version < min || version > max) && version > queue.clientVersion) {
    throw new CallError('AGENT_VERSION', 'the message needs another SMP client version', {
      field: queue.queueId,
      facts: { version, min, max },
    })
  }
  const key = boxKeyOf(queue, dhKey)
  if (key === undefined) return { clientVersion: version, senderDhKey: dhKey, content: undefined }
  const { senderKey, body: agentBytes } = openEnvelopeInPlace(key, envelope)
  return {
    clientVersion: version,
    senderDhKey: dhKey,
    content: { senderKey, envelope: decodeAgentEnvelope(agentBytes) },
  }
}

const boxKeyOf = (queue: RcvQueueRow, senderDhKey: Bytes | undefined): BoxKey | undefined => {
  if (queue.e2eSecret !== null) return boxSecret(queue.e2eSecret)
  return senderDhKey === undefined ? undefined : boxSecret(x25519(queue.e2ePrivateKey, senderDhKey))
}
