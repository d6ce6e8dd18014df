import {
  DecryptionErrorMessage,
  LibSignalErrorBase,
  PlaintextContent,
  type PublicKey,
} from '@signalapp/libsignal-client'
import { toBase64url } from '../encoding/index.js'
import type { Outcome, Read, UnitState } from '../runtime/unit.js'
import { type Change, insert, patch, put } from '../store/index.js'
import { signalRecipients } from '../store/signal/account.js'
import { signalMessages, signalOutbox, signalSeen, signalSyncItems } from '../store/signal/messages.js'
import type { Arrival } from './arrival.js'
import { transcript } from './content.js'
import { peerOf, requireAccount, type SignalContext, signalEvent } from './context.js'
import { native } from './crypto/bytes.js'
import { Ratchets } from './crypto/ratchets.js'
import { ciphertextsOf, enqueue, type OutboxRow, type SignalMessageRow, sendWake, waiting } from './outbox.js'
import {
  readRecipients,
  type RecipientIds,
  type RecipientRow,
  RecipientsMoved,
  resolveRecipient,
  serviceIdOfRecipient,
  withMerged,
  withRecipient,
} from './recipients.js'
import { syncItem } from './settleSend.js'
import { decode, encode } from './wire/codec.js'
import { content as contentSchema, encryptedMessages } from './wire/messages.js'

/** What a retry receipt says: which message its sender could not open, and under which session. */
interface RetryRequest {
  readonly timestamp: number
  readonly deviceId: number
  readonly ratchetKey: PublicKey | undefined
}

/** One message is sent again so often; whoever still cannot open it has another problem. */
const maxResends = 5

/**
 * Answers a retry receipt (S13): the session is archived if it is the one that failed, and the message is sent again from the
 * log, under its own timestamp. A message that is not in the log any more leaves at least a new session.
 */
export const receiveRetryReceipt = async (
  context: SignalContext,
  arrival: Arrival,
  ids: RecipientIds,
): Promise<void> => {
  const request = readRequest(arrival.ciphertext)
  // One for another device of this account goes to all of them.
  if (request === undefined || request.deviceId !== requireAccount(context).deviceId) return
  const peer = peerOf(context, arrival.source)
  await withRecipient(context, ids, async (candidates, fresh) => {
    // The message may have been sent to what its recipient was then.
    const { store } = context
    const read: Read = (table, query) => store.find(table, query)
    const earlier = await withMerged(read, await readRecipients(read, context.userId, ids))
    const locks = [...new Set([peer, ...candidates, ...earlier])]
    return context.runtime.run({
      name: 'signal.retryRequested',
      internal: true,
      locks,
      load: async read => {
        const [known, rows] = await Promise.all([
          read(signalSeen, { where: { hash: arrival.hash } }),
          readRecipients(read, context.userId, ids),
        ])
        return { known: known.length > 0, rows, ...(await readLog(read, context, request, rows)) }
      },
      compute: (state, { known, rows, message, row }): Outcome<void> => {
        if (known) return { result: undefined }
        if (message !== undefined && !locks.includes(message.recipientId)) throw new RecipientsMoved()
        const { recipient, changes, events } = resolveRecipient(context, state, rows, ids, candidates, fresh)
        const answer = answerRequest(context, state, arrival, request, { recipient, message, row })
        const { hash, deviceId } = arrival
        const seen = put(signalSeen, {
          hash,
          userId: context.userId,
          peer,
          deviceId,
          timestamp: null,
          createdAt: state.now,
        })
        return {
          result: undefined,
          changes: [...changes, seen, ...(answer.changes ?? [])],
          events: [...events, ...(answer.events ?? [])],
          wakes: answer.wakes ?? [],
        }
      },
    })
  })
}

/**
 * A retry receipt of the account’s own device: it could not open a transcript. The session is archived if it is the one that
 * failed, and the transcript is sent again while its message is in the log.
 */
export const receiveOwnRetryReceipt = async (context: SignalContext, arrival: Arrival): Promise<void> => {
  const request = readRequest(arrival.ciphertext)
  if (request === undefined || request.deviceId !== requireAccount(context).deviceId) return
  const { userId, accountId, runtime } = context
  const peer = peerOf(context, arrival.source)
  const { timestamp } = request
  await runtime.run({
    name: 'signal.ownRetryRequested',
    internal: true,
    locks: [peer],
    load: async read => {
      const [known, [message], [item]] = await Promise.all([
        read(signalSeen, { where: { hash: arrival.hash } }),
        read(signalMessages, { where: { userId, timestamp, kind: 'message', state: 'sent' }, limit: 1 }),
        read(signalSyncItems, { where: { accountId, itemId: timestamp } }),
      ])
      const where = { recipientId: message?.recipientId ?? '' }
      return { known: known.length > 0, message, item, recipient: (await read(signalRecipients, { where }))[0] }
    },
    compute: (state, { known, message, item, recipient }): Outcome<void> => {
      if (known) return { result: undefined }
      const { hash, deviceId, source } = arrival
      const ratchets = new Ratchets(requireAccount(context), 'aci', { peer, serviceId: source, state })
      const archived = request.ratchetKey !== undefined && ratchets.ratchetKeyMatches(deviceId, request.ratchetKey)
      if (archived) ratchets.archive(deviceId)
      const content = transcriptOf(message, recipient)
      const again: Change[] =
        item !== undefined
          ? [patch(signalSyncItems, { accountId, itemId: timestamp }, { encrypted: without(item.encrypted, deviceId) })]
          : content === undefined
            ? []
            : [insert(signalSyncItems, syncItem(context, content, state.now))]
      const seen = put(signalSeen, { hash, userId, peer, deviceId, timestamp: null, createdAt: state.now })
      const payload = { sender: source, device: deviceId, timestamp, archived, resent: again.length > 0 }
      const about = message === undefined ? {} : { messageId: message.messageId }
      return {
        result: undefined,
        changes: [seen, ...ratchets.changes, ...again],
        events: [signalEvent(context, message?.recipientId ?? '', 'RETRY_REQUESTED', payload, about)],
        wakes: again.length === 0 ? [] : [{ worker: 'signalSync', key: accountId }],
      }
    },
  })
}

