import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { WebSocket } from 'ws'
import { systemClock } from '../../../src/runtime/clock.js'
import { portOf, type RouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import { memoryNetwork } from '../../../src/smp/transport/memory.js'
import { listenTls, tlsDialer } from '../../../src/smp/transport/tls.js'
import { tlsParameters } from '../../../src/smp/transport/tlsConnection.js'
import { listenWebSocket, webSocketDialer } from '../../../src/smp/transport/webSocket.js'
import { transportCompliance } from './compliance.js'

/** A TCP listener that never answers. */
const silentSockets = () => {
  const servers: Server[] = []
  const sockets: { destroy(): void }[] = []
  return {
    silentRouter: async () => {
      const server = createServer(socket => sockets.push(socket))
      servers.push(server)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
    },
  }
}

const rawTls = async (router: RouterAddress): Promise<TLSSocket> => {
  const socket = connect({
    ...tlsParameters,
    host: router.hosts[0] as string,
    port: portOf(router),
    rejectUnauthorized: false,
  })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

transportCompliance({
  name: 'TLS',
  framed: false,
  world: () => ({
    dialer: tlsDialer(),
    listen: listenTls,
    sendRaw: async (router, bytes) => {
      const socket = await rawTls(router)
      if (bytes.length > 0) socket.write(bytes)
      socket.end()
    },
    ...silentSockets(),
  }),
})

transportCompliance({
  name: 'WebSocket',
  framed: true,
  world: () => ({
    dialer: webSocketDialer(),
    listen: listenWebSocket,
    sendRaw: async (router, bytes) => {
      const socket = await rawTls(router)
      const webSocket = new WebSocket('ws://router/any/path', {
        createConnection: () => socket,
        perMessageDeflate: false,
      })
      webSocket.on('error', () => {})
      await once(webSocket, 'open')
      webSocket.send(bytes)
      webSocket.close()
    },
    ...silentSockets(),
  }),
})

transportCompliance({
  name: 'memory',
  framed: true,
  world: () => {
    const network = memoryNetwork({ clock: systemClock })
    return {
      dialer: network.dialer('client'),
      listen: network.listen,
      sendRaw: async (router, bytes) => {
        await network.dialer('raw').dial(router, { timeoutMs: 1_000 })
        network.links({ from: 'raw' })[0]?.inject('toRouter', bytes)
      },
      silentRouter: async () => {
        network.setReachable('silent:1', 'silent')
        return { host: 'silent', port: 1 }
      },
      close: async () => {},
    }
  },
})
