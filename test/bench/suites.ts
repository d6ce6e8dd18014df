/** The suites of the benchmark, in the order in which they run; `--only` picks some of them. */
import { fanOut } from './endToEnd/fanOut.js'
import { type EndToEndResult, oneWay, pingPong, privateRouting } from './endToEnd/scenarios.js'
import { openWorld, type StoreKind } from './endToEnd/world.js'
import { type CommitFloor, pgliteCommits, postgresCommits } from './floor/commits.js'
import { messageCryptoUs } from './floor/message.js'
import { tlsBlocksPerSecond } from './floor/tls.js'
import type { Effort, Figure } from './measure.js'
import { type MicroResult, runMicro } from './micro/micro.js'
import { type SubscribeResult, subscribeMany } from './subscribe/subscribe.js'
import type { SignalResults } from './signal/signal.js'

export interface BenchOptions {
  readonly quick: boolean
  /** Whether the connections of end to end are post-quantum. */
  readonly pq: boolean
  readonly effort: Effort
  readonly suites: ReadonlySet<SuiteName>
  readonly databaseUrl: string
  /** Writes a CPU profile of every child process there. */
  readonly profileDir?: string | undefined
  readonly progress: (text: string) => void
}

export const suiteNames = [
  'micro',
  'floor',
  'postgres',
  'pglite',
  'private',
  'fan-out',
  'subscribe',
  'signal',
  'memory',
] as const
export type SuiteName = (typeof suiteNames)[number]

export interface Floor {
  /** Blocks of 16 KB echoed by another process over TLS, 64 in flight. */
  readonly tlsBlocks?: Figure
  /** The cryptography of one message in all three processes, in one thread. */
  readonly messageCryptoUs?: Figure
  readonly postgresCommits?: CommitFloor
  readonly pgliteCommits?: CommitFloor
}

export interface Results {
  readonly micro: readonly MicroResult[]
  readonly floor: Floor
  readonly endToEnd: readonly EndToEndResult[]
  readonly subscribe: readonly SubscribeResult[]
  readonly signal?: SignalResults
  /** What could not be measured, and why. */
  readonly skipped: readonly string[]
}

export const runSuites = async (options: BenchOptions): Promise<Results> => {
  const { suites, effort, progress } = options
  const skipped: string[] = []
  const micro = suites.has('micro') ? await runMicro(effort, name => progress(`micro: ${name}`)) : []
  const reachable = await isReachable(options.databaseUrl)
  if (!reachable) skipped.push('postgres: no database answers (--database-url)')
  const floor = suites.has('floor') ? await runFloor(options, reachable) : {}
  const endToEnd: EndToEndResult[] = []
  for (const store of ['postgres', 'pglite', 'memory'] as const) {
    if (!suites.has(store) || (store === 'postgres' && !reachable)) continue
    endToEnd.push(...(await runEndToEnd(store, options)))
  }
  if (suites.has('private')) endToEnd.push(...(await runPrivate(reachable ? 'postgres' : 'pglite', options)))
  if (suites.has('fan-out')) endToEnd.push(await runFanOut(reachable ? 'postgres' : 'pglite', options))
  const subscribe = suites.has('subscribe') ? await runSubscribe(options, reachable) : []
  const signal = suites.has('signal') ? await runSignalSuite(options, reachable) : undefined
  return { micro, floor, endToEnd, subscribe, ...(signal === undefined ? {} : { signal }), skipped }
}

const runSubscribe = (options: BenchOptions, postgres: boolean): Promise<SubscribeResult[]> => {
  const { quick, effort, databaseUrl, profileDir, progress } = options
  return subscribeMany({
    store: postgres ? 'postgres' : 'pglite',
    databaseUrl,
    profileDir,
    progress,
    sizes: quick ? [100, 1_000] : [1_000, 10_000],
    repeats: effort.repeats,
  })
}

