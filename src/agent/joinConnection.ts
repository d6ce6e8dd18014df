import { CallError } from '../errors.js'
import { parseConnectionLink } from '../smp/protocol/shortLink.js'
import { connections } from '../store/agent/connections.js'
import { insert } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { type Join, joinEffects, readProgress } from './join.js'
import { type JoinTarget, targetOf } from './joinTarget.js'
import { connectionByKey, keyOfAnotherCall, newConnection, onceByKey, type Origin } from './newConnection.js'
import { newId } from './queues.js'
import { lockOfLink, readLinkTo, readShortLink } from './readLink.js'
import { type ConnectionRow, findConnection, isDeleted } from './rows.js'

/**
 * joinConnection: by an invitation this side becomes the joiner, by a contact address it sends an invitation of its own and becomes the
 * initiator. What it takes is stored in one commit, with the first step; command workers do the steps, each repeatable with the same
 * keys (B11, B12, B15, B16, B18). A repeated call goes on where a router has refused a step. A short link is read first, and nothing but the
 * key that it is read with is stored until then (B10).
 */
export const joinConnection = async (
  context: AgentContext,
  { userId, link, info = Buffer.alloc(0), pq, idempotencyKey, connectionId }: ParsedParamsOf<'joinConnection'>,
  calling: Calling,
): Promise<ResultOf<'joinConnection'>> => {
  if (connectionId !== undefined) {
    const target = await targetOfPrepared(context, connectionId, link, calling)
    return store(context, { connectionId, target, info, pq })
  }
  const again = (known: ConnectionRow) => {
    if (!isJoined(known) || known.status === 'new') throw keyOfAnotherCall()
    return store(context, { connectionId: known.connectionId, target: undefined, info, pq })
  }
  context.users.require(userId)
  const known = await connectionByKey(context, userId, idempotencyKey)
  if (known !== undefined) return again(known)
  try {
    const target = await readTarget(context, userId, link, calling)
    const made = { userId, origin: originBy(target), idempotencyKey }
    return await store(context, { connectionId: calling.connectionId ?? newId(context.random), made, target, info, pq })
  } catch (error) {
    // The same call has joined by the link meanwhile: then it can be read by nobody any more, nor joined by once more.
    const joined = await connectionByKey(context, userId, idempotencyKey)
    if (joined === undefined) throw error
    return again(joined)
  }
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
  const parsed = parseConnectionLink(link)
  // What a short link leads to is read when it is joined by.
  const { mode, agentVersion } =
    parsed.kind === 'short'
      ? { mode: parsed.link.mode, agentVersion: context.config.agentVersions.max }
      : targetOf(parsed.request, context.config)
  return prepare(context, { userId, idempotencyKey, origin: originBy({ mode }), agentVersion })
}

/** Where a link of either kind leads. Rejects as `readShortLink` and `targetOf` do. */
const readTarget = async (
  context: AgentContext,
  userId: number,
  link: string,
  calling: Calling,
): Promise<JoinTarget> => {
  const parsed = parseConnectionLink(link)
  if (parsed.kind === 'long') return targetOf(parsed.request, context.config)
  const { fixed, user } = await readShortLink(context, userId, parsed.link, calling)
  if (user.data.mode === 'contact' && !user.data.direct) throw notDirect()
  return targetOf(fixed.request, context.config)
}

// A connection that is under way needs its short link no more, and might find that nobody can read it.
const targetOfPrepared = async (
  context: AgentContext,
  connectionId: string,
  link: string,
  calling: Calling,
): Promise<JoinTarget | undefined> => {
  const parsed = parseConnectionLink(link)
  if (parsed.kind === 'long') return targetOf(parsed.request, context.config)
  const findPrepared = async () =>
    (await context.store.find(connections, { where: { connectionId, status: 'new' } }))[0]
  const prepared = await findPrepared()
  if (prepared === undefined) return undefined
  // Reading a one-time link uses it up.
  if (!isJoined(prepared)) throw notJoined(connectionId)
  try {
    return await readTarget(context, prepared.userId, link, calling)
  } catch (error) {
    if ((await findPrepared()) !== undefined) throw error
    return undefined
  }
}

const notDirect = (): CallError =>
  new CallError('CMD_PROHIBITED', 'the address takes no requests itself, only its relays do', {
    field: 'link',
    hint: 'getShortLink names the relays',
  })

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
      compute: ({ now }) => {
        context.users.require(userId)
        return {
          result: { connectionId },
          changes: [insert(connections, newConnection({ ...fields, connectionId, now }))],
        }
      },
    })
  return onceByKey(context, userId, idempotencyKey, make, found)
}

const isJoined = (connection: ConnectionRow): boolean =>
  (connection.origin === 'joined' || connection.origin === 'requested') && !isDeleted(connection)

const originBy = ({ mode }: Pick<JoinTarget, 'mode'>): Origin => (mode === 'contact' ? 'requested' : 'joined')

const store = async (context: AgentContext, join: Join): Promise<ResultOf<'joinConnection'>> => {
  const { connectionId, target } = join
  const userId = join.made?.userId ?? (await context.store.find(connections, { where: { connectionId } }))[0]?.userId
  const linkLock =
    target === undefined || userId === undefined ? undefined : await lockOfLink(context.store, userId, target.queue)
  return context.runtime.run({
    name: 'joinConnection',
    locks: linkLock === undefined ? [connectionId] : [connectionId, linkLock],
    load: async read => {
      const [progress, link] = await Promise.all([
        readProgress(read, connectionId),
        target === undefined || userId === undefined ? undefined : readLinkTo(read, userId, target.queue),
      ])
      return { progress, link }
    },
    compute: async (state, { progress, link }) => {
      const existing = findConnection(state, connectionId)
      if (existing !== undefined && !isDeleted(existing) && !isJoined(existing)) throw notJoined(connectionId)
      return { result: { connectionId }, ...(await joinEffects(context, state, { ...join, link }, progress)) }
    },
  })
}

const notJoined = (connectionId: string): CallError =>
  new CallError('CMD_PROHIBITED', 'the connection was created or accepted, not prepared to be joined', {
    field: connectionId,
    hint: 'take the connectionId of prepareConnectionToJoin',
  })
