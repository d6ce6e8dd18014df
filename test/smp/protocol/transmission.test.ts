import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Bytes } from '../../../src/encoding/index.js'
import { BATCH_ROOM, BLOCK_BYTES, padBlock, unpadBlock } from '../../../src/smp/protocol/block.js'
import {
  authorizedBytes,
  authorizedTransmission,
  batchParts,
  batchTransmissions,
  compact,
  decodeTransmission,
  encodeTransmission,
  MAX_BATCH,
  readBatch,
  senderIdOf,
  transmissionParts,
} from '../../../src/smp/protocol/transmission.js'
import { codeOf, onlyTypedErrors } from '../../encoding/fuzz.js'

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map(value => Buffer.from(value))
const fixed = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(value => Buffer.from(value))
const versions = fc.integer({ min: 6, max: 18 })

const transmissions = versions.chain(version =>
  fc
    .record({
      authorization: bytes(255),
      corrId: bytes(24),
      entityId: bytes(24),
      command: bytes(100),
      service: fixed(64),
    })
    .map(({ service, ...fields }) => ({
      version,
      transmission: {
        ...fields,
        ...(version >= 16 && fields.authorization.length % 2 === 1 ? { serviceSignature: service } : {}),
        ...(version < 7 ? { sessionId: Buffer.from('session') } : {}),
      },
    })),
)

describe('transmissions', () => {
  it('are read as they were written, in every version', () => {
    fc.assert(
      fc.property(transmissions, ({ version, transmission }) => {
        expect(decodeTransmission(version, encodeTransmission(version, transmission))).toEqual(transmission)
      }),
    )
  })

  it('authorize the session id before everything but the credentials', () => {
    const fields = { corrId: Buffer.from('c'), entityId: Buffer.from('e'), command: Buffer.from('PING') }
    expect(Buffer.from(authorizedBytes(Buffer.from('s'), fields)).toString('latin1')).toBe('\x01s\x01c\x01ePING')
  })

  const plain = {
    authorization: Buffer.alloc(64),
    corrId: Buffer.alloc(24),
    entityId: Buffer.alloc(24),
    command: Buffer.alloc(4),
  }

  it.each([
    ['a service signature below 16', 15, { ...plain, serviceSignature: Buffer.alloc(64) }, 'ENCODE_INVALID'],
    [
      'a service signature without authorization',
      18,
      { ...plain, authorization: Buffer.alloc(0), serviceSignature: Buffer.alloc(64) },
      'ENCODE_INVALID',
    ],
    ['no session id below 7', 6, plain, 'ENCODE_INVALID'],
    ['a long entity id', 18, { ...plain, entityId: Buffer.alloc(256) }, 'ENCODE_TOO_LONG'],
  ])('%s is a typed error', (_, version, transmission, code) => {
    expect(codeOf(() => encodeTransmission(version, transmission))).toBe(code)
  })

  it('a service signature of a wrong size is DECODE_INVALID', () => {
    const encoded = encodeTransmission(18, { ...plain, serviceSignature: Buffer.alloc(63) })
    expect(codeOf(() => decodeTransmission(18, encoded))).toBe('DECODE_INVALID')
  })

  it('hostile bytes are a transmission or a typed error', () => {
    const sample = encodeTransmission(18, { ...plain, serviceSignature: Buffer.alloc(64) })
    for (const version of [6, 14, 18]) onlyTypedErrors(hostile => decodeTransmission(version, hostile), [sample])
  })
})

