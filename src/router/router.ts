/** The SMP router: listeners, sessions, queues and messages put together. */
import { type Random, systemRandom } from '../crypto/index.js'
import type { StoreError } from '../errors.js'
import { type Clock, systemClock, type TimerHandle } from '../runtime/clock.js'
import { verifyAuthorization } from '../smp/protocol/authorization.js'
import { formatRouterAddressWithAuth } from '../smp/protocol/routerAddress.js'
import type { BlockChannel, Dialer, Listen, Listener } from '../smp/transport/port.js'
import type { Store } from '../store/index.js'
import type { Verify } from './authorize.js'
import type { RouterIdentity } from './certificates.js'
import { type CommandCounters, createCommands } from './commands.js'
import { parseConfig, type RouterSettingsInput, routerSettingsSchema } from './config.js'
import { createHandshaker } from './handshake.js'
import type { LogStats, MessageLog } from './messageLog.js'
import { createMessages } from './messages.js'
import { createNotifications } from './notifications.js'
import { createProxy, type ProxyStats } from './proxy.js'
import { createQueues } from './queues.js'
import { type Session, type SessionContext, startSession } from './session.js'
import { createSubscriptions } from './subscriptions.js'

export interface RouterListener {
  readonly listen: Listen
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
}

/** The part of a pino logger that the router uses. */
export interface RouterLogger {
  debug(facts: object, event: string): void
  info(facts: object, event: string): void
  warn(facts: object, event: string): void
}

export interface RouterOptions {
  readonly identity: RouterIdentity
  /** The first one makes the router's address. */
  readonly listeners: readonly [RouterListener, ...RouterListener[]]
  /** Hosts of the address; the first listener's host when absent. */
  readonly hosts?: readonly string[]
  /** Rows of queues. The router owns and closes it. */
  readonly queues: Store
  /** Bodies of messages. The router owns and closes it. */
  readonly messages: MessageLog
  readonly settings?: RouterSettingsInput
  /** Connects to relays when clients use this router as a proxy; none: it forwards nothing. `tlsDialer` with `isPublicAddress` is the safe one. */
  readonly dialer?: Dialer
  readonly clock?: Clock
  readonly random?: Random
  readonly logger?: RouterLogger
  /** How authorizations are verified; tests count the work. */
  readonly verify?: Verify
  /** What makes the stores this process's own. */
  readonly ownership?: {
    /** Resolves when another process has taken them: the router then stops. */
    readonly whenLost: Promise<StoreError>
    /** Called last at `close`. */
    release(): Promise<void>
  }
}

export interface Router {
  /** `smp://fingerprint[:password]@hosts:port`. */
  readonly address: string
  /** The port of the first listener. */
  readonly port: number
  readonly ports: readonly number[]
  stats(): RouterStats
  /** Resolves when the router has stopped: with the error if another process has taken its stores. */
  readonly ended: Promise<StoreError | undefined>
  /** Ends all sessions, writes what was accepted and closes the stores. */
  close(): Promise<void>
}

export interface RouterStats extends Readonly<CommandCounters> {
  readonly sessions: number
  readonly subscriptions: number
  readonly messagesStored: number
  readonly messagesDelivered: number
  readonly queuesCached: number
  readonly messagesExpired: number
  readonly notificationsPending: number
  /** Commands that came through other routers. */
  readonly forwardsReceived: number
  readonly proxy: ProxyStats
  readonly log: LogStats
}

/**
 * Starts a router.
 *
 * @throws ConfigError CONFIG_INVALID; TransportError TRANSPORT_LISTEN when a port is taken. The stores are closed then.
 */
