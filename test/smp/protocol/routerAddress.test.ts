import { describe, expect, it } from 'vitest'
import { decodeAll } from '../../../src/encoding/index.js'
import { DecodeError } from '../../../src/errors.js'
import {
  encodeRouterAddress,
  formatRouterAddress,
  formatRouterAddressWithAuth,
  parseRouterAddress,
  parseRouterAddressWithAuth,
  portOf,
  readRouterAddress,
  sameRouter,
} from '../../../src/smp/protocol/routerAddress.js'
import { anyBytes, mutated, mutatedText, survives } from './arbitraries.js'
import * as fc from 'fast-check'

const fingerprint = 'LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI='
const at = (place: string): string => `smp://${fingerprint}@${place}`
const hostOf = (place: string): string | undefined => parseRouterAddress(at(place)).hosts[0]
const fieldOf = (text: string): string | undefined => {
  try {
    parseRouterAddressWithAuth(text)
  } catch (error) {
    if (error instanceof DecodeError) return error.field
    throw error
  }
  throw new Error('parsed')
}

describe('router address', () => {
  it('dials 5223 when the address names no port', () => {
    expect(portOf(parseRouterAddress(at('smp.example.com')))).toBe(5223)
    expect(portOf(parseRouterAddress(at('smp.example.com:443')))).toBe(443)
  })

  it('reads IPv6 hosts with and without brackets and spells them canonically', () => {
    expect(hostOf('[::1]:5223')).toBe('::1')
    expect(hostOf('[FE80:0:0:0:0:0:0:1]')).toBe('fe80::1')
    expect(hostOf('2001:db8::1')).toBe('2001:db8::1')
    expect(hostOf('[::ffff:1.2.3.4]')).toBe('::ffff:1.2.3.4')
  })

  it('takes a name that starts like an IPv6 address for a name', () => {
    expect(hostOf('face.example.com:1')).toBe('face.example.com')
    expect(hostOf('abcd:5223')).toBe('abcd')
  })

  it.each([
    ['router address', 'https://example.com'],
    ['router address', `xftp://${fingerprint}@example.com`],
    ['router address', 'smp://@smp.example.com'],
    ['router address', `smp://${fingerprint}@`],
    ['router fingerprint', 'smp://abcd====@example.com'],
    ['router fingerprint', 'smp://abcde@example.com'],
    ['router password', `smp://${fingerprint}:pass word@example.com`],
    ['router password', `smp://${fingerprint}:a:b@example.com`],
    ['router host', at('1.2.3.256')],
    ['router host', at('a b')],
    ['router host', at('UPPER.onion')],
    ['router host', at('[::g]')],
    ['router host', at('a,,b')],
    ['router host', at(`${'a'.repeat(256)}`)],
    ['router port', at('a:')],
    ['router port', at('a:0')],
    ['router port', at('a:65536')],
    ['router port', at('a:abc')],
  ])('names the bad %s in %s', (field, text) => {
    expect(fieldOf(text)).toBe(field)
  })

  it('takes a password only where one is expected', () => {
    const text = `smp://${fingerprint}:secret@smp.example.com:5224`
    expect(parseRouterAddressWithAuth(text).basicAuth).toBe('secret')
    expect(formatRouterAddressWithAuth(parseRouterAddressWithAuth(text))).toBe(text)
    expect(() => parseRouterAddress(text)).toThrow(DecodeError)
  })

  it('knows the same router by its place and fingerprint, the default port included', () => {
    const router = parseRouterAddress(at('a,b'))
    expect(sameRouter(router, parseRouterAddress(at('a,b:5223')))).toBe(true)
    expect(sameRouter(router, parseRouterAddress(at('a')))).toBe(false)
    expect(sameRouter(router, parseRouterAddress('smp://AAAA@a,b'))).toBe(false)
  })

  it('survives random and mutated text', () => {
    const samples = [at('smp.example.com,abc.onion:5223'), at('[::1]:1'), `smp://AAAA:pass@1.2.3.4`]
    survives(
      fc.oneof(fc.string(), fc.string({ unit: 'binary' }), mutatedText(samples)),
      parseRouterAddressWithAuth,
      formatRouterAddressWithAuth,
    )
  })

  it('survives random and mutated bytes', () => {
    const samples = ['smp.example.com,abc.onion:5223', '127.0.0.1', '[::1]:1'].map(place =>
      encodeRouterAddress(parseRouterAddress(at(place))),
    )
    survives(
      fc.oneof(anyBytes, mutated(samples)),
      bytes => decodeAll(bytes, 'router', readRouterAddress),
      encodeRouterAddress,
    )
  })

  it.each(['a,b.onion:80', '[::]:1', '[fe80::1],a:5223', '[::ffff:1.2.3.4]:5223', '1.2.3.4'])(
    'writes %s as it reads it',
    place => {
      expect(formatRouterAddress(parseRouterAddress(at(place)))).toBe(at(place))
    },
  )

  it('reads bare IPv6 as the reference does: a port becomes part of it', () => {
    expect(parseRouterAddress(at('::1:5223'))).toMatchObject({ hosts: ['::1:5223'], port: '' })
    expect(parseRouterAddress(at('::ffff:1.2.3.4'))).toMatchObject({ hosts: ['::ffff:1.2.3.4'] })
    expect(formatRouterAddress(parseRouterAddress(at('[::1]:5223')), 'bare')).toBe(at('::1:5223'))
  })
})
