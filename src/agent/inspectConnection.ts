import { CallError } from '../errors.js'
import { commands, connections, rcvQueues, sndQueues } from '../store/agent/connections.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { ErrorFact } from './api/events.js'
import { type CommandRow, commandWorkerKey } from './commandRows.js'
import type { AgentContext } from './context.js'
import { timeoutOf } from './deliverMessage.js'
import { errorFact } from './events.js'
import type { DeliveryRow } from './outgoing.js'
import { toldState } from './ratchetSync.js'
import type { RcvQueueRow, SndQueueRow } from './rows.js'
import { storedCallOf } from './storeCall.js'

type Inspection = ResultOf<'inspectConnection'>

/**
 * inspectConnection: why a connection waits, from its rows and from what the workers have met since the agent was opened. Rows are read
 * without a lock: what changes meanwhile may be told in part. Throws CallError `CONN_NOT_FOUND`.
 */
export const inspectConnection = async (
  context: AgentContext,
  { connectionId, limit }: ParsedParamsOf<'inspectConnection'>,
): Promise<Inspection> => {
  const { store } = context
  const where = { connectionId }
  const [[connection], rcv, snd, stored] = await Promise.all([
    store.find(connections, { where }),
    store.find(rcvQueues, { where, orderBy: ['createdAt', 'queueId'] }),
    store.find(sndQueues, { where, orderBy: ['createdAt', 'queueId'] }),
    store.find(commands, { where, orderBy: ['commandId'], limit }),
  ])
  if (connection === undefined)
    throw new CallError('CONN_NOT_FOUND', 'there is no such connection', { field: 'connectionId' })
  return {
    connectionId,
    userId: connection.userId,
    status: connection.status,
    ready: connection.status === 'connected',
    ratchetSync: toldState(connection.ratchetSync),
    online: context.network.online,
    rcvQueues: rcv.map(queue => receiving(context, queue)),
    sndQueues: await Promise.all(snd.map(queue => sending(context, queue, limit))),
    commands: stored.map(command => running(context, command)),
  }
}

const receiving = ({ sessions }: AgentContext, queue: RcvQueueRow): Inspection['rcvQueues'][number] => ({
  ...queueFacts(queue),
  subscription: sessions.stateOf(queue),
  suspended: queue.suspended,
})

const sending = async (
  context: AgentContext,
  queue: SndQueueRow,
  limit: number,
): Promise<Inspection['sndQueues'][number]> => {
  const { store, config } = context
  const { queueId } = queue
  const [waiting, rows] = await Promise.all([
    store.count(deliveries, { queueId }),
    store.find(deliveries, { where: { queueId }, orderBy: ['messageId'], limit }),
  ])
  const types = await messageTypes(context, rows)
  const first = context.waitingDelivery(queueId)
  // A full queue is waited for longer than a router that cannot be reached.
  const full = first?.lastError.code === 'QUOTA'
  return {
    ...queueFacts(queue),
    waiting,
    messages: rows.map(({ messageId, createdAt }) => {
      const type = types.get(messageId) ?? 'A_MSG'
      const timeoutMs = full ? config.quotaTimeoutMs : timeoutOf(type, undefined, config)
      return { messageId, type, since: createdAt, expiresAt: createdAt + timeoutMs }
    }),
    ...attemptFacts(first),
  }
}

const messageTypes = async (
  { store }: AgentContext,
  rows: readonly DeliveryRow[],
): Promise<ReadonlyMap<number, string>> => {
  const [first] = rows
  if (first === undefined) return new Map()
  const { connectionId } = first
  const messageIds = rows.map(({ messageId }) => messageId)
  const messages = await store.find(sndMessages, { where: { connectionId, messageId: { in: messageIds } } })
  return new Map(messages.map(({ messageId, type }) => [messageId, type]))
}

const running = (context: AgentContext, command: CommandRow): Inspection['commands'][number] => {
  const { commandId, connectionId, router, correlationId, createdAt } = command
  const progress = context.commandProgress(commandWorkerKey(connectionId, router))
  const own = progress?.commandId === commandId ? progress : undefined
  return {
    type: command.type === 'call' ? storedCallOf(command).call : command.type,
    router,
    since: createdAt,
    ...(correlationId === null ? {} : { correlationId }),
    ...attemptFacts(own && { ...own, lastError: errorFact(own.lastError) }),
  }
}

interface Attempts {
  readonly attempts: number
  readonly lastError: ErrorFact
  readonly nextAttemptAt?: number | undefined
}

const attemptFacts = (
  known: Attempts | undefined,
): { attempts: number; lastError?: ErrorFact; nextAttemptAt?: number } => {
  if (known === undefined) return { attempts: 0 }
  const { attempts, lastError, nextAttemptAt } = known
  return { attempts, lastError, ...(nextAttemptAt === undefined ? {} : { nextAttemptAt }) }
}

const queueFacts = ({
  queueId,
  router,
  status,
  primary,
  switchStatus,
}: Pick<RcvQueueRow, 'queueId' | 'router' | 'status' | 'primary' | 'switchStatus'>) => ({
  queueId,
  router,
  status,
  primary,
  ...(switchStatus === null ? {} : { switchStatus }),
})
