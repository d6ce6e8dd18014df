import type { SignalVerdict } from '../../machines/signalSend.js'
import type { NewEvent, Outcome, Wake } from '../runtime/unit.js'
import { type Change, insert, patch, remove } from '../store/index.js'
import { recipientDevices, signalRecipients } from '../store/signal/account.js'
import { signalMessages, signalOutbox, signalSyncItems } from '../store/signal/messages.js'
import { transcript } from './content.js'
import { requireAccount, type SignalContext, signalEvent } from './context.js'
import type { DetailedAnswer } from './envelopes.js'
import { ciphertextsOf, lacks } from './outbox.js'
import type { SendHead } from './sendHead.js'
import { devicesAnswered, devicesWorked } from './target.js'
import { decode, encode } from './wire/codec.js'
import { content as contentSchema, encryptedMessages } from './wire/messages.js'

/** Errors that a message fails with for good, as MERR tells them. */
const failures: Readonly<
  Record<Exclude<SignalVerdict, 'sent'>, { readonly code: string; readonly message: string; readonly hint: string }>
> = {
  unregistered: {
    code: 'SIGNAL_UNREGISTERED',
    message: 'the recipient is not registered with Signal',
    hint: 'the number may have left Signal; ask for the service id anew',
  },
  tooLarge: {
    code: 'SIGNAL_TOO_LARGE',
    message: 'the server does not take a message of this size (413)',
    hint: 'send the text as an attachment',
  },
  invalid: {
    code: 'SIGNAL_INVALID',
    message: 'the server does not take the message',
    hint: 'repeating it changes nothing',
  },
  forbidden: {
    code: 'SIGNAL_FORBIDDEN',
    message: 'the server does not accept messages of this device (401)',
    hint: 'see the health of the channel: the device may have been unlinked',
  },
  unsettled: {
    code: 'SIGNAL_DEVICES_UNSETTLED',
    message: 'the recipient’s devices kept changing while the message was sent',
    hint: 'send it again later',
  },
  expired: {
    code: 'SIGNAL_EXPIRED',
    message: 'the message has waited for longer than it may',
    hint: 'see the health of the channel; the message may have been delivered without an answer',
  },
}

/** The end of a message (S07, S08, S10): its row leaves the outbox, the application is told, a transcript is stored. */
export const settleSend = (context: SignalContext, head: SendHead, verdict: SignalVerdict): Promise<void> => {
  const { row, target } = head
  const { recipientId, messageId } = row
  return context.runtime.run({
    name: 'signal.settle',
    internal: true,
    locks: [recipientId, head.recipient.recipientId, target.peer],
    load: read => read(signalOutbox, { where: { recipientId, messageId } }),
    compute: (state, [stored]): Outcome<void> => {
      if (stored === undefined) return { result: undefined }
      // A retry receipt came before this answer (S13): a ciphertext that was sent must be made anew.
      const again = verdict === 'sent' && lacks(stored.encrypted, head.encrypted)
      const end = verdict === 'sent' ? sent(context, head, state.now) : failed(context, head, verdict)
      const worked = verdict === 'sent' ? devicesWorked(context, state, target, head.encrypted) : []
      const row = again
        ? patch(signalOutbox, { recipientId, messageId }, { resend: true, createdAt: state.now })
        : remove(signalOutbox, { recipientId, messageId })
      return { result: undefined, ...end, changes: [row, ...worked, ...end.changes] }
    },
  })
}

interface End {
  readonly changes: readonly Change[]
  readonly events: readonly NewEvent[]
  readonly wakes: readonly Wake[]
}

const sent = (
  context: SignalContext,
  { message, row, recipient, target, sealed, encrypted }: SendHead,
  now: number,
): End => {
  const { recipientId, messageId } = row
  const changes: Change[] = [patch(signalMessages, { recipientId, messageId }, { state: 'sent' })]
  if (!recipient.registered)
    changes.push(patch(signalRecipients, { recipientId: recipient.recipientId }, { registered: true }))
  if (message.kind !== 'message' || row.resend || message.content === null) return { changes, events: [], wakes: [] }
  const { correlationId, timestamp } = message
  const { dataMessage } = decode(contentSchema, message.content)
  if (dataMessage !== undefined) {
    const destination = { serviceId: target.serviceId, e164: recipient.e164 }
    const content = encode(contentSchema, transcript(dataMessage, timestamp, destination, sealed))
    changes.push(insert(signalSyncItems, syncItem(context, { timestamp, correlationId, content }, now)))
  }
  const devices = encrypted.map(({ deviceId = 0 }) => deviceId)
  const payload = { timestamp, sealed, devices }
  return {
    changes,
    events: [signalEvent(context, recipient.recipientId, 'SENT', payload, { messageId, correlationId })],
    wakes: [{ worker: 'signalSync', key: context.accountId }],
  }
}

