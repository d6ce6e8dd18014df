/** One agent in a process of its own that makes many connections, or subscribes all that its store has. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Agent } from '../../../src/agent/api/agent.js'
import { openAgent } from '../../../src/agent/openAgent.js'
import { monotonicMs, type OpenParams } from '../endToEnd/protocol.js'
import { serveCalls } from '../processes.js'

/** What it took to subscribe everything. */
export interface Subscribed {
  readonly subscribed: number
  readonly failed: number
  readonly ms: number
  readonly cpuMs: number
  /** The longest time in which the event loop did nothing else. */
  readonly blockedMs: number
  /** Live memory that is there afterwards and was not before, JavaScript's and buffers', in bytes. */
  readonly heldBytes: number
  /** The process's memory as the system counts it, most while subscribing. */
  readonly peakRssBytes: number
}

/** NEWs under way at once. */
const atOnce = 64

let agent: Agent | undefined
const theAgent = (): Agent => {
  if (agent === undefined) throw new Error('no agent is open')
  return agent
}

const open = async ({ store, router }: OpenParams): Promise<void> => {
  agent = await openAgent({ store, routers: [router] })
}

const create = async (count: number): Promise<void> => {
  let left = count
  const one = async (): Promise<void> => {
    while (left-- > 0) await theAgent().createConnection({})
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}

const liveBytes = (): number => {
  if (globalThis.gc === undefined) throw new Error('started without --expose-gc')
  globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const subscribe = async (): Promise<Subscribed> => {
  const before = liveBytes()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let peakRssBytes = 0
  const look = (): void => {
    peakRssBytes = Math.max(peakRssBytes, process.memoryUsage.rss())
  }
  const looking = setInterval(look, 20)
  delay.enable()
  const cpu = process.cpuUsage()
  const startedAt = monotonicMs()
  const counted = await subscribeAndCount()
  const ms = monotonicMs() - startedAt
  const { user, system } = process.cpuUsage(cpu)
  delay.disable()
  look()
  clearInterval(looking)
  return {
    ...counted,
    ms,
    cpuMs: (user + system) / 1000,
    blockedMs: delay.max / 1e6,
    heldBytes: liveBytes() - before,
    peakRssBytes,
  }
}

// The answer itself must be gone when memory is counted.
const subscribeAndCount = async (): Promise<Pick<Subscribed, 'subscribed' | 'failed'>> => {
  const { results } = await theAgent().subscribe({})
  const subscribed = results.filter(({ ok }) => ok).length
  return { subscribed, failed: results.length - subscribed }
}

serveCalls({ open, create, subscribe }, async () => agent?.close())
