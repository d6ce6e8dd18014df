/** What waits for one client: responses and messages, packed into as few blocks as possible and sent as its socket takes them. */
import { type Bytes, type Parts, partsLength } from '../encoding/index.js'
import { BLOCK_BYTES, type BlockCoding } from '../smp/protocol/block.js'
import { type Response, responseParts } from '../smp/protocol/responses.js'
import { batchParts, compact, MAX_TRANSMISSION, transmissionParts } from '../smp/protocol/transmission.js'
import type { BlockChannel } from '../smp/transport/port.js'

export interface Output {
  send(corrId: Bytes, entityId: Bytes, response: Response): void
  /** Messages that are being read from disk count as if they waited already. */
  expect(messages: number): void
  /** More than the limit waits. */
  readonly congested: boolean
  /** Since when the socket has taken nothing, though something waits; undefined when nothing does. */
  readonly blockedSince: number | undefined
}

export interface OutputOptions {
  readonly channel: BlockChannel
  readonly version: number
  readonly coding: BlockCoding
  readonly maxBytes: number
  readonly now: () => number
  /** The socket takes nothing more: `blockedSince` is set. */
  readonly onBlocked: () => void
  /** The client has read so much that more may be sent. */
  readonly onRoom: () => void
}

const noBytes = new Uint8Array(0)
const tooLarge: Response = { type: 'ERR', error: { type: 'LARGE_MSG' } }

export const createOutput = (options: OutputOptions): Output => {
  const { channel, version, coding, maxBytes, now, onBlocked, onRoom } = options
  let transmissions: Parts[] = []
  let blocks: Parts[] = []
  let waitingBytes = 0
  let expected = 0
  let scheduled = false
  let blockedSince: number | undefined

  const flush = (): void => {
    scheduled = false
    if (channel.closed || blockedSince !== undefined) return
    const batches = batchParts(transmissions)
    transmissions = []
    for (const batch of batches) if ('block' in batch) blocks.push(batch.block)
    drain()
    if (blockedSince === undefined) onRoom()
  }

  /** Everything that is answered in this turn of the event loop shares blocks. */
  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    setImmediate(flush)
  }

  const drain = (): void => {
    let sent = 0
    for (const content of blocks) {
      sent++
      waitingBytes -= partsLength(content)
      // Encrypted only now: the order on the wire is the order of the cipher's keys.
      if (!channel.send(coding.encrypt(content))) {
        waitForSocket()
        break
      }
    }
    blocks = blocks.slice(sent)
    if (blocks.length === 0 && transmissions.length === 0) waitingBytes = 0
  }

  const waitForSocket = (): void => {
    blockedSince = now()
    onBlocked()
    void channel.drained().then(() => {
      blockedSince = undefined
      if (channel.closed) return
      drain()
      if (blockedSince === undefined) flush()
    })
  }

  const encode = (corrId: Bytes, entityId: Bytes, response: Response): Parts => {
    const command = responseParts(version, response)
    return compact(transmissionParts(version, { authorization: noBytes, corrId, entityId, command }))
  }

  return {
    send: (corrId, entityId, response) => {
      if (channel.closed) return
      let transmission = encode(corrId, entityId, response)
      // A relay's certificates may be too long to pass on: nobody shall wait for an answer that fits no block.
      if (partsLength(transmission) > MAX_TRANSMISSION) transmission = encode(corrId, entityId, tooLarge)
      transmissions.push(transmission)
      waitingBytes += partsLength(transmission)
      schedule()
    },
    expect: messages => {
      expected += messages
      if (messages < 0) schedule()
    },
    get congested() {
      return waitingBytes + expected * BLOCK_BYTES > maxBytes
    },
    get blockedSince() {
      return blockedSince
    },
  }
}
