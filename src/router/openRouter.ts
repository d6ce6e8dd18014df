import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { ConfigError, type StoreError } from '../errors.js'
import type { Store } from '../store/index.js'
import { parseConfig, type ProxySettingsInput, routerFileSchema } from './config.js'
import {
  type InitOptions,
  initRouter,
  isRouterDirectory,
  loadRouter,
  type RouterDirectory,
  readRouterDirectory,
} from './directory.js'
import { type Router, type RouterLogger, startRouter } from './router.js'

export interface OpenRouterOptions {
  /** Where certificates, settings, queues and messages are; made when it is not there. */
  readonly directory: string
  /** Host in the address, as clients reach it. Default `localhost`. */
  readonly host?: string
  /** Port for TLS; 0 takes a free one. Default 5223. */
  readonly port?: number
  /** Port for clients over WebSocket; none when absent. */
  readonly webSocketPort?: number
  /** Interface to listen on. Default all. */
  readonly listenHost?: string
  /** Clients need it to create queues and to have commands forwarded. */
  readonly password?: string
  /**
   * Private routing. By default the router forwards for its clients to any router on the public internet; `{ enabled: false }` switches that off,
   * `{ privateAddresses: true }` allows routers on this machine and in private networks.
   */
  readonly proxy?: ProxySettingsInput
  /** Keeps the queues in this Postgres instead of an embedded database in the directory. */
  readonly databaseUrl?: string
  /** Schema of the Postgres. */
  readonly schema?: string
  /** Keeps queues and messages in memory: they are gone at the end. */
  readonly memory?: true
  readonly logger?: RouterLogger
}

const { password, webSocketPort, proxy } = routerFileSchema.shape
const optionsSchema = z.strictObject({
  directory: z.string().min(1),
  host: z.string().min(1).optional(),
  port: z.int().min(0).max(65_535).optional(),
  webSocketPort,
  listenHost: z.string().min(1).optional(),
  password,
  proxy: proxy.optional(),
  databaseUrl: z.string().min(1).optional(),
  schema: z.string().min(1).optional(),
  memory: z.literal(true).optional(),
  logger: z.custom<RouterLogger>(value => typeof value === 'object' && value !== null, 'must be a logger').optional(),
} satisfies Record<keyof OpenRouterOptions, z.ZodType>)

/**
 * Starts the router of a directory, after making it if it is not there.
 *
 * @throws ConfigError CONFIG_CONFLICT when host, password, WebSocket port or private routing are not those that the router was made with;
 * CONFIG_INVALID, CONFIG_FILE; StoreError STORE_LOCKED when another process has the directory, STORE_…; TransportError
 * TRANSPORT_LISTEN when a port is taken.
 */
export const openRouter = async (options: OpenRouterOptions): Promise<Router> => {
  parseConfig(optionsSchema, options, 'options', 'OpenRouterOptions tell what can be set; directory must be')
  const { directory, port, listenHost, logger } = options
  if (await isRouterDirectory(directory)) refuseChanges(await readRouterDirectory(directory), options)
  else await initRouter(directory, initOptions(options))
  const loaded = await loadRouter(directory, {
    ...(port === undefined ? {} : { port }),
    ...(listenHost === undefined ? {} : { listenHost }),
    ...(logger === undefined ? {} : { logger }),
    openQueues: (queues, lost) => openQueues(queues, options, lost),
  })
  if (options.memory !== true) return startRouter(loaded)
  const { memoryLog } = await import('./memoryLog.js')
  await loaded.messages.close()
  return startRouter({ ...loaded, messages: memoryLog() })
}

/** What a new router is made with. */
export const initOptions = (options: Omit<OpenRouterOptions, 'directory'>): InitOptions => {
  const { host = 'localhost', port, password, webSocketPort, listenHost, proxy } = options
  return {
    host,
    ...(port === undefined ? {} : { port }),
    ...(password === undefined ? {} : { password }),
    settings: {
      ...(webSocketPort === undefined ? {} : { webSocketPort }),
      ...(listenHost === undefined ? {} : { listenHost }),
      ...(proxy === undefined ? {} : { proxy }),
    },
  }
}

const openQueues = async (
  directory: string,
  { databaseUrl, schema, memory }: Pick<OpenRouterOptions, 'databaseUrl' | 'schema' | 'memory'>,
  lost: (error: StoreError) => void,
): Promise<Store> => {
  // The database drivers are loaded only where they are used.
  const { openStore } = await import('../store/open.js')
  const place =
    memory === true
      ? { memory }
      : databaseUrl === undefined
        ? { directory }
        : { databaseUrl, ...(schema === undefined ? {} : { schema }) }
  return openStore({ ...place, scope: 'router', lost })
}

/** A router's address must not change by the way, since the queues of its users are known by it. */
const refuseChanges = ({ config }: RouterDirectory, options: OpenRouterOptions): void => {
  const changes = [
    ['host', options.host, config.hosts.join(',')],
    ['password', options.password, config.password],
    ['webSocketPort', options.webSocketPort, config.webSocketPort],
    ['proxy', options.proxy && proxy.parse(options.proxy), config.proxy],
  ] as const
  const changed = changes.find(([, wanted, kept]) => wanted !== undefined && !isDeepStrictEqual(wanted, kept))
  if (changed === undefined) return
  throw new ConfigError('CONFIG_CONFLICT', `${changed[0]} is not what this router was made with`, {
    field: changed[0],
    hint: `leave it out, or change router.json in ${options.directory}`,
  })
}
