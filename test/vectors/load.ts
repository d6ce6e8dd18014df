import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bytes } from '../../src/encoding/bytes.js'

/** One JSON object of a vector file; its fields are checked where they are used. */
// oxlint-disable-next-line typescript/no-explicit-any -- the shape is the file's; a wrong one fails the test that reads it
export type Vector = Record<string, any>

const directory = process.env['VECTORS_DIR'] ?? import.meta.dirname

/** The vector file `<name>.json` from `VECTORS_DIR`, or from this directory. */
export const loadVectors = (name: string): Vector =>
  JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')) as Vector

/** Bytes from the lowercase hex of the vectors. */
export const hex = (text: string): Bytes => {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw new Error(`not hex: ${text.slice(0, 20)}`)
  return Buffer.from(text, 'hex')
}

/** The hex of bytes, for readable comparisons. */
export const toHex = (bytes: Bytes): string => Buffer.from(bytes).toString('hex')
