import { generateKeyPair, publicKeyOf } from '../crypto/index.js'
import { asDuologueError, CallError, StoreError } from '../errors.js'
import type { Read } from '../runtime/unit.js'
import type { ProxiedRequest } from '../smp/client.js'
import { formatConnectionRequest } from '../smp/protocol/connectionRequest.js'
import type { QueueInfo } from '../smp/protocol/queueInfo.js'
import type { Response } from '../smp/protocol/responses.js'
import { formatRouterAddress, portOf, type RouterAddress } from '../smp/protocol/routerAddress.js'
import { formatShortLink, parseShortLink, type ShortLink } from '../smp/protocol/shortLink.js'
import {
  atLinkAddress,
  contactLinkKeys,
  LINK_KEY_BYTES,
  type OpenedLinkData,
  openLinkData,
} from '../smp/protocol/shortLinkKeys.js'
import { invitationLinks } from '../store/agent/links.js'
import { type Change, insert, patch, remove, type Row, type Store } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { wrongAnswer } from './shortLinks.js'

export type InvitationLinkRow = Row<typeof invitationLinks>
type Answer = Extract<Response, { readonly type: 'LNK' }>

/**
 * getShortLink: what a short link leads to, proven to be its own data. A one-time link is read with LKEY, which secures its queue: the key is
 * stored before, is the same each time, and the connection that is made by the link uses it (B15). Both ways may go through a proxy.
 */
export const getShortLink = async (
  context: AgentContext,
  { userId, link }: ParsedParamsOf<'getShortLink'>,
  calling: Calling,
): Promise<ResultOf<'getShortLink'>> => {
  const { fixed, user } = await readShortLink(context, userId, parseShortLink(link.trim()), calling)
  const { data } = user
  return {
    mode: data.mode,
    link: formatConnectionRequest(fixed.request),
    userData: data.userData,
    ...(fixed.entityId === undefined ? {} : { entityId: fixed.entityId }),
    ...(data.mode === 'invitation'
      ? {}
      : {
          direct: data.direct,
          relays: data.relays.map(formatShortLink),
          owners: data.owners.map(({ ownerId, ownerKey }) => ({ ownerId, ownerKey })),
        }),
  }
}

/**
 * Reads the data of a link. Rejects with RouterError `AUTH` for a link that leads nowhere or was read by somebody else, CryptoError
 * `CRYPTO_LINK_…` or `CRYPTO_BOX` for data that is not the link's, and as private routing does.
 */
export const readShortLink = async (
  context: AgentContext,
  userId: number,
  link: ShortLink,
  calling: Calling,
): Promise<OpenedLinkData> => {
  context.users.require(userId)
  if (link.linkKey.length !== LINK_KEY_BYTES) throw incomplete()
  const place = knownRouter(context, userId, link.router)
  const target = { userId, router: formatRouterAddress(place) }
  const opened = ({ senderId, data }: Answer): OpenedLinkData => {
    const { fixed, user } = openLinkData(link.mode, link.linkKey, data)
    return { fixed: atLinkAddress(fixed, place, senderId), user }
  }
  if (link.mode === 'invitation') {
    const name = { userId, router: fingerprintOf(place), linkId: Buffer.from(link.linkId) }
    return secureAndRead(context, target, name, opened, calling)
  }
  const { linkId } = contactLinkKeys(link.linkKey)
  return opened(await ask(context, target, { entityId: linkId, command: { type: 'LGET' } }, calling))
}

// No data hashes to it, and reading an invitation uses it up.
const incomplete = (): CallError =>
  new CallError('CMD_PARAMS', 'the link is not complete', {
    field: 'link',
    hint: 'check that the whole link was copied',
  })

// A link may name a router by its host alone, or by host and port; then the user must know the rest.
const knownRouter = ({ routers }: AgentContext, userId: number, router: RouterAddress): RouterAddress => {
  if (router.keyHash.length > 0) return router
  const isAtPort = (known: RouterAddress): boolean => router.port === '' || portOf(known) === portOf(router)
  const known = routers
    .of(userId)
    .find(({ router: own }) => isAtPort(own) && own.hosts.some(host => router.hosts.includes(host)))
  if (known !== undefined) return known.router
  throw new CallError('CMD_PARAMS', 'the link does not say how to know its router, and the user has none there', {
    field: 'link',
    hint: 'add the router to those of the user, or ask for a link with its fingerprint',
  })
}