describe('batches', () => {
  const blocksOf = (items: Bytes[]): { block: Bytes; count: number }[] =>
    batchTransmissions(items).map(batch => {
      if ('error' in batch) throw batch.error
      return batch
    })

  it('keep all transmissions in order, each block full enough and never too full', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(60), fc.nat(BATCH_ROOM - 2)), { maxLength: 400 }), sizes => {
        const items = sizes.map((size, index) => Buffer.alloc(size, index))
        const blocks = blocksOf(items)
        for (const { block, count } of blocks) {
          expect(block.length).toBeLessThanOrEqual(BATCH_ROOM + 1)
          expect(readBatch(unpadBlock(padBlock(block)))).toHaveLength(count)
        }
        const read = blocks.flatMap(({ block }) => readBatch(block))
        expect(isDeepStrictEqual(read, items)).toBe(true)
        for (const [index, { block, count }] of blocks.entries()) {
          const next = blocks[index + 1]
          if (next === undefined) continue
          const last = readBatch(block).at(-1) as Bytes
          expect(next.count === MAX_BATCH || next.block.length + 2 + last.length > BATCH_ROOM + 1).toBe(true)
          expect(count).toBeGreaterThan(0)
        }
      }),
      { numRuns: 50 },
    )
  })

  it('hold at most 255: 256 need two blocks', () => {
    const empty = Array.from({ length: 256 }, () => Buffer.alloc(0))
    expect(blocksOf(empty).map(({ count }) => count)).toEqual([1, 255])
  })

  it('one that fills a block exactly fits; one byte more is its own LARGE_MSG, the others still go', () => {
    const largest = Buffer.alloc(BLOCK_BYTES - 19 - 2)
    expect(blocksOf([largest])).toHaveLength(1)
    const [first, middle, last] = batchTransmissions([
      Buffer.from('a'),
      Buffer.alloc(largest.length + 1),
      Buffer.from('b'),
    ])
    expect(first).toEqual({ block: Buffer.from('\x01\0\x01a'), count: 1 })
    expect(middle).toEqual({ error: expect.objectContaining({ code: 'LARGE_MSG', field: 'transmission' }), count: 1 })
    expect(last).toEqual({ block: Buffer.from('\x01\0\x01b'), count: 1 })
  })

  it('nothing needs no block, and a block never holds nothing', () => {
    expect(batchTransmissions([])).toEqual([])
    expect(codeOf(() => readBatch(Buffer.of(0)))).toBe('DECODE_INVALID')
  })

  it('hostile bytes are transmissions no longer than the bytes, or a typed error', () => {
    const [sample] = blocksOf([Buffer.from('one'), Buffer.from('two'), Buffer.from('three')])
    onlyTypedErrors(
      hostile => {
        const total = readBatch(hostile).reduce((sum, item) => sum + item.length, 0)
        expect(total).toBeLessThan(hostile.length)
      },
      [sample?.block as Bytes],
    )
  })
})

it('a sender id is 24 bytes of the correlation id', () => {
  expect(senderIdOf(Buffer.alloc(24))).toHaveLength(24)
  expect(senderIdOf(Buffer.alloc(24, 1))).not.toEqual(senderIdOf(Buffer.alloc(24, 2)))
})

describe('transmissions as parts', () => {
  const current = fc.integer({ min: 7, max: 18 })
  const pieces = fc.array(bytes(1200), { maxLength: 4 })

  it('have the bytes of those in one piece', () => {
    fc.assert(
      fc.property(current, bytes(100), pieces, (version, authorization, command) => {
        const ids = { authorization, corrId: Buffer.alloc(24, 1), entityId: Buffer.alloc(24, 2) }
        const whole = encodeTransmission(version, { ...ids, command: Buffer.concat(command) })
        expect(Buffer.concat(transmissionParts(version, { ...ids, command })).equals(whole)).toBe(true)
        expect(Buffer.concat(compact(transmissionParts(version, { ...ids, command }))).equals(whole)).toBe(true)
        const sessionId = Buffer.alloc(32, 3)
        const authorized = authorizedBytes(sessionId, { ...ids, command })
        const sent = authorizedTransmission(version, sessionId, authorized, authorization)
        expect(Buffer.concat(sent).equals(whole)).toBe(true)
      }),
    )
  })

  it('are packed into the same blocks', () => {
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), transmissions => {
        const whole = batchTransmissions(transmissions.map(parts => Buffer.concat(parts)))
        const packed = batchParts(transmissions)
        expect(packed.map(({ count }) => count)).toEqual(whole.map(({ count }) => count))
        packed.forEach((batch, index) => {
          const other = whole[index]
          if ('block' in batch && other !== undefined && 'block' in other) {
            expect(Buffer.compare(padBlock(batch.block), padBlock(other.block))).toBe(0)
          } else expect(other).toHaveProperty('error')
        })
      }),
    )
  })
})