/** A transcript as it begins. */
export const syncItem = (
  { accountId, userId }: SignalContext,
  item: { readonly timestamp: number; readonly correlationId: string; readonly content: Uint8Array },
  now: number,
) => ({
  accountId,
  // A timestamp is unique in the account.
  itemId: item.timestamp,
  userId,
  ...item,
  encrypted: null,
  waitUntil: null,
  createdAt: now,
})

const failed = (
  context: SignalContext,
  { message, row, recipient, answer }: SendHead,
  verdict: Exclude<SignalVerdict, 'sent'>,
): End => {
  const { recipientId, messageId } = row
  // A repetition that fails leaves the message what it was: sent, and in the log.
  const changes: Change[] = row.resend
    ? []
    : [patch(signalMessages, { recipientId, messageId }, { state: 'failed', content: null })]
  if (verdict === 'unregistered')
    changes.push(patch(signalRecipients, { recipientId: recipient.recipientId }, { registered: false }))
  if (message.kind !== 'message' || row.resend) return { changes, events: [], wakes: [] }
  const { correlationId, timestamp } = message
  const status = answer?.status
  const payload = {
    timestamp,
    error: { ...failures[verdict], field: recipient.recipientId },
    ...(status === undefined ? {} : { status }),
  }
  return {
    changes,
    events: [signalEvent(context, recipient.recipientId, 'MERR', payload, { messageId, correlationId })],
    wakes: [],
  }
}

const waits: Readonly<Record<string, { readonly code: string; readonly message: string }>> = {
  challenge: {
    code: 'SIGNAL_CHALLENGE',
    message: 'the server wants a challenge answered before it takes more messages',
  },
  limited: { code: 'SIGNAL_RATE_LIMITED', message: 'the server takes no more messages for a while' },
  keysLimited: { code: 'SIGNAL_KEYS_LIMITED', message: 'the server gives no keys of the recipient for a while' },
  keysUnusable: {
    code: 'SIGNAL_KEYS_UNUSABLE',
    message: 'what the server gives are no keys of the recipient’s device',
  },
}

/** A wait with a reason (S08): stored, so that a restart keeps to it, and told. */
export const noteWait = (
  context: SignalContext,
  { row, recipient, message, answer }: SendHead,
  reason: string,
  waitMs: number,
): Promise<void> => {
  const { recipientId, messageId } = row
  const { correlationId, timestamp } = message
  const challenge = answer?.type === 'challenge' ? { token: answer.token ?? null, options: answer.options ?? [] } : {}
  return context.runtime.run({
    name: 'signal.wait',
    internal: true,
    locks: [recipientId],
    compute: state => {
      const payload = {
        timestamp,
        waitMs,
        error: { ...(waits[reason] ?? { code: 'SIGNAL_WAIT', message: reason }) },
        ...challenge,
      }
      context.sendTrace({ correlationId, recipientId, messageId }, 'wait', { reason, waitMs })
      return {
        result: undefined,
        changes: [
          patch(signalOutbox, { recipientId, messageId }, { waitUntil: state.now + waitMs, waitReason: reason }),
        ],
        events: [signalEvent(context, recipient.recipientId, 'MWARN', payload, { messageId, correlationId })],
      }
    },
  })
}

/** Stores what an answer said of the recipient’s devices, at once (S07). Answers how many devices are left. */
export const updateDevices = async (
  context: SignalContext,
  head: SendHead,
  answer: Pick<DetailedAnswer, 'missing' | 'extra' | 'stale'>,
): Promise<number> => {
  const { row, target } = head
  const { recipientId, messageId } = row
  const { left, encrypted } = await context.runtime.run({
    name: 'signal.devicesAnswered',
    internal: true,
    locks: [recipientId, target.peer],
    load: read => read(signalOutbox, { where: { recipientId, messageId } }),
    compute: (state, [stored]) => {
      const account = requireAccount(context)
      const { changes, gone } = devicesAnswered(context, account, state, target, answer)
      const before = ciphertextsOf(stored?.encrypted)
      const kept = before.filter(({ deviceId = 0 }) => !gone.has(deviceId))
      const known = state.rows(recipientDevices, target.peer).length
      const dropped =
        kept.length === before.length
          ? []
          : [
              patch(
                signalOutbox,
                { recipientId, messageId },
                { encrypted: encode(encryptedMessages, { devices: kept }) },
              ),
            ]
      const left = Math.max(0, Math.max(1, known) + (answer.missing?.length ?? 0) - (answer.extra?.length ?? 0))
      return { result: { left, encrypted: kept }, changes: [...changes, ...dropped] }
    },
  })
  head.encrypted = encrypted
  return left
}
