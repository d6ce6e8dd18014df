import type { PreKeyBundle } from '@signalapp/libsignal-client'
import type { SignalHead } from '../../machines/signalSend.js'
import { InternalError } from '../errors.js'
import { remove } from '../store/index.js'
import { signalRecipients } from '../store/signal/account.js'
import { signalMessages, signalOutbox } from '../store/signal/messages.js'
import { requireAccount, type SignalContext } from './context.js'
import type { DetailedAnswer } from './envelopes.js'
import { ciphertextsOf, type OutboxRow, type SignalMessageRow } from './outbox.js'
import { type RecipientRow, serviceIdOfRecipient } from './recipients.js'
import type { SendStep } from './sendTrace.js'
import { type Target, targetOf } from './target.js'
import type { EncryptedMessage } from './wire/messages.js'

/** The message at the head of a recipient’s outbox, as its worker has it in memory; the rows are the truth. */
export interface SendHead {
  readonly row: OutboxRow
  readonly message: SignalMessageRow
  readonly recipient: RecipientRow
  readonly target: Target
  readonly bundles: Map<number, PreKeyBundle>
  /** Devices that keys are needed for. */
  missing: readonly number[]
  encrypted: readonly EncryptedMessage[]
  answer: DetailedAnswer | undefined
  /** Requests so far, and whether the last one was sealed. */
  requests: number
  sealed: boolean
}

/** The oldest message of an outbox, and what it wants; undefined when nothing waits. */
export const takeHead = async (
  context: SignalContext,
  recipientId: string,
): Promise<{ readonly head: SendHead; readonly wants: SignalHead } | undefined> => {
  const { store, clock, config } = context
  const [row] = await store.find(signalOutbox, { where: { recipientId }, orderBy: ['messageId'], limit: 1 })
  if (row === undefined) return undefined
  const [[message], recipient] = await Promise.all([
    store.find(signalMessages, { where: { recipientId, messageId: row.messageId } }),
    liveRecipient(context, recipientId),
  ])
  if (message === undefined || message.content === null) {
    await forget(context, row)
    return takeHead(context, recipientId)
  }
  const serviceId = recipient === undefined ? undefined : serviceIdOfRecipient(recipient)
  if (recipient === undefined || serviceId === undefined)
    throw new InternalError('a waiting message has no recipient', { field: recipientId })
  const sealable = recipient.sealed !== 'refused' && recipient.aci !== null
  const head: SendHead = {
    row,
    message,
    recipient,
    target: targetOf(context, serviceId, {
      profileKey: sealable ? recipient.profileKey : null,
      ...ownDevice(context, serviceId),
    }),
    bundles: new Map(),
    missing: [],
    encrypted: ciphertextsOf(row.encrypted),
    answer: undefined,
    requests: 0,
    sealed: false,
  }
  if (clock.now() - row.createdAt >= config.messageTimeoutMs) return { head, wants: { type: 'expired' } }
  const waitMs = (row.waitUntil ?? 0) - clock.now()
  return { head, wants: waitMs > 0 ? { type: 'wait', waitMs } : { type: 'message' } }
}

/** A repetition whose message has left the log meanwhile: there is nothing to send, and others wait behind it. */
const forget = ({ runtime }: SignalContext, { recipientId, messageId }: OutboxRow): Promise<void> =>
  runtime.run({
    name: 'signal.forgetResend',
    internal: true,
    locks: [recipientId],
    compute: () => ({ result: undefined, changes: [remove(signalOutbox, { recipientId, messageId })] }),
  })

// What goes to the own account leaves this device out.
const ownDevice = (context: SignalContext, serviceId: string): { readonly except?: number } => {
  const { aci, deviceId } = requireAccount(context)
  return serviceId === aci ? { except: deviceId } : {}
}

// A recipient that was found to be another one sends to where that one is.
const liveRecipient = async ({ store }: SignalContext, recipientId: string): Promise<RecipientRow | undefined> => {
  let [row] = await store.find(signalRecipients, { where: { recipientId } })
  for (let hops = 0; row !== undefined && row.mergedInto !== null && hops < 5; hops++) {
    ;[row] = await store.find(signalRecipients, { where: { recipientId: row.mergedInto } })
  }
  return row
}

/** A step of the send, under the correlation id of its message (S16). */
export const traceSend = (
  context: SignalContext,
  { message, recipient }: Pick<SendHead, 'message' | 'recipient'>,
  step: SendStep,
  facts: Parameters<SignalContext['sendTrace']>[2],
): void => {
  const { correlationId, messageId } = message
  context.sendTrace({ correlationId, recipientId: recipient.recipientId, messageId }, step, facts)
}
