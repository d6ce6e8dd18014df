/** The commands that clients send to SMP routers (P: "SMP protocol commands"). */
import type { PublicKey } from '../../crypto/keys.js'
import {
  ascii,
  asBuffer,
  type Bytes,
  concat,
  list,
  maybe,
  type Parts,
  Reader,
  short,
  word16,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import {
  encodeAuthKey,
  encodeDhKey,
  encodeLinkData,
  encodeMessageFlags,
  type LinkData,
  type MessageFlags,
  readAuthKey,
  readDhKey,
  readLinkData,
  readMessageFlags,
} from './fields.js'
import { encodeNewQueue, type NewQueue, readNewQueue } from './newQueue.js'
import {
  encodeBasicAuth,
  encodeRouterAddress,
  type RouterAddress,
  readBasicAuth,
  readRouterAddress,
} from './routerAddress.js'

export type Command =
  /** Create a queue. */
  | NewQueue
  /** Without parameters: see `PARTIES` for who sends what. */
  | { readonly type: BareCommand }
  /** Secure the queue: `KEY` by its recipient, `SKEY` by its sender, `LKEY` by the sender through a link. */
  | { readonly type: 'KEY' | 'SKEY' | 'LKEY'; readonly key: PublicKey }
  /** Replace the recipient keys. */
  | { readonly type: 'RKEY'; readonly keys: readonly PublicKey[] }
  /** Set the data of the queue's short link. */
  | { readonly type: 'LSET'; readonly linkId: Bytes; readonly data: LinkData }
  /** Let a notifier watch the queue. */
  | { readonly type: 'NKEY'; readonly key: PublicKey; readonly dhKey: Bytes }
  | { readonly type: 'ACK'; readonly messageId: Bytes }
  | { readonly type: 'SEND'; readonly flags: MessageFlags; readonly body: Bytes }
  /** Ask a proxy for a session with another router. */
  | { readonly type: 'PRXY'; readonly router: RouterAddress; readonly basicAuth?: string | undefined }
  /** Have a proxy forward an encrypted transmission. `key` is a raw X25519 key. */
  | { readonly type: 'PFWD'; readonly version: number; readonly key: Bytes; readonly transmission: Bytes }
  /** What a proxy sends to the destination router. */
  | { readonly type: 'RFWD'; readonly transmission: Bytes }

const BARE_COMMANDS = [
  'SUB',
  'SUBS',
  'LDEL',
  'NDEL',
  'GET',
  'OFF',
  'DEL',
  'QUE',
  'PING',
  'LGET',
  'NSUB',
  'NSUBS',
] as const
type BareCommand = (typeof BARE_COMMANDS)[number]

export type CommandType = Command['type']

/** The bytes of a command for a peer of this protocol version. What that version cannot say (link data, notifier) is left out. */
export const encodeCommand = (version: number, command: Command): Bytes => {
  switch (command.type) {
    case 'NEW':
      return concat(ascii('NEW '), encodeNewQueue(version, command))
    case 'KEY':
    case 'SKEY':
    case 'LKEY':
      return concat(ascii(`${command.type} `), encodeAuthKey(command.key))
    case 'RKEY':
      return concat(ascii('RKEY '), list(command.keys, encodeAuthKey))
    case 'LSET':
      return concat(ascii('LSET '), short(command.linkId), encodeLinkData(command.data))
    case 'NKEY':
      return concat(ascii('NKEY '), encodeAuthKey(command.key), encodeDhKey(command.dhKey))
    case 'ACK':
      return concat(ascii('ACK '), short(command.messageId))
    case 'SEND':
      return concat(...sendParts(command))
    case 'PRXY':
      return concat(ascii('PRXY '), encodeRouterAddress(command.router), maybe(command.basicAuth, encodeBasicAuth))
    case 'PFWD':
      return concat(ascii('PFWD '), word16(command.version), encodeDhKey(command.key), command.transmission)
    case 'RFWD':
      return concat(ascii('RFWD '), command.transmission)
    default:
      return ascii(command.type)
  }
}

/** As `encodeCommand`, as parts: the body of a SEND is not copied. */
export const commandParts = (version: number, command: Command): Parts =>
  command.type === 'SEND' ? sendParts(command) : [encodeCommand(version, command)]

const sendParts = ({ flags, body }: Extract<Command, { readonly type: 'SEND' }>): Parts => [
  ascii('SEND '),
  encodeMessageFlags(flags),
  ascii(' '),
  body,
]

/**
 * Reads a command as a peer of this protocol version writes it.
 * @throws DecodeError `DECODE_UNKNOWN` if the first word is no command (the answer is CMD UNKNOWN), another `DECODE_…` if the
 * rest is malformed (CMD SYNTAX); see `smpErrorOfDecodeError`
 */
export const decodeCommand = (version: number, bytes: Bytes): Command => {
  const space = bytes.indexOf(SPACE)
  const word = asBuffer(space === -1 ? bytes : bytes.subarray(0, space)).toString('latin1')
  const read = READERS.get(word)
  if (read === undefined) throw new DecodeError('DECODE_UNKNOWN', 'unknown command', { field: 'command' })
  const reader = new Reader(bytes.subarray(word.length), word)
  const command = read(reader, version)
  reader.end()
  return command
}

const SPACE = 0x20

type ReadCommand = (reader: Reader, version: number) => Command

/** A reader of parameters, which stand behind a space. */
const withParameters =
  (read: ReadCommand): ReadCommand =>
  (reader, version) => {
    reader.space('parameters')
    return read(reader, version)
  }

const READERS: ReadonlyMap<string, ReadCommand> = new Map([
  ...BARE_COMMANDS.map((type): [string, ReadCommand] => [type, () => ({ type })]),
  ...(['KEY', 'SKEY', 'LKEY'] as const).map((type): [string, ReadCommand] => [
    type,
    withParameters(reader => ({ type, key: readAuthKey(reader, 'key') })),
  ]),
  ['NEW', withParameters(readNewQueue)],
  ['RKEY', withParameters(reader => ({ type: 'RKEY', keys: reader.nonEmptyList(() => readAuthKey(reader, 'keys')) }))],
  ['LSET', withParameters(reader => ({ type: 'LSET', linkId: reader.short('linkId'), data: readLinkData(reader) }))],
  [
    'NKEY',
    withParameters(reader => ({ type: 'NKEY', key: readAuthKey(reader, 'key'), dhKey: readDhKey(reader, 'dhKey') })),
  ],
  ['ACK', withParameters(reader => ({ type: 'ACK', messageId: reader.short('messageId') }))],
  [
    'SEND',
    withParameters(reader => {
      const flags = readMessageFlags(reader)
      reader.space('body')
      return { type: 'SEND', flags, body: reader.rest() }
    }),
  ],
  [
    'PRXY',
    withParameters(reader => {
      const router = readRouterAddress(reader)
      const basicAuth = reader.maybe(readBasicAuth)
      return { type: 'PRXY', router, ...(basicAuth === undefined ? {} : { basicAuth }) }
    }),
  ],
  [
    'PFWD',
    withParameters(reader => ({
      type: 'PFWD',
      version: reader.word16('version'),
      key: readDhKey(reader, 'key'),
      transmission: reader.rest(),
    })),
  ],
  ['RFWD', withParameters(reader => ({ type: 'RFWD', transmission: reader.rest() }))],
])
