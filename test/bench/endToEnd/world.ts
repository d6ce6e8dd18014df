/**
 * A router and two agents, each in a process of its own: the machine's cores do what three machines would do, no event loop does
 * two parties' work, and the CPU time of each party can be told apart.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { initRouter } from '../../../src/router/directory.js'
import { initOptions } from '../../../src/router/openRouter.js'
import { type CallableChild, type Child, type ChildOptions, spawnScript, startChild } from '../processes.js'
import type { OpenParams } from './protocol.js'

export type StoreKind = 'postgres' | 'pglite' | 'memory'

export interface WorldOptions extends ChildOptions {
  readonly store: StoreKind
  /** For the store `postgres`. */
  readonly databaseUrl: string
  /** A second router in a process of its own, which Alice can send through. */
  readonly withProxy?: boolean
  readonly pq?: boolean
}

export interface World {
  readonly router: Child
  readonly proxy: Child | undefined
  readonly alice: CallableChild
  readonly bob: CallableChild
  /** Makes connections until there are `count`; ids at alice and at bob, in the same order. */
  connections(count: number): Promise<{ readonly alice: string[]; readonly bob: string[] }>
  /** Ends the processes and removes directories and schemas. */
  close(): Promise<void>
}

const agentScript = new URL('./agentProcess.js', import.meta.url)
const routerScript = new URL('../../../src/cli/main.js', import.meta.url)
const startMs = 60_000
/** Handshakes at once. */
const handshakes = 10

/** Starts everything; the router and both agents keep their rows in the same kind of store, each in its own. */
export const openWorld = async (options: WorldOptions): Promise<World> => {
  const directory = await mkdtemp(join(tmpdir(), 'duologue-bench-'))
  const schema = `duologue_bench_${randomBytes(4).toString('hex')}`
  const started: Child[] = []
  const close = async (): Promise<void> => {
    for (const child of started.reverse()) await child.stop()
    await rm(directory, { recursive: true, force: true, maxRetries: 3 })
    if (options.store === 'postgres') {
      await dropSchemas(
        options.databaseUrl,
        ['router', 'proxy_router', 'alice', 'bob'].map(name => `${schema}_${name}`),
      )
    }
  }
  const storeOf = (name: string): OpenParams['store'] => {
    if (options.store === 'memory') return { memory: true }
    if (options.store === 'pglite') return { directory: join(directory, name) }
    return { databaseUrl: options.databaseUrl, schema: `${schema}_${name}` }
  }
  try {
    const router = await startRouter(join(directory, 'router'), schema, options)
    started.push(router)
    const proxy =
      options.withProxy === true ? await startRouter(join(directory, 'proxy'), `${schema}_proxy`, options) : undefined
    if (proxy !== undefined) started.push(proxy)
    const pq = options.pq === undefined ? {} : { pq: options.pq }
    const agentOf = async (name: string): Promise<CallableChild> => {
      const child = startChild(agentScript, options)
      started.push(child)
      const params: OpenParams = { store: storeOf(name), router: router.address, ...pq }
      await child.call('open', proxy === undefined ? params : { ...params, proxy: proxy.address })
      return child
    }
    const [alice, bob] = await Promise.all([agentOf('alice'), agentOf('bob')])
    bob.onNote = credit => void alice.call('credit', credit).catch(() => {})
    const ids = { alice: [] as string[], bob: [] as string[] }
    const connections = async (count: number) => {
      while (ids.alice.length < count) {
        const wanted = Math.min(handshakes, count - ids.alice.length)
        const invited = await alice.call<Array<{ connectionId: string; link: string }>>('invite', wanted)
        const joined = await bob.call<string[]>(
          'join',
          invited.map(({ link }) => link),
        )
        ids.alice.push(...invited.map(({ connectionId }) => connectionId))
        ids.bob.push(...joined)
        await Promise.all([alice, bob].map(child => child.call('untilConnected', ids.alice.length)))
      }
      return { alice: ids.alice.slice(0, count), bob: ids.bob.slice(0, count) }
    }
    return { router, proxy, alice, bob, connections, close }
  } catch (error) {
    await close().catch(() => {})
    throw error
  }
}

/** Starts the bundled router in a process of its own, with its rows in the given kind of store. */
export const startRouter = async (
  directory: string,
  schema: string,
  { store, databaseUrl, profileDir }: Pick<WorldOptions, 'store' | 'databaseUrl' | 'profileDir'>,
): Promise<Child & { readonly address: string }> => {
  const place = {
    memory: ['--memory'],
    pglite: [],
    postgres: ['--database-url', databaseUrl, '--schema', `${schema}_router`],
  }[store]
  // By itself a router connects to no other one on its own machine.
  await initRouter(directory, initOptions({ host: '127.0.0.1', port: 0, proxy: { privateAddresses: true } }))
  const args = ['router', 'start', '--dir', directory, '--host', '127.0.0.1', '--port', '0', '--json', ...place]
  const { child, ...started } = spawnScript(routerScript, args, { profileDir })
  const late = setTimeout(() => child.kill('SIGKILL'), startMs)
  try {
    if (child.stdout === null) throw new Error('the router has no output')
    for await (const line of createInterface(child.stdout)) {
      return { ...started, address: (JSON.parse(line) as { address: string }).address }
    }
    throw new Error('the router did not start')
  } catch (error) {
    await started.stop()
    throw error
  } finally {
    clearTimeout(late)
  }
}

export const dropSchemas = async (databaseUrl: string, schemas: readonly string[]): Promise<void> => {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 })
  await client.connect()
  try {
    for (const name of schemas) await client.query(`DROP SCHEMA IF EXISTS ${client.escapeIdentifier(name)} CASCADE`)
  } finally {
    await client.end()
  }
}
