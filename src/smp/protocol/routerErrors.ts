/**
 * The errors that SMP routers answer with (`ERR …`), as values, bytes and text. Both written forms are words joined by
 * spaces; they differ only where a word carries free text (length-prefixed in bytes, plain in text).
 */
import { ascii, type Bytes, concat, Reader, short, utf8 } from '../../encoding/index.js'
import { DecodeError, RouterError } from '../../errors.js'
import { VERSION_BLOCKED, VERSION_CLIENT_NOTICES } from './versions.js'

/** An error of the SMP protocol. */
export type SmpError =
  | { readonly type: SimpleErrorWord }
  /** The command itself is wrong. */
  | { readonly type: 'CMD'; readonly error: CommandErrorWord }
  /** A proxy, or the router behind it, failed. */
  | { readonly type: 'PROXY'; readonly error: ProxyError }
  /** The queue was blocked by the router's operator. */
  | { readonly type: 'BLOCKED'; readonly info: BlockingInfo }
  /** The router's storage failed. */
  | { readonly type: 'STORE'; readonly text: string }

const SIMPLE_WORDS = [
  'BLOCK',
  'SESSION',
  'AUTH',
  'SERVICE',
  'CRYPTO',
  'QUOTA',
  'NO_MSG',
  'LARGE_MSG',
  'EXPIRED',
  'INTERNAL',
] as const
/** Errors that are one word. */
export type SimpleErrorWord = (typeof SIMPLE_WORDS)[number]

const COMMAND_WORDS = ['UNKNOWN', 'SYNTAX', 'PROHIBITED', 'NO_AUTH', 'HAS_AUTH', 'NO_ENTITY'] as const
/** What is wrong with a command. */
export type CommandErrorWord = (typeof COMMAND_WORDS)[number]

export type ProxyError =
  /** The destination router answered with this error. */
  | { readonly type: 'PROTOCOL'; readonly error: SmpError }
  /** The proxy could not talk to the destination router. */
  | { readonly type: 'BROKER'; readonly error: BrokerError }
  | { readonly type: 'BASIC_AUTH' | 'NO_SESSION' }

export type BrokerError =
  | { readonly type: 'RESPONSE' | 'UNEXPECTED'; readonly text: string }
  /** Routers up to now write the bare word `NETWORK`, which reads as `FAILED`. */
  | { readonly type: 'NETWORK'; readonly error: NetworkError }
  | { readonly type: 'TRANSPORT'; readonly error: TransportErrorWord }
  | { readonly type: 'HOST' | 'NO_SERVICE' | 'TIMEOUT' }

export type NetworkError =
  | { readonly type: 'CONNECT' | 'TLS' | 'SUBSCRIBE'; readonly text: string }
  | { readonly type: 'UNKNOWNCA' | 'FAILED' | 'TIMEOUT' }

const TRANSPORT_WORDS = [
  'BLOCK',
  'VERSION',
  'LARGE_MSG',
  'SESSION',
  'NO_AUTH',
  'HANDSHAKE PARSE',
  'HANDSHAKE IDENTITY',
  'HANDSHAKE BAD_AUTH',
  'HANDSHAKE BAD_SERVICE',
] as const
export type TransportErrorWord = (typeof TRANSPORT_WORDS)[number]

export interface BlockingInfo {
  readonly reason: 'spam' | 'content'
  /** What the client should tell its user; `ttl` in seconds, none means for ever. */
  readonly notice?: { readonly ttl?: number }
}

/** Shorthand for an error about the command itself. */
export const commandError = (error: CommandErrorWord): SmpError => ({ type: 'CMD', error })

/**
 * What a router answers to a command that it could not read: `CMD UNKNOWN` for a word that is no command, else `CMD SYNTAX`.
 * Any other error is not for the peer and comes back as it is.
 */
export const smpErrorOfDecodeError = (error: unknown): SmpError => {
  if (!(error instanceof DecodeError)) throw error
  return commandError(error.code === 'DECODE_UNKNOWN' ? 'UNKNOWN' : 'SYNTAX')
}

/** A stable code for an error: its words up to the first free text, such as `AUTH`, `CMD_SYNTAX` or `PROXY_BROKER_TIMEOUT`. */
export const smpErrorCode = (error: SmpError): string => words(error).join('_').replaceAll(' ', '_')

