import type { Bytes } from '../../encoding/index.js'
import { RouterError } from '../../errors.js'
import type { BlockCoding } from '../protocol/block.js'
import { checkResponseEntity } from '../protocol/credentials.js'
import { decodeResponse, type Response } from '../protocol/responses.js'
import { formatSmpError } from '../protocol/routerErrors.js'
import { decodeTransmission, readBatch } from '../protocol/transmission.js'
import { type BlockChannel, transportError } from '../transport/port.js'

/** A transmission from the router; `response` is an error when the bytes are no response that this version knows. */
export interface Received {
  readonly corrId: Bytes
  readonly entityId: Bytes
  readonly response: Response | RouterError
}

/** Reading pauses while this many transmissions wait to be handed out. */
const maxWaiting = 4 * 255

/**
 * Reads the session's blocks and hands the transmissions out one by one in their order. `handle` says whether it resolved
 * a request: an event after that waits for a turn of the event loop, so that whoever sent the request goes first.
 */
export const openInbox = (
  channel: BlockChannel,
  blocks: BlockCoding,
  version: number,
  handle: (received: Received) => 'answered' | 'handled',
): void => {
  const waiting: Received[] = []
  let answeredInThisTurn = false
  let paused = false

  const handOut = (): void => {
    let next = 0
    for (; next < waiting.length && !channel.closed; next++) {
      const received = waiting[next] as Received
      if (answeredInThisTurn && received.corrId.length === 0) break
      if (handle(received) === 'answered') noteAnswer()
    }
    waiting.splice(0, next)
    if (paused && waiting.length === 0) {
      paused = false
      channel.resume()
    }
  }

  const noteAnswer = (): void => {
    if (answeredInThisTurn) return
    answeredInThisTurn = true
    setImmediate(() => {
      answeredInThisTurn = false
      handOut()
    })
  }

  channel.onBlock(block => {
    waiting.push(...readBlock(blocks, version, block))
    if (waiting.length > maxWaiting && !paused) {
      paused = true
      channel.pause()
    }
    handOut()
  })
  channel.resume()
}

/**
 * The transmissions of one block.
 *
 * @throws TransportError TRANSPORT_BLOCK when the block does not decrypt or is no batch: the session cannot go on
 */
const readBlock = (blocks: BlockCoding, version: number, block: Bytes): Received[] => {
  const content = blocks.decrypt(block)
  try {
    return readBatch(content).map(bytes => {
      const { corrId, entityId, command } = decodeTransmission(version, bytes)
      return { corrId, entityId, response: readResponse(version, entityId, command) }
    })
  } catch (cause) {
    throw transportError('TRANSPORT_BLOCK', 'a block of the router is no batch of transmissions', {
      field: 'block',
      cause,
    })
  }
}

/** One response that cannot be read concerns one request, not the session. */
const readResponse = (version: number, entityId: Bytes, bytes: Bytes): Response | RouterError => {
  try {
    const response = decodeResponse(version, bytes)
    const problem = checkResponseEntity(response, entityId)
    if (problem === undefined) return response
    return unreadable(`the router sent ${response.type} with a wrong entity id: ${formatSmpError(problem)}`)
  } catch (cause) {
    return unreadable('the router sent a response that cannot be read', cause)
  }
}

const unreadable = (message: string, cause?: unknown): RouterError =>
  new RouterError('SMP_RESPONSE', message, { field: 'response', cause })
