import { CallError } from '../errors.js'
import { connections } from '../store/agent/connections.js'
import { insert } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { type Join, joinEffects, readProgress } from './join.js'
import { type JoinTarget, joinTarget } from './joinTarget.js'
import { connectionByKey, keyOfAnotherCall, newConnection, onceByKey, type Origin } from './newConnection.js'
import { newId } from './queues.js'
import { type ConnectionRow, findConnection, isDeleted } from './rows.js'

/**
 * joinConnection: by an invitation this side becomes the joiner, by a contact address it sends an invitation of its own and becomes the
 * initiator. What it takes is stored in one commit, with the first step; command workers do the steps, each repeatable with the same
 * keys (B11, B12, B15, B16, B18). A repeated call goes on where a router has refused a step.
 */
export const joinConnection = async (
  context: AgentContext,
  { userId, link, info = Buffer.alloc(0), pq, idempotencyKey, connectionId }: ParsedParamsOf<'joinConnection'>,
  calling: Calling,
): Promise<ResultOf<'joinConnection'>> => {
  if (connectionId !== undefined) {
    return store(context, { connectionId, target: joinTarget(link, context.config), info, pq })
  }
  const again = (known: ConnectionRow) => {
    if (!isJoined(known) || known.status === 'new') throw keyOfAnotherCall()
    return store(context, { connectionId: known.connectionId, target: undefined, info, pq })
  }
  context.users.require(userId)
  const known = await connectionByKey(context, userId, idempotencyKey)
  if (known !== undefined) return again(known)
  const target = joinTarget(link, context.config)
  const made = { userId, origin: originBy(target), idempotencyKey }
  const join: Join = { connectionId: calling.connectionId ?? newId(context.random), made, target, info, pq }
  return onceByKey(context, userId, idempotencyKey, () => store(context, join), again)
}

/**
 * prepareConnectionToJoin: the connection’s row, so that its id is known before the other party can answer (B16). joinConnection begins
 * with it.
 */
export const prepareConnectionToJoin = async (
  context: AgentContext,
  { userId, link, idempotencyKey }: ParsedParamsOf<'prepareConnectionToJoin'>,
): Promise<ResultOf<'prepareConnectionToJoin'>> => {
  context.users.require(userId)
  const target = joinTarget(link, context.config)
  return prepare(context, { userId, idempotencyKey, origin: originBy(target), agentVersion: target.agentVersion })
}

/** A row that waits to be joined or accepted. */
export const prepare = async (
  context: AgentContext,
  fields: Pick<Parameters<typeof newConnection>[0], 'userId' | 'idempotencyKey' | 'origin' | 'agentVersion'>,
): Promise<{ connectionId: string }> => {
  const { userId, idempotencyKey, origin } = fields
  const found = ({ connectionId, origin: made, status }: ConnectionRow) => {
    if (made !== origin || isDeleted({ status })) throw keyOfAnotherCall()
    return { connectionId }
  }
  const known = await connectionByKey(context, userId, idempotencyKey)
  if (known !== undefined) return found(known)
  const connectionId = newId(context.random)
  const make = (): Promise<{ connectionId: string }> =>
    context.runtime.run({
      name: 'prepareConnection',
      locks: [connectionId],
      compute: ({ now }) => ({
        result: { connectionId },
        changes: [insert(connections, newConnection({ ...fields, connectionId, now }))],
      }),
    })
  return onceByKey(context, userId, idempotencyKey, make, found)
}

const isJoined = (connection: ConnectionRow): boolean =>
  (connection.origin === 'joined' || connection.origin === 'requested') && !isDeleted(connection)

const originBy = ({ mode }: JoinTarget): Origin => (mode === 'contact' ? 'requested' : 'joined')

const store = (context: AgentContext, join: Join): Promise<ResultOf<'joinConnection'>> => {
  const { connectionId } = join
  return context.runtime.run({
    name: 'joinConnection',
    locks: [connectionId],
    load: read => readProgress(read, connectionId),
    compute: async (state, progress) => {
      const existing = findConnection(state, connectionId)
      if (existing !== undefined && !isDeleted(existing) && !isJoined(existing)) throw notJoined(connectionId)
      return { result: { connectionId }, ...(await joinEffects(context, state, join, progress)) }
    },
  })
}

const notJoined = (connectionId: string): CallError =>
  new CallError('CMD_PROHIBITED', 'the connection was created or accepted, not prepared to be joined', {
    field: connectionId,
    hint: 'take the connectionId of prepareConnectionToJoin',
  })
