import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as e from '../../src/encoding/index.js'
import { codeOf, onlyTypedErrors } from './fuzz.js'

describe('Reader', () => {
  it('reads back what the writers wrote, in order', () => {
    const number16 = fc.nat(0xffff)
    const bytes = fc.uint8Array({ maxLength: 255 })
    fc.assert(
      fc.property(
        fc.record({
          byte: fc.nat(0xff),
          word16: number16,
          word32: fc.nat(0xffffffff),
          int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
          short: bytes,
          large: fc.uint8Array({ maxLength: 2000 }),
          text: fc.string({ unit: 'grapheme', maxLength: 20 }),
          maybe: fc.option(bytes, { nil: undefined }),
          bool: fc.boolean(),
          list: fc.array(number16, { maxLength: 255 }),
          rest: bytes,
        }),
        value => {
          fc.pre(Buffer.byteLength(value.text) <= 255)
          const written = e.concat(
            e.byte(value.byte),
            e.word16(value.word16),
            e.word32(value.word32),
            e.int64(value.int64),
            e.short(value.short),
            e.large(value.large),
            e.short(e.utf8(value.text)),
            e.maybe(value.maybe, e.short),
            e.bool(value.bool),
            e.list(value.list, e.word16),
            value.rest,
          )
          const reader = new e.Reader(written)
          expect(reader.remaining).toBe(written.length)
          const read = {
            byte: reader.byte('byte'),
            word16: reader.word16('word16'),
            word32: reader.word32('word32'),
            int64: reader.int64('int64'),
            short: Uint8Array.from(reader.short('short')),
            large: Uint8Array.from(reader.large('large')),
            text: reader.text('text'),
            maybe: reader.maybe(inner => Uint8Array.from(inner.short('maybe'))),
            bool: reader.bool('bool'),
            list: reader.list(inner => inner.word16('item')),
            rest: Uint8Array.from(reader.rest()),
          }
          reader.end()
          expect(read).toEqual(value)
          expect(reader.offset).toBe(written.length)
        },
      ),
    )
  })

  it.each<[string, number[], (reader: e.Reader) => unknown]>([
    ['byte', [], r => r.byte('f')],
    ['word16', [1], r => r.word16('f')],
    ['word32', [1, 2, 3], r => r.word32('f')],
    ['int64', [1, 2, 3, 4, 5, 6, 7], r => r.int64('f')],
    ['short', [3, 1, 2], r => r.short('f')],
    ['large', [0, 3, 1, 2], r => r.large('f')],
    ['take', [1], r => r.take(2, 'f')],
    ['a list that ends early', [2, 0, 1], r => r.list(inner => inner.word16('f'))],
  ])('%s: too few bytes are DECODE_TRUNCATED with the field', (_, bytes, read) => {
    const run = () => read(new e.Reader(Uint8Array.from(bytes), 'thing'))
    expect(run).toThrow(expect.objectContaining({ code: 'DECODE_TRUNCATED', field: 'thing.f' }))
  })

  it.each<[string, string, (reader: e.Reader) => unknown]>([
    ['bool', 'X', r => r.bool('f')],
    ['maybe', '2', r => r.maybe(inner => inner.rest(), 'f')],
    ['empty list', '\0', r => r.nonEmptyList(inner => inner.byte('item'), 'f')],
    ['space', 'x', r => r.space('f')],
    ['empty word', ' x', r => r.word('f')],
    ['not UTF-8', '\x02\xc3\x28', r => r.text('f')],
  ])('%s: a byte that may not stand there is DECODE_INVALID with the field', (_, text, read) => {
    const run = () => read(new e.Reader(Buffer.from(text, 'latin1')))
    expect(run).toThrow(expect.objectContaining({ code: 'DECODE_INVALID', field: 'f' }))
  })

  it('bytes that are left are DECODE_TRAILING', () => {
    expect(() => e.decodeAll(Buffer.from('abc'), 'thing', reader => reader.byte('f'))).toThrow(
      expect.objectContaining({ code: 'DECODE_TRAILING', field: 'thing', facts: { trailing: 2 } }),
    )
  })

  it('words end at a space or at the end', () => {
    const reader = new e.Reader(Buffer.from('ERR AUTH'))
    expect(reader.word('tag')).toBe('ERR')
    expect(reader.peek()).toBe(0x20)
    reader.space('rest')
    expect(reader.word('rest')).toBe('AUTH')
    expect(reader.peek()).toBeUndefined()
  })

  it('gives views, not copies, also of a part of a larger buffer', () => {
    const memory = Buffer.from('..\x03abc..')
    const read = new e.Reader(new Uint8Array(memory.buffer, memory.byteOffset + 2, 4)).short('s')
    memory.write('x', 3)
    expect(Buffer.from(read).toString()).toBe('xbc')
  })

  it('hostile bytes give values or typed errors, and never more items than bytes', () => {
    onlyTypedErrors(
      bytes => {
        const reader = new e.Reader(bytes, 'thing')
        const items = reader.list(inner => inner.maybe(value => [value.text('text'), value.large('large')], 'item'))
        expect(items.length).toBeLessThan(Math.max(1, bytes.length))
        reader.end()
      },
      [
        e.list(['a', undefined, 'ö'], item =>
          e.maybe(item, text => e.concat(e.short(e.utf8(text)), e.large(e.utf8(text)))),
        ),
      ],
    )
  })
})

describe('writers', () => {
  it.each<[string, string, () => unknown]>([
    ['short of 256 bytes', 'ENCODE_TOO_LONG', () => e.short(new Uint8Array(256))],
    ['large of 65,536 bytes', 'ENCODE_TOO_LONG', () => e.large(new Uint8Array(65_536))],
    [
      'list of 256 items',
      'ENCODE_TOO_LONG',
      () =>
        e.list(
          Array.from({ length: 256 }, () => 0),
          e.byte,
        ),
    ],
    ['byte 256', 'ENCODE_RANGE', () => e.byte(256)],
    ['word16 -1', 'ENCODE_RANGE', () => e.word16(-1)],
    ['word16 1.5', 'ENCODE_RANGE', () => e.word16(1.5)],
    ['word32 2^32', 'ENCODE_RANGE', () => e.word32(2 ** 32)],
    ['int64 2^63', 'ENCODE_RANGE', () => e.int64(2n ** 63n)],
    ['text that is not ASCII', 'ENCODE_INVALID', () => e.ascii('ö')],
  ])('%s is %s', (_, code, run) => {
    expect(codeOf(run)).toBe(code)
  })
})
