import { CallError } from '../errors.js'
import { toBase64url } from '../encoding/index.js'
import { connections, rcvQueues } from '../store/agent/connections.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { createdQueue } from './queues.js'
import { isDeleted, type RcvQueueRow } from './rows.js'
import { simplexError } from './subscribe.js'

type Result = ResultOf<'getMessages'>['results'][number]

/** Connections that are asked for at once. */
const atOnce = 16

/**
 * getMessages: GET for the first queue of each connection (B69). A message goes the way of all messages and comes as an event; the answer
 * only says which. Each connection answers for itself: `CMD_PROHIBITED` when it is subscribed, `CONN_SIMPLEX` when it only sends.
 */
export const getMessages = async (
  context: AgentContext,
  { connectionIds }: ParsedParamsOf<'getMessages'>,
): Promise<ResultOf<'getMessages'>> => {
  const ids = [...new Set(connectionIds)]
  const queues = await firstQueues(context, ids)
  const results: Result[] = []
  for (let from = 0; from < ids.length; from += atOnce) {
    const part = ids.slice(from, from + atOnce)
    results.push(...(await Promise.all(part.map(id => getMessage(context, id, queues.get(id))))))
  }
  return { results }
}

const getMessage = async (context: AgentContext, connectionId: string, found: Found | undefined): Promise<Result> => {
  try {
    const queue = createdQueue(queueOf(connectionId, found))
    const brokerId = await context.operations.during('sending', () => context.sessions.get(queue))
    return { connectionId, ok: true, ...(brokerId === undefined ? {} : { brokerId: toBase64url(brokerId) }) }
  } catch (error) {
    return { connectionId, ok: false, error: errorFact(error) }
  }
}

/** What a connection has: its receive queue, or none that the router has made. */
type Found = RcvQueueRow | 'none'

const firstQueues = async ({ store, users }: AgentContext, ids: readonly string[]): Promise<Map<string, Found>> => {
  const where = { connectionId: { in: [...ids] } }
  const known = await store.find(connections, { where })
  const receiving = known.filter(row => !isDeleted(row) && users.receives(row.userId))
  const found = new Map<string, Found>(receiving.map(({ connectionId }) => [connectionId, 'none']))
  for (const queue of await store.find(rcvQueues, { where })) {
    const before = found.get(queue.connectionId)
    if (before === undefined || queue.rcvId === null) continue
    if (before === 'none' || queue.primary) found.set(queue.connectionId, queue)
  }
  return found
}

const queueOf = (connectionId: string, found: Found | undefined): RcvQueueRow => {
  if (found === undefined) throw new CallError('CONN_NOT_FOUND', 'there is no such connection', { field: connectionId })
  if (found !== 'none') return found
  throw simplexError(connectionId)
}
