import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { ProxyError, RouterError, TransportError } from '../../../src/errors.js'
import { isHostError, isTemporaryError, type ProxiedRequest, type ProxySession } from '../../../src/smp/client.js'
import { formatRouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import { type ProxyWorld, proxyWorld, randomText, senderKey, takeBodies } from '../../support/router/proxyWorld.js'
import { newQueue, send } from '../../support/router/client.js'
import { outcome } from './world.js'

let world: ProxyWorld
afterEach(() => world?.close())

/** What a refused request fails with. */
const failure = async (promise: Promise<unknown>): Promise<RouterError> => {
  const error = await promise.then(
    value => Object.assign(new Error('not refused'), { value }),
    error => error,
  )
  expect(error).toBeInstanceOf(RouterError)
  return error
}

describe('B49 a sender behind a proxy', () => {
  it('B49 secures a queue and sends to it, and the relay sees the proxy only', async () => {
    world = await proxyWorld()
    const recipient = await world.recipient()
    const queue = await newQueue(recipient)
    const sender = await world.sender()
    const key = senderKey()
    const to = (command: ProxiedRequest['command']): ProxiedRequest => ({
      command,
      entityId: queue.sndId,
      key: key.private,
    })
    expect(await sender.send(world.relayAddress, to({ type: 'SKEY', key: key.public }))).toEqual({ type: 'OK' })
    expect(await sender.send(world.relayAddress, to(send('first')))).toEqual({ type: 'OK' })
    expect(await sender.send(world.relayAddress, to(send('second')))).toEqual({ type: 'OK' })
    expect(await takeBodies(recipient, queue, 2)).toEqual(['first', 'second'])
    expect(world.network.links({ place: world.relay.place }).map(({ from }) => from)).toEqual(['recipient', 'router'])
    expect(world.proxy.current.stats().proxy).toMatchObject({ relays: 1, relayRequests: 1, forwards: 3 })
    expect(world.relay.current.stats().forwardsReceived).toBe(3)
  })

  it.each(['ed25519', 'ed448', 'x25519'] as const)('B49 sends the longest body under an %s key', async algorithm => {
    world = await proxyWorld()
    const recipient = await world.recipient()
    const queue = await newQueue(recipient)
    const key = senderKey(algorithm)
    await recipient.one({ type: 'KEY', key: key.public }, queue.rcvId, queue.key)
    const sender = await world.sender()
    const body = randomText(16_048)
    const request = { entityId: queue.sndId, key: key.private }
    expect(await sender.send(world.relayAddress, { ...request, command: send(body) })).toEqual({ type: 'OK' })
    expect(await takeBodies(recipient, queue, 1)).toEqual([body])
    const tooLong = sender.send(world.relayAddress, { ...request, command: send(`${body}.`) })
    await expect(tooLong).rejects.toMatchObject({ code: 'LARGE_MSG' })
  })

  it('B49 keeps the order of what it sends at once, and asks for the relay once', async () => {
    world = await proxyWorld()
    const recipient = await world.recipient()
    const queue = await newQueue(recipient, { subscribe: false })
    const sender = await world.sender()
    const texts = Array.from({ length: 60 }, (_, n) => `message ${n}`)
    const all = texts.map(text => sender.send(world.relayAddress, { command: send(text), entityId: queue.sndId }))
    expect(await Promise.all(all)).toEqual(texts.map(() => ({ type: 'OK' })))
    await recipient.one({ type: 'SUB' }, queue.rcvId, queue.key)
    expect(await takeBodies(recipient, queue, texts.length)).toEqual(texts)
    expect(world.proxy.current.stats().proxy).toMatchObject({ relayRequests: 1, forwards: 60 })
  })

  it('B49 is told the errors of the relay as if it had asked the relay', async () => {
    world = await proxyWorld()
    const recipient = await world.recipient()
    const queue = await newQueue(recipient, { subscribe: false })
    const sender = await world.sender()
    const unknown = sender.send(world.relayAddress, { command: send('x'), entityId: Buffer.alloc(24, 1) })
    const auth = await failure(unknown)
    expect(auth).not.toBeInstanceOf(ProxyError)
    expect([auth.code, auth.field, isTemporaryError(auth), isHostError(auth)]).toEqual(['AUTH', 'SEND', false, false])
    const request = { command: send('x'), entityId: queue.sndId }
    for (let n = 0; n < 128; n++) await sender.send(world.relayAddress, request)
    expect((await failure(sender.send(world.relayAddress, request))).code).toBe('QUOTA')
  })

  it('B49 reads the links of others: LKEY secures, LGET asks, and both bring the largest data', async () => {
    world = await proxyWorld()
    const recipient = await world.recipient()
    const data = { fixedData: randomBytes(2_048), userData: randomBytes(13_824) }
    const linked = async (mode: 'messaging' | 'contact') => {
      const queue = await newQueue(recipient, { mode })
      const linkId = randomBytes(24)
      expect((await recipient.one({ type: 'LSET', linkId, data }, queue.rcvId, queue.key)).type).toBe('OK')
      return { queue, linkId }
    }
    const [invitation, contact] = [await linked('messaging'), await linked('contact')]
    const sender = await world.sender()
    const key = senderKey('ed448')
    const lkey = { command: { type: 'LKEY', key: key.public }, entityId: invitation.linkId, key: key.private } as const
    const expected = (senderId: Uint8Array) => ({ type: 'LNK', senderId, data })
    expect(await sender.send(world.relayAddress, lkey)).toEqual(expected(invitation.queue.sndId))
    const lget = { command: { type: 'LGET' }, entityId: contact.linkId } as const
    expect(await sender.send(world.relayAddress, lget)).toEqual(expected(contact.queue.sndId))
    expect((await failure(sender.send(world.relayAddress, { ...lget, entityId: invitation.linkId }))).code).toBe('AUTH')
  })

  it('B49 may send nothing but what needs no more than an id', async () => {
    world = await proxyWorld()
    const queue = await newQueue(await world.recipient(), { subscribe: false })
    const sender = await world.sender()
    const key = { algorithm: 'ed25519', privateKey: queue.key.keys.privateKey } as const
    for (const type of ['SUB', 'DEL', 'OFF', 'GET', 'QUE'] as const) {
      const request = { command: { type }, entityId: queue.rcvId, key } as unknown as ProxiedRequest
      expect((await failure(sender.send(world.relayAddress, request))).code).toBe('CMD_PROHIBITED')
    }
  })
})

describe('B49 a proxy', () => {
  const attempt = (sender: ProxySession, body = 'x', entityId: Uint8Array = Buffer.alloc(24)): Promise<unknown> =>
    sender.send(world.relayAddress, { command: send(body), entityId })

  it('B49 whose session with the relay has ended is asked for another one, once for all that wait', async () => {
    world = await proxyWorld()
    const recipient = await world.recipient()
    const queue = await newQueue(recipient, { subscribe: false })
    const sender = await world.sender()
    await attempt(sender, 'before', queue.sndId)
    await world.relay.stop()
    await world.relay.start()
    const texts = ['one', 'two', 'three', 'four']
    await Promise.all(texts.map(text => attempt(sender, text, queue.sndId)))
    const again = await world.recipient()
    await again.one({ type: 'SUB' }, queue.rcvId, queue.key)
    expect(await takeBodies(again, queue, 5)).toEqual(['before', ...texts])
    expect(world.proxy.current.stats().proxy.relayRequests).toBe(2)
  })

  it('B49 that restarts breaks its sessions: what is under way fails and may be tried again', async () => {
    world = await proxyWorld()
    const queue = await newQueue(await world.recipient(), { subscribe: false })
    const sender = await world.sender()
    await attempt(sender, 'before', queue.sndId)
    world.network.setLatency(10)
    const underWay = outcome(attempt(sender, 'lost', queue.sndId))
    await world.clock.settle()
    await world.proxy.stop()
    await world.clock.advance(10)
    expect(underWay.current).toBeInstanceOf(TransportError)
    expect(isTemporaryError(underWay.current)).toBe(true)
    world.network.setLatency(0)
    await world.proxy.start()
    const next = await world.sender()
    expect(await attempt(next, 'after', queue.sndId)).toEqual({ type: 'OK' })
  })

  it('B49 that cannot reach the relay says so: a temporary error that names both', async () => {
    world = await proxyWorld()
    await world.relay.stop()
    const error = await failure(attempt(await world.sender()))
    expect(error).toBeInstanceOf(ProxyError)
    expect([error.code, isTemporaryError(error), isHostError(error)]).toEqual([
      'PROXY_BROKER_NETWORK_FAILED',
      true,
      false,
    ])
    expect(error.facts).toEqual({
      proxy: formatRouterAddress(world.proxyAddress),
      relay: formatRouterAddress(world.relayAddress),
    })
  })

  it('B49 that wants a password forwards for those who know it', async () => {
    world = await proxyWorld({ password: 'correct' })
    const queue = await newQueue(await world.recipient(), { subscribe: false })
    for (const basicAuth of [undefined, 'wrong']) {
      const error = await failure(attempt(await world.sender({ basicAuth }), 'x', queue.sndId))
      expect([error.code, isTemporaryError(error), isHostError(error)]).toEqual(['PROXY_BASIC_AUTH', false, false])
    }
    expect(world.relayLinks()).toEqual([])
    const sender = await world.sender({ basicAuth: 'correct' })
    expect(await attempt(sender, 'x', queue.sndId)).toEqual({ type: 'OK' })
  })

  it('B49 that may not use the relay allows the direct way, and is not asked again for ten minutes', async () => {
    world = await proxyWorld({ proxy: { onlyDomains: ['example.com'] } })
    const sender = await world.sender()
    const refused = async (): Promise<number> => {
      const error = await failure(attempt(sender))
      expect([error.code, isHostError(error)]).toEqual(['PROXY_BROKER_HOST', true])
      return world.proxy.current.stats().proxy.relayRequests
    }
    expect([await refused(), await refused()]).toEqual([1, 1])
    await world.clock.advance(600_001)
    expect(await refused()).toBe(2)
  })
})
