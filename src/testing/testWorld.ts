/** A router and a network in memory on a clock that the test moves: what a backend needs around it to be tested in one process. */
import type { AgentOptions } from '../agent/index.js'
import { inlineKem } from '../crypto/kem/inlineKem.js'
import { InternalError } from '../errors.js'
import { generateCertificates, identityOf, type RouterIdentity } from '../router/certificates.js'
import { memoryLog } from '../router/memoryLog.js'
import { type Router, startRouter } from '../router/router.js'
import { type MemoryNetwork, memoryNetwork } from '../smp/transport/memory.js'
import { type MemoryStore, openMemoryStore } from '../store/memory.js'
import { type VirtualClock, virtualClock, virtualEpoch } from './virtualClock.js'

export interface TestWorld {
  readonly clock: VirtualClock
  /** Every connection between the named agents and the routers: to be slowed, cut or stopped. */
  readonly network: MemoryNetwork
  readonly router: Router
  /** Another router on the same network, under a host of its own. */
  startRouter(host: string): Promise<Router>
  /**
   * What to open an agent with: on this network and clock, its rows in memory. Rows belong to the name: an agent that is opened under it once
   * more finds them, and one that is still open can write no more, as after a kill.
   */
  agentOptions(name: string): AgentOptions & { readonly store: { readonly open: MemoryStore } }
  /** Lets time pass until `done` answers true. Throws InternalError when it did not within a day of virtual time. */
  until(done: () => boolean | Promise<boolean>, what?: string): Promise<void>
  /** Ends the routers and every connection. Agents are closed by whoever opened them, before. */
  close(): Promise<void>
}

const day = 86_400_000
const host = 'localhost'

let identity: Promise<RouterIdentity> | undefined
// Certificates are slow to make, and routers of one process may show the same ones.
const sharedIdentity = (): Promise<RouterIdentity> =>
  (identity ??= generateCertificates({ host, now: virtualEpoch }).then(identityOf))

/** Opens a world with one router. */
export const testWorld = async (): Promise<TestWorld> => {
  const clock = virtualClock()
  const network = memoryNetwork({ clock })
  const stores = new Map<string, MemoryStore>()
  const routers: Router[] = []
  const startAnother = async (at: string): Promise<Router> => {
    const router = await startRouter({
      identity: await sharedIdentity(),
      listeners: [{ listen: network.listen, host: at, port: 0 }],
      queues: openMemoryStore(),
      messages: memoryLog(),
      dialer: network.dialer(at),
      clock,
    })
    routers.push(router)
    return router
  }
  const router = await startAnother(host)
  return {
    clock,
    network,
    router,
    startRouter: startAnother,
    agentOptions: name => {
      const store = stores.get(name)?.reopen() ?? openMemoryStore()
      stores.set(name, store)
      const dialer = network.dialer(name)
      return { store: { open: store }, routers: [router.address], dialer, clock, kem: inlineKem() }
    },
    until: async (done, what = 'what was waited for') => {
      const from = clock.now()
      for (;;) {
        await clock.settle()
        if (await done()) return
        const waited = clock.now() - from
        if (waited > day) throw new InternalError(`did not happen within a day: ${what}`)
        // Longer steps later: what never happens is found out soon.
        await clock.advance(Math.max(100, Math.floor(waited / 20)))
      }
    },
    close: async () => {
      for (const link of network.links()) link.cut()
      for (const one of routers) await one.close()
    },
  }
}
