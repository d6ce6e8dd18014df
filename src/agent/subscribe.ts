import { CallError } from '../errors.js'
import { connections, rcvQueues } from '../store/agent/connections.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { createdQueue } from './queues.js'
import { isDeleted, type RcvQueueRow } from './rows.js'

const pageLength = 1000

/**
 * subscribe: SUB for the receive queues of the named connections, or of all. Each connection answers for itself; one whose router cannot
 * be reached answers with the error and is subscribed when the router is back.
 */
export const subscribe = async (
  context: AgentContext,
  { connectionIds }: ParsedParamsOf<'subscribe'>,
): Promise<ResultOf<'subscribe'>> => {
  const results =
    connectionIds === undefined ? await subscribeAll(context) : await subscribeNamed(context, connectionIds)
  await context.resumeDeliveries(connectionIds)
  return { results }
}

type Result = ResultOf<'subscribe'>['results'][number]

const subscribeNamed = async (context: AgentContext, connectionIds: readonly string[]): Promise<Result[]> => {
  const rows = await context.store.find(connections, { where: { connectionId: { in: [...connectionIds] } } })
  const known = rows.filter(row => context.users.receives(row.userId))
  const queues = await context.store.find(rcvQueues, { where: { connectionId: { in: [...connectionIds] } } })
  const live = new Set(known.filter(row => !isDeleted(row)).map(row => row.connectionId))
  const missing = connectionIds
    .filter(id => !live.has(id))
    .map(connectionId => ({
      connectionId,
      ok: false,
      error: errorFact(new CallError('CONN_NOT_FOUND', 'there is no such connection', { field: connectionId })),
    }))
  return [
    ...missing,
    ...(await subscribeQueues(
      context,
      queues.filter(queue => live.has(queue.connectionId)),
    )),
  ]
}

const subscribeAll = async (context: AgentContext): Promise<Result[]> => {
  const pages: Array<Promise<Result[]>> = []
  let after = ''
  for (;;) {
    const page = await context.store.find(connections, {
      where: { connectionId: { gt: after }, status: { not: 'deleted' } },
      orderBy: ['connectionId'],
      limit: pageLength,
    })
    const last = page.at(-1)
    if (last === undefined) break
    const live = page.filter(row => !isDeleted(row) && context.users.receives(row.userId))
    const ids = live.map(row => row.connectionId)
    const queues = await context.store.find(rcvQueues, { where: { connectionId: { in: ids } } })
    pages.push(subscribeQueues(context, queues))
    after = last.connectionId
  }
  return (await Promise.all(pages)).flat()
}

const subscribeQueues = async (context: AgentContext, queues: readonly RcvQueueRow[]): Promise<Result[]> => {
  const made = queues.filter(queue => queue.rcvId !== null && queue.status !== 'disabled').map(createdQueue)
  const answers = context.sessions.subscribe(made)
  return Promise.all(
    made.map(async ({ connectionId }, index): Promise<Result> => {
      const error = await answers[index]
      return error === undefined ? { connectionId, ok: true } : { connectionId, ok: false, error: errorFact(error) }
    }),
  )
}