const secureAndRead = async (
  context: AgentContext,
  place: Place,
  key: LinkName,
  opened: (answer: Answer) => OpenedLinkData,
  calling: Calling,
): Promise<OpenedLinkData> => {
  const row = await storedKey(context, key)
  const privateKey = row.sndPrivateKey
  const raw = publicKeyOf('ed25519', privateKey)
  const request = {
    entityId: key.linkId,
    command: { type: 'LKEY', key: { algorithm: 'ed25519', raw } },
    key: { algorithm: 'ed25519', privateKey },
  } as const
  try {
    const answer = await ask(context, place, request, calling)
    // What the router says of the queue counts when the link confirms it.
    const link = opened(answer)
    await changeRow(context, key, ({ sndId }) =>
      sndId === null ? [patch(invitationLinks, key, { sndId: Buffer.from(answer.senderId) })] : [],
    )
    return link
  } catch (error) {
    // Somebody else's by now, or gone: what was never read needs no key.
    if (asDuologueError(error).code === 'AUTH')
      await changeRow(context, key, ({ sndId }) => (sndId === null ? [remove(invitationLinks, key)] : []))
    throw error
  }
}

/** Who asks which router, by its address. */
interface Place {
  readonly userId: number
  readonly router: string
}
type LinkName = Pick<InvitationLinkRow, 'userId' | 'router' | 'linkId'>

/** The key to read a one-time link with, stored before it is used. */
const storedKey = async (context: AgentContext, key: LinkName): Promise<InvitationLinkRow> => {
  const find = async () => (await context.store.find(invitationLinks, { where: key }))[0]
  const known = await find()
  if (known !== undefined) return known
  try {
    return await context.runtime.run({
      name: 'getShortLink',
      locks: [],
      compute: ({ now }) => {
        // The user may have been deleted meanwhile: nothing would ever take the key away.
        context.users.require(key.userId)
        const { privateKey } = generateKeyPair('ed25519', context.random)
        const row = { ...key, sndPrivateKey: privateKey, sndId: null, connectionId: null, createdAt: now }
        return { result: row, changes: [insert(invitationLinks, row)] }
      },
    })
  } catch (error) {
    // The same link is read twice at once.
    const other = error instanceof StoreError && error.code === 'STORE_CONFLICT' ? await find() : undefined
    if (other === undefined) throw error
    return other
  }
}

const changeRow = (
  context: AgentContext,
  key: LinkName,
  changes: (row: InvitationLinkRow) => Change[],
): Promise<void> =>
  context.runtime.run({
    name: 'getShortLink.done',
    locks: [],
    load: read => read(invitationLinks, { where: key }),
    compute: (_state, [row]) => ({ result: undefined, changes: row === undefined ? [] : changes(row) }),
  })

/** The row of the one-time link that leads to this queue, if the user has read it. */
export const readLinkTo = async (
  read: Read,
  userId: number,
  queue: QueueInfo,
): Promise<InvitationLinkRow | undefined> => (await read(invitationLinks, { where: { userId, ...placeOf(queue) } }))[0]

/** What is locked beside a connection that joins by a link which was read: a link is joined by one. */
export const lockOfLink = async (store: Store, userId: number, queue: QueueInfo): Promise<string | undefined> => {
  const place = placeOf(queue)
  const isKnown = (await store.count(invitationLinks, { userId, ...place })) > 0
  return isKnown ? `link ${place.sndId.toString('base64url')}` : undefined
}

const placeOf = ({ address }: QueueInfo): { readonly router: string; readonly sndId: Buffer } => ({
  router: fingerprintOf(address.router),
  sndId: Buffer.from(address.senderId),
})

// One address has many spellings: by some of its hosts, with the usual port or without.
const fingerprintOf = ({ keyHash }: RouterAddress): string => Buffer.from(keyHash).toString('base64url')

const ask = async (
  context: AgentContext,
  { userId, router }: Place,
  request: ProxiedRequest,
  { urgency }: Calling,
): Promise<Answer> => {
  // No connection exists yet: where each has a session of its own, so has each link.
  const target = { userId, router, connectionId: `link ${Buffer.from(request.entityId).toString('base64url')}` }
  const { response } = await context.operations.during('sending', () =>
    context.privateRouting.send(target, request, urgency),
  )
  if (response.type !== 'LNK') throw wrongAnswer(request.command.type, response.type, router)
  return response
}
