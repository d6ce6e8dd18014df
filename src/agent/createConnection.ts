import { CallError, InternalError } from '../errors.js'
import { formatConnectionRequest } from '../smp/protocol/connectionRequest.js'
import type { Outcome } from '../runtime/unit.js'
import type { QueueIds } from '../smp/protocol/responses.js'
import { connections, rcvQueues } from '../store/agent/connections.js'
import { insert, patch, remove, removeWhere } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { decideConnection } from './decideConnection.js'
import { invitationOf, namedQueue, newX3dhKeys } from './invitation.js'
import { connectionByKey, keyOfAnotherCall, newConnection, onceByKey } from './newConnection.js'
import { abandonQueue, createdQueue, newId, newQueueCommand, newRcvQueue, queueCreated } from './queues.js'
import {
  type ConnectionRow,
  findConnection,
  isDeleted,
  type RcvQueueRow,
  rcvQueuesOf,
  requireConnection,
} from './rows.js'
import { isTriedAgain } from './triedAgain.js'

/**
 * createConnection: keys and intent are stored, then the router is asked for a queue (NEW), then the link is stored and returned: an
 * invitation for one other party, or a contact address, whose link may be used by many (B18). A repeated call under the same
 * idempotency key goes on where the first stopped, with the same keys. With `pq: 'invitation'` the link has a KEM key too, and is four times
 * as long (B19).
 */
export const createConnection = async (
  context: AgentContext,
  params: ParsedParamsOf<'createConnection'>,
  calling: Calling,
): Promise<ResultOf<'createConnection'>> => {
  const { connection } = await storeIntent(context, params, calling)
  try {
    return await makeQueue(context, connection, calling)
  } catch (error) {
    if (!comesBack(params, calling, error)) await forgetIntent(context, connection.connectionId)
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
const makeQueue = (
  context: AgentContext,
  { connectionId, link }: ConnectionRow,
  calling: Calling,
): Promise<ResultOf<'createConnection'>> => {
  if (link !== null) return Promise.resolve({ connectionId, link })
  const running = context.creating.get(connectionId)
  if (running !== undefined) return running
  const making = makeOnce(context, connectionId, calling).finally(() => context.creating.delete(connectionId))
  context.creating.set(connectionId, making)
  return making
}

// The one that asks looks again: since it read the row, another one may have asked, and got its link.
const makeOnce = async (
  context: AgentContext,
  connectionId: string,
  calling: Calling,
): Promise<ResultOf<'createConnection'>> => {
  const { connection, queue } = await context.runtime.run({
    name: 'createConnection.making',
    locks: [connectionId],
    compute: (state): Outcome<Intent> => {
      const connection = requireConnection(state, connectionId)
      const [queue] = rcvQueuesOf(state, connectionId)
      if (queue === undefined || isDeleted(connection)) throw deletedMeanwhile()
      return { result: { connection, queue } }
    },
  })
  const { link } = connection
  return link === null ? requestQueue(context, { connection, queue }, calling) : { connectionId, link }
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
  throw deletedMeanwhile()
}

const deletedMeanwhile = (): CallError =>
  new CallError('CONN_NOT_FOUND', 'the connection was deleted while it was being created', { field: 'connectionId' })

const storeIntent = async (
  context: AgentContext,
  { userId, mode, pq, idempotencyKey }: ParsedParamsOf<'createConnection'>,
  { connectionId = newId(context.random) }: Calling,
): Promise<Intent> => {
  if (mode === 'contact' && pq === 'invitation') throw noKeysInAddress()
  context.users.require(userId)
  const known = await connectionByKey(context, userId, idempotencyKey)
  const store = (row: ConnectionRow | undefined): Promise<Intent> =>
    intentOf(context, { userId, mode, pq, idempotencyKey, known: row, connectionId: row?.connectionId ?? connectionId })
  return onceByKey(context, userId, idempotencyKey, () => store(known), store)
}

const intentOf = (
  context: AgentContext,
  fields: {
    readonly userId: number
    readonly mode: 'invitation' | 'contact'
    readonly pq: boolean | 'invitation'
    readonly idempotencyKey: string | undefined
    readonly known: ConnectionRow | undefined
    readonly connectionId: string
  },
): Promise<Intent> => {
  const { userId, mode, pq, idempotencyKey, known, connectionId } = fields
  const origin = mode === 'contact' ? 'contact' : 'created'
  return context.runtime.run({
    name: 'createConnection',
    locks: [connectionId],
    compute: async (state): Promise<Outcome<Intent>> => {
      if (known !== undefined) {
        const connection = requireConnection(state, connectionId)
        const [queue] = rcvQueuesOf(state, connectionId)
        const isSame = connection.origin === origin && !isDeleted(connection)
        if (queue !== undefined && isSame) return { result: { connection, queue } }
        throw keyOfAnotherCall()
      }
      const { config, random, routers } = context
      const connection = newConnection({
        connectionId,
        userId,
        origin,
        agentVersion: config.agentVersions.max,
        pqSupport: pq !== false,
        ...(mode === 'contact' ? {} : { x3dhKeys: await newX3dhKeys(context, pq === 'invitation') }),
        idempotencyKey,
        now: state.now,
      })
      const router = routers.pick(userId, random)
      const queueMode = mode === 'contact' ? 'contact' : 'messaging'
      const queue = newRcvQueue(random, connection, router, config.clientVersions.max, state.now, queueMode)
      return { result: { connection, queue }, changes: [insert(connections, connection), insert(rcvQueues, queue)] }
    },
  })
}

const noKeysInAddress = (): CallError =>
  new CallError('CMD_PROHIBITED', 'a contact address has no keys: those who join by it send theirs', {
    field: 'pq',
    hint: 'true lets the connections that are made by it be post-quantum',
  })

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
      if (queue === undefined || connection === undefined || isDeleted(connection)) return { result: undefined }
      const created = queueCreated(queue, ids)
      const type = connection.origin === 'contact' ? 'address.created' : 'queue.created'
      const decision = decideConnection(state, connection, { type })
      const link = linkOf(context, connection, { ...queue, ...created })
      return {
        result: link,
        changes: [
          patch(connections, { connectionId }, { status: decision.to, link }),
          patch(rcvQueues, { queueId }, created),
        ],
      }
    },
  })

const linkOf = ({ config }: AgentContext, connection: ConnectionRow, queue: RcvQueueRow): string =>
  formatConnectionRequest(
    connection.origin === 'contact'
      ? { mode: 'contact', ...namedQueue(config, queue) }
      : invitationOf(config, connection, queue),
  )
