/** Arbitraries of everything that is written in the protocols' own encodings: valid values, from which bytes are made and then spoiled. */
import * as fc from 'fast-check'
import type { PublicKey } from '../../src/crypto/index.js'
import type { Bytes, VersionRange } from '../../src/encoding/index.js'
import type { E2eParams, E2ePrivateKeys, KemParams, MessageEncryptKey, RatchetState } from '../../src/ratchet/index.js'
import type { AgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import type { AgentMessage, MessageContent } from '../../src/smp/protocol/agentMessage.js'
import type { ClientMessage, Envelope } from '../../src/smp/protocol/clientMessage.js'
import type { Command } from '../../src/smp/protocol/commands.js'
import type { ConnectionRequest, InvitationRequest } from '../../src/smp/protocol/connectionRequest.js'
import type { E2eRatchetParams } from '../../src/smp/protocol/e2eParams.js'
import type { ClientHello, RouterHello, ServiceAnswer } from '../../src/smp/protocol/handshake.js'
import type { QueueInfo, QueueUri, SenderQueue } from '../../src/smp/protocol/queueInfo.js'
import type { QueueStatus } from '../../src/smp/protocol/queueStatus.js'
import type { NotificationMeta, RecipientMessage } from '../../src/smp/protocol/recipientMessage.js'
import type { Response, SignedRouterKey } from '../../src/smp/protocol/responses.js'
import type { RouterAddress } from '../../src/smp/protocol/routerAddress.js'
import type { SmpError } from '../../src/smp/protocol/routerErrors.js'
import type { ShortContact, ShortLink } from '../../src/smp/protocol/shortLink.js'
import type { FixedLinkData, LinkOwner, UserLinkData } from '../../src/smp/protocol/shortLinkData.js'
import type { RawTransmission } from '../../src/smp/protocol/transmission.js'

export const exactly = (length: number): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(bytes => Buffer.from(bytes))
export const some = (maxLength = 60, minLength = 0): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength, maxLength }).map(bytes => Buffer.from(bytes))
/** A record whose last fields may be missing, as optional fields are where exactOptionalPropertyTypes holds. */
const withOptional = <T extends object, O extends object>(
  required: { [K in keyof T]: fc.Arbitrary<T[K]> },
  more: { [K in keyof O]: fc.Arbitrary<O[K]> },
): fc.Arbitrary<T & Partial<O>> =>
  fc.record({ ...required, ...more } as never, { requiredKeys: Object.keys(required) as never }) as never
const type = <T extends string>(...types: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...types)
const number = fc.oneof(fc.nat(300), fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER))
const word16 = fc.integer({ min: 0, max: 0xffff })
const word32 = fc.integer({ min: 0, max: 0xffffffff })
export const id = fc.oneof({ weight: 4, arbitrary: exactly(24) }, some(40))
export const dhKey = exactly(32)

const keySizes = { ed25519: 32, ed448: 57, x25519: 32 } as const
export const authKey: fc.Arbitrary<PublicKey> = type('ed25519', 'ed448', 'x25519').chain(algorithm =>
  exactly(keySizes[algorithm]).map(raw => ({ algorithm, raw })),
)
/** Where it is written at all: links and addresses name hosts in one spelling. */
const host = fc.oneof(
  fc.domain().filter(name => name.length < 100),
  fc.ipV4(),
  fc.constantFrom('[::1]', 'abcdefghijklmnop.onion', '2001:db8::1').map(text => text.replace(/[[\]]/g, '')),
)
export const router: fc.Arbitrary<RouterAddress> = fc.record({
  keyHash: exactly(32),
  hosts: fc.array(host, { minLength: 1, maxLength: 3 }),
  port: fc.oneof(fc.constant(''), fc.integer({ min: 1, max: 65_535 }).map(String)),
})
const basicAuth = fc.constantFrom('secret', 'a', 'x'.repeat(255))
export const versions: fc.Arbitrary<VersionRange> = fc
  .tuple(word16, word16)
  .map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }))
