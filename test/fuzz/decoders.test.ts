/** Every decoder on spoiled input: a value or a typed error, nothing else; bounded; and what it accepts has one written form. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DuologueError, EncodeError } from '../../src/errors.js'
import { fuzzRuns } from '../support/fuzzRuns.js'
import { measuring, sizeOf } from './allocations.js'
import { type Decoder, decoders, otherReaders } from './decoders.js'
import { spoiled, spoiledText } from './mutations.js'

const root = join(import.meta.dirname, '../..')
const isReader = /^export (?:const|(?:async )?function\*?) ((?:decode|parse|read|unpad|from|open)(?:[A-Z]\w*)?)\b/gm

const exported = (): string[] =>
  readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .map(file => file.replaceAll('\\', '/'))
    .filter(file => file.endsWith('.ts') && !/^(visualizer|cli|testing)\//.test(file))
    .flatMap(file =>
      [...readFileSync(join(root, 'src', file), 'utf8').matchAll(isReader)].map(([, name]) => `src/${file} ${name}`),
    )

const titleOf = ({ names: [first = '', ...rest] }: Decoder): string =>
  [first.split(' ')[1], ...rest.map(name => name.split(' ')[1])].join(', ')

describe('the list of decoders', () => {
  it('has every export of src/ that reads, or says why it is none', () => {
    const listed = [...decoders.flatMap(({ names }) => names), ...Object.keys(otherReaders)]
    expect(exported().filter(name => !listed.includes(name))).toEqual([])
    expect([...new Set(listed)].filter(name => !exported().includes(name))).toEqual([])
    for (const [name, reason] of Object.entries(otherReaders)) expect(reason, name).toMatch(/\S/)
  })
})

const attempt = (decoder: Decoder, input: never): { readonly value: unknown } | undefined => {
  try {
    return { value: decoder.decode(input) }
  } catch (error) {
    if (error instanceof DuologueError && error.code !== 'INTERNAL' && error.field !== undefined) return undefined
    throw error
  }
}

// Long runs take their time.
describe.each(decoders.map((decoder, index) => [titleOf(decoder), index] as const))('%s (%i)', (_title, index) => {
  const decoder = decoders[index] as Decoder
  const encode = decoder.encode as ((value: unknown) => never) | undefined

  it('reads what was written, and writes the same', () => {
    fc.assert(
      fc.property(decoder.valid, input => {
        const value = decoder.decode(input as never)
        if (encode !== undefined) expect(Buffer.from(encode(value)).equals(Buffer.from(input as never))).toBe(true)
      }),
      fuzzRuns(15),
    )
  })

  it('gives a value with one written form or a typed error that names the field, and takes no more than the input is worth', {
    timeout: 600_000,
  }, () => {
    const inputs = decoder.text ? spoiledText(decoder.valid as never) : spoiled(decoder.valid as never)
    fc.assert(
      fc.property(inputs as fc.Arbitrary<never>, input => {
        const { result, allocated } = measuring(() => attempt(decoder, input))
        const length = Buffer.byteLength(input)
        expect(allocated).toBeLessThanOrEqual(16 * length + 65_536)
        if (result === undefined) return
        expect(sizeOf(result.value)).toBeLessThanOrEqual(64 * length + 4_096)
        if (encode === undefined) return
        const once = encoded(encode, result.value)
        if (once === undefined) return
        expect(Buffer.from(encode(decoder.decode(once))).equals(Buffer.from(once))).toBe(true)
      }),
      fuzzRuns(60),
    )
  })
})

/** A value that was read and is too long to be written is refused with a typed error. */
const encoded = (encode: (value: unknown) => never, value: unknown): never | undefined => {
  try {
    return encode(value)
  } catch (error) {
    if (error instanceof EncodeError) return undefined
    throw error
  }
}
