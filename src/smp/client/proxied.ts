/**
 * Sending through a proxy: the relay sees the proxy's address instead of ours, and the proxy sees neither queue nor message (SMP protocol,
 * "Proxying sender commands"; C: `connectSMPProxiedRelay`, `proxySMPCommand`).
 */
import { boxSecret, generateKeyPair, NONCE_BYTES, type PublicKey, type Random, x25519 } from '../../crypto/index.js'
import { type Bytes, concat, intersect, type Parts } from '../../encoding/index.js'
import { ProxyError, RouterError } from '../../errors.js'
import type { Clock } from '../../runtime/clock.js'
import { authorize } from '../protocol/authorization.js'
import { type Command, commandParts } from '../protocol/commands.js'
import { MAX_PROXIED_VERSION, openProxiedResponse, sealProxiedTransmission } from '../protocol/proxy.js'
import { decodeResponse, type Response } from '../protocol/responses.js'
import { formatRouterAddress, type RouterAddress } from '../protocol/routerAddress.js'
import { smpErrorCode, smpErrorOf, toRouterError } from '../protocol/routerErrors.js'
import { verifySignedKey } from '../protocol/signedKey.js'
import {
  authorizedBytes,
  authorizedTransmission,
  type Batch,
  batchParts,
  decodeTransmission,
  readBatch,
} from '../protocol/transmission.js'
import { SMP_VERSIONS } from '../protocol/versions.js'
import { verifyRouterChain } from '../transport/chain.js'
import { isHostError } from './errors.js'
import { defaultSessionLimits, type RequestOptions, type RouterRequest, type RouterSession } from './types.js'

/** What relays take through a proxy. */
export type ProxiedCommand =
  | Extract<Command, { readonly type: 'SEND' }>
  | { readonly type: 'SKEY' | 'LKEY'; readonly key: PublicKey }
  | { readonly type: 'LGET' }

export interface ProxiedRequest extends Omit<RouterRequest, 'command' | 'corrId'> {
  readonly command: ProxiedCommand
}

export interface ProxyOptions {
  readonly clock: Clock
  readonly random: Random
  /** The proxy's password: the one for creating queues. */
  readonly basicAuth?: string | undefined
  /** Default 45 s: what the proxy may take to connect to a relay. */
  readonly connectTimeoutMs?: number
}

/** Relays behind one proxy. It lives as long as the session to the proxy, which its owner closes. */
export interface ProxySession {
  readonly proxy: RouterSession
  /**
   * Sends one command to a relay and resolves with the relay's answer. The proxy is asked for its session with the relay once (PRXY); when
   * that has ended (NO_SESSION), once more and the command is repeated: it has not reached the relay.
   *
   * Rejects with
   * - RouterError (not ProxyError): the relay's own answer is an error, `code` as of `RouterSession.send` (AUTH, QUOTA …), or none that can
   *   be read (SMP_RESPONSE);
   * - ProxyError: PROXY_BROKER_… the proxy cannot reach or use the relay, PROXY_BASIC_AUTH the proxy forwards nothing for us,
   *   PROXY_NO_SESSION twice, PROXY_PROTOCOL_… the relay refused the proxy, PROXY_ANSWER_… the proxy refused the command itself,
   *   PROXY_RESPONSE and PROXY_UNEXPECTED the proxy's answer is none that fits. `facts` name proxy and relay. After `isHostError` the command may go to the relay
   *   directly, if settings allow it; after `isTemporaryError` it may succeed later;
   * - TransportError of the session to the proxy; EncodeError LARGE_MSG; CryptoError CRYPTO_BOX when the relay's answer does not open.
   *
   * @param options `timeoutMs` is for one command at one router, default 30 s; it counts twice here
   */
  send(relay: RouterAddress, request: ProxiedRequest, options?: RequestOptions): Promise<Response>
}

/** The proxy's session with a relay, as its client knows it. */
interface ProxiedRelay {
  /** Names the session in PFWD; what is authorized covers it instead of the session to the proxy. */
  readonly sessionId: Bytes
  readonly version: number
  /** The relay's raw X25519 session key. */
  readonly key: Bytes
}

interface Entry {
  readonly relay: Promise<ProxiedRelay>
  /** Until when a relay that this proxy cannot use is not asked for again. */
  unusableUntil?: number
}

/** Relays that are remembered; the one asked for first is forgotten, which costs one more PRXY. */
const maxRelays = 1_000
/** A relay that speaks no common version, or has no host that the proxy may use, does not change in a moment. */
const unusableMs = 600_000
const noEntity = new Uint8Array(0)

