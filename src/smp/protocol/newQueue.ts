/** The parameters of NEW, which had four encodings so far (P:1681, 1826). */
import type { PublicKey } from '../../crypto/keys.js'
import { ascii, type Bytes, bool, concat, maybe, type Reader, short } from '../../encoding/index.js'
import {
  encodeAuthKey,
  encodeDhKey,
  encodeLinkData,
  type LinkData,
  readAuthKey,
  readDhKey,
  readLinkData,
} from './fields.js'
import { encodeBasicAuth, readBasicAuth } from './routerAddress.js'
import { VERSION_NOTIFIER_CREDENTIALS, VERSION_SENDER_SECURE, VERSION_SHORT_LINKS } from './versions.js'

export interface NewQueue {
  readonly type: 'NEW'
  /** Authorizes the recipient's commands. */
  readonly authKey: PublicKey
  /** Raw X25519: the router encrypts bodies to the recipient with it. */
  readonly dhKey: Bytes
  /** The router's password. */
  readonly basicAuth?: string | undefined
  /** Whether creating also subscribes. */
  readonly subscribe: boolean
  /** None: a queue that its sender cannot secure and that has no link. */
  readonly request?: QueueRequest | undefined
  /** Only from version 17. */
  readonly notifier?: NotifierRequest | undefined
}

/** What the queue is for, and the data of its short link. */
export type QueueRequest =
  | { readonly mode: 'messaging'; readonly link?: MessagingLink | undefined }
  | { readonly mode: 'contact'; readonly link?: ContactLink | undefined }

export interface MessagingLink {
  /** The first 24 bytes of SHA3-384 of the transmission's corrId: the router checks it. */
  readonly senderId: Bytes
  readonly data: LinkData
}

export interface ContactLink extends MessagingLink {
  readonly linkId: Bytes
}

export interface NotifierRequest {
  readonly authKey: PublicKey
  /** Raw X25519. */
  readonly dhKey: Bytes
}

/** What stands behind `NEW `. */
export const encodeNewQueue = (version: number, queue: NewQueue): Bytes => {
  const keys = concat(encodeAuthKey(queue.authKey), encodeDhKey(queue.dhKey))
  const subscription = ascii(queue.subscribe ? 'S' : 'C')
  if (version < VERSION_SENDER_SECURE) {
    const auth = queue.basicAuth === undefined ? [] : [ascii('A'), encodeBasicAuth(queue.basicAuth)]
    return concat(keys, ...auth, subscription)
  }
  const start = concat(keys, maybe(queue.basicAuth, encodeBasicAuth), subscription)
  if (version < VERSION_SHORT_LINKS) return concat(start, bool(queue.request?.mode === 'messaging'))
  const request = maybe(queue.request, encodeQueueRequest)
  if (version < VERSION_NOTIFIER_CREDENTIALS) return concat(start, request)
  return concat(start, request, maybe(queue.notifier, encodeNotifierRequest))
}

/** Reads what stands behind `NEW `. */
export const readNewQueue = (reader: Reader, version: number): NewQueue => {
  const authKey = readAuthKey(reader, 'authKey')
  const dhKey = readDhKey(reader, 'dhKey')
  const basicAuth = version < VERSION_SENDER_SECURE ? readOldBasicAuth(reader) : reader.maybe(readBasicAuth)
  const subscribe = readSubscribe(reader)
  const request = readRequest(reader, version)
  const notifier = version < VERSION_NOTIFIER_CREDENTIALS ? undefined : reader.maybe(readNotifierRequest)
  return {
    type: 'NEW',
    authKey,
    dhKey,
    subscribe,
    ...(basicAuth === undefined ? {} : { basicAuth }),
    ...(request === undefined ? {} : { request }),
    ...(notifier === undefined ? {} : { notifier }),
  }
}

const readOldBasicAuth = (reader: Reader): string | undefined => {
  if (reader.peek() !== ascii('A')[0]) return undefined
  reader.byte('basicAuth')
  return readBasicAuth(reader)
}

const readSubscribe = (reader: Reader): boolean => {
  const tag = reader.byte('subscribe')
  if (tag === ascii('S')[0]) return true
  return tag === ascii('C')[0] ? false : reader.fail('subscribe', 'must be S or C')
}

const readRequest = (reader: Reader, version: number): QueueRequest | undefined => {
  if (version < VERSION_SENDER_SECURE) return undefined
  if (version >= VERSION_SHORT_LINKS) return reader.maybe(readQueueRequest)
  return { mode: reader.bool('senderCanSecure') ? 'messaging' : 'contact' }
}

const encodeQueueRequest = (request: QueueRequest): Bytes =>
  request.mode === 'messaging'
    ? concat(ascii('M'), maybe(request.link, encodeMessagingLink))
    : concat(
        ascii('C'),
        maybe(request.link, link => concat(short(link.linkId), encodeMessagingLink(link))),
      )

const encodeMessagingLink = ({ senderId, data }: MessagingLink): Bytes => concat(short(senderId), encodeLinkData(data))

const readQueueRequest = (reader: Reader): QueueRequest => {
  const tag = reader.byte('mode')
  if (tag === ascii('M')[0]) {
    const link = reader.maybe(readMessagingLink)
    return link === undefined ? { mode: 'messaging' } : { mode: 'messaging', link }
  }
  if (tag !== ascii('C')[0]) return reader.fail('mode', 'must be M or C')
  const link = reader.maybe(() => ({ linkId: reader.short('linkId'), ...readMessagingLink(reader) }))
  return link === undefined ? { mode: 'contact' } : { mode: 'contact', link }
}

const readMessagingLink = (reader: Reader): MessagingLink => ({
  senderId: reader.short('senderId'),
  data: readLinkData(reader),
})

const encodeNotifierRequest = ({ authKey, dhKey }: NotifierRequest): Bytes =>
  concat(encodeAuthKey(authKey), encodeDhKey(dhKey))

const readNotifierRequest = (reader: Reader): NotifierRequest => ({
  authKey: readAuthKey(reader, 'notifier.authKey'),
  dhKey: readDhKey(reader, 'notifier.dhKey'),
})