/** The error as one that a caller can catch: `code` is `smpErrorCode`, the text is the wire's. */
export const toRouterError = (error: SmpError, field?: string): RouterError => {
  const routerError = new RouterError(
    smpErrorCode(error),
    `the router answered ${formatSmpError(error)}`,
    field === undefined ? {} : { field },
  )
  answers.set(routerError, error)
  return routerError
}

const answers = new WeakMap<RouterError, SmpError>()

/** The router's answer that `toRouterError` made an error of; undefined for every other error. */
export const smpErrorOf = (error: unknown): SmpError | undefined =>
  error instanceof RouterError ? answers.get(error) : undefined

const words = (error: SmpError | ProxyError | BrokerError | NetworkError): string[] => {
  if (!('error' in error)) return [error.type]
  return [error.type, ...(typeof error.error === 'string' ? [error.error] : words(error.error))]
}

/**
 * The bytes after `ERR `, as a peer of this protocol version understands them: below 12 a blocked queue is `AUTH`, below 18 it
 * carries no notice.
 */
export const encodeSmpError = (version: number, error: SmpError): Bytes => {
  if (error.type !== 'BLOCKED') return write(error, BINARY)
  if (version < VERSION_BLOCKED) return ascii('AUTH')
  return write(
    version < VERSION_CLIENT_NOTICES ? { type: 'BLOCKED', info: { reason: error.info.reason } } : error,
    BINARY,
  )
}

/** The error as text, such as `CMD SYNTAX`. */
export const formatSmpError = (error: SmpError): string => Buffer.from(write(error, TEXT)).toString('utf8')

/**
 * Reads the bytes after `ERR `.
 * @throws DecodeError
 */
export const decodeSmpError = (bytes: Bytes): SmpError => read(bytes, BINARY, 0)

/**
 * Reads the text form.
 * @throws DecodeError
 */
export const parseSmpError = (text: string): SmpError => read(utf8(text), TEXT, 0)

/** How a form writes and reads free text. */
interface Form {
  readonly write: (text: string) => Bytes
  readonly read: (bytes: Bytes, field: string) => string
}

const TEXT: Form = { write: utf8, read: bytes => decodeUtf8(bytes) }

const BINARY: Form = {
  // One byte a character and at most 255 of them: that is all the length prefix can say.
  write: text => short(Buffer.from(text.replaceAll(/[^\0-ÿ]/gu, '?').slice(0, 255), 'latin1')),
  read: (bytes, field) => {
    const reader = new Reader(bytes, field)
    const text = reader.short(field)
    reader.end()
    return Buffer.from(text).toString('latin1')
  },
}

const decodeUtf8 = (bytes: Bytes): string => Buffer.from(bytes).toString('utf8')

const write = (error: SmpError | ProxyError | BrokerError | NetworkError, form: Form): Bytes => {
  switch (error.type) {
    case 'CMD':
    case 'TRANSPORT':
      return ascii(`${error.type} ${error.error}`)
    case 'PROXY':
    case 'PROTOCOL':
    case 'BROKER':
      return concat(ascii(`${error.type} `), write(error.error, form))
    case 'BLOCKED':
      return ascii(`BLOCKED ${formatBlockingInfo(error.info)}`)
    case 'STORE':
      return utf8(`STORE ${error.text}`)
    case 'NETWORK':
      // Routers in use cannot read more than this word.
      return ascii('NETWORK')
    default:
      return 'text' in error ? concat(ascii(`${error.type} `), form.write(error.text)) : ascii(error.type)
  }
}

const formatBlockingInfo = ({ reason, notice }: BlockingInfo): string =>
  `reason=${reason}${notice === undefined ? '' : `,notice=${JSON.stringify(notice.ttl === undefined ? {} : { ttl: notice.ttl })}`}`

// A proxy may pass on the error of a router that is itself a proxy; deeper nesting is nobody's honest answer.
const MAX_DEPTH = 4

