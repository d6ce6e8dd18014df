/**
 * Long links: everything that a peer needs to connect. An invitation is for one peer and carries X3DH keys; a contact address
 * is for many, who send theirs in an invitation of their own. Links contain key material: never log them.
 */
import {
  asBuffer,
  type Bytes,
  ascii,
  concat,
  encodeVersionRange,
  formatVersionRange,
  large,
  list,
  maybe,
  parseVersionRange,
  type Reader,
  readVersionRange,
  utf8,
  type VersionRange,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import {
  type E2eRatchetParams,
  encodeE2eRatchetParams,
  formatE2eRatchetParams,
  parseE2eRatchetParams,
  readE2eRatchetParams,
} from './e2eParams.js'
import { formatQuery, Query, type QueryParameters } from './query.js'
import { encodeQueueUri, formatQueueUri, parseQueueUri, type QueueUri, readQueueUri } from './queueInfo.js'

export type ConnectionMode = 'invitation' | 'contact'

export type ConnectionRequest = InvitationRequest | ContactRequest

export interface InvitationRequest extends RequestData {
  readonly mode: 'invitation'
  /** A KEM key in it is only ever proposed, never accepted. */
  readonly e2e: E2eRatchetParams
}

export interface ContactRequest extends RequestData {
  readonly mode: 'contact'
}

interface RequestData {
  readonly agentVersions: VersionRange
  /** At least one. */
  readonly queues: readonly QueueUri[]
  /** Text of the application, such as the type of a group link. */
  readonly clientData?: string | undefined
}

/** The oldest agent version that anyone speaks: contact addresses are published and outlive the version they name. */
const OLDEST_AGENT_VERSION = 2

/** What links start with: the app's own scheme, or a web page that leads to the app. */
export type LinkScheme = 'simplex:' | `https://${string}`

/** The link as text. The scheme is for people: links with other schemes mean the same. */
export const formatConnectionRequest = (request: ConnectionRequest, scheme: LinkScheme = 'simplex:'): string => {
  const parameters: QueryParameters = [
    ['v', formatVersionRange(request.agentVersions)],
    ['smp', request.queues.map(formatQueueUri).join(';')],
    ...(request.mode === 'invitation' ? ([['e2e', formatE2eRatchetParams(request.e2e)]] as const) : []),
    ...(request.clientData === undefined ? [] : ([['data', request.clientData]] as const)),
  ]
  return `${scheme}/${request.mode}#/?${formatQuery(parameters)}`
}

/** `simplex:/invitation#/?…`, with any web address in place of `simplex:`. */
const LINK = /^(?:simplex:|https:\/\/[^:#,;/ ]+(?::\d+)?)\/(invitation|contact)\/?#\/\?(.*)$/s

/**
 * Reads a long link. Unknown parameters are ignored.
 * @throws DecodeError with the parameter that is missing or wrong as `field`
 */
export const parseConnectionRequest = (link: string): ConnectionRequest => {
  const [, mode, queryText] = LINK.exec(link) ?? []
  if (mode === undefined || queryText === undefined) throw invalid('link', 'this is no connection link')
  const query = new Query(queryText)
  const agentVersions = parseVersionRange(query.require('v'), 'v')
  const clientData = query.get('data')
  const data = {
    agentVersions,
    queues: query.require('smp').split(';').map(parseQueueUri),
    ...(clientData === undefined ? {} : { clientData }),
  }
  if (data.queues.length > 255) throw invalid('smp', 'a link names at most 255 queues')
  if (mode === 'contact') return { mode, ...data, agentVersions: atLeast(OLDEST_AGENT_VERSION, agentVersions) }
  return { mode: 'invitation', ...data, e2e: checkProposed(parseE2eRatchetParams(query.require('e2e'))) }
}

const atLeast = (version: number, { min, max }: VersionRange): VersionRange => {
  const newMin = Math.max(version, min)
  return { min: newMin, max: Math.max(newMin, max) }
}

/** Binary form, as the data of short links has it. */
export const encodeConnectionRequest = (request: ConnectionRequest): Bytes =>
  concat(
    ascii(request.mode === 'invitation' ? 'I' : 'C'),
    encodeVersionRange(request.agentVersions),
    list(request.queues, encodeQueueUri),
    maybe(request.clientData, text => large(utf8(text), 'clientData')),
    ...(request.mode === 'invitation' ? [encodeE2eRatchetParams(request.e2e)] : []),
  )

/** Reads the binary form. */
export const readConnectionRequest = (reader: Reader): ConnectionRequest => {
  const mode = readConnectionMode(reader)
  const agentVersions = readVersionRange(reader, 'agentVersions')
  const queues = reader.nonEmptyList(readQueueUri, 'queues').map(withMode)
  const clientData = reader.maybe(() => asBuffer(reader.large('clientData')).toString('utf8'), 'clientData')
  const data = { agentVersions, queues, ...(clientData === undefined ? {} : { clientData }) }
  return mode === 'contact' ? { mode, ...data } : { mode, ...data, e2e: checkProposed(readE2eRatchetParams(reader)) }
}

/** `I` or `C`. */
export const readConnectionMode = (reader: Reader): ConnectionMode => {
  const tag = String.fromCharCode(reader.byte('mode'))
  if (tag === 'I') return 'invitation'
  return tag === 'C' ? 'contact' : reader.fail('mode', 'must be I or C')
}

/** Binary links came with queue modes, so a queue without one is of the kind that older versions cannot write: a contact's. */
const withMode = (queue: QueueUri): QueueUri =>
  queue.address.mode === undefined ? { ...queue, address: { ...queue.address, mode: 'contact' } } : queue

const checkProposed = (e2e: E2eRatchetParams): E2eRatchetParams => {
  if (e2e.kem?.kind === 'accepted') throw invalid('e2e', 'an invitation cannot accept a KEM key')
  return e2e
}

const invalid = (field: string, message: string): DecodeError =>
  new DecodeError('DECODE_INVALID', message, { field, hint: 'check that the whole link was copied' })
