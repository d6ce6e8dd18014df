import { expect, it } from 'vitest'
import * as e from '../../src/encoding/index.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('encodings')

interface Codec {
  /** The value of the vector as this code holds it. */
  readonly value: (vector: Vector) => unknown
  readonly encode: (value: never) => e.Bytes
  readonly read: (reader: e.Reader) => unknown
}

/** Some values are written as a description: `255 x 'z'`, `(empty)`. */
const bytesOf = (value: string): e.Bytes => {
  const repeated = /^(\d+) x '(.)'$/.exec(value)
  if (repeated) return e.ascii(String(repeated[2]).repeat(Number(repeated[1])))
  return e.ascii(value === '(empty)' ? '' : value)
}

const codec = <T>(
  value: (vector: Vector) => T,
  encode: (value: T) => e.Bytes,
  read: (reader: e.Reader) => T,
): Codec => ({ value, encode, read })

const int = (vector: Vector): number => Number(vector['value'])
const bytes = (vector: Vector): e.Bytes => bytesOf(vector['value'])

const CODECS: Record<string, Codec> = {
  Word16: codec(int, e.word16, r => r.word16('n')),
  Word32: codec(int, e.word32, r => r.word32('n')),
  Int64: codec(
    v => BigInt(v['value']),
    e.int64,
    r => r.int64('n'),
  ),
  'SystemTime(seconds only)': codec(
    v => BigInt(v['value']),
    e.int64,
    r => r.int64('n'),
  ),
  Bool: codec(
    v => v['value'] as boolean,
    e.bool,
    r => r.bool('b'),
  ),
  Char: codec(
    v => v['value'].charCodeAt(0) as number,
    e.byte,
    r => r.byte('c'),
  ),
  ByteString: codec(bytes, e.short, r => r.short('s')),
  Large: codec(bytes, e.large, r => r.large('s')),
  Tail: codec(
    bytes,
    value => value,
    r => r.rest(),
  ),
  'Maybe ByteString': codec(
    v => (v['value'] === null ? undefined : bytes(v)),
    value => e.maybe(value, e.short),
    r => r.maybe(inner => inner.short('s')),
  ),
  'NonEmpty ByteString': codec(
    v => v['value'].map(bytesOf) as e.Bytes[],
    value => e.list(value, e.short),
    r => r.nonEmptyList(inner => inner.short('s')),
  ),
  'list Word16 (smpEncodeList)': codec(
    v => v['value'] as number[],
    value => e.list(value, e.word16),
    r => r.list(inner => inner.word16('n')),
  ),
  'empty list (smpEncodeList)': codec(
    v => v['value'] as number[],
    value => e.list(value, e.word16),
    r => r.list(inner => inner.word16('n')),
  ),
  Text: codec(
    v => v['value'] as string,
    value => e.short(e.utf8(value)),
    r => r.text('t'),
  ),
  '(Word16,ByteString,Bool)': codec(
    v => [Number(v['value'][0]), bytesOf(v['value'][1]), v['value'][2] as boolean] as const,
    ([n, s, b]) => e.concat(e.word16(n), e.short(s), e.bool(b)),
    r => [r.word16('n'), r.short('s'), r.bool('b')] as const,
  ),
  Version: codec(int, e.word16, r => r.word16('v')),
  VersionRange: codec(v => e.parseVersionRange(v['value']), e.encodeVersionRange, e.readVersionRange),
}

it.each((vectors['binary'] as Vector[]).map(v => [`${v['type']} ${JSON.stringify(v['value'])}`, v] as const))(
  'encodings.json %s',
  (_, vector) => {
    const known = CODECS[vector['type']]
    if (known === undefined) throw new Error(`no codec for ${vector['type']}`)
    const value = known.value(vector)
    expect(toHex(known.encode(value as never))).toBe(vector['smp'])
    expect(e.decodeAll(hex(vector['smp']), 'vector', known.read)).toEqual(value)
  },
)

it.each((vectors['str'] as Vector[]).map(v => [v['str'], v] as const))('encodings.json string %s', (text, vector) => {
  if (vector['type'] === 'VersionRange') {
    const range = { min: vector['min'], max: vector['max'] }
    expect(e.formatVersionRange(range)).toBe(text)
    expect(e.parseVersionRange(text)).toEqual(range)
    return
  }
  expect(vector['type']).toBe('ByteString (base64url padded)')
  expect(e.toBase64url(hex(vector['hex']))).toBe(text)
  expect(toHex(e.fromBase64url(text, 'text'))).toBe(vector['hex'])
  expect(toHex(e.fromBase64url(text.replaceAll('=', ''), 'text'))).toBe(vector['hex'])
})