const read = (bytes: Bytes, form: Form, depth: number): SmpError => {
  const [word, rest] = splitWord(bytes)
  const simple = SIMPLE_WORDS.find(known => known === word)
  if (simple !== undefined) return alone(rest, { type: simple })
  if (rest === undefined) throw invalid('error word', 'unknown error, or one without its details')
  switch (word) {
    case 'CMD':
      return { type: 'CMD', error: readCommandWord(latin1(rest)) }
    case 'PROXY':
      if (depth >= MAX_DEPTH) throw invalid('proxy error', 'errors are nested too deep')
      return { type: 'PROXY', error: readProxyError(rest, form, depth) }
    case 'BLOCKED':
      return { type: 'BLOCKED', info: parseBlockingInfo(decodeUtf8(rest)) }
    case 'STORE':
      return { type: 'STORE', text: decodeUtf8(rest) }
    default:
      throw invalid('error word', 'unknown error')
  }
}

const readCommandWord = (word: string): CommandErrorWord => {
  // The older name of the same error.
  const known = COMMAND_WORDS.find(known => known === (word === 'NO_QUEUE' ? 'NO_ENTITY' : word))
  if (known === undefined) throw invalid('command error', 'unknown command error')
  return known
}

const readProxyError = (bytes: Bytes, form: Form, depth: number): ProxyError => {
  const [word, rest] = splitWord(bytes)
  if (word === 'BASIC_AUTH' || word === 'NO_SESSION') return alone(rest, { type: word })
  if (word === 'PROTOCOL' && rest !== undefined) return { type: word, error: read(rest, form, depth + 1) }
  if (word === 'BROKER' && rest !== undefined) return { type: word, error: readBrokerError(rest, form) }
  throw invalid('proxy error', 'unknown proxy error')
}

const readBrokerError = (bytes: Bytes, form: Form): BrokerError => {
  const [word, rest] = splitWord(bytes)
  if (word === 'TIMEOUT' || word === 'HOST' || word === 'NO_SERVICE') return alone(rest, { type: word })
  if (word === 'NETWORK')
    return { type: word, error: rest === undefined ? { type: 'FAILED' } : readNetworkError(rest, form) }
  if (rest !== undefined && (word === 'RESPONSE' || word === 'UNEXPECTED'))
    return { type: word, text: form.read(rest, 'broker error text') }
  const transport =
    rest !== undefined && word === 'TRANSPORT' ? TRANSPORT_WORDS.find(known => known === latin1(rest)) : undefined
  if (transport === undefined) throw invalid('broker error', 'unknown broker error')
  return { type: 'TRANSPORT', error: transport }
}

const readNetworkError = (bytes: Bytes, form: Form): NetworkError => {
  const [word, rest] = splitWord(bytes)
  if (word === 'UNKNOWNCA' || word === 'FAILED' || word === 'TIMEOUT') return alone(rest, { type: word })
  if (rest !== undefined && (word === 'CONNECT' || word === 'TLS' || word === 'SUBSCRIBE')) {
    return { type: word, text: form.read(rest, 'network error text') }
  }
  throw invalid('network error', 'unknown network error')
}

const parseBlockingInfo = (text: string): BlockingInfo => {
  const match = /^reason=(spam|content)(?:,notice=(.*))?$/s.exec(text)
  if (!match) throw invalid('blocking info', 'unknown reason for blocking')
  const reason = match[1] === 'spam' ? 'spam' : 'content'
  return match[2] === undefined ? { reason } : { reason, notice: parseNotice(match[2]) }
}

const parseNotice = (json: string): { ttl?: number } => {
  const value = parseJson(json)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('client notice', 'a notice is a JSON object')
  const ttl = 'ttl' in value ? value.ttl : undefined
  if (ttl === undefined || ttl === null) return {}
  if (typeof ttl !== 'number' || !Number.isSafeInteger(ttl))
    throw invalid('client notice', 'the ttl of a notice is a whole number')
  return { ttl }
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('client notice', 'a notice is JSON')
  }
}

/** The bytes up to the first space, and what follows that space. */
const splitWord = (bytes: Bytes): [word: string, rest: Bytes | undefined] => {
  const space = bytes.indexOf(0x20)
  return space === -1 ? [latin1(bytes), undefined] : [latin1(bytes.subarray(0, space)), bytes.subarray(space + 1)]
}

const alone = <T>(rest: Bytes | undefined, error: T): T => {
  if (rest !== undefined) throw invalid('error word', 'unexpected text after the error')
  return error
}

const latin1 = (bytes: Bytes): string => Buffer.from(bytes).toString('latin1')

const invalid = (field: string, message: string): DecodeError => new DecodeError('DECODE_INVALID', message, { field })
