import { once } from 'node:events'
import { request } from 'node:https'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect, type ConnectionOptions } from 'node:tls'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Listen, Listener, ListenOptions } from '../../../src/smp/transport/port.js'
import { listenTls } from '../../../src/smp/transport/tls.js'
import { tlsParameters } from '../../../src/smp/transport/tlsConnection.js'
import { listenWebSocket } from '../../../src/smp/transport/webSocket.js'
import { anyChain } from '../../support/certificates.js'

const host = '127.0.0.1'

describe('a listener and peers that have proven nothing', () => {
  let listener: Listener
  const sockets: Socket[] = []
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await listener.close()
  })

  const listen = async (transport: Listen, options: Partial<ListenOptions> = {}) => {
    const accepted = vi.fn()
    listener = await transport({ host, port: 0, credentials: await anyChain(), ...options }, accepted)
    return accepted
  }

  const tcp = async (): Promise<Socket> => {
    const socket = connectTcp(listener.port, host)
    sockets.push(socket)
    socket.on('error', () => {})
    socket.resume()
    await once(socket, 'connect')
    return socket
  }

  const nothingLeft = () => vi.waitFor(() => expect(listener.counts()).toEqual({ handshakes: 0, channels: 0 }))

  const closed = async (socket: Socket): Promise<void> => {
    if (!socket.closed) await once(socket, 'close')
  }

  const tlsError = (options: ConnectionOptions): Promise<string> =>
    new Promise(resolve => {
      const socket = connect({ ...tlsParameters, host, port: listener.port, rejectUnauthorized: false, ...options })
      sockets.push(socket)
      socket.on('error', error => resolve((error as { code?: string }).code ?? 'error'))
      socket.on('close', () => resolve('closed'))
      socket.resume()
    })

  it('ends a socket that is silent, at the handshake deadline', async () => {
    await listen(listenTls, { handshakeTimeoutMs: 40 })
    const socket = await tcp()
    await closed(socket)
    await nothingLeft()
  })

  it('ends a socket that finishes TLS and never asks for the upgrade', async () => {
    // Time enough to finish TLS on a machine that is busy.
    const accepted = await listen(listenWebSocket, { handshakeTimeoutMs: 1_500 })
    expect(await tlsError({})).toBe('closed')
    expect(accepted).not.toHaveBeenCalled()
    await nothingLeft()
  })

  it('closes what is over the limit of handshakes at once, and takes new ones when others ended', async () => {
    await listen(listenTls, { maxHandshakes: 2, handshakeTimeoutMs: 60_000 })
    const [first, second] = [await tcp(), await tcp()]
    await vi.waitFor(() => expect(listener.counts().handshakes).toBe(2))
    await closed(await tcp())
    expect([first.closed, second.closed]).toEqual([false, false])
    first.destroy()
    await vi.waitFor(() => expect(listener.counts().handshakes).toBe(1))
    await tcp()
    await vi.waitFor(() => expect(listener.counts().handshakes).toBe(2))
  })

  it.each([
    ['TLS 1.2', { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-CHACHA20-POLY1305' }],
    ['another cipher', { ciphers: 'TLS_AES_128_GCM_SHA256' }],
    ['another group', { ecdhCurve: 'P-256' }],
    ['another signature', { sigalgs: 'rsa_pss_rsae_sha256' }],
    ['another application protocol', { ALPNProtocols: ['h2'] }],
    ['no application protocol', { ALPNProtocols: [] }],
  ] as const)('refuses %s', async (_name, options) => {
    const accepted = await listen(listenTls)
    expect(await tlsError(options as unknown as ConnectionOptions)).toMatch(/^(ERR_SSL|ECONNRESET|closed)/)
    expect(accepted).not.toHaveBeenCalled()
    await nothingLeft()
  })

  it('survives bytes that are no TLS', async () => {
    await listen(listenTls)
    const socket = await tcp()
    socket.write(Buffer.alloc(5_000, 'GET / HTTP/1.1\r\n\r\n'))
    await closed(socket)
    await nothingLeft()
  })

  it('answers a plain HTTP request on the WebSocket port with 426', async () => {
    const accepted = await listen(listenWebSocket)
    const asked = request({ ...tlsParameters, host, port: listener.port, rejectUnauthorized: false }).end()
    const [response] = await once(asked, 'response')
    response.resume()
    expect(response.statusCode).toBe(426)
    expect(accepted).not.toHaveBeenCalled()
  })

  it('sees no server name from a client', async () => {
    // Covered from the client's side: a dialer that sent SNI would be served HTTPS by shared ports.
    const { tlsDialer } = await import('../../../src/smp/transport/tls.js')
    const { createServer } = await import('node:tls')
    const chain = await anyChain()
    const pem = (label: string, der: Uint8Array) =>
      `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64')}\n-----END ${label}-----`
    const server = createServer({
      ...tlsParameters,
      key: pem('PRIVATE KEY', chain.privateKey),
      cert: chain.certificates.map(der => pem('CERTIFICATE', der)).join('\n'),
    })
    await listen(listenTls)
    server.listen(0, host)
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const secured = once(server, 'secureConnection')
    const channel = await tlsDialer().dial(
      { keyHash: chain.keyHash, hosts: ['localhost', host], port: String(port) },
      { timeoutMs: 5_000 },
    )
    const [socket] = await secured
    expect(socket.servername).toBe(false)
    channel.destroy()
    socket.destroy()
    server.close()
  })
})
