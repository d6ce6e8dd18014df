import { deliveries, sndMessages } from '../store/agent/messages.js'
import type { Store } from '../store/index.js'
import type { QueuedDelivery } from './outgoing.js'
import type { SharedBodies } from './sharedBodies.js'

/** The first waiting messages of a queue, as its worker takes them. */
export interface WaitingPage {
  readonly items: QueuedDelivery[]
  /** The number of the last one; 0 when none waits. */
  readonly lastMessageId: number
  /** Whether more wait behind these. */
  readonly more: boolean
}

/** Reads up to `length` waiting messages of a queue with their bodies. Rejects with StoreError. */
export const readWaiting = async (
  store: Store,
  bodies: SharedBodies,
  queueId: string,
  length: number,
): Promise<WaitingPage> => {
  const rows = await store.find(deliveries, { where: { queueId }, orderBy: ['messageId'], limit: length })
  const last = rows.at(-1)
  if (last === undefined) return { items: [], lastMessageId: 0, more: false }
  const messages = await store.find(sndMessages, {
    where: { connectionId: last.connectionId, messageId: { in: rows.map(row => row.messageId) } },
  })
  const shared = await bodies.read(messages.flatMap(({ bodyId }) => (bodyId === null ? [] : [bodyId])))
  const byId = new Map(messages.map(message => [message.messageId, message]))
  const items = rows.flatMap((delivery): QueuedDelivery[] => {
    const message = byId.get(delivery.messageId)
    if (message === undefined) return []
    const body = message.bodyId === null ? message.body : (shared.get(message.bodyId) ?? null)
    return [{ delivery, message, body }]
  })
  return { items, lastMessageId: last.messageId, more: rows.length === length }
}
