/**
 * `duologue demo`: the main job in one command. Two agents, each with a database of its own, connect by an invitation link
 * through a router on TLS and exchange messages both ways. The router is a process of its own; the agents are here, used
 * through the public API as any program would, so that one clock times sending and arrival.
 */
import { Command, InvalidArgumentError } from 'commander'
import type { Agent } from '../agent/api/agent.js'
import type { AgentOptions } from '../agent/openAgent.js'
import { createCleanup, type Cleanup } from './demo/cleanup.js'
import { connect } from './demo/connect.js'
import { exchange } from './demo/exchange.js'
import { type EventReader, readEvents } from './demo/party.js'
import { createPlaces } from './demo/places.js'
import { createProgress, type DemoResult, isPerfect, type Progress, resultJson, resultTable } from './demo/report.js'
import { startRouterProcess } from './demo/routerProcess.js'
import { exitCodes } from './failure.js'
import { createLogger, logLevelOption } from './log.js'
import { catchStopSignals } from './signals.js'

interface Options {
  readonly messages: number
  readonly router?: string
  readonly databaseUrl?: string
  readonly json?: boolean
  readonly logLevel: string
}

/**
 * Messages each way that are sent and not yet acknowledged: far below the quota of a queue (128), and enough to keep it busy;
 * more would only wait longer in it.
 */
const window = 16
const stallMs = 60_000
const settleMs = 300

export const demoCommand = (): Command =>
  new Command('demo')
    .description('Connect two agents through a router and exchange messages both ways.')
    .option('--messages <n>', 'messages each way', messageCount, 1000)
    .option('--router <address>', 'use this smp:// router instead of the bundled one')
    .option('--database-url <url>', 'keep the agents in this Postgres (two schemas, dropped at the end)')
    .option('--json', 'print the result as one JSON object')
    .addOption(logLevelOption())
    .action(async (options: Options) => {
      const stop = catchStopSignals()
      try {
        process.exitCode = await runDemo(options, stop.signal)
      } finally {
        stop.release()
      }
    })

const messageCount = (text: string): number => {
  const count = /^\d+$/.test(text) ? Number(text) : 0
  if (count < 1 || count > 1_000_000) throw new InvalidArgumentError('a number from 1 to 1000000')
  return count
}

const runDemo = async (options: Options, stop: AbortSignal): Promise<number> => {
  const progress = createProgress(process.stderr)
  const cleanup = createCleanup(stop)
  const run = async (): Promise<number> => {
    const { maxPqMessageLength } = await import('../agent/openAgent.js')
    const result = await converse(options, maxPqMessageLength, cleanup, progress)
    progress.done()
    console.log(options.json === true ? resultJson(result) : resultTable(result, maxPqMessageLength))
    return isPerfect(result) ? exitCodes.ok : exitCodes.failed
  }
  const outcome = await settle(Promise.race([run(), cleanup.interrupted]))
  progress.step('cleaning up')
  const cleaned = await settle(cleanup.run())
  progress.done()
  // What went wrong first explains what went wrong in cleaning up.
  if ('error' in outcome) throw outcome.error
  if ('error' in cleaned) throw cleaned.error
  return outcome.value
}

const settle = async <T>(work: Promise<T>): Promise<{ value: T } | { error: unknown }> => {
  try {
    return { value: await work }
  } catch (error) {
    return { error }
  }
}

const converse = async (
  options: Options,
  maxLength: number,
  cleanup: Cleanup,
  progress: Progress,
): Promise<DemoResult> => {
  const { messages } = options
  progress.step('starting a router and two agents')
  const places = await cleanup.own(createPlaces(options.databaseUrl), places => places.remove())
  const router =
    options.router === undefined
      ? await cleanup.own(startRouterProcess(places.routerDirectory), router => router.stop())
      : { address: options.router, failed: never }
  const open = (store: AgentOptions['store']): Promise<Agent> =>
    cleanup.own(openAgent(store, router.address, options.logLevel), agent => agent.close())
  const agents = await Promise.all([open(places.stores[0]), open(places.stores[1])])
  const readers = [reading(agents[0], cleanup), reading(agents[1], cleanup)] as const

  const talk = async (): Promise<DemoResult> => {
    progress.step('connecting')
    const startedAt = performance.now()
    const sides = [
      { agent: agents[0], events: readers[0] },
      { agent: agents[1], events: readers[1] },
    ] as const
    const parties = await connect(sides, stallMs)
    const connectMs = Math.round((performance.now() - startedAt) * 10) / 10
    const onProgress = (arrived: number): void => progress.messages(arrived, 2 * messages)
    const result = await exchange(parties, readers, { messages, maxLength, window, stallMs, settleMs, onProgress })
    return { connectMs, ...result }
  }
  return Promise.race([talk(), router.failed])
}

const never = new Promise<never>(() => {})

const openAgent = async (store: AgentOptions['store'], router: string, logLevel: string): Promise<Agent> => {
  const { openAgent } = await import('../agent/openAgent.js')
  return openAgent({ store, routers: [router], logger: createLogger(logLevel) })
}

const reading = (agent: Agent, cleanup: Cleanup): EventReader => {
  const reader = readEvents(agent)
  cleanup.add(() => reader.stop())
  return reader
}
