import type { Bytes } from './bytes.js'

/**
 * Bytes that stand behind each other once they are written. What passes through many layers on its way into a block travels as
 * parts and is copied once: buffers of a block's size are costly to make and to collect.
 */
export type Parts = readonly Bytes[]

export const asParts = (bytes: Bytes | Parts): Parts => (bytes instanceof Uint8Array ? [bytes] : bytes)

export const partsLength = (parts: Parts): number => {
  let length = 0
  for (const part of parts) length += part.length
  return length
}

/** Copies the parts into `target`, from `at` on; answers the position behind them. */
export const copyParts = (parts: Parts, target: Bytes, at = 0): number => {
  let end = at
  for (const part of parts) {
    target.set(part, end)
    end += part.length
  }
  return end
}
