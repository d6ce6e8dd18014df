/** The answer to QUE: what the router knows of a queue, for the operator of an agent who looks for a lost message. */
import type { QueueStatus } from '../smp/protocol/queueStatus.js'
import { idOf } from './messageLog.js'
import type { Messages } from './messages.js'
import type { Queue } from './queues.js'
import type { Subscription } from './subscriptions.js'

/** `subscription` is the one of the session that asks. */
export const statusOf = (queue: Queue, subscription: Subscription | undefined, messages: Messages): QueueStatus => {
  const head = messages.head(queue.key)
  return {
    ...(subscription === undefined ? {} : { qiSub: subscriptionOf(subscription) }),
    ...(head === undefined
      ? {}
      : {
          qiMsg: {
            msgId: base64(head.id),
            msgTs: new Date(head.timestamp * 1000).toISOString().replace('.000Z', 'Z'),
            msgType: head.kind,
          },
        }),
    qiSnd: queue.record?.senderKey !== undefined,
    qiNtf: queue.record?.notifier !== undefined,
    qiSize: messages.size(queue.key),
  }
}

const subscriptionOf = ({ mode, delivered }: Subscription): NonNullable<QueueStatus['qiSub']> => ({
  qSubThread: mode === 'get' ? 'prohibitSub' : 'noSub',
  ...(delivered === undefined ? {} : { qDelivered: base64(delivered.id) }),
})

const base64 = (id: string): string => idOf(id).toString('base64')
