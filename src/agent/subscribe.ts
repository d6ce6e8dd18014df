import { CallError, type DuologueError } from '../errors.js'
import { Permits } from '../runtime/permits.js'
import { connections, rcvQueues, sndQueues } from '../store/agent/connections.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { createdQueue } from './queues.js'
import { deletedStatuses, isDeleted, type RcvQueueRow } from './rows.js'

/** Connections that are looked up at once. */
const pageLength = 1000

type Result = ResultOf<'subscribe'>['results'][number]

/**
 * subscribe: SUB for the receive queues of the named connections, or of all. Each connection answers for itself; one whose router cannot
 * be reached answers with the error and is subscribed when the router is back. What waits for these connections is resumed (B67).
 */
export const subscribe = async (
  context: AgentContext,
  { connectionIds, activeUserId }: ParsedParamsOf<'subscribe'>,
): Promise<ResultOf<'subscribe'>> => {
  if (connectionIds !== undefined) return { results: await subscribeNamed(context, [...new Set(connectionIds)]) }
  await context.resumeWork()
  return { results: await subscribeAll(context, activeUserId) }
}

const subscribeNamed = async (context: AgentContext, connectionIds: readonly string[]): Promise<Result[]> => {
  const pages: Array<Promise<Result[]>> = []
  for (let from = 0; from < connectionIds.length; from += pageLength) {
    pages.push(subscribePage(context, connectionIds.slice(from, from + pageLength)))
  }
  return (await Promise.all(pages)).flat()
}

const subscribePage = async (context: AgentContext, connectionIds: readonly string[]): Promise<Result[]> => {
  const { store } = context
  await context.resumeWork(connectionIds)
  const where = { connectionId: { in: [...connectionIds] } }
  const known = await store.find(connections, { where })
  const receiving = known.filter(row => !isDeleted(row) && context.users.receives(row.userId))
  const live = new Set(receiving.map(({ connectionId }) => connectionId))
  const queues = await store.find(rcvQueues, { where })
  const outcomes = await subscribeQueues(
    context,
    queues.filter(({ connectionId }) => live.has(connectionId)),
  )
  const without = connectionIds.filter(id => live.has(id) && !outcomes.has(id))
  const simplex = await sendOnly(context, without)
  return connectionIds.map(id => {
    if (!live.has(id)) return resultOf(id, notFound(id))
    return resultOf(id, outcomes.get(id)?.error ?? simplex.get(id))
  })
}

// Connections without a queue to receive from: one that is complete only sends, and the caller must hear of that; in a handshake the queue
// is still to be made, and will be made with its subscription (B64).
const sendOnly = async (
  { store }: AgentContext,
  connectionIds: readonly string[],
): Promise<Map<string, DuologueError>> => {
  const active = await store.find(sndQueues, { where: { connectionId: { in: [...connectionIds] }, status: 'active' } })
  return new Map(active.map(({ connectionId }) => [connectionId, simplexError(connectionId)]))
}

/**
 * Everything: user by user, the active one first, and router by router, each in pages of a batch; over all of them at most
 * `maxPendingSubscriptions` SUBs are on their way (B65). Routers are asked side by side.
 */
const subscribeAll = async (context: AgentContext, activeUserId: number | undefined): Promise<Result[]> => {
  const outcomes = new Map<string, Outcome>()
  const permits = new Permits(context.config.maxPendingSubscriptions)
  const parts: RouterPart[] = []
  for (const userId of usersOf(context, activeUserId)) {
    for (const router of await routersOf(context, userId)) parts.push({ userId, router, permits, outcomes })
  }
  await Promise.all(parts.map(part => subscribeRouter(context, part)))
  return [...outcomes].map(([connectionId, { error }]) => resultOf(connectionId, error))
}

interface RouterPart {
  readonly userId: number
  readonly router: string
  readonly permits: Permits
  readonly outcomes: Map<string, Outcome>
}

