import { z } from 'zod'
import { ConfigError } from '../errors.js'
import { networkConfigSchema } from './api/schemas.js'
import { type AgentConfig, defaultConfig } from './config.js'
import { defaultNetworkConfig, type NetworkConfig } from './network.js'

/** An object that has these methods: a port of the caller’s, of which nothing else can be checked. */
const withMethods = (...names: readonly string[]) =>
  z.custom<object>(
    value =>
      typeof value === 'object' &&
      value !== null &&
      names.every(name => typeof (value as Record<string, unknown>)[name] === 'function'),
    `must be an object with ${names.join(', ')}`,
  )
const aFunction = z.custom<object>(value => typeof value === 'function', 'must be a function')

const placeSchema = z.union(
  [
    z.strictObject({ databaseUrl: z.string().min(1), schema: z.string().min(1).optional() }),
    z.strictObject({ directory: z.string().min(1) }),
    z.strictObject({ memory: z.literal(true) }),
    z.strictObject({ open: withMethods('find', 'count', 'commit', 'close') }),
  ],
  'must be one of { databaseUrl, schema? }, { directory }, { memory: true } and { open }',
)

const positive = z.number().positive()
const count = z.int().positive()
const retry = z.strictObject({ initial: positive, growAfter: positive, max: positive })
const versions = z
  .strictObject({ min: count, max: count })
  .refine(({ min, max }) => min <= max, 'min must not be above max')

const configSchema = z.strictObject({
  agentVersions: versions,
  clientVersions: versions,
  e2eVersions: versions,
  fastRetry: retry,
  slowRetry: retry,
  reconnect: retry,
  failedConnectMs: positive,
  messageTimeoutMs: positive,
  helloTimeoutMs: positive,
  quotaTimeoutMs: positive,
  interactiveConnectMs: positive,
  backgroundConnectMs: positive,
  interactiveCommandMs: positive,
  backgroundCommandMs: positive,
  subscribeBatch: count,
  maxPendingSubscriptions: count,
  idleSessionMs: positive,
  offlineDelayMs: positive,
  offlineRetryMs: positive,
  deleteAttempts: count,
  cleanupInitialMs: positive,
  cleanupIntervalMs: positive,
  cleanupPauseMs: positive,
  storedDataMs: positive,
  maxWorkerRestartsPerMinute: count,
  deleteDeliveryTimeoutMs: positive,
  drainSilenceMs: positive,
  drainPatienceMs: positive,
  deliveriesAhead: count,
  maxUnreadEvents: count,
  maxUnreadAgeMs: positive,
} satisfies Record<keyof AgentConfig, z.ZodType>)

const optionsSchema = z.strictObject({
  store: placeSchema,
  routers: z.array(z.string()),
  dialer: withMethods('dial').optional(),
  clock: withMethods('now', 'elapsed', 'setTimeout', 'clearTimeout').optional(),
  random: aFunction.optional(),
  kem: withMethods('generateKeyPair', 'encapsulate', 'decapsulate').optional(),
  ownership: z.custom<object>(value => typeof value === 'object' && value !== null, 'must be an object').optional(),
  logger: withMethods('debug', 'info', 'warn', 'error').optional(),
  trace: aFunction.optional(),
  background: z.boolean().optional(),
  sidecar: z.string().min(1).optional(),
  config: configSchema.partial().optional(),
  network: networkConfigSchema.partial().optional(),
  channels: z.array(withMethods('start')).optional(),
})

/**
 * Checks the options of openAgent before anything is opened, for callers whose types nobody has checked.
 *
 * @throws ConfigError CONFIG_INVALID with the path of the first wrong value as field.
 */
export const checkOptions = (options: unknown): void => {
  const issue = optionsSchema.safeParse(options).error?.issues[0]
  if (issue === undefined) return
  const path = issue.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys.slice(0, 1)] : issue.path
  throw new ConfigError('CONFIG_INVALID', `options of the agent: ${issue.message}`, {
    field: path.join('.') || 'options',
    hint: 'AgentOptions and AgentConfig tell what can be set; store and routers must be',
  })
}

/** The settings of an agent: the default stands for what is not set. */
export const configOf = (settings: Partial<AgentConfig> = {}): AgentConfig => withSet(defaultConfig, settings)

/** The same for what can be changed while the agent runs. */
export const networkConfigOf = (settings: Partial<NetworkConfig> = {}): NetworkConfig =>
  withSet(defaultNetworkConfig, settings)

/** `base` with what `settings` sets; undefined sets nothing. */
export const withSet = <T extends object>(base: T, settings: { readonly [K in keyof T]?: T[K] | undefined }): T => ({
  ...base,
  ...Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)),
})
