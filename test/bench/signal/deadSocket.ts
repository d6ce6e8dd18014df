/** How long a socket whose network swallows everything, from some moment on, is taken for alive. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { WebSocketServer } from 'ws'
import { systemClock } from '../../../src/runtime/clock.js'
import { defaultSignalConfig, signalDialer } from '../../../src/signal/index.js'
import { SignalLink } from '../../../src/signal/net/link.js'
import { decode, encode } from '../../../src/signal/wire/codec.js'
import { frameTypes, webSocketMessage } from '../../../src/signal/wire/messages.js'
import { within } from './within.js'

/** A tenth of the default settings: what is measured is waiting. */
export const deadSocketConfig = {
  ...defaultSignalConfig,
  keepaliveMs: defaultSignalConfig.keepaliveMs / 10,
  probeDeadlineMs: defaultSignalConfig.probeDeadlineMs / 10,
}

/** From a blackhole, `afterMs` behind the connection, to the link that knows of it, in ms. */
export const findDeadSocket = async (afterMs: number): Promise<number> => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  server.on('connection', socket => {
    socket.on('message', (data: Buffer) => {
      const { request } = decode(webSocketMessage, data)
      const response = { id: request?.id, status: 200, message: 'OK', headers: [] }
      socket.send(encode(webSocketMessage, { type: frameTypes.response, response }))
    })
  })
  await new Promise(resolve => server.once('listening', resolve))
  const hole = await blackhole((server.address() as AddressInfo).port)
  const dialer = signalDialer({ url: `http://127.0.0.1:${hole.port}` })
  let onDown = (): void => {}
  const link = new SignalLink({
    socket: 'unidentified',
    clock: systemClock,
    ...deadSocketConfig,
    dial: signal => dialer.dial({ socket: 'unidentified', path: '/' }, signal),
    onRequest: request => request.respond(200),
    onState: state => {
      if (state === 'backingOff') onDown()
    },
  })
  try {
    link.start()
    if (!(await link.ensureAlive(Number.POSITIVE_INFINITY, 15_000))) throw new Error('the socket does not open')
    await new Promise(resolve => setTimeout(resolve, afterMs))
    if (!link.isOpen) throw new Error('the socket is down before its network is')
    const down = new Promise<void>(resolve => (onDown = resolve))
    hole.open()
    const since = performance.now()
    await within(60_000, 'a dead socket is not found', down)
    return performance.now() - since
  } finally {
    link.stop()
    hole.close()
    server.close()
  }
}

const blackhole = async (port: number): Promise<{ readonly port: number; open(): void; close(): void }> => {
  const sockets = new Set<Socket>()
  let open = false
  const server = createServer(client => {
    const upstream = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('data', bytes => {
        if (!open) to.write(bytes)
      })
      from.on('error', () => {})
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    open: () => {
      open = true
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
