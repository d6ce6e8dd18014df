/** `duologue router`: makes and runs the bundled SMP router. */
import { Command, InvalidArgumentError } from 'commander'
import type { OpenRouterOptions } from '../router/openRouter.js'
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
      const { initOptions } = await import('../router/openRouter.js')
      print(await initRouter(flags.dir, initOptions(routerOptions(flags))), flags)
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
    .option('--password <password>', 'clients need it to create queues and to send through the router')

const portNumber = (text: string): number => {
  const port = /^\d+$/.test(text) ? Number(text) : -1
  if (port < 0 || port > 65_535) throw new InvalidArgumentError('a number from 0 to 65535')
  return port
}

const routerOptions = (flags: InitFlags): Omit<OpenRouterOptions, 'directory'> => {
  const { host, port, password, wsPort, listen } = flags
  return {
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(password === undefined ? {} : { password }),
    ...(wsPort === undefined ? {} : { webSocketPort: wsPort }),
    ...(listen === undefined ? {} : { listenHost: listen }),
  }
}

const print = ({ address }: { readonly address: string }, { json }: DirectoryOptions): void => {
  console.log(json === true ? JSON.stringify({ address }) : address)
}

const runRouter = async (flags: StartFlags): Promise<void> => {
  const stop = catchStopSignals()
  try {
    const { openRouter } = await import('../router/openRouter.js')
    const { dir, databaseUrl, schema, memory, logLevel } = flags
    const router = await openRouter({
      directory: dir,
      ...routerOptions(flags),
      ...(databaseUrl === undefined ? {} : { databaseUrl }),
      ...(schema === undefined ? {} : { schema }),
      ...(memory === true ? { memory } : {}),
      logger: createLogger(logLevel),
    })
    print(router, flags)
    const lost = await Promise.race([aborted(stop.signal).then(() => undefined), router.ended])
    await router.close()
    if (lost !== undefined) throw lost
  } finally {
    stop.release()
  }
}
