/** `duologue agent`: an agent as a process of its own, driven by JSON-RPC. */
import { randomBytes } from 'node:crypto'
import { Command, InvalidArgumentError } from 'commander'
import type { Logger } from 'pino'
import type { Agent } from '../agent/api/agent.js'
import type { AgentOptions } from '../agent/openAgent.js'
import type { Trace } from '../runtime/ports.js'
import { serveStdio } from '../service/stdio.js'
import { createLiveFeed, type LiveFeed } from '../service/liveFeed.js'
import { openVisualizerHost, type VisualizerHost } from '../service/visualizerHost.js'
import { createLogger, logLevelOption } from './log.js'
import { catchStopSignals } from './signals.js'
import { openTraceFile, type TraceFile } from './traceFile.js'
import { portNumber } from './visualize.js'

interface Options {
  readonly stdio?: boolean
  readonly db?: string
  readonly databaseUrl?: string
  readonly schema?: string
  readonly router: readonly string[]
  readonly consumer: string
  readonly maxUnreadEvents?: number
  readonly sidecar?: string
  readonly trace?: string
  readonly visualizer?: number
  readonly logLevel: string
}

export const agentCommand = (): Command =>
  new Command('agent')
    .description('Run an agent that speaks JSON-RPC 2.0, one object a line (docs/RPC.md).')
    .option('--stdio', 'serve on stdin and stdout; the end of the input stops the agent')
    .option('--db <dir>', 'keep the agent in an embedded database in this directory')
    .option('--database-url <url>', 'keep the agent in this Postgres')
    .option('--schema <name>', 'schema of the Postgres database')
    .option('--router <address>', 'smp:// address on which queues are made (repeatable)', collect, [])
    .option('--consumer <name>', 'name under which events are read and acknowledged', 'default')
    .option('--max-unread-events <n>', 'stop receiving while so many events are unacknowledged (100000)', eventCount)
    .option('--sidecar <file>', 'note here how far the database has come, to notice a restored backup (<dir>.sidecar)')
    .option('--trace <file>', 'append every unit of work and transition to this file, as JSON lines')
    .option(
      '--visualizer <port>',
      'serve the visualizer with a live view of this agent on 127.0.0.1; 0 takes a free port',
      portNumber,
    )
    .addOption(logLevelOption())
    .option('--json', 'print an error as JSON')
    .action((options: Options, command: Command) => {
      const store = storeOf(options, command)
      if (options.stdio !== true) command.error('error: say how to serve the agent: --stdio')
      if (options.router.length === 0) command.error('error: at least one --router is needed')
      return runAgent(store, options)
    })

const collect = (value: string, previous: readonly string[]): string[] => [...previous, value]

const eventCount = (text: string): number => {
  const count = /^\d+$/.test(text) ? Number(text) : 0
  if (count < 1 || !Number.isSafeInteger(count)) throw new InvalidArgumentError('a number from 1 on')
  return count
}

const storeOf = ({ db, databaseUrl, schema }: Options, command: Command): AgentOptions['store'] => {
  if (databaseUrl !== undefined && db === undefined) {
    return { databaseUrl, ...(schema === undefined ? {} : { schema }) }
  }
  if (schema !== undefined) return command.error('error: --schema goes with --database-url')
  if (db === undefined || databaseUrl !== undefined) return command.error('error: give one of --db and --database-url')
  return { directory: db }
}

const runAgent = async (store: AgentOptions['store'], options: Options): Promise<void> => {
  const stop = catchStopSignals()
  const logger = createLogger(options.logLevel)
  const trace = options.trace === undefined ? undefined : await openTraceFile(options.trace)
  try {
    await serveAgent(store, options, logger, trace, stop.signal)
  } finally {
    await trace?.close()
    stop.release()
  }
}

const serveAgent = async (
  store: AgentOptions['store'],
  { router, consumer, maxUnreadEvents, sidecar, visualizer }: Options,
  logger: Logger,
  trace: TraceFile | undefined,
  stop: AbortSignal,
): Promise<void> => {
  // Loaded here, so that the other commands start without it.
  const { openAgent } = await import('../agent/openAgent.js')
  const feed = visualizer === undefined ? undefined : createLiveFeed()
  const record = traceOf(trace, feed)
  const agent = await openAgent({
    store,
    routers: router,
    logger,
    ...(sidecar === undefined ? {} : { sidecar }),
    ...(maxUnreadEvents === undefined ? {} : { config: { maxUnreadEvents } }),
    ...(record === undefined ? {} : { trace: record }),
  })
  let host: VisualizerHost | undefined
  try {
    if (feed !== undefined) host = await openLiveView(agent, feed, visualizer)
    const onUnexpected = (err: unknown, what: string): void => logger.error({ err }, what)
    await serveStdio(agent, process.stdin, process.stdout, { consumer, stop, onUnexpected })
  } finally {
    await host?.close()
    await agent.close()
  }
}

const traceOf = (file: TraceFile | undefined, feed: LiveFeed | undefined): Trace | undefined => {
  if (file === undefined || feed === undefined) return file?.write ?? feed?.trace
  return record => {
    file.write(record)
    feed.trace(record)
  }
}

// The token is made anew at each start and shown once; who sets it in the environment knows it.
const openLiveView = async (agent: Agent, feed: LiveFeed, port = 0): Promise<VisualizerHost> => {
  const { DUOLOGUE_VISUALIZER_TOKEN: chosen } = process.env
  const token = chosen === undefined || chosen === '' ? randomBytes(24).toString('base64url') : chosen
  const host = await openVisualizerHost({ port, live: { agent, feed, token } })
  process.stderr.write(`visualizer: ${host.url}${chosen === token ? '' : `#/live?token=${token}`}\n`)
  return host
}
