/** Sockets that misbehave below the blocks, on a real TLS port: slow, half-open, cut and of wrong sizes. */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { generateCertificates, identityOf, type RouterIdentity } from '../../src/router/certificates.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import { type Router, startRouter } from '../../src/router/router.js'
import { connectRouter } from '../../src/smp/client.js'
import { systemRandom } from '../../src/crypto/index.js'
import { systemClock } from '../../src/runtime/clock.js'
import { listenTls, tlsDialer } from '../../src/smp/transport/tls.js'
import { openMemoryStore } from '../../src/store/memory.js'

/** Long enough for a machine that does other work too. */
const handshakeSeconds = 5
const handshakes = 40
let identity: RouterIdentity
let router: Router
const sockets = new Set<Socket>()

beforeAll(async () => {
  identity = await generateCertificates({ host: '127.0.0.1', now: Date.now() }).then(identityOf)
  router = await startRouter({
    identity,
    listeners: [{ listen: listenTls, host: '127.0.0.1', port: 0 }],
    queues: openMemoryStore(),
    messages: memoryLog(),
    settings: { limits: { handshakeSeconds, handshakes, connections: 60 } },
  })
})
afterEach(() => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
})
afterAll(() => router.close())

const kept = <S extends Socket>(socket: S): S => {
  sockets.add(socket)
  // Being thrown out is what is wanted of them.
  socket.on('error', () => {})
  return socket
}
const tcp = (): Socket => kept(connectTcp(router.port, '127.0.0.1'))
const tls = async (): Promise<Socket> => {
  const socket = kept(
    connectTls({
      host: '127.0.0.1',
      port: router.port,
      rejectUnauthorized: false,
      ALPNProtocols: ['smp/1'],
      minVersion: 'TLSv1.3',
    }),
  )
  await once(socket, 'secureConnect')
  return socket
}
// An error comes before the end; `once` would take it for its own.
const closed = (socket: Socket): Promise<void> =>
  new Promise(resolve => (socket.closed ? resolve() : void socket.once('close', () => resolve())))

/** Another client connects, shakes hands and is answered. */
const served = async (): Promise<void> => {
  const address = { keyHash: identity.keyHash, hosts: ['127.0.0.1'], port: String(router.port) }
  const session = await connectRouter({
    dialer: tlsDialer(),
    router: address,
    clock: systemClock,
    random: systemRandom,
  })
  expect(await session.send({ command: { type: 'PING' }, entityId: Buffer.alloc(0) })).toEqual({ type: 'PONG' })
  session.close()
}

it('that say nothing, one byte at a time, half a block or never the hello, are closed at the deadline; another one is served meanwhile', async () => {
  const silent = Array.from({ length: 8 }, tcp)
  const slow = Array.from({ length: 8 }, tcp)
  await Promise.all([...silent, ...slow].map(socket => once(socket, 'connect')))
  const half = await Promise.all(Array.from({ length: 6 }, tls))
  for (const socket of half) socket.write(randomBytes(8_000))
  const mute = await Promise.all(Array.from({ length: 6 }, tls))
  const all = [...silent, ...slow, ...half, ...mute]
  for (const socket of all) socket.resume()
  const hello = Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), randomBytes(500)])
  let at = 0
  const drip = setInterval(() => {
    for (const socket of slow) if (socket.writable) socket.write(hello.subarray(at, at + 1))
    at++
  }, 100)
  try {
    await served()
    await Promise.all(all.map(closed))
  } finally {
    clearInterval(drip)
  }
  await served()
})

it('that send other lengths than blocks, megabytes of noise, or end in the middle, cost their connection only', async () => {
  for (const length of [1, 16_383, 16_385, 100_000, 4_000_000]) {
    const socket = await tls()
    socket.resume()
    socket.end(randomBytes(length))
    await closed(socket)
  }
  const reset = tcp()
  await once(reset, 'connect')
  reset.resetAndDestroy()
  const plain = tcp()
  plain.resume()
  plain.end('GET / HTTP/1.1\r\n\r\n')
  await closed(plain)
  await served()
})

it('that are more than there is room for are closed at once; others have their places when they end', async () => {
  const many = Array.from({ length: 3 * handshakes }, tcp)
  for (const socket of many) socket.resume()
  let left = many.length
  await new Promise<void>(resolve => {
    for (const socket of many) void closed(socket).then(() => --left === handshakes && resolve())
  })
  for (const socket of many) socket.destroy()
  await Promise.all(many.map(closed))
  // The router hears of their end a moment later.
  await vi.waitFor(served, { timeout: 20_000, interval: 50 })
})
