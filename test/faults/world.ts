/** A router and two agents as processes on real files, with a place for each agent's data. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dropSchema, noPostgres, testDatabaseUrl } from '../store/postgres.js'
import { AgentProcess, freePort, RestartedProcess, traces } from './harness.js'

/** `postgres` falls back to `pglite` where there is no Postgres. */
export type StoreKind = 'pglite' | 'postgres'

export interface World {
  readonly router: RestartedProcess
  readonly agents: readonly [AgentProcess, AgentProcess]
  readonly stores: readonly [StoreKind, StoreKind]
  /** Rejects when a process ends that nobody killed; never resolves. */
  readonly crashed: Promise<never>
  remove(): Promise<void>
}

/** Starts everything and waits until it answers. */
export const startWorld = async (wanted: readonly [StoreKind, StoreKind]): Promise<World> => {
  const directory = await mkdtemp(join(tmpdir(), 'duologue-kill-'))
  const schemaPrefix = `duologue_kill_${randomBytes(4).toString('hex')}`
  const hasPostgres = wanted.includes('postgres') && (await noPostgres()) === undefined
  const stores = wanted.map(kind => (hasPostgres ? kind : 'pglite')) as [StoreKind, StoreKind]
  const postgresArgs = (part: string): string[] => [
    '--database-url',
    testDatabaseUrl,
    '--schema',
    `${schemaPrefix}_${part}`,
  ]
  // Bodies are in files either way; the embedded database would take seconds at each of many starts.
  const router = await startRouter(join(directory, 'router'), hasPostgres ? postgresArgs('router') : [])
  const storeArgs = (index: 0 | 1): string[] =>
    stores[index] === 'postgres' ? postgresArgs(String(index)) : ['--db', join(directory, `agent-${index}`)]
  const traceArgs = (index: 0 | 1): string[] =>
    traces === undefined ? [] : ['--trace', join(traces, `agent-${index}.jsonl`), '--log-level', 'debug']
  const agentArgs = (index: 0 | 1) => [...storeArgs(index), ...traceArgs(index), '--router', router.address]
  const agents = [new AgentProcess('alice', agentArgs(0)), new AgentProcess('bob', agentArgs(1))] as const
  const crashed = whenCrashed([router.process, ...agents.map(agent => agent.process)])
  for (const agent of agents) agent.process.start()
  const remove = async (): Promise<void> => {
    for (const one of [...agents.map(agent => agent.process), router.process]) if (one.running) await one.kill()
    await rm(directory, { recursive: true, force: true })
    if (hasPostgres) for (const part of ['router', 0, 1]) await dropSchema(`${schemaPrefix}_${part}`)
  }
  return { router: router.process, agents, stores, crashed, remove }
}

const whenCrashed = (processes: readonly RestartedProcess[]): Promise<never> => {
  const crashed = new Promise<never>((_resolve, reject) => {
    for (const process of processes) {
      process.onCrash = () => reject(new Error(`${process.name} ended by itself: ${process.stderr}`))
    }
  })
  crashed.catch(() => {})
  return crashed
}

/** The router listens on one port across all its restarts, as its address says. */
export const startRouter = async (
  directory: string,
  storeArgs: string[],
): Promise<{ process: RestartedProcess; address: string }> => {
  const port = String(await freePort())
  const logArgs = traces === undefined ? [] : ['--log-level', 'debug']
  const args = [
    'router',
    'start',
    '--dir',
    directory,
    '--host',
    '127.0.0.1',
    '--port',
    port,
    '--json',
    ...storeArgs,
    ...logArgs,
  ]
  const router = new RestartedProcess('router', args)
  const address = await new Promise<string>((resolve, reject) => {
    router.onLine = line => resolve((JSON.parse(line) as { address: string }).address)
    router.onExit = () => reject(new Error(`the router did not start: ${router.stderr}`))
    router.start()
  })
  router.onLine = () => {}
  router.onExit = () => {}
  return { process: router, address }
}
