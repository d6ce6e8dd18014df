import * as fc from 'fast-check'
import type { Bytes } from '../../src/encoding/index.js'
import { DuologueError } from '../../src/errors.js'

/** Bytes that are random, or a valid sample with bytes changed, cut off, put in or added. */
const hostileBytes = (samples: readonly Bytes[]): fc.Arbitrary<Bytes> => {
  const random = fc.uint8Array({ maxLength: 300 })
  if (samples.length === 0) return random
  const edit = fc.record({ at: fc.nat(), remove: fc.nat(4), insert: fc.uint8Array({ maxLength: 4 }) })
  const mutated = fc
    .tuple(fc.constantFrom(...samples), fc.array(edit, { minLength: 1, maxLength: 4 }))
    .map(([sample, edits]) =>
      edits.reduce<Bytes>((bytes, { at, remove, insert }) => {
        const start = at % (bytes.length + 1)
        return Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)])
      }, sample),
    )
  const cut = fc
    .tuple(fc.constantFrom(...samples), fc.nat())
    .map(([sample, at]) => sample.subarray(0, at % (sample.length + 1)))
  return fc.oneof(random, mutated, cut)
}

/** Runs a decoder on hostile bytes: it may answer or throw a typed error with a field, nothing else. */
export const onlyTypedErrors = (decode: (bytes: Bytes) => unknown, samples: readonly Bytes[], numRuns = 500): void => {
  fc.assert(
    fc.property(hostileBytes(samples), bytes => {
      try {
        decode(Buffer.from(bytes))
      } catch (error) {
        if (!(error instanceof DuologueError) || error.code === 'INTERNAL' || error.field === undefined) throw error
      }
    }),
    { numRuns },
  )
}

/** The code of the typed error that `run` throws; fails when it throws nothing or something else. */
export const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof DuologueError) return error.code
    throw error
  }
  throw new Error('nothing was thrown')
}