/** Makes a session to a router the way to other routers. */
export const openProxy = (proxy: RouterSession, options: ProxyOptions): ProxySession => {
  const { clock, random, basicAuth, connectTimeoutMs = defaultSessionLimits.connectTimeoutMs } = options
  const entries = new Map<string, Entry>()

  const connected = (relay: RouterAddress, timeoutMs: number): Promise<ProxiedRelay> => {
    const name = formatRouterAddress(relay)
    const known = entries.get(name)
    if (known !== undefined && (known.unusableUntil ?? clock.elapsed()) >= clock.elapsed()) return known.relay
    const entry: Entry = { relay: connect(relay, connectTimeoutMs + timeoutMs) }
    entries.set(name, entry)
    for (const oldest of entries.keys()) {
      if (entries.size <= maxRelays) break
      entries.delete(oldest)
    }
    entry.relay.catch(error => {
      if (isHostError(error)) entry.unusableUntil = clock.elapsed() + unusableMs
      else forget(relay, entry.relay)
    })
    return entry.relay
  }

  const forget = (relay: RouterAddress, which: Promise<ProxiedRelay>): void => {
    const name = formatRouterAddress(relay)
    if (entries.get(name)?.relay === which) entries.delete(name)
  }

  const connect = async (relay: RouterAddress, timeoutMs: number): Promise<ProxiedRelay> => {
    const command: Command = { type: 'PRXY', router: relay, basicAuth }
    const answer = await ask({ command, entityId: noEntity }, relay, timeoutMs)
    if (answer.type !== 'PKEY') throw unexpected(relay, answer)
    const { sessionId, versionRange, routerKey } = answer
    const version = intersect(versionRange, { min: SMP_VERSIONS.min, max: MAX_PROXIED_VERSION })?.max
    if (version === undefined) {
      throw proxyError(relay, 'PROXY_BROKER_TRANSPORT_VERSION', 'there is no common SMP version with the relay')
    }
    try {
      verifyRouterChain(routerKey.certificates, relay.keyHash, clock.now())
      const leaf = routerKey.certificates[0] as Bytes
      return { sessionId, version, key: verifySignedKey(routerKey.signedKey, leaf, 'x25519').raw }
    } catch (cause) {
      const message = 'the proxy did not prove that it talks to the relay'
      throw proxyError(relay, 'PROXY_BROKER_TRANSPORT_HANDSHAKE_IDENTITY', message, cause)
    }
  }

  const forward = async (
    relay: RouterAddress,
    { sessionId, version, key: relayKey }: ProxiedRelay,
    { command, entityId, key }: ProxiedRequest,
    timeoutMs: number,
  ): Promise<Response> => {
    const own = generateKeyPair('x25519', random)
    const boxKey = boxSecret(x25519(own.privateKey, relayKey))
    const corrId = random(NONCE_BYTES)
    const authorized = authorizedBytes(sessionId, { corrId, entityId, command: commandParts(version, command) })
    const authorization =
      key === undefined
        ? noEntity
        : authorize(key.algorithm, key.privateKey, authorized, { corrId, routerKey: relayKey })
    const signed = authorizedTransmission(version, sessionId, authorized, authorization)
    const [batch] = batchParts([signed]) as [Batch<Parts>]
    if ('error' in batch) throw batch.error
    const transmission = sealProxiedTransmission(boxKey, corrId, concat(...batch.block))
    const pfwd: Command = { type: 'PFWD', version, key: own.publicKey, transmission }
    const answer = await ask({ command: pfwd, entityId: sessionId, corrId }, relay, 2 * timeoutMs)
    if (answer.type !== 'PRES') throw unexpected(relay, answer)
    const response = readAnswer(version, openProxiedResponse(boxKey, corrId, answer.response))
    if (response.type === 'ERR') throw toRouterError(response.error, command.type)
    return response
  }

  /** Asks the proxy; its errors are told apart from the relay's. */
  const ask = async (request: RouterRequest, relay: RouterAddress, timeoutMs: number): Promise<Response> => {
    try {
      return await proxy.send(request, { timeoutMs })
    } catch (error) {
      throw error instanceof RouterError ? refused(relay, error) : error
    }
  }

  const refused = (relay: RouterAddress, cause: RouterError): ProxyError => {
    const answer = smpErrorOf(cause)
    if (answer === undefined) return proxyError(relay, cause.code.replace(/^SMP_/, 'PROXY_'), cause.message, cause)
    const code = smpErrorCode(answer)
    const message = cause.message.replace('the router', 'the proxy')
    return proxyError(relay, answer.type === 'PROXY' ? code : `PROXY_ANSWER_${code}`, message, cause)
  }

  const unexpected = (relay: RouterAddress, { type }: Response): ProxyError =>
    proxyError(relay, 'PROXY_UNEXPECTED', `the proxy answered with ${type}`)

  const proxyError = (relay: RouterAddress, code: string, message: string, cause?: unknown): ProxyError => {
    const facts = { proxy: formatRouterAddress(proxy.router), relay: formatRouterAddress(relay) }
    return new ProxyError(code, message, { field: facts.relay, facts, cause })
  }

  return {
    proxy,
    send: async (relay, request, { timeoutMs = defaultSessionLimits.requestTimeoutMs } = {}) => {
      const attempt = async (): Promise<Response> => {
        const session = connected(relay, timeoutMs)
        try {
          return await forward(relay, await session, request, timeoutMs)
        } catch (error) {
          if (hasNoSession(error)) forget(relay, session)
          throw error
        }
      }
      try {
        return await attempt()
      } catch (error) {
        if (!hasNoSession(error)) throw error
        return attempt()
      }
    },
  }
}

const hasNoSession = (error: unknown): boolean => error instanceof ProxyError && error.code === 'PROXY_NO_SESSION'

/** The one transmission that the relay answered with. */
const readAnswer = (version: number, batch: Bytes): Response => {
  try {
    const [bytes, ...more] = readBatch(batch)
    if (bytes === undefined || more.length > 0) throw unreadable('the relay did not answer with one transmission')
    return decodeResponse(version, decodeTransmission(version, bytes).command)
  } catch (cause) {
    throw cause instanceof RouterError ? cause : unreadable('the relay sent a response that cannot be read', cause)
  }
}

const unreadable = (message: string, cause?: unknown): RouterError =>
  new RouterError('SMP_RESPONSE', message, { field: 'response', cause })
