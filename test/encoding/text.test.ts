import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as e from '../../src/encoding/index.js'
import { DecodeError } from '../../src/errors.js'
import { codeOf, onlyTypedErrors } from './fuzz.js'

describe('base64url', () => {
  it('reads back both forms', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), bytes => {
        expect(Uint8Array.from(e.fromBase64url(e.toBase64url(bytes), 'f'))).toEqual(bytes)
        expect(Uint8Array.from(e.fromBase64url(e.toBase64urlUnpadded(bytes), 'f'))).toEqual(bytes)
        expect(e.toBase64url(bytes).length % 4).toBe(0)
      }),
    )
  })

  it.each(['a', 'abcde', 'YQ=', 'YQ===', 'YWI==', 'YWJj=', 'YR', 'a+b/', 'YQ==\n', ' YQ', '=', 'Y=Q='])(
    'rejects %j',
    text => {
      expect(() => e.fromBase64url(text, 'link')).toThrow(
        expect.objectContaining({ code: 'DECODE_INVALID', field: 'link' }),
      )
    },
  )

  it('any text gives bytes with exactly one form, or a typed error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.base64String(), fc.string({ unit: 'binary-ascii' }), fc.string()), text => {
        try {
          const bytes = e.fromBase64url(text, 'f')
          expect([e.toBase64url(bytes), e.toBase64urlUnpadded(bytes)]).toContain(text)
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error
        }
      }),
    )
  })
})

describe('version ranges', () => {
  const version = fc.nat(0xffff)
  const range = fc.tuple(version, version).map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }))

  it('read back in bytes and text', () => {
    fc.assert(
      fc.property(range, value => {
        expect(e.decodeAll(e.encodeVersionRange(value), 'r', e.readVersionRange)).toEqual(value)
        expect(e.parseVersionRange(e.formatVersionRange(value))).toEqual(value)
      }),
    )
  })

  it('the intersection holds exactly the versions that are in both', () => {
    const small = fc.tuple(fc.nat(8), fc.nat(8)).map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }))
    fc.assert(
      fc.property(small, small, fc.nat(9), (a, b, v) => {
        const common = e.intersect(a, b)
        const inBoth = e.includesVersion(a, v) && e.includesVersion(b, v)
        expect(common !== undefined && e.includesVersion(common, v)).toBe(inBoth)
      }),
    )
  })

  it.each(['', '-', '2-', '-7', '7-2', '2-7-9', '65536', '1-65536', '2 - 7', 'x', '999999'])('rejects %j', text => {
    expect(codeOf(() => e.parseVersionRange(text))).toBe('DECODE_INVALID')
  })

  it('hostile bytes give a range with min ≤ max or a typed error', () => {
    onlyTypedErrors(
      bytes => {
        const { min, max } = e.decodeAll(bytes, 'r', e.readVersionRange)
        expect(min).toBeLessThanOrEqual(max)
      },
      [e.encodeVersionRange({ min: 14, max: 18 })],
    )
  })
})
