import { ascii, type Bytes, concat, short } from '../encoding/index.js'
import { EncodeError } from '../errors.js'
import { encodeMessageContent, type MessageContent } from '../smp/protocol/agentMessage.js'
import { paddedInfoLength, paddedMessageLength } from '../smp/protocol/agentEnvelope.js'
import { encodeNumber } from '../smp/protocol/fields.js'
import { defaultConfig } from './config.js'

/** What the limits of a connection depend on: with a KEM, its keys take room that messages then do not have. */
export interface Encryption {
  readonly agentVersion: number
  readonly pqSupport: boolean
}

/** What a joiner's reply queues may take beside its info. */
const replyQueuesLength = 832

/** The bytes of a numbered message whose content is encoded already: what the hash chain hashes and the ratchet encrypts. */
export const numberedMessage = (sendId: number, previousHash: Bytes, content: Bytes): Bytes =>
  concat(ascii('M'), encodeNumber(sendId), short(previousHash, 'previousHash'), content)

const numberedLength = numberedMessage(1, Buffer.alloc(32), Buffer.alloc(0)).length
const paddingLength = 2

/** How long something in a message of a connection may be, when the rest of its content is as long as this one. */
const roomBeside = (rest: MessageContent, encryption: Encryption): number =>
  paddedMessageLength(encryption.agentVersion, encryption.pqSupport) -
  paddingLength -
  numberedLength -
  encodeMessageContent(rest).length

/** What the largest body of a message may be, in bytes. */
export const maxMessageLengthOf = (encryption: Encryption): number =>
  roomBeside({ type: 'A_MSG', body: Buffer.alloc(0) }, encryption)

/** What the largest info of a delivery receipt may be, in bytes. */
export const maxReceiptInfoLengthOf = (encryption: Encryption): number =>
  roomBeside(
    { type: 'A_RCVD', receipts: [{ messageId: 1, hash: Buffer.alloc(32), info: Buffer.alloc(0) }] },
    encryption,
  )

/** What the largest connection info may be, in bytes. A joiner’s reply queues have room beside it. */
export const maxInfoLengthOf = ({ agentVersion, pqSupport }: Encryption): number =>
  paddedInfoLength(agentVersion, pqSupport) - replyQueuesLength

const noKem: Encryption = { agentVersion: 0, pqSupport: false }
/** The largest body of a message between agents without a KEM, in bytes: no connection carries a larger one. */
export const maxMessageLength = maxMessageLengthOf(noKem)
/** The same on a connection that is post-quantum, as connections are by default. */
export const maxPqMessageLength = maxMessageLengthOf({ agentVersion: defaultConfig.agentVersions.max, pqSupport: true })
export const maxInfoLength = maxInfoLengthOf(noKem)

/** Refuses an oversized body before any number or ratchet step is spent (B47). Throws EncodeError `LARGE_MSG`. */
export const checkMessageLength = (length: number, encryption: Encryption = noKem): void =>
  checkLength('body', 'a message body', length, maxMessageLengthOf(encryption))

/** The same for the info of a receipt. Throws EncodeError `LARGE_MSG`. */
export const checkReceiptInfoLength = (length: number, encryption: Encryption = noKem): void =>
  checkLength('receipt', 'the info of a receipt', length, maxReceiptInfoLengthOf(encryption))

/** The same for connection info. Throws EncodeError `LARGE_MSG`. */
export const checkInfoLength = (length: number, encryption: Encryption = noKem): void =>
  checkLength('info', 'connection info', length, maxInfoLengthOf(encryption))

const checkLength = (field: string, what: string, length: number, limit: number): void => {
  if (length <= limit) return
  throw new EncodeError('LARGE_MSG', `${what} has at most ${limit} bytes`, {
    field,
    facts: { length, limit },
    hint: 'send less, or split it',
  })
}
