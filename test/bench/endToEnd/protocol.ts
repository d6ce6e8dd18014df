/** What the benchmark and its agent processes say to each other. Times are of the system's monotonic clock, in ms. */
import type { AgentOptions } from '../../../src/agent/openAgent.js'

export interface OpenParams {
  readonly store: Exclude<AgentOptions['store'], { readonly open: unknown }>
  readonly router: string
  /** A second router, to send through and for nothing else. */
  readonly proxy?: string
  /** Whether its connections are post-quantum. Default: they are not. */
  readonly pq?: boolean
}

/** One direction of an exchange: over these connections, so many messages on each. */
export interface RunParams {
  /** Tells the messages of one run from those of another. */
  readonly run: number
  readonly connectionIds: readonly string[]
  readonly messages: number
}

export interface SendParams extends RunParams {
  readonly bodyLength: number
  /** Most messages of a connection that are sent and not acknowledged by the other side. */
  readonly window: number
}

export interface Sent {
  readonly startedAt: number
}

/** One message on each connection, all with the same body: by one call, or by one for each. */
export interface FanOutParams {
  readonly run: number
  readonly connectionIds: readonly string[]
  readonly bodyLength: number
  readonly together: boolean
}

export interface FannedOut {
  readonly ms: number
  readonly blockedMs: number
}

export interface ReceivedAll {
  readonly endedAt: number
  readonly arrived: number
  readonly duplicated: number
  readonly reordered: number
}

/** From receiver to sender, over the parent: so many more messages of these connections (by index) were acknowledged. */
export interface Credit {
  readonly run: number
  readonly acknowledged: readonly number[]
}

export interface PingPong {
  readonly roundTripMs: readonly number[]
}

/** Reads the clock that all processes of a machine share. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000

/** Run and number at the head of a body. */
export const headerLength = 8

export const bodyOf = (run: number, number: number, length: number): Buffer => {
  const body = Buffer.alloc(Math.max(headerLength, length), number & 0xff)
  body.writeUInt32BE(run, 0)
  body.writeUInt32BE(number, 4)
  return body
}

export const headerOf = (body: Uint8Array): { readonly run: number; readonly number: number } => {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  return { run: view.getUint32(0), number: view.getUint32(4) }
}
