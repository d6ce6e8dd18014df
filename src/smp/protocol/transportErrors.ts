/** Errors of the transport as routers write them (`TRANSPORT …` in proxy errors, and the last block of a service's handshake). */
import { ascii, type Bytes, type Reader } from '../../encoding/index.js'
import { DecodeError, TransportError } from '../../errors.js'
import type { TransportErrorWord } from './routerErrors.js'

interface Meaning {
  readonly code: string
  readonly message: string
}

const MEANINGS: Readonly<Record<TransportErrorWord, Meaning>> = {
  BLOCK: { code: 'TRANSPORT_BLOCK', message: 'a block could not be read' },
  VERSION: { code: 'TRANSPORT_VERSION', message: 'there is no common SMP version' },
  LARGE_MSG: { code: 'TRANSPORT_LARGE_MSG', message: 'a message does not fit into a block' },
  SESSION: { code: 'TRANSPORT_SESSION', message: 'the hello is for another TLS session' },
  NO_AUTH: { code: 'TRANSPORT_NO_AUTH', message: 'the router has no key for authenticators' },
  'HANDSHAKE PARSE': { code: 'TRANSPORT_HANDSHAKE', message: 'the hello could not be read' },
  'HANDSHAKE IDENTITY': {
    code: 'TRANSPORT_IDENTITY',
    message: 'the router has another identity than the address names',
  },
  'HANDSHAKE BAD_AUTH': {
    code: 'TRANSPORT_HANDSHAKE',
    message: 'the key of the hello is not proven by its certificate',
  },
  'HANDSHAKE BAD_SERVICE': { code: 'TRANSPORT_HANDSHAKE', message: 'the service could not be registered' },
}

/** The error that a word stands for; `facts.word` keeps the word. */
export const transportErrorOf = (word: TransportErrorWord, field = 'session', cause?: unknown): TransportError =>
  new TransportError(MEANINGS[word].code, MEANINGS[word].message, { field, facts: { word }, cause })

/** The word of an error that `transportErrorOf` made; undefined for others, which never travel. */
export const transportErrorWord = (error: TransportError): TransportErrorWord | undefined => {
  const { word } = error.facts
  return typeof word === 'string' && isWord(word) ? word : undefined
}

/** The word in bytes. */
export const encodeTransportError = (word: TransportErrorWord): Bytes => ascii(word)

/** Reads a word, one or two parts long. Throws `DECODE_INVALID` for an unknown one. */
export const readTransportError = (reader: Reader): TransportErrorWord => {
  const first = reader.word('transportError')
  if (first === 'HANDSHAKE') reader.space('transportError')
  const word = first === 'HANDSHAKE' ? `${first} ${reader.word('transportError')}` : first
  if (isWord(word)) return word
  throw new DecodeError('DECODE_INVALID', 'the transport error is unknown', { field: 'transportError' })
}

const isWord = (text: string): text is TransportErrorWord => Object.hasOwn(MEANINGS, text)
