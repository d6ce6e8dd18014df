import { type Kem, type Random, systemRandom, ThreadKem } from '../crypto/index.js'
import type { Operation } from '../../machines/agentOperations.js'
import { asDuologueError, ConfigError, type StoreError } from '../errors.js'
import { x448KeysFrom } from '../ratchet/index.js'
import type { Channel, RunningChannel } from '../runtime/channel.js'
import { type Clock, systemClock } from '../runtime/clock.js'
import { EventLog } from '../runtime/eventLog.js'
import { type OwnedClock, ownedClock } from '../runtime/ownedClock.js'
import { type Ownership, ownsEverything, type Trace } from '../runtime/ports.js'
import { Runtime } from '../runtime/runtime.js'
import type { Traced } from '../runtime/tracing.js'
import type { NewEvent, Wake } from '../runtime/unit.js'
import { connectRouter, defaultSessionLimits, type RouterSession } from '../smp/client.js'
import {
  parseRouterAddress,
  parseRouterAddressWithAuth,
  type RouterAddressWithAuth,
} from '../smp/protocol/routerAddress.js'
import type { Dialer } from '../smp/transport/port.js'
import { tlsDialer } from '../smp/transport/tls.js'
import { commands } from '../store/agent/connections.js'
import { connectionTables } from '../store/agent/tables.js'
import type { Store } from '../store/index.js'
import type { Agent } from './api/agent.js'
import type { KeptMessage } from './arrival.js'
import { agentCalls } from './calls.js'
import { Cleanup } from './cleanup.js'
import { CommandWorkers } from './commandWorkers.js'
import type { AgentConfig } from './config.js'
import { type AgentContext, type Logger, silentLogger } from './context.js'
import { Deliveries } from './deliveries.js'
import { Inbox } from './inbox.js'
import { Network, type NetworkConfig } from './network.js'
import { agentSuspended, type Operating, Operations } from './operations.js'
import { checkOptions, configOf, networkConfigOf } from './options.js'
import type { QueuedDelivery } from './outgoing.js'
import { PrivateRouting } from './privateRouting.js'
import { Publisher } from './publisher.js'
import { BackupWatch } from './restoredBackup.js'
import { Routers } from './routers.js'
import { eventOf, type RcvQueueRow } from './rows.js'
import { sessionsListener } from './sessionEvents.js'
import { type SubscribedQueue, Sessions } from './sessions.js'
import { Statistics } from './statistics.js'
import { Supervisor } from './supervisor.js'
import { sidecarOf, tellRestored } from './tellRestored.js'
import { removeUserIfEmpty, Users } from './users.js'

export { maxInfoLength, maxMessageLength, maxPqMessageLength } from './limits.js'

export interface AgentOptions {
  /** Where the rows are: a Postgres, a directory for the embedded database, memory (nothing survives), or an open store. */
  readonly store:
    | { readonly databaseUrl: string; readonly schema?: string }
    | { readonly directory: string }
    | { readonly memory: true }
    | { readonly open: Store }
  /** Routers that new queues are made on, as `smp://fingerprint[:password]@host[:port]`. */
  readonly routers: readonly string[]
  /** Default: TLS. */
  readonly dialer?: Dialer
  readonly clock?: Clock
  readonly random?: Random
  /** Does the post-quantum operations. Default: a thread that starts with the first of them. */
  readonly kem?: Kem
  readonly ownership?: Ownership
  readonly logger?: Logger
  /** Hears of every unit of work and every transition, as plain data without secrets. */
  readonly trace?: Trace
  /** Receiving only, for a process that lives for a moment: no cleanup, and statistics are neither restored nor saved (B01). */
  readonly background?: boolean
  /**
   * A file that holds how far the database has come, outside of it: with it a restored backup is noticed when the agent is opened
   * (RESTORED). Default: beside the directory of an embedded database, as `<directory>.sidecar`; none for other stores.
   */
  readonly sidecar?: string
  readonly config?: Partial<AgentConfig>
  /** How the network is used at first; setNetworkConfig changes it. */
  readonly network?: Partial<NetworkConfig>
  /** Further networks on the same store, runtime and event log, such as Signal. */
  readonly channels?: readonly Channel[]
}