const lowVersions = fc.tuple(fc.integer({ min: 2, max: 5 }), fc.nat(4)).map(([min, more]) => ({ min, max: min + more }))

// Queues and links.
const mode = type('messaging', 'contact')
const senderId = fc.oneof(exactly(24), some(40, 1))
const address = withOptional({ router, senderId, dhKey }, { mode })
export const queueInfo: fc.Arbitrary<QueueInfo> = fc.record({ clientVersion: fc.integer({ min: 1, max: 5 }), address })
export const queueUri: fc.Arbitrary<QueueUri> = fc.record({ clientVersions: lowVersions, address })
export const senderQueue: fc.Arbitrary<SenderQueue> = fc.record({ router, senderId: id })
const kemKey = fc.oneof(some(20, 1), exactly(1158))
export const kem: fc.Arbitrary<KemParams> = fc.oneof(
  fc.record({ kind: type('proposed'), publicKey: kemKey }),
  fc.record({ kind: type('accepted'), publicKey: kemKey, ciphertext: kemKey }),
)
const x448 = exactly(56)
const proposed = kem.map((params): KemParams => ({ kind: 'proposed', publicKey: params.publicKey }))
export const ratchetParams: fc.Arbitrary<E2eRatchetParams> = withOptional(
  { versionRange: lowVersions, key1: x448, key2: x448 },
  { kem: proposed },
)
/** Links name the mode, since readers take a queue without one for a contact's; contact addresses begin at version 2. */
const queueOfLink: fc.Arbitrary<QueueUri> = fc.record({
  clientVersions: fc.constant({ min: 4, max: 4 }),
  address: fc.record({ router, senderId, dhKey, mode }),
})
const requestData = withOptional(
  { agentVersions: lowVersions, queues: fc.array(queueOfLink, { minLength: 1, maxLength: 3 }) },
  { clientData: fc.string({ maxLength: 40 }) },
)
export const invitation: fc.Arbitrary<InvitationRequest> = fc
  .tuple(requestData, ratchetParams)
  .map(([data, e2e]) => ({ mode: 'invitation', ...data, e2e }))
export const connectionRequest: fc.Arbitrary<ConnectionRequest> = fc.oneof(
  invitation,
  requestData.map(data => ({ mode: 'contact' as const, ...data })),
)
const linkBase = { scheme: type('simplex', 'https'), router, linkKey: exactly(32) }
const shortContact: fc.Arbitrary<ShortContact> = fc.record({
  mode: type('contact'),
  contactType: type('contact', 'channel', 'group', 'relay'),
  ...linkBase,
})
export const shortLink: fc.Arbitrary<ShortLink> = fc.oneof(
  shortContact,
  fc.record({ mode: type('invitation'), linkId: exactly(24), ...linkBase }),
)
export const linkOwner: fc.Arbitrary<LinkOwner> = fc.record({
  ownerId: some(20),
  ownerKey: dhKey,
  signature: exactly(64),
})
export const fixedLinkData: fc.Arbitrary<FixedLinkData> = withOptional(
  { agentVersions: lowVersions, rootKey: dhKey, request: connectionRequest },
  { entityId: some(20) },
)
export const userLinkData: fc.Arbitrary<UserLinkData> = fc.oneof(
  fc.record({ mode: type('invitation'), userData: some(200) }),
  fc.record({
    mode: type('contact'),
    direct: fc.boolean(),
    owners: fc.array(linkOwner, { maxLength: 2 }),
    relays: fc.array(shortContact, { maxLength: 2 }),
    userData: some(200),
  }),
)
const linkData = fc.record({ fixedData: some(300), userData: some(300) })