/** The transcript of a message that is still in the log. */
const transcriptOf = (
  message: SignalMessageRow | undefined,
  recipient: RecipientRow | undefined,
): Parameters<typeof syncItem>[1] | undefined => {
  if (message === undefined || message.content === null || recipient === undefined) return undefined
  const { dataMessage } = decode(contentSchema, message.content)
  const serviceId = serviceIdOfRecipient(recipient)
  if (dataMessage === undefined || serviceId === undefined) return undefined
  const { timestamp, correlationId } = message
  const content = transcript(dataMessage, timestamp, { serviceId, e164: recipient.e164 }, false)
  return { timestamp, correlationId, content: encode(contentSchema, content) }
}

interface Logged {
  readonly message: SignalMessageRow | undefined
  readonly row: OutboxRow | undefined
}

const readLog = async (
  read: Read,
  { userId }: SignalContext,
  { timestamp }: RetryRequest,
  rows: readonly RecipientRow[],
): Promise<Logged> => {
  const recipientIds = await withMerged(read, rows)
  const [message] = await read(signalMessages, {
    where: { userId, timestamp, recipientId: { in: recipientIds } },
    limit: 1,
  })
  if (message === undefined) return { message, row: undefined }
  const { recipientId, messageId } = message
  const [row] = await read(signalOutbox, { where: { recipientId, messageId } })
  return { message, row }
}

const answerRequest = (
  context: SignalContext,
  state: UnitState,
  { source, deviceId }: Arrival,
  { timestamp, ratchetKey }: RetryRequest,
  { recipient, message, row }: Logged & { readonly recipient: RecipientRow },
): Omit<Outcome<void>, 'result'> => {
  const account = requireAccount(context)
  const ratchets = new Ratchets(account, 'aci', { peer: peerOf(context, source), serviceId: source, state })
  const archived = ratchetKey !== undefined && ratchets.ratchetKeyMatches(deviceId, ratchetKey)
  if (archived) ratchets.archive(deviceId)
  const known = message !== undefined && message.content !== null && message.kind === 'message'
  const resend = known && message.resends < maxResends && message.createdAt > state.now - context.config.logRetentionMs
  const payload = { sender: source, device: deviceId, timestamp, archived, resent: resend }
  const about = message === undefined ? {} : { messageId: message.messageId }
  const events = [signalEvent(context, recipient.recipientId, 'RETRY_REQUESTED', payload, about)]
  if (resend) {
    const { recipientId, messageId } = message
    const changes: Change[] = [
      ...ratchets.changes,
      patch(signalMessages, { recipientId, messageId }, { resends: message.resends + 1 }),
      row === undefined
        ? insert(signalOutbox, waiting(context.userId, recipientId, messageId, state.now, true))
        : patch(signalOutbox, { recipientId, messageId }, { encrypted: without(row.encrypted, deviceId) }),
    ]
    return { changes, events, wakes: [sendWake(recipientId)] }
  }
  if (!archived) return { events }
  const empty = enqueue(context, state, recipient, {
    kind: 'null',
    timestamp: context.nextTimestamp(),
    content: { nullMessage: { padding: Buffer.from(context.random(16)) } },
    correlationId: toBase64url(context.random(12)),
  })
  return { changes: [...ratchets.changes, ...empty.changes], events, wakes: [empty.wake] }
}

const readRequest = (bytes: Uint8Array): RetryRequest | undefined => {
  try {
    const body = PlaintextContent.deserialize(native(bytes)).body()
    const message = DecryptionErrorMessage.extractFromSerializedBody(body)
    return { timestamp: message.timestamp(), deviceId: message.deviceId(), ratchetKey: message.ratchetKey() }
  } catch (error) {
    if (error instanceof LibSignalErrorBase) return undefined
    throw error
  }
}

/** The stored ciphertexts but that for one device, which must be made anew. */
const without = (encrypted: Uint8Array | null, deviceId: number): Uint8Array | null => {
  if (encrypted === null) return null
  const devices = ciphertextsOf(encrypted).filter(device => device.deviceId !== deviceId)
  return encode(encryptedMessages, { devices })
}
