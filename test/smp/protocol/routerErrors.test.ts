import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DecodeError, InternalError } from '../../../src/errors.js'
import {
  decodeSmpError,
  encodeSmpError,
  formatSmpError,
  parseSmpError,
  smpErrorCode,
  smpErrorOfDecodeError,
  toRouterError,
} from '../../../src/smp/protocol/routerErrors.js'
import { mutatedText, survives } from './arbitraries.js'

describe('router errors', () => {
  it.each([
    ['AUTH', 'AUTH'],
    ['CMD SYNTAX', 'CMD_SYNTAX'],
    ['STORE disk is full', 'STORE'],
    ['BLOCKED reason=spam', 'BLOCKED'],
    ['PROXY PROTOCOL CMD NO_AUTH', 'PROXY_PROTOCOL_CMD_NO_AUTH'],
    ['PROXY BROKER TRANSPORT HANDSHAKE IDENTITY', 'PROXY_BROKER_TRANSPORT_HANDSHAKE_IDENTITY'],
    ['PROXY BROKER RESPONSE some text', 'PROXY_BROKER_RESPONSE'],
  ])('%s has the stable code %s', (text, code) => {
    expect(smpErrorCode(parseSmpError(text))).toBe(code)
    expect(toRouterError(parseSmpError(text), 'queue').code).toBe(code)
  })

  it('reads the details of NETWORK that later routers may send, and writes the word alone', () => {
    const error = decodeSmpError(Buffer.from('PROXY BROKER NETWORK TLS \x05alert', 'latin1'))
    expect(error).toMatchObject({ error: { error: { error: { type: 'TLS', text: 'alert' } } } })
    expect(formatSmpError(error)).toBe('PROXY BROKER NETWORK')
  })

  it('reads NO_QUEUE of older routers as NO_ENTITY', () => {
    expect(parseSmpError('CMD NO_QUEUE')).toEqual({ type: 'CMD', error: 'NO_ENTITY' })
  })

  it('cuts free text that is longer than its length byte can say', () => {
    const error = parseSmpError(`PROXY BROKER RESPONSE ${'x'.repeat(300)}`)
    expect(formatSmpError(decodeSmpError(encodeSmpError(18, error)))).toBe(`PROXY BROKER RESPONSE ${'x'.repeat(255)}`)
  })

  it.each([
    '',
    'AUTH ',
    'AUTH x',
    'CMD',
    'CMD FOO',
    'BLOCKED reason=none',
    'BLOCKED reason=spam,notice=1',
    'PROXY BROKER TRANSPORT FOO',
  ])('refuses "%s"', text => {
    expect(() => parseSmpError(text)).toThrow(DecodeError)
  })

  it('refuses errors that are nested deeper than any honest router nests them', () => {
    expect(() => parseSmpError(`${'PROXY PROTOCOL '.repeat(5000)}AUTH`)).toThrow(DecodeError)
  })

  it('answers a peer only for what the peer sent: other errors pass through', () => {
    expect(() => smpErrorOfDecodeError(new InternalError('bug'))).toThrow(InternalError)
  })

  it('survives random and mutated text', () => {
    const samples = [
      'PROXY BROKER NETWORK CONNECT refused',
      'PROXY PROTOCOL BLOCKED reason=content,notice={"ttl":86400}',
      'STORE error',
      'CMD NO_ENTITY',
    ]
    survives(fc.oneof(fc.string(), mutatedText(samples)), parseSmpError, formatSmpError)
  })
})
