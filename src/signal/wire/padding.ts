import type { Bytes } from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'

const block = 80

/** Pads a content before encryption: 0x80, then zeros up to one byte less than a multiple of 80. */
export const pad = (content: Bytes): Uint8Array<ArrayBuffer> => {
  const padded = new Uint8Array(Math.ceil((content.length + 2) / block) * block - 1)
  padded.set(content)
  padded[content.length] = 0x80
  return padded
}

/** Takes the padding off. Throws DecodeError DECODE_PADDING. */
export const unpad = (padded: Bytes): Bytes => {
  let end = padded.length - 1
  while (end >= 0 && padded[end] === 0) end--
  if (end < 0 || padded[end] !== 0x80)
    throw new DecodeError('DECODE_PADDING', 'the content is not padded', { field: 'content' })
  return padded.subarray(0, end)
}
