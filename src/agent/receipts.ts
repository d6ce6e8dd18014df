import { CallError } from '../errors.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { Read, UnitState } from '../runtime/unit.js'
import type { EventRow } from '../runtime/writer.js'
import type { MessageReceipt } from '../smp/protocol/agentMessage.js'
import { rcvMessages, sndMessages } from '../store/agent/messages.js'
import { type Change, patch, remove, type Row } from '../store/index.js'
import { toBase64 } from './api/base64.js'
import type { ReceiptResult } from './api/events.js'
import type { Arrival } from './arrival.js'
import { versionReceipts } from './config.js'
import { decideConnection } from './decideConnection.js'
import type { DecryptedMessage } from './decryptMessage.js'
import { checkReceiptInfoLength } from './limits.js'
import { encodeContent, enqueueMessage, type SndMessageRow } from './outgoing.js'
import { isSynchronized } from './ratchetSync.js'
import { eventOf, findConnection, usedSndQueue } from './rows.js'

type RcvMessageRow = Row<typeof rcvMessages>

/** The sent messages that the receipts of a message are about: to be read in the load phase. */
export const readReceipted = async (
  read: Read,
  connectionId: string,
  decrypted: DecryptedMessage | undefined,
): Promise<readonly SndMessageRow[]> => {
  if (decrypted?.type !== 'message' || decrypted.message.content.type !== 'A_RCVD') return []
  const sendIds = decrypted.message.content.receipts.map(receipt => receipt.messageId)
  return read(sndMessages, { where: { connectionId, sendId: { in: sendIds } } })
}

/** What a receipt says, as the event has it: info as base64. */
interface ReceiptFact {
  readonly [key: string]: string | number
  readonly messageId: number
  readonly result: ReceiptResult['result']
  readonly info: string
}

/**
 * What receipts change (B38): each is kept with its message and told if it is news, which it is not when the message had a good one
 * before. A receipt for what is no message of the application is an error.
 */
export const receiptEffects = (
  { connection, receipted }: Arrival,
  receipts: readonly MessageReceipt[],
): Required<Omit<Effects, 'wakes'>> & { readonly receipts: readonly ReceiptFact[] } => {
  const { connectionId } = connection
  const facts: ReceiptFact[] = []
  const changes: Change[] = []
  const errors = new Set<string>()
  const known = new Map(receipted.map(row => [row.sendId, row]))
  for (const { messageId: sendId, hash, info } of receipts) {
    const row = known.get(sendId)
    if (row === undefined || row.type !== 'A_MSG') {
      errors.add(
        row === undefined ? 'receipt: not a message that is known' : 'receipt: not a message of the application',
      )
      continue
    }
    if (row.receipt === 'ok') continue
    const result = Buffer.compare(hash, row.hash) === 0 ? 'ok' : 'badHash'
    known.set(sendId, { ...row, receipt: result })
    changes.push(patch(sndMessages, { connectionId, messageId: row.messageId }, { receipt: result }))
    facts.push({ messageId: row.messageId, result, info: toBase64(info) })
  }
  const events = [...errors].map(message =>
    eventOf(connection, 'ERR', { error: { code: 'AGENT_PROHIBITED', message, field: connectionId } }),
  )
  return { receipts: facts, changes, events }
}

/**
 * Sends the receipt of a received message (B38), once, if the connection can send and the other party knows receipts. Throws EncodeError
 * `LARGE_MSG`.
 */
export const sendReceipt = (state: UnitState, message: RcvMessageRow, info: Uint8Array): Effects => {
  const { connectionId, messageId, senderMessageId, internalHash } = message
  const connection = findConnection(state, connectionId)
  if (connection === undefined || message.state !== 'received' || connection.agentVersion < versionReceipts) return {}
  checkReceiptInfoLength(info.length, connection)
  const synchronized = isSynchronized(connection)
  // A receipt left out would be lost: acknowledging without it, or later with it, is for the application to say (B84).
  if (!synchronized) throw receiptProhibited(connectionId)
  // Not early: whose message is here has confirmed before it.
  return follow(decideConnection(state, connection, { type: 'message.send', early: false, synchronized }), {
    acceptMessage: () => {
      const receipts = [{ messageId: senderMessageId, hash: internalHash, info }]
      const options = { now: state.now, notify: false }
      const queue = usedSndQueue(state, connectionId)
      const { changes, wake } = enqueueMessage(connection, queue, encodeContent({ type: 'A_RCVD', receipts }), options)
      return {
        changes: [patch(rcvMessages, { connectionId, messageId }, { state: 'receipted' }), ...changes],
        wakes: [wake],
      }
    },
    // A connection that cannot send yet, or not any more: acknowledging does not depend on it.
    refuse: () => ({}),
  })
}

const receiptProhibited = (connectionId: string): CallError =>
  new CallError('CMD_PROHIBITED', 'no receipt can be sent while the ratchet is not synchronised', {
    field: connectionId,
    hint: 'acknowledge without a receipt, or after RSYNC has said ok',
  })

/** The messages that receipts among these events have found well received. */
export const readConfirmed = async (
  read: Read,
  connectionId: string,
  events: readonly EventRow[],
): Promise<readonly SndMessageRow[]> => {
  const ids = events.filter(({ type }) => type === 'RCVD').flatMap(({ payload }) => confirmedIds(payload))
  return ids.length === 0 ? [] : read(sndMessages, { where: { connectionId, messageId: { in: ids } } })
}

const confirmedIds = (payload: EventRow['payload']): number[] =>
  (payload as unknown as { readonly receipts: readonly ReceiptFact[] }).receipts
    .filter(({ result }) => result === 'ok')
    .map(({ messageId }) => messageId)

/**
 * The application knows that these messages were received: their rows go (B38). Not those that still wait for another queue, nor those
 * under an idempotency key, whose call may be repeated: they go with age.
 */
export const pruned = (confirmed: readonly SndMessageRow[]): Change[] =>
  confirmed
    .filter(row => row.header === null && row.idempotencyKey === null)
    .map(({ connectionId, messageId }) => remove(sndMessages, { connectionId, messageId }))
