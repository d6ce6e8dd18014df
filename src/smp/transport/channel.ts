import type { Bytes } from '../../encoding/index.js'
import { TransportError } from '../../errors.js'
import { type BlockChannel, blockSize, transportError } from './port.js'

/** What a transport gives to carry blocks; the rules of the port are kept by `createChannel` for all of them. */
export interface Wire {
  /** Hands one block to the network; never throws. */
  write(block: Bytes): void
  /** Bytes that were written and that the network did not take yet. */
  queuedBytes(): number
  pause(): void
  resume(): void
  /** Ends after what was written has left. */
  end(): void
  destroy(): void
}

/** The part of a clock that a channel uses. */
export interface Timers {
  setTimeout(run: () => void, ms: number): object | number
  clearTimeout(handle: object | number): void
}

const systemTimers: Timers = {
  setTimeout: (run, ms) => setTimeout(run, ms).unref(),
  clearTimeout: handle => clearTimeout(handle as NodeJS.Timeout),
}

export interface ChannelIdentity {
  readonly sessionId: Bytes
  readonly peerCertificates: readonly Bytes[]
  readonly remoteAddress: string
}

/** The transport's end of a channel. */
export interface ChannelInput {
  readonly channel: BlockChannel
  /** A whole message of the network arrived; one that is no block ends the channel. */
  received(block: Bytes): void
  /** The network has taken all that was written. */
  flushed(): void
  /** The connection has ended; only the first reason counts. */
  ended(reason: TransportError): void
}

/** `send` answers false from here on: 16 blocks. */
const softLimitBytes = 16 * blockSize
/** A writer that goes on regardless is stopped here. */
const hardLimitBytes = 256 * blockSize
/** How long a peer may take to read the last blocks after `close()`. */
const closeGraceMs = 5_000

/** A channel over a wire: order, one receiver, bounded writes, one end. The wire must not be read before its `resume()`. */
export const createChannel = (identity: ChannelIdentity, wire: Wire, timers: Timers = systemTimers): ChannelInput => {
  const ready: Bytes[] = []
  let receiver: ((block: Bytes) => void) | undefined
  let paused = false
  let end: TransportError | undefined
  let ownReason: TransportError | undefined
  let closing = false
  let closeHandlers: ((reason: TransportError) => void)[] = []
  let drainWaiters: (() => void)[] = []
  let graceTimer: object | number | undefined

  const wakeDrainWaiters = (): void => {
    const waiters = drainWaiters
    drainWaiters = []
    for (const wake of waiters) wake()
  }

  const ended = (reason: TransportError): void => {
    if (end !== undefined) return
    end = ownReason ?? reason
    if (graceTimer !== undefined) timers.clearTimeout(graceTimer)
    ready.length = 0
    const handlers = closeHandlers
    closeHandlers = []
    for (const handler of handlers) callClose(handler, end)
    wakeDrainWaiters()
  }

  const destroy = (reason = transportError('TRANSPORT_CLOSED', 'the connection was closed here')): void => {
    if (end !== undefined) return
    ownReason ??= reason
    wire.destroy()
    ended(ownReason)
  }

  const handOver = (block: Bytes): void => {
    try {
      receiver?.(block)
    } catch (cause) {
      destroy(
        cause instanceof TransportError
          ? cause
          : transportError('TRANSPORT_HANDLER', 'the receiver of a block failed', { cause }),
      )
    }
  }

  const mayHandOver = (): boolean => !paused && end === undefined && ready.length > 0
  const handOverReady = (): void => {
    while (mayHandOver()) handOver(ready.shift() as Bytes)
  }

  const received = (block: Bytes): void => {
    if (end !== undefined || closing) return
    if (block.length !== blockSize) return destroy(notABlock(block.length))
    if (paused || receiver === undefined || ready.length > 0) ready.push(block)
    else handOver(block)
  }

  const channel: BlockChannel = {
    ...identity,
    get closed() {
      return end !== undefined || closing
    },
    send(block) {
      if (block.length !== blockSize) throw notABlock(block.length)
      if (end !== undefined || closing) return false
      if (wire.queuedBytes() >= hardLimitBytes) {
        destroy(
          transportError('TRANSPORT_BACKPRESSURE', 'blocks were written faster than the peer takes them', {
            facts: { limit: hardLimitBytes },
            hint: 'wait for drained() when send() answers false',
          }),
        )
        return false
      }
      wire.write(block)
      return end === undefined && wire.queuedBytes() < softLimitBytes
    },
    drained: () => {
      if (end !== undefined || closing || wire.queuedBytes() < softLimitBytes) return Promise.resolve()
      return new Promise(resolve => drainWaiters.push(resolve))
    },
    onBlock(handler) {
      receiver = handler
      if (end !== undefined || paused) return
      handOverReady()
      if (!paused) wire.resume()
    },
    onClose(handler) {
      const reason = end
      if (reason === undefined) closeHandlers.push(handler)
      else queueMicrotask(() => handler(reason))
    },
    pause() {
      if (paused || end !== undefined || closing) return
      paused = true
      wire.pause()
    },
    resume() {
      if (!paused || end !== undefined || closing) return
      paused = false
      handOverReady()
      if (!paused && receiver !== undefined) wire.resume()
    },
    close() {
      if (end !== undefined || closing) return
      closing = true
      ownReason = transportError('TRANSPORT_CLOSED', 'the connection was closed here')
      graceTimer = timers.setTimeout(destroy, closeGraceMs)
      wire.end()
      // The end of the peer is only seen while reading; what still arrives is dropped.
      if (end === undefined) wire.resume()
    },
    destroy,
  }
  return { channel, received, flushed: wakeDrainWaiters, ended }
}

const notABlock = (length: number): TransportError =>
  transportError('TRANSPORT_BLOCK', `a block has exactly ${blockSize} bytes`, { field: 'block', facts: { length } })

/** A close handler that throws is a bug of its owner; it must not keep the other handlers from running. */
const callClose = (handler: (reason: TransportError) => void, reason: TransportError): void => {
  try {
    handler(reason)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
