/** What agents say to each other, inside of per-queue and double ratchet encryption (AP:841-1117). */
import {
  ascii,
  type Bytes,
  bool,
  concat,
  decodeAll,
  large,
  list,
  maybe,
  type Reader,
  short,
} from '../../encoding/index.js'
import type { PublicKey } from '../../crypto/keys.js'
import { encodeAuthKey, encodeNumber, readAuthKey, readNumber } from './fields.js'
import {
  encodeQueueInfo,
  encodeQueueUri,
  encodeSenderQueue,
  type QueueInfo,
  type QueueUri,
  readQueueInfo,
  readQueueUri,
  readSenderQueue,
  type SenderQueue,
} from './queueInfo.js'

/** What an envelope holds: in the clear for invitations and ratchet keys, else under the double ratchet. */
export type AgentMessage =
  /** The initiator's connection info, in its confirmation. */
  | { readonly type: 'connInfo'; readonly info: Bytes }
  /** The joiner's connection info with the queues that the initiator is to send to. */
  | { readonly type: 'connInfoReply'; readonly queues: readonly QueueInfo[]; readonly info: Bytes }
  /** Beside a new ratchet key. */
  | { readonly type: 'ratchetInfo'; readonly info: Bytes }
  | NumberedMessage

/** A message of an established connection. */
export interface NumberedMessage {
  readonly type: 'message'
  /** The sender's number, from 1 up without gaps. */
  readonly id: number
  /** SHA-256 of the sender's previous message; empty for the first. */
  readonly previousHash: Bytes
  readonly content: MessageContent
}

export type MessageContent =
  /** The queue is secured and works. */
  | { readonly type: 'HELLO' }
  /** A message of the application. */
  | { readonly type: 'A_MSG'; readonly body: Bytes }
  /** Delivery receipts. */
  | { readonly type: 'A_RCVD'; readonly receipts: readonly MessageReceipt[] }
  /** The queue has room again after QUOTA. */
  | { readonly type: 'A_QCONT'; readonly queue: SenderQueue }
  /** Rotation, from recipient to sender: use these queues, in place of those. */
  | { readonly type: 'QADD'; readonly queues: readonly AddedQueue[] }
  /** Rotation, from sender to recipient: keys to secure the added queues with. */
  | { readonly type: 'QKEY'; readonly queues: readonly QueueKey[] }
  /** Rotation: the queues are secured; the flag says that the queue is the primary one. */
  | { readonly type: 'QUSE'; readonly queues: readonly QueueUse[] }
  /** Rotation: the first message through a new queue. */
  | { readonly type: 'QTEST'; readonly queues: readonly SenderQueue[] }
  /** The ratchet works again; the last message of the peer that was decrypted. */
  | { readonly type: 'EREADY'; readonly lastDecryptedId: number }

export interface MessageReceipt {
  /** The number that the receipt's reader gave the message when sending it. */
  readonly messageId: number
  /** SHA-256 of the message as its recipient saw it. */
  readonly hash: Bytes
  readonly info: Bytes
}

export interface AddedQueue {
  readonly queue: QueueUri
  readonly replaced?: SenderQueue | undefined
}

export interface QueueKey {
  readonly queue: QueueInfo
  readonly key: PublicKey
}

export interface QueueUse {
  readonly queue: SenderQueue
  readonly primary: boolean
}

/** The bytes of an agent message: they are what the hash chain hashes and the ratchet encrypts. */
export const encodeAgentMessage = (message: AgentMessage): Bytes => {
  switch (message.type) {
    case 'connInfo':
      return concat(ascii('I'), message.info)
    case 'connInfoReply':
      return concat(ascii('D'), list(message.queues, encodeQueueInfo), message.info)
    case 'ratchetInfo':
      return concat(ascii('R'), message.info)
    case 'message':
      return concat(
        ascii('M'),
        encodeNumber(message.id),
        short(message.previousHash, 'previousHash'),
        encodeMessageContent(message.content),
      )
  }
}

/**
 * Reads an agent message.
 * @throws DecodeError
 */
export const decodeAgentMessage = (bytes: Bytes): AgentMessage => decodeAll(bytes, 'agentMessage', readAgentMessage)

const readAgentMessage = (reader: Reader): AgentMessage => {
  const tag = readLetter(reader)
  switch (tag) {
    case 'I':
      return { type: 'connInfo', info: reader.rest() }
    case 'D':
      return { type: 'connInfoReply', queues: reader.nonEmptyList(readQueueInfo, 'queues'), info: reader.rest() }
    case 'R':
      return { type: 'ratchetInfo', info: reader.rest() }
    case 'M':
      return {
        type: 'message',
        id: readNumber(reader, 'id'),
        previousHash: reader.short('previousHash'),
        content: readMessageContent(reader),
      }
    default:
      return reader.fail('type', 'is no agent message')
  }
}

