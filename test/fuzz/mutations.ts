/** Valid bytes and texts, spoiled as hostile peers and bad disks spoil them. */
import * as fc from 'fast-check'
import type { Bytes } from '../../src/encoding/index.js'

/** A place is drawn as a number and taken modulo the length, so that shrinking goes to the front. */
type Mutation = (bytes: Buffer<ArrayBufferLike>, other: Buffer<ArrayBufferLike>) => Buffer<ArrayBufferLike>

const at = (bytes: Buffer, place: number): number => (bytes.length === 0 ? 0 : place % bytes.length)
const cut = (bytes: Buffer, from: number, length: number): Buffer =>
  Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)])
const put = (bytes: Buffer, place: number, part: Bytes): Buffer =>
  Buffer.concat([bytes.subarray(0, place), part, bytes.subarray(place)])
/** Writes over what is there. */
const over = (bytes: Buffer, place: number, part: Bytes): Buffer =>
  Buffer.concat([bytes.subarray(0, place), part.subarray(0, bytes.length - place), bytes.subarray(place + part.length)])

const place = fc.nat(20_000)
/** Numbers that lie when they are read as lengths, counts or versions. */
const lies = fc.constantFrom(
  '00',
  '01',
  '7f',
  '80',
  'ff',
  '0000',
  '0001',
  '7fff',
  '8000',
  'ffff',
  '00000000',
  '7fffffff',
  'ffffffff',
  'ffffffffffffffff',
)

const flipped = fc.tuple(place, fc.nat(7)).map(
  ([where, bit]): Mutation =>
    bytes => {
      if (bytes.length === 0) return bytes
      const copy = Buffer.from(bytes)
      const index = at(copy, where)
      copy[index] = (copy[index] as number) ^ (1 << bit)
      return copy
    },
)
const truncated = place.map(
  (where): Mutation =>
    bytes =>
      bytes.subarray(0, at(bytes, where)),
)
const extended = fc.uint8Array({ maxLength: 40, minLength: 1 }).map(
  (more): Mutation =>
    bytes =>
      Buffer.concat([bytes, more]),
)
const lied = fc.tuple(place, lies).map(
  ([where, lie]): Mutation =>
    bytes =>
      over(bytes, at(bytes, where), Buffer.from(lie, 'hex')),
)
/** A length that is nearly right: one or two more or less. */
const nudged = fc.tuple(place, fc.constantFrom(-2, -1, 1, 2)).map(
  ([where, by]): Mutation =>
    bytes => {
      if (bytes.length === 0) return bytes
      const copy = Buffer.from(bytes)
      const index = at(copy, where)
      copy[index] = ((copy[index] as number) + by) & 0xff
      return copy
    },
)
const duplicated = fc.tuple(place, fc.nat(80), place).map(
  ([from, length, to]): Mutation =>
    bytes => {
      const start = at(bytes, from)
      return put(bytes, at(bytes, to), bytes.subarray(start, start + length))
    },
)
const removed = fc.tuple(place, fc.integer({ min: 1, max: 40 })).map(
  ([from, length]): Mutation =>
    bytes =>
      cut(bytes, at(bytes, from), length),
)
const inserted = fc.tuple(place, fc.uint8Array({ maxLength: 8 })).map(
  ([where, part]): Mutation =>
    bytes =>
      put(bytes, at(bytes, where), part),
)
/** The front of this one with the end of another one. */
const spliced = fc.tuple(place, place).map(
  ([mine, theirs]): Mutation =>
    (bytes, other) =>
      Buffer.concat([bytes.subarray(0, at(bytes, mine)), other.subarray(at(other, theirs))]),
)

const mutation = fc.oneof(flipped, truncated, extended, lied, nudged, duplicated, removed, inserted, spliced)

/** Bytes of valid values, spoiled in one to four ways; sometimes only noise. */
export const spoiled = (valid: fc.Arbitrary<Bytes>): fc.Arbitrary<Buffer> =>
  fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .tuple(valid, valid, fc.array(mutation, { minLength: 1, maxLength: 4 }))
        .map(([bytes, other, mutations]) =>
          mutations.reduce<Buffer>((spoilt, mutate) => mutate(spoilt, Buffer.from(other)), Buffer.from(bytes)),
        ),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 400 }).map(bytes => Buffer.from(bytes)) },
  )

/** The same for texts: characters that mean something in links, addresses and JSON are put in as well. */
export const spoiledText = (valid: fc.Arbitrary<string>): fc.Arbitrary<string> => {
  const edit = fc.tuple(
    place,
    fc.nat(6),
    fc.oneof(
      fc.constantFrom(
        '',
        '/',
        '#',
        '?',
        '&',
        '=',
        '@',
        ':',
        ',',
        ';',
        '%',
        '%2',
        '%ff',
        '[',
        ']',
        '{',
        '"',
        '\0',
        '\u{10ffff}',
        '\ud800',
        '..',
        '-1',
        '65536',
        '1e9',
      ),
      fc.string({ maxLength: 5 }),
    ),
  )
  const edited = fc.tuple(valid, fc.array(edit, { minLength: 1, maxLength: 4 })).map(([text, edits]) =>
    edits.reduce((spoilt, [where, length, part]) => {
      const from = spoilt.length === 0 ? 0 : where % spoilt.length
      return spoilt.slice(0, from) + part + spoilt.slice(from + length)
    }, text),
  )
  const bytes = spoiled(valid.map(text => Buffer.from(text))).map(spoilt => spoilt.toString('utf8'))
  return fc.oneof({ weight: 6, arbitrary: edited }, { weight: 3, arbitrary: bytes }, fc.string({ unit: 'binary' }))
}
