import { SMP_VERSIONS } from './protocol/versions.js'
import { shakeHands } from './client/handshake.js'
import { createSession } from './client/session.js'
import { type ConnectOptions, defaultSessionLimits, type RouterSession } from './client/types.js'

export { isHostError, isTemporaryError, isTemporaryOrHostError } from './client/errors.js'
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
  const { dialer, router, clock, random, versionRange = SMP_VERSIONS, signal } = options
  const limits = { ...defaultSessionLimits, ...options.limits }
  const deadline = clock.now() + limits.connectTimeoutMs
  const channel = await dialer.dial(router, {
    timeoutMs: limits.connectTimeoutMs,
    ...(signal === undefined ? {} : { signal }),
  })
  const agreed = await shakeHands(channel, {
    keyHash: router.keyHash,
    versionRange,
    random,
    clock,
    timeoutMs: Math.max(0, deadline - clock.now()),
    signal,
  })
  return createSession(channel, agreed, options, limits)
}
