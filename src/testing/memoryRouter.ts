import { generateCertificates, identityOf, type RouterIdentity } from '../router/certificates.js'
import { memoryLog } from '../router/memoryLog.js'
import { type Router, type RouterOptions, startRouter } from '../router/router.js'
import type { MemoryNetwork } from '../smp/transport/memory.js'
import { openMemoryStore } from '../store/memory.js'
import { type VirtualClock, virtualEpoch } from './virtualClock.js'

let identity: Promise<RouterIdentity> | undefined
// Certificates are slow to make, and routers of one process may show the same ones.
const sharedIdentity = (): Promise<RouterIdentity> =>
  (identity ??= generateCertificates({ host: 'localhost', now: virtualEpoch }).then(identityOf))

export interface MemoryRouterOptions extends Pick<RouterOptions, 'settings'> {
  readonly network: MemoryNetwork
  readonly clock: VirtualClock
  readonly host: string
  /** 0 for one that is free. */
  readonly port: number
  /** What the network knows it by as a client of other routers. */
  readonly name: string
}

/** A router on a memory network, with all that it holds in memory. */
export const startMemoryRouter = async (options: MemoryRouterOptions): Promise<Router> => {
  const { network, clock, host, port, name, settings } = options
  return startRouter({
    identity: await sharedIdentity(),
    listeners: [{ listen: network.listen, host, port }],
    queues: openMemoryStore(),
    messages: memoryLog(),
    dialer: network.dialer(name),
    clock,
    ...(settings === undefined ? {} : { settings }),
  })
}