export const startRouter = async (options: RouterOptions): Promise<Router> => {
  const { identity, clock = systemClock, random = systemRandom, logger } = options
  const settings = parseConfig(routerSettingsSchema, options.settings ?? {}, 'router settings')
  const { limits } = settings
  const counters: CommandCounters = {
    queuesCreated: 0,
    queuesDeleted: 0,
    messagesReceived: 0,
    quotaExceeded: 0,
  }
  const { messageQuota: quota, messageTtlSeconds: ttlSeconds } = settings
  const queues = createQueues(options.queues, limits.cachedQueues)
  const messages = createMessages({ log: options.messages, clock, quota, ttlSeconds })
  const subscriptions = createSubscriptions(messages, limits.subscriptionsPerSession)
  const notifications = createNotifications({
    clock,
    random,
    ttlSeconds: settings.notificationTtlSeconds,
    maxPending: limits.pendingNotifications,
    maxPerSession: limits.subscriptionsPerSession,
  })
  const proxy = createProxy({
    settings,
    dialer: options.dialer,
    clock,
    random,
    log: (event, facts) => logger?.debug(facts, event),
  })
  const sessions = new Set<Session>()
  const perAddress = new Map<string, number>()
  let messagesExpired = 0
  let forwardsReceived = 0
  let timer: TimerHandle | undefined

  const context: SessionContext = {
    handshaker: createHandshaker(identity, random),
    queues,
    execute: createCommands({
      queues,
      messages,
      subscriptions,
      notifications,
      proxy,
      settings,
      clock,
      random,
      counters,
    }),
    verify: options.verify ?? verifyAuthorization,
    limits,
    clock,
    room: () => options.messages.room(),
    onForwarded: () => {
      forwardsReceived++
    },
    onRoom: session => subscriptions.resume(session),
    onClose: session => {
      sessions.delete(session)
      subscriptions.closed(session)
      notifications.closed(session)
    },
    log: (level, event, facts) => logger?.[level](facts, event),
  }

  const onChannel = (channel: BlockChannel): void => {
    const address = channel.remoteAddress
    const open = perAddress.get(address) ?? 0
    if (sessions.size >= limits.connections || open >= limits.connectionsPerAddress) return channel.destroy()
    perAddress.set(address, open + 1)
    channel.onClose(() => {
      const left = (perAddress.get(address) ?? 1) - 1
      if (left > 0) perAddress.set(address, left)
      else perAddress.delete(address)
    })
    sessions.add(startSession(channel, context))
  }

  const expire = (): void => {
    messagesExpired += messages.expire()
    timer = clock.setTimeout(expire, settings.expirySeconds * 1000)
  }

  /** Each is closed whatever happens to the others; the first failure is told. */
  const closeStores = async (): Promise<void> => {
    const steps = [
      () => queues.close(),
      () => options.messages.close(),
      () => options.queues.close(),
      () => options.ownership?.release(),
    ]
    const failures: unknown[] = []
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  const listeners: Listener[] = []
  try {
    for (const { listen, host, port } of options.listeners) {
      listeners.push(
        await listen(
          {
            host,
            port,
            credentials: identity.credentials,
            maxHandshakes: limits.handshakes,
            maxConnections: limits.connections,
            handshakeTimeoutMs: limits.handshakeSeconds * 1000,
          },
          onChannel,
        ),
      )
    }
  } catch (error) {
    for (const listener of listeners) await listener.close()
    await closeStores()
    throw error
  }
  expire()

  const ports = listeners.map(({ port }) => port)
  const port = ports[0] as number
  const address = formatRouterAddressWithAuth({
    router: {
      keyHash: identity.keyHash,
      hosts: options.hosts ?? [options.listeners[0].host],
      port: String(port),
    },
    ...(settings.password === undefined ? {} : { basicAuth: settings.password }),
  })
  logger?.info({ ports }, 'router started')
  let closing: Promise<void> | undefined
  let lost: StoreError | undefined
  let end: (reason: StoreError | undefined) => void = () => {}
  const ended = new Promise<StoreError | undefined>(resolve => {
    end = resolve
  })

  const close = (): Promise<void> => {
    closing ??= (async () => {
      if (timer !== undefined) clock.clearTimeout(timer)
      await Promise.all(listeners.map(listener => listener.close()))
      for (const session of sessions) session.close()
      proxy.close()
      await closeStores()
      logger?.info({}, 'router stopped')
    })().finally(() => end(lost))
    return closing
  }
  void options.ownership?.whenLost.then(error => {
    const { code, message } = error
    lost = error
    logger?.warn({ code, reason: message }, 'router stops')
    return close().catch(() => undefined)
  })

  return {
    address,
    port,
    ports,
    stats: () => ({
      ...counters,
      sessions: sessions.size,
      subscriptions: subscriptions.count,
      messagesStored: messages.stored,
      messagesDelivered: subscriptions.delivered,
      queuesCached: queues.cached,
      messagesExpired,
      notificationsPending: notifications.pending,
      forwardsReceived,
      proxy: proxy.stats(),
      log: options.messages.stats(),
    }),
    ended,
    close,
  }
}
