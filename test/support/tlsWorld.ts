/** Agents on Postgres and a router on TLS, in one process on the system's clock: for rows that must hold outside the memory world too. */
import { type Agent, type AgentEvent, type AgentOptions, openAgent } from '../../src/index.js'
import { generateCertificates, identityOf } from '../../src/router/certificates.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import { type Router, startRouter } from '../../src/router/router.js'
import { listenTls } from '../../src/smp/transport/tls.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { dropSchema, newSchema, testDatabaseUrl } from '../store/postgres.js'

export interface TlsAgent {
  readonly agent: Agent
  /** Where its rows are. */
  readonly schema: string
  readonly events: AgentEvent[]
  /** The next event of a type that no earlier call has returned. */
  next<T extends AgentEvent['type']>(type: T, connectionId?: string): Promise<Extract<AgentEvent, { type: T }>>
  /** Closes it and opens another one on the same rows. */
  restart(options?: Partial<AgentOptions>): Promise<TlsAgent>
}

export interface TlsWorld {
  readonly address: string
  /** The one that runs. */
  readonly router: Router
  /** Ends the router with all its connections; its queues stay. */
  stopRouter(): Promise<void>
  startRouter(): Promise<void>
  startAgent(options?: Partial<AgentOptions>): Promise<TlsAgent>
  connect(initiator: TlsAgent, joiner: TlsAgent): Promise<{ initiatorId: string; joinerId: string }>
  close(): Promise<void>
}

/** Retries come quickly: nothing else about time is changed. */
const config: AgentOptions['config'] = {
  reconnect: { initial: 50, growAfter: 10_000, max: 1_000 },
  fastRetry: { initial: 50, growAfter: 10_000, max: 1_000 },
  failedConnectMs: 20,
}

export interface TlsWorldOptions {
  /** A Postgres that goes with the test, in which no schema needs to be dropped. */
  readonly databaseUrl?: string
  /** A router of the test’s own; `router` throws then. */
  readonly routerAddress?: string
}

export const tlsWorld = async ({ databaseUrl, routerAddress }: TlsWorldOptions = {}): Promise<TlsWorld> => {
  const identity = await generateCertificates({ host: '127.0.0.1', now: Date.now() }).then(identityOf)
  const schemas: string[] = []
  const agents: Agent[] = []
  let queues = openMemoryStore()
  let router: Router | undefined
  let port = 0
  const start = async (): Promise<Router> => {
    queues = queues.reopen()
    const started = await startRouter({
      identity,
      listeners: [{ listen: listenTls, host: '127.0.0.1', port }],
      queues,
      messages: memoryLog(),
    })
    port = started.port
    router = started
    return started
  }
  const address = routerAddress ?? (await start()).address

  const open = async (schema: string, options: Partial<AgentOptions>): Promise<TlsAgent> => {
    const agent = await openAgent({
      routers: [address],
      store: { databaseUrl: databaseUrl ?? testDatabaseUrl, schema },
      ...options,
      config: { ...config, ...options.config },
    })
    agents.push(agent)
    const events: AgentEvent[] = []
    const taken = new Set<AgentEvent>()
    const waiting: Array<() => void> = []
    void (async () => {
      for await (const event of agent.events()) {
        events.push(event)
        for (const look of waiting.splice(0)) look()
      }
    })()
    return {
      agent,
      schema,
      events,
      next: async (type, connectionId) => {
        for (;;) {
          const event = events.find(
            one =>
              one.type === type && !taken.has(one) && (connectionId === undefined || one.connectionId === connectionId),
          )
          if (event !== undefined) {
            taken.add(event)
            return event as never
          }
          await new Promise<void>(resolve => waiting.push(resolve))
        }
      },
      restart: async (more = {}) => {
        await agent.close()
        return open(schema, { ...options, ...more })
      },
    }
  }

  return {
    address,
    get router() {
      if (router === undefined) throw new Error('the router does not run here')
      return router
    },
    stopRouter: async () => {
      await router?.close()
      router = undefined
    },
    startRouter: async () => void (await start()),
    startAgent: async (options = {}) => {
      const schema = newSchema()
      schemas.push(schema)
      return open(schema, options)
    },
    connect: async (initiator, joiner) => {
      const { connectionId: initiatorId, link } = await initiator.agent.createConnection({})
      const { connectionId: joinerId } = await joiner.agent.joinConnection({ link })
      const { confirmationId } = await initiator.next('CONF', initiatorId)
      await initiator.agent.allowConnection({ connectionId: initiatorId, confirmationId })
      await Promise.all([initiator.next('CON', initiatorId), joiner.next('CON', joinerId)])
      return { initiatorId, joinerId }
    },
    close: async () => {
      for (const agent of agents) await agent.close()
      await router?.close()
      if (databaseUrl === undefined) for (const schema of schemas) await dropSchema(schema)
    },
  }
}

/** The next agent on the rows of one that is closed, subscribed to everything. */
export const resumed = async (agent: TlsAgent): Promise<TlsAgent> => {
  const started = await agent.restart()
  await started.agent.subscribe({})
  return started
}
