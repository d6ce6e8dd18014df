import { createHash } from 'node:crypto'
import type { Bytes } from '../../encoding/index.js'
import { portOf, type RouterAddress } from '../protocol/routerAddress.js'
import { verifyRouterChain } from './chain.js'
import { createMemoryLink, type MemoryLink, type NetworkClock } from './memoryLink.js'
import {
  type BlockChannel,
  type Dialer,
  type DialOptions,
  type Listen,
  type Listener,
  type ListenOptions,
  transportError,
} from './port.js'

export type { LinkDirection, MemoryLink, NetworkClock } from './memoryLink.js'

/** A whole network in one process, on one clock: the transport of tests and simulations. */
export interface MemoryNetwork {
  readonly listen: Listen
  /** A dialer for one peer; `from` names it for `links` and is the router's `remoteAddress`. */
  dialer(from?: string): Dialer
  /** The open connections, oldest first; those of one dialer or one `host:port` if named. */
  links(which?: { from?: string; place?: string }): readonly MemoryLink[]
  /** One-way delay of everything that is sent from now on, ms, for all or by connection; 0 delivers within the same turn. */
  setLatency(latency: number | ((way: Way) => number)): void
  /** How `host:port` treats new connections, of everybody or of one dialer: refuses at once, never answers, or answers again. */
  setReachable(place: string, how: 'refuses' | 'silent' | 'answers', from?: string): void
}

export interface MemoryNetworkOptions {
  readonly clock: NetworkClock
  readonly latencyMs?: number
}

/** Between which two a connection is: who dialled, and the `host:port`. */
export interface Way {
  readonly from: string
  readonly place: string
}

interface Place {
  readonly options: ListenOptions
  readonly onChannel: (channel: BlockChannel) => void
}

/** Session ids, ports and order of delivery depend on nothing but the calls and the clock, so a run can be replayed. */
export const memoryNetwork = ({ clock, latencyMs = 0 }: MemoryNetworkOptions): MemoryNetwork => {
  const places = new Map<string, Place>()
  const unreachable = new Map<string, 'refuses' | 'silent'>()
  const links = new Set<MemoryLink>()
  let latency: (way: Way) => number = () => latencyMs
  let sessions = 0
  let nextPort = 49_152

  const listen: Listen = async (options, onChannel) => {
    const port = options.port === 0 ? nextPort++ : options.port
    const key = placeOf(options.host, port)
    if (places.has(key)) {
      throw transportError('TRANSPORT_LISTEN', 'the port is taken', { field: key, hint: 'choose another port' })
    }
    const place: Place = { options, onChannel }
    places.set(key, place)
    return listenerOf(place, port, () => places.delete(key))
  }

  const linksOf = (place: Place): MemoryLink[] => [...links].filter(link => placeFor(link.place) === place)

  const listenerOf = (place: Place, port: number, stop: () => void): Listener => ({
    port,
    counts: () => ({ handshakes: 0, channels: linksOf(place).filter(({ router }) => !router.closed).length }),
    close: async () => {
      const open = linksOf(place)
      stop()
      await Promise.all(
        open.map(({ router }) => {
          const closed = new Promise<void>(resolve => router.onClose(() => resolve()))
          router.close()
          return closed
        }),
      )
    },
  })

  const placeFor = (key: string): Place | undefined =>
    places.get(key) ?? places.get(`0.0.0.0:${key.slice(key.lastIndexOf(':') + 1)}`)

  const treatment = ({ from, place }: Way): 'refuses' | 'silent' | undefined =>
    unreachable.get(place) ?? unreachable.get(`${place} ${from}`)

  const dialHost = async (from: string, host: string, router: RouterAddress, wait: Wait): Promise<BlockChannel> => {
    const key = placeOf(host, portOf(router))
    const way = { from, place: key }
    if (treatment(way) === 'silent') await wait(Number.POSITIVE_INFINITY)
    await wait(latency(way))
    const place = treatment(way) === undefined ? placeFor(key) : undefined
    if (place === undefined || linksOf(place).length >= (place.options.maxConnections ?? 20_000)) {
      await wait(latency(way))
      throw transportError('TRANSPORT_CONNECT', 'cannot connect to the router', { field: host })
    }
    const { certificates } = place.options.credentials
    verifyRouterChain(certificates, router.keyHash, clock.now())
    const link = open(from, key, certificates)
    place.onChannel(link.router)
    try {
      await wait(latency(way))
    } catch (error) {
      link.client.destroy()
      throw error
    }
    return link.client
  }

  const open = (from: string, place: string, peerCertificates: readonly Bytes[]): MemoryLink => {
    const sessionId = createHash('sha256').update(`memory session ${sessions++}`).digest()
    const link = createMemoryLink(
      {
        from,
        place,
        client: { sessionId, peerCertificates, remoteAddress: place },
        router: { sessionId, peerCertificates: [], remoteAddress: from },
      },
      clock,
      () => latency({ from, place }),
      () => links.delete(link),
    )
    links.add(link)
    return link
  }

  return {
    listen,
    dialer: (from = 'memory') => ({
      dial: (router, options) => eachHost(router, options, clock, (host, wait) => dialHost(from, host, router, wait)),
    }),
    links: ({ from, place } = {}) =>
      [...links].filter(
        link => (from === undefined || link.from === from) && (place === undefined || link.place === place),
      ),
    setLatency: ms => {
      latency = typeof ms === 'number' ? () => ms : ms
    },
    setReachable: (place, how, from) => {
      const key = from === undefined ? place : `${place} ${from}`
      if (how === 'answers') unreachable.delete(key)
      else unreachable.set(key, how)
    },
  }
}

const placeOf = (host: string, port: number): string => `${host}:${port}`

/** Waits on the clock, and rejects when the host's time is over or the dial is stopped. */
type Wait = (ms: number) => Promise<void>

/** The hosts in order; each may use its share of the time that is left, as over TLS. */
const eachHost = async (
  { hosts }: RouterAddress,
  { timeoutMs, signal }: DialOptions,
  clock: NetworkClock,
  attempt: (host: string, wait: Wait) => Promise<BlockChannel>,
): Promise<BlockChannel> => {
  const deadline = clock.now() + timeoutMs
  let failure: unknown = transportError('TRANSPORT_CONNECT', 'the router has no host to connect to')
  for (const [i, host] of hosts.entries()) {
    const hostDeadline = clock.now() + Math.ceil((deadline - clock.now()) / (hosts.length - i))
    try {
      return await attempt(host, ms => waitUntil(clock, clock.now() + ms, hostDeadline, host, signal))
    } catch (error) {
      failure = error
      if (signal?.aborted) break
    }
  }
  throw failure
}

const waitUntil = (clock: NetworkClock, at: number, deadline: number, host: string, signal?: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const stopped = (): void => {
      clock.clearTimeout(timer)
      reject(transportError('TRANSPORT_CLOSED', 'connecting was stopped here', { field: host }))
    }
    const done = (): void => {
      signal?.removeEventListener('abort', stopped)
      if (at <= deadline) return resolve()
      reject(transportError('TRANSPORT_TIMEOUT', 'the router did not answer in time', { field: host }))
    }
    if (at <= clock.now() && !signal?.aborted) return resolve()
    const timer = clock.setTimeout(done, Math.min(at, deadline) - clock.now())
    if (signal?.aborted) stopped()
    else signal?.addEventListener('abort', stopped, { once: true })
  })
