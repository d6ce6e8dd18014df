import { isTemporaryOrHostError } from '../smp/client.js'
import { rcvQueues } from '../store/agent/connections.js'
import type { AgentContext } from './context.js'
import { createdQueue } from './queues.js'
import type { RcvQueueRow } from './rows.js'
import type { SubscribedQueue } from './sessions.js'

/** The other queue of the rotation that a receive queue is in, if there is one still. Rejects with StoreError. */
export const otherOfRotation = async (
  { store }: AgentContext,
  { connectionId, queueId }: SubscribedQueue,
): Promise<RcvQueueRow | undefined> => {
  const queues = await store.find(rcvQueues, { where: { connectionId } })
  const own = queues.find(row => row.queueId === queueId)
  return queues.find(row => row.queueId === own?.replaces || row.replaces === queueId)
}

/**
 * How many messages a receive queue has at its router, those that are delivered and not acknowledged included (QUE). A router that has no
 * such queue, or does not know the command, has none that can be waited for: 0. Rejects when the router cannot be asked now.
 */
export const messagesAtRouter = async ({ sessions }: AgentContext, row: RcvQueueRow): Promise<number> => {
  const queue = createdQueue(row)
  try {
    const { response } = await sessions.request(queue, {
      command: { type: 'QUE' },
      entityId: queue.rcvId,
      key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
    })
    return response.type === 'INFO' ? response.status.qiSize : 0
  } catch (error) {
    if (isTemporaryOrHostError(error)) throw error
    return 0
  }
}

/**
 * Whether all that the old queue of a rotation has was read, so that it may go (B78); where it was not, its router is asked to deliver it.
 * A message that the application has not acknowledged is read: its event stays. Rejects as `messagesAtRouter` does.
 */
export const isDrained = async (context: AgentContext, row: RcvQueueRow): Promise<boolean> => {
  const { inbox, sessions, users } = context
  const left = await messagesAtRouter(context, row)
  const kept = inbox.keeps(row.queueId)
  if (left <= (kept ? 1 : 0)) return true
  const queue = createdQueue(row)
  if (!users.receives(row.userId)) return false
  if (sessions.stateOf(queue) === 'getting') await sessions.get(queue)
  else if (!kept) redeliver(context, queue)
  return false
}

// A second SUB makes the router deliver once more what it has delivered, whose ACK may be lost.
const redeliver = ({ sessions }: AgentContext, queue: SubscribedQueue): void => {
  sessions.remove(queue)
  void sessions.subscribe([queue])
}