/**
 * Opens an agent on its store: migrates it if need be, starts the workers of what is stored and waits for nothing else; subscribe()
 * starts receiving. Throws ConfigError (`CONFIG_INVALID` for an option of a wrong form, `CONFIG_ROUTER`), StoreError (`STORE_LOCKED` when another process owns the store).
 */
export const openAgent = async (options: AgentOptions): Promise<Agent> => {
  checkOptions(options)
  const clock = ownedClock(options.clock ?? systemClock)
  const config = configOf(options.config)
  const routers = options.routers.map(parseConfigured)
  const lost = lostSignal()
  const store = await openAgentStore(options, lost.resolve)
  try {
    return await startAgent({ options, clock, config, routers, store, lost: lost.promise })
  } catch (error) {
    await store.close()
    throw error
  }
}

interface Parts {
  readonly options: AgentOptions
  readonly clock: OwnedClock
  readonly config: AgentConfig
  readonly routers: readonly RouterAddressWithAuth[]
  readonly store: Store
  /** Resolves when another process has taken the store. */
  readonly lost: Promise<StoreError>
}

const startAgent = async ({ options, clock, config, routers, store, lost }: Parts): Promise<Agent> => {
  const random = options.random ?? systemRandom
  const dialer = options.dialer ?? tlsDialer()
  const log = options.logger ?? silentLogger
  // Its thread starts with the first operation.
  const ownKem = new ThreadKem()
  const connectionDeleted = (userId: number): void => {
    if (context.users.find(userId)?.deleted !== true) return
    removeUserIfEmpty(context, userId).catch((error: unknown) =>
      log.error({ code: asDuologueError(error).code, userId }, 'a deleted user could not be removed yet'),
    )
  }
  const channels = options.channels ?? []
  const running: RunningChannel[] = []
  // The parts know each other through the context; it is complete before anything runs.
  let context: AgentContext
  let eventLog: EventLog | undefined
  // What the agent as a whole does belongs to no connection.
  const tracedOf = (machine: string): Traced | undefined =>
    options.trace === undefined
      ? undefined
      : (event, from, to) =>
          options.trace?.({ at: clock.now(), traceId: '', unit: 'agent', machine, id: 'agent', event, from, to })
  const operations = new Operations({
    clock,
    traced: tracedOf('agentOperations'),
    operating: operation => operating[operation],
    suspended: () => tellSuspended(context),
  })
  const runtime = await Runtime.open({
    store,
    aggregateTables: [...connectionTables, ...channels.flatMap(channel => channel.aggregateTables)],
    clock,
    ownership: options.ownership ?? ownsEverything,
    random,
    ...(options.trace === undefined ? {} : { trace: options.trace }),
    failed: error => log.error({ code: asDuologueError(error).code }, 'a listener of the runtime failed'),
    published: rows => {
      eventLog?.publish(rows)
      for (const row of rows) if (row.type === 'DEL_CONN') connectionDeleted(row.userId)
    },
    woken: wake => woken(wake),
    busy: busy => (busy ? operations.began('database') : operations.ended('database')),
  })
  const { lastCursor } = runtime
  eventLog = await EventLog.open(store, {
    clock,
    lastCursor,
    maxUnread: config.maxUnreadEvents,
    maxUnreadAgeMs: config.maxUnreadAgeMs,
    becameFull: unread =>
      log.error(
        { unread },
        'too many events are unread: receiving stops until some are acknowledged, of whatever type',
      ),
  })
  const users = await Users.open(store, clock.now())
  const statistics =
    options.background === true ? Statistics.empty(clock.now()) : await Statistics.open(store, clock.now())
  const publisher = new Publisher({ runtime, clock, log, retryMs: config.fastRetry.initial })
  const publish = (event: NewEvent): void => publisher.publish(event)
  const connect = (router: string, connectTimeoutMs: number, signal?: AbortSignal): Promise<RouterSession> =>
    connectRouter({
      dialer,
      router: parseRouterAddress(router),
      clock,
      random,
      ...(signal === undefined ? {} : { signal }),
      limits: {
        connectTimeoutMs,
        requestTimeoutMs: config.backgroundCommandMs,
        // A whole batch of SUBs is on its way at once, and does not keep the rest waiting.
        maxInFlight: config.subscribeBatch + defaultSessionLimits.maxInFlight,
      },
    })
  const network = new Network({
    clock,
    offlineDelayMs: config.offlineDelayMs,
    config: networkConfigOf(options.network),
  })
  const sessions = new Sessions({
    config,
    clock,
    network,
    isSuspended: () => operations.isStopped('receiving'),
    connect: async (userId, router, signal) => {
      try {
        const session = await connect(router, config.backgroundConnectMs, signal)
        statistics.count(userId, router, 'connect')
        return statistics.counted(userId, router, session)
      } catch (error) {
        statistics.count(userId, router, `connect ${asDuologueError(error).code}`)
        throw error
      }
    },
    listener: sessionsListener(() => context, options.trace),
  })
  const userRouters = await Routers.open(store, routers)
  let lastCommandId = await highestCommandId(store)
  context = {
    config,
    store,
    runtime,
    eventLog,
    network,
    sessions,
    privateRouting: new PrivateRouting({ config, clock, random, network, routers: userRouters, sessions, statistics }),
    inbox: new Inbox(() => context),
    clock,
    random,
    ratchetPorts: { kem: options.kem ?? ownKem, generate: x448KeysFrom(random) },
    log,
    operations,
    supervisor: new Supervisor({
      clock,
      log,
      maxRestartsPerMinute: config.maxWorkerRestartsPerMinute,
      publish,
    }),
    users,
    routers: userRouters,
    statistics,
    backup: new BackupWatch(sidecarOf(options), store.epoch, log),
    connect,
    publish,
    creating: new Map(),
    changingLinks: new Map(),
    nextCommandId: () => ++lastCommandId,
    resumeWork: async connectionIds => {
      await Promise.all([deliveries.resume(connectionIds), commandWorkers.resume(connectionIds)])
    },
    forgetDelivery: queueId => deliveries.forget(queueId),
    isClosing: () => commandWorkers.closed,
    commandProgress: key => commandWorkers.progressOf(key),
    contestedQueues: new Set(),
    waitingDelivery: queueId => deliveries.waiting(queueId),
    trace: options.trace,
    liveActors: () => [
      { machine: 'agentOperations', id: 'agent', state: operations.state },
      ...(cleanup === undefined ? [] : [{ machine: 'cleanup', id: 'agent', state: cleanup.state }]),
      ...deliveries.actors(),
      ...commandWorkers.actors(),
      ...sessions.actors(),
    ],
  }
  const deliveries = new Deliveries(context)
  const commandWorkers = new CommandWorkers(context)
  const retry = (): void => {
    deliveries.online()
    commandWorkers.online()
  }
  network.listen({ online: retry, configured: retry })
  const cleanup = options.background === true ? undefined : new Cleanup(context, tracedOf('cleanup'))
  const operating: Readonly<Record<Operation, Operating>> = {
    receiving: {
      stop: () => {
        for (const channel of running) channel.suspend()
      },
      resume: () => {
        context.inbox.resume()
        sessions.resume()
        for (const channel of running) channel.resume()
      },
    },
    delivery: { stop: () => deliveries.pause(), resume: () => deliveries.unpause() },
    sending: { stop: () => commandWorkers.pause(), resume: () => commandWorkers.unpause() },
    database: {
      stop: () => {
        cleanup?.pause()
        runtime.pause(agentSuspended)
      },
      resume: () => {
        runtime.resume()
        cleanup?.resume()
      },
    },
  }
  const redeliver = (queue: SubscribedQueue): void =>
    void sessions.redeliver(queue).catch((error: unknown) => {
      const { code } = asDuologueError(error)
      log.debug({ code, connectionId: queue.connectionId, router: queue.router }, 'a queue was not delivered once more')
    })
  const woken = ({ worker, key, hint }: Wake): void => {
    if (worker === 'delivery') deliveries.wake(key, hint as QueuedDelivery | undefined)
    else if (worker === 'command') commandWorkers.wake(key)
    else if (worker === 'commandsChanged') commandWorkers.changed(key)
    else if (worker === 'abandoned') deliveries.abandoned(key)
    else if (worker === 'deliveryGone') deliveries.forget(key)
    else if (worker === 'queueDropped' && hint !== undefined) sessions.remove(hint as RcvQueueRow)
    else if (worker === 'redeliver' && hint !== undefined) redeliver(hint as SubscribedQueue)
    else if (worker === 'continue') deliveries.continue(key)
    else if (worker === 'kept' && hint !== undefined) context.inbox.keep(hint as KeptMessage)
    else for (const channel of running) channel.woken({ worker, key, hint })
  }
  void lost.then(error => {
    log.error({ code: error.code }, 'another process has taken the store: nothing can be stored any more')
    eventLog.fail(error)
  })
  await tellRestored(context)
  await context.resumeWork()
  const host = {
    store,
    runtime,
    eventLog,
    clock,
    random,
    log,
    crashed: (worker: string, key: string, error: unknown) => context.supervisor.crashed(worker, key, error),
    ...(options.trace === undefined ? {} : { trace: options.trace }),
  }
  for (const channel of channels) running.push(await channel.start(host))
  return agentCalls(context, async () => {
    context.supervisor.dispose()
    cleanup?.close()
    operations.close()
    runtime.resume()
    await Promise.all(running.map(channel => channel.close()))
    await closeAgent(context, deliveries, commandWorkers, options.background === true).finally(() => ownKem.close())
    clock.close()
  })
}

