/** Many connections on one router are subscribed by an agent that has just started: how long it takes, and what it keeps in memory. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OpenParams } from '../endToEnd/protocol.js'
import { dropSchemas, startRouter, type WorldOptions } from '../endToEnd/world.js'
import { type Figure, figureOf, round } from '../measure.js'
import { type CallableChild, type Child, startChild } from '../processes.js'
import type { Subscribed } from './agentProcess.js'

export interface SubscribeResult {
  readonly store: 'postgres' | 'pglite'
  readonly connections: number
  /** From the call of subscribe to its answer. */
  readonly ms: Figure
  readonly perSecond: number
  readonly cpuUs: number
  /** The longest time in which the agent's event loop did nothing else. */
  readonly blockedMs: Figure
  /** What stays in memory, for each connection. */
  readonly heldBytes: Figure
  /** Most memory of the agent's process meanwhile, as the system counts it. */
  readonly peakRssMb: Figure
}

export interface SubscribeOptions extends Omit<WorldOptions, 'store'> {
  readonly store: 'postgres' | 'pglite'
  /** Rising: what is there is added to. */
  readonly sizes: readonly number[]
  readonly repeats: number
  readonly progress: (text: string) => void
}

const agentScript = new URL('./agentProcess.js', import.meta.url)

export const subscribeMany = async (options: SubscribeOptions): Promise<SubscribeResult[]> => {
  const { store, databaseUrl, sizes, repeats, progress } = options
  const directory = await mkdtemp(join(tmpdir(), 'duologue-bench-'))
  const schema = `duologue_bench_${randomBytes(4).toString('hex')}`
  const agentStore: OpenParams['store'] =
    store === 'postgres' ? { databaseUrl, schema: `${schema}_agent` } : { directory: join(directory, 'agent') }
  let router: (Child & { readonly address: string }) | undefined
  let agent: CallableChild | undefined
  const start = async (address: string, flags: readonly string[] = []): Promise<CallableChild> => {
    agent = startChild(agentScript, { profileDir: options.profileDir, flags })
    await agent.call('open', { store: agentStore, router: address } satisfies OpenParams)
    return agent
  }
  const results: SubscribeResult[] = []
  try {
    router = await startRouter(join(directory, 'router'), schema, options)
    let made = 0
    for (const connections of sizes) {
      progress(`subscribe, ${store}: making ${connections - made} connections`)
      const maker = await start(router.address)
      await maker.call('create', connections - made)
      await maker.stop()
      made = connections
      const runs: Subscribed[] = []
      for (let index = 0; index < repeats; index++) {
        progress(`subscribe, ${store}: ${connections} connections`)
        const subscriber = await start(router.address, ['--expose-gc'])
        runs.push(await subscriber.call<Subscribed>('subscribe'))
        await subscriber.stop()
      }
      results.push(resultOf(store, connections, runs))
    }
    return results
  } finally {
    await agent?.stop()
    await router?.stop()
    await rm(directory, { recursive: true, force: true, maxRetries: 3 })
    if (store === 'postgres') await dropSchemas(databaseUrl, [`${schema}_router`, `${schema}_agent`])
  }
}

const resultOf = (
  store: SubscribeResult['store'],
  connections: number,
  runs: readonly Subscribed[],
): SubscribeResult => {
  const wrong = runs.find(({ subscribed, failed }) => subscribed !== connections || failed > 0)
  if (wrong !== undefined) {
    throw new Error(`of ${connections} connections ${wrong.subscribed} were subscribed, ${wrong.failed} failed`)
  }
  const ms = figureOf(runs.map(run => run.ms))
  return {
    store,
    connections,
    ms,
    perSecond: round((connections * 1000) / ms.median),
    cpuUs: round(figureOf(runs.map(run => (run.cpuMs * 1000) / connections)).median),
    blockedMs: figureOf(runs.map(run => run.blockedMs)),
    heldBytes: figureOf(runs.map(run => run.heldBytes / connections)),
    peakRssMb: figureOf(runs.map(run => run.peakRssBytes / 2 ** 20)),
  }
}