const subscribeRouter = async (
  context: AgentContext,
  { userId, router, permits, outcomes }: RouterPart,
): Promise<void> => {
  const { subscribeBatch, maxPendingSubscriptions } = context.config
  const limit = Math.min(subscribeBatch, maxPendingSubscriptions)
  // Held until the router is done, so that whoever comes first is not passed between two pages; what the last page leaves is given back.
  let held = limit
  await permits.take(held)
  try {
    let after = ''
    for (;;) {
      const page = await context.store.find(rcvQueues, {
        where: { userId, router, queueId: { gt: after } },
        orderBy: ['queueId'],
        limit,
      })
      permits.give(held - page.length)
      held = page.length
      for (const [id, outcome] of await subscribeQueues(context, await ofLiveConnections(context, page))) {
        outcomes.set(id, better(outcomes.get(id), outcome))
      }
      const last = page.at(-1)
      if (last === undefined || page.length < limit) return
      after = last.queueId
    }
  } finally {
    permits.give(held)
  }
}

const ofLiveConnections = async (
  { store }: AgentContext,
  queues: readonly RcvQueueRow[],
): Promise<readonly RcvQueueRow[]> => {
  const ids = queues.map(({ connectionId }) => connectionId)
  const deleted = await store.find(connections, {
    where: { connectionId: { in: ids }, status: { in: [...deletedStatuses] } },
  })
  const gone = new Set(deleted.map(({ connectionId }) => connectionId))
  return queues.filter(({ connectionId }) => !gone.has(connectionId))
}

const usersOf = ({ users }: AgentContext, activeUserId: number | undefined): number[] => {
  const userIds = users.all.map(({ userId }) => userId).filter(userId => users.receives(userId))
  return userIds.sort((a, b) => Number(b === activeUserId) - Number(a === activeUserId) || a - b)
}

const routersOf = async ({ store }: AgentContext, userId: number): Promise<string[]> => {
  const routers: string[] = []
  for (;;) {
    const where = { userId, router: { gt: routers.at(-1) ?? '' } }
    const [row] = await store.find(rcvQueues, { where, orderBy: ['router'], limit: 1 })
    if (row === undefined) return routers
    routers.push(row.router)
  }
}

/** What came of a connection’s queue. */
interface Outcome {
  readonly active: boolean
  readonly error: DuologueError | undefined
}

// The outcomes of connections; those without a queue at a router have none.
const subscribeQueues = async (
  context: AgentContext,
  queues: readonly RcvQueueRow[],
): Promise<Map<string, Outcome>> => {
  const made = queues.filter(queue => queue.rcvId !== null && queue.status !== 'disabled' && !isBeingDeleted(queue))
  const answers = await Promise.all(context.sessions.subscribe(made.map(createdQueue)))
  const outcomes = new Map<string, Outcome>()
  made.forEach(({ connectionId, status }, index) => {
    const outcome = { active: status === 'active', error: answers[index] }
    outcomes.set(connectionId, better(outcomes.get(connectionId), outcome))
  })
  return outcomes
}

/** The old queue of a rotation has been read to its end; a SUB that crosses its DEL would be refused (B74). */
const isBeingDeleted = ({ switchStatus }: RcvQueueRow): boolean => switchStatus === 'receivedMessage'

/** Of a connection’s queues the one in use counts, even with an error; of equal ones the first that succeeded (B64). */
const better = (a: Outcome | undefined, b: Outcome): Outcome => (a === undefined || rank(b) < rank(a) ? b : a)
const rank = ({ active, error }: Outcome): number => (active ? 0 : 2) + (error === undefined ? 0 : 1)

const resultOf = (connectionId: string, error: DuologueError | undefined): Result =>
  error === undefined ? { connectionId, ok: true } : { connectionId, ok: false, error: errorFact(error) }

const notFound = (connectionId: string): CallError =>
  new CallError('CONN_NOT_FOUND', 'there is no such connection', { field: connectionId })

/** A connection that can only be sent to. */
export const simplexError = (connectionId: string): CallError =>
  new CallError('CONN_SIMPLEX', 'the connection has no queue to receive from', { field: connectionId })
