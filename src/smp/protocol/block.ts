/** Transport blocks: padding, and the encryption that sessions of version 11 and later add below TLS. */
import { sbcInit, sbcNext } from '../../crypto/blockChain.js'
import { BOX_TAG_BYTES, boxSecret, openInPlace, sealInPlace } from '../../crypto/box.js'
import { padInto, unpad } from '../../crypto/pad.js'
import type { Bytes, Parts } from '../../encoding/index.js'
import { CryptoError, DecodeError, TransportError } from '../../errors.js'

/** Every block has exactly this many bytes. */
export const BLOCK_BYTES = 16_384
/** What the transmissions of a batch, with their lengths, may take: the rest is padding length, batch count and encryption tag. */
export const BATCH_ROOM = BLOCK_BYTES - 2 - 1 - BOX_TAG_BYTES
/** From this version on blocks are encrypted, unless the client is a proxy. */
export const VERSION_ENCRYPTED_BLOCKS = 11

/** A block that is padded only: all of a handshake, and the sessions of proxies. Throws `LARGE_MSG`. */
export const padBlock = (content: Bytes | Parts): Bytes => {
  const block = Buffer.allocUnsafe(BLOCK_BYTES)
  padInto(content, block)
  return block
}

/** The content of a padded block, as a view of it. Throws `TRANSPORT_BLOCK`. */
export const unpadBlock = (block: Bytes): Bytes => {
  checkSize(block)
  try {
    return unpad(block, 'block')
  } catch (error) {
    throw asBlockError(error)
  }
}

/** How the blocks of one session are written and read, in their order. */
export interface BlockCoding {
  encrypt(content: Bytes | Parts): Bytes
  decrypt(block: Bytes): Bytes
}

/** Blocks that are padded only: between proxy and destination router, which box what they carry themselves. */
export const paddedBlocks: BlockCoding = { encrypt: padBlock, decrypt: unpadBlock }

/**
 * Encrypts and decrypts the blocks of one session, in their order. A block that does not decrypt ends the session: the two sides can
 * no longer agree on the keys.
 */
export class BlockCipher implements BlockCoding {
  #sendKey: Bytes
  #receiveKey: Bytes

  /** `secret` is the raw X25519 secret of the two session keys. */
  constructor(role: 'client' | 'router', sessionId: Bytes, secret: Bytes) {
    const { chain1, chain2 } = sbcInit(sessionId, secret)
    this.#sendKey = role === 'router' ? chain1 : chain2
    this.#receiveKey = role === 'router' ? chain2 : chain1
  }

  /** The next block to send, in a buffer of its own. Throws `LARGE_MSG`; the chain then does not move. */
  encrypt(content: Bytes | Parts): Bytes {
    const block = Buffer.allocUnsafe(BLOCK_BYTES)
    padInto(content, block.subarray(BOX_TAG_BYTES))
    const { key, nonce, next } = sbcNext(this.#sendKey)
    sealInPlace(boxSecret(key), nonce, block)
    this.#sendKey = next
    return block
  }

  /** The content of the next received block. Decrypts in place: the block's bytes are overwritten, the result is a view of them. Throws `TRANSPORT_BLOCK`. */
  decrypt(block: Bytes): Bytes {
    checkSize(block)
    const { key, nonce, next } = sbcNext(this.#receiveKey)
    this.#receiveKey = next
    try {
      return unpad(openInPlace(boxSecret(key), nonce, block), 'block')
    } catch (error) {
      throw asBlockError(error)
    }
  }
}

const checkSize = (block: Bytes): void => {
  if (block.length === BLOCK_BYTES) return
  throw blockError('has a wrong size', { length: block.length })
}

const asBlockError = (error: unknown): unknown => {
  if (error instanceof DecodeError) return blockError('has broken padding')
  if (error instanceof CryptoError) return blockError('does not decrypt')
  return error
}

const blockError = (problem: string, facts: Record<string, number> = {}): TransportError =>
  new TransportError('TRANSPORT_BLOCK', `the block ${problem}`, { field: 'block', facts })
