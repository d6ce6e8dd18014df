/** What can be set about a router, with its defaults; checked once, at start. */
import { z } from 'zod'
import { ConfigError } from '../errors.js'

const count = (fallback: number) => z.int().min(1).default(fallback)
const seconds = (fallback: number) => z.int().min(1).max(2_000_000).default(fallback)

export const limitsSchema = z.strictObject({
  /** Open sessions and handshakes; more are closed at once. */
  connections: count(20_000),
  /** The same from one address. */
  connectionsPerAddress: count(2_000),
  /** Sockets in the TLS handshake. */
  handshakes: count(512),
  /** Queues that one session may be subscribed to. */
  subscriptionsPerSession: count(100_000),
  /** Commands of one session that are not answered yet; past it nothing more is read from it. */
  inFlightPerSession: count(1_024),
  /** Bytes for one client that wait for its socket; past it nothing is read from it and no message is delivered to it. */
  outputBytesPerSession: z
    .int()
    .min(65_536)
    .default(1 << 20),
  /** TLS handshake; and then the SMP handshake. */
  handshakeSeconds: seconds(30),
  /** A session that sends nothing, not even PING, is closed. */
  idleSeconds: seconds(6 * 3_600),
  /** A session that takes nothing while there is something for it is closed. */
  stalledSeconds: seconds(120),
  /** Rows of queues kept in memory without a subscription. */
  cachedQueues: count(50_000),
  /** Notifications that wait for their notifier. */
  pendingNotifications: count(100_000),
  /** Commands of one session that relays have not answered; past it nothing more is read from it (the reference's client_concurrency). */
  forwardsPerSession: count(32),
  /** The same for one relay, and for all together; past it the answer is PROXY BROKER TIMEOUT. Each holds 16 KB. */
  forwardsPerRelay: count(512),
  forwards: count(4_096),
  /** Relays that are connected, being connected or known to have failed. */
  relays: count(1_000),
})

/** Private routing: what the router does as a proxy between its clients and other routers. */
export const proxySettingsSchema = z.strictObject({
  /** False: nothing is forwarded (the reference's allowSMPProxy). */
  enabled: z.boolean().default(true),
  /** Only relays whose hosts are one of these domains or below them; none: any. */
  onlyDomains: z
    .array(
      z
        .string()
        .toLowerCase()
        .regex(/^[^\s./][^\s/]*$/, 'must be a domain'),
    )
    .min(1)
    .optional(),
  /** True: relays may also be on this machine and in private networks. False keeps clients from reaching what only the router can. */
  privateAddresses: z.boolean().default(false),
  /** From dialling a relay to the end of the handshakes. */
  connectSeconds: seconds(45),
  /** From forwarding to the relay's answer. */
  requestSeconds: seconds(30),
  /** A relay that could not be connected is not tried again for so long. */
  failedSeconds: seconds(30),
  /** A relay that nothing was asked of for so long is let go. */
  idleSeconds: seconds(1_800),
})

export type ProxySettingsInput = z.input<typeof proxySettingsSchema>

/** Settings of the router itself. */
export const routerSettingsSchema = z.strictObject({
  /** Clients need it to create queues and to have commands forwarded; none: anyone may. */
  password: z
    .string()
    .regex(/^[^\s@:/]+$/, 'must not have spaces, @, : or /')
    .optional(),
  /** False: no new queues for anyone. */
  newQueues: z.boolean().default(true),
  /** Messages a queue holds before its senders get QUOTA. */
  messageQuota: count(128),
  messageTtlSeconds: z
    .int()
    .min(60)
    .default(21 * 86_400),
  /** How often expired messages are looked for; those of queues in use are found at once. */
  expirySeconds: seconds(2 * 3_600),
  notificationTtlSeconds: z.int().min(60).default(86_400),
  proxy: proxySettingsSchema.prefault({}),
  limits: limitsSchema.prefault({}),
})

export type RouterSettings = z.output<typeof routerSettingsSchema>
export type RouterSettingsInput = z.input<typeof routerSettingsSchema>

/** The file `router.json` in a router's directory. */
export const routerFileSchema = routerSettingsSchema.extend({
  /** The hosts of the address, as clients shall use them. */
  hosts: z.array(z.string().min(1)).min(1),
  port: z.int().min(0).max(65_535).default(5223),
  /** The interface to listen on. */
  listenHost: z.string().default('0.0.0.0'),
  /** A second port for clients over WebSocket. */
  webSocketPort: z.int().min(0).max(65_535).optional(),
  journal: z
    .strictObject({
      /** fdatasync before a message is answered; false survives kill -9, but not power loss. */
      sync: z.boolean().default(true),
      maxBytes: z
        .int()
        .min(1 << 20)
        .default(2 ** 36),
      cacheBytes: z
        .int()
        .min(0)
        .default(64 << 20),
    })
    .prefault({}),
})

export type RouterFile = z.output<typeof routerFileSchema>
export type RouterFileInput = z.input<typeof routerFileSchema>

/**
 * Checks settings against their schema and fills in defaults.
 *
 * @throws ConfigError CONFIG_INVALID with the path of the first wrong value as field.
 */
export const parseConfig = <T extends z.ZodType>(
  schema: T,
  input: unknown,
  what: string,
  hint?: string,
): z.output<T> => {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []
  throw new ConfigError('CONFIG_INVALID', `${what}: ${issue?.message ?? 'not valid'}`, {
    field: [...(issue?.path ?? []), ...unknown].join('.') || what,
    ...(hint === undefined ? {} : { hint }),
  })
}
