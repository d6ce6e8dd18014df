/** The bodies of the demo: each tells its direction and number, and its whole content can be checked at the other end. */
import { randomFillSync } from 'node:crypto'

export interface DemoBodies {
  /** The body of the n-th message (from 0). The same n gives the same bytes. */
  body(n: number): Uint8Array<ArrayBuffer>
  /** The number of a body that arrived, or undefined when it is not, byte for byte, one of these. */
  numberOf(body: Uint8Array): number | undefined
}

const headerLength = 5

/**
 * Bodies of mixed sizes for one direction, from the smallest that holds a number to `maxLength`; every eighth has just
 * that length.
 */
export const demoBodies = (direction: number, messages: number, maxLength: number): DemoBodies => {
  const noise = randomFillSync(new Uint8Array(2 * maxLength))
  const body = (n: number): Buffer<ArrayBuffer> => {
    const bytes = Buffer.alloc(lengthOf(n, maxLength))
    const from = n % maxLength
    bytes.set(noise.subarray(from, from + bytes.length))
    bytes.writeUInt8(direction, 0)
    bytes.writeUInt32BE(n, 1)
    return bytes
  }
  return {
    body,
    numberOf: bytes => {
      if (bytes.length < headerLength) return undefined
      const n = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)
      return n < messages && Buffer.compare(body(n), bytes) === 0 ? n : undefined
    },
  }
}

const lengthOf = (n: number, maxLength: number): number => {
  if (n % 8 === 0) return maxLength
  // A fixed mix that looks random: the golden ratio visits all sizes evenly.
  const share = (n * 0.618_033_988_75) % 1
  return headerLength + Math.floor(share * (maxLength - headerLength))
}
