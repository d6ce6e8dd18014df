import type { z } from 'zod'
import { CallError } from '../errors.js'
import { connections, rcvQueues, sndQueues } from '../store/agent/connections.js'
import type { Agent, EventsOptions } from './api/agent.js'
import { directNameOf } from './api/asyncCalls.js'
import {
  type CallName,
  calls,
  type DirectCallName,
  type ParamsOf,
  type ParsedParamsOf,
  type ResultOf,
} from './api/calls.js'
import type { AgentEvent } from './api/events.js'
import { abandonRouter } from './abandonRouter.js'
import { acceptContact, prepareConnectionToAccept, rejectContact } from './acceptContact.js'
import { ackEvents, ackMessage } from './acknowledge.js'
import { countActors, listActors } from './actors.js'
import { foregroundAgent, getStatistics, resetStatistics, suspendAgent } from './agentOperations.js'
import { allowConnection } from './allowConnection.js'
import { type AgentContext, byApplication, type Calling } from './context.js'
import { listConsumers, registerConsumer, unregisterConsumer } from './consumers.js'
import { createConnection } from './createConnection.js'
import { deleteShortLink, setShortLink } from './changeLink.js'
import { deleteConnection, deleteConnections } from './deleteConnection.js'
import { toAgentEvent } from './events.js'
import { getMessages } from './getMessages.js'
import { inspectConnection } from './inspectConnection.js'
import { joinConnection, prepareConnectionToJoin } from './joinConnection.js'
import { createConnectionForLink, prepareConnectionLink } from './prepareLink.js'
import { getShortLink } from './readLink.js'
import { sendMessage } from './sendMessage.js'
import { sendMessages } from './sendMessages.js'
import { setNetwork, setNetworkConfig } from './setNetwork.js'
import { storeCall } from './storeCall.js'
import { subscribe } from './subscribe.js'
import { suspendConnection } from './suspendConnection.js'
import { abortSwitch, switchConnection } from './switchConnection.js'
import { synchronizeRatchet } from './synchronizeRatchet.js'
import { testRouter } from './testRouter.js'
import { createUser, deleteUser, listUsers, setConnectionUser, setRouters, setUserHidden } from './users.js'

type Handlers = {
  readonly [N in DirectCallName]: (
    context: AgentContext,
    params: ParsedParamsOf<N>,
    calling: Calling,
  ) => Promise<ResultOf<N>>
}

/** Waits of readers that follow the log, in ms: how long one read may take until it looks again. */
const followMs = 600_000

const listConnections: Handlers['listConnections'] = async ({ store, sessions }, { userId, after, limit }) => {
  const rows = await store.find(connections, {
    where: { ...(userId === undefined ? {} : { userId }), connectionId: { gt: after ?? '' } },
    orderBy: ['connectionId'],
    limit,
  })
  const where = { connectionId: { in: rows.map(row => row.connectionId) } }
  const [rcv, snd] = await Promise.all([store.find(rcvQueues, { where }), store.find(sndQueues, { where })])
  const rcvOf = byConnection(rcv)
  const sndOf = byConnection(snd)
  return {
    connections: rows.map(row => {
      const own = rcvOf.get(row.connectionId) ?? []
      return {
        connectionId: row.connectionId,
        userId: row.userId,
        status: row.status as ResultOf<'listConnections'>['connections'][number]['status'],
        ready: row.status === 'connected',
        rcvRouters: own.map(queue => queue.router),
        sndRouters: (sndOf.get(row.connectionId) ?? []).map(queue => queue.router),
        subscribed: own.some(queue => sessions.stateOf(queue) === 'active'),
      }
    }),
  }
}

const byConnection = <Queue extends { readonly connectionId: string }>(
  queues: readonly Queue[],
): ReadonlyMap<string, readonly Queue[]> => {
  const groups = new Map<string, Queue[]>()
  for (const queue of queues) {
    const group = groups.get(queue.connectionId)
    if (group === undefined) groups.set(queue.connectionId, [queue])
    else group.push(queue)
  }
  return groups
}

