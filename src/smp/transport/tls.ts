import type { TLSSocket } from 'node:tls'
import { BlockAssembler } from './blocks.js'
import { type ChannelIdentity, createChannel } from './channel.js'
import { type BlockChannel, type Dialer, type Listen, transportError } from './port.js'
import { asBrokenError, connectTls, type MayConnect, tryHosts } from './tlsConnection.js'
import { listenTlsSockets } from './tlsListener.js'

/**
 * Dials routers over TLS 1.3, blocks back to back.
 *
 * @param now the time for the dates of certificates, milliseconds since 1970
 * @param mayConnect whether an IP address, given or looked up, may be connected to; default all
 */
export const tlsDialer = (now: () => number = Date.now, mayConnect?: MayConnect): Dialer => ({
  dial: (router, options) =>
    tryHosts(router, options, async (host, signal) => {
      const { socket, ...identity } = await connectTls(router, host, signal, now, mayConnect)
      return tlsChannel(socket, { ...identity, remoteAddress: socket.remoteAddress ?? host })
    }),
})

/** Listens for SMP over TLS 1.3. */
export const listenTls: Listen = (options, onChannel) =>
  listenTlsSockets(
    options,
    ({ socket, ...identity }, accepted) => accepted(tlsChannel(socket, { ...identity, peerCertificates: [] })),
    onChannel,
  )

const tlsChannel = (
  socket: TLSSocket,
  { sessionId, peerCertificates, remoteAddress }: ChannelIdentity,
): BlockChannel => {
  const blocks = new BlockAssembler()
  let failure: unknown
  const { channel, received, flushed, ended } = createChannel(
    { sessionId, peerCertificates, remoteAddress },
    {
      write: block => void socket.write(block),
      queuedBytes: () => socket.writableLength,
      pause: () => void socket.pause(),
      resume: () => void socket.resume(),
      end: () => void socket.end(),
      destroy: () => void socket.destroy(),
    },
  )
  socket.pause()
  socket.on('data', (chunk: Buffer) => blocks.push(chunk, received))
  socket.pause()
  socket.on('drain', flushed)
  socket.on('error', error => {
    failure ??= error
  })
  socket.on('end', () => {
    if (blocks.pendingBytes > 0) failure ??= unfinishedBlock(blocks.pendingBytes)
  })
  socket.on('close', () =>
    ended(
      failure === undefined
        ? transportError('TRANSPORT_CLOSED', 'the peer closed the connection')
        : asBrokenError(failure),
    ),
  )
  return channel
}

const unfinishedBlock = (length: number) =>
  transportError('TRANSPORT_BLOCK', 'the connection ended inside a block', { field: 'block', facts: { length } })
