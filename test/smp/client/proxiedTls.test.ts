/** Sender → proxy → relay over real TLS, with routers that stop and start again at their ports. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemRandom } from '../../../src/crypto/index.js'
import { ProxyError, TransportError } from '../../../src/errors.js'
import { openRouter, type OpenRouterOptions } from '../../../src/router/openRouter.js'
import type { Router } from '../../../src/router/router.js'
import { systemClock } from '../../../src/runtime/clock.js'
import { connectRouter, openProxy, type ProxySession } from '../../../src/smp/client.js'
import { parseRouterAddress, type RouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import { tlsDialer } from '../../../src/smp/transport/tls.js'
import { newQueue, send, startClient, type TestClient } from '../../support/router/client.js'
import { senderKey, takeBodies } from '../../support/router/proxyWorld.js'

let root: string
const running = new Set<Router>()
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'duologue-proxy-'))
})
afterEach(async () => {
  await Promise.all([...running].map(router => router.close()))
  running.clear()
  await rm(root, { recursive: true, force: true })
})

const open = async (name: string, options: Partial<OpenRouterOptions> = {}): Promise<Router> => {
  const place = { directory: join(root, name), host: '127.0.0.1', listenHost: '127.0.0.1', memory: true } as const
  const router = await openRouter({ port: 0, ...place, ...options })
  running.add(router)
  return router
}
const stop = async (router: Router): Promise<void> => {
  running.delete(router)
  await router.close()
}

const through = async (proxy: Router): Promise<ProxySession> => {
  const router = parseRouterAddress(proxy.address)
  const session = await connectRouter({ dialer: tlsDialer(), router, clock: systemClock, random: systemRandom })
  return openProxy(session, { clock: systemClock, random: systemRandom })
}

const recipientAt = async (relay: Router): Promise<TestClient> => {
  const router = parseRouterAddress(relay.address)
  return startClient(await tlsDialer().dial(router, { timeoutMs: 5_000 }), { keyHash: router.keyHash })
}

const loopback = { proxy: { privateAddresses: true } } as const

describe('B49 private routing over TLS', () => {
  it('B49 carries SKEY and SEND, also after relay and proxy have restarted', async () => {
    const [firstProxy, firstRelay] = [await open('proxy', loopback), await open('relay')]
    const sender = await through(firstProxy)
    const to = async (relay: RouterAddress, recipient: TestClient, way: ProxySession, text: string): Promise<void> => {
      const queue = await newQueue(recipient)
      const key = senderKey()
      const request = { entityId: queue.sndId, key: key.private }
      expect(await way.send(relay, { ...request, command: { type: 'SKEY', key: key.public } })).toEqual({ type: 'OK' })
      expect(await way.send(relay, { ...request, command: send(text) })).toEqual({ type: 'OK' })
      expect(await takeBodies(recipient, queue, 1)).toEqual([text])
    }
    const relay = parseRouterAddress(firstRelay.address)
    await to(relay, await recipientAt(firstRelay), sender, 'first')

    await stop(firstRelay)
    const secondRelay = await open('relay', { port: Number(relay.port) })
    // The proxy has noticed, or notices now: either way one more PRXY and all is well.
    await to(relay, await recipientAt(secondRelay), sender, 'after the relay came back')

    await stop(firstProxy)
    await expect(to(relay, await recipientAt(secondRelay), sender, 'lost')).rejects.toBeInstanceOf(TransportError)
    const secondProxy = await open('proxy', { ...loopback, port: firstProxy.port })
    await to(relay, await recipientAt(secondRelay), await through(secondProxy), 'after the proxy came back')
    expect(secondRelay.stats().forwardsReceived).toBe(4)
  })

  it('B49 does not reach this machine or its network for clients, by address or by name, unless it is allowed', async () => {
    const [proxy, relay] = [await open('proxy'), await open('relay')]
    const sender = await through(proxy)
    const address = parseRouterAddress(relay.address)
    const attempt = async (host: string): Promise<string> => {
      const request = { command: send('x'), entityId: Buffer.alloc(24) }
      const error: unknown = await sender.send({ ...address, hosts: [host] }, request).catch(error => error)
      return error instanceof ProxyError ? error.code : String(error)
    }
    expect(await attempt('127.0.0.1')).toBe('PROXY_BROKER_HOST')
    expect(await attempt('::1')).toBe('PROXY_BROKER_HOST')
    expect(await attempt('169.254.169.254')).toBe('PROXY_BROKER_HOST')
    // Names tell nothing of what they mean inside: as if there were none.
    expect(await attempt('localhost')).toBe('PROXY_BROKER_NETWORK_FAILED')
    expect(await attempt('127.1')).toMatch(/^PROXY_BROKER_/)
    expect(relay.stats().sessions).toBe(0)
  })

  it('B49 keeps its settings with the router: other ones are refused', async () => {
    const router = await open('router', loopback)
    await stop(router)
    await expect(open('router', { proxy: { enabled: false } })).rejects.toMatchObject({
      code: 'CONFIG_CONFLICT',
      field: 'proxy',
    })
    await expect(open('router', { proxy: { connectSeconds: 0 } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      field: 'proxy.connectSeconds',
    })
    expect((await open('router', loopback)).port).toBeGreaterThan(0)
  })
})
