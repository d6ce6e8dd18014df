import { SMP_VERSIONS } from './protocol/versions.js'
import { type Agreed, shakeHands } from './client/handshake.js'
import { createRelaySession, type RelaySession } from './client/relay.js'
import { createSession } from './client/session.js'
import { type ConnectOptions, defaultSessionLimits, type RouterSession, type SessionLimits } from './client/types.js'
import type { BlockChannel } from './transport/port.js'

export { isHostError, isTemporaryError, isTemporaryOrHostError } from './client/errors.js'
export {
  openProxy,
  type ProxiedCommand,
  type ProxiedRequest,
  type ProxyOptions,
  type ProxySession,
} from './client/proxied.js'
export type { RelaySession } from './client/relay.js'
export {
  type ConnectOptions,
  defaultSessionLimits,
  type RequestOptions,
  type RouterEvent,
  type RouterRequest,
  type RouterSession,
  type SessionCounts,
  type SessionLimits,
  type UnexpectedTransmission,
} from './client/types.js'

/**
 * Connects to a router, proves its identity (certificate chain, TLS session, session key signed by the leaf) and agrees on
 * a version and on block encryption (SMP protocol, transport handshake). The session has one owner, who closes it.
 *
 * @throws TransportError; see `isTemporaryError` and `isHostError` for what is worth another try
 */
export const connectRouter = async (options: ConnectOptions): Promise<RouterSession> => {
  const { channel, agreed, limits } = await connect(options, false)
  return createSession(channel, agreed, options, limits)
}

/**
 * As `connectRouter`, for a router that forwards for others: the relay is told so and blocks are not encrypted, since everything in them
 * is boxed already (from version 14 on).
 *
 * @throws TransportError
 */
export const connectRelay = async (options: ConnectOptions): Promise<RelaySession> => {
  const { channel, agreed, limits } = await connect(options, true)
  return createRelaySession(createSession(channel, agreed, options, limits), agreed, options.random)
}

interface Connected {
  readonly channel: BlockChannel
  readonly agreed: Agreed
  readonly limits: SessionLimits
}

const connect = async (options: ConnectOptions, proxy: boolean): Promise<Connected> => {
  const { dialer, router, clock, random, versionRange = SMP_VERSIONS, signal } = options
  const limits = { ...defaultSessionLimits, ...options.limits }
  const deadline = clock.elapsed() + limits.connectTimeoutMs
  const channel = await dialer.dial(router, {
    timeoutMs: limits.connectTimeoutMs,
    ...(signal === undefined ? {} : { signal }),
  })
  const agreed = await shakeHands(channel, {
    keyHash: router.keyHash,
    versionRange,
    proxy,
    random,
    clock,
    timeoutMs: Math.max(0, Math.min(deadline - clock.elapsed(), limits.connectTimeoutMs)),
    signal,
  })
  return { channel, agreed, limits }
}