// In the reverse order of opening: nothing new comes in, what runs is finished, then the store is released.
const closeAgent = async (
  context: AgentContext,
  deliveries: Deliveries,
  commandWorkers: CommandWorkers,
  background: boolean,
): Promise<void> => {
  const { runtime, sessions, inbox, eventLog, store } = context
  eventLog.close()
  commandWorkers.close()
  await inbox.close()
  const delivered = deliveries.close()
  sessions.close()
  await delivered
  if (!background) await saveStatistics(context)
  await runtime.close()
  await context.backup.note(runtime.lastCursor)
  await store.close()
}

const saveStatistics = async ({ runtime, statistics, log }: AgentContext): Promise<void> => {
  const changes = statistics.save()
  await runtime
    .run({ name: 'statistics', internal: true, locks: [], compute: () => ({ result: undefined, changes }) })
    .catch((error: unknown) => log.warn({ code: asDuologueError(error).code }, 'statistics were not saved'))
}

// The last unit before everything stands still.
const tellSuspended = ({ runtime, log }: AgentContext): void => {
  const events = [eventOf({ connectionId: '', userId: 1 }, 'SUSPENDED', {})]
  runtime
    .run({
      name: 'suspended',
      internal: true,
      whilePaused: true,
      locks: [],
      compute: () => ({ result: undefined, events }),
    })
    .catch((error: unknown) => log.error({ code: asDuologueError(error).code }, 'SUSPENDED was not stored'))
}

