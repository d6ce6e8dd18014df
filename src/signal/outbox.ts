import type { UnitState, Wake } from '../runtime/unit.js'
import { type Change, insert, patch, type Row } from '../store/index.js'
import { signalRecipients } from '../store/signal/account.js'
import { signalMessages, signalOutbox } from '../store/signal/messages.js'
import type { SignalContext } from './context.js'
import type { RecipientRow } from './recipients.js'
import { decode, encode } from './wire/codec.js'
import { type Content, content as contentSchema, type EncryptedMessage, encryptedMessages } from './wire/messages.js'

export type SignalMessageRow = Row<typeof signalMessages>
export type OutboxRow = Row<typeof signalOutbox>

/** What the channel sends: messages of the user, and what it sends by itself. */
export type SentKind = 'message' | 'receipt' | 'retryReceipt' | 'null'

export interface Enqueued {
  readonly messageId: number
  readonly timestamp: number
  readonly changes: readonly Change[]
  readonly wake: Wake
}

/** Wakes the sends of a recipient. */
export const sendWake = (recipientId: string): Wake => ({ worker: 'signalSend', key: recipientId })

/**
 * Stores a message and puts it into the outbox of its recipient, whose row must be locked. A retry receipt is given in the
 * form in which it goes into an envelope, everything else as content.
 */
export const enqueue = (
  { userId }: Pick<SignalContext, 'userId'>,
  { now }: Pick<UnitState, 'now'>,
  { recipientId, lastMessageId }: RecipientRow,
  message: {
    readonly kind: SentKind
    readonly timestamp: number
    readonly content: Content | Uint8Array
    readonly correlationId: string
    readonly idempotencyKey?: string | undefined
  },
): Enqueued => {
  const messageId = lastMessageId + 1
  const { kind, timestamp, content, correlationId, idempotencyKey } = message
  return {
    messageId,
    timestamp,
    changes: [
      patch(signalRecipients, { recipientId }, { lastMessageId: messageId }),
      insert(signalMessages, {
        recipientId,
        messageId,
        userId,
        timestamp,
        kind,
        content: content instanceof Uint8Array ? content : encode(contentSchema, content),
        state: 'waiting',
        resends: 0,
        idempotencyKey: idempotencyKey ?? null,
        correlationId,
        createdAt: now,
      }),
      insert(signalOutbox, waiting(userId, recipientId, messageId, now, false)),
    ],
    wake: sendWake(recipientId),
  }
}

/** The ciphertexts that a row of the outbox, or a transcript, has stored. */
export const ciphertextsOf = (encrypted: Uint8Array | null | undefined): readonly EncryptedMessage[] =>
  encrypted === null || encrypted === undefined ? [] : (decode(encryptedMessages, encrypted).devices ?? [])

/** Whether something that was sent is not stored any more. */
export const lacks = (encrypted: Uint8Array | null | undefined, sent: readonly EncryptedMessage[]): boolean => {
  const kept = new Set(ciphertextsOf(encrypted).map(({ deviceId }) => deviceId))
  return sent.some(({ deviceId }) => !kept.has(deviceId))
}

/** A row of the outbox as it begins. */
export const waiting = (
  userId: number,
  recipientId: string,
  messageId: number,
  now: number,
  resend: boolean,
): OutboxRow => ({
  recipientId,
  messageId,
  userId,
  encrypted: null,
  resend,
  waitUntil: null,
  waitReason: null,
  createdAt: now,
})
