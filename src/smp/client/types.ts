import type { Random } from '../../crypto/index.js'
import type { Bytes, VersionRange } from '../../encoding/index.js'
import type { RouterError, TransportError } from '../../errors.js'
import type { Clock } from '../../runtime/clock.js'
import type { AuthorizationAlgorithm } from '../protocol/authorization.js'
import type { Command } from '../protocol/commands.js'
import type { Response } from '../protocol/responses.js'
import type { RouterAddress } from '../protocol/routerAddress.js'
import type { Dialer } from '../transport/port.js'

export interface SessionLimits {
  /** From dialling to the end of the SMP handshake. */
  readonly connectTimeoutMs: number
  /** From `send` to the answer, waiting for room included. */
  readonly requestTimeoutMs: number
  /** Requests that are sent and neither answered nor timed out. */
  readonly maxInFlight: number
  /** Requests that wait for room; more are refused with TRANSPORT_BUSY. */
  readonly maxQueued: number
  /** A PING is sent after this much silence. */
  readonly pingIntervalMs: number
  /** The session ends after this many requests in a row without an answer … */
  readonly maxTimeouts: number
  /** … when nothing at all was received for this long. */
  readonly maxSilenceMs: number
}

/** The reference's values for work in the background. */
export const defaultSessionLimits: SessionLimits = {
  connectTimeoutMs: 45_000,
  requestTimeoutMs: 30_000,
  maxInFlight: 256,
  maxQueued: 16_384,
  pingIntervalMs: 600_000,
  maxTimeouts: 3,
  maxSilenceMs: 900_000,
}

export interface ConnectOptions {
  readonly dialer: Dialer
  readonly router: RouterAddress
  readonly clock: Clock
  readonly random: Random
  /** Default 14..18. */
  readonly versionRange?: VersionRange
  readonly limits?: Partial<SessionLimits>
  /** Gives up connecting: TRANSPORT_CLOSED. */
  readonly signal?: AbortSignal
}

export interface RouterRequest {
  readonly command: Command
  /** The queue, link or proxy session; empty for none (NEW, PING, PRXY). */
  readonly entityId: Bytes
  /** Raw private key that authorizes the command; absent for commands without authorization. */
  readonly key?: { readonly algorithm: AuthorizationAlgorithm; readonly privateKey: Bytes }
  /** 24 random bytes if the caller needs to know them before: the sender id of a link queue is made of them. */
  readonly corrId?: Bytes
}

export interface RequestOptions {
  readonly timeoutMs?: number
}

/** What a router sends without being asked, or as the answer to a request that has timed out. */
export interface RouterEvent {
  /** The session it belongs to; compare it with the session of the row before using it. */
  readonly sessionId: number
  readonly entityId: Bytes
  /** MSG, END, ENDS, DELD, NMSG … An `ERR` here is about bytes that the router could not tie to a request. */
  readonly response: Response
  /** Set for an answer that came after its request's deadline: nobody else will hear of it, and it may carry a MSG. */
  readonly answerTo?: Command
}

/** A transmission that is no answer and no event: unknown correlation id, wrong entity, or a response that cannot be read. */
export interface UnexpectedTransmission {
  readonly sessionId: number
  readonly entityId: Bytes
  readonly error: RouterError
}

export interface SessionCounts {
  readonly inFlight: number
  readonly queued: number
  /** Requests that got no answer in time. */
  readonly timedOut: number
  /** Answers that came after the deadline of their request. */
  readonly late: number
  readonly unexpected: number
}

/** One authenticated connection to one router. It ends once and is never reconnected: make a new one. */
export interface RouterSession {
  /** Grows with every session of this process: results of an older session have a smaller id. */
  readonly id: number
  readonly router: RouterAddress
  /** The SMP version that both speak. */
  readonly version: number
  /** The TLS session id that every authorization covers. */
  readonly tlsSessionId: Bytes
  /** The router's raw X25519 session key. */
  readonly routerKey: Bytes
  readonly closed: boolean
  /**
   * Sends one command and resolves with the router's answer. Requests of one turn of the event loop share blocks.
   *
   * Rejects with RouterError when the answer is an error (`code` is the SMP word, such as AUTH or QUOTA) or none that fits
   * (SMP_RESPONSE, SMP_UNEXPECTED); TransportError TRANSPORT_TIMEOUT, TRANSPORT_BUSY, or the reason for which the session
   * ended; EncodeError when the command does not fit. `facts.sent` of a TransportError tells whether the command left.
   */
  send(request: RouterRequest, options?: RequestOptions): Promise<Response>
  /** Sends many commands in as few blocks as possible; each has its own result, in the order of the requests. */
  sendMany(requests: readonly RouterRequest[], options?: RequestOptions): Promise<PromiseSettledResult<Response>[]>
  /**
   * Sets the one receiver of events. Answers and events are handed out in the order in which they were received: before an
   * event that follows an answer is handled, all promise work that the answer's resolution sets off has run (up to its
   * first wait for something else), so a MSG behind SOK finds the subscription noted. Events before this call wait.
   */
  onEvent(handler: (event: RouterEvent) => void): void
  onUnexpected(handler: (transmission: UnexpectedTransmission) => void): void
  /** Adds a handler that is called exactly once, when the session has ended, after every open request has been rejected. */
  onClose(handler: (reason: TransportError) => void): void
  counts(): SessionCounts
  /** Ends the session after what was sent has left. */
  close(): void
}
