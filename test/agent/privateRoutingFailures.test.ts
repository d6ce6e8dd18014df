/** Private routing when proxy or relay fail, refuse or restart: nothing is lost, repeated or swapped, and nobody is dialled who should not be. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemRandom } from '../../src/crypto/index.js'
import { generateCertificates, identityOf } from '../../src/router/certificates.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import { startRouter } from '../../src/router/router.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { virtualEpoch } from '../../src/testing/virtualClock.js'
import { textOf } from '../support/agentWorld.js'
import type { DurableRouter } from '../support/durableRouter.js'
import {
  countsAt,
  hear,
  type PrivateWorld,
  privateWorld,
  proxiesOf,
  proxying,
  type RouterSetting,
  say,
  storing,
  told,
} from '../support/privateWorld.js'

let world: PrivateWorld
let home: DurableRouter
let proxy: DurableRouter
let relay: DurableRouter
beforeEach(async () => {
  world = await privateWorld()
  ;({ home, proxy, relay } = world)
})
afterEach(() => world.close())

describe('B49 what is only away is waited for, whatever the fallback', () => {
  it('B49 the one proxy is down: messages wait and arrive once, in order', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected()
    await proxy.stop()
    await say(alice, atAlice, 'one', 'two')
    await world.clock.advance(60_000)
    await proxy.start()
    await say(alice, atAlice, 'three')
    expect(await hear(bob, atBob, 3)).toEqual(['one', 'two', 'three'])
    expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address, proxy.address])
    expect(world.blocksTo(relay)).toBeUndefined()
    expect(told(alice, 'MERR', 'ERR')).toEqual([])
  })

  it('B49 of two proxies one goes down: the next message goes through the other, without a failed attempt', async () => {
    const other = await world.newRouter()
    const settings = [storing(home), proxying(proxy), proxying(other)]
    const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' }, settings)
    await say(alice, atAlice, 'zero')
    expect(await hear(bob, atBob, 1)).toEqual(['zero'])
    const [used] = proxiesOf(alice)
    const [down, up] = used === proxy.address ? [proxy, other] : [other, proxy]
    await down.stop()
    world.network.setReachable(down.place, 'refuses')
    const before = world.clock.now()
    await say(alice, atAlice, 'one', 'two')
    expect(await hear(bob, atBob, 2)).toEqual(['one', 'two'])
    expect(world.clock.now() - before).toBeLessThan(1_000)
    expect(proxiesOf(alice)).toEqual([down.address, up.address, up.address])
    expect(world.blocksTo(relay)).toBeUndefined()
  })

  it('B49 of two proxies one does not answer: what it may have delivered is left to the next attempt, which goes through the other', async () => {
    const other = await world.newRouter()
    const settings = [storing(home), proxying(proxy), proxying(other)]
    const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' }, settings)
    await say(alice, atAlice, 'zero')
    expect(await hear(bob, atBob, 1)).toEqual(['zero'])
    const [used, next] = proxiesOf(alice)[0] === proxy.address ? [proxy, other] : [other, proxy]
    const before = next.current.stats().proxy.forwards
    for (const link of world.network.links({ from: 'alice', place: used.place })) link.halt('toClient')
    await say(alice, atAlice, 'one')
    const timedOut = async () => (await countsAt(alice, relay))['SEND TRANSPORT_TIMEOUT'] !== undefined
    for (let seconds = 0; seconds < 300 && !(await timedOut()); seconds++) await world.clock.advance(1_000)
    expect(await timedOut()).toBe(true)
    expect(next.current.stats().proxy.forwards).toBe(before)
    await world.until(() => told(alice, 'SENT').length === 2, 'SENT')
    expect(next.current.stats().proxy.forwards).toBe(before + 1)
    expect(proxiesOf(alice)).toEqual([used.address, next.address])
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
  })

  it('B49 the relay is down: messages wait and arrive once, in order, through the proxy', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected()
    await relay.stop()
    await say(alice, atAlice, 'one', 'two')
    await world.clock.advance(120_000)
    await relay.start()
    await say(alice, atAlice, 'three')
    expect(await hear(bob, atBob, 3)).toEqual(['one', 'two', 'three'])
    expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address, proxy.address])
    expect(world.blocksTo(relay)).toBeUndefined()
    expect(told(alice, 'MERR', 'ERR')).toEqual([])
  })

  it('B49 the relay has restarted: the proxy has no session, and the same attempt makes a new one', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected()
    await relay.stop()
    await relay.start()
    await world.clock.settle()
    const before = world.clock.now()
    await say(alice, atAlice, 'one')
    await world.until(() => told(alice, 'SENT').length === 1, 'SENT')
    expect(world.clock.now() - before).toBeLessThan(1_000)
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(await countsAt(alice, proxy)).toMatchObject({ PRXY: 2, 'PFWD PROXY_NO_SESSION': 1 })
  })

  it('B49 another router shows its certificate in place of the relay: nothing goes there, nor directly', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected()
    await relay.stop()
    const port = Number(relay.place.split(':')[1])
    const identity = identityOf(await generateCertificates({ host: 'localhost', now: virtualEpoch }))
    const impostor = await startRouter({
      identity,
      listeners: [{ listen: world.network.listen, host: 'localhost', port }],
      queues: openMemoryStore(),
      messages: memoryLog(),
      dialer: world.network.dialer('impostor'),
      clock: world.clock,
    })
    await say(alice, atAlice, 'one')
    await world.clock.advance(300_000)
    expect(impostor.stats().forwardsReceived).toBe(0)
    expect(told(alice, 'SENT', 'MERR')).toEqual([])
    expect(world.blocksTo(relay)).toBeUndefined()
    await impostor.close()
    await relay.start()
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(proxiesOf(alice)).toEqual([proxy.address])
  })

  it('B49 an answer that does not come in time leaves the message waiting; it is not delivered twice', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected()
    for (const link of world.network.links({ from: 'alice', place: proxy.place })) link.halt('toClient')
    await say(alice, atAlice, 'one')
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(told(alice, 'SENT')).toEqual([])
    await alice.agent.setNetworkConfig({ proxyMode: 'never' })
    await say(alice, atAlice, 'two')
    expect(await hear(bob, atBob, 1)).toEqual(['two'])
    await world.until(() => told(alice, 'SENT').length === 2, 'SENT')
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
    expect(told(bob, 'MSG')).toHaveLength(2)
  })
})

describe('B49 the permission of a proxy', () => {
  const withPassword = ({ address }: DurableRouter, password: string): RouterSetting => ({
    address: address.replace(':secret@', `:${password}@`),
    storage: false,
  })

  it('B49 the password of the address opens it, and SENT does not show it', async () => {
    const guarded = await world.newRouter({ password: 'secret' })
    const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' }, [
      storing(home),
      withPassword(guarded, 'secret'),
    ])
    await say(alice, atAlice, 'one')
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(proxiesOf(alice)).toEqual([guarded.address.replace(':secret', '')])
    expect(guarded.current.stats().proxy.forwards).toBe(3)
    expect(JSON.stringify(alice.events)).not.toContain('secret')
  })

  it('B49 a proxy that refuses fails the message for good, also where it might go directly; another password counts at once', async () => {
    const guarded = await world.newRouter({ password: 'secret' })
    const { alice, bob, atAlice, atBob } = await world.connected()
    await alice.agent.setRouters({ routers: [storing(home), withPassword(guarded, 'wrong')] })
    await say(alice, atAlice, 'refused')
    expect((await alice.next('MERR')).error.code).toBe('PROXY_BASIC_AUTH')
    expect(world.blocksTo(relay)).toBeUndefined()
    await alice.agent.setRouters({ routers: [storing(home), withPassword(guarded, 'secret')] })
    await say(alice, atAlice, 'taken')
    const message = await bob.next('MSG', atBob)
    expect(textOf(message.body)).toBe('taken')
    expect(world.network.links({ from: 'alice', place: guarded.place })).toHaveLength(1)
  })

  it('B49 of two proxies one refuses: the other is asked at once', async () => {
    const guarded = await world.newRouter({ password: 'secret' })
    const settings = [storing(home), withPassword(guarded, 'wrong'), proxying(proxy)]
    // Of several routers always the first one is picked.
    const random = (length: number): Uint8Array => (length === 4 ? Buffer.alloc(4) : systemRandom(length))
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' }, settings, { random })
    const bob = await world.startBob()
    const before = world.clock.now()
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    await say(alice, initiatorId, 'one', 'two')
    expect(await hear(bob, joinerId, 2)).toEqual(['one', 'two'])
    expect(world.clock.now() - before).toBeLessThan(5_000)
    expect(guarded.current.stats().proxy.forwards).toBe(0)
    expect(world.network.links({ from: 'alice', place: guarded.place })).toHaveLength(1)
    expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address])
    expect(told(alice, 'ERR', 'MERR', 'MWARN')).toEqual([])
    expect(world.blocksTo(relay)).toBeUndefined()
  })
})

describe('B49 what the relay answers through a proxy counts as what it answers', () => {
  it('B49 QUOTA: the message waits for room, and everything arrives in order', async () => {
    await relay.stop()
    relay = world.relay = await world.newRouter({ messageQuota: 2 })
    const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' })
    await say(alice, atAlice, 'one', 'two', 'three', 'four', 'five')
    expect((await alice.next('MWARN')).error.code).toBe('QUOTA')
    expect(await countsAt(alice, relay)).toMatchObject({ 'SEND QUOTA': 1 })
    expect(await hear(bob, atBob, 5)).toEqual(['one', 'two', 'three', 'four', 'five'])
    expect(await alice.next('QCONT')).toBeDefined()
    expect(proxiesOf(alice)).toHaveLength(5)
    expect(world.blocksTo(relay)).toBeUndefined()
  })

  it('B49 AUTH: the queue is gone, and the message fails at once', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected()
    await bob.agent.deleteConnection({ connectionId: atBob })
    await bob.next('DEL_CONN')
    await say(alice, atAlice, 'too late')
    expect((await alice.next('MERR')).error.code).toBe('AUTH')
    expect(world.blocksTo(relay)).toBeUndefined()
    expect(await countsAt(alice, relay)).toMatchObject({ 'SEND AUTH': 1 })
    // The proxy is not to blame, and stays.
    expect(await countsAt(alice, proxy)).toMatchObject({ PRXY: 1 })
  })

  it('B49 AUTH in a handshake ends its step with ERR', async () => {
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await world.startBob()
    const { connectionId, link } = await bob.agent.createConnection({})
    await bob.agent.deleteConnection({ connectionId })
    await bob.next('DEL_CONN')
    await alice.agent.joinConnection({ link })
    expect((await alice.next('ERR')).error.code).toBe('AUTH')
    expect(world.blocksTo(relay)).toBeUndefined()
  })
})

describe('B49 restarts', () => {
  it('B49 of proxy, relay, sender and recipient: every message arrives once, in order, and SENT names the proxy', async () => {
    let { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' })
    const sent: string[] = []
    const heard: string[] = []
    const speak = async (...bodies: string[]): Promise<void> => {
      sent.push(...bodies)
      await say(alice, atAlice, ...bodies)
    }
    await speak('1', '2')
    await proxy.stop()
    await speak('3')
    await proxy.start()
    await speak('4')
    await relay.stop()
    await speak('5', '6')
    await relay.start()
    heard.push(...(await hear(bob, atBob, 6)))
    await world.until(() => told(alice, 'SENT').length === 6, 'SENT')
    await speak('7', '8')
    const named = proxiesOf(alice)
    alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' }, undefined, {
      store: { open: alice.crash() },
    })
    await alice.agent.subscribe({})
    await speak('9')
    bob = await world.startBob({ store: { open: bob.crash() } })
    await bob.agent.subscribe({})
    heard.push(...(await hear(bob, atBob, 3)))
    expect(heard).toEqual(sent)
    const ids = (): number => new Set(told(alice, 'SENT').map(({ messageId }) => messageId)).size
    await world.until(() => ids() === 9, 'SENT of all')
    expect(new Set([...named, ...proxiesOf(alice)])).toEqual(new Set([proxy.address]))
    expect(world.blocksTo(relay)).toBeUndefined()
    expect(told(alice, 'MERR', 'ERR')).toEqual([])
  })

  it('B49 kills of the sender at different moments lose nothing and repeat nothing', async () => {
    let { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' })
    const sent: string[] = []
    for (let round = 0; round < 8; round++) {
      for (let index = 0; index < 4; index++) {
        const body = `${round} ${index}`
        sent.push(body)
        await say(alice, atAlice, body)
      }
      for (let turn = 0; turn < 5 * round; turn++) await new Promise(setImmediate)
      alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' }, undefined, {
        store: { open: alice.crash() },
      })
    }
    expect(await hear(bob, atBob, sent.length)).toEqual(sent)
    await world.clock.advance(60_000)
    expect(told(bob, 'MSG')).toHaveLength(sent.length)
    expect(world.blocksTo(relay)).toBeUndefined()
  })

  it('B49 a proxy whose session was idle and closed is connected again', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' })
    await world.clock.advance(900_000)
    expect(world.network.links({ from: 'alice', place: proxy.place })).toEqual([])
    await say(alice, atAlice, 'one')
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(proxiesOf(alice)).toEqual([proxy.address])
  })
})
