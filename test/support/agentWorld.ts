/** A whole world in one process for tests of the agent: routers on a memory network, agents on memory stores, one clock. */
import { type Agent, type AgentEvent, type AgentOptions, openAgent } from '../../src/index.js'
import type { Router, RouterOptions } from '../../src/router/router.js'
import { type MemoryNetwork, memoryNetwork } from '../../src/smp/transport/memory.js'
import { type MemoryStore, openMemoryStore } from '../../src/store/memory.js'
import { toyKem } from '../ratchet/toyKem.js'
import { startMemoryRouter } from '../../src/testing/memoryRouter.js'
import { untilDone } from '../../src/testing/untilDone.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'

export interface TestAgent {
  readonly agent: Agent
  readonly store: MemoryStore
  readonly name: string
  /** Every event so far, in the order of the log. */
  readonly events: AgentEvent[]
  /** The next event of a type that no earlier call has returned; time moves on until it comes. */
  next<T extends AgentEvent['type']>(type: T, connectionId?: string): Promise<Extract<AgentEvent, { type: T }>>
  /** Ends the agent as kill -9 does: from now on it reaches no network and no rows. Its rows, for whoever takes over. */
  crash(): MemoryStore
}

export interface AgentWorld {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  startRouter(settings?: RouterOptions['settings'], port?: number): Promise<Router>
  startAgent(name: string, routers: readonly Router[], options?: Partial<AgentOptions>): Promise<TestAgent>
  /** Two agents of one router with a connection between them; `pq` is the wish of both. */
  connect(initiator: TestAgent, joiner: TestAgent, pq?: boolean): Promise<{ initiatorId: string; joinerId: string }>
  /** Lets time pass until `done` answers true; fails after an hour of virtual time. */
  until(done: () => boolean, what: string): Promise<void>
  close(): Promise<void>
}

export const agentWorld = (): AgentWorld => {
  const clock = virtualClock()
  const network = memoryNetwork({ clock })
  const closing: Array<() => Promise<void>> = []

  const until = (done: () => boolean, what: string): Promise<void> =>
    untilDone(clock, done, {
      limitMs: 3_600_000,
      late: () => new Error(`did not happen within an hour: ${what}`),
    })

  const world: AgentWorld = {
    clock,
    network,
    until,
    startRouter: async (settings, port = 0) => {
      const router = await startMemoryRouter({
        network,
        clock,
        host: 'localhost',
        port,
        name: 'router',
        ...(settings === undefined ? {} : { settings }),
      })
      closing.push(() => router.close())
      return router
    },
    startAgent: async (name, routers, options = {}) => {
      const store =
        options.store !== undefined && 'open' in options.store ? (options.store.open as MemoryStore) : openMemoryStore()
      const dialer = options.dialer ?? network.dialer(name)
      let crashed = false
      const agent = await openAgent({
        routers: routers.map(router => router.address),
        clock,
        kem: toyKem,
        ...options,
        dialer: {
          dial: async (router, how) => {
            const channel = crashed ? undefined : await dialer.dial(router, how)
            if (!crashed && channel !== undefined) return channel
            channel?.destroy()
            return new Promise(() => {})
          },
        },
        store: { open: store },
      })
      closing.push(() => (crashed ? Promise.resolve() : agent.close()))
      const events: AgentEvent[] = []
      const taken = new Set<AgentEvent>()
      const listen = async (): Promise<void> => {
        for await (const event of agent.events({ after: events.at(-1)?.cursor ?? 0 })) events.push(event)
      }
      // A disk that fails ends the reader, not the log: applications ask again.
      const listenAgain = (error: unknown): Promise<void> => {
        const { code } = error as { code?: string }
        if (crashed || code === 'CONSUMER_UNKNOWN') return Promise.resolve()
        if (code === 'STORE_WRITE' || code === 'STORE_UNAVAILABLE') return listen().catch(listenAgain)
        throw error
      }
      void listen().catch(listenAgain)
      return {
        agent,
        store,
        name,
        events,
        next: async (type, connectionId) => {
          const find = () =>
            events.find(
              event =>
                event.type === type &&
                !taken.has(event) &&
                (connectionId === undefined || event.connectionId === connectionId),
            )
          await until(
            () => find() !== undefined,
            `${type} at ${name} (has ${events.map(event => event.type).join(' ')})`,
          )
          const event = find() as AgentEvent
          taken.add(event)
          return event as never
        },
        crash: () => {
          crashed = true
          const rows = store.reopen()
          for (const link of network.links({ from: name })) link.cut()
          // What is left of it in this process must not disturb the test: it can neither write nor connect.
          void agent.close().catch(() => {})
          return rows
        },
      }
    },
    connect: async (initiator, joiner, pq = true) => {
      const { connectionId: initiatorId, link } = await initiator.agent.createConnection({ pq })
      const { connectionId: joinerId } = await joiner.agent.joinConnection({ link, info: 'joiner', pq })
      const conf = await initiator.next('CONF', initiatorId)
      await initiator.agent.allowConnection({
        connectionId: initiatorId,
        confirmationId: conf.confirmationId,
        info: 'initiator',
      })
      await initiator.next('CON', initiatorId)
      await joiner.next('CON', joinerId)
      return { initiatorId, joinerId }
    },
    close: async () => {
      for (const close of closing.reverse()) await close()
    },
  }
  return world
}

export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')
