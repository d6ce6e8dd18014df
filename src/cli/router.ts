/** `duologue router`: makes and runs the bundled SMP router. */
import { Command, InvalidArgumentError } from 'commander'
import { ConfigError } from '../errors.js'
import type { InitOptions, RouterDirectory } from '../router/directory.js'
import type { Router } from '../router/router.js'
import type { Store } from '../store/index.js'
import { createLogger, logLevelOption } from './log.js'
import { aborted, catchStopSignals } from './signals.js'

interface DirectoryOptions {
  readonly dir: string
  readonly json?: boolean
}

interface InitFlags extends DirectoryOptions {
  readonly host?: string
  readonly port?: number
  readonly wsPort?: number
  readonly listen?: string
  readonly password?: string
}

interface StartFlags extends InitFlags {
  readonly databaseUrl?: string
  readonly schema?: string
  readonly memory?: boolean
  readonly logLevel: string
}

const defaultHost = 'localhost'

export const routerCommand = (): Command =>
  new Command('router')
    .description('Make and run an SMP router.')
    .addCommand(initCommand())
    .addCommand(startCommand())
    .addCommand(addressCommand())

const initCommand = (): Command =>
  withIdentityOptions(new Command('init'))
    .description('Make a router in a directory (certificates, settings) and print its address.')
    .action(async (flags: InitFlags) => {
      const { initRouter } = await import('../router/directory.js')
      print(await initRouter(flags.dir, initOptions(flags)), flags)
    })

const startCommand = (): Command =>
  withIdentityOptions(new Command('start'))
    .description('Run the router of a directory, after making it if it is not there, and print its address.')
    .option('--database-url <url>', 'keep the queues in this Postgres instead of an embedded database')
    .option('--schema <name>', 'schema of the Postgres database')
    .option('--memory', 'keep queues and messages in memory only: they are gone at the end')
    .addOption(logLevelOption())
    .action((flags: StartFlags, command: Command) => {
      if (flags.memory === true && flags.databaseUrl !== undefined) {
        command.error('error: give one of --memory and --database-url')
      }
      if (flags.schema !== undefined && flags.databaseUrl === undefined) {
        command.error('error: --schema goes with --database-url')
      }
      return runRouter(flags)
    })

const addressCommand = (): Command =>
  withDirectory(new Command('address'))
    .description('Print the address of the router of a directory.')
    .action(async (flags: DirectoryOptions) => {
      const { readRouterDirectory } = await import('../router/directory.js')
      print(await readRouterDirectory(flags.dir), flags)
    })

const withDirectory = (command: Command): Command =>
  command
    .option('--dir <dir>', 'where the router lives', './router')
    .option('--json', 'print {"address": …}, and an error as JSON')

const withIdentityOptions = (command: Command): Command =>
  withDirectory(command)
    .option('--host <host>', `host in the address, as clients reach it (default: "${defaultHost}")`)
    .option('--port <port>', 'port for TLS; 0 takes a free one (default: 5223)', portNumber)
    .option('--ws-port <port>', 'port for clients over WebSocket', portNumber)
    .option('--listen <address>', 'interface to listen on (default: "0.0.0.0", all)')
    .option('--password <password>', 'clients need it to create queues')

const portNumber = (text: string): number => {
  const port = /^\d+$/.test(text) ? Number(text) : -1
  if (port < 0 || port > 65_535) throw new InvalidArgumentError('a number from 0 to 65535')
  return port
}

const initOptions = ({ host = defaultHost, port, password, wsPort, listen }: InitFlags): InitOptions => ({
  host,
  ...(port === undefined ? {} : { port }),
  ...(password === undefined ? {} : { password }),
  settings: {
    ...(wsPort === undefined ? {} : { webSocketPort: wsPort }),
    ...(listen === undefined ? {} : { listenHost: listen }),
  },
})

const print = ({ address }: { readonly address: string }, { json }: DirectoryOptions): void => {
  console.log(json === true ? JSON.stringify({ address }) : address)
}

const runRouter = async (flags: StartFlags): Promise<void> => {
  const stop = catchStopSignals()
  try {
    const router = await openRouter(flags)
    print(router, flags)
    await aborted(stop.signal)
    await router.close()
  } finally {
    stop.release()
  }
}

const openRouter = async (flags: StartFlags): Promise<Router> => {
  const { initRouter, isRouterDirectory, loadRouter, readRouterDirectory } = await import('../router/directory.js')
  const { startRouter } = await import('../router/router.js')
  const { dir, port, listen, logLevel } = flags
  if (await isRouterDirectory(dir)) refuseChanges(await readRouterDirectory(dir), flags)
  else await initRouter(dir, initOptions(flags))
  const options = await loadRouter(dir, {
    ...(port === undefined ? {} : { port }),
    ...(listen === undefined ? {} : { listenHost: listen }),
    logger: createLogger(logLevel),
    openQueues: directory => openQueues(directory, flags),
  })
  if (flags.memory !== true) return startRouter(options)
  const { memoryLog } = await import('../router/memoryLog.js')
  await options.messages.close()
  return startRouter({ ...options, messages: memoryLog() })
}

const openQueues = async (directory: string, { databaseUrl, schema, memory }: StartFlags): Promise<Store> => {
  const { openStore } = await import('../store/open.js')
  const place =
    memory === true
      ? { memory }
      : databaseUrl === undefined
        ? { directory }
        : { databaseUrl, ...(schema === undefined ? {} : { schema }) }
  return openStore({ ...place, scope: 'router' })
}

/** A router's address must not change by the way, since the queues of its users are known by it. */
const refuseChanges = ({ config }: RouterDirectory, { dir, host, password, wsPort }: StartFlags): void => {
  const changes = [
    ['--host', host, config.hosts.join(',')],
    ['--password', password, config.password],
    ['--ws-port', wsPort, config.webSocketPort],
  ] as const
  const changed = changes.find(([, wanted, kept]) => wanted !== undefined && wanted !== kept)
  if (changed === undefined) return
  throw new ConfigError('CONFIG_CONFLICT', `${changed[0]} is not what this router was made with`, {
    field: changed[0],
    hint: `leave the option out, or change router.json in ${dir}`,
  })
}
