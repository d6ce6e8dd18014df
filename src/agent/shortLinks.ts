import { generateKeyPair, NONCE_BYTES } from '../crypto/index.js'
import { CallError, RouterError } from '../errors.js'
import type { ConnectionMode } from '../smp/protocol/connectionRequest.js'
import type { LinkData } from '../smp/protocol/fields.js'
import type { QueueRequest } from '../smp/protocol/newQueue.js'
import type { QueueIds } from '../smp/protocol/responses.js'
import { parseRouterAddress } from '../smp/protocol/routerAddress.js'
import { formatShortLink, parseShortLink, type ShortContact } from '../smp/protocol/shortLink.js'
import type { UserLinkData } from '../smp/protocol/shortLinkData.js'
import {
  checkUserLinkData,
  contactLinkKeys,
  LINK_KEY_BYTES,
  linkDataKey,
  linkSenderId,
  sealFixedLinkData,
  sealUserLinkData,
  signFixedLinkData,
  signUserLinkData,
} from '../smp/protocol/shortLinkKeys.js'
import { VERSION_SHORT_LINKS } from '../smp/protocol/versions.js'
import type { shortLinks } from '../store/agent/links.js'
import type { Row } from '../store/index.js'
import type { ParsedParamsOf } from './api/calls.js'
import type { AgentConfig } from './config.js'
import type { AgentContext } from './context.js'
import { requestOf } from './invitation.js'
import type { ConnectionRow, RcvQueueRow } from './rows.js'

export type ShortLinkRow = Row<typeof shortLinks>

/** A short link whose queue the router has still to make: the sender id is known before, from the correlation id of its NEW. */
export interface AskedLink extends ShortLinkRow {
  readonly corrId: Buffer
}

/** A link that was made before its router was asked. */
export const isPrepared = (link: ShortLinkRow | undefined): link is AskedLink =>
  link !== undefined && link.corrId !== null

export const modeOf = ({ origin }: Pick<ConnectionRow, 'origin'>): ConnectionMode =>
  origin === 'contact' ? 'contact' : 'invitation'

/** A new short link of a queue that does not exist yet, with all of its keys. */
export const askedLink = (
  context: Pick<AgentContext, 'config' | 'random'>,
  connection: ConnectionRow,
  queue: RcvQueueRow,
  entityId?: Uint8Array,
): AskedLink => {
  const corrId = Buffer.from(context.random(NONCE_BYTES))
  return { ...newShortLink(context, connection, { ...queue, sndId: linkSenderId(corrId) }, entityId), corrId }
}

/** A new short link of a queue, with all of its keys. */
export const newShortLink = (
  { config, random }: Pick<AgentContext, 'config' | 'random'>,
  connection: ConnectionRow,
  queue: RcvQueueRow,
  entityId?: Uint8Array,
): ShortLinkRow => {
  const mode = modeOf(connection)
  const rootKeys = generateKeyPair('ed25519', random)
  const request = requestOf(config, connection, queue)
  const { linkKey, signed } = signFixedLinkData(rootKeys, { agentVersions: config.agentVersions, request, entityId })
  return {
    connectionId: connection.connectionId,
    linkId: mode === 'contact' ? contactLinkKeys(linkKey).linkId : null,
    linkKey,
    rootPrivateKey: rootKeys.privateKey,
    fixedData: sealFixedLinkData(linkDataKey(mode, linkKey), signed, random),
    corrId: null,
  }
}

/** The data of a link as its router keeps it. */
export const sealedLinkData = (
  { config, random }: Pick<AgentContext, 'config' | 'random'>,
  { linkKey, rootPrivateKey, fixedData }: ShortLinkRow,
  data: UserLinkData,
): LinkData => {
  const signed = signUserLinkData(rootPrivateKey, config.agentVersions, data)
  return { fixedData, userData: sealUserLinkData(linkDataKey(data.mode, linkKey), signed, random) }
}

/** What NEW asks for, so that the queue has this link. */
export const linkedQueue = (
  context: Pick<AgentContext, 'config' | 'random'>,
  link: AskedLink,
  data: UserLinkData,
): QueueRequest => {
  const asked = { senderId: linkSenderId(link.corrId), data: sealedLinkData(context, link, data) }
  if (link.linkId === null) return { mode: 'messaging', link: asked }
  return { mode: 'contact', link: { linkId: link.linkId, ...asked } }
}

/**
 * The link of a queue that the router has made, or undefined when its version knows no links. Throws RouterError `SMP_UNEXPECTED` for a
 * router that has made another queue than the link names: who reads the link would not come to it.
 */
export const madeLink = (link: AskedLink, ids: QueueIds, version: number, router: string): ShortLinkRow | undefined => {
  if (ids.linkId === undefined && version < VERSION_SHORT_LINKS) return undefined
  const mode = link.linkId === null ? 'messaging' : 'contact'
  const linkId = ids.linkId ?? Buffer.alloc(0)
  const isItsLink = linkId.length > 0 && (link.linkId === null || same(link.linkId, linkId))
  if (isItsLink && ids.mode === mode && same(ids.senderId, linkSenderId(link.corrId)))
    return { ...link, linkId: Buffer.from(linkId) }
  throw new RouterError('SMP_UNEXPECTED', 'the router has made another queue than the link names', { field: router })
}

/** A router that answers with something else than it may. */
export const wrongAnswer = (command: string, answer: string, router: string): RouterError =>
  new RouterError('SMP_UNEXPECTED', `${command} was answered with ${answer}`, { field: router })

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** The link as text; null for an invitation whose queue the router has not made. */
export const shortLinkText = (
  { linkId, linkKey }: ShortLinkRow,
  mode: ConnectionMode,
  router: string,
): string | null => {
  const place = { scheme: 'https', router: parseRouterAddress(router), linkKey } as const
  if (mode === 'contact') return formatShortLink({ mode, contactType: 'contact', ...place })
  return linkId === null ? null : formatShortLink({ mode, linkId, ...place })
}

/**
 * The link data of a call. Throws CallError `CMD_PARAMS` for what this kind of link has not and for relays that are no short links, EncodeError
 * `LARGE_MSG`.
 */
export const userLinkData = (
  config: AgentConfig,
  mode: ConnectionMode,
  { userData, direct = true, relays = [] }: ParsedParamsOf<'setShortLink'>['linkData'],
): UserLinkData => {
  if (mode === 'invitation' && (!direct || relays.length > 0)) throw onlyOfAddresses()
  const data: UserLinkData =
    mode === 'invitation'
      ? { mode, userData }
      : { mode, direct, owners: [], relays: relays.map(relayAddress), userData }
  checkUserLinkData(config.agentVersions, data)
  return data
}

const relayAddress = (text: string): ShortContact => {
  let cause: unknown
  try {
    const link = parseShortLink(text)
    if (link.mode === 'contact' && link.linkKey.length === LINK_KEY_BYTES) return link
  } catch (error) {
    cause = error
  }
  throw new CallError('CMD_PARAMS', 'a relay is the short link of a contact address', {
    field: 'linkData.relays',
    hint: 'check that the whole link was copied',
    ...(cause === undefined ? {} : { cause }),
  })
}

const onlyOfAddresses = (): CallError =>
  new CallError('CMD_PARAMS', 'an invitation is for one other party: it has no relays', {
    field: 'linkData',
    hint: 'direct and relays belong to contact addresses',
  })
