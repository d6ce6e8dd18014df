import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlockAssembler } from '../../../src/smp/transport/blocks.js'
import { blockSize } from '../../../src/smp/transport/port.js'

describe('blocks of a byte stream', () => {
  it('come out the same however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.nat(5 * blockSize),
        fc.array(fc.oneof(fc.integer({ min: 1, max: 70_000 }), fc.constant(blockSize)), {
          minLength: 1,
          maxLength: 30,
        }),
        fc.integer(),
        (length, cuts, seed) => {
          const stream = Buffer.alloc(length)
          for (let i = 0; i < length; i++) stream[i] = (i * 31 + seed + (i >> 8)) & 255
          const assembler = new BlockAssembler()
          const blocks: Uint8Array[] = []
          for (let at = 0, i = 0; at < length; i++) {
            const end = at + (cuts[i % cuts.length] as number)
            assembler.push(stream.subarray(at, end), block => blocks.push(block))
            at = end
          }
          expect(blocks.every(block => block.length === blockSize)).toBe(true)
          expect(blocks.length).toBe(Math.floor(length / blockSize))
          expect(assembler.pendingBytes).toBe(length % blockSize)
          expect(Buffer.concat(blocks).equals(stream.subarray(0, blocks.length * blockSize))).toBe(true)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('passes a chunk that is one block on without copying', () => {
    const chunk = Buffer.alloc(blockSize)
    const blocks: Uint8Array[] = []
    new BlockAssembler().push(chunk, block => blocks.push(block))
    expect(blocks[0]).toBe(chunk)
  })
})
