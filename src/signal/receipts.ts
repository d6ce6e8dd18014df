import { toBase64url } from '../encoding/index.js'
import { CallError } from '../errors.js'
import type { Outcome, UnitState, Wake } from '../runtime/unit.js'
import { type Change, patch, type Row } from '../store/index.js'
import { signalMessages, type signalOutbox } from '../store/signal/messages.js'
import type { SignalContext } from './context.js'
import { enqueue, type SignalMessageRow } from './outbox.js'
import { findRecipient, type RecipientRow } from './recipients.js'
import { decode, encode } from './wire/codec.js'
import { content as contentSchema, receiptTypes } from './wire/messages.js'
import { signalRecipients } from '../store/signal/account.js'

/** The newest message of a recipient that waits, if it is a receipt that nothing was encrypted of yet. */
export interface OpenReceipt {
  readonly outbox: Row<typeof signalOutbox>
  readonly message: SignalMessageRow
}

/** Most timestamps in one receipt. */
const maxTimestamps = 100

/** A delivery receipt: added to one that waits, or a new one. */
export const deliveryReceipt = (
  context: SignalContext,
  state: Pick<UnitState, 'now'>,
  recipient: RecipientRow,
  timestamp: number,
  open: OpenReceipt | undefined,
): { readonly changes: readonly Change[]; readonly wakes: readonly Wake[]; readonly used: boolean } => {
  if (
    open !== undefined &&
    open.message.kind === 'receipt' &&
    open.message.content !== null &&
    open.outbox.encrypted === null
  ) {
    const { receiptMessage } = decode(contentSchema, open.message.content)
    const timestamps = receiptMessage?.timestamp ?? []
    if ((receiptMessage?.type ?? 0) === receiptTypes.delivery && timestamps.length < maxTimestamps) {
      const { recipientId, messageId } = open.message
      const content = encode(contentSchema, {
        receiptMessage: { type: receiptTypes.delivery, timestamp: [...timestamps, timestamp] },
      })
      return { changes: [patch(signalMessages, { recipientId, messageId }, { content })], wakes: [], used: false }
    }
  }
  const { changes, wake } = enqueue(context, state, recipient, {
    kind: 'receipt',
    timestamp: context.nextTimestamp(),
    content: { receiptMessage: { type: receiptTypes.delivery, timestamp: [timestamp] } },
    correlationId: toBase64url(context.random(12)),
  })
  return { changes, wakes: [wake], used: true }
}

/** Tells the other side that its messages were read (S14): a durable item as every other. */
export const markRead = async (
  context: SignalContext,
  to: string,
  timestamps: readonly number[],
): Promise<{ readonly messageId: number }> => {
  if (timestamps.length === 0 || timestamps.length > maxTimestamps)
    throw new CallError('CMD_PARAMS', `name 1 to ${maxTimestamps} timestamps`, { field: 'timestamps' })
  const { recipientId } = await findRecipient(context, to)
  return context.runtime.run({
    name: 'signal.markRead',
    locks: [recipientId],
    compute: (state): Outcome<{ readonly messageId: number }> => {
      const [recipient] = state.rows(signalRecipients, recipientId)
      if (recipient === undefined)
        throw new CallError('SIGNAL_RECIPIENT_UNKNOWN', 'there is no such recipient', { field: 'to' })
      const { messageId, changes, wake } = enqueue(context, state, recipient, {
        kind: 'receipt',
        timestamp: context.nextTimestamp(),
        content: { receiptMessage: { type: receiptTypes.read, timestamp: timestamps } },
        correlationId: toBase64url(context.random(12)),
      })
      return { result: { messageId }, changes, wakes: [wake] }
    },
  })
}
