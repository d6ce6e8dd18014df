import type { NewEvent, UnitState, Wake } from '../runtime/unit.js'
import { type Change, insert, patch } from '../store/index.js'
import { signalRecipients } from '../store/signal/account.js'
import { signalAttachments } from '../store/signal/messages.js'
import type { Arrival } from './arrival.js'
import { isForApplication, maxAttachments, messagePayload, shortText } from './content.js'
import { type SignalContext, signalEvent } from './context.js'
import { deliveryReceipt, type OpenReceipt } from './receipts.js'
import { profileKeyChange, type RecipientRow } from './recipients.js'
import { encode } from './wire/codec.js'
import {
  attachmentPointer,
  type Content,
  type DataMessage,
  type ReceiptMessage,
  receiptTypes,
  type SyncMessage,
} from './wire/messages.js'
import { serviceIdOf } from './wire/serviceId.js'

/** A message that was opened, with all that deciding about it needs. */
export interface Incoming {
  readonly arrival: Arrival
  /** The sender; undefined for the account’s own devices. */
  readonly recipient: RecipientRow | undefined
  readonly content: Content
  readonly openReceipt: OpenReceipt | undefined
}

interface Effects {
  readonly changes: readonly Change[]
  readonly events: readonly NewEvent[]
  readonly wakes: readonly Wake[]
}

const nothing: Effects = { changes: [], events: [], wakes: [] }

/** What a content changes and tells (S14, S18). What is not for the application leaves nothing but the ratchet. */
export const incomingContent = (context: SignalContext, state: UnitState, incoming: Incoming): Effects => {
  const { recipient, content, arrival } = incoming
  if (recipient === undefined) return fromOwnDevice(context, arrival, content.syncMessage)
  const { dataMessage, editMessage, receiptMessage } = content
  if (dataMessage !== undefined) return message(context, state, incoming, recipient, dataMessage, undefined)
  if (editMessage?.dataMessage !== undefined)
    return message(context, state, incoming, recipient, editMessage.dataMessage, editMessage.targetSentTimestamp ?? 0)
  if (receiptMessage !== undefined) return receipt(context, recipient, arrival, receiptMessage)
  return nothing
}

const message = (
  context: SignalContext,
  state: UnitState,
  { arrival, openReceipt }: Incoming,
  recipient: RecipientRow,
  data: DataMessage,
  edits: number | undefined,
): Effects => {
  const profile = profileKeyChange(recipient, data.profileKey)
  if (!isForApplication(data)) return { changes: profile, events: [], wakes: [] }
  const { recipientId, userId } = recipient
  // Told as a message of its sender it would be answered to its sender alone.
  if (data.groupV2 !== undefined)
    return {
      changes: profile,
      events: [signalEvent(context, recipientId, 'DROPPED', { code: 'SIGNAL_GROUP' })],
      wakes: [],
    }
  const { timestamp, serverTimestamp, source, deviceId, sealed, own } = arrival
  const receipts = context.config.deliveryReceipts
    ? deliveryReceipt(context, state, recipient, timestamp, openReceipt)
    : { changes: [], wakes: [], used: false }
  const messageId = recipient.lastMessageId + (receipts.used ? 2 : 1)
  const event = signalEvent(
    context,
    recipientId,
    'MSG',
    {
      ...messagePayload(data),
      timestamp,
      serverTimestamp,
      sender: source,
      device: deviceId,
      sealed,
      addressedTo: own,
      ...(edits === undefined ? {} : { edits }),
    },
    { messageId, body: Buffer.from(data.body ?? '') },
  )
  const attachments = (data.attachments ?? []).slice(0, maxAttachments).map((pointer, position) =>
    insert(signalAttachments, {
      recipientId,
      messageId,
      position,
      userId,
      pointer: encode(attachmentPointer, pointer),
      createdAt: state.now,
    }),
  )
  return {
    changes: [
      ...profile,
      ...receipts.changes,
      patch(signalRecipients, { recipientId }, { lastMessageId: messageId }),
      ...attachments,
    ],
    events: [event],
    wakes: receipts.wakes,
  }
}

const receiptKinds: Readonly<Record<number, string>> = {
  [receiptTypes.delivery]: 'delivery',
  [receiptTypes.read]: 'read',
  [receiptTypes.viewed]: 'viewed',
}

/** Most timestamps of one receipt that an event tells. */
const maxTimestamps = 500

const receipt = (
  context: SignalContext,
  { recipientId }: RecipientRow,
  { source, deviceId, timestamp }: Pick<Arrival, 'source' | 'deviceId' | 'timestamp'>,
  { type = 0, timestamp: timestamps = [] }: ReceiptMessage,
): Effects => ({
  changes: [],
  events: [
    signalEvent(context, recipientId, 'RECEIPT', {
      kind: receiptKinds[type] ?? 'other',
      timestamps: timestamps.slice(0, maxTimestamps),
      sender: source,
      device: deviceId,
      timestamp,
    }),
  ],
  wakes: [],
})

/** What other devices of the account have sent and read. */
const fromOwnDevice = (context: SignalContext, { deviceId }: Arrival, sync: SyncMessage | undefined): Effects => {
  const events: NewEvent[] = []
  const { sent, read = [] } = sync ?? {}
  if (sent?.message !== undefined && isForApplication(sent.message)) {
    const { message, timestamp = 0, destinationServiceIdBinary, destinationServiceId, destinationE164 } = sent
    const to =
      destinationServiceIdBinary === undefined
        ? (destinationServiceId ?? null)
        : serviceIdOf(destinationServiceIdBinary)
    events.push(
      signalEvent(context, '', 'SENT_ELSEWHERE', {
        ...messagePayload(message),
        text: shortText(message.body, 2_000),
        timestamp,
        to,
        number: destinationE164 ?? null,
        device: deviceId,
      }),
    )
  }
  if (read.length > 0) {
    const messages = read.slice(0, maxTimestamps).map(({ timestamp = 0, senderAci, senderAciBinary }) => ({
      timestamp,
      sender: senderAciBinary === undefined ? (senderAci ?? '') : serviceIdOf(senderAciBinary),
    }))
    events.push(signalEvent(context, '', 'READ_ELSEWHERE', { messages, device: deviceId }))
  }
  return { changes: [], events, wakes: [] }
}

/** The server’s own receipt: an envelope without content. */
export const serverReceipt = (
  context: SignalContext,
  recipient: RecipientRow,
  arrival: Pick<Arrival, 'source' | 'deviceId' | 'timestamp'>,
): Effects => receipt(context, recipient, arrival, { type: receiptTypes.delivery, timestamp: [arrival.timestamp] })
