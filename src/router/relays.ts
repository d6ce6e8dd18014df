/**
 * The router's sessions with other routers: one for each relay, for all clients that send to it. They are made when they are asked for, and
 * dropped when nothing was asked of them for a while. A relay that cannot be connected stays known as such for a while, so that it is not
 * dialled for every client that asks (reference: `SMPClientAgent`, persistErrorInterval).
 */
import type { Bytes } from '../encoding/index.js'
import { TransportError } from '../errors.js'
import type { Clock, TimerHandle } from '../runtime/clock.js'
import type { RelaySession } from '../smp/client.js'
import { formatRouterAddress, portOf, type RouterAddress } from '../smp/protocol/routerAddress.js'
import { keyOf } from './messageLog.js'

export interface Relays {
  /** The session with the relay, open or new. Rejects with DuologueError, TRANSPORT_BUSY when there is no room for another relay. */
  connect(relay: RouterAddress): Promise<RelaySession>
  /** The open session of this id. */
  find(sessionId: Bytes): RelaySession | undefined
  readonly connected: number
  /** Ends all sessions and attempts. */
  close(): void
}

export interface RelaysOptions {
  readonly connect: (relay: RouterAddress, signal: AbortSignal) => Promise<RelaySession>
  readonly clock: Clock
  readonly maxRelays: number
  readonly failedSeconds: number
  readonly idleSeconds: number
}

interface Entry {
  readonly name: string
  readonly session: Promise<RelaySession>
  open: RelaySession | undefined
  usedAt: number
  /** Set for an attempt that failed. */
  failedAt: number | undefined
}

export const createRelays = (options: RelaysOptions): Relays => {
  const { clock, maxRelays } = options
  const idleMs = options.idleSeconds * 1000
  const failedMs = options.failedSeconds * 1000
  const stop = new AbortController()
  /** The one used last comes last. */
  const entries = new Map<string, Entry>()
  const bySession = new Map<string, Entry>()
  let timer: TimerHandle | undefined

  const remove = (entry: Entry): void => {
    if (entries.get(entry.name) === entry) entries.delete(entry.name)
    if (entry.open !== undefined) bySession.delete(keyOf(entry.open.sessionId))
    entry.open?.close()
    if (entries.size > 0 || timer === undefined) return
    clock.clearTimeout(timer)
    timer = undefined
  }

  const use = (entry: Entry): void => {
    entry.usedAt = clock.elapsed()
    entries.delete(entry.name)
    entries.set(entry.name, entry)
  }

  const hasPassed = (entry: Entry): boolean =>
    entry.failedAt === undefined
      ? isIdle(entry) && clock.elapsed() - entry.usedAt >= idleMs
      : clock.elapsed() - entry.failedAt >= failedMs

  const isIdle = ({ open }: Entry): boolean => open !== undefined && open.underWay === 0

  /** Looks after idle and failed relays as long as there are any. */
  const watch = (): void => {
    timer = undefined
    for (const entry of entries.values()) if (hasPassed(entry)) remove(entry)
    if (entries.size > 0) timer = clock.setTimeout(watch, Math.min(idleMs, failedMs))
  }

  /** A failed relay goes first, then the one that was not used for longest. */
  const makeRoom = (): boolean => {
    if (entries.size < maxRelays) return true
    const all = [...entries.values()]
    const entry = all.find(({ failedAt }) => failedAt !== undefined) ?? all.find(isIdle)
    if (entry !== undefined) remove(entry)
    return entry !== undefined
  }

  const open = (name: string, relay: RouterAddress): Promise<RelaySession> => {
    const session = options.connect(relay, stop.signal)
    const entry: Entry = { name, session, open: undefined, usedAt: clock.elapsed(), failedAt: undefined }
    entries.set(name, entry)
    timer ??= clock.setTimeout(watch, Math.min(idleMs, failedMs))
    session.then(
      opened => {
        if (stop.signal.aborted) return opened.close()
        entry.open = opened
        use(entry)
        bySession.set(keyOf(opened.sessionId), entry)
        opened.onClose(() => remove(entry))
      },
      () => {
        entry.failedAt = clock.elapsed()
      },
    )
    return session
  }

  return {
    connect: relay => {
      if (stop.signal.aborted) return Promise.reject(busy())
      const name = nameOf(relay)
      const known = entries.get(name)
      if (known !== undefined && !hasPassed(known)) {
        if (known.failedAt === undefined) use(known)
        return known.session
      }
      if (known !== undefined) remove(known)
      return makeRoom() ? open(name, relay) : Promise.reject(busy())
    },
    find: sessionId => {
      const entry = bySession.get(keyOf(sessionId))
      if (entry !== undefined) use(entry)
      return entry?.open
    },
    get connected() {
      return bySession.size
    },
    close: () => {
      stop.abort()
      for (const entry of entries.values()) remove(entry)
    },
  }
}

const nameOf = (relay: RouterAddress): string => formatRouterAddress({ ...relay, port: String(portOf(relay)) })

const busy = (): TransportError => new TransportError('TRANSPORT_BUSY', 'no room for another relay', { field: 'relay' })
