/** Everything in src/ that reads bytes or texts from outside or from a disk, with valid values to spoil. */
import * as fc from 'fast-check'
import { decodePrivateKey, decodePublicKey, encodePrivateKey, encodePublicKey } from '../../src/crypto/keys.js'
import { pad, unpad } from '../../src/crypto/pad.js'
import {
  type Bytes,
  decodeAll,
  encodeVersionRange,
  formatVersionRange,
  fromBase64url,
  large,
  list,
  parseVersionRange,
  type Reader,
  readVersionRange,
  toBase64url,
} from '../../src/encoding/index.js'
import { fromBase64, toBase64 } from '../../src/agent/api/base64.js'
import { decodeContactQueue } from '../../src/agent/handshakeSteps.js'
import { decodeParams } from '../../src/agent/storeCall.js'
import {
  decodeE2ePrivateKeys,
  encodeE2ePrivateKeys,
  encodeE2eParams,
  readE2eParams,
} from '../../src/ratchet/e2eParams.js'
import { decodeRatchetState, encodeAgreement, encodeRatchetState, readAgreement } from '../../src/ratchet/encode.js'
import { decodeMessageEncryptKey, encodeMessageEncryptKey } from '../../src/ratchet/encrypt.js'
import * as ratchetWire from '../../src/ratchet/wire.js'
import { decodeRecord, encodeMessage as encodeJournalMessage } from '../../src/router/journal/record.js'
import { fromRow, toRow } from '../../src/router/queue.js'
import { readRequests } from '../../src/router/requests.js'
import { decode as decodeProtobuf, encode as encodeProtobuf } from '../../src/signal/wire/codec.js'
import {
  content,
  envelope as signalEnvelope,
  provisionMessage,
  webSocketMessage,
} from '../../src/signal/wire/messages.js'
import { pad as signalPad, unpad as signalUnpad } from '../../src/signal/wire/padding.js'
import { decodeAgentEnvelope, encodeAgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import * as agentMessage from '../../src/smp/protocol/agentMessage.js'
import { BLOCK_BYTES, padBlock, unpadBlock } from '../../src/smp/protocol/block.js'
import * as clientMessage from '../../src/smp/protocol/clientMessage.js'
import { decodeCommand, encodeCommand } from '../../src/smp/protocol/commands.js'
import * as requests from '../../src/smp/protocol/connectionRequest.js'
import * as e2e from '../../src/smp/protocol/e2eParams.js'
import * as fields from '../../src/smp/protocol/fields.js'
import * as handshake from '../../src/smp/protocol/handshake.js'
import { encodeNewQueue, readNewQueue } from '../../src/smp/protocol/newQueue.js'
import * as proxy from '../../src/smp/protocol/proxy.js'
import * as queues from '../../src/smp/protocol/queueInfo.js'
import { decodeQueueStatus, encodeQueueStatus } from '../../src/smp/protocol/queueStatus.js'
import * as recipient from '../../src/smp/protocol/recipientMessage.js'
import * as responses from '../../src/smp/protocol/responses.js'
import * as addresses from '../../src/smp/protocol/routerAddress.js'
import { decodeSmpError, encodeSmpError, formatSmpError, parseSmpError } from '../../src/smp/protocol/routerErrors.js'
import * as shortLinks from '../../src/smp/protocol/shortLink.js'
import * as shortLinkData from '../../src/smp/protocol/shortLinkData.js'
import { encodeTransportError, readTransportError } from '../../src/smp/protocol/transportErrors.js'
import {
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../src/smp/protocol/transmission.js'
import { decodeRow } from '../../src/store/sql.js'
import { routerQueues } from '../../src/store/router/tables.js'
import * as wire from './wire.js'

export interface Decoder<Input extends Bytes | string = Bytes | string> {
  /** As `src/… name`: of one or several exports. */
  readonly names: readonly string[]
  readonly text: boolean
  /** Valid input. */
  readonly valid: fc.Arbitrary<Input>
  readonly decode: (input: Input) => unknown
  /** Writes what was read; undefined where several inputs mean the same, or nothing is written by this side. */
  readonly encode: ((value: never) => Input) | undefined
}

type Spec<T, I> = {
  readonly valid: fc.Arbitrary<I>
  readonly decode: (input: I) => T
  readonly encode?: (value: T) => I
}
const named = (names: string): string[] => {
  const [file, ...rest] = names.split(' ')
  return rest.map(name => `src/${file}.ts ${name}`)
}
const bytes = <T>(names: string, spec: Spec<T, Bytes>): Decoder =>
  ({ names: named(names), text: false, encode: undefined, ...spec }) as unknown as Decoder
const text = <T>(names: string, spec: Spec<T, string>): Decoder =>
  ({ names: named(names), text: true, encode: undefined, ...spec }) as unknown as Decoder

/** Values that `encode` writes and `decode` reads. */
const both = <T>(
  names: string,
  values: fc.Arbitrary<T>,
  encode: (value: T) => Bytes,
  decode: (bytes: Bytes) => T,
): Decoder => bytes(names, { valid: values.map(encode), decode, encode })
/** The same for what is read from within something. */
const within = <T>(
  names: string,
  values: fc.Arbitrary<T>,
  encode: (value: T) => Bytes,
  read: (reader: Reader) => T,
): Decoder => both(names, values, encode, input => decodeAll(input, 'value', read))
const written = <T>(
  names: string,
  values: fc.Arbitrary<T>,
  format: (value: T) => string,
  parse: (text: string) => T,
): Decoder => text(names, { valid: values.map(format), decode: parse, encode: format })

/** Protocol versions before and after each change, and none that is known. */
const smpVersions = [8, 9, 12, 14, 15, 16, 17, 18, 99]
const inVersions = <T>(
  name: string,
  values: fc.Arbitrary<T>,
  encode: (version: number, value: T) => Bytes,
  decode: (version: number, bytes: Bytes) => T,
): Decoder[] =>
  smpVersions.map(version =>
    both(
      name,
      values,
      value => encode(version, value),
      input => decode(version, input),
    ),
  )

const P = 'smp/protocol'
const mark = Buffer.from('0123456789abcdef', 'hex')
const record = fc.record({
  kind: fc.constantFrom('message', 'quota'),
  queue: wire.exactly(24),
  id: wire.exactly(24),
  seq: fc.nat(),
  body: wire.some(100),
})
const journal = record.map(({ kind, queue, id, seq, body }) => {
  const latin = (part: Bytes) => Buffer.from(part).toString('latin1')
  const entry = {
    kind,
    queue: latin(queue),
    id: latin(id),
    seq,
    timestamp: 1,
    notification: true,
    committed: true,
    live: true,
  }
  return Buffer.concat(encodeJournalMessage(mark, entry as never, body).chunks as Buffer[])
})
const queueRecord = fc
  .record({ recipientId: wire.id, senderId: wire.id, keys: fc.array(wire.authKey, { maxLength: 3 }) })
  .map(({ keys, ...ids }) => ({
    ...ids,
    recipientKeys: keys,
    rcvDhSecret: Buffer.alloc(32),
    status: 'active',
    createdAt: 1,
  }))
const protobufs = [
  [content, { dataMessage: { body: 'hello', timestamp: 1, attachments: [], profileKey: Buffer.alloc(32) } }],
  [signalEnvelope, { type: 1, clientTimestamp: 5, sourceDeviceId: 2, content: Buffer.from('abc'), serverGuid: 'guid' }],
  [provisionMessage, { aciIdentityKeyPublic: Buffer.alloc(33, 5), number: '+1', aci: 'a', readReceipts: true }],
  [
    webSocketMessage,
    { type: 1, request: { verb: 'PUT', path: '/', body: Buffer.from('x'), id: 7, headers: ['a: b'] } },
  ],
] as const
const params = fc.constantFrom(
  { connectionId: 'c', body: 'hello' },
  { connectionId: 'c', body: { base64: 'AAAA' }, idempotencyKey: 'k' },
)
/** What a database answers for a column of each type, around a value that may be wrong. */
const storedAs = {
  text: (value: string) => value,
  integer: (value: string) => value,
  boolean: (value: string) => value,
  bytes: (value: string) => `\\x${Buffer.from(value).toString('hex')}`,
  json: (value: string) => JSON.stringify(value),
}

export const decoders: readonly Decoder[] = [
  // Encodings.
  within('encoding/version readVersionRange', wire.versions, encodeVersionRange, readVersionRange),
  written('encoding/version parseVersionRange', wire.versions, formatVersionRange, parseVersionRange),
  written('encoding/base64url fromBase64url', wire.some(), toBase64url, input => fromBase64url(input, 'value')),
  text('agent/api/base64 fromBase64', { valid: wire.some().map(toBase64), decode: fromBase64 }),
  bytes('encoding/reader decodeAll', {
    valid: fc.array(wire.some(), { maxLength: 5 }).map(items => list(items, item => large(item))),
    decode: input => decodeAll(input, 'list', reader => reader.list(item => item.large('item'))),
  }),
  both(
    'crypto/keys decodePublicKey',
    wire.authKey,
    ({ algorithm, raw }) => encodePublicKey(algorithm, raw),
    input => decodePublicKey(input),
  ),
  both(
    'crypto/keys decodePrivateKey',
    wire.authKey,
    ({ algorithm, raw }) => encodePrivateKey(algorithm, raw),
    input => decodePrivateKey(input),
  ),
  bytes('crypto/pad unpad', { valid: wire.some(200).map(message => pad(message, 256)), decode: input => unpad(input) }),

  // The ratchet: rows and messages.
  both('ratchet/encode decodeRatchetState', wire.ratchetState, encodeRatchetState, decodeRatchetState),
  bytes('ratchet/encode readAgreement', {
    valid: wire.agreement.map(one =>
      Buffer.concat([Buffer.of(Number(one.accepted !== undefined)), ...encodeAgreement(one)]),
    ),
    decode: input => decodeAll(input, 'agreement', reader => readAgreement(reader, reader.byte('accepted') === 1)),
  }),
  both('ratchet/e2eParams decodeE2ePrivateKeys', wire.e2ePrivateKeys, encodeE2ePrivateKeys, decodeE2ePrivateKeys),
  within('ratchet/e2eParams readE2eParams', wire.e2eParams, encodeE2eParams, readE2eParams),
  both(
    'ratchet/encrypt decodeMessageEncryptKey',
    wire.messageEncryptKey,
    encodeMessageEncryptKey,
    decodeMessageEncryptKey,
  ),
  ...[2, 3].map(version =>
    bytes('ratchet/wire decodeHeader', {
      valid: wire.messageHeader.map(header => ratchetWire.encodeHeader(version, header)),
      decode: input => ratchetWire.decodeHeader(version, input),
      encode: header => ratchetWire.encodeHeader(version, header),
    }),
  ),
  bytes('ratchet/wire decodeEncryptedHeader', {
    valid: wire.encryptedHeader.map(ratchetWire.encodeEncryptedHeader),
    decode: ratchetWire.decodeEncryptedHeader,
  }),
  ...[2, 3].map(version =>
    bytes('ratchet/wire decodeMessage', {
      valid: wire.encryptedMessage.map(message => ratchetWire.encodeMessage(version, message)),
      decode: ratchetWire.decodeMessage,
    }),
  ),
  within('ratchet/wire readKemParams', wire.kem, ratchetWire.encodeKemParams, ratchetWire.readKemParams),
  bytes('ratchet/wire readX448Key', {
    valid: wire.exactly(56).map(raw => Buffer.concat([Buffer.of(68), encodePublicKey('x448', raw)])),
    decode: input => decodeAll(input, 'key', reader => ratchetWire.readX448Key(reader, 'key')),
  }),

  // Commands, answers, sessions.
  ...inVersions(`${P}/commands decodeCommand`, wire.command, encodeCommand, decodeCommand),
  ...inVersions(`${P}/responses decodeResponse`, wire.response, responses.encodeResponse, responses.decodeResponse),
  ...inVersions(`${P}/transmission decodeTransmission`, wire.transmission, encodeTransmission, decodeTransmission),
  ...smpVersions.map(version =>
    within(
      `${P}/newQueue readNewQueue`,
      wire.command.filter(command => command.type === 'NEW'),
      queue => encodeNewQueue(version, queue),
      reader => readNewQueue(reader, version),
    ),
  ),
  bytes(`${P}/transmission readBatch`, {
    valid: fc.array(wire.some(60, 1), { minLength: 1, maxLength: 5 }).map(batchOf),
    decode: readBatch,
    encode: batchOf,
  }),
  ...smpVersions.map(version =>
    bytes('router/requests readRequests', {
      valid: fc
        .array(fc.tuple(wire.transmission, wire.command), { minLength: 1, maxLength: 3 })
        .map(items =>
          batchOf(
            items.map(([one, command]) =>
              encodeTransmission(version, { ...one, command: encodeCommand(version, command) }),
            ),
          ),
        ),
      decode: input => readRequests(version, input),
    }),
  ),
  within(
    `${P}/responses readSignedRouterKey`,
    wire.signedRouterKey,
    responses.encodeSignedRouterKey,
    responses.readSignedRouterKey,
  ),
  both(`${P}/routerErrors decodeSmpError`, wire.smpError, error => encodeSmpError(18, error), decodeSmpError),
  written(`${P}/routerErrors parseSmpError`, wire.smpError, formatSmpError, parseSmpError),
  both(`${P}/queueStatus decodeQueueStatus`, wire.queueStatus, encodeQueueStatus, decodeQueueStatus),
  both(`${P}/handshake decodeRouterHello`, wire.routerHello, handshake.encodeRouterHello, handshake.decodeRouterHello),
  both(`${P}/handshake decodeClientHello`, wire.clientHello, handshake.encodeClientHello, handshake.decodeClientHello),
  both(
    `${P}/handshake decodeServiceAnswer`,
    wire.serviceAnswer,
    handshake.encodeServiceAnswer,
    handshake.decodeServiceAnswer,
  ),
  within(
    `${P}/transportErrors readTransportError`,
    fc.constantFrom('BLOCK', 'HANDSHAKE PARSE'),
    encodeTransportError,
    readTransportError,
  ),
  bytes(`${P}/block unpadBlock`, { valid: wire.some(500).map(padBlock), decode: unpadBlock }),
  within(`${P}/fields readAuthKey`, wire.authKey, fields.encodeAuthKey, reader => fields.readAuthKey(reader, 'key')),
  within(`${P}/fields readDhKey`, wire.dhKey, fields.encodeDhKey, reader => fields.readDhKey(reader, 'key')),
  within(
    `${P}/fields readQueueMode`,
    fc.constantFrom('messaging', 'contact'),
    fields.encodeQueueMode,
    fields.readQueueMode,
  ),
  within(
    `${P}/fields readLinkData`,
    fc.record({ fixedData: wire.some(), userData: wire.some() }),
    fields.encodeLinkData,
    fields.readLinkData,
  ),
  within(
    `${P}/fields readMessageFlags`,
    fc.record({ notification: fc.boolean() }),
    fields.encodeMessageFlags,
    fields.readMessageFlags,
  ),
  within(`${P}/fields readNumber`, fc.nat(), fields.encodeNumber, reader => fields.readNumber(reader, 'count')),
  both(
    `${P}/proxy decodeForwardedTransmission`,
    fc.record({ corrId: wire.id, version: fc.nat(20), key: wire.dhKey, transmission: wire.some() }),
    proxy.encodeForwardedTransmission,
    proxy.decodeForwardedTransmission,
  ),
  both(
    `${P}/proxy decodeForwardedResponse`,
    fc.record({ corrId: wire.id, response: wire.some() }),
    proxy.encodeForwardedResponse,
    proxy.decodeForwardedResponse,
  ),

  // Addresses and links.
  within(
    `${P}/routerAddress readRouterAddress`,
    wire.router,
    addresses.encodeRouterAddress,
    addresses.readRouterAddress,
  ),
  within(
    `${P}/routerAddress readLegacyRouterAddress`,
    wire.router,
    addresses.encodeLegacyRouterAddress,
    addresses.readLegacyRouterAddress,
  ),
  within(
    `${P}/routerAddress readBasicAuth`,
    fc.constantFrom('secret', ''),
    addresses.encodeBasicAuth,
    addresses.readBasicAuth,
  ),
  written(
    `${P}/routerAddress parseRouterAddress`,
    wire.router,
    router => addresses.formatRouterAddress(router),
    addresses.parseRouterAddress,
  ),
  written(
    `${P}/routerAddress parseRouterAddressWithAuth`,
    wire.router.map(router => ({ router, basicAuth: 'secret' })),
    router => addresses.formatRouterAddressWithAuth(router),
    addresses.parseRouterAddressWithAuth,
  ),
  written(
    `${P}/routerAddress parseHosts parseHost`,
    wire.router.map(({ hosts }) => hosts),
    hosts => hosts.map(host => (host.includes(':') ? `[${host}]` : host)).join(','),
    addresses.parseHosts,
  ),
  within(`${P}/queueInfo readSenderQueue`, wire.senderQueue, queues.encodeSenderQueue, queues.readSenderQueue),
  within(`${P}/queueInfo readQueueInfo`, wire.queueInfo, queues.encodeQueueInfo, queues.readQueueInfo),
  bytes('agent/handshakeSteps decodeContactQueue', {
    valid: wire.queueInfo.map(queues.encodeQueueInfo),
    decode: decodeContactQueue,
    encode: queues.encodeQueueInfo,
  }),
  within(`${P}/queueInfo readQueueUri`, wire.queueUri, queues.encodeQueueUri, queues.readQueueUri),
  written(`${P}/queueInfo parseQueueUri`, wire.queueUri, queues.formatQueueUri, queues.parseQueueUri),
  within(
    `${P}/e2eParams readE2eRatchetParams`,
    wire.ratchetParams,
    e2e.encodeE2eRatchetParams,
    e2e.readE2eRatchetParams,
  ),
  written(
    `${P}/e2eParams parseE2eRatchetParams`,
    wire.ratchetParams,
    e2e.formatE2eRatchetParams,
    e2e.parseE2eRatchetParams,
  ),
  within(
    `${P}/connectionRequest readConnectionRequest`,
    wire.connectionRequest,
    requests.encodeConnectionRequest,
    requests.readConnectionRequest,
  ),
  bytes(`${P}/connectionRequest readConnectionMode`, {
    valid: fc.constantFrom(Buffer.from('I'), Buffer.from('C')),
    decode: input => decodeAll(input, 'mode', requests.readConnectionMode),
  }),
  written(
    `${P}/connectionRequest parseConnectionRequest`,
    wire.connectionRequest,
    request => requests.formatConnectionRequest(request),
    requests.parseConnectionRequest,
  ),
  written(`${P}/shortLink parseShortLink`, wire.shortLink, shortLinks.formatShortLink, shortLinks.parseShortLink),
  text(`${P}/shortLink parseConnectionLink`, {
    valid: fc.oneof(
      wire.shortLink.map(shortLinks.formatShortLink),
      wire.connectionRequest.map(request => requests.formatConnectionRequest(request, 'https://simplex.chat')),
    ),
    decode: shortLinks.parseConnectionLink,
  }),
  within(`${P}/shortLink readShortLink`, wire.shortLink, shortLinks.encodeShortLink, shortLinks.readShortLink),
  within(
    `${P}/shortLinkData readLinkOwner`,
    wire.linkOwner,
    shortLinkData.encodeLinkOwner,
    shortLinkData.readLinkOwner,
  ),
  both(
    `${P}/shortLinkData decodeFixedLinkData`,
    wire.fixedLinkData,
    shortLinkData.encodeFixedLinkData,
    shortLinkData.decodeFixedLinkData,
  ),
  both(
    `${P}/shortLinkData decodeUserLinkData`,
    wire.userLinkData,
    shortLinkData.encodeUserLinkData,
    shortLinkData.decodeUserLinkData,
  ),
  both(
    `${P}/shortLinkData decodeSignedUserLinkData`,
    fc.record({ agentVersions: wire.versions, data: wire.userLinkData }),
    shortLinkData.encodeSignedUserLinkData,
    shortLinkData.decodeSignedUserLinkData,
  ),

  // Messages.
  within(
    `${P}/clientMessage readEnvelopeHeader`,
    wire.envelope.map(({ header }) => header),
    clientMessage.encodeEnvelopeHeader,
    clientMessage.readEnvelopeHeader,
  ),
  both(`${P}/clientMessage decodeEnvelope`, wire.envelope, clientMessage.encodeEnvelope, clientMessage.decodeEnvelope),
  both(
    `${P}/clientMessage decodeClientMessage`,
    wire.clientMessage,
    clientMessage.encodeClientMessage,
    clientMessage.decodeClientMessage,
  ),
  both(
    `${P}/recipientMessage decodeRecipientMessage`,
    wire.recipientMessage,
    recipient.encodeRecipientMessage,
    recipient.decodeRecipientMessage,
  ),
  both(
    `${P}/recipientMessage decodeNotificationMeta`,
    wire.notificationMeta,
    recipient.encodeNotificationMeta,
    recipient.decodeNotificationMeta,
  ),
  both(`${P}/agentEnvelope decodeAgentEnvelope`, wire.agentEnvelope, encodeAgentEnvelope, decodeAgentEnvelope),
  both(
    `${P}/agentMessage decodeAgentMessage`,
    wire.agentMessage,
    agentMessage.encodeAgentMessage,
    agentMessage.decodeAgentMessage,
  ),
  both(
    `${P}/agentMessage decodeMessageContent`,
    wire.messageContent,
    agentMessage.encodeMessageContent,
    agentMessage.decodeMessageContent,
  ),

  // Disks and databases.
  bytes('router/journal/record decodeRecord', {
    valid: journal,
    decode: input => decodeRecord(mark, Buffer.from(input), 0),
  }),
  bytes('router/queue fromRow', {
    valid: queueRecord.map(queue => toRow(queue as never).recipientKeys),
    decode: recipientKeys => fromRow({ ...toRow({ ...emptyQueue, recipientKeys: [] }), recipientKeys }),
  }),
  text('store/sql decodeRow', {
    valid: fc.constantFrom('12', '0', '-5'),
    decode: value =>
      decodeRow(
        routerQueues,
        Object.values(routerQueues.columns).map(({ type }) => storedAs[type](value)),
      ),
  }),
  text('agent/storeCall decodeParams', {
    valid: params.map(given => JSON.stringify(given)),
    decode: input => decodeParams('sendMessage', Buffer.from(input), 'key'),
  }),

  // Signal.
  ...protobufs.map(([schema, value]) => {
    const encode = (message: unknown) => encodeProtobuf(schema as never, message as never)
    return bytes('signal/wire/codec decode', {
      valid: fc.constant(encode(value)),
      decode: (input): unknown => decodeProtobuf(schema, input),
      encode,
    })
  }),
  bytes('signal/wire/padding unpad', { valid: wire.some(100).map(signalPad), decode: signalUnpad, encode: signalPad }),
]

const emptyQueue = {
  recipientId: Buffer.alloc(24),
  senderId: Buffer.alloc(24),
  rcvDhSecret: Buffer.alloc(32),
  status: 'active',
  createdAt: 1,
} as const

function batchOf(items: readonly Bytes[]): Bytes {
  const [batch] = batchTransmissions(items)
  if (batch === undefined || 'error' in batch) throw new Error('no batch')
  return batch.block
}

/** The largest thing that comes from outside. */
export const longestInput = BLOCK_BYTES

/** What is named like a decoder and reads no bytes from outside, or is fuzzed as a whole elsewhere. */
const rows = 'reads rows of the store, which have types'
const opens = 'opens something that runs'
const sealedInput = 'takes off an authenticated encryption; test/fuzz/sealed.test.ts spoils what it opens'
const underPaths = (reason: string, names: string): Record<string, string> =>
  Object.fromEntries(named(names).map(name => [name, reason]))
export const otherReaders: Readonly<Record<string, string>> = {
  ...underPaths(rows, 'agent/failedMessages readExpired'),
  ...underPaths('asks a router; what it opens is fuzzed as openLinkData', 'agent/readLink readShortLink readLinkTo'),
  ...underPaths('counts that a query of this package has asked for', 'store/sql decodeCounts'),
  ...underPaths(rows, 'agent/join readProgress'),
  ...underPaths(rows, 'agent/receipts readReceipted readConfirmed'),
  ...underPaths(rows, 'agent/receiveRatchetKey readKnownKey'),
  ...underPaths(rows, 'agent/sharedBodies readSharing'),
  ...underPaths(rows, 'agent/waitingMessages readWaiting'),
  ...underPaths(rows, 'agent/movableDeliveries readMovable readBeforeKey'),
  ...underPaths(rows, 'signal/recipients readRecipients'),
  ...underPaths(opens, 'agent/openAgent openAgent'),
  ...underPaths(opens, 'router/openRouter openRouter'),
  ...underPaths(opens, 'service/visualizerHost openVisualizerHost'),
  ...underPaths(opens, 'signal/openSignal openSignal'),
  ...underPaths(opens, 'store/memory openMemoryStore'),
  ...underPaths(opens, 'store/open openStore'),
  ...underPaths(opens, 'store/sqlStore openSqlStore'),
  ...underPaths(opens, 'smp/client/inbox openInbox'),
  ...underPaths(opens, 'smp/client/proxied openProxy'),
  ...underPaths('files of this package', 'store/migrate readMigrations'),
  ...underPaths('a file of this package', 'service/visualizerHost readPage'),
  ...underPaths('the schemas are zod’s; the file is the operator’s', 'router/config parseConfig'),
  ...underPaths(
    'files of the operator; test/router/directory.test.ts damages them',
    'router/directory readRouterDirectory',
  ),
  ...underPaths(
    'a journal of many records; test/router/journal damages whole files',
    'router/journal/journal openJournal',
  ),
  ...underPaths(
    'a journal of many records; test/router/journal damages whole files',
    'router/journal/segment readSegments',
  ),
  ...underPaths('a stream; test/fuzz/lines.test.ts', 'service/lines readLines'),
  ...underPaths('libsignal opens it; test/signal/receiving.test.ts spoils envelopes', 'signal/arrival readArrival'),
  ...underPaths(
    'takes off an authenticated encryption; test/signal/upkeep.test.ts spoils it',
    'signal/provision readProvision',
  ),
  ...underPaths(sealedInput, 'agent/incoming openDelivered openSent'),
  ...underPaths(sealedInput, 'crypto/box openInPlace'),
  ...underPaths(sealedInput, 'router/forwarded openForwarded'),
  ...underPaths(sealedInput, `${P}/clientMessage openEnvelope openEnvelopeInPlace`),
  ...underPaths(
    sealedInput,
    `${P}/proxy openProxiedTransmission openProxiedResponse openForwardedTransmission openForwardedResponse`,
  ),
  ...underPaths(sealedInput, `${P}/recipientMessage openRecipientMessage openNotificationMeta`),
  ...underPaths(sealedInput, `${P}/shortLinkKeys openLinkData`),
}
