import { asDuologueError, DuologueError } from '../errors.js'
import type { EventRow } from '../runtime/writer.js'
import type { Json } from '../store/index.js'
import { fromBase64 } from './api/base64.js'
import type { AgentEvent, ErrorFact } from './api/events.js'

/** Where each type keeps the bytes of its row. */
const bodyField: Readonly<Record<string, string>> = { MSG: 'body', CONF: 'info', INFO: 'info', REQ: 'info' }

/** A row of the event log as the application sees it. */
export const toAgentEvent = (row: EventRow): AgentEvent => {
  const field = bodyField[row.type]
  return {
    cursor: row.cursor,
    at: row.at,
    network: row.network,
    userId: row.userId,
    connectionId: row.connectionId,
    ...(row.correlationId === null ? {} : { correlationId: row.correlationId }),
    traceId: row.traceId,
    type: row.type,
    ...(row.messageId === null ? {} : { messageId: row.messageId }),
    ...(row.type === 'RCVD' ? receiptsPayload(row.payload) : (row.payload as object)),
    ...(field === undefined ? {} : { [field]: row.body ?? new Uint8Array() }),
  } as AgentEvent
}

// Bytes are base64 in the payload, which is JSON.
const receiptsPayload = (payload: Json): object => {
  const { receipts, ...rest } = payload as unknown as { receipts: ReadonlyArray<{ readonly info: string }> }
  return { ...rest, receipts: receipts.map(receipt => ({ ...receipt, info: fromBase64(receipt.info) })) }
}

/** An error as an event tells it: code, message, field and hint; nothing of its cause. */
export const errorFact = (error: unknown): ErrorFact & { readonly [key: string]: Json } => {
  const { code, message, field, hint } = asDuologueError(error) satisfies DuologueError
  return {
    code,
    message,
    ...(field === undefined ? {} : { field }),
    ...(hint === undefined ? {} : { hint }),
  }
}