const readEvents: Handlers['readEvents'] = async ({ eventLog }, { consumer, after, limit, waitMs }) => {
  const acknowledged = eventLog.watch(consumer)
  try {
    const rows = await eventLog.read(consumer, after, limit, waitMs)
    return { events: rows.filter(({ cursor }) => !acknowledged.has(cursor)).map(toAgentEvent) }
  } finally {
    acknowledged.end()
  }
}

/** How each call is done. */
export const handlers: Handlers = {
  createConnection,
  prepareConnectionLink,
  createConnectionForLink,
  setShortLink,
  getShortLink,
  deleteShortLink,
  prepareConnectionToJoin,
  joinConnection,
  allowConnection,
  prepareConnectionToAccept,
  acceptContact,
  rejectContact,
  sendMessage,
  sendMessages,
  ackMessage,
  subscribe,
  getMessages,
  setNetwork,
  setNetworkConfig,
  deleteConnection,
  deleteConnections,
  suspendConnection,
  switchConnection,
  abortSwitch,
  synchronizeRatchet,
  abandonRouter,
  inspectConnection,
  listConnections,
  countActors,
  listActors,
  registerConsumer,
  unregisterConsumer,
  listConsumers,
  readEvents,
  ackEvents,
  createUser,
  listUsers,
  setUserHidden,
  deleteUser,
  setRouters,
  testRouter,
  setConnectionUser,
  suspendAgent,
  foregroundAgent,
  getStatistics,
  resetStatistics,
}

/** The public agent: every call of the list, its parameters checked by the list’s schema. */
export const agentCalls = (context: AgentContext, close: () => Promise<void>): Agent => {
  let closing: Promise<void> | undefined
  const methods = Object.fromEntries(
    Object.entries(calls).map(([name, call]) => [
      name,
      async (params: unknown) => {
        if (closing !== undefined) throw agentClosed()
        return answerCall(context, name, parseParams(call.params, params))
      },
    ]),
  ) as unknown as { [N in CallName]: (params: ParamsOf<N>) => Promise<ResultOf<N>> }
  return {
    ...methods,
    events: options => followEvents(context, options),
    close: () => (closing ??= close()),
  }
}

const answerCall = (context: AgentContext, name: string, params: object): Promise<unknown> => {
  const stored = directNameOf(name)
  if (stored !== undefined) return storeCall(context, stored as DirectCallName, params as { correlationId: string })
  const handle = handlers[name as DirectCallName] as (
    context: AgentContext,
    params: object,
    calling: Calling,
  ) => Promise<unknown>
  return handle(context, params, byApplication)
}

const agentClosed = (): CallError =>
  new CallError('AGENT_CLOSED', 'the agent is closed', { field: 'agent', hint: 'open it again with openAgent' })

const parseParams = (schema: z.ZodType, params: unknown): object => {
  const parsed = schema.safeParse(params)
  if (parsed.success) return parsed.data as object
  const [issue] = parsed.error.issues
  throw new CallError('CMD_PARAMS', issue?.message ?? 'wrong parameters', {
    field: issue === undefined ? 'params' : issue.path.join('.') || 'params',
  })
}

async function* followEvents(
  context: AgentContext,
  { consumer = 'default', after = 0, signal }: EventsOptions = {},
): AsyncGenerator<AgentEvent> {
  if (context.eventLog.closed) return
  await registerConsumer(context, { consumer, from: 'start' })
  let position = after
  while (signal?.aborted !== true) {
    const acknowledged = context.eventLog.watch(consumer)
    try {
      const rows = await context.eventLog.read(consumer, position, 100, followMs, signal)
      if (rows.length === 0 && context.eventLog.closed) return
      for (const row of rows) {
        if (!acknowledged.has(row.cursor)) yield toAgentEvent(row)
        position = row.cursor
      }
    } finally {
      acknowledged.end()
    }
  }
}
