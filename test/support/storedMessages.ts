/** Puts messages of any type into the rows of an agent that is not running, as its own units of work would have left them. */
import { randomBytes } from 'node:crypto'
import type { SentMessageType } from '../../machines/sndQueue.js'
import { connections, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { insert, patch, type Store } from '../../src/store/index.js'

/** Stores a message that waits for the connection's send queue; answers with its number. Its envelope is of random bytes. */
export const storeWaiting = async (
  store: Store,
  connectionId: string,
  type: SentMessageType,
  createdAt: number,
): Promise<number> => {
  const [connection] = await store.find(connections, { where: { connectionId } })
  const [queue] = await store.find(sndQueues, { where: { connectionId, primary: true } })
  if (connection === undefined || queue === undefined) throw new Error('no connection to send on')
  const messageId = connection.lastMessageId + 1
  const sendId = connection.lastSendId + 1
  await store.commit([
    patch(connections, { connectionId }, { lastMessageId: messageId, lastSendId: sendId }),
    insert(sndMessages, {
      connectionId,
      messageId,
      sendId,
      type,
      body: null,
      bodyId: null,
      header: null,
      paddedLength: 15_840,
      pqEncryption: false,
      encrypted: randomBytes(1000),
      previousHash: randomBytes(32),
      hash: randomBytes(32),
      notify: true,
      idempotencyKey: null,
      receipt: null,
      createdAt,
    }),
    insert(deliveries, { queueId: queue.queueId, messageId, connectionId, warned: null, sent: false, createdAt }),
  ])
  return messageId
}
