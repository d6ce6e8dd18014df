/** What SMP routers send: answers to commands, messages and events (P: "SMP broker messages"). */
import {
  ascii,
  asBuffer,
  type Bytes,
  bool,
  concat,
  encodeVersionRange,
  large,
  list,
  maybe,
  type Parts,
  Reader,
  readVersionRange,
  short,
  type VersionRange,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import {
  encodeDhKey,
  encodeLinkData,
  encodeNumber,
  encodeQueueMode,
  type LinkData,
  type QueueMode,
  readDhKey,
  readLinkData,
  readNumber,
  readQueueMode,
} from './fields.js'
import { decodeQueueStatus, encodeQueueStatus, type QueueStatus } from './queueStatus.js'
import { decodeSmpError, encodeSmpError, type SmpError } from './routerErrors.js'
import {
  VERSION_DELETED_EVENT,
  VERSION_NOTIFIER_CREDENTIALS,
  VERSION_SENDER_SECURE,
  VERSION_SERVICE_CERTS,
  VERSION_SHORT_LINKS,
} from './versions.js'

export type Response =
  /** A queue was created. */
  | QueueIds
  /** The data of a short link and the queue that it leads to. */
  | { readonly type: 'LNK'; readonly senderId: Bytes; readonly data: LinkData }
  /** Subscribed, and associated with the service if there is one. */
  | { readonly type: 'SOK'; readonly serviceId?: Bytes | undefined }
  /** How many queues SUBS subscribed, or how many a service lost (ENDS). */
  | { readonly type: 'SOKS' | 'ENDS'; readonly count: number }
  /** A message. The body is encrypted by the router for the recipient, with the message id as nonce. */
  | { readonly type: 'MSG'; readonly messageId: Bytes; readonly body: Bytes }
  /** The notifier's id and the router's raw X25519 key for it. */
  | { readonly type: 'NID'; readonly notifierId: Bytes; readonly dhKey: Bytes }
  /** There is a message in a queue that the notifier watches. */
  | { readonly type: 'NMSG'; readonly nonce: Bytes; readonly metadata: Bytes }
  /** The proxy's session with the destination router, and that router's signed key: the client checks it itself. */
  | {
      readonly type: 'PKEY'
      readonly sessionId: Bytes
      readonly versionRange: VersionRange
      readonly routerKey: SignedRouterKey
    }
  /** The destination router to the proxy. */
  | { readonly type: 'RRES'; readonly response: Bytes }
  /** The proxy to its client. */
  | { readonly type: 'PRES'; readonly response: Bytes }
  /** `END`: another session took the subscription over. `DELD`: the queue was deleted. */
  | { readonly type: 'END' | 'DELD' | 'OK' | 'PONG' }
  /** The answer to QUE. */
  | { readonly type: 'INFO'; readonly status: QueueStatus }
  | { readonly type: 'ERR'; readonly error: SmpError }

export interface QueueIds {
  readonly type: 'IDS'
  readonly recipientId: Bytes
  readonly senderId: Bytes
  /** The router's raw X25519 key: with the recipient's it makes the secret for bodies. */
  readonly dhKey: Bytes
  readonly mode?: QueueMode | undefined
  readonly linkId?: Bytes | undefined
  readonly serviceId?: Bytes | undefined
  readonly notifier?: { readonly notifierId: Bytes; readonly dhKey: Bytes } | undefined
}

/** A router's certificate chain (DER, leaf first) and its X25519 key signed by the leaf (DER of the signed object). */
export interface SignedRouterKey {
  readonly certificates: readonly Bytes[]
  readonly signedKey: Bytes
}

export const encodeSignedRouterKey = ({ certificates, signedKey }: SignedRouterKey): Bytes =>
  concat(
    list(certificates, certificate => large(certificate, 'certificate'), 'certificates'),
    large(signedKey, 'signedKey'),
  )

/** Reads a chain and a signed key. The DER is not looked at: whoever verifies the chain does that. */
export const readSignedRouterKey = (reader: Reader): SignedRouterKey => ({
  certificates: reader.nonEmptyList(() => reader.large('certificate'), 'certificates'),
  signedKey: reader.large('signedKey'),
})

/** The bytes of a response for a peer of this protocol version: older peers get the older word (OK for SOK, END for DELD). */
export const encodeResponse = (version: number, response: Response): Bytes => {
  switch (response.type) {
    case 'IDS':
      return encodeQueueIds(version, response)
    case 'LNK':
      return concat(ascii('LNK '), short(response.senderId), encodeLinkData(response.data))
    case 'SOK':
      return version < VERSION_SERVICE_CERTS ? ascii('OK') : concat(ascii('SOK '), maybe(response.serviceId, short))
    case 'SOKS':
    case 'ENDS':
      return concat(ascii(`${response.type} `), encodeNumber(response.count))
    case 'MSG':
      return concat(...messageParts(response))
    case 'NID':
      return concat(ascii('NID '), short(response.notifierId), encodeDhKey(response.dhKey))
    case 'NMSG':
      return concat(ascii('NMSG '), response.nonce, short(response.metadata))
    case 'PKEY': {
      const { sessionId, versionRange, routerKey } = response
      return concat(
        ascii('PKEY '),
        short(sessionId),
        encodeVersionRange(versionRange),
        encodeSignedRouterKey(routerKey),
      )
    }
    case 'RRES':
    case 'PRES':
      return concat(ascii(`${response.type} `), response.response)
    case 'DELD':
      return ascii(version < VERSION_DELETED_EVENT ? 'END' : 'DELD')
    case 'INFO':
      return concat(ascii('INFO '), encodeQueueStatus(response.status))
    case 'ERR':
      return concat(ascii('ERR '), encodeSmpError(version, response.error))
    default:
      return ascii(response.type)
  }
}

/** As `encodeResponse`, as parts: the body of a MSG is not copied. */
export const responseParts = (version: number, response: Response): Parts =>
  response.type === 'MSG' ? messageParts(response) : [encodeResponse(version, response)]

const messageParts = ({ messageId, body }: Extract<Response, { readonly type: 'MSG' }>): Parts => [
  ascii('MSG '),
  short(messageId),
  body,
]

const encodeQueueIds = (version: number, ids: QueueIds): Bytes => {
  const parts = [ascii('IDS '), short(ids.recipientId), short(ids.senderId), encodeDhKey(ids.dhKey)]
  if (version >= VERSION_SHORT_LINKS) parts.push(maybe(ids.mode, encodeQueueMode), maybe(ids.linkId, short))
  else if (version >= VERSION_SENDER_SECURE) parts.push(bool(ids.mode === 'messaging'))
  if (version >= VERSION_SERVICE_CERTS) parts.push(maybe(ids.serviceId, short))
  if (version >= VERSION_NOTIFIER_CREDENTIALS) {
    parts.push(maybe(ids.notifier, ({ notifierId, dhKey }) => concat(short(notifierId), encodeDhKey(dhKey))))
  }
  return concat(...parts)
}

/**
 * Reads what a router of this protocol version sends.
 * @throws DecodeError `DECODE_UNKNOWN` if the first word is no response, another `DECODE_…` if the rest is malformed
 */
export const decodeResponse = (version: number, bytes: Bytes): Response => {
  const space = bytes.indexOf(SPACE)
  const word = asBuffer(space === -1 ? bytes : bytes.subarray(0, space)).toString('latin1')
  const read = READERS.get(word)
  if (read === undefined) throw new DecodeError('DECODE_UNKNOWN', 'unknown response', { field: 'response' })
  const reader = new Reader(bytes.subarray(word.length), word)
  const response = read(reader, version)
  reader.end()
  return response
}

const SPACE = 0x20

type ReadResponse = (reader: Reader, version: number) => Response

/** A reader of parameters, which stand behind a space. */
const withParameters =
  (read: ReadResponse): ReadResponse =>
  (reader, version) => {
    reader.space('parameters')
    return read(reader, version)
  }

const readQueueIds: ReadResponse = (reader, version) => {
  const recipientId = reader.short('recipientId')
  const senderId = reader.short('senderId')
  const dhKey = readDhKey(reader, 'dhKey')
  const mode = readMode(reader, version)
  const linkId = version < VERSION_SHORT_LINKS ? undefined : reader.maybe(() => reader.short('linkId'))
  const serviceId = version < VERSION_SERVICE_CERTS ? undefined : readServiceId(reader)
  const notifier = version < VERSION_NOTIFIER_CREDENTIALS ? undefined : reader.maybe(readNotifier)
  return {
    type: 'IDS',
    recipientId,
    senderId,
    dhKey,
    ...(mode === undefined ? {} : { mode }),
    ...(linkId === undefined ? {} : { linkId }),
    ...(serviceId === undefined ? {} : { serviceId }),
    ...(notifier === undefined ? {} : { notifier }),
  }
}

const readMode = (reader: Reader, version: number): QueueMode | undefined => {
  if (version >= VERSION_SHORT_LINKS) return reader.maybe(readQueueMode)
  if (version < VERSION_SENDER_SECURE) return undefined
  return reader.bool('senderCanSecure') ? 'messaging' : 'contact'
}

const readServiceId = (reader: Reader): Bytes | undefined => reader.maybe(() => reader.short('serviceId'))

const readNotifier = (reader: Reader) => ({
  notifierId: reader.short('notifierId'),
  dhKey: readDhKey(reader, 'notifier.dhKey'),
})

const READERS: ReadonlyMap<string, ReadResponse> = new Map<string, ReadResponse>([
  ...(['END', 'DELD', 'OK', 'PONG'] as const).map((type): [string, ReadResponse] => [type, () => ({ type })]),
  ...(['SOKS', 'ENDS'] as const).map((type): [string, ReadResponse] => [
    type,
    withParameters(reader => ({ type, count: readNumber(reader, 'count') })),
  ]),
  ...(['RRES', 'PRES'] as const).map((type): [string, ReadResponse] => [
    type,
    withParameters(reader => ({ type, response: reader.rest() })),
  ]),
  ['IDS', withParameters(readQueueIds)],
  ['LNK', withParameters(reader => ({ type: 'LNK', senderId: reader.short('senderId'), data: readLinkData(reader) }))],
  [
    'SOK',
    withParameters(reader => {
      const serviceId = readServiceId(reader)
      return serviceId === undefined ? { type: 'SOK' } : { type: 'SOK', serviceId }
    }),
  ],
  ['MSG', withParameters(reader => ({ type: 'MSG', messageId: reader.short('messageId'), body: reader.rest() }))],
  ['NID', withParameters(reader => ({ type: 'NID', ...readNotifier(reader) }))],
  [
    'NMSG',
    withParameters(reader => ({ type: 'NMSG', nonce: reader.take(24, 'nonce'), metadata: reader.short('metadata') })),
  ],
  [
    'PKEY',
    withParameters(reader => ({
      type: 'PKEY',
      sessionId: reader.short('sessionId'),
      versionRange: readVersionRange(reader),
      routerKey: readSignedRouterKey(reader),
    })),
  ],
  ['INFO', withParameters(reader => ({ type: 'INFO', status: decodeQueueStatus(reader.rest()) }))],
  ['ERR', withParameters(reader => ({ type: 'ERR', error: decodeSmpError(reader.rest()) }))],
])
