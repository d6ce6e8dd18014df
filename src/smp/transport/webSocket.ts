import { createServer } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { type ChannelIdentity, createChannel } from './channel.js'
import { type BlockChannel, blockSize, type Dialer, type Listen, transportError } from './port.js'
import { asBrokenError, asDialError, connectTls, errorCode, type RouterConnection, tryHosts } from './tlsConnection.js'
import { listenTlsSockets } from './tlsListener.js'

// No compression (blocks are encrypted) and no message longer than a block.
const frameOptions = { perMessageDeflate: false, maxPayload: blockSize, skipUTF8Validation: true } as const

/**
 * Dials routers by WebSocket over the same TLS, with the same proof of identity: one binary message per block.
 *
 * @param now the time for the dates of certificates, milliseconds since 1970
 */
export const webSocketDialer = (now: () => number = Date.now): Dialer => ({
  dial: (router, options) =>
    tryHosts(router, options, async (host, signal) => {
      const connection = await connectTls(router, host, signal, now)
      return upgrade(connection, signal)
    }),
})

/** Listens for SMP over WebSocket (TLS), on any path. */
export const listenWebSocket: Listen = (options, onChannel) => {
  const upgrades = new WebSocketServer({ noServer: true, clientTracking: false, ...frameOptions })
  const accepted = new WeakMap<object, (webSocket: WebSocket) => void>()
  const http = createServer((_request, response) => {
    response.writeHead(426, { connection: 'close', upgrade: 'websocket', 'content-length': 0 }).end()
  })
  http.on('clientError', (_error, socket) => socket.destroy())
  http.on('upgrade', (request, socket, head) => {
    upgrades.handleUpgrade(request, socket, head, webSocket => accepted.get(socket)?.(webSocket))
  })
  return listenTlsSockets(
    options,
    ({ socket, ...identity }, onAccepted) => {
      accepted.set(socket, webSocket =>
        onAccepted(webSocketChannel(webSocket, socket, { ...identity, peerCertificates: [] })),
      )
      http.emit('connection', socket)
    },
    onChannel,
  )
}

const upgrade = ({ socket, host, ...identity }: RouterConnection, signal: AbortSignal): Promise<BlockChannel> =>
  new Promise((resolve, reject) => {
    const webSocket = new WebSocket('ws://router/', {
      ...frameOptions,
      createConnection: () => socket,
      // Masks protect proxies that read along; under TLS nobody does, and a zero mask saves a pass over every block.
      generateMask: () => {},
    })
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', onAbort)
      webSocket.on('error', () => {})
      webSocket.terminate()
      socket.destroy()
      reject(error)
    }
    const onAbort = (): void => fail(signal.reason)
    const onError = (error: unknown): void => fail(asUpgradeError(error, host))
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    webSocket.once('error', onError)
    webSocket.once('open', () => {
      signal.removeEventListener('abort', onAbort)
      webSocket.removeListener('error', onError)
      resolve(webSocketChannel(webSocket, socket, { ...identity, remoteAddress: socket.remoteAddress ?? host }))
    })
  })

/** After TLS any failure that is none of the network is the peer's refusal to upgrade. */
const asUpgradeError = (error: unknown, host: string) => {
  const code = errorCode(error)
  if (code !== 'unknown' && !code.startsWith('WS_') && !code.startsWith('HPE_')) return asDialError(error, host)
  return transportError('TRANSPORT_TLS', 'the router does not accept WebSocket here', { field: host, cause: error })
}

const webSocketChannel = (
  webSocket: WebSocket,
  socket: TLSSocket,
  { sessionId, peerCertificates, remoteAddress }: ChannelIdentity,
): BlockChannel => {
  let failure: unknown
  const { channel, received, flushed, ended } = createChannel(
    { sessionId, peerCertificates, remoteAddress },
    {
      write: block => webSocket.send(block),
      queuedBytes: () => webSocket.bufferedAmount,
      pause: () => webSocket.pause(),
      resume: () => webSocket.resume(),
      end: () => webSocket.close(1000),
      destroy: () => webSocket.terminate(),
    },
  )
  webSocket.pause()
  socket.on('drain', flushed)
  webSocket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) return received(data)
    channel.destroy(transportError('TRANSPORT_BLOCK', 'a block is a binary message, not text', { field: 'block' }))
  })
  webSocket.on('error', error => {
    failure ??= frameError(error) ?? error
  })
  webSocket.on('close', code => ended(failure === undefined ? closedByCode(code) : asBrokenError(failure)))
  return channel
}

/** The peer sent a message that is too long or no WebSocket frame at all. */
const frameError = (error: Error) =>
  errorCode(error).startsWith('WS_ERR')
    ? transportError('TRANSPORT_BLOCK', 'the peer sent a frame that is no block', {
        field: 'block',
        facts: { cause: errorCode(error) },
      })
    : undefined

/** 1006: the connection ended without the closing handshake of WebSocket. */
const closedByCode = (code: number) =>
  code === 1006
    ? transportError('TRANSPORT_BROKEN', 'the connection broke', { facts: { webSocketCode: code } })
    : transportError('TRANSPORT_CLOSED', 'the peer closed the connection', { facts: { webSocketCode: code } })
