/** A router on the memory network with a virtual clock, and clients for it. */
import { memoryLog } from '../../../src/router/memoryLog.js'
import type { MessageLog } from '../../../src/router/messageLog.js'
import { generateCertificates, identityOf, type RouterIdentity } from '../../../src/router/certificates.js'
import { type Router, type RouterOptions, startRouter } from '../../../src/router/router.js'
import { memoryNetwork } from '../../../src/smp/transport/memory.js'
import type { Store } from '../../../src/store/index.js'
import { virtualClock, virtualEpoch } from '../../../src/testing/virtualClock.js'
import { type ClientOptions, startClient, type TestClient } from './client.js'
import { openMemoryStore } from '../../../src/store/memory.js'

let identity: Promise<RouterIdentity> | undefined
const sharedIdentity = (): Promise<RouterIdentity> => {
  identity ??= generateCertificates({ host: 'router', now: virtualEpoch }).then(identityOf)
  return identity
}

export interface RouterWorld {
  readonly router: Router
  readonly clock: ReturnType<typeof virtualClock>
  readonly network: ReturnType<typeof memoryNetwork>
  readonly keyHash: Uint8Array
  client(options?: Partial<ClientOptions> & { from?: string }): Promise<TestClient>
  /** A channel without a handshake. */
  dial(
    from?: string,
  ): ReturnType<ReturnType<typeof memoryNetwork>['dialer']> extends { dial(...args: never[]): infer R } ? R : never
  /** Lets everything that is ready happen. */
  settle(): Promise<void>
  close(): Promise<void>
}

export const routerWorld = async (
  options: Partial<RouterOptions> & { queues?: Store; messages?: MessageLog } = {},
): Promise<RouterWorld> => {
  const clock = virtualClock()
  const network = memoryNetwork({ clock })
  const own = await sharedIdentity()
  const router = await startRouter({
    identity: own,
    listeners: [{ listen: network.listen, host: 'router', port: 5223 }],
    queues: openMemoryStore(),
    messages: memoryLog(),
    clock,
    ...options,
  })
  const { keyHash } = own
  const dial = (from?: string) =>
    network.dialer(from).dial({ keyHash, hosts: ['router'], port: '5223' } as never, { timeoutMs: 1000 })
  return {
    router,
    clock,
    network,
    keyHash,
    dial: dial as never,
    client: async ({ from, ...clientOptions } = {}) => startClient(await dial(from), { keyHash, ...clientOptions }),
    settle: () => clock.settle(),
    close: () => router.close(),
  }
}
