/**
 * A router's directory: `router.json`, the identity (certificates.ts), `messages/` (the journal), `queues/` (the embedded
 * database, unless there is a database URL) and the lock.
 */
import { mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemRandom } from '../crypto/index.js'
import { ConfigError, type StoreError } from '../errors.js'
import { type Clock, systemClock } from '../runtime/clock.js'
import { formatRouterAddressWithAuth, parseHost } from '../smp/protocol/routerAddress.js'
import { listenTls, tlsDialer } from '../smp/transport/tls.js'
import { listenWebSocket } from '../smp/transport/webSocket.js'
import { lockDirectory } from '../store/directoryLock.js'
import type { Store } from '../store/index.js'
import {
  generateCertificates,
  hasIdentity,
  loadIdentity,
  type RouterIdentity,
  setAsideUnfinished,
  writeCertificates,
} from './certificates.js'
import { parseConfig, type RouterFile, type RouterFileInput, routerFileSchema } from './config.js'
import { replaceFile } from './files.js'
import { openJournal } from './journal/journal.js'
import { isPublicAddress } from './publicAddress.js'
import type { RouterListener, RouterLogger, RouterOptions } from './router.js'

const configFile = 'router.json'

export interface InitOptions {
  /** The host, or hosts, of the address as clients shall use them. */
  readonly host: string | readonly string[]
  /** Default 5223; 0 takes a free port at each start. */
  readonly port?: number
  /** Clients need it to create queues and to have commands forwarded. */
  readonly password?: string
  /** Further settings of `router.json`. */
  readonly settings?: Omit<RouterFileInput, 'hosts' | 'port' | 'password'>
  readonly clock?: Clock
}

/** What `init` made, or `address` shows. */
export interface RouterDirectory {
  /** `smp://fingerprint[:password]@hosts:port`. */
  readonly address: string
  readonly config: RouterFile
  readonly identity: RouterIdentity
}

/**
 * Makes a router's directory with a fresh identity. `ca.key` is not needed to run: move it to a safe place.
 *
 * @throws ConfigError CONFIG_EXISTS when there is a router already, CONFIG_INVALID, CONFIG_FILE.
 */
export const initRouter = async (dir: string, options: InitOptions): Promise<RouterDirectory> => {
  const { host, port, password, settings = {}, clock = systemClock } = options
  const hosts = (typeof host === 'string' ? [host] : host).map(checkHost)
  const input = {
    ...settings,
    hosts,
    ...(port === undefined ? {} : { port }),
    ...(password === undefined ? {} : { password }),
  }
  parseConfig(routerFileSchema, input, configFile)
  if (await isRouterDirectory(dir)) {
    throw new ConfigError('CONFIG_EXISTS', 'there is a router in this directory', {
      field: dir,
      hint: 'start it, or choose another directory',
    })
  }
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new ConfigError('CONFIG_FILE', 'the directory cannot be created', { field: dir, cause })
  }
  // An init that was killed before it wrote its settings is finished, or begun again.
  if (!(await hasIdentity(dir))) {
    await setAsideUnfinished(dir)
    await writeCertificates(dir, await generateCertificates({ host: hosts[0] ?? 'router', now: clock.now() }))
  }
  await replaceFile(join(dir, configFile), `${JSON.stringify(input, null, 2)}\n`, 0o600)
  return readRouterDirectory(dir)
}

const checkHost = (host: string): string => {
  try {
    return parseHost(host)
  } catch (cause) {
    throw new ConfigError('CONFIG_INVALID', 'not a host name or address', { field: 'host', cause })
  }
}

/** Whether `initRouter` has been here. */
export const isRouterDirectory = async (dir: string): Promise<boolean> =>
  stat(join(dir, configFile)).then(
    () => true,
    () => false,
  )

/**
 * Reads configuration and identity without starting anything. With port 0 the address is not known before the start and names
 * the default port.
 *
 * @throws ConfigError CONFIG_FILE, CONFIG_INVALID, CONFIG_CERTIFICATE.
 */
export const readRouterDirectory = async (dir: string): Promise<RouterDirectory> => {
  const config = parseConfig(routerFileSchema, await readJson(join(dir, configFile)), configFile)
  const identity = await loadIdentity(dir)
  const { hosts, port, password } = config
  const router = { keyHash: identity.keyHash, hosts, port: port === 0 ? '' : String(port) }
  const address = formatRouterAddressWithAuth({ router, ...(password === undefined ? {} : { basicAuth: password }) })
  return { address, config, identity }
}

const readJson = async (path: string): Promise<unknown> => {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new ConfigError('CONFIG_FILE', 'there is no router in this directory', {
      field: path,
      hint: 'create it with `duologue router init`',
      cause,
    })
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ConfigError('CONFIG_INVALID', 'not JSON', { field: path, cause })
  }
}

export interface LoadOptions {
  /** Replaces the port of `router.json`. */
  readonly port?: number
  /** Replaces the interface to listen on. */
  readonly listenHost?: string
  readonly logger?: RouterLogger
  /**
   * Opens the store of queues: a database by its URL, or the embedded one in the given directory. `lost` is to be called when
   * another process has taken the store; the router then stops.
   */
  readonly openQueues: (dir: string, lost: (error: StoreError) => void) => Promise<Store>
}

/**
 * Opens everything that a router needs from its directory; hand the answer to `startRouter`, which owns it from then on.
 *
 * @throws ConfigError as `readRouterDirectory`; StoreError STORE_LOCKED when another process has the directory, STORE_….
 */
export const loadRouter = async (dir: string, options: LoadOptions): Promise<RouterOptions> => {
  const { config, identity } = await readRouterDirectory(dir)
  const { hosts, port, listenHost, webSocketPort, journal, ...settings } = config
  const { logger } = options
  const ownership = createOwnership()
  const { release } = await lockDirectory(dir, ownership.lost)
  try {
    const [queues, messages] = await allOrNone(
      () => options.openQueues(join(dir, 'queues'), ownership.lost),
      () =>
        openJournal(join(dir, 'messages'), {
          ...journal,
          random: systemRandom,
          log: (event, facts) => logger?.warn(facts, event),
        }),
    )
    const host = options.listenHost ?? listenHost
    const tls: RouterListener = { listen: listenTls, host, port: options.port ?? port }
    const webSocket: RouterListener[] =
      webSocketPort === undefined ? [] : [{ listen: listenWebSocket, host, port: webSocketPort }]
    return {
      identity,
      listeners: [tls, ...webSocket],
      hosts,
      queues,
      messages,
      settings,
      dialer: tlsDialer(() => systemClock.now(), settings.proxy.privateAddresses ? undefined : isPublicAddress),
      ownership: { whenLost: ownership.whenLost, release },
      ...(logger === undefined ? {} : { logger }),
    }
  } catch (error) {
    await release()
    throw error
  }
}

const createOwnership = (): { lost: (error: StoreError) => void; whenLost: Promise<StoreError> } => {
  let lost: (error: StoreError) => void = () => {}
  const whenLost = new Promise<StoreError>(resolve => {
    lost = resolve
  })
  return { lost, whenLost }
}

interface Closable {
  close(): Promise<void>
}

/** Both, or none: what was opened is closed when the other one fails. */
const allOrNone = async <A extends Closable, B extends Closable>(
  first: () => Promise<A>,
  second: () => Promise<B>,
): Promise<[A, B]> => {
  const opened = await first()
  try {
    return [opened, await second()]
  } catch (error) {
    await opened.close()
    throw error
  }
}
