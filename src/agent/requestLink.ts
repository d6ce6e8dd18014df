import { CallError, InternalError } from '../errors.js'
import { formatConnectionRequest } from '../smp/protocol/connectionRequest.js'
import type { Outcome } from '../runtime/unit.js'
import type { QueueIds } from '../smp/protocol/responses.js'
import type { UserLinkData } from '../smp/protocol/shortLinkData.js'
import { connections, rcvQueues } from '../store/agent/connections.js'
import { shortLinks } from '../store/agent/links.js'
import { patch, put } from '../store/index.js'
import type { ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { decideConnection } from './decideConnection.js'
import { requestOf, withoutKem } from './invitation.js'
import { abandonQueue, createdQueue, newQueueCommand, queueCreated } from './queues.js'
import {
  type ConnectionRow,
  findConnection,
  isDeleted,
  type RcvQueueRow,
  rcvQueuesOf,
  requireConnection,
} from './rows.js'
import {
  type AskedLink,
  askedLink,
  linkedQueue,
  madeLink,
  modeOf,
  type ShortLinkRow,
  shortLinkText,
  wrongAnswer,
} from './shortLinks.js'

/** What the links of a stored connection are to be. */
export interface LinkWish {
  /** Whether a KEM key stands in the long link too (B19). */
  readonly kemInLink: boolean
  /** To what a short link leads; without it there is none. */
  readonly data?: UserLinkData | undefined
  /** The short link, where it was made before. */
  readonly prepared?: AskedLink
}

interface Intent {
  readonly connection: ConnectionRow
  readonly queue: RcvQueueRow
}

interface ShortLink {
  readonly link: AskedLink
  readonly data: UserLinkData
  readonly isPrepared: boolean
}

export type CreatedLink = ResultOf<'createConnection'>

/**
 * Asks the router for the queue (NEW) and stores and answers the link. Calls that are repeated at the same moment share one NEW: the router
 * would make a queue for each.
 */
export const requestLink = (
  context: AgentContext,
  connection: ConnectionRow,
  wish: LinkWish,
  calling: Calling,
): Promise<CreatedLink> => {
  const { connectionId } = connection
  if (connection.status !== 'new') return Promise.resolve(createdLink(connection))
  const running = context.creating.get(connectionId)
  if (running !== undefined) return running
  const making = requestOnce(context, connectionId, wish, calling).finally(() => context.creating.delete(connectionId))
  context.creating.set(connectionId, making)
  return making
}

// The one that asks looks again: since it read the row, another one may have asked, and got its link.
const requestOnce = async (
  context: AgentContext,
  connectionId: string,
  wish: LinkWish,
  calling: Calling,
): Promise<CreatedLink> => {
  const intent = await context.runtime.run({
    name: 'createConnection.making',
    locks: [connectionId],
    compute: (state): Outcome<Intent> => {
      const connection = requireConnection(state, connectionId)
      const [queue] = rcvQueuesOf(state, connectionId)
      if (queue === undefined || isDeleted(connection)) throw deletedMeanwhile()
      return { result: { connection, queue } }
    },
  })
  const { connection } = intent
  return connection.status === 'new' ? requestQueue(context, intent, wish, calling) : createdLink(connection)
}

/** The links that a connection has. */
const createdLink = ({ connectionId, link, shortLink }: ConnectionRow): CreatedLink => {
  if (link === null) throw new InternalError('a created connection has no link', { field: connectionId })
  return { connectionId, link, ...(shortLink === null ? {} : { shortLink }) }
}

const requestQueue = async (
  context: AgentContext,
  intent: Intent,
  wish: LinkWish,
  { urgency }: Calling,
): Promise<CreatedLink> => {
  const { queue } = intent
  const { router } = queue
  const short = shortLinkOf(context, intent, wish)
  const request = short === undefined ? undefined : linkedQueue(context, short.link, short.data)
  const command = newQueueCommand(queue, context.routers.passwordOf(queue.userId, router), request)
  const key = { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey } as const
  const corrId = short === undefined ? {} : { corrId: short.link.corrId }
  const { response, session } = await context.operations.during('sending', () =>
    context.sessions.request(queue, { command, entityId: Buffer.alloc(0), key, ...corrId }, urgency),
  )
  if (response.type !== 'IDS') throw wrongAnswer('NEW', response.type, router)
  const made = { ...queue, ...queueCreated(queue, response) }
  context.sessions.created(createdQueue(made), session)
  const link = short === undefined ? undefined : acceptedLink(context, short, made, response, session.version)
  const answer = await storeLink(context, intent, wish, response, link)
  if (answer !== undefined) return answer
  abandonQueue(context, made)
  throw deletedMeanwhile()
}

const deletedMeanwhile = (): CallError =>
  new CallError('CONN_NOT_FOUND', 'the connection was deleted while it was being created', { field: 'connectionId' })

const shortLinkOf = (
  context: AgentContext,
  { connection, queue }: Intent,
  { data, prepared }: LinkWish,
): ShortLink | undefined => {
  if (data === undefined) return undefined
  return { link: prepared ?? askedLink(context, connection, queue), data, isPrepared: prepared !== undefined }
}

// A prepared link is known to others by now: its queue must be that one. Any other link is only told of if the router has made it. A queue
// that is refused is deleted.
const acceptedLink = (
  context: AgentContext,
  { link, isPrepared }: ShortLink,
  queue: RcvQueueRow,
  ids: QueueIds,
  version: number,
): ShortLinkRow | undefined => {
  try {
    const made = madeLink(link, ids, version, queue.router)
    if (made !== undefined) return isPrepared ? made : { ...made, corrId: null }
    if (isPrepared) throw noShortLinks(queue.router)
    return undefined
  } catch (error) {
    abandonQueue(context, queue)
    throw error
  }
}

/** A router of a version before short links. */
export const noShortLinks = (router: string): CallError =>
  new CallError('CMD_PROHIBITED', 'the router knows no short links', {
    field: router,
    hint: 'it must be updated; long links work with it',
  })

// The answer, or undefined when the connection was deleted in the meantime.
const storeLink = (
  context: AgentContext,
  { connection: { connectionId }, queue: { queueId } }: Intent,
  { kemInLink }: LinkWish,
  ids: QueueIds,
  short: ShortLinkRow | undefined,
): Promise<CreatedLink | undefined> =>
  context.runtime.run<void, CreatedLink | undefined>({
    name: 'createConnection.created',
    locks: [connectionId],
    compute: state => {
      const connection = findConnection(state, connectionId)
      const queue = rcvQueuesOf(state, connectionId).find(row => row.queueId === queueId)
      if (queue === undefined || connection === undefined || isDeleted(connection)) return { result: undefined }
      const created = queueCreated(queue, ids)
      const mode = modeOf(connection)
      const type = mode === 'contact' ? 'address.created' : 'queue.created'
      const decision = decideConnection(state, connection, { type })
      const request = requestOf(context.config, connection, { ...queue, ...created })
      const link = formatConnectionRequest(kemInLink ? request : withoutKem(request))
      const shortLink = short === undefined ? null : shortLinkText(short, mode, queue.router)
      return {
        result: createdLink({ ...connection, link, shortLink }),
        changes: [
          patch(connections, { connectionId }, { status: decision.to, link, shortLink }),
          patch(rcvQueues, { queueId }, created),
          ...(short === undefined ? [] : [put(shortLinks, short)]),
        ],
      }
    },
  })
