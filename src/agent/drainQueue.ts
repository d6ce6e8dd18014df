import type { Bytes } from '../encoding/index.js'
import { asDuologueError, CallError, RouterError } from '../errors.js'
import { isTemporaryOrHostError } from '../smp/client.js'
import { rcvQueues } from '../store/agent/connections.js'
import type { AgentContext } from './context.js'
import { createdQueue } from './queues.js'
import { findConnection, findRcvQueue, isDeleted, type RcvQueueRow } from './rows.js'
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

/** What a queue has at its router, messages that are delivered and not acknowledged included. */
interface Content {
  readonly size: number
  /** The router’s id of the first one, if it tells that. */
  readonly firstId?: Bytes | undefined
}

/** The router has no such queue for us, or does not know QUE: nothing can be waited for. */
const hasNone = /^(AUTH$|BLOCKED|CMD_)/

/**
 * Asks the router of a receive queue what it has (QUE). Rejects where that is not known: with the network’s error, or the router’s that
 * could not look, such as INTERNAL.
 */
export const askQueue = async ({ sessions }: AgentContext, row: RcvQueueRow): Promise<Content> => {
  const queue = createdQueue(row)
  try {
    const { response } = await sessions.request(queue, {
      command: { type: 'QUE' },
      entityId: queue.rcvId,
      key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
    })
    if (response.type !== 'INFO')
      throw new RouterError('SMP_UNEXPECTED', `QUE was answered with ${response.type}`, { field: 'QUE' })
    const { qiSize: size, qiMsg: first } = response.status
    return first === undefined ? { size } : { size, firstId: Buffer.from(first.msgId, 'base64') }
  } catch (error) {
    if (error instanceof RouterError && hasNone.test(error.code)) return { size: 0 }
    throw error
  }
}

/**
 * Sees to it that all that the old queue of a rotation has was read, so that it may go (B78). A message that the application has not
 * acknowledged is read: its event stays. Rejects with CallError `AGENT_QUEUE_UNREAD` when there is more, or the router cannot tell; then
 * what it has is on its way, or waits for the application.
 */
export const drain = async (context: AgentContext, row: RcvQueueRow): Promise<void> => {
  const { inbox } = context
  if (inbox.isStopped(row.userId)) throw unread(row, 'nothing is received now')
  const { size, firstId } = await askQueue(context, row).catch((error: unknown) => {
    if (isTemporaryOrHostError(error)) throw error
    throw unread(row, `its router does not tell what it has (${asDuologueError(error).code})`, error)
  })
  const isFirstKept = inbox.keeps(row.queueId, firstId)
  if (size === 0 || (size === 1 && isFirstKept)) return
  if (!isFirstKept && !inbox.holds(row.queueId)) await redeliver(context, row)
  throw unread(row, isFirstKept ? 'the application has not acknowledged its first message' : 'it is being read')
}

/**
 * Has the router of a receive queue deliver (once more) what it has: an ACK may be lost, or nobody has subscribed the queue. A queue that
 * is gone by now stays so. Rejects with StoreError.
 */
export const redeliver = ({ runtime }: AgentContext, { connectionId, queueId }: RcvQueueRow): Promise<void> =>
  runtime.run({
    name: 'queue.redeliver',
    internal: true,
    locks: [connectionId],
    compute: state => {
      const connection = findConnection(state, connectionId)
      const row = findRcvQueue(state, connectionId, queueId)
      if (connection === undefined || isDeleted(connection) || row === undefined) return { result: undefined }
      return { result: undefined, wakes: [{ worker: 'redeliver', key: queueId, hint: createdQueue(row) }] }
    },
  })

const unread = ({ queueId }: RcvQueueRow, why: string, cause?: unknown): CallError =>
  new CallError('AGENT_QUEUE_UNREAD', `the old queue of a rotation stays until it is read: ${why}`, {
    field: queueId,
    hint: 'acknowledge message events; abandonRouter gives up what a router has that does not answer any more',
    ...(cause === undefined ? {} : { cause }),
  })
