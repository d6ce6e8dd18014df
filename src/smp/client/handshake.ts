import { generateKeyPair, type Random, x25519 } from '../../crypto/index.js'
import type { Bytes, VersionRange } from '../../encoding/index.js'
import { asDuologueError, TransportError } from '../../errors.js'
import type { Clock } from '../../runtime/clock.js'
import { BlockCipher, type BlockCoding, paddedBlocks, padBlock, unpadBlock } from '../protocol/block.js'
import { agreeVersion, decodeRouterHello, encodeClientHello, verifyRouterHello } from '../protocol/handshake.js'
import type { SignedRouterKey } from '../protocol/responses.js'
import { type BlockChannel, transportError } from '../transport/port.js'

/** What both sides have agreed on. */
export interface Agreed {
  readonly version: number
  readonly routerKey: Bytes
  readonly blocks: BlockCoding
  /** The raw X25519 secret of both session keys. */
  readonly secret: Bytes
  /** What the router said of itself, as it said it. */
  readonly offered: { readonly versionRange: VersionRange; readonly routerKey: SignedRouterKey }
}

export interface HandshakeOptions {
  readonly keyHash: Bytes
  readonly versionRange: VersionRange
  /** This side forwards for others: its blocks are not encrypted. */
  readonly proxy: boolean
  readonly random: Random
  readonly clock: Clock
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * The client's SMP handshake: reads the router's hello, checks it against the TLS session and the router's identity, and
 * answers with the highest common version and a fresh session key. Leaves the channel paused on success, destroyed on
 * failure.
 *
 * @throws TransportError TRANSPORT_HANDSHAKE, TRANSPORT_SESSION, TRANSPORT_IDENTITY, TRANSPORT_VERSION, TRANSPORT_TIMEOUT,
 * or the reason for which the channel ended
 */
export const shakeHands = (channel: BlockChannel, options: HandshakeOptions): Promise<Agreed> =>
  new Promise((resolve, reject) => {
    const { clock, signal } = options
    let done = false
    const settle = (): boolean => {
      if (done) return false
      done = true
      clock.clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      return true
    }
    const fail = (error: TransportError): void => {
      if (!settle()) return
      reject(error)
      channel.destroy(error)
    }
    const onAbort = (): void => fail(transportError('TRANSPORT_CLOSED', 'connecting was stopped here'))
    const timer = clock.setTimeout(
      () => fail(transportError('TRANSPORT_TIMEOUT', 'the router sent no hello in time')),
      options.timeoutMs,
    )
    if (signal?.aborted) return onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    channel.onClose(fail)
    channel.onBlock(block => {
      try {
        const agreed = answerHello(channel, block, options)
        // The next block belongs to the session, which sets its own receiver.
        channel.pause()
        if (settle()) resolve(agreed)
      } catch (error) {
        fail(asHandshakeError(error))
      }
    })
  })

const answerHello = (channel: BlockChannel, block: Bytes, options: HandshakeOptions): Agreed => {
  const { keyHash, versionRange, proxy, random } = options
  const hello = decodeRouterHello(unpadBlock(block))
  const [leafCertificate] = channel.peerCertificates
  if (leafCertificate === undefined) throw transportError('TRANSPORT_CERTIFICATE', 'the router showed no certificate')
  const { sessionId } = channel
  const routerKey = verifyRouterHello(hello, keyHash, { sessionId, leafCertificate })
  const version = agreeVersion(hello.versionRange, versionRange)
  const keys = generateKeyPair('x25519', random)
  const secret = x25519(keys.privateKey, routerKey)
  channel.send(padBlock(encodeClientHello({ version, keyHash, clientKey: keys.publicKey, proxy })))
  return {
    version,
    routerKey,
    secret,
    blocks: proxy ? paddedBlocks : new BlockCipher('client', sessionId, secret),
    offered: { versionRange: hello.versionRange, routerKey: hello.routerKey as SignedRouterKey },
  }
}

const asHandshakeError = (error: unknown): TransportError =>
  error instanceof TransportError
    ? error
    : transportError('TRANSPORT_HANDSHAKE', 'the handshake failed', { cause: asDuologueError(error) })
