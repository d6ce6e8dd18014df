import { CallError } from '../errors.js'
import type { Outcome } from '../runtime/unit.js'
import { formatConnectionRequest } from '../smp/protocol/connectionRequest.js'
import { linkSenderId } from '../smp/protocol/shortLinkKeys.js'
import { connections, rcvQueues } from '../store/agent/connections.js'
import { shortLinks } from '../store/agent/links.js'
import { insert, patch } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { noKeysInAddress } from './createConnection.js'
import { requestOf } from './invitation.js'
import { connectionByKey, keyOfAnotherCall, newConnection, onceByKey } from './newConnection.js'
import { newId, newRcvQueue } from './queues.js'
import { requestLink } from './requestLink.js'
import { type ConnectionRow, isDeleted, requireConnection } from './rows.js'
import { askedLink, isPrepared, shortLinkText, userLinkData } from './shortLinks.js'

type Prepared = ResultOf<'prepareConnectionLink'>

/**
 * prepareConnectionLink: all keys and both links of a contact address, stored, and nothing sent (B10). The sender id that they name comes from
 * the correlation id that NEW will have, so that the queue can be known before its router.
 */
export const prepareConnectionLink = async (
  context: AgentContext,
  { userId, entityId, idempotencyKey }: ParsedParamsOf<'prepareConnectionLink'>,
): Promise<Prepared> => {
  context.users.require(userId)
  const known = await connectionByKey(context, userId, idempotencyKey)
  const again = (connection: ConnectionRow): Promise<Prepared> => preparedBefore(context, connection)
  if (known !== undefined) return again(known)
  const connectionId = newId(context.random)
  const make = (): Promise<Prepared> =>
    context.runtime.run({
      name: 'prepareConnectionLink',
      locks: [connectionId],
      compute: ({ now }): Outcome<Prepared> => {
        const { config, random, routers } = context
        context.users.require(userId)
        const agentVersion = config.agentVersions.max
        const base = newConnection({ connectionId, userId, origin: 'contact', agentVersion, idempotencyKey, now })
        const router = routers.pick(userId, random)
        const queue = newRcvQueue(random, base, router, config.clientVersions.max, now, 'contact')
        const short = askedLink(context, base, queue, entityId)
        const request = requestOf(config, base, { ...queue, sndId: linkSenderId(short.corrId) })
        const connection = {
          ...base,
          link: formatConnectionRequest(request),
          shortLink: shortLinkText(short, 'contact', router),
        }
        return {
          result: preparedLink(connection),
          changes: [insert(connections, connection), insert(rcvQueues, queue), insert(shortLinks, short)],
        }
      },
    })
  return onceByKey(context, userId, idempotencyKey, make, again)
}

const preparedBefore = async (context: AgentContext, connection: ConnectionRow): Promise<Prepared> => {
  const { connectionId } = connection
  const [link] = await context.store.find(shortLinks, { where: { connectionId } })
  if (!isPrepared(link)) throw keyOfAnotherCall()
  return preparedLink(connection)
}

const preparedLink = ({ connectionId, link, shortLink }: ConnectionRow): Prepared => {
  if (link === null || shortLink === null) throw keyOfAnotherCall()
  return { connectionId, link, shortLink }
}

/**
 * createConnectionForLink: the one command that a prepared link needs (NEW). A router that makes another queue than the link names is
 * refused, and the link stays as it is, for another attempt. Throws CallError `CMD_PROHIBITED` for a connection that was not prepared so.
 */
export const createConnectionForLink = async (
  context: AgentContext,
  { connectionId, linkData, pq }: ParsedParamsOf<'createConnectionForLink'>,
  calling: Calling,
): Promise<ResultOf<'createConnectionForLink'>> => {
  if (pq === 'invitation') throw noKeysInAddress()
  const data = userLinkData(context.config, 'contact', linkData)
  const { connection, prepared } = await context.runtime.run({
    name: 'createConnectionForLink',
    locks: [connectionId],
    load: read => read(shortLinks, { where: { connectionId } }),
    compute: (state, [link]) => {
      const connection = requireConnection(state, connectionId)
      if (!isPrepared(link) || isDeleted(connection)) throw notPrepared()
      const isNew = connection.status === 'new'
      return {
        result: { connection, prepared: link },
        changes: isNew ? [patch(connections, { connectionId }, { pqSupport: pq })] : [],
      }
    },
  })
  return requestLink(context, connection, { kemInLink: false, data, prepared }, calling)
}

const notPrepared = (): CallError =>
  new CallError('CMD_PROHIBITED', 'the connection has no prepared link', {
    field: 'connectionId',
    hint: 'take the connectionId of prepareConnectionLink',
  })
