import type { Bytes } from '../../encoding/index.js'
import { TransportError } from '../../errors.js'

/** A WebSocket to Signal: whole binary frames. After `onClose` nothing more comes. */
export interface FrameChannel {
  /** Throws TransportError when the channel has ended. */
  send(frame: Bytes): void
  /** Ends it at once, without a handshake: what waits for it has given up. */
  destroy(): void
  /** Set once, before the caller gives the event loop back. */
  onFrame(listener: (frame: Bytes) => void): void
  /** `code`: WebSocket’s close code; 1006 when the connection broke. */
  onClose(listener: (code: number) => void): void
}

export interface DialTarget {
  /** Which of the channel’s sockets it is, for proxies and traces. */
  readonly socket: 'identified' | 'unidentified' | 'provisioning'
  readonly path: string
  /** The value of the Authorization header. */
  readonly authorization?: string
}

export interface HttpRequest {
  readonly url: string
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Bytes
}

export interface HttpAnswer {
  readonly status: number
  readonly body: Bytes
}

/** How the channel reaches Signal: the real network, or that of a test. */
export interface SignalDialer {
  /** Rejects with TransportError; SIGNAL_REFUSED when the server refuses the credentials (403). */
  dial(target: DialTarget, signal: AbortSignal): Promise<FrameChannel>
  /** Attachments are up- and downloaded by plain HTTPS. Rejects with TransportError. */
  http(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer>
}

/** A failure of the way to Signal’s service. */
export const signalTransportError = (
  code:
    | 'SIGNAL_REFUSED'
    | 'SIGNAL_UNREACHABLE'
    | 'SIGNAL_CLOSED'
    | 'SIGNAL_TIMEOUT'
    | 'SIGNAL_CERTIFICATE'
    | 'SIGNAL_ANSWER',
  message: string,
  details: ConstructorParameters<typeof TransportError>[2] = {},
): TransportError => new TransportError(code, message, details)