const parseConfigured = (address: string): RouterAddressWithAuth => {
  let parsed: RouterAddressWithAuth
  try {
    parsed = parseRouterAddressWithAuth(address)
  } catch (error) {
    throw badRouter('a router address cannot be read', error)
  }
  if (parsed.router.keyHash.length === fingerprintLength) return parsed
  throw badRouter('the fingerprint of a router address is not a whole SHA-256')
}

const fingerprintLength = 32

const badRouter = (message: string, cause?: unknown): ConfigError =>
  new ConfigError('CONFIG_ROUTER', message, {
    field: 'routers',
    hint: 'write it as smp://fingerprint@host:port, as `duologue router address` prints it',
    ...(cause === undefined ? {} : { cause }),
  })

const lostSignal = (): { readonly promise: Promise<StoreError>; readonly resolve: (error: StoreError) => void } => {
  let resolve: (error: StoreError) => void = () => {}
  const promise = new Promise<StoreError>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}

const openAgentStore = async (
  { store, channels = [] }: AgentOptions,
  lost: (error: StoreError) => void,
): Promise<Store> => {
  if ('open' in store) return store.open
  // The database drivers are loaded only where they are used.
  const { openStore } = await import('../store/open.js')
  return openStore({ ...store, scope: 'agent', also: channels.map(channel => channel.scope), lost })
}

const highestCommandId = async (store: Store): Promise<number> => {
  const [last] = await store.find(commands, { orderBy: ['commandId'], descending: true, limit: 1 })
  return last?.commandId ?? 0
}
