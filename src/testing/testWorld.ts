/** A router and a network in memory on a clock that the test moves: what a backend needs around it to be tested in one process. */
import type { AgentOptions } from '../agent/index.js'
import { inlineKem } from '../crypto/kem/inlineKem.js'
import { InternalError } from '../errors.js'
import type { Router } from '../router/router.js'
import { type MemoryNetwork, memoryNetwork } from '../smp/transport/memory.js'
import { type MemoryStore, openMemoryStore } from '../store/memory.js'
import { startMemoryRouter } from './memoryRouter.js'
import { untilDone } from './untilDone.js'
import { type VirtualClock, virtualClock } from './virtualClock.js'

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

/** Opens a world with one router. */
export const testWorld = async (): Promise<TestWorld> => {
  const clock = virtualClock()
  const network = memoryNetwork({ clock })
  const stores = new Map<string, MemoryStore>()
  const routers: Router[] = []
  const startAnother = async (at: string): Promise<Router> => {
    const router = await startMemoryRouter({ network, clock, host: at, port: 0, name: at })
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
    until: (done, what = 'what was waited for') =>
      untilDone(clock, done, {
        limitMs: day,
        late: () => new InternalError(`did not happen within a day: ${what}`),
      }),
    close: async () => {
      for (const link of network.links()) link.cut()
      for (const one of routers) await one.close()
    },
  }
}
