import type { SentMessageType } from '../../machines/sndQueue.js'
import { asDuologueError } from '../errors.js'
import type { NewEvent, Read } from '../runtime/unit.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import type { AgentConfig } from './config.js'
import { timeoutOf } from './deliverMessage.js'
import { errorFact } from './events.js'
import type { DeliveryRow, SndMessageRow } from './outgoing.js'
import { type ConnectionRow, eventOf } from './rows.js'

/** A delivery that has waited as long as the one that expires, with what is known of its message. */
export interface Expired {
  readonly delivery: DeliveryRow
  readonly message: Pick<SndMessageRow, 'type' | 'bodyId'>
}

/** Expired messages that go in one commit; what is left goes when the next one expires. */
const maxExpired = 1000

interface Expiry {
  readonly config: AgentConfig
  readonly now: number
  /** All messages up to this one expire, however long they have waited. */
  readonly givenUpTo: number | undefined
}

/** The deliveries of a queue that this error makes expire, each by the timeout of its type, in their order. */
export const readExpired = async (
  read: Read,
  { queueId, connectionId }: Pick<DeliveryRow, 'queueId' | 'connectionId'>,
  error: unknown,
  { config, now, givenUpTo }: Expiry,
): Promise<Expired[]> => {
  const shortest = Math.min(timeoutOf('HELLO', error, config), timeoutOf('A_MSG', error, config))
  const which = givenUpTo === undefined ? { createdAt: { lt: now - shortest } } : { messageId: { lte: givenUpTo } }
  const rows = await read(deliveries, { where: { queueId, ...which }, orderBy: ['messageId'], limit: maxExpired })
  const messages = await read(sndMessages, {
    where: { connectionId, messageId: { in: rows.map(row => row.messageId) } },
  })
  const byId = new Map(messages.map(({ messageId, type, bodyId }) => [messageId, { type, bodyId }]))
  return rows.flatMap(delivery => {
    const message = byId.get(delivery.messageId)
    if (message === undefined) return []
    const isExpired = givenUpTo !== undefined || delivery.createdAt < now - timeoutOf(message.type, error, config)
    return isExpired ? [{ delivery, message }] : []
  })
}

/** Messages of the application, and what the agents say about them: MERR tells of their failure, and success changes only their rows. */
export const conversation: ReadonlySet<string> = new Set<SentMessageType>(['A_MSG', 'A_RCVD', 'A_QCONT', 'EREADY'])
const rotation: ReadonlySet<string> = new Set<SentMessageType>(['QADD', 'QKEY', 'QUSE', 'QTEST'])

/** Names the type of a message that the application did not send. */
export const messageTypeFact = (type: string): { readonly messageType?: string } =>
  type === 'A_MSG' ? {} : { messageType: type }

/**
 * What the application hears of messages that failed for good with one error: MERR of the one that was tried, MERRS in bulk of those
 * behind it; ERR of each message of a handshake or rotation.
 */
export const failedEvents = (
  connection: ConnectionRow,
  messages: ReadonlyArray<{ readonly messageId: number; readonly type: string }>,
  error: unknown,
  bulk: boolean,
): NewEvent[] => {
  const byType = new Map<string, number[]>()
  for (const { messageId, type } of messages) byType.set(type, [...(byType.get(type) ?? []), messageId])
  return [...byType].flatMap(([type, messageIds]) => {
    if (bulk && conversation.has(type)) {
      return [eventOf(connection, 'MERRS', { messageIds, ...messageTypeFact(type), error: errorFact(error) })]
    }
    return messageIds.map(messageId => failedEvent(connection, messageId, type, error))
  })
}

const failedEvent = (connection: ConnectionRow, messageId: number, type: string, error: unknown): NewEvent => {
  if (conversation.has(type)) {
    return eventOf(connection, 'MERR', { ...messageTypeFact(type), error: errorFact(error) }, { messageId })
  }
  const fact = rotation.has(type) ? queueErrorFact(connection, type, error) : errorFact(error)
  return eventOf(connection, 'ERR', { messageType: type, error: fact }, { messageId })
}

/** A queue error names the message of the rotation that failed, and why. */
const queueErrorFact = ({ connectionId }: ConnectionRow, type: string, error: unknown) => ({
  code: 'AGENT_QUEUE',
  message: `${type}: ${asDuologueError(error).code}`,
  field: connectionId,
})
