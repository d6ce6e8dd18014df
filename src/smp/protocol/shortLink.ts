/**
 * Short links: where the data of a link is stored and the key that opens it. What the data says is in `shortLinkData.ts`, how it is
 * signed and encrypted in `shortLinkKeys.ts`.
 */
import {
  ascii,
  type Bytes,
  concat,
  fromBase64url,
  type Reader,
  short,
  toBase64urlUnpadded,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import { type ConnectionRequest, parseConnectionRequest, readConnectionMode } from './connectionRequest.js'
import { formatQuery, Query, type QueryParameters } from './query.js'
import { encodeRouterAddress, parseHost, parseHosts, type RouterAddress, readRouterAddress } from './routerAddress.js'

export type ShortLink = ShortInvitation | ShortContact

export interface ShortInvitation extends ShortLinkData {
  readonly mode: 'invitation'
  readonly linkId: Bytes
}

export interface ShortContact extends ShortLinkData {
  readonly mode: 'contact'
  readonly contactType: ContactType
}

export type ContactType = 'contact' | 'channel' | 'group' | 'relay'

interface ShortLinkData {
  /** `simplex:` names every host in a parameter; `https` has the first host as its web address. */
  readonly scheme: 'simplex' | 'https'
  /** A known router may be written as its first host alone: then port and fingerprint are empty. */
  readonly router: RouterAddress
  /** SHA3-256 of the link's fixed data. */
  readonly linkKey: Bytes
}

const TYPE_LETTERS: Readonly<Record<ContactType, string>> = { contact: 'a', channel: 'c', group: 'g', relay: 'r' }

const contactTypeOf = (letter: string): ContactType | undefined =>
  (Object.keys(TYPE_LETTERS) as ContactType[]).find(type => TYPE_LETTERS[type] === letter)

/** The link as text, such as `https://smp.example.com/a#key?c=fingerprint`. */
export const formatShortLink = (link: ShortLink): string => {
  const { keyHash, hosts, port } = link.router
  const [authority, otherHosts] =
    link.scheme === 'simplex' ? ['simplex:', hosts] : [`https://${hosts[0] ?? ''}`, hosts.slice(1)]
  const [letter, linkId] =
    link.mode === 'invitation' ? ['i', `${toBase64urlUnpadded(link.linkId)}/`] : [TYPE_LETTERS[link.contactType], '']
  const parameters: QueryParameters = [
    ...(otherHosts.length === 0 ? [] : ([['h', otherHosts.join(',')]] as const)),
    ...(port === '' ? [] : ([['p', port]] as const)),
    ...(keyHash.length === 0 ? [] : ([['c', toBase64urlUnpadded(keyHash)]] as const)),
  ]
  const query = parameters.length === 0 ? '' : `?${formatQuery(parameters)}`
  return `${authority}/${letter}#${linkId}${toBase64urlUnpadded(link.linkKey)}${query}`
}

/** Web address or `simplex:`, letter, an id that only invitations have, key, query. */
const SHORT_LINK = /^(simplex:|https:\/\/([^/]*))\/(.)\/?#(?:([A-Za-z0-9_-]+=*)\/)?([A-Za-z0-9_-]+=*)(?:\?(.*))?$/s

/**
 * Reads a short link.
 * @throws DecodeError
 */
export const parseShortLink = (text: string): ShortLink => {
  const [, authority, hostText, letter, linkIdText, keyText, queryText] = SHORT_LINK.exec(text) ?? []
  if (authority === undefined || letter === undefined || keyText === undefined) {
    throw invalid('link', 'this is no short link')
  }
  const scheme = authority === 'simplex:' ? 'simplex' : 'https'
  const linkKey = bytes(keyText, 'linkKey')
  const router = routerOf(hostText === undefined ? [] : [parseHost(hostText)], new Query(queryText ?? ''))
  if (letter === 'i') {
    if (linkIdText === undefined) throw invalid('linkId', 'an invitation link has an id before its key')
    return { mode: 'invitation', scheme, router, linkKey, linkId: bytes(linkIdText, 'linkId') }
  }
  const contactType = contactTypeOf(letter.toLowerCase())
  if (contactType === undefined || linkIdText !== undefined) throw invalid('link', 'unknown kind of short link')
  return { mode: 'contact', contactType, scheme, router, linkKey }
}

const routerOf = (hosts: string[], query: Query): RouterAddress => {
  const [port, fingerprint] = [query.get('p'), query.get('c')]
  const allHosts = [...hosts, ...parseHosts(query.get('h') ?? '')]
  if (allHosts.length === 0) throw invalid('h', 'the short link names no router')
  if (allHosts.length > 255) throw invalid('h', 'a short link names at most 255 hosts')
  return {
    hosts: allHosts,
    port: port === undefined ? '' : parsePort(port),
    keyHash: fingerprint === undefined ? Buffer.alloc(0) : bytes(fingerprint, 'c'),
  }
}

/** As its 16 low bits: links with larger numbers exist and this is how they are understood. */
const parsePort = (text: string): string => {
  const port = /^\d{1,9}$/.test(text) ? Number(text) & 0xffff : 0
  if (port === 0) throw invalid('p', 'a port is a number from 1 to 65535')
  return String(port)
}

/** A value that stands behind one byte of length in the binary form. */
const bytes = (text: string, field: string): Bytes => {
  const value = fromBase64url(text, field)
  if (value.length === 0 || value.length > 255) throw invalid(field, `${field} has an impossible size`)
  return value
}

/** Binary form; it has no scheme. */
export const encodeShortLink = (link: ShortLink): Bytes =>
  link.mode === 'invitation'
    ? concat(ascii('I'), encodeRouterAddress(link.router), short(link.linkId, 'linkId'), short(link.linkKey, 'linkKey'))
    : concat(
        ascii('C'),
        ascii(TYPE_LETTERS[link.contactType].toUpperCase()),
        encodeRouterAddress(link.router),
        short(link.linkKey, 'linkKey'),
      )

/** Reads the binary form. */
export const readShortLink = (reader: Reader): ShortLink => {
  if (readConnectionMode(reader) === 'invitation') {
    const router = readRouterAddress(reader)
    const linkId = reader.short('linkId')
    return { mode: 'invitation', scheme: 'https', router, linkId, linkKey: reader.short('linkKey') }
  }
  const letter = String.fromCharCode(reader.byte('contactType'))
  const contactType = letter === letter.toUpperCase() ? contactTypeOf(letter.toLowerCase()) : undefined
  if (contactType === undefined) return reader.fail('contactType', 'must be A, C, G or R')
  const router = readRouterAddress(reader)
  return { mode: 'contact', contactType, scheme: 'https', router, linkKey: reader.short('linkKey') }
}

/** A link of either kind, as people paste it. */
export type ConnectionLink =
  | { readonly kind: 'long'; readonly request: ConnectionRequest }
  | { readonly kind: 'short'; readonly link: ShortLink }

/**
 * Reads a link of either kind; white space around it does not count.
 * @throws DecodeError
 */
export const parseConnectionLink = (text: string): ConnectionLink => {
  const trimmed = text.trim()
  return /^[^#]*\/(?:invitation|contact)\/?#/.test(trimmed)
    ? { kind: 'long', request: parseConnectionRequest(trimmed) }
    : { kind: 'short', link: parseShortLink(trimmed) }
}

const invalid = (field: string, message: string): DecodeError =>
  new DecodeError('DECODE_INVALID', message, { field, hint: 'check that the whole link was copied' })
