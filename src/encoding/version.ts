import { DecodeError } from '../errors.js'
import type { Bytes } from './bytes.js'
import type { Reader } from './reader.js'
import { concat, word16 } from './writer.js'

/** The lowest and the highest protocol version that one side speaks, both included; min ≤ max. */
export interface VersionRange {
  readonly min: number
  readonly max: number
}

const MAX_VERSION = 0xffff

/** `min ‖ max`, two bytes each. */
export const encodeVersionRange = (range: VersionRange): Bytes =>
  concat(word16(range.min, 'versionRange.min'), word16(range.max, 'versionRange.max'))

/** Reads `min ‖ max`. Throws `DECODE_INVALID` when min > max. */
export const readVersionRange = (reader: Reader, field = 'versionRange'): VersionRange => {
  const min = reader.word16(field)
  const max = reader.word16(field)
  return min <= max ? { min, max } : reader.fail(field, 'has its minimum above its maximum')
}

/** The versions that both speak; undefined when there are none. The highest of them is the one to use. */
export const intersect = (a: VersionRange, b: VersionRange): VersionRange | undefined => {
  const min = Math.max(a.min, b.min)
  const max = Math.min(a.max, b.max)
  return min <= max ? { min, max } : undefined
}

/** Whether the range holds the version. */
export const includesVersion = (range: VersionRange, version: number): boolean =>
  range.min <= version && version <= range.max

/** Reads `2-7`, or `4` for a single version, as links have it. Throws `DECODE_INVALID`. */
export const parseVersionRange = (text: string, field = 'versionRange'): VersionRange => {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  const min = Number(match?.[1])
  const max = Number(match?.[2] ?? match?.[1])
  if (match === null || min > max || max > MAX_VERSION) {
    throw new DecodeError('DECODE_INVALID', `${field} is not a version range`, { field })
  }
  return { min, max }
}

/** Writes `2-7`, or `4` for a single version. */
export const formatVersionRange = ({ min, max }: VersionRange): string => (min === max ? `${min}` : `${min}-${max}`)