/** The bytes of a message's content alone, the form in which it is kept until it is sent. */
export const encodeMessageContent = (content: MessageContent): Bytes => {
  const tag = ascii(CONTENT_TAGS[content.type])
  switch (content.type) {
    case 'HELLO':
      return tag
    case 'A_MSG':
      return concat(tag, content.body)
    case 'A_RCVD':
      return concat(tag, list(content.receipts, encodeReceipt, 'receipts'))
    case 'A_QCONT':
      return concat(tag, encodeSenderQueue(content.queue))
    case 'QADD':
      return concat(tag, list(content.queues, encodeAddedQueue, 'queues'))
    case 'QKEY':
      return concat(
        tag,
        list(content.queues, ({ queue, key }) => concat(encodeQueueInfo(queue), encodeAuthKey(key)), 'queues'),
      )
    case 'QUSE':
      return concat(
        tag,
        list(content.queues, ({ queue, primary }) => concat(encodeSenderQueue(queue), bool(primary)), 'queues'),
      )
    case 'QTEST':
      return concat(tag, list(content.queues, encodeSenderQueue, 'queues'))
    case 'EREADY':
      return concat(tag, encodeNumber(content.lastDecryptedId))
  }
}

/**
 * Reads what `encodeMessageContent` wrote.
 * @throws DecodeError
 */
export const decodeMessageContent = (bytes: Bytes): MessageContent =>
  decodeAll(bytes, 'messageContent', readMessageContent)

const CONTENT_TAGS = {
  HELLO: 'H',
  A_MSG: 'M',
  A_RCVD: 'V',
  A_QCONT: 'QC',
  QADD: 'QA',
  QKEY: 'QK',
  QUSE: 'QU',
  QTEST: 'QT',
  EREADY: 'E',
} as const

const readMessageContent = (reader: Reader): MessageContent => {
  const letter = readLetter(reader)
  const tag = letter === 'Q' ? letter + readLetter(reader) : letter
  switch (tag) {
    case CONTENT_TAGS.HELLO:
      return { type: 'HELLO' }
    case CONTENT_TAGS.A_MSG:
      return { type: 'A_MSG', body: reader.rest() }
    case CONTENT_TAGS.A_RCVD:
      return { type: 'A_RCVD', receipts: reader.nonEmptyList(readReceipt, 'receipts') }
    case CONTENT_TAGS.A_QCONT:
      return { type: 'A_QCONT', queue: readSenderQueue(reader) }
    case CONTENT_TAGS.QADD:
      return { type: 'QADD', queues: reader.nonEmptyList(readAddedQueue, 'queues') }
    case CONTENT_TAGS.QKEY:
      return { type: 'QKEY', queues: reader.nonEmptyList(readQueueKey, 'queues') }
    case CONTENT_TAGS.QUSE:
      return { type: 'QUSE', queues: reader.nonEmptyList(readQueueUse, 'queues') }
    case CONTENT_TAGS.QTEST:
      return { type: 'QTEST', queues: reader.nonEmptyList(readSenderQueue, 'queues') }
    case CONTENT_TAGS.EREADY:
      return { type: 'EREADY', lastDecryptedId: readNumber(reader, 'lastDecryptedId') }
    default:
      return reader.fail('content', 'is of an unknown type')
  }
}

const encodeReceipt = ({ messageId, hash, info }: MessageReceipt): Bytes =>
  concat(encodeNumber(messageId), short(hash, 'hash'), large(info, 'info'))

const readReceipt = (reader: Reader): MessageReceipt => ({
  messageId: readNumber(reader, 'messageId'),
  hash: reader.short('hash'),
  info: reader.large('info'),
})

const encodeAddedQueue = ({ queue, replaced }: AddedQueue): Bytes =>
  concat(encodeQueueUri(queue), maybe(replaced, encodeSenderQueue))

const readAddedQueue = (reader: Reader): AddedQueue => {
  const queue = readQueueUri(reader)
  const replaced = reader.maybe(readSenderQueue, 'replaced')
  return replaced === undefined ? { queue } : { queue, replaced }
}

const readQueueKey = (reader: Reader): QueueKey => ({ queue: readQueueInfo(reader), key: readAuthKey(reader, 'key') })

const readQueueUse = (reader: Reader): QueueUse => ({ queue: readSenderQueue(reader), primary: reader.bool('primary') })

const readLetter = (reader: Reader): string => String.fromCharCode(reader.byte('type'))
