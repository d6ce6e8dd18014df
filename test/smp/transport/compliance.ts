import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { TransportError } from '../../../src/errors.js'
import type { RouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import {
  type BlockChannel,
  blockSize,
  type Dialer,
  type Listener,
  type ListenOptions,
} from '../../../src/smp/transport/port.js'
import { anyChain, makeChain, type TestChain } from '../../support/certificates.js'

/** One transport under the suite. Each call of `world` starts from nothing. */
export interface TransportUnderTest {
  readonly name: string
  /** True when frames keep their borders, so that a frame of another size is seen at once. */
  readonly framed: boolean
  world(): TransportWorld
}

export interface TransportWorld {
  readonly dialer: Dialer
  listen(options: ListenOptions, onChannel: (channel: BlockChannel) => void): Promise<Listener>
  /** Connects as a client without the port, sends these bytes as one frame and ends. */
  sendRaw(router: RouterAddress, bytes: Uint8Array): Promise<void>
  /** Something that takes a connection and never says a word; answers its address. */
  silentRouter(): Promise<{ host: string; port: number }>
  close(): Promise<void>
}

const host = '127.0.0.1'

const block = (n: number, fill = 7): Uint8Array => {
  const bytes = new Uint8Array(blockSize).fill(fill)
  new DataView(bytes.buffer).setUint32(0, n)
  return bytes
}

const numberOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/** The received block numbers, and a promise for when there are `count`. */
const collect = (channel: BlockChannel) => {
  const numbers: number[] = []
  const waiters: { count: number; resolve: () => void }[] = []
  channel.onBlock(bytes => {
    expect(bytes.length).toBe(blockSize)
    numbers.push(numberOf(bytes))
    for (const { count, resolve } of waiters) if (numbers.length >= count) resolve()
  })
  const until = (count: number): Promise<void> =>
    numbers.length >= count ? Promise.resolve() : new Promise(resolve => waiters.push({ count, resolve }))
  return { numbers, until }
}

/** Every reason that `onClose` gave, and the first as a promise. */
const closing = (channel: BlockChannel) => {
  const reasons: TransportError[] = []
  const first = new Promise<TransportError>(resolve =>
    channel.onClose(reason => {
      reasons.push(reason)
      resolve(reason)
    }),
  )
  return { reasons, first }
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

export const transportCompliance = (transport: TransportUnderTest): void => {
  describe(`${transport.name} transport`, () => {
    const cleanups: (() => Promise<void>)[] = []
    afterEach(async () => {
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
    })

    const start = async (options: Partial<ListenOptions> = {}, chain?: TestChain) => {
      const world = transport.world()
      const credentials = chain ?? (await anyChain())
      const dialled: BlockChannel[] = []
      const accepted: BlockChannel[] = []
      const waiting: ((channel: BlockChannel) => void)[] = []
      const listener = await world.listen({ host, port: 0, credentials, ...options }, channel => {
        const next = waiting.shift()
        if (next === undefined) accepted.push(channel)
        else next(channel)
      })
      cleanups.push(
        () => world.close(),
        () => listener.close(),
        async () => dialled.forEach(channel => channel.destroy()),
      )
      const router: RouterAddress = { keyHash: credentials.keyHash, hosts: [host], port: String(listener.port) }
      const nextChannel = (): Promise<BlockChannel> => {
        const channel = accepted.shift()
        return channel === undefined ? new Promise(resolve => waiting.push(resolve)) : Promise.resolve(channel)
      }
      const dial = async (overrides: Partial<RouterAddress> = {}, timeoutMs = 5_000) => {
        const channel = await world.dialer.dial({ ...router, ...overrides }, { timeoutMs })
        dialled.push(channel)
        return channel
      }
      const connect = async (): Promise<[client: BlockChannel, router: BlockChannel]> => [
        await dial(),
        await nextChannel(),
      ]
      return { world, listener, router, dial, nextChannel, connect }
    }

    it('carries blocks whole and in order both ways', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      const [atClient, atRouter] = [collect(client), collect(router)]
      const pump = async (channel: BlockChannel): Promise<void> => {
        for (const n of range(300)) if (!channel.send(block(n))) await channel.drained()
      }
      await Promise.all([pump(client), pump(router), atClient.until(300), atRouter.until(300)])
      expect(atClient.numbers).toEqual(range(300))
      expect(atRouter.numbers).toEqual(range(300))
    })

    it('gives both ends one session id that no other connection has, and shows the chain to the client only', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      const [other] = await connect()
      expect(client.sessionId.length).toBe(32)
      expect(Buffer.from(client.sessionId).equals(router.sessionId)).toBe(true)
      expect(Buffer.from(client.sessionId).equals(other.sessionId)).toBe(false)
      const { certificates } = await anyChain()
      expect(client.peerCertificates.map(der => Buffer.from(der))).toEqual(certificates.map(der => Buffer.from(der)))
      expect(router.peerCertificates).toEqual([])
      expect(router.remoteAddress).not.toBe('')
    })

    it('keeps blocks that arrive before the receiver is set', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      for (const n of range(5)) router.send(block(n))
      await delay(20)
      const { numbers, until } = collect(client)
      await until(5)
      expect(numbers).toEqual(range(5))
    })

    for (const [algorithm, length] of [
      ['ed25519', 3],
      ['ed448', 2],
      ['ed448', 4],
    ] as const) {
      it(`accepts an ${algorithm} chain of ${length} certificates`, async () => {
        const { connect } = await start({}, await makeChain({ algorithm, length }))
        const [client, router] = await connect()
        expect(client.peerCertificates.length).toBe(length)
        client.send(block(1))
        await collect(router).until(1)
      })
    }

    it('refuses a router with another identity: TRANSPORT_IDENTITY', async () => {
      const { dial } = await start()
      await expect(dial({ keyHash: new Uint8Array(32) })).rejects.toMatchObject({
        name: 'TransportError',
        code: 'TRANSPORT_IDENTITY',
      })
    })

    it('refuses an expired chain: TRANSPORT_CERTIFICATE', async () => {
      const { dial } = await start({}, await makeChain({ leafNotAfter: new Date('2025-06-01') }))
      await expect(dial()).rejects.toMatchObject({ name: 'TransportError', code: 'TRANSPORT_CERTIFICATE' })
    })

    it.each([1, 5])('refuses a chain of %d certificates: TRANSPORT_CERTIFICATE', async length => {
      const { dial } = await start({}, await makeChain({ length }))
      await expect(dial()).rejects.toMatchObject({ code: 'TRANSPORT_CERTIFICATE' })
    })

    it.each([0, 1, 100, blockSize - 1, blockSize + 1, 70_000])(
      'ends the channel on a frame of %d bytes',
      async length => {
        const { world, router, nextChannel } = await start()
        const [channel] = await Promise.all([nextChannel(), world.sendRaw(router, new Uint8Array(length))])
        const { first } = closing(channel)
        const seen: number[] = []
        channel.onBlock(bytes => seen.push(bytes.length))
        // A stream has no frames: nothing sent is nothing wrong, and only the rest after whole blocks is.
        const isFault = transport.framed || length % blockSize !== 0
        expect((await first).code).toBe(isFault ? 'TRANSPORT_BLOCK' : 'TRANSPORT_CLOSED')
        expect(seen.every(size => size === blockSize)).toBe(true)
        expect(seen.length).toBe(transport.framed ? 0 : Math.floor(length / blockSize))
      },
    )

    it('does not send what is no block: TRANSPORT_BLOCK', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      for (const length of [0, blockSize - 1, blockSize + 1]) {
        expect(() => client.send(new Uint8Array(length))).toThrowError(
          expect.objectContaining({ code: 'TRANSPORT_BLOCK' }),
        )
      }
      client.send(block(3))
      const { numbers, until } = collect(router)
      await until(1)
      expect(numbers).toEqual([3])
    })

    it('delivers what was sent before close, then reports the end once on both sides', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      const atRouter = collect(router)
      const [clientEnd, routerEnd] = [closing(client), closing(router)]
      for (const n of range(10)) client.send(block(n))
      client.close()
      client.close()
      expect(client.closed).toBe(true)
      expect(client.send(block(11))).toBe(false)
      const reasons = await Promise.all([clientEnd.first, routerEnd.first])
      expect(reasons.map(reason => reason.code)).toEqual(['TRANSPORT_CLOSED', 'TRANSPORT_CLOSED'])
      expect(atRouter.numbers).toEqual(range(10))
      client.destroy()
      router.close()
      await delay(20)
      expect([clientEnd.reasons.length, routerEnd.reasons.length]).toEqual([1, 1])
      expect((await closing(client).first).code).toBe('TRANSPORT_CLOSED')
      await client.drained()
    })

    it('tells the peer of an abrupt end, once', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      collect(client)
      collect(router)
      const [clientEnd, routerEnd] = [closing(client), closing(router)]
      router.destroy()
      expect((await routerEnd.first).code).toBe('TRANSPORT_CLOSED')
      expect((await clientEnd.first).code).toMatch(/^TRANSPORT_(CLOSED|BROKEN)$/)
      await delay(20)
      expect([clientEnd.reasons.length, routerEnd.reasons.length]).toEqual([1, 1])
    })

    it('ends when the receiver throws: TRANSPORT_HANDLER, or the TransportError that it threw', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      const { first } = closing(router)
      router.onBlock(() => {
        throw new Error('a bug in the receiver')
      })
      client.send(block(1))
      client.send(block(2))
      expect((await first).code).toBe('TRANSPORT_HANDLER')

      const [otherClient, otherRouter] = await connect()
      const { first: otherEnd } = closing(otherRouter)
      const reason = new TransportError('TRANSPORT_BLOCK', 'not for me')
      otherRouter.onBlock(() => {
        throw reason
      })
      otherClient.send(block(1))
      expect(await otherEnd).toBe(reason)
    })

    it('makes a fast writer wait for a paused reader, and loses nothing', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      const { numbers, until } = collect(router)
      router.pause()
      let sent = 0
      while (client.send(block(sent++))) expect(sent).toBeLessThan(2_000)
      // Sockets take some megabytes before they push back.
      let drained = true
      while (drained && sent < 4_000) {
        drained = await Promise.race([client.drained().then(() => true), delay(100, false)])
        if (drained) client.send(block(sent++))
      }
      expect(drained).toBe(false)
      expect(numbers.length).toBeLessThan(sent)
      router.resume()
      await client.drained()
      client.send(block(sent++))
      await until(sent)
      expect(numbers).toEqual(range(sent))
    })

    it('lets a waiting writer go when the channel ends', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      router.onBlock(() => {})
      router.pause()
      let drained = true
      for (let sent = 0; drained && sent < 4_000; sent++) {
        client.send(block(sent))
        drained = await Promise.race([client.drained().then(() => true), delay(100, false)])
      }
      expect(drained).toBe(false)
      const waiting = client.drained()
      client.destroy()
      await waiting
      router.destroy()
    })

    it('closes in order while paused', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      collect(client)
      collect(router)
      router.pause()
      client.send(block(1))
      const ends = [closing(client).first, closing(router).first]
      const since = performance.now()
      router.close()
      expect((await Promise.all(ends)).map(reason => reason.code)).toEqual(['TRANSPORT_CLOSED', 'TRANSPORT_CLOSED'])
      // Not by the deadline for peers that do not answer.
      expect(performance.now() - since).toBeLessThan(3_000)
    })

    it('ends a writer that does not wait: TRANSPORT_BACKPRESSURE', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      router.onBlock(() => {})
      router.pause()
      const { first } = closing(client)
      for (let i = 0; i < 4_000 && !client.closed; i++) client.send(block(i))
      expect((await first).code).toBe('TRANSPORT_BACKPRESSURE')
      router.destroy()
    })

    it('stops delivering at once when the receiver pauses', async () => {
      const { connect } = await start()
      const [client, router] = await connect()
      const numbers: number[] = []
      let wake = () => {}
      router.onBlock(bytes => {
        numbers.push(numberOf(bytes))
        router.pause()
        wake()
      })
      for (const n of range(20)) client.send(block(n))
      for (const n of range(20)) {
        if (numbers.length === n) await new Promise<void>(resolve => (wake = resolve))
        expect(numbers).toEqual(range(n + 1))
        router.resume()
      }
    })

    it('gives up on a silent router at the deadline: TRANSPORT_TIMEOUT', async () => {
      const { world, dial } = await start()
      const silent = await world.silentRouter()
      await expect(dial({ hosts: [silent.host], port: String(silent.port) }, 60)).rejects.toMatchObject({
        code: 'TRANSPORT_TIMEOUT',
        field: silent.host,
      })
    })

    it('stops dialling when told to: TRANSPORT_CLOSED', async () => {
      const { world, router } = await start()
      const silent = await world.silentRouter()
      const stop = new AbortController()
      const dialling = world.dialer.dial(
        { ...router, hosts: [silent.host], port: String(silent.port) },
        { timeoutMs: 60_000, signal: stop.signal },
      )
      queueMicrotask(() => stop.abort())
      await expect(dialling).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
      await expect(world.dialer.dial(router, { timeoutMs: 60_000, signal: AbortSignal.abort() })).rejects.toMatchObject(
        { code: 'TRANSPORT_CLOSED' },
      )
    })

    it('says when nothing listens: TRANSPORT_CONNECT', async () => {
      const { dial, listener, router } = await start()
      await listener.close()
      await expect(dial({ port: router.port })).rejects.toMatchObject({ code: 'TRANSPORT_CONNECT', field: host })
    })

    it('tries the hosts of an address in order', async () => {
      const { dial, nextChannel } = await start()
      const client = await dial({ hosts: ['127.0.0.99', 'no-such-host.invalid', host] })
      client.send(block(1))
      await collect(await nextChannel()).until(1)
      await expect(dial({ hosts: [] })).rejects.toMatchObject({ code: 'TRANSPORT_CONNECT' })
    })

    it('refuses to listen on a taken port: TRANSPORT_LISTEN', async () => {
      const { world, listener } = await start()
      await expect(
        world.listen({ host, port: listener.port, credentials: await anyChain() }, () => {}),
      ).rejects.toMatchObject({ code: 'TRANSPORT_LISTEN', field: `${host}:${listener.port}` })
    })

    it('takes no more connections than its limit, and new ones after others ended', async () => {
      const { listener, connect, dial } = await start({ maxConnections: 2 })
      const [first, firstAtRouter] = await connect()
      await connect()
      expect(listener.counts()).toEqual({ handshakes: 0, channels: 2 })
      await expect(dial()).rejects.toMatchObject({ code: expect.stringMatching(/^TRANSPORT_(CONNECT|TLS)$/) })
      collect(firstAtRouter)
      const { first: ended } = closing(firstAtRouter)
      first.close()
      await ended
      const [again] = await eventually(connect)
      expect(again.closed).toBe(false)
    })

    it('ends every channel when the listener closes', async () => {
      const { listener, connect } = await start()
      const [[a, aRouter], [b, bRouter]] = [await connect(), await connect()]
      const ends = [a, aRouter, b, bRouter].map(channel => {
        channel.onBlock(() => {})
        return closing(channel).first
      })
      await listener.close()
      expect((await Promise.all(ends)).map(reason => reason.code)).toEqual(Array(4).fill('TRANSPORT_CLOSED'))
      expect(listener.counts()).toEqual({ handshakes: 0, channels: 0 })
    })
  })
}

/** A socket that has ended for its user is counted until the system has let it go. */
const eventually = async <T>(attempt: () => Promise<T>): Promise<T> => {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt()
    } catch (error) {
      if (tries === 50) throw error
      await delay(10)
    }
  }
}
