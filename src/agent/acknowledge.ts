import { CallError } from '../errors.js'
import type { Outcome } from '../runtime/unit.js'
import type { EventRow } from '../runtime/writer.js'
import { rcvMessages } from '../store/agent/messages.js'
import { type Change, patch } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { checkReceiptInfoLength } from './limits.js'
import { pruned, readConfirmed, sendReceipt } from './receipts.js'

/** Events whose acknowledgement is also the router’s (B31). */
const receivedTypes: readonly string[] = ['MSG', 'RCVD']

/** A receipt that the acknowledgement of a message asks for. */
interface AskedReceipt {
  readonly messageId: number
  readonly info: Uint8Array
}

/**
 * ackMessage: the message’s event leaves the log and the message is marked in the same commit; then the router is told (B31). The one
 * acknowledgement of a message, whether it is called by its number or by its event’s cursor. With a receipt, that is stored for delivery in
 * the same commit (B38). May be repeated.
 */
export const ackMessage = async (
  context: AgentContext,
  { connectionId, messageId, receipt, consumer }: ParsedParamsOf<'ackMessage'>,
): Promise<ResultOf<'ackMessage'>> => {
  if (receipt !== undefined) checkReceiptInfoLength(receipt.length)
  const event = await context.eventLog.messageEvent(connectionId, messageId, receivedTypes)
  if (event !== undefined) {
    if (receipt !== undefined && event.type !== 'MSG') throw receiptNotAllowed(messageId)
    const asked = receipt === undefined ? undefined : { messageId, info: receipt }
    await acknowledgeGroup(context, consumer, connectionId, [event], asked)
    return {}
  }
  const [row] = await context.store.find(rcvMessages, { where: { connectionId, messageId } })
  if (row?.state === 'acknowledged') return {}
  throw new CallError('MESSAGE_NOT_FOUND', 'there is no such message to acknowledge', {
    field: 'messageId',
    facts: { messageId },
    hint: 'take connectionId and messageId of the MSG or RCVD event',
  })
}

const receiptNotAllowed = (messageId: number): CallError =>
  new CallError('CMD_PROHIBITED', 'only a message gets a receipt', {
    field: 'receipt',
    facts: { messageId },
    hint: 'acknowledge an RCVD event without a receipt',
  })

/** ackEvents: one event by its cursor, or all up to one; message events as ackMessage does. May be repeated. */
export const ackEvents = async (
  context: AgentContext,
  { consumer, cursor, upTo }: ParsedParamsOf<'ackEvents'>,
): Promise<ResultOf<'ackEvents'>> => {
  if ((cursor === undefined) === (upTo === undefined)) {
    throw new CallError('CMD_PARAMS', 'name either cursor or upTo', { field: 'cursor' })
  }
  if (cursor !== undefined) {
    await acknowledgeEvents(context, consumer, await context.eventLog.page({ cursor }))
    return {}
  }
  const { lastCursor } = context.eventLog
  // What this consumer has acknowledged before may still be there for others: it is not gone through again.
  await eachPage(context, { after: context.eventLog.doneUpTo(consumer), upTo: upTo as number }, page =>
    acknowledgeEvents(context, consumer, page),
  )
  context.eventLog.noteDone(consumer, Math.min(upTo as number, lastCursor))
  return {}
}

/** Takes out of the log what waited for a consumer that is not registered any more. */
export const releaseEvents = (context: AgentContext): Promise<void> =>
  eachPage(context, { after: 0, upTo: context.eventLog.lastCursor }, page =>
    acknowledgeEvents(context, undefined, page),
  )

const eachPage = async (
  { eventLog }: AgentContext,
  { after, upTo }: { readonly after: number; readonly upTo: number },
  work: (page: readonly EventRow[]) => Promise<void>,
): Promise<void> => {
  let position = after
  for (;;) {
    const page = await eventLog.page({ upTo, after: position })
    const last = page.at(-1)
    if (last === undefined) return
    await work(page)
    position = last.cursor
  }
}

/** Acknowledges events, connection by connection, so that each unit locks one connection only. */
const acknowledgeEvents = async (
  context: AgentContext,
  consumer: string | undefined,
  rows: readonly EventRow[],
): Promise<void> => {
  const byConnection = new Map<string, EventRow[]>()
  for (const row of rows) {
    const group = byConnection.get(row.connectionId)
    if (group === undefined) byConnection.set(row.connectionId, [row])
    else group.push(row)
  }
  await Promise.all(
    [...byConnection].map(([connectionId, group]) => acknowledgeGroup(context, consumer, connectionId, group)),
  )
}

const acknowledgeGroup = async (
  context: AgentContext,
  consumer: string | undefined,
  connectionId: string,
  rows: readonly EventRow[],
  asked?: AskedReceipt,
): Promise<void> => {
  // The message is durable, as its event. Whether the event comes again is tied to the answer of this call, so the router need not
  // wait for the commit: after a crash in between, the event is in the log still.
  if (consumer !== undefined && context.eventLog.isOnlyConsumer(consumer)) tellRouter(context, rows)
  const gone = await context.runtime.run({
    name: 'ackMessage',
    locks: [connectionId],
    load: async read => {
      const { changes, gone } = await context.eventLog.acknowledgement(consumer, rows, read)
      const [message] =
        asked === undefined ? [] : await read(rcvMessages, { where: { connectionId, messageId: asked.messageId } })
      return { changes, gone, message, confirmed: await readConfirmed(read, connectionId, gone) }
    },
    compute: (state, { changes, gone, message, confirmed }): Outcome<readonly EventRow[]> => {
      const receipt = asked === undefined || message === undefined ? {} : sendReceipt(state, message, asked.info)
      return {
        result: gone,
        changes: [...changes, ...(receipt.changes ?? []), ...gone.flatMap(marked), ...pruned(confirmed)],
        wakes: receipt.wakes ?? [],
      }
    },
  })
  context.eventLog.acknowledged(gone, consumer === undefined ? undefined : { consumer, rows })
  tellRouter(context, gone)
  context.inbox.release()
}

const tellRouter = ({ inbox }: AgentContext, rows: readonly EventRow[]): void => {
  for (const { type, connectionId, messageId } of rows) {
    if (receivedTypes.includes(type) && messageId !== null) inbox.acknowledge(connectionId, messageId)
  }
}

const marked = ({ type, connectionId, messageId }: EventRow): Change[] =>
  receivedTypes.includes(type) && messageId !== null
    ? [patch(rcvMessages, { connectionId, messageId }, { state: 'acknowledged' })]
    : []