// Commands.
export const command: fc.Arbitrary<Command> = fc.oneof(
  withOptional(
    { type: type('NEW'), authKey, dhKey, subscribe: fc.boolean() },
    {
      basicAuth,
      request: fc.oneof(
        withOptional({ mode: type('messaging') }, { link: fc.record({ senderId: id, data: linkData }) }),
        withOptional({ mode: type('contact') }, { link: fc.record({ senderId: id, data: linkData, linkId: id }) }),
      ),
      notifier: fc.record({ authKey, dhKey }),
    },
  ) as fc.Arbitrary<Command>,
  fc.record({
    type: type('SUB', 'SUBS', 'LDEL', 'NDEL', 'GET', 'OFF', 'DEL', 'QUE', 'PING', 'LGET', 'NSUB', 'NSUBS'),
  }),
  fc.record({ type: type('KEY', 'SKEY', 'LKEY'), key: authKey }),
  fc.record({ type: type('RKEY'), keys: fc.array(authKey, { minLength: 1, maxLength: 3 }) }),
  fc.record({ type: type('LSET'), linkId: id, data: linkData }),
  fc.record({ type: type('NKEY'), key: authKey, dhKey }),
  fc.record({ type: type('ACK'), messageId: id }),
  fc.record({ type: type('SEND'), flags: fc.record({ notification: fc.boolean() }), body: some(500) }),
  withOptional({ type: type('PRXY'), router }, { basicAuth }) as fc.Arbitrary<Command>,
  fc.record({ type: type('PFWD'), version: word16, key: dhKey, transmission: some(500) }),
  fc.record({ type: type('RFWD'), transmission: some(500) }),
)

// Answers.
const latin = fc.string({ maxLength: 20 })
const transportWord = type(
  'BLOCK',
  'VERSION',
  'LARGE_MSG',
  'SESSION',
  'NO_AUTH',
  'HANDSHAKE PARSE',
  'HANDSHAKE IDENTITY',
)
const networkError = fc.oneof(
  fc.record({ type: type('CONNECT', 'TLS', 'SUBSCRIBE'), text: latin }),
  fc.record({ type: type('UNKNOWNCA', 'FAILED', 'TIMEOUT') }),
)
const brokerError = fc.oneof(
  fc.record({ type: type('RESPONSE', 'UNEXPECTED'), text: latin }),
  fc.record({ type: type('NETWORK'), error: networkError }),
  fc.record({ type: type('TRANSPORT'), error: transportWord }),
  fc.record({ type: type('HOST', 'NO_SERVICE', 'TIMEOUT') }),
)
const plainError: fc.Arbitrary<SmpError> = fc.oneof(
  fc.record({
    type: type('BLOCK', 'SESSION', 'AUTH', 'SERVICE', 'CRYPTO', 'QUOTA', 'NO_MSG', 'LARGE_MSG', 'EXPIRED', 'INTERNAL'),
  }),
  fc.record({ type: type('CMD'), error: type('UNKNOWN', 'SYNTAX', 'PROHIBITED', 'NO_AUTH', 'HAS_AUTH', 'NO_ENTITY') }),
  fc.record({
    type: type('BLOCKED'),
    info: withOptional({ reason: type('spam', 'content') }, { notice: withOptional({}, { ttl: fc.nat() }) }),
  }),
  fc.record({ type: type('STORE'), text: latin }),
)
export const smpError: fc.Arbitrary<SmpError> = fc.oneof(
  plainError,
  fc.record({
    type: type('PROXY'),
    error: fc.oneof(
      fc.record({ type: type('PROTOCOL'), error: plainError }),
      fc.record({ type: type('BROKER'), error: brokerError }),
      fc.record({ type: type('BASIC_AUTH', 'NO_SESSION') }),
    ),
  }),
)
export const queueStatus: fc.Arbitrary<QueueStatus> = withOptional(
  { qiSnd: fc.boolean(), qiNtf: fc.boolean(), qiSize: fc.nat() },
  {
    qiSub: withOptional({ qSubThread: type('noSub', 'subPending', 'subThread', 'prohibitSub') }, { qDelivered: latin }),
    qiMsg: fc.record({ msgId: latin, msgTs: latin, msgType: type('message', 'quota') }),
  },
)
export const signedRouterKey: fc.Arbitrary<SignedRouterKey> = fc.record({
  certificates: fc.array(some(80), { minLength: 1, maxLength: 4 }),
  signedKey: some(120),
})
const ids = { recipientId: id, senderId: id, dhKey }
export const response: fc.Arbitrary<Response> = fc.oneof(
  withOptional(
    { type: type('IDS'), ...ids },
    { mode, linkId: id, serviceId: id, notifier: fc.record({ notifierId: id, dhKey }) },
  ) as fc.Arbitrary<Response>,
  fc.record({ type: type('LNK'), senderId: id, data: linkData }),
  withOptional({ type: type('SOK') }, { serviceId: id }) as fc.Arbitrary<Response>,
  fc.record({ type: type('SOKS', 'ENDS'), count: number }),
  fc.record({ type: type('MSG'), messageId: exactly(24), body: some(500) }),
  fc.record({ type: type('NID'), notifierId: id, dhKey }),
  fc.record({ type: type('NMSG'), nonce: exactly(24), metadata: some(100) }),
  fc.record({ type: type('PKEY'), sessionId: some(40), versionRange: versions, routerKey: signedRouterKey }),
  fc.record({ type: type('RRES', 'PRES'), response: some(500) }),
  fc.record({ type: type('END', 'DELD', 'OK', 'PONG') }),
  fc.record({ type: type('INFO'), status: queueStatus }),
  fc.record({ type: type('ERR'), error: smpError }),
)

