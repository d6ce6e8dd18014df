import { asBuffer, type Bytes } from '../../encoding/index.js'
import { CallError, type DuologueError, type TransportError } from '../../errors.js'
import type { Clock, TimerHandle } from '../../runtime/clock.js'
import type { Command } from '../protocol/commands.js'
import type { Response } from '../protocol/responses.js'
import { transportError } from '../transport/port.js'
import { lostWithSession } from './errors.js'
import type { RouterRequest, SessionLimits } from './types.js'

/** A request between `send` and its end. */
export interface OpenRequest {
  readonly corrId: Bytes
  readonly request: RouterRequest
  /** Each of these ends the request; all but the first are ignored. */
  resolve(response: Response): void
  reject(error: DuologueError): void
}

interface Entry extends OpenRequest {
  sent: boolean
  ended: boolean
}

/** A request whose answer may still come after its deadline. */
export interface ExpiredRequest {
  readonly entityId: Bytes
  readonly command: Command
}

/** Late answers are recognised for this many timed-out requests; those before them are unknown correlation ids. */
const maxExpired = 4_096

/**
 * The book of a session's requests: waiting for room, in flight, timed out. Every request has a deadline from the moment it
 * is added, every part has a bound.
 */
export class Requests {
  readonly #clock: Clock
  readonly #limits: SessionLimits
  readonly #onTimeout: () => void
  readonly #waiting = new Set<Entry>()
  readonly #open = new Map<string, Entry>()
  readonly #expired = new Map<string, ExpiredRequest>()
  #inFlight = 0

  constructor(clock: Clock, limits: SessionLimits, onTimeout: () => void) {
    this.#clock = clock
    this.#limits = limits
    this.#onTimeout = onTimeout
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get queued(): number {
    return this.#waiting.size
  }

  /** Adds a request that waits to be sent. Rejects at once with TRANSPORT_BUSY, or CMD_INVALID for a bad correlation id. */
  add(request: RouterRequest, corrId: Bytes, timeoutMs: number): Promise<Response> {
    if (this.#waiting.size >= this.#limits.maxQueued) return Promise.reject(busy(this.#limits.maxQueued))
    const key = keyOf(corrId)
    if (corrId.length !== 24 || this.#open.has(key)) return Promise.reject(badCorrId())
    return new Promise((resolve, reject) => {
      let timer: TimerHandle | undefined
      const end = (): boolean => {
        if (entry.ended) return false
        entry.ended = true
        if (timer !== undefined) this.#clock.clearTimeout(timer)
        this.#open.delete(key)
        if (entry.sent) this.#inFlight -= 1
        else this.#waiting.delete(entry)
        return true
      }
      const entry: Entry = {
        corrId,
        request,
        sent: false,
        ended: false,
        resolve: response => end() && resolve(response),
        reject: error => end() && reject(error),
      }
      timer = this.#clock.setTimeout(() => {
        if (entry.sent) this.#expire(key, request)
        entry.reject(timeout(request, entry.sent))
        this.#onTimeout()
      }, timeoutMs)
      this.#open.set(key, entry)
      this.#waiting.add(entry)
    })
  }

  /** The next request to send, if there is one and room for it in flight. The caller sends it, or rejects it. */
  next(): OpenRequest | undefined {
    if (this.#inFlight >= this.#limits.maxInFlight) return undefined
    const [entry] = this.#waiting
    if (entry === undefined) return undefined
    this.#waiting.delete(entry)
    entry.sent = true
    this.#inFlight += 1
    return entry
  }

  /** The open request that an answer belongs to. It stays open until it is resolved or rejected. */
  find(corrId: Bytes): OpenRequest | undefined {
    const entry = this.#open.get(keyOf(corrId))
    return entry?.sent ? entry : undefined
  }

  /** The timed-out request that an answer belongs to, once. */
  takeExpired(corrId: Bytes): ExpiredRequest | undefined {
    const key = keyOf(corrId)
    const expired = this.#expired.get(key)
    this.#expired.delete(key)
    return expired
  }

  /** Ends everything: the session is over. */
  rejectAll(reason: TransportError): void {
    for (const entry of this.#open.values()) entry.reject(lostWithSession(reason, entry.sent))
    this.#expired.clear()
  }

  #expire(key: string, { entityId, command }: RouterRequest): void {
    this.#expired.set(key, { entityId, command })
    if (this.#expired.size <= maxExpired) return
    const [oldest] = this.#expired.keys()
    if (oldest !== undefined) this.#expired.delete(oldest)
  }
}

const keyOf = (corrId: Bytes): string => asBuffer(corrId).toString('latin1')

const timeout = ({ command }: RouterRequest, sent: boolean): TransportError =>
  transportError('TRANSPORT_TIMEOUT', `the router did not answer ${command.type} in time`, {
    field: command.type,
    facts: { sent },
  })

const busy = (limit: number): TransportError =>
  transportError('TRANSPORT_BUSY', 'too many requests wait for this router', {
    facts: { limit, sent: false },
    hint: 'wait for answers before sending more',
  })

const badCorrId = (): CallError =>
  new CallError('CMD_INVALID', 'a correlation id is 24 bytes that no open request has', { field: 'corrId' })
