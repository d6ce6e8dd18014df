import { RouterError, TransportError } from '../../errors.js'

/** A proxy that shows a wrong certificate for the relay counts as a failing network, like whoever intercepts a direct connection. */
const temporaryProxyCodes = /^PROXY_(BROKER_(NETWORK|TIMEOUT|TRANSPORT_HANDSHAKE_IDENTITY$)|NO_SESSION$)/

/** No proxy, or none that can use the relay as its address names it. */
const hostProxyCodes = new Set(['PROXY_NONE', 'PROXY_BROKER_HOST', 'PROXY_BROKER_TRANSPORT_VERSION'])

/** Failures of this process or of a proven router's hello, which a new connection would meet again. */
const permanentTransportCodes = new Set([
  'TRANSPORT_VERSION',
  'TRANSPORT_SESSION',
  'TRANSPORT_HANDSHAKE',
  'TRANSPORT_BLOCK',
  'TRANSPORT_LARGE_MSG',
  'TRANSPORT_NO_AUTH',
])

/**
 * Whether the same request may succeed later without any change: the network failed, an answer did not come in time, or a
 * proxy says so of the router behind it. What was sent may have been done all the same. A wrong certificate counts as a
 * failure of the network, as in the reference: whoever intercepts a connection must not make messages fail for good.
 */
export const isTemporaryError = (error: unknown): boolean => {
  if (error instanceof TransportError) return !permanentTransportCodes.has(error.code)
  return error instanceof RouterError && temporaryProxyCodes.test(error.code)
}

/**
 * Whether the router, as its address names it, cannot be used by this client, or through this proxy: worth a try at another one, or much
 * later. These are the errors of a proxy after which a command may go to the relay directly, if the user's settings allow that.
 */
export const isHostError = (error: unknown): boolean => {
  if (error instanceof TransportError) return error.code === 'TRANSPORT_VERSION'
  return error instanceof RouterError && hostProxyCodes.has(error.code)
}

/** Both of the above: errors after which a message is tried again rather than reported as failed. */
export const isTemporaryOrHostError = (error: unknown): boolean => isTemporaryError(error) || isHostError(error)

/**
 * What a request that was open when its session ended fails with. Why the session ended says nothing about the request, so
 * this is always a temporary error.
 */
export const lostWithSession = (reason: TransportError, sent: boolean): TransportError =>
  new TransportError(
    isTemporaryError(reason) ? reason.code : 'TRANSPORT_BROKEN',
    'the session ended before the answer came',
    { facts: { sent }, cause: reason },
  )