/** Loaded when it is asked for: libsignal is large. */
const runSignalSuite = async (
  { effort, quick, progress, databaseUrl }: BenchOptions,
  postgres: boolean,
): Promise<SignalResults> => {
  const { runSignal } = await import('./signal/signal.js')
  const { signalStore } = await import('./signal/store.js')
  const store = postgres ? await signalStore(databaseUrl) : undefined
  try {
    return await runSignal(effort, { quick, postgres: store?.open, progress })
  } finally {
    await store?.drop()
  }
}

const runFloor = async (options: BenchOptions, postgres: boolean): Promise<Floor> => {
  const { effort, databaseUrl, progress } = options
  progress('floor: TLS')
  const tlsBlocks = await tlsBlocksPerSecond(effort, options)
  progress('floor: cryptography of a message')
  const cryptoUs = messageCryptoUs(effort)
  progress('floor: commits')
  return {
    tlsBlocks,
    messageCryptoUs: cryptoUs,
    ...(postgres ? { postgresCommits: await postgresCommits(databaseUrl, effort) } : {}),
    pgliteCommits: await pgliteCommits(effort),
  }
}

const runEndToEnd = async (store: StoreKind, options: BenchOptions): Promise<EndToEndResult[]> => {
  const { quick, pq, effort, databaseUrl, profileDir, progress } = options
  const { repeats } = effort
  progress(`${store}: starting a router and two agents`)
  const world = await openWorld({ store, databaseUrl, profileDir, pq })
  const results: EndToEndResult[] = []
  try {
    for (const { connections, messages } of quick ? quickLoads : fullLoads) {
      progress(`${store}: one-way, connections: ${connections}`)
      results.push(await oneWay(world, { store, connections, messages, repeats }))
    }
    progress(`${store}: ping-pong`)
    results.push(await pingPong(world, { store, rounds: quick ? 50 : 300, repeats }))
  } finally {
    await world.close()
  }
  return results
}

const runPrivate = async (store: StoreKind, options: BenchOptions): Promise<EndToEndResult[]> => {
  const { quick, effort, databaseUrl, profileDir, progress } = options
  const { repeats } = effort
  progress('private: starting two routers and two agents')
  const world = await openWorld({ store, databaseUrl, profileDir, withProxy: true })
  const results: EndToEndResult[] = []
  try {
    for (const { connections, messages } of quick ? quickLoads : privateLoads) {
      progress(`private: connections: ${connections}`)
      results.push(await privateRouting(world, { store, connections, messages, repeats }))
    }
  } finally {
    await world.close()
  }
  return results
}

const runFanOut = async (store: StoreKind, options: BenchOptions): Promise<EndToEndResult> => {
  const { quick, effort, databaseUrl, profileDir, progress } = options
  progress('fan-out: starting a router and two agents')
  const world = await openWorld({ store, databaseUrl, profileDir })
  try {
    const connections = quick ? 50 : 300
    progress(`fan-out: connections: ${connections}`)
    return await fanOut(world, { store, connections, repeats: effort.repeats })
  } finally {
    await world.close()
  }
}

/**
 * Messages on each connection. The many connections come first: by then the three processes have compiled what they run, which
 * would else be most of what a single connection costs.
 */
const fullLoads = [
  { connections: 100, messages: 100 },
  { connections: 10, messages: 300 },
  { connections: 1, messages: 1000 },
]
// Every run is made twice, and the slower way of the two counts for the deadline.
const privateLoads = [
  { connections: 100, messages: 20 },
  { connections: 10, messages: 60 },
  { connections: 1, messages: 200 },
]
const quickLoads = [
  { connections: 100, messages: 5 },
  { connections: 10, messages: 30 },
  { connections: 1, messages: 100 },
]

const isReachable = async (databaseUrl: string): Promise<boolean> => {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 3000 })
  try {
    await client.connect()
    await client.end()
    return true
  } catch {
    return false
  }
}
