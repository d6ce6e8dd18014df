import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls'
import type { Bytes } from '../../encoding/index.js'
import type { BlockChannel, Listener, ListenOptions, RouterCredentials } from './port.js'
import { transportError } from './port.js'
import { errorCode, tcpParameters, tlsParameters } from './tlsConnection.js'

/** A socket that has finished TLS, with what the channel needs. The socket has not been read yet. */
export interface AcceptedSocket {
  readonly socket: TLSSocket
  readonly sessionId: Bytes
  readonly remoteAddress: string
}

/** Makes a channel of an accepted socket, at once (TLS) or after an upgrade (WebSocket). */
export type Accept = (accepted: AcceptedSocket, onChannel: (channel: BlockChannel) => void) => void

/**
 * Listens for TLS and keeps the limits that an unauthenticated peer can run into: sockets in the handshake, sockets in all,
 * and one deadline from accept to channel. What is over a limit is closed before any cryptography.
 */
export const listenTlsSockets = async (
  options: ListenOptions,
  accept: Accept,
  onChannel: (channel: BlockChannel) => void,
): Promise<Listener> => {
  const { maxHandshakes = 512, maxConnections = 20_000, handshakeTimeoutMs = 10_000 } = options
  const tlsServer = createTlsServer({ ...tlsParameters, ...tcpParameters, ...pemCredentials(options.credentials) })
  const handshakes = new Map<Socket, NodeJS.Timeout>()
  const channels = new Set<BlockChannel>()
  const sockets = new Map<string, Socket>()

  const handshakeEnded = (socket: Socket): boolean => {
    clearTimeout(handshakes.get(socket))
    return handshakes.delete(socket)
  }

  const server = createServer(tcpParameters, socket => {
    const ends = endsOf(socket)
    if (ends === undefined || handshakes.size >= maxHandshakes || sockets.size >= maxConnections) {
      return void socket.destroy()
    }
    sockets.set(ends, socket)
    handshakes.set(
      socket,
      setTimeout(() => socket.destroy(), handshakeTimeoutMs),
    )
    socket.on('error', () => socket.destroy())
    socket.once('close', () => {
      handshakeEnded(socket)
      if (sockets.get(ends) === socket) sockets.delete(ends)
    })
    tlsServer.emit('connection', socket)
  })

  // A peer that fails the handshake costs its socket and nothing else.
  tlsServer.on('tlsClientError', (_error, tlsSocket) => tlsSocket.destroy())
  tlsServer.on('secureConnection', tlsSocket => {
    const raw = sockets.get(endsOf(tlsSocket) ?? '')
    tlsSocket.on('error', () => tlsSocket.destroy())
    tlsSocket.once('close', () => raw?.destroy())
    const sessionId = tlsSocket.getPeerFinished()
    if (raw === undefined || sessionId === undefined || tlsSocket.alpnProtocol !== 'smp/1')
      return void tlsSocket.destroy()
    accept({ socket: tlsSocket, sessionId, remoteAddress: tlsSocket.remoteAddress ?? 'unknown' }, channel => {
      if (!handshakeEnded(raw)) return channel.destroy()
      channels.add(channel)
      channel.onClose(() => channels.delete(channel))
      onChannel(channel)
    })
  })

  await startListening(server, options)
  return {
    port: (server.address() as { port: number }).port,
    counts: () => ({ handshakes: handshakes.size, channels: channels.size }),
    close: () => closeAll(server, tlsServer, channels, handshakes, sockets),
  }
}

const startListening = (server: Server, { host, port }: ListenOptions): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', cause => {
      const taken = errorCode(cause) === 'EADDRINUSE'
      reject(
        transportError('TRANSPORT_LISTEN', taken ? 'the port is taken' : 'cannot listen', {
          field: `${host}:${port}`,
          facts: { cause: errorCode(cause) },
          hint: taken ? 'stop the other program or choose another port' : 'check the host and the rights for this port',
          cause,
        }),
      )
    })
    server.listen(port, host, () => {
      server.removeAllListeners('error')
      // Running out of file descriptors ends an accept, not the router.
      server.on('error', () => {})
      resolve()
    })
  })

const closeAll = async (
  server: Server,
  tlsServer: TlsServer,
  channels: ReadonlySet<BlockChannel>,
  handshakes: ReadonlyMap<Socket, NodeJS.Timeout>,
  sockets: ReadonlyMap<string, Socket>,
): Promise<void> => {
  const closed = new Promise<void>(resolve => server.close(() => resolve()))
  for (const channel of channels) channel.close()
  for (const [socket, timer] of handshakes) {
    clearTimeout(timer)
    socket.destroy()
  }
  // Peers that do not answer the closing are dropped by the channels' own grace; this is the last resort.
  const lastResort = setTimeout(() => {
    for (const socket of sockets.values()) socket.destroy()
  }, 6_000)
  await closed
  clearTimeout(lastResort)
  tlsServer.removeAllListeners()
}

/** Both ends of a TCP connection, the same for the socket and for the TLS socket on it; undefined once it has ended. */
const endsOf = ({ localAddress, remoteAddress, remotePort }: Socket): string | undefined =>
  remotePort === undefined ? undefined : `${localAddress} ${remoteAddress} ${remotePort}`

const pemCredentials = ({ certificates, privateKey }: RouterCredentials) => ({
  cert: certificates.map(certificate => pem('CERTIFICATE', certificate)).join('\n'),
  key: pem('PRIVATE KEY', privateKey),
})

const pem = (label: string, der: Bytes): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----`
