import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeRecord, encodeMessage, encodeRemoval, findRecord } from '../../../src/router/journal/record.js'
import type { MessageEntry } from '../../../src/router/messageLog.js'

const mark = Buffer.from('0123456789abcdef', 'hex')

const latin1 = (min: number, max: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: min, maxLength: max }).map(bytes => Buffer.from(bytes).toString('latin1'))

const entries: fc.Arbitrary<MessageEntry> = fc.record({
  seq: fc.nat({ max: 2 ** 48 - 1 }),
  queue: latin1(0, 255),
  id: latin1(24, 24),
  timestamp: fc.nat({ max: 2 ** 47 }),
  kind: fc.constantFrom('message' as const, 'quota' as const),
  notification: fc.boolean(),
  committed: fc.constant(true),
  live: fc.constant(true),
})
const bodies = fc.uint8Array({ maxLength: 2000 })
const whole = (entry: MessageEntry, body: Uint8Array): Buffer => Buffer.concat(encodeMessage(mark, entry, body).chunks)

describe('journal records', () => {
  it('are read back as they were written', () => {
    fc.assert(
      fc.property(entries, bodies, fc.nat({ max: 50 }), (entry, body, offset) => {
        const bytes = Buffer.concat([Buffer.alloc(offset, 7), whole(entry, body), Buffer.alloc(3)])
        const record = decodeRecord(mark, bytes, offset)
        if (record?.type !== 'message') throw new Error('not a message')
        expect(record.entry).toEqual(entry)
        expect(bytes.subarray(offset + record.bodyOffset, offset + record.length).equals(body)).toBe(true)
        const removal = Buffer.concat(encodeRemoval(mark, entry).chunks)
        expect(decodeRecord(mark, removal, 0)).toEqual({
          type: 'removed',
          queue: entry.queue,
          seq: entry.seq,
          length: removal.length,
        })
      }),
    )
  })

  it('that lack bytes or have a changed one are no records', () => {
    fc.assert(
      fc.property(entries, bodies, fc.nat(), fc.integer({ min: 1, max: 255 }), (entry, body, position, change) => {
        const bytes = whole(entry, body)
        const at = position % bytes.length
        expect(decodeRecord(mark, bytes.subarray(0, at), 0)).toBeUndefined()
        bytes[at] = (bytes[at] ?? 0) ^ change
        expect(decodeRecord(mark, bytes, 0)).toBeUndefined()
      }),
    )
  })

  it('are never made of random bytes, even after a true mark', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
        expect(decodeRecord(mark, Buffer.concat([mark, bytes]), 0)).toBeUndefined()
        expect(findRecord(mark, Buffer.concat([mark, bytes, mark]), 0)).toBeUndefined()
      }),
    )
  })

  it('cannot be forged by a body of another mark', () => {
    fc.assert(
      fc.property(entries, bodies, (entry, body) => {
        const forged = Buffer.concat(encodeMessage(Buffer.alloc(8, 1), entry, body).chunks)
        const carrier = Buffer.concat([Buffer.alloc(5), forged, whole({ ...entry, seq: 5 }, body)])
        expect(findRecord(mark, carrier, 0)).toBe(5 + forged.length)
      }),
    )
  })
})
