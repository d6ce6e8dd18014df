import { lookup } from 'node:dns'
import { isIP, type LookupFunction, type TcpNetConnectOpts } from 'node:net'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { Bytes } from '../../encoding/index.js'
import { TransportError } from '../../errors.js'
import { portOf, type RouterAddress } from '../protocol/routerAddress.js'
import { verifyRouterChain } from './chain.js'
import { type DialOptions, transportError } from './port.js'

/** TLS as SMP wants it (facts/smp.md, Transport): 1.3, one cipher, Ed25519/Ed448 signatures, X448/X25519, ALPN `smp/1`. */
export const tlsParameters = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_CHACHA20_POLY1305_SHA256',
  sigalgs: 'ed448:ed25519',
  ecdhCurve: 'X448:X25519',
  ALPNProtocols: ['smp/1'],
} as const satisfies ConnectionOptions

/** Dead peers are noticed in 30 s of silence plus the system's probes; small blocks leave at once. */
export const tcpParameters = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 } as const

/** A TLS connection whose peer has proven to be the router. Its bytes have not been read yet. */
export interface RouterConnection {
  readonly socket: TLSSocket
  readonly host: string
  readonly sessionId: Bytes
  readonly peerCertificates: readonly Bytes[]
}

/**
 * Runs `attempt` for each host in order until one succeeds, within one deadline. A host may use its share of what is left,
 * so that a silent first host leaves time for the others.
 *
 * @param attempt must end what it opened when `signal` aborts, and reject with the signal's reason then
 */
export const tryHosts = async <T>(
  router: RouterAddress,
  options: DialOptions,
  attempt: (host: string, signal: AbortSignal) => Promise<T>,
): Promise<T> => {
  const deadline = performance.now() + options.timeoutMs
  let failure: TransportError | undefined
  for (const [i, host] of router.hosts.entries()) {
    const left = deadline - performance.now()
    if (left <= 0) break
    const timeoutMs = Math.ceil(left / (router.hosts.length - i))
    const stop = new AbortController()
    const timer = setTimeout(() => stop.abort(dialTimeout(host)), timeoutMs)
    const onAbort = (): void => stop.abort(dialStopped(host))
    if (options.signal?.aborted) onAbort()
    options.signal?.addEventListener('abort', onAbort)
    try {
      return await attempt(host, stop.signal)
    } catch (error) {
      failure = asDialError(error, host)
    } finally {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', onAbort)
    }
  }
  throw (
    failure ?? transportError('TRANSPORT_CONNECT', 'the router has no host to connect to', { field: 'router hosts' })
  )
}

/** Whether an IP address may be connected to. */
export type MayConnect = (address: string) => boolean

/** Connects one host and proves the router's identity; aborting ends the socket. */
export const connectTls = (
  router: RouterAddress,
  host: string,
  signal: AbortSignal,
  now: () => number,
  mayConnect?: MayConnect,
) =>
  new Promise<RouterConnection>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    if (mayConnect !== undefined && isIP(host) !== 0 && !mayConnect(host)) return reject(forbidden(host))
    const options: ConnectionOptions & Omit<TcpNetConnectOpts, 'timeout'> = {
      ...tlsParameters,
      ...tcpParameters,
      host,
      port: portOf(router),
      // Node cannot check this chain; verifyRouterChain does. No `servername`: SMP clients send no SNI.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      // Node's default of 250 ms per address gives up on slow networks.
      autoSelectFamilyAttemptTimeout: 2_500,
      ...(mayConnect === undefined ? {} : { lookup: lookupAllowed(mayConnect) }),
    }
    const socket = connect(options)
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', onAbort)
      socket.on('error', () => {})
      socket.destroy()
      reject(error)
    }
    const onAbort = (): void => fail(signal.reason)
    const onEnd = (): void => fail(transportError('TRANSPORT_TLS', 'the peer ended the TLS handshake', { field: host }))
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', fail)
    socket.once('end', onEnd)
    socket.once('close', onEnd)
    socket.once('secureConnect', () => {
      try {
        const peerCertificates = peerChain(socket)
        checkParameters(socket)
        verifyRouterChain(peerCertificates, router.keyHash, now())
        const sessionId = socket.getFinished()
        if (sessionId === undefined) throw transportError('TRANSPORT_TLS', 'the TLS session has no Finished message')
        signal.removeEventListener('abort', onAbort)
        socket.removeListener('error', fail)
        socket.removeListener('end', onEnd)
        socket.removeListener('close', onEnd)
        resolve({ socket, host, sessionId, peerCertificates })
      } catch (error) {
        fail(error)
      }
    })
  })

/**
 * Looks a name up and keeps the addresses that may be connected to: the socket takes one of these, so a name that changes its meaning
 * between a check and the connection gains nothing. A name without any is one that does not exist.
 */
const lookupAllowed =
  (mayConnect: MayConnect): LookupFunction =>
  (name, options, callback) =>
    lookup(name, { ...options, all: true }, (error, found) => {
      const allowed = error === null ? found.filter(({ address }) => mayConnect(address)) : []
      const [first] = allowed
      if (first === undefined) return callback(error ?? Object.assign(new Error(), { code: 'ENOTFOUND' }), '', 0)
      if (options.all === true) callback(null, allowed)
      else callback(null, first.address, first.family)
    })

const forbidden = (host: string): TransportError =>
  transportError('TRANSPORT_HOST', 'this process may not connect to the address', { field: host })

const checkParameters = (socket: TLSSocket): void => {
  if (socket.alpnProtocol !== 'smp/1') {
    throw transportError('TRANSPORT_TLS', 'the peer does not speak SMP on this port', {
      field: 'ALPN',
      hint: 'without ALPN smp/1 a router offers only SMP version 6, which is not supported',
    })
  }
}

/** The chain as sent, leaf first. Node links it by issuer; a self-signed top links to itself. */
const peerChain = (socket: TLSSocket): Bytes[] => {
  const chain: Bytes[] = []
  let certificate = socket.getPeerCertificate(true)
  // One more than allowed, so that a chain that is too long is seen as such.
  while (certificate?.raw !== undefined && chain.length < 5) {
    chain.push(certificate.raw)
    if (certificate.issuerCertificate === certificate) break
    certificate = certificate.issuerCertificate
  }
  return chain
}

const dialTimeout = (host: string): TransportError =>
  transportError('TRANSPORT_TIMEOUT', 'the router did not answer in time', { field: host })

const dialStopped = (host: string): TransportError =>
  transportError('TRANSPORT_CLOSED', 'connecting was stopped here', { field: host })

/** Any failure of a dial as a TransportError that names the host. */
export const asDialError = (error: unknown, host: string): TransportError => {
  if (error instanceof TransportError) return error
  const code = errorCode(error)
  if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || code === 'EPROTO') {
    return transportError('TRANSPORT_TLS', 'the TLS handshake failed', {
      field: host,
      facts: { cause: code },
      cause: error,
    })
  }
  return transportError('TRANSPORT_CONNECT', 'cannot connect to the router', {
    field: host,
    facts: { cause: code },
    cause: error,
  })
}

/** The reason of an ended connection for an error of its socket. */
export const asBrokenError = (error: unknown): TransportError =>
  error instanceof TransportError
    ? error
    : transportError('TRANSPORT_BROKEN', 'the connection broke', { facts: { cause: errorCode(error) }, cause: error })

/** Node's code of an error, such as ECONNREFUSED. */
export const errorCode = (error: unknown): string => {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : 'unknown'
}
