import type { Bytes } from '../../encoding/index.js'
import { TransportError } from '../../errors.js'
import { BLOCK_BYTES } from '../protocol/block.js'
import type { RouterAddress } from '../protocol/routerAddress.js'

/**
 * The one port to the network: a channel carries whole SMP blocks between a client and a router, in order, and nothing
 * else. TLS, WebSocket and memory implement it and pass the same compliance suite (test/smp/transport/compliance.ts).
 */

/** Every block on the wire has exactly this many bytes (SMP protocol, transport block). */
export const blockSize = BLOCK_BYTES

/** One authenticated, ordered connection that carries blocks both ways. */
export interface BlockChannel {
  /** tls-unique: the client's TLS Finished message. Both ends see the same bytes. */
  readonly sessionId: Bytes
  /** The DER chain that the router showed, leaf first; empty on the router's side. */
  readonly peerCertificates: readonly Bytes[]
  /** The peer's address for logs and limits, such as `127.0.0.1`. */
  readonly remoteAddress: string
  readonly closed: boolean
  /**
   * Sends one block of exactly 16,384 bytes, which must not be changed afterwards. False: it is queued, but wait for
   * `drained()` before sending more. A caller that goes on regardless gets TRANSPORT_BACKPRESSURE as the end of the
   * channel once the write buffer passes its bound. On a closed channel the block is dropped and the answer is false.
   *
   * @throws TransportError TRANSPORT_BLOCK when the block has another size.
   */
  send(block: Bytes): boolean
  /** Resolves when `send` takes blocks again, at once when it already does, and also when the channel closes. */
  drained(): Promise<void>
  /**
   * Sets the one receiver of blocks. Nothing is read before it is set, so no block is ever missed. The receiver owns the
   * bytes. If it throws a TransportError, that is the end of the channel and its reason; TRANSPORT_HANDLER for other errors.
   */
  onBlock(handler: (block: Bytes) => void): void
  /**
   * Adds a handler that is called exactly once, when the channel has ended for whatever reason, `close()` included
   * (TRANSPORT_CLOSED then). Added after the end, it is called in a microtask.
   */
  onClose(handler: (reason: TransportError) => void): void
  /** Stops reading; the peer's blocks wait in bounded buffers and then at the peer. */
  pause(): void
  resume(): void
  /** Ends the channel after what was sent has left, or abruptly when the peer does not take it in a few seconds. */
  close(): void
  /** Ends the channel at once; unsent blocks are lost. */
  destroy(reason?: TransportError): void
}

export interface DialOptions {
  /** The deadline for all hosts together: name lookup, connection, TLS, upgrade and checks of the identity. */
  readonly timeoutMs: number
  /** Stops dialling: TRANSPORT_CLOSED. */
  readonly signal?: AbortSignal
}

export interface Dialer {
  /**
   * Connects to the first host of the router that answers and proves its identity. No SNI is sent, host names in
   * certificates are not looked at: the router's key hash is its identity.
   *
   * @throws TransportError TRANSPORT_CONNECT, TRANSPORT_TIMEOUT, TRANSPORT_TLS, TRANSPORT_CERTIFICATE, TRANSPORT_IDENTITY.
   */
  dial(router: RouterAddress, options: DialOptions): Promise<BlockChannel>
}

/** The certificate chain and key that a listening router shows. */
export interface RouterCredentials {
  /** DER, leaf first, 2–4 certificates; the second one is the router's identity. */
  readonly certificates: readonly Bytes[]
  /** The leaf's private key as PKCS #8 DER (Ed25519 or Ed448). */
  readonly privateKey: Bytes
}

export interface ListenOptions {
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
  readonly credentials: RouterCredentials
  /** Sockets that have not finished the TLS handshake (and upgrade); more are closed at once. Default 512. */
  readonly maxHandshakes?: number
  /** Open channels and handshakes together; more are closed at once. Default 20,000. */
  readonly maxConnections?: number
  /** Time that a socket has from accept to a finished TLS handshake (and upgrade). Default 10 s. */
  readonly handshakeTimeoutMs?: number
}

export interface Listener {
  readonly port: number
  /** Sockets now: still in the handshake, and open as channels. */
  counts(): { handshakes: number; channels: number }
  /** Stops listening and ends every channel and handshake; resolves when all sockets are gone. */
  close(): Promise<void>
}

/**
 * Listens and hands over each channel after its handshake.
 *
 * @throws TransportError TRANSPORT_LISTEN when the port is taken or not allowed.
 */
export type Listen = (options: ListenOptions, onChannel: (channel: BlockChannel) => void) => Promise<Listener>

/** The codes of TransportError that the transports and the client's session use. */
export type TransportErrorCode =
  | 'TRANSPORT_CONNECT' // no host answered
  | 'TRANSPORT_HOST' // the address names a place that this process may not connect to
  | 'TRANSPORT_TIMEOUT' // a deadline passed: dial, handshake or command
  | 'TRANSPORT_TLS' // TLS handshake, upgrade or parameters refused
  | 'TRANSPORT_CERTIFICATE' // chain of the wrong length, expired or badly signed
  | 'TRANSPORT_IDENTITY' // valid chain of another router
  | 'TRANSPORT_LISTEN' // cannot listen
  | 'TRANSPORT_CLOSED' // ended in order by either side
  | 'TRANSPORT_BROKEN' // ended by an error of the network
  | 'TRANSPORT_BLOCK' // bytes that are no block
  | 'TRANSPORT_BACKPRESSURE' // written faster than the peer takes
  | 'TRANSPORT_HANDLER' // the receiver of blocks threw
  | 'TRANSPORT_VERSION' // no common SMP version
  | 'TRANSPORT_SESSION' // the hello is for another TLS session
  | 'TRANSPORT_HANDSHAKE' // the SMP hello is malformed or not proven
  | 'TRANSPORT_BUSY' // too many requests wait in this process

/** A TransportError whose code is one of the known ones. */
export const transportError = (
  code: TransportErrorCode,
  message: string,
  details: ConstructorParameters<typeof TransportError>[2] = {},
): TransportError => new TransportError(code, message, details)