// Sessions and transmissions.
export const transmission: fc.Arbitrary<RawTransmission> = fc.record({
  authorization: some(114),
  corrId: id,
  entityId: id,
  command: some(300, 1),
}) as fc.Arbitrary<RawTransmission>
export const routerHello: fc.Arbitrary<RouterHello> = withOptional(
  { versionRange: versions, sessionId: some(48) },
  { routerKey: signedRouterKey },
)
export const clientHello: fc.Arbitrary<ClientHello> = withOptional(
  { version: fc.integer({ min: 6, max: 20 }), keyHash: exactly(32), proxy: fc.boolean() },
  {
    clientKey: dhKey,
    service: fc.record({ role: type('messaging', 'notifier', 'proxy'), serviceKey: signedRouterKey }),
  },
)
export const serviceAnswer: fc.Arbitrary<ServiceAnswer> = fc.oneof(
  fc.record({ serviceId: id }),
  fc.record({ error: transportWord }),
)

// What is in messages.
export const envelope: fc.Arbitrary<Envelope> = fc.record({
  header: withOptional({ version: word16 }, { dhKey }),
  nonce: exactly(24),
  box: some(300),
})
export const clientMessage: fc.Arbitrary<ClientMessage> = withOptional({ body: some(300) }, { senderKey: authKey })
export const recipientMessage: fc.Arbitrary<RecipientMessage> = fc.oneof(
  fc.record({ type: type('quota'), timestamp: number }),
  fc.record({
    type: type('message'),
    timestamp: number,
    flags: fc.record({ notification: fc.boolean() }),
    body: some(300),
  }),
)
export const notificationMeta: fc.Arbitrary<NotificationMeta> = fc.record({ messageId: id, timestamp: number })
export const messageContent: fc.Arbitrary<MessageContent> = fc.oneof(
  fc.record({ type: type('HELLO') }),
  fc.record({ type: type('A_MSG'), body: some(500) }),
  fc.record({
    type: type('A_RCVD'),
    receipts: fc.array(fc.record({ messageId: number, hash: exactly(32), info: some(30) }), {
      minLength: 1,
      maxLength: 3,
    }),
  }),
  fc.record({ type: type('A_QCONT'), queue: senderQueue }),
  fc.record({
    type: type('QADD'),
    queues: fc.array(withOptional({ queue: queueUri }, { replaced: senderQueue }), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    type: type('QKEY'),
    queues: fc.array(fc.record({ queue: queueInfo, key: authKey }), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    type: type('QUSE'),
    queues: fc.array(fc.record({ queue: senderQueue, primary: fc.boolean() }), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({ type: type('QTEST'), queues: fc.array(senderQueue, { minLength: 1, maxLength: 2 }) }),
  fc.record({ type: type('EREADY'), lastDecryptedId: number }),
)
export const agentMessage: fc.Arbitrary<AgentMessage> = fc.oneof(
  fc.record({ type: type('connInfo', 'ratchetInfo'), info: some(200) }),
  fc.record({
    type: type('connInfoReply'),
    queues: fc.array(queueInfo, { minLength: 1, maxLength: 2 }),
    info: some(200),
  }),
  fc.record({
    type: type('message'),
    id: number,
    previousHash: fc.oneof(some(0), exactly(32)),
    content: messageContent,
  }),
)
const e2eVersion = fc.integer({ min: 1, max: 4 })
export const e2eParams: fc.Arbitrary<E2eParams> = withOptional({ version: e2eVersion, key1: x448, key2: x448 }, { kem })
const proposedParams: fc.Arbitrary<E2eParams> = withOptional(
  { version: e2eVersion, key1: x448, key2: x448 },
  { kem: proposed },
)
export const agentEnvelope: fc.Arbitrary<AgentEnvelope> = fc.oneof(
  withOptional(
    { type: type('confirmation'), agentVersion: word16, encryptedInfo: some(300) },
    { e2e: e2eParams },
  ) as fc.Arbitrary<AgentEnvelope>,
  fc.record({ type: type('message'), agentVersion: word16, encryptedMessage: some(300) }),
  fc.record({ type: type('invitation'), agentVersion: word16, request: invitation, info: some(100) }),
  fc.record({ type: type('ratchetKey'), agentVersion: word16, e2e: proposedParams, info: some(100) }),
)

// Ratchets.
const keyPair = fc.record({ publicKey: x448, privateKey: x448 })
const key = exactly(32)
export const agreement = withOptional(
  { own: fc.record({ publicKey: kemKey, privateKey: kemKey }) },
  { accepted: fc.record({ peerKey: kemKey, sharedSecret: key, ciphertext: kemKey }) },
)
const flags = { support: fc.boolean(), enabled: fc.boolean(), sending: fc.boolean(), receiving: fc.boolean() }
export const ratchetState: fc.Arbitrary<RatchetState> = withOptional(
  {
    versions: fc.record({ current: word16, maxSupported: word16 }),
    associatedData: some(120),
    dhSelf: keyPair,
    kem: withOptional(flags, { agreement }),
    rootKey: key,
    ns: word32,
    nr: word32,
    pn: word32,
    nextHeaderKeySnd: key,
    nextHeaderKeyRcv: key,
  },
  {
    snd: fc.record({ peerKey: x448, chainKey: key, headerKey: key }),
    rcv: fc.record({ chainKey: key, headerKey: key }),
  },
)
export const e2ePrivateKeys: fc.Arbitrary<E2ePrivateKeys> = withOptional(
  { key1: keyPair, key2: keyPair },
  { kem: agreement },
)
export const messageEncryptKey: fc.Arbitrary<MessageEncryptKey> = fc.record({
  version: word16,
  messageKey: key,
  messageIv: exactly(16),
  associatedData: some(120),
  encryptedHeader: some(200),
}) as fc.Arbitrary<MessageEncryptKey>
export const messageHeader = withOptional(
  { maxVersion: word16, dhKey: x448, previousCount: word32, messageNumber: word32 },
  { kem },
)
export const encryptedHeader = fc.record({ version: word16, iv: exactly(16), tag: exactly(16), body: exactly(88) })
export const encryptedMessage = fc.record({ header: exactly(123), tag: exactly(16), body: some(300) })
