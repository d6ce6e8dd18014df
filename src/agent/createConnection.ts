import { CallError, InternalError } from '../errors.js'
import { decodeE2ePrivateKeys, e2eParamsOf, encodeE2ePrivateKeys, generateE2eParams } from '../ratchet/index.js'
import { formatConnectionRequest } from '../smp/protocol/connectionRequest.js'
import { e2eParamsForLink } from '../smp/protocol/e2eParams.js'
import type { QueueIds } from '../smp/protocol/responses.js'
import { connections, rcvQueues } from '../store/agent/connections.js'
import { insert, patch, remove, removeWhere } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { decideConnection } from './decideConnection.js'
import { connectionByKey, isCreated, keyOfAnotherCall, newConnection, onceByKey } from './newConnection.js'
import { abandonQueue, createdQueue, newId, newQueueCommand, newRcvQueue, queueCreated, queueInfoOf } from './queues.js'
import { type ConnectionRow, findConnection, type RcvQueueRow, rcvQueuesOf, requireConnection } from './rows.js'
import { isTriedAgain } from './triedAgain.js'

/**
 * createConnection: keys and intent are stored, then the router is asked for a queue (NEW), then the link is stored and returned.
 * A repeated call under the same idempotency key goes on where the first stopped, with the same keys.
 */
export const createConnection = async (
  context: AgentContext,
  params: ParsedParamsOf<'createConnection'>,
  calling: Calling,
): Promise<ResultOf<'createConnection'>> => {
  const intent = await storeIntent(context, params, calling)
  try {
    return await makeQueue(context, intent, calling)
  } catch (error) {
    if (!comesBack(params, calling, error)) await forgetIntent(context, intent.connection.connectionId)
    throw error
  }
}

// Nobody can come back to it without a key, nor under that of a stored call that is not run again.
const comesBack = (
  { idempotencyKey }: ParsedParamsOf<'createConnection'>,
  calling: Calling,
  error: unknown,
): boolean => {
  if (idempotencyKey === undefined) return false
  return idempotencyKey !== calling.key || isTriedAgain(error)
}

interface Intent {
  readonly connection: ConnectionRow
  readonly queue: RcvQueueRow
}

// Calls that are repeated at the same moment share one NEW: the router would make a queue for each.
const makeQueue = (context: AgentContext, intent: Intent, calling: Calling): Promise<ResultOf<'createConnection'>> => {
  const { connectionId, link } = intent.connection
  if (link !== null) return Promise.resolve({ connectionId, link })
  const running = context.creating.get(connectionId)
  if (running !== undefined) return running
  const making = requestQueue(context, intent, calling).finally(() => context.creating.delete(connectionId))
  context.creating.set(connectionId, making)
  return making
}

const requestQueue = async (
  context: AgentContext,
  { connection, queue }: Intent,
  { urgency }: Calling,
): Promise<ResultOf<'createConnection'>> => {
  const command = newQueueCommand(queue, context.routers.passwordOf(queue.userId, queue.router))
  const key = { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey } as const
  const { response, session } = await context.operations.during('sending', () =>
    context.sessions.request(queue, { command, entityId: Buffer.alloc(0), key }, urgency),
  )
  if (response.type !== 'IDS')
    throw new InternalError(`NEW was answered with ${response.type}`, { field: queue.router })
  const made = { ...queue, ...queueCreated(queue, response) }
  context.sessions.created(createdQueue(made), session)
  const { connectionId } = connection
  const link = await storeLink(context, connectionId, queue.queueId, response)
  if (link !== undefined) return { connectionId, link }
  abandonQueue(context, made)
  throw new CallError('CONN_NOT_FOUND', 'the connection was deleted while it was being created', {
    field: 'connectionId',
  })
}

const storeIntent = async (
  context: AgentContext,
  { userId, idempotencyKey }: ParsedParamsOf<'createConnection'>,
  { connectionId = newId(context.random) }: Calling,
): Promise<Intent> => {
  context.users.require(userId)
  const known = await connectionByKey(context, userId, idempotencyKey)
  const store = (row: ConnectionRow | undefined): Promise<Intent> =>
    intentOf(context, { userId, idempotencyKey, known: row, connectionId: row?.connectionId ?? connectionId })
  return onceByKey(context, userId, idempotencyKey, () => store(known), store)
}

const intentOf = (
  context: AgentContext,
  fields: {
    readonly userId: number
    readonly idempotencyKey: string | undefined
    readonly known: ConnectionRow | undefined
    readonly connectionId: string
  },
): Promise<Intent> => {
  const { userId, idempotencyKey, known, connectionId } = fields
  return context.runtime.run({
    name: 'createConnection',
    locks: [connectionId],
    compute: state => {
      if (known !== undefined) {
        const connection = requireConnection(state, connectionId)
        const [queue] = rcvQueuesOf(state, connectionId)
        if (queue !== undefined && isCreated(connection)) return { result: { connection, queue } }
        throw keyOfAnotherCall()
      }
      const { privateKeys } = generateE2eParams(context.config.e2eVersions.max)
      const connection = newConnection({
        connectionId,
        userId,
        status: 'new',
        agentVersion: context.config.agentVersions.max,
        x3dhKeys: encodeE2ePrivateKeys(privateKeys),
        idempotencyKey,
        now: state.now,
      })
      const router = context.routers.pick(userId, context.random)
      const queue = newRcvQueue(context.random, connection, router, context.config.clientVersions.max, state.now)
      return { result: { connection, queue }, changes: [insert(connections, connection), insert(rcvQueues, queue)] }
    },
  })
}

/** Takes away a connection that no router knows of yet. */
export const forgetIntent = (context: AgentContext, connectionId: string): Promise<void> =>
  context.runtime.run({
    name: 'createConnection.failed',
    internal: true,
    locks: [connectionId],
    compute: state =>
      findConnection(state, connectionId)?.status === 'new'
        ? {
            result: undefined,
            changes: [removeWhere(rcvQueues, { connectionId }), remove(connections, { connectionId })],
          }
        : { result: undefined },
  })

// The link, or undefined when the connection was deleted in the meantime.
const storeLink = (
  context: AgentContext,
  connectionId: string,
  queueId: string,
  ids: QueueIds,
): Promise<string | undefined> =>
  context.runtime.run<void, string | undefined>({
    name: 'createConnection.created',
    locks: [connectionId],
    compute: state => {
      const connection = findConnection(state, connectionId)
      const queue = rcvQueuesOf(state, connectionId).find(row => row.queueId === queueId)
      if (queue === undefined || connection === undefined || connection.x3dhKeys === null) return { result: undefined }
      const created = queueCreated(queue, ids)
      const decision = decideConnection(state, connection, { type: 'queue.created' })
      const link = linkOf(context, connection.x3dhKeys, { ...queue, ...created })
      return {
        result: link,
        changes: [
          patch(connections, { connectionId }, { status: decision.to, link }),
          patch(rcvQueues, { queueId }, created),
        ],
      }
    },
  })

const linkOf = ({ config }: AgentContext, x3dhKeys: Uint8Array, queue: RcvQueueRow): string => {
  const e2e = e2eParamsOf(config.e2eVersions.max, decodeE2ePrivateKeys(x3dhKeys))
  return formatConnectionRequest({
    mode: 'invitation',
    agentVersions: config.agentVersions,
    queues: [{ clientVersions: config.clientVersions, address: queueInfoOf(queue, queue.clientVersion).address }],
    e2e: e2eParamsForLink(e2e, config.e2eVersions),
  })
}
