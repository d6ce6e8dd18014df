/** Addresses of queues: in messages (one client version), in links (a range of versions), as bytes and as text. */
import { decodePublicKey, encodePublicKey } from '../../crypto/keys.js'
import {
  type Bytes,
  bool,
  concat,
  encodeVersionRange,
  formatVersionRange,
  fromBase64url,
  parseVersionRange,
  type Reader,
  readVersionRange,
  short,
  toBase64url,
  type VersionRange,
  word16,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import { encodeDhKey, encodeQueueMode, type QueueMode, readDhKey, readQueueMode } from './fields.js'
import { formatQuery, Query, type QueryParameters } from './query.js'
import {
  encodeLegacyRouterAddress,
  encodeRouterAddress,
  formatLegacyRouterAddress,
  formatRouterAddress,
  parseHosts,
  parseRouterAddress,
  type RouterAddress,
  readLegacyRouterAddress,
  readRouterAddress,
  sameRouterPlace,
} from './routerAddress.js'
import { CLIENT_VERSION_HOSTS, CLIENT_VERSION_QUEUE_MODE, CLIENT_VERSION_SENDER_SECURE } from './versions.js'

/** Where a sender finds a queue, and the key that starts the encryption of its messages. */
export interface QueueAddress {
  readonly router: RouterAddress
  readonly senderId: Bytes
  /** The recipient's raw X25519 key for the queue. */
  readonly dhKey: Bytes
  /** None where the peer did not say: then the sender must not secure the queue itself. */
  readonly mode?: QueueMode | undefined
}

/** A queue in a message: both sides agreed on a client version already. */
export interface QueueInfo {
  readonly clientVersion: number
  readonly address: QueueAddress
}

/** A queue in a link: whoever reads it picks the client version. */
export interface QueueUri {
  readonly clientVersions: VersionRange
  readonly address: QueueAddress
}

/** A queue as its sender names it, in rotation messages. */
export interface SenderQueue {
  readonly router: RouterAddress
  readonly senderId: Bytes
}

/** Whether both name the same queue: same place and sender id. The router's fingerprint is not compared. */
export const sameQueue = (a: SenderQueue, b: SenderQueue): boolean =>
  Buffer.compare(a.senderId, b.senderId) === 0 && sameRouterPlace(a.router, b.router)

/** Whether the sender may secure the queue with its own key (SKEY), which makes the fast handshake possible. */
export const senderCanSecure = (address: QueueAddress): boolean => address.mode === 'messaging'

/** The queue of a link at the client version that its reader picked. */
export const queueInfoAt = ({ address }: QueueUri, clientVersion: number): QueueInfo => ({ clientVersion, address })

export const encodeSenderQueue = ({ router, senderId }: SenderQueue): Bytes =>
  concat(encodeRouterAddress(router), short(senderId, 'senderId'))

export const readSenderQueue = (reader: Reader): SenderQueue => ({
  router: readRouterAddress(reader),
  senderId: reader.short('senderId'),
})

/** A queue in a message. Versions below 4 can say of its mode only that the sender can secure it, below 3 nothing. */
export const encodeQueueInfo = ({ clientVersion, address }: QueueInfo): Bytes => {
  const router =
    clientVersion < CLIENT_VERSION_HOSTS
      ? encodeLegacyRouterAddress(address.router)
      : encodeRouterAddress(address.router)
  const queue = concat(word16(clientVersion), router, short(address.senderId, 'senderId'), encodeDhKey(address.dhKey))
  if (clientVersion >= CLIENT_VERSION_QUEUE_MODE) return concat(queue, encodeMode(address))
  const secure = clientVersion >= CLIENT_VERSION_SENDER_SECURE && senderCanSecure(address)
  return secure ? concat(queue, bool(true)) : queue
}

/** Reads a queue in a message; what follows it stays unread. */
export const readQueueInfo = (reader: Reader): QueueInfo => {
  const clientVersion = reader.word16('clientVersion')
  const router =
    clientVersion < CLIENT_VERSION_HOSTS ? withKnownHosts(readLegacyRouterAddress(reader)) : readRouterAddress(reader)
  return { clientVersion, address: readAddress(reader, router, clientVersion) }
}

/** A queue in a binary link. */
export const encodeQueueUri = ({ clientVersions, address }: QueueUri): Bytes => {
  const queue = concat(encodeVersionRange(clientVersions), encodeSenderQueue(address), encodeDhKey(address.dhKey))
  const { min, max } = clientVersions
  if (min >= CLIENT_VERSION_QUEUE_MODE) return concat(queue, encodeMode(address))
  // The oldest version that may read this decides: versions below 3 cannot skip the field, so `false` is left out for them.
  const secure = senderCanSecure(address)
  const present = min >= CLIENT_VERSION_SENDER_SECURE || (max >= CLIENT_VERSION_SENDER_SECURE && secure)
  return present ? concat(queue, bool(secure)) : queue
}

/** Reads a queue in a binary link; what follows it stays unread. */
export const readQueueUri = (reader: Reader): QueueUri => {
  const clientVersions = readVersionRange(reader, 'clientVersions')
  const router = readRouterAddress(reader)
  return { clientVersions, address: readAddress(reader, router, clientVersions.max) }
}

const encodeMode = ({ mode }: QueueAddress): Bytes => (mode === undefined ? NOTHING : encodeQueueMode(mode))
const NOTHING = Buffer.alloc(0)

const readAddress = (reader: Reader, router: RouterAddress, version: number): QueueAddress => {
  const senderId = reader.short('senderId')
  const dhKey = readDhKey(reader, 'dhKey')
  const mode = readOptionalMode(reader, version)
  return { router, senderId, dhKey, ...(mode === undefined ? {} : { mode }) }
}

/** The mode stands at the end with no mark of its presence: only its own letters are taken. */
const readOptionalMode = (reader: Reader, version: number): QueueMode | undefined => {
  const next = String.fromCharCode(reader.peek() ?? 0)
  if (version >= CLIENT_VERSION_QUEUE_MODE && (next === 'M' || next === 'C')) return readQueueMode(reader)
  if (version < CLIENT_VERSION_SENDER_SECURE || (next !== 'T' && next !== 'F')) return undefined
  return reader.bool('senderCanSecure') ? 'messaging' : 'contact'
}

/** A queue in the text of a link: `smp://fp@hosts/senderId#/?v=1-4&dh=…&q=m`. */
export const formatQueueUri = ({ clientVersions, address }: QueueUri): string => {
  const legacy = clientVersions.min < CLIENT_VERSION_HOSTS
  const router = legacy ? formatLegacyRouterAddress(address.router) : formatRouterAddress(address.router)
  const extraHosts = legacy ? address.router.hosts.slice(1) : []
  const parameters: QueryParameters = [
    ['v', formatVersionRange(clientVersions)],
    ['dh', toBase64url(encodePublicKey('x25519', address.dhKey))],
    ...modeParameters(address, clientVersions),
    ...(extraHosts.length === 0 ? [] : ([['srv', extraHosts.join(',')]] as const)),
  ]
  return `${router}/${toBase64url(address.senderId)}#/?${formatQuery(parameters)}`
}

const modeParameters = (address: QueueAddress, clientVersions: VersionRange): [string, string][] => {
  if (address.mode === undefined) return []
  if (address.mode === 'contact') return [['q', 'c']]
  return clientVersions.min < CLIENT_VERSION_QUEUE_MODE
    ? [
        ['q', 'm'],
        ['k', 's'],
      ]
    : [['q', 'm']]
}

/**
 * Reads a queue in the text of a link, the old form `smp://fp@host/senderId#dhKey` included.
 * @throws DecodeError
 */
export const parseQueueUri = (text: string): QueueUri => {
  const match = /^(smp:\/\/[^/]*)\/([A-Za-z0-9_-]+=*)\/?#(?:([A-Za-z0-9_-]+=*))?(?:\/?\?(.*))?$/s.exec(text)
  const [, routerText, senderIdText, fragmentKey, queryText] = match ?? []
  if (routerText === undefined || senderIdText === undefined) {
    throw invalid('queue', 'a queue is written smp://fingerprint@host/senderId#/?v=…&dh=…')
  }
  const router = parseRouterAddress(routerText)
  const senderId = checkId(fromBase64url(senderIdText, 'senderId'))
  if (queryText === undefined) {
    if (fragmentKey === undefined) throw invalid('dh', 'the queue has no key')
    const address = { router: withKnownHosts(router), senderId, dhKey: parseDhKey(fragmentKey) }
    return { clientVersions: { min: 1, max: 1 }, address }
  }
  return parseQueueQuery(router, senderId, fragmentKey, new Query(queryText))
}

const parseQueueQuery = (
  router: RouterAddress,
  senderId: Bytes,
  fragmentKey: string | undefined,
  query: Query,
): QueueUri => {
  const clientVersions = parseVersionRange(query.require('v'), 'clientVersions')
  const dhKey = parseDhKey(fragmentKey ?? query.require('dh'))
  const extraHosts = query.get('srv')
  const allHosts =
    extraHosts === undefined ? router : { ...router, hosts: [...router.hosts, ...parseHosts(extraHosts)] }
  const mode = parseMode(query)
  const address = {
    router: clientVersions.max < CLIENT_VERSION_HOSTS ? withKnownHosts(allHosts) : allHosts,
    senderId,
    dhKey,
    ...(mode === undefined ? {} : { mode }),
  }
  return { clientVersions, address }
}

const parseMode = (query: Query): QueueMode | undefined => {
  const mode = query.get('q')
  if (mode === 'm') return 'messaging'
  if (mode === 'c') return 'contact'
  return query.get('k') === 's' ? 'messaging' : undefined
}

const parseDhKey = (text: string): Bytes => decodePublicKey(fromBase64url(text, 'dh'), ['x25519'], 'dh').raw

// Ids stand behind one byte of length in every binary form.
const checkId = (id: Bytes): Bytes => {
  if (id.length > 255) throw invalid('senderId', 'a sender id is at most 255 bytes long')
  return id
}

/** Onion hosts of routers that older clients knew only by name: addresses of version 1 name one host. */
const KNOWN_HOSTS: ReadonlyMap<string, string> = new Map([
  ['smp4.simplex.im', 'o5vmywmrnaxalvz6wi3zicyftgio6psuvyniis6gco6bp6ekl4cqj4id.onion'],
  ['smp5.simplex.im', 'jjbyvoemxysm7qxap7m5d5m35jzv5qq6gnlv7s4rsn7tdwwmuqciwpid.onion'],
  ['smp6.simplex.im', 'bylepyau3ty4czmn77q4fglvperknl4bi2eb2fdy2bh4jxtf32kf73yd.onion'],
  ['smp8.simplex.im', 'beccx4yfxxbvyhqypaavemqurytl6hozr47wfc7uuecacjqdvwpw2xid.onion'],
  ['smp9.simplex.im', 'jssqzccmrcws6bhmn77vgmhfjmhwlyr3u7puw4erkyoosywgl67slqqd.onion'],
  ['smp10.simplex.im', 'rb2pbttocvnbrngnwziclp2f4ckjq65kebafws6g4hy22cdaiv5dwjqd.onion'],
])

const withKnownHosts = (router: RouterAddress): RouterAddress => {
  const [host, ...others] = router.hosts
  const onion = host === undefined || others.length > 0 ? undefined : KNOWN_HOSTS.get(host)
  return host === undefined || onion === undefined ? router : { ...router, hosts: [host, onion] }
}

const invalid = (field: string, message: string): DecodeError => new DecodeError('DECODE_INVALID', message, { field })
