import { InternalError } from '../errors.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { Outcome } from '../runtime/unit.js'
import type { Command } from '../smp/protocol/commands.js'
import { VERSION_SHORT_LINKS } from '../smp/protocol/versions.js'
import { connections } from '../store/agent/connections.js'
import { shortLinks } from '../store/agent/links.js'
import { insert, patch, remove } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { decideConnection, refusal } from './decideConnection.js'
import { createdQueue } from './queues.js'
import { noShortLinks } from './requestLink.js'
import { type RcvQueueRow, rcvQueuesOf, requireConnection } from './rows.js'
import {
  modeOf,
  newShortLink,
  sealedLinkData,
  type ShortLinkRow,
  shortLinkText,
  userLinkData,
  wrongAnswer,
} from './shortLinks.js'

/** An own link and the queue that it leads to. */
interface OwnLink {
  readonly queue: RcvQueueRow
  readonly link: ShortLinkRow & { readonly linkId: Buffer }
  readonly text: string
}

/**
 * setShortLink: the keys of a new link are stored, then the data is set at the router (LSET), then the link is the connection’s. Each step may
 * be repeated with the same link. Rejects with the router’s error: AUTH for an invitation that was read already.
 */
export const setShortLink = (
  context: AgentContext,
  { connectionId, linkData }: ParsedParamsOf<'setShortLink'>,
  calling: Calling,
): Promise<ResultOf<'setShortLink'>> =>
  inTurn(context, connectionId, async () => {
    const { own, data } = await context.runtime.run({
      name: 'setShortLink',
      locks: [connectionId],
      load: read => read(shortLinks, { where: { connectionId } }),
      compute: (state, [stored]) => {
        const connection = requireConnection(state, connectionId)
        const [queue] = rcvQueuesOf(state, connectionId)
        const data = userLinkData(context.config, modeOf(connection), linkData)
        let link = stored
        const decision = decideConnection(state, connection, { type: 'link.set', linked: stored !== undefined })
        const { changes } = follow(decision, {
          setLink: (): Effects => {
            if (link !== undefined || queue === undefined) return {}
            // A contact address of before these modes has none, and is one all the same.
            link = newShortLink(context, connection, { ...queue, queueMode: 'contact' })
            return { changes: [insert(shortLinks, link)] }
          },
          ...refusal(connectionId),
        })
        return { result: { own: ownLink(queue, link, modeOf(connection)), data }, changes }
      },
    })
    const { link, queue, text } = own
    await send(
      context,
      queue,
      { type: 'LSET', linkId: link.linkId, data: sealedLinkData(context, link, data) },
      calling,
    )
    await context.runtime.run({
      name: 'setShortLink.done',
      locks: [connectionId],
      load: read => read(shortLinks, { where: { connectionId } }),
      compute: (_state, [now]) => ({
        result: undefined,
        // It may have been deleted, or the connection be complete by now.
        changes: now === undefined ? [] : [patch(connections, { connectionId }, { shortLink: text })],
      }),
    })
    return { shortLink: text }
  })

const ownLink = (
  queue: RcvQueueRow | undefined,
  link: ShortLinkRow | undefined,
  mode: 'invitation' | 'contact',
): OwnLink => {
  const text = queue === undefined || link === undefined ? null : shortLinkText(link, mode, queue.router)
  if (queue === undefined || link === undefined || link.linkId === null || text === null)
    throw new InternalError('a link has no queue', { field: queue?.connectionId ?? '' })
  return { queue, link: { ...link, linkId: Buffer.from(link.linkId) }, text }
}

/**
 * deleteShortLink: the data goes at the router (LDEL), then the keys here, so that the same link never comes back. Without a link there is
 * nothing to do.
 */
export const deleteShortLink = (
  context: AgentContext,
  { connectionId }: ParsedParamsOf<'deleteShortLink'>,
  calling: Calling,
): Promise<ResultOf<'deleteShortLink'>> =>
  inTurn(context, connectionId, async () => {
    const queue = await context.runtime.run({
      name: 'deleteShortLink',
      locks: [connectionId],
      load: read => read(shortLinks, { where: { connectionId } }),
      compute: (state, [link]): Outcome<RcvQueueRow | undefined> => {
        const connection = requireConnection(state, connectionId)
        let result: RcvQueueRow | undefined
        follow(decideConnection(state, connection, { type: 'link.delete' }), {
          deleteLink: () => {
            result = link === undefined ? undefined : rcvQueuesOf(state, connectionId)[0]
            return {}
          },
          ...refusal(connectionId),
        })
        return { result }
      },
    })
    if (queue === undefined) return {}
    await send(context, queue, { type: 'LDEL' }, calling)
    await context.runtime.run({
      name: 'deleteShortLink.done',
      locks: [connectionId],
      compute: () => ({
        result: undefined,
        changes: [patch(connections, { connectionId }, { shortLink: null }), remove(shortLinks, { connectionId })],
      }),
    })
    return {}
  })

// One change of a link after the other: the router's order and that of the commits must be the same.
const inTurn = async <T>(
  { changingLinks }: AgentContext,
  connectionId: string,
  change: () => Promise<T>,
): Promise<T> => {
  const before = changingLinks.get(connectionId)
  const changing = before === undefined ? change() : before.then(change)
  const settled = changing.catch(() => undefined)
  changingLinks.set(connectionId, settled)
  try {
    return await changing
  } finally {
    if (changingLinks.get(connectionId) === settled) changingLinks.delete(connectionId)
  }
}

const send = (
  { sessions, operations }: AgentContext,
  queue: RcvQueueRow,
  command: Extract<Command, { type: 'LSET' }> | { readonly type: 'LDEL' },
  { urgency }: Calling,
): Promise<void> => {
  const { rcvId, rcvPrivateKey } = createdQueue(queue)
  const key = { algorithm: 'ed25519', privateKey: rcvPrivateKey } as const
  return operations.during('sending', () =>
    sessions.use(queue, urgency, async (session, options) => {
      if (session.version < VERSION_SHORT_LINKS) throw noShortLinks(queue.router)
      const { type } = await session.send({ command, entityId: rcvId, key }, options)
      if (type !== 'OK') throw wrongAnswer(command.type, type, queue.router)
    }),
  )
}
