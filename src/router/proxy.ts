/**
 * The router as a proxy (PRXY, PFWD): it connects to other routers for its clients and forwards what they boxed for them, without seeing queue
 * or message (SMP protocol, "Proxying sender commands"; reference: `processProxiedCmd`, `smpProxyError`).
 */
import type { Random } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { asDuologueError, CryptoError, DecodeError, EncodeError, RouterError, TransportError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { connectRelay, type RelaySession } from '../smp/client.js'
import type { Command } from '../smp/protocol/commands.js'
import type { ForwardedTransmission } from '../smp/protocol/proxy.js'
import type { Response } from '../smp/protocol/responses.js'
import type { RouterAddress } from '../smp/protocol/routerAddress.js'
import {
  type BrokerError,
  type ProxyError,
  type SmpError,
  smpErrorOf,
  type TransportErrorWord,
} from '../smp/protocol/routerErrors.js'
import { transportErrorWord } from '../smp/protocol/transportErrors.js'
import type { Dialer } from '../smp/transport/port.js'
import type { RouterSettings } from './config.js'
import { mayForward } from './decisions.js'
import { createRelays } from './relays.js'

export interface RouterProxy {
  /** The answer to PRXY: the session with the relay, for the client to check (PKEY). */
  connect(command: Extract<Command, { readonly type: 'PRXY' }>): Promise<Response>
  /** The answer to PFWD, which names the session with the relay. */
  forward(sessionId: Bytes, transmission: ForwardedTransmission): Promise<Response>
  stats(): ProxyStats
  close(): void
}

/** What a router counts of its work as a proxy. */
export interface ProxyStats {
  /** Connected now. */
  readonly relays: number
  /** Requests for a relay, and those that could not be served. */
  readonly relayRequests: number
  readonly relayFailures: number
  /** Commands for relays, and those that a relay did not answer. */
  readonly forwards: number
  readonly forwardFailures: number
}

export interface RouterProxyOptions {
  readonly settings: RouterSettings
  /** Without it nothing is forwarded. */
  readonly dialer: Dialer | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: (event: string, facts: Readonly<Record<string, unknown>>) => void
}

export const createProxy = ({ settings, dialer, clock, random, log }: RouterProxyOptions): RouterProxy => {
  const { proxy, limits } = settings
  const counters = { relayRequests: 0, relayFailures: 0, forwards: 0, forwardFailures: 0 }
  let underWay = 0

  const relays = createRelays({
    clock,
    maxRelays: limits.relays,
    failedSeconds: proxy.failedSeconds,
    idleSeconds: proxy.idleSeconds,
    connect: async (relay, signal) => {
      if (dialer === undefined) throw hostError(relay)
      const router = reachable(relay)
      return connectRelay({
        dialer,
        router,
        clock,
        random,
        signal,
        limits: {
          connectTimeoutMs: proxy.connectSeconds * 1000,
          requestTimeoutMs: proxy.requestSeconds * 1000,
          maxInFlight: limits.forwardsPerRelay,
        },
      })
    },
  })

  /** The relay with those of its hosts that this router connects to: onion hosts need a SOCKS proxy, which it has none of. */
  const reachable = (relay: RouterAddress): RouterAddress => {
    const hosts = relay.hosts.filter(host => !host.endsWith('.onion') && mayServe(host))
    if (hosts.length === 0) throw hostError(relay)
    return { ...relay, hosts }
  }

  const mayServe = (host: string): boolean => {
    const name = host.toLowerCase()
    return proxy.onlyDomains?.some(domain => name === domain || name.endsWith(`.${domain}`)) ?? true
  }

  const describe = ({ sessionId, versionRange, routerKey }: RelaySession): Response =>
    versionRange === undefined
      ? proxyError({ type: 'BROKER', error: { type: 'TRANSPORT', error: 'VERSION' } })
      : { type: 'PKEY', sessionId, versionRange, routerKey }

  return {
    connect: async ({ router: relay, basicAuth }) => {
      if (dialer === undefined || !mayForward(settings, basicAuth)) return proxyError({ type: 'BASIC_AUTH' })
      counters.relayRequests++
      try {
        return describe(await relays.connect(relay))
      } catch (error) {
        counters.relayFailures++
        const answer = connectErrorOf(error)
        log('relay not connected', { hosts: relay.hosts, code: asDuologueError(error).code })
        return { type: 'ERR', error: answer }
      }
    },
    forward: async (sessionId, transmission) => {
      counters.forwards++
      try {
        const relay = relays.find(sessionId)
        if (relay === undefined) return proxyError({ type: 'NO_SESSION' })
        if (underWay >= limits.forwards || relay.underWay >= limits.forwardsPerRelay) return busy
        underWay++
        try {
          return { type: 'PRES', response: await relay.forward(transmission) }
        } finally {
          underWay--
        }
      } catch (error) {
        counters.forwardFailures++
        return { type: 'ERR', error: forwardErrorOf(error) }
      }
    },
    stats: () => ({ relays: relays.connected, ...counters }),
    close: () => relays.close(),
  }
}

const hostError = (relay: RouterAddress): TransportError =>
  new TransportError('TRANSPORT_HOST', 'no host of the relay may be connected to', { field: relay.hosts.join(',') })

const proxyError = (error: ProxyError): Response => ({ type: 'ERR', error: { type: 'PROXY', error } })

const brokerError = (error: BrokerError): SmpError => ({ type: 'PROXY', error: { type: 'BROKER', error } })

/** What a client is told of a relay that could not be connected: a deadline is the network's then, not the relay's. */
const connectErrorOf = (error: unknown): SmpError =>
  error instanceof TransportError && error.code === 'TRANSPORT_TIMEOUT'
    ? brokerError(networkError)
    : forwardErrorOf(error)

const busy = proxyError({ type: 'BROKER', error: { type: 'TIMEOUT' } })

const networkError: BrokerError = { type: 'NETWORK', error: { type: 'FAILED' } }

/** What a client is told of a failure between proxy and relay. Errors that are none of the network's or the relay's are thrown on. */
const forwardErrorOf = (error: unknown): SmpError => {
  if (error instanceof TransportError) return brokerError(transportProblem(error))
  if (error instanceof RouterError) return relayProblem(error)
  if (error instanceof CryptoError) return { type: 'CRYPTO' }
  if (error instanceof DecodeError) return brokerError({ type: 'RESPONSE', text: 'BLOCK' })
  if (error instanceof EncodeError) return brokerError({ type: 'TRANSPORT', error: 'LARGE_MSG' })
  throw error
}

const relayProblem = (error: RouterError): SmpError => {
  const answer = smpErrorOf(error)
  if (answer !== undefined) return { type: 'PROXY', error: { type: 'PROTOCOL', error: answer } }
  return brokerError({ type: error.code === 'SMP_RESPONSE' ? 'RESPONSE' : 'UNEXPECTED', text: error.message })
}

/** Words of errors that are this side's, or that were found in the relay's hello. */
const wordOf = (error: TransportError): TransportErrorWord | undefined =>
  transportErrorWord(error) ?? (error.code === 'TRANSPORT_BLOCK' ? 'BLOCK' : undefined)

const transportProblem = (error: TransportError): BrokerError => {
  switch (error.code) {
    case 'TRANSPORT_HOST':
      return { type: 'HOST' }
    case 'TRANSPORT_TIMEOUT':
    case 'TRANSPORT_BUSY':
      return { type: 'TIMEOUT' }
    default: {
      const word = wordOf(error)
      return word === undefined ? networkError : { type: 'TRANSPORT', error: word }
    }
  }
}
