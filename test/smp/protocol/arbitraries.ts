import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { DuologueError } from '../../../src/errors.js'
import type { Bytes } from '../../../src/encoding/index.js'

/** Random bytes: short ones, and some as long as a block. */
export const anyBytes: fc.Arbitrary<Bytes> = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.uint8Array({ minLength: 16_000, maxLength: 16_384, size: 'max' }),
)

type Mutation = readonly ['set' | 'insert' | 'remove' | 'cut', position: number, value: number]

const mutation: fc.Arbitrary<Mutation> = fc.tuple(
  fc.constantFrom('set', 'insert', 'remove', 'cut'),
  fc.nat(),
  fc.integer({ min: 0, max: 255 }),
)

const mutate = (bytes: Bytes, [kind, position, value]: Mutation): Bytes => {
  const at = position % (bytes.length + 1)
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)]
  switch (kind) {
    case 'set':
      return Buffer.concat([head, Buffer.of(value), tail.subarray(1)])
    case 'insert':
      return Buffer.concat([head, Buffer.of(value), tail])
    case 'remove':
      return Buffer.concat([head, tail.subarray(1)])
    default:
      return head
  }
}

/** One of the samples, changed in one to four places. */
export const mutated = (samples: readonly Bytes[]): fc.Arbitrary<Bytes> =>
  fc
    .tuple(fc.constantFrom(...samples), fc.array(mutation, { minLength: 1, maxLength: 4 }))
    .map(([sample, mutations]) => mutations.reduce(mutate, sample))

/** As `mutated`, for text. */
export const mutatedText = (samples: readonly string[]): fc.Arbitrary<string> =>
  mutated(samples.map(sample => Buffer.from(sample))).map(bytes => Buffer.from(bytes).toString('utf8'))

/**
 * Feeds random and mutated input to a decoder: it may only answer or throw a typed error with a field, and whatever it
 * accepts must survive being written and read again.
 */
export const survives = <In, T>(inputs: fc.Arbitrary<In>, decode: (input: In) => T, encode: (value: T) => In): void => {
  fc.assert(
    fc.property(inputs, input => {
      const value = attempt(() => decode(input))
      if (value === undefined) return true
      const again = encode(value)
      return isDeepStrictEqual(encode(decode(again)), again)
    }),
    { numRuns: 500 },
  )
}

const attempt = <T>(decode: () => T): T | undefined => {
  try {
    return decode()
  } catch (error) {
    if (error instanceof DuologueError && error.code.startsWith('DECODE_') && error.field !== undefined)
      return undefined
    throw error
  }
}
