/** Two bundled routers on a memory network, a proxy and a relay, with a recipient at the relay and senders at the proxy. */
import { randomBytes } from 'node:crypto'
import { generateKeyPair, systemRandom } from '../../../src/crypto/index.js'
import type { RouterOptions } from '../../../src/router/router.js'
import { connectRouter, openProxy, type ProxyOptions, type RouterSession } from '../../../src/smp/client.js'
import type { AuthorizationAlgorithm } from '../../../src/smp/protocol/authorization.js'
import { parseRouterAddressWithAuth, type RouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import { memoryNetwork } from '../../../src/smp/transport/memory.js'
import { virtualClock } from '../../../src/testing/virtualClock.js'
import { durableRouter } from '../durableRouter.js'
import { bodyText, startClient, type TestClient, type TestQueue } from './client.js'

export type ProxyWorld = Awaited<ReturnType<typeof proxyWorld>>

export const proxyWorld = async (settings: RouterOptions['settings'] = {}) => {
  const clock = virtualClock()
  const network = memoryNetwork({ clock })
  const proxy = await durableRouter({ network, clock }, settings)
  const relay = await durableRouter({ network, clock })
  const addressOf = (address: string): RouterAddress => parseRouterAddressWithAuth(address).router

  const connect = (router = addressOf(proxy.address), from = 'sender'): Promise<RouterSession> =>
    connectRouter({ dialer: network.dialer(from), router, clock, random: systemRandom })

  /** A bare client, for commands that the library does not send. */
  const bare = async (router: RouterAddress, from: string, options = {}): Promise<TestClient> => {
    const channel = await network.dialer(from).dial(router, { timeoutMs: 1_000 })
    return startClient(channel, { keyHash: router.keyHash, ...options })
  }

  return {
    clock,
    network,
    proxy,
    relay,
    relayAddress: addressOf(relay.address),
    proxyAddress: addressOf(proxy.address),
    connect,
    bare,
    /** A session to the proxy, and the way through it. */
    sender: async (options: Partial<ProxyOptions> = {}) =>
      openProxy(await connect(), { clock, random: systemRandom, ...options }),
    recipient: () => bare(addressOf(relay.address), 'recipient'),
    /** Connections of the proxy to other routers. */
    relayLinks: () => network.links({ from: 'router' }),
    close: async () => {
      await proxy.stop()
      await relay.stop()
    },
  }
}

export const senderKey = (algorithm: AuthorizationAlgorithm = 'ed25519') => {
  const { publicKey, privateKey } = generateKeyPair(algorithm)
  return { public: { algorithm, raw: publicKey }, private: { algorithm, privateKey } } as const
}

/** The bodies of the next messages of a queue, in their order, each acknowledged. */
export const takeBodies = async (recipient: TestClient, queue: TestQueue, count: number): Promise<string[]> => {
  const bodies: string[] = []
  let { response } = await recipient.event()
  for (;;) {
    const message = queue.open(response)
    bodies.push(bodyText(message))
    const ack = await recipient.one({ type: 'ACK', messageId: message.messageId }, queue.rcvId, queue.key)
    if (bodies.length === count) return bodies
    response = ack.type === 'MSG' ? ack : (await recipient.event()).response
  }
}

export const randomText = (length: number): string => randomBytes(length).toString('hex').slice(0, length)
