import { CallError } from '../errors.js'
import type { Outcome } from '../runtime/unit.js'
import { connections, rcvQueues } from '../store/agent/connections.js'
import { shortLinks } from '../store/agent/links.js'
import { insert, remove, removeWhere } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { newX3dhKeys } from './invitation.js'
import { connectionByKey, keyOfAnotherCall, newConnection, onceByKey } from './newConnection.js'
import { newId, newRcvQueue } from './queues.js'
import { requestLink } from './requestLink.js'
import { type ConnectionRow, findConnection, isDeleted, requireConnection } from './rows.js'
import { isPrepared, userLinkData } from './shortLinks.js'
import { isTriedAgain } from './triedAgain.js'

/**
 * createConnection: keys and intent are stored, then the router is asked for a queue (NEW), then the link is stored and returned: an
 * invitation for one other party, or a contact address, whose link may be used by many (B18). A repeated call under the same
 * idempotency key goes on where the first stopped, with the same keys. With link data there is a short link too (B10); its keys are made anew
 * with each attempt, since the queue of an attempt whose answer was lost has the id of the earlier link. With `pq: 'invitation'` the long link
 * has a KEM key too, and is four times as long (B19).
 */
export const createConnection = async (
  context: AgentContext,
  params: ParsedParamsOf<'createConnection'>,
  calling: Calling,
): Promise<ResultOf<'createConnection'>> => {
  const { mode, linkData } = params
  const data = linkData === undefined ? undefined : userLinkData(context.config, mode, linkData)
  const connection = await storeIntent(context, params, calling)
  try {
    return await requestLink(context, connection, { kemInLink: params.pq === 'invitation', data }, calling)
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

const storeIntent = async (
  context: AgentContext,
  { userId, mode, pq, linkData, idempotencyKey }: ParsedParamsOf<'createConnection'>,
  { connectionId = newId(context.random) }: Calling,
): Promise<ConnectionRow> => {
  if (mode === 'contact' && pq === 'invitation') throw noKeysInAddress()
  context.users.require(userId)
  const known = await connectionByKey(context, userId, idempotencyKey)
  // A short link has room for a KEM key: then the first message is post-quantum.
  const withKem = pq === 'invitation' || (pq && linkData !== undefined)
  const store = (row: ConnectionRow | undefined): Promise<ConnectionRow> =>
    intentOf(context, {
      userId,
      mode,
      pq,
      withKem,
      idempotencyKey,
      known: row,
      connectionId: row?.connectionId ?? connectionId,
    })
  return onceByKey(context, userId, idempotencyKey, () => store(known), store)
}

const intentOf = (
  context: AgentContext,
  fields: {
    readonly userId: number
    readonly mode: 'invitation' | 'contact'
    readonly pq: boolean | 'invitation'
    readonly withKem: boolean
    readonly idempotencyKey: string | undefined
    readonly known: ConnectionRow | undefined
    readonly connectionId: string
  },
): Promise<ConnectionRow> => {
  const { userId, mode, pq, withKem, idempotencyKey, known, connectionId } = fields
  const origin = mode === 'contact' ? 'contact' : 'created'
  return context.runtime.run({
    name: 'createConnection',
    locks: [connectionId],
    load: async read => (known === undefined ? [] : read(shortLinks, { where: { connectionId } })),
    compute: async (state, [link]): Promise<Outcome<ConnectionRow>> => {
      if (known !== undefined) {
        const connection = requireConnection(state, connectionId)
        const isSame = connection.origin === origin && !isDeleted(connection) && !isPrepared(link)
        if (isSame) return { result: connection }
        throw keyOfAnotherCall()
      }
      const { config, random, routers } = context
      const x3dhKeys = mode === 'contact' ? undefined : await newX3dhKeys(context, withKem)
      // It may have been deleted meanwhile: nothing would ever take the connection away.
      context.users.require(userId)
      const connection = newConnection({
        connectionId,
        userId,
        origin,
        agentVersion: config.agentVersions.max,
        pqSupport: pq !== false,
        ...(x3dhKeys === undefined ? {} : { x3dhKeys }),
        idempotencyKey,
        now: state.now,
      })
      const router = routers.pick(userId, random)
      const queueMode = mode === 'contact' ? 'contact' : 'messaging'
      const queue = newRcvQueue(random, connection, router, config.clientVersions.max, state.now, queueMode)
      return { result: connection, changes: [insert(connections, connection), insert(rcvQueues, queue)] }
    },
  })
}

/** The refusal of keys in the link of a contact address. */
export const noKeysInAddress = (): CallError =>
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
