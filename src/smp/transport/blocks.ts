import type { Bytes } from '../../encoding/index.js'
import { blockSize } from './port.js'

/**
 * Cuts a byte stream into blocks. TLS records usually carry exactly one block, which is passed on as it is; only a block
 * that is spread over several chunks is copied, into one buffer of its own. Holds at most one unfinished block.
 */
export class BlockAssembler {
  #partial: Buffer | undefined
  #filled = 0

  /** Bytes of a block whose rest is still to come. */
  get pendingBytes(): number {
    return this.#filled
  }

  push(chunk: Buffer, onBlock: (block: Bytes) => void): void {
    let at = this.#fill(chunk, 0, onBlock)
    for (; chunk.length - at >= blockSize; at += blockSize) {
      onBlock(chunk.length === blockSize ? chunk : chunk.subarray(at, at + blockSize))
    }
    if (at < chunk.length) this.#fill(chunk, at, onBlock, true)
  }

  /** Copies into the unfinished block (a new one if `start`); answers the position after what was taken. */
  #fill(chunk: Buffer, at: number, onBlock: (block: Bytes) => void, start = false): number {
    if (start) this.#partial = Buffer.allocUnsafe(blockSize)
    const partial = this.#partial
    if (partial === undefined) return at
    const taken = chunk.copy(partial, this.#filled, at)
    this.#filled += taken
    if (this.#filled === blockSize) {
      this.#partial = undefined
      this.#filled = 0
      onBlock(partial)
    }
    return at + taken
  }
}
