import { describe, expect, it } from 'vitest'
import type { RouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import { memoryNetwork } from '../../../src/smp/transport/memory.js'
import { type BlockChannel, blockSize } from '../../../src/smp/transport/port.js'
import { virtualClock } from '../../../src/testing/virtualClock.js'
import { anyChain } from '../../support/certificates.js'

const place = 'router:5223'

const world = async (latencyMs = 0) => {
  const clock = virtualClock()
  const network = memoryNetwork({ clock, latencyMs })
  const credentials = await anyChain()
  const accepted: BlockChannel[] = []
  const listener = await network.listen({ host: 'router', port: 5223, credentials }, channel => accepted.push(channel))
  const router: RouterAddress = { keyHash: credentials.keyHash, hosts: ['router'], port: '' }
  const dial = async (from = 'client', timeoutMs = 10_000) => {
    const dialling = network.dialer(from).dial(router, { timeoutMs })
    // A refusal comes while the clock is advanced, before anyone waits for it.
    dialling.catch(() => {})
    await clock.advance(2 * latencyMs)
    return [await dialling, accepted.at(-1) as BlockChannel] as const
  }
  return { clock, network, listener, router, dial }
}

const listenTo = (channel: BlockChannel, now: () => number) => {
  const blocks: [first: number, at: number][] = []
  const ends: string[] = []
  channel.onBlock(bytes => blocks.push([bytes[0] as number, now()]))
  channel.onClose(reason => ends.push(reason.code))
  return { blocks, ends }
}

const block = (n: number) => new Uint8Array(blockSize).fill(n)

describe('memory network', () => {
  it('delivers each block after the latency that held when it was sent, in order', async () => {
    const { clock, network, dial } = await world(50)
    const start = clock.now()
    const [client, router] = await dial()
    expect(clock.now() - start).toBe(100)
    const { blocks } = listenTo(router, () => clock.now() - start)
    client.send(block(1))
    network.setLatency(5)
    client.send(block(2))
    await clock.advance(20)
    network.setLatency(200)
    client.send(block(3))
    await clock.advance(1_000)
    expect(blocks).toEqual([
      [1, 150],
      [2, 150],
      [3, 320],
    ])
  })

  it('cuts both ends at once and loses what was on the way', async () => {
    const { clock, network, dial } = await world(10)
    const [client, router] = await dial()
    const [atClient, atRouter] = [listenTo(client, clock.now), listenTo(router, clock.now)]
    client.send(block(1))
    network.links({ place })[0]?.cut()
    await clock.advance(1_000)
    expect([atClient.ends, atRouter.ends]).toEqual([['TRANSPORT_BROKEN'], ['TRANSPORT_BROKEN']])
    expect(atRouter.blocks).toEqual([])
    expect(network.links()).toEqual([])
  })

  it('half-open: nothing passes, nobody is told, and the other end outlives a close', async () => {
    const { clock, network, dial } = await world()
    const [client, router] = await dial()
    const [atClient, atRouter] = [listenTo(client, clock.now), listenTo(router, clock.now)]
    network.links()[0]?.halt('toRouter')
    client.send(block(1))
    router.send(block(2))
    await clock.advance(60_000)
    expect([atClient.blocks.length, atRouter.blocks.length]).toEqual([1, 0])
    expect([atClient.ends, atRouter.ends]).toEqual([[], []])
    network.links()[0]?.halt()
    client.close()
    await clock.advance(60_000)
    expect([atClient.ends, atRouter.ends]).toEqual([['TRANSPORT_CLOSED'], []])
    network.links()[0]?.cut()
    expect(atRouter.ends).toEqual(['TRANSPORT_BROKEN'])
    expect(network.links()).toEqual([])
  })

  it('refuses, stays silent until the deadline, or answers, as it is told', async () => {
    const { clock, network, router, dial } = await world()
    network.setReachable(place, 'refuses')
    await expect(dial()).rejects.toMatchObject({ code: 'TRANSPORT_CONNECT' })
    network.setReachable(place, 'silent')
    const dialling = network.dialer().dial(router, { timeoutMs: 3_000 })
    dialling.catch(() => {})
    const start = clock.now()
    await clock.next()
    expect(clock.now() - start).toBe(3_000)
    await expect(dialling).rejects.toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
    network.setReachable(place, 'answers')
    const [client] = await dial()
    expect(client.closed).toBe(false)
    expect(clock.pendingTimers).toBe(0)
  })

  it('treats one dialer otherwise than the others, and each connection has its own latency', async () => {
    const { clock, network, router, dial } = await world()
    network.setReachable(place, 'refuses', 'alice')
    network.setLatency(({ from, place: to }) => (from === 'bob' && to === place ? 30 : 0))
    await expect(dial('alice')).rejects.toMatchObject({ code: 'TRANSPORT_CONNECT' })
    const start = clock.now()
    const dialling = network.dialer('bob').dial(router, { timeoutMs: 3_000 })
    await clock.advance(60)
    const { blocks } = listenTo(await dialling, () => clock.now() - start)
    network.links({ from: 'bob' })[0]?.router.send(block(1))
    await clock.advance(1_000)
    expect(blocks).toEqual([[1, 90]])
    network.setReachable(place, 'answers', 'alice')
    expect((await dial('alice'))[0].closed).toBe(false)
  })

  it('gives each host of an address its share of the deadline', async () => {
    const { clock, network, router } = await world()
    network.setReachable('dark:5223', 'silent')
    const start = clock.now()
    const dialling = network.dialer().dial({ ...router, hosts: ['dark', 'router'] }, { timeoutMs: 3_000 })
    await clock.advance(1_500)
    await dialling
    expect(clock.now() - start).toBe(1_500)
  })

  it('gives up when the answer comes after the deadline, and leaves no connection behind', async () => {
    const { clock, network, router } = await world()
    network.setLatency(2_000)
    const dialling = network.dialer().dial(router, { timeoutMs: 3_000 })
    dialling.catch(() => {})
    await clock.advance(10_000)
    await expect(dialling).rejects.toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
    expect(network.links()).toEqual([])
  })

  it('names its links by who dialled, and the router sees that name as the remote address', async () => {
    const { network, dial } = await world()
    const [, alice] = await dial('alice')
    await dial('bob')
    expect(alice.remoteAddress).toBe('alice')
    expect(network.links({ from: 'alice' }).length).toBe(1)
    expect(network.links().map(({ from, place }) => [from, place])).toEqual([
      ['alice', place],
      ['bob', place],
    ])
  })

  it('is the same in every run: session ids depend only on the order of dialling', async () => {
    const ids = async () => {
      const { dial } = await world()
      return [(await dial())[0], (await dial())[0]].map(({ sessionId }) => Buffer.from(sessionId).toString('hex'))
    }
    expect(await ids()).toEqual(await ids())
  })
})
