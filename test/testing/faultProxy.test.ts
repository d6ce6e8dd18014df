/** The fault proxy between a plain server and plain sockets: what each fault does to bytes, and to the connection. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { resetSocket } from '../../src/testing/faultPipe.js'
import { type FaultProxy, startFaultProxy } from '../../src/testing/index.js'

/** One side of a connection, with everything that it was told. */
interface Side {
  readonly socket: Socket
  readonly bytes: () => Buffer
  /** `end` for FIN, `ECONNRESET` for RST, `close` once it is closed. */
  readonly told: string[]
}

const watched = (socket: Socket): Side => {
  const chunks: Buffer[] = []
  const told: string[] = []
  socket.on('data', chunk => chunks.push(chunk))
  socket.on('end', () => told.push('end'))
  socket.on('error', (error: NodeJS.ErrnoException) => told.push(error.code ?? 'error'))
  socket.on('close', () => told.push('close'))
  return { socket, bytes: () => Buffer.concat(chunks), told }
}

let server: Server
let proxy: FaultProxy
let accepted: Side[]
let sockets: Socket[]
beforeEach(async () => {
  accepted = []
  sockets = []
  server = createServer({ allowHalfOpen: true }, socket => {
    sockets.push(socket)
    accepted.push(watched(socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  proxy = await startFaultProxy({ port: (server.address() as AddressInfo).port })
})
afterEach(async () => {
  await proxy.close()
  for (const socket of sockets) socket.destroy()
  server.close()
})

const until = async (what: string, holds: () => boolean): Promise<void> => {
  const deadline = Date.now() + 20_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`)
    await new Promise<void>(resolve => setTimeout(resolve, 2))
  }
}
/** Both sides of a new connection. */
const dial = async (): Promise<[client: Side, server: Side]> => {
  const count = accepted.length
  const socket = connect({ port: proxy.port, host: proxy.host, allowHalfOpen: true })
  sockets.push(socket)
  const client = watched(socket)
  await until('accepted', () => accepted.length > count)
  return [client, accepted[count] as Side]
}
const arrived = (side: Side, length: number) => until(`${length} bytes`, () => side.bytes().length >= length)
/** What is sent now has crossed loopback and the proxy: a word on another connection has. */
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) await new Promise<void>(resolve => setTimeout(resolve, 2))
}
const numbered = (length: number): Buffer =>
  Buffer.alloc(
    length,
    Uint8Array.from({ length: 251 }, (_, index) => index),
  )

describe('without a fault', () => {
  it('carries bytes both ways in their order, and the end of each direction by itself', async () => {
    const [client, server] = await dial()
    const large = numbered(3_000_000)
    client.socket.end(large)
    server.socket.write('answer')
    await until('the end', () => server.told.includes('end'))
    expect(server.bytes().equals(large)).toBe(true)
    server.socket.end(' and more')
    await until('closed', () => client.told.includes('close') && server.told.includes('close'))
    expect([client.bytes().toString(), client.told, server.told]).toEqual([
      'answer and more',
      ['end', 'close'],
      ['end', 'close'],
    ])
    expect([proxy.accepted, proxy.passed]).toEqual([1, { toServer: 3_000_000, toClient: 15 }])
    await until('nothing is held', () => proxy.open === 0)
  })

  it('tells a client of a server that is not there by RST', async () => {
    server.close()
    const client = watched(connect(proxy.port, proxy.host))
    await until('closed', () => client.told.includes('close'))
    expect(client.told).toEqual(['ECONNRESET', 'close'])
  })

  it('passes an RST on', async () => {
    const [client, server] = await dial()
    server.socket.resetAndDestroy()
    await until('closed', () => client.told.includes('close'))
    expect(client.told).toEqual(['ECONNRESET', 'close'])
  })
})

describe('faults of one direction', () => {
  it('blackhole: nothing comes, not even the end; all of it comes in order when it is over', async () => {
    const [client, server] = await dial()
    proxy.set({ type: 'blackhole' }, 'toServer')
    client.socket.write('one ')
    client.socket.end('two')
    server.socket.write('the other way')
    await arrived(client, 13)
    await settled()
    expect([server.bytes().length, server.told]).toEqual([0, []])
    proxy.set({ type: 'pass' })
    await until('the end', () => server.told.includes('end'))
    expect(server.bytes().toString()).toBe('one two')
  })

  it('blackhole: the sender is held back, and nothing of much is lost', async () => {
    const [client, server] = await dial()
    proxy.set({ type: 'blackhole' })
    const large = numbered(16_000_000)
    client.socket.end(large)
    await settled()
    expect(client.socket.writableLength).toBeGreaterThan(0)
    expect(server.bytes()).toHaveLength(0)
    proxy.set({ type: 'pass' })
    await until('the end', () => server.told.includes('end'))
    expect(server.bytes().equals(large)).toBe(true)
  })

  it('blackhole: a new connection is accepted and silent', async () => {
    proxy.set({ type: 'blackhole' })
    const [client, server] = await dial()
    client.socket.write('hello')
    server.socket.write('welcome')
    await settled()
    expect([client.bytes().length, server.bytes().length]).toEqual([0, 0])
  })

  it('drop: what was sent meanwhile is lost', async () => {
    const [client, server] = await dial()
    proxy.set({ type: 'drop' }, 'toServer')
    client.socket.write('lost')
    await settled()
    proxy.set({ type: 'pass' })
    client.socket.write('found')
    await arrived(server, 5)
    expect(server.bytes().toString()).toBe('found')
  })

  it('latency: every byte comes late, in order', async () => {
    const [client, server] = await dial()
    proxy.set({ type: 'latency', ms: 80 }, 'toServer')
    const since = performance.now()
    for (const word of ['a', 'b', 'c']) client.socket.write(word)
    await arrived(server, 3)
    expect(performance.now() - since).toBeGreaterThanOrEqual(75)
    expect(server.bytes().toString()).toBe('abc')
    const back = performance.now()
    server.socket.write('d')
    await arrived(client, 1)
    expect(performance.now() - back).toBeLessThan(10_000)
  })

  it('stall: so many bytes come, in one direction over all connections; the rest when it is over', async () => {
    const [client, server] = await dial()
    const bytes = numbered(1000)
    proxy.set({ type: 'stall', after: 700 }, 'toServer')
    client.socket.write(bytes)
    await arrived(server, 700)
    await settled()
    expect(server.bytes()).toHaveLength(700)
    const [second, secondServer] = await dial()
    second.socket.write('x')
    await settled()
    expect(secondServer.bytes()).toHaveLength(0)
    proxy.set({ type: 'pass' })
    await arrived(server, 1000)
    await arrived(secondServer, 1)
    expect(server.bytes().equals(bytes)).toBe(true)
  })

  it('drip: a few bytes at a time, all of them', async () => {
    const [client, server] = await dial()
    const bytes = numbered(50)
    proxy.set({ type: 'drip', bytes: 10, everyMs: 10 }, 'toServer')
    const since = performance.now()
    client.socket.write(bytes)
    await arrived(server, 10)
    expect(server.bytes().length).toBeLessThan(50)
    await arrived(server, 50)
    expect(performance.now() - since).toBeGreaterThanOrEqual(45)
    expect(server.bytes().equals(bytes)).toBe(true)
  })
})

describe('connections that break', () => {
  it('cut: after so many bytes both sides see the end; new connections pass', async () => {
    const [client, server] = await dial()
    proxy.set({ type: 'cut', after: 5 }, 'toServer')
    client.socket.write('0123456789')
    await until('the end', () => server.told.includes('end') && client.told.includes('end'))
    expect(server.bytes().toString()).toBe('01234')
    const [again, againServer] = await dial()
    again.socket.write('0123456789')
    await arrived(againServer, 10)
  })

  it('cut after 0: all connections end with the next byte, which does not arrive', async () => {
    const [client, server] = await dial()
    const [other] = await dial()
    proxy.set({ type: 'cut', after: 0 }, 'toClient')
    client.socket.write('question')
    await arrived(server, 8)
    expect(client.told).toEqual([])
    server.socket.write('answer')
    await until('the end', () => client.told.includes('end') && other.told.includes('end'))
    expect(client.bytes()).toHaveLength(0)
  })

  it('reset: both sides see RST', async () => {
    const [client, server] = await dial()
    proxy.set({ type: 'reset', after: 3 }, 'toServer')
    client.socket.write('0123456789')
    await until('told', () => client.told.includes('close') && server.told.length > 0)
    expect(client.told).toEqual(['ECONNRESET', 'close'])
    expect('0123456789'.slice(0, 3)).toContain(server.bytes().toString())
    const [again, againServer] = await dial()
    again.socket.write('0123456789')
    await arrived(againServer, 10)
  })

  it.each(['cut', 'reset'] as const)('break (%s): every connection now', async how => {
    const all = [await dial(), await dial()].flat()
    proxy.break(how)
    for (const { told } of all) {
      await until('told', () => told.length > 0)
      expect(told[0]).toBe(how === 'cut' ? 'end' : 'ECONNRESET')
    }
    expect(proxy.open).toBe(0)
    const [client, server] = await dial()
    client.socket.write('new')
    await arrived(server, 3)
  })

  it('a connection that is to be reset twice, while it is being reset, closes', async () => {
    const [client, server] = await dial()
    const [peer, again] = await dial()
    for (const side of [server, again]) {
      resetSocket(side.socket)
      resetSocket(side.socket)
    }
    for (const { told } of [client, peer, server, again]) await until('closed', () => told.includes('close'))
  })

  it('refuse: new connections are reset, until it is over', async () => {
    proxy.refuse(true)
    const client = watched(connect(proxy.port, proxy.host))
    await until('closed', () => client.told.includes('close'))
    expect([client.told, accepted.length]).toEqual([['ECONNRESET', 'close'], 0])
    proxy.refuse(false)
    await dial()
  })

  it.each(['client', 'server'] as const)(
    'half-open: the %s does not know, and hears nothing; new connections pass',
    async unaware => {
      const [client, server] = await dial()
      const [aware, ignorant] = unaware === 'client' ? [server, client] : [client, server]
      proxy.halfOpen(unaware)
      await until('closed', () => aware.told.includes('close'))
      ignorant.socket.write('hello?')
      await settled()
      expect([ignorant.told, ignorant.bytes().length, ignorant.socket.writable]).toEqual([[], 0, true])
      expect(proxy.open).toBe(1)
      const [again, againServer] = await dial()
      again.socket.write('new')
      await arrived(againServer, 3)
    },
  )

  it('half-open: a client that gives up is kept until the close, which does not wait for it', async () => {
    const [client] = await dial()
    proxy.set({ type: 'blackhole' })
    client.socket.write('hello?')
    await settled()
    proxy.halfOpen()
    client.socket.destroy()
    await settled()
    expect(proxy.open).toBe(1)
    await proxy.close()
    await until('nothing is held', () => proxy.open === 0)
  })

  it('close ends every connection, those that are half-open, stalled or late too', async () => {
    const [stranded] = await dial()
    proxy.halfOpen()
    const [stalled] = await dial()
    proxy.set({ type: 'latency', ms: 60_000 })
    stalled.socket.write('late')
    await settled()
    await proxy.close()
    for (const { told } of [stranded, stalled]) await until('told', () => told.length > 0)
    await until('nothing is held', () => proxy.open === 0)
  })
})
