import { toBase64url } from '../encoding/index.js'
import { CallError } from '../errors.js'
import type { Outcome } from '../runtime/unit.js'
import { signalMessages } from '../store/signal/messages.js'
import { outgoingContent, type OutgoingMessage } from './content.js'
import { requireAccount, type SignalContext } from './context.js'
import { enqueue } from './outbox.js'
import {
  findRecipient,
  idsOf,
  readRecipients,
  type RecipientIds,
  type RecipientRow,
  resolveRecipient,
  withMerged,
  withRecipient,
} from './recipients.js'
import type { AttachmentPointer } from './wire/messages.js'

export interface SendOptions extends OutgoingMessage {
  /** A recipientId, an ACI, a PNI (`PNI:…`) or a number that is known. */
  readonly to: string
  readonly attachments?: readonly AttachmentPointer[] | undefined
  readonly idempotencyKey?: string | undefined
  readonly correlationId?: string | undefined
}

export interface Accepted {
  readonly recipientId: string
  readonly messageId: number
  readonly timestamp: number
  readonly correlationId: string
}

/**
 * Accepts a message: when the call is answered, the message is stored, and SENT or MERR will tell of its end. A repeated call
 * under the same idempotency key answers with the first message. Throws CallError SIGNAL_NOT_LINKED,
 * SIGNAL_RECIPIENT_UNKNOWN, SIGNAL_SELF, SIGNAL_EMPTY.
 */
export const sendMessage = async (context: SignalContext, options: SendOptions): Promise<Accepted> => {
  const { to, text, attachments = [], reaction } = options
  const account = requireAccount(context)
  if ((text ?? '') === '' && attachments.length === 0 && reaction === undefined)
    throw new CallError('SIGNAL_EMPTY', 'a message has a text, attachments or a reaction', { field: 'text' })
  if (to === account.aci || to === account.pni || to === account.e164) throw toSelf()
  const ids = await idsToSendTo(context, to)
  if (ids.aci === account.aci) throw toSelf()
  return withRecipient(context, ids, (candidates, fresh) => accept(context, options, ids, candidates, fresh))
}

const toSelf = (): CallError =>
  new CallError('SIGNAL_SELF', 'a message to the own account goes to nobody', {
    field: 'to',
    hint: 'its other devices get a transcript of every message by themselves',
  })

/** What a recipient is looked up by, under its lock again. */
const idsToSendTo = async (context: SignalContext, to: string): Promise<RecipientIds> => {
  const ids = idsOf(to)
  if (ids?.aci !== undefined || ids?.pni !== undefined) return ids
  const row = await findRecipient(context, to)
  if (row.aci !== null) return { aci: row.aci }
  if (row.pni !== null) return { pni: row.pni }
  throw new CallError('SIGNAL_RECIPIENT_UNKNOWN', 'no service id of this recipient is known', {
    field: 'to',
    hint: 'make it known with setRecipient; finding people by number is not supported',
  })
}

const accept = (
  context: SignalContext,
  options: SendOptions,
  ids: RecipientIds,
  candidates: readonly string[],
  fresh: string,
): Promise<Accepted> => {
  const { userId, runtime, random } = context
  const { idempotencyKey } = options
  return runtime.run({
    name: 'signal.sendMessage',
    locks: candidates,
    load: async read => {
      const rows = await readRecipients(read, userId, ids)
      if (idempotencyKey === undefined || rows.length === 0) return { rows, known: undefined }
      // It was accepted under what its recipient was then.
      const recipientIds = await withMerged(read, rows)
      const [known] = await read(signalMessages, { where: { recipientId: { in: recipientIds }, idempotencyKey } })
      return { rows, known }
    },
    compute: (state, { rows, known }): Outcome<Accepted> => {
      if (known !== undefined) {
        const { recipientId, messageId, timestamp, correlationId } = known
        return { result: { recipientId, messageId, timestamp, correlationId } }
      }
      const { recipient, changes, events } = resolveRecipient(context, state, rows, ids, candidates, fresh)
      const correlationId = options.correlationId ?? toBase64url(random(12))
      return queued(context, state.now, recipient, options, correlationId, { changes, events })
    },
  })
}

const queued = (
  context: SignalContext,
  now: number,
  recipient: RecipientRow,
  { idempotencyKey, ...message }: SendOptions,
  correlationId: string,
  before: Pick<Outcome<unknown>, 'changes' | 'events'>,
): Outcome<Accepted> => {
  const timestamp = context.nextTimestamp()
  const content = outgoingContent(message, timestamp, context.account?.profileKey ?? null)
  const { messageId, changes, wake } = enqueue(context, { now }, recipient, {
    kind: 'message',
    timestamp,
    content,
    correlationId,
    idempotencyKey,
  })
  const { recipientId } = recipient
  context.sendTrace({ correlationId, recipientId, messageId }, 'queued', { timestamp })
  return {
    result: { recipientId, messageId, timestamp, correlationId },
    changes: [...(before.changes ?? []), ...changes],
    events: before.events ?? [],
    wakes: [wake],
  }
}
