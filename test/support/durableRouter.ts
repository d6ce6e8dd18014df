/** The bundled router with rows and messages that survive it, so that it can be stopped and started again at its address. */
import { generateCertificates, identityOf, type RouterIdentity } from '../../src/router/certificates.js'
import type { MessageEntry, MessageLog } from '../../src/router/messageLog.js'
import { type Router, type RouterOptions, startRouter } from '../../src/router/router.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { virtualEpoch } from '../../src/testing/virtualClock.js'
import type { AgentWorld } from './agentWorld.js'

export interface DurableRouter {
  readonly address: string
  /** `host:port`, as the network names it. */
  readonly place: string
  readonly running: boolean
  /** What agents are given to make queues on. */
  readonly router: Router
  /** The one that runs now. */
  readonly current: Router
  /** Ends it as kill -9 does: connections break, what was accepted stays. */
  stop(): Promise<void>
  start(): Promise<void>
}

let identity: Promise<RouterIdentity> | undefined

/** A message log whose entries outlive it. */
const survivingLog = (): (() => MessageLog) => {
  const kept = new Map<MessageEntry, Uint8Array>()
  return () => ({
    lastSeq: Math.max(0, ...[...kept.keys()].map(({ seq }) => seq)),
    recovered: () => [...kept.keys()],
    write: async (entry, body) => void kept.set(entry, Uint8Array.from(body)),
    remove: entry => void kept.delete(entry),
    read: entry => kept.get(entry) ?? Buffer.alloc(0),
    room: () => undefined,
    stats: () => ({ liveBytes: 0, totalBytes: 0, cachedBytes: 0, groups: 0, segments: 0 }),
    close: async () => {},
  })
}

export const durableRouter = async (
  { network, clock }: Pick<AgentWorld, 'network' | 'clock'>,
  settings: RouterOptions['settings'] = {},
): Promise<DurableRouter> => {
  identity ??= generateCertificates({ host: 'localhost', now: virtualEpoch }).then(identityOf)
  const shown = await identity
  const openLog = survivingLog()
  let queues = openMemoryStore()
  let router: Router | undefined
  let port = 0
  const start = async (): Promise<Router> => {
    queues = queues.reopen()
    return startRouter({
      identity: shown,
      listeners: [{ listen: network.listen, host: 'localhost', port }],
      queues,
      messages: openLog(),
      dialer: network.dialer('router'),
      clock,
      settings,
    })
  }
  const first = (router = await start())
  port = first.port
  const place = `localhost:${port}`
  return {
    address: first.address,
    place,
    router: first,
    get current() {
      if (router === undefined) throw new Error('the router does not run')
      return router
    },
    get running() {
      return router !== undefined
    },
    stop: async () => {
      const stopping = router
      router = undefined
      for (const link of network.links({ place })) link.cut()
      await stopping?.close()
    },
    start: async () => {
      router ??= await start()
    },
  }
}
