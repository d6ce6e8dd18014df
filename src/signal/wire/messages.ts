import { many, type MessageOf, one, schema } from './codec.js'

/** The messages of Signal’s protocol that the channel reads or writes, with the fields that it knows. */

const webSocketRequest = schema('WebSocketRequestMessage', {
  verb: one(1, 'string'),
  path: one(2, 'string'),
  body: one(3, 'bytes'),
  id: one(4, 'uint64'),
  headers: many(5, 'string'),
})
const webSocketResponse = schema('WebSocketResponseMessage', {
  id: one(1, 'uint64'),
  status: one(2, 'uint32'),
  message: one(3, 'string'),
  body: one(4, 'bytes'),
  headers: many(5, 'string'),
})
/** A frame: `type` 1 is a request, 2 a response. */
export const webSocketMessage = schema('WebSocketMessage', {
  type: one(1, 'uint32'),
  request: one(2, webSocketRequest),
  response: one(3, webSocketResponse),
})
export const frameTypes = { request: 1, response: 2 } as const

export const provisioningAddress = schema('ProvisioningAddress', { address: one(1, 'string') })
export const provisionEnvelope = schema('ProvisionEnvelope', { publicKey: one(1, 'bytes'), body: one(2, 'bytes') })
export const provisionMessage = schema('ProvisionMessage', {
  aciIdentityKeyPublic: one(1, 'bytes'),
  aciIdentityKeyPrivate: one(2, 'bytes'),
  number: one(3, 'string'),
  provisioningCode: one(4, 'string'),
  profileKey: one(6, 'bytes'),
  readReceipts: one(7, 'bool'),
  aci: one(8, 'string'),
  pni: one(10, 'string'),
  pniIdentityKeyPublic: one(11, 'bytes'),
  pniIdentityKeyPrivate: one(12, 'bytes'),
  aciBinary: one(17, 'bytes'),
  pniBinary: one(18, 'bytes'),
})

export const envelope = schema('Envelope', {
  type: one(1, 'uint32'),
  clientTimestamp: one(5, 'uint64'),
  sourceDeviceId: one(7, 'uint32'),
  content: one(8, 'bytes'),
  serverGuid: one(9, 'string'),
  serverTimestamp: one(10, 'uint64'),
  sourceServiceId: one(11, 'string'),
  destinationServiceId: one(13, 'string'),
  sourceServiceIdBinary: one(19, 'bytes'),
  destinationServiceIdBinary: one(20, 'bytes'),
})
export const envelopeTypes = { ratchet: 1, preKey: 3, serverReceipt: 5, sealed: 6, plaintext: 8 } as const

export const attachmentPointer = schema('AttachmentPointer', {
  contentType: one(2, 'string'),
  key: one(3, 'bytes'),
  size: one(4, 'uint32'),
  digest: one(6, 'bytes'),
  fileName: one(7, 'string'),
  uploadTimestamp: one(13, 'uint64'),
  cdnNumber: one(14, 'uint32'),
  cdnKey: one(15, 'string'),
})
export type AttachmentPointer = MessageOf<typeof attachmentPointer>

const quote = schema('Quote', {
  id: one(1, 'uint64'),
  text: one(3, 'string'),
  authorAci: one(5, 'string'),
  type: one(7, 'uint32'),
  authorAciBinary: one(8, 'bytes'),
})
const reaction = schema('Reaction', {
  emoji: one(1, 'string'),
  remove: one(2, 'bool'),
  targetAuthorAci: one(4, 'string'),
  targetSentTimestamp: one(5, 'uint64'),
  targetAuthorAciBinary: one(6, 'bytes'),
})
/** Only that it is there counts: the channel has no groups. */
const group = schema('GroupContextV2', { revision: one(2, 'uint32') })
export const dataMessage = schema('DataMessage', {
  body: one(1, 'string'),
  attachments: many(2, attachmentPointer),
  flags: one(4, 'uint32'),
  profileKey: one(6, 'bytes'),
  timestamp: one(7, 'uint64'),
  quote: one(8, quote),
  requiredProtocolVersion: one(12, 'uint32'),
  groupV2: one(15, group),
  reaction: one(16, reaction),
})
export type DataMessage = MessageOf<typeof dataMessage>

const deliveryStatus = schema('UnidentifiedDeliveryStatus', {
  unidentified: one(2, 'bool'),
  destinationServiceIdBinary: one(6, 'bytes'),
})
const sent = schema('Sent', {
  destinationE164: one(1, 'string'),
  timestamp: one(2, 'uint64'),
  message: one(3, dataMessage),
  unidentifiedStatus: many(5, deliveryStatus),
  destinationServiceId: one(7, 'string'),
  destinationServiceIdBinary: one(12, 'bytes'),
})
const syncRead = schema('Read', {
  timestamp: one(2, 'uint64'),
  senderAci: one(3, 'string'),
  senderAciBinary: one(4, 'bytes'),
})
const syncMessage = schema('SyncMessage', { sent: one(1, sent), read: many(5, syncRead), padding: one(8, 'bytes') })
export type SyncMessage = MessageOf<typeof syncMessage>

const receiptMessage = schema('ReceiptMessage', { type: one(1, 'uint32'), timestamp: many(2, 'uint64') })
export const receiptTypes = { delivery: 0, read: 1, viewed: 2 } as const
export type ReceiptMessage = MessageOf<typeof receiptMessage>

const pniSignatureMessage = schema('PniSignatureMessage', { pni: one(1, 'bytes'), signature: one(2, 'bytes') })
const editMessage = schema('EditMessage', { targetSentTimestamp: one(1, 'uint64'), dataMessage: one(2, dataMessage) })

export const content = schema('Content', {
  dataMessage: one(1, dataMessage),
  syncMessage: one(2, syncMessage),
  callMessage: one(3, 'bytes'),
  nullMessage: one(4, schema('NullMessage', { padding: one(1, 'bytes') })),
  receiptMessage: one(5, receiptMessage),
  typingMessage: one(6, 'bytes'),
  senderKeyDistributionMessage: one(7, 'bytes'),
  decryptionErrorMessage: one(8, 'bytes'),
  storyMessage: one(9, 'bytes'),
  pniSignatureMessage: one(10, pniSignatureMessage),
  editMessage: one(11, editMessage),
})
export type Content = MessageOf<typeof content>

/** libsignal’s own: what the key ids of a prekey message are, without which its keys cannot be loaded before it is opened. */
export const preKeyMessageIds = schema('PreKeySignalMessage', {
  preKeyId: one(1, 'uint32'),
  signedPreKeyId: one(6, 'uint32'),
  kyberPreKeyId: one(7, 'uint32'),
  baseKey: one(2, 'bytes'),
})
/** The inside of a sealed message; made here so that a stored ciphertext can be sealed under a newer certificate. */
export const unidentifiedSenderContent = schema('UnidentifiedSenderMessage.Message', {
  type: one(1, 'uint32'),
  senderCertificate: one(2, 'bytes'),
  content: one(3, 'bytes'),
  contentHint: one(4, 'uint32'),
})

/** Our own: the ciphertexts of one message, as `signal_outbox.encrypted` keeps them. */
export const encryptedMessages = schema('EncryptedMessages', {
  devices: many(
    1,
    schema('EncryptedMessage', {
      deviceId: one(1, 'uint32'),
      registrationId: one(2, 'uint32'),
      /** Type of the envelope when it is sent identified: 1, 3 or 8. */
      type: one(3, 'uint32'),
      content: one(4, 'bytes'),
    }),
  ),
})
export type EncryptedMessage = NonNullable<MessageOf<typeof encryptedMessages>['devices']>[number]
