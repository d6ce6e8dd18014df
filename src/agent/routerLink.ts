import { type Actor, createActor, fromPromise } from 'xstate'
import type { RetryInterval } from '../../machines/retry.js'
import { routerSessionMachine } from '../../machines/routerSession.js'
import { asDuologueError, type DuologueError, TransportError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { stateName } from '../runtime/decide.js'
import { type Traced, tracing } from '../runtime/tracing.js'
import type { RouterEvent, RouterSession } from '../smp/client.js'

export interface RouterLinkOptions {
  readonly router: string
  readonly clock: Clock
  readonly reconnect: RetryInterval
  /** For so many ms after a failed attempt whoever needs a session is told of that failure, instead of making the next attempt. */
  readonly failedConnectMs: number
  /** While the device is offline, one attempt is made after so many ms all the same. */
  readonly offlineRetryMs: number
  /** A session that nobody has used for so many ms, and that no subscription needs, is closed. */
  readonly idleMs: number
  readonly isOffline: () => boolean
  readonly isSuspended: () => boolean
  readonly connect: (signal: AbortSignal) => Promise<RouterSession>
  /** Whether subscriptions wait for this router: then a lost session comes back by itself. */
  readonly hasSubscriptions: () => boolean
  /** The session is open: send what waits for it. */
  readonly opened: (session: RouterSession) => Promise<void>
  readonly lost: (session: RouterSession) => void
  /** The session could not be made. */
  readonly failed: (error: DuologueError) => void
  readonly event: (session: RouterSession, event: RouterEvent) => void
  /** There is no session and nobody needs one: the link can be thrown away. */
  readonly unused: () => void
  /** Hears of every event and of the states before and after. */
  readonly traced?: Traced | undefined
}

interface Waiter {
  readonly resolve: (session: RouterSession) => void
  readonly reject: (error: DuologueError) => void
}

/** Most that wait for one session: as many as a session takes. */
const maxWaiting = 16_384

/** One transport session to a router at a time: the routerSession machine with its socket. */
export class RouterLink {
  readonly #options: RouterLinkOptions
  readonly #actor: Actor<typeof routerSessionMachine>
  readonly #waiting = new Set<Waiter>()
  #session: RouterSession | undefined
  #lastError: DuologueError | undefined
  #failedAt = Number.NEGATIVE_INFINITY
  #usedAt: number
  #closed = false

  constructor(options: RouterLinkOptions) {
    this.#options = options
    this.#usedAt = options.clock.elapsed()
    this.#actor = createActor(this.#machine(), {
      ...tracing(() => this.#actor, options.traced),
      input: { router: options.router, reconnect: options.reconnect, offlineRetry: options.offlineRetryMs },
      clock: {
        setTimeout: (run: () => void, ms: number) => options.clock.setTimeout(run, ms),
        clearTimeout: (handle: never) => options.clock.clearTimeout(handle),
      } as never,
    })
    this.#actor.start()
    this.#actor.subscribe(({ value }) => {
      if (value === 'closed') queueMicrotask(() => this.#noteUnused())
    })
  }

  /** The open session, or undefined. */
  get session(): RouterSession | undefined {
    return this.#session?.closed === false ? this.#session : undefined
  }

  /** State of the machine. */
  get state(): string {
    return stateName(this.#actor.getSnapshot().value)
  }

  /**
   * Connects in the background if there is no session. Where an attempt has just failed and the next one will be made by itself, the
   * answer is that failure.
   */
  need(): DuologueError | undefined {
    const { value } = this.#actor.getSnapshot()
    const failure = value === 'reconnecting' || value === 'offline' ? this.#freshFailure() : undefined
    if (failure === undefined) this.#actor.send({ type: 'session.needed' })
    return failure
  }

  /**
   * The open session, made if there is none. Rejects with TransportError when that fails or takes longer than `timeoutMs`, and
   * TRANSPORT_BUSY when too many wait for it.
   */
  open(timeoutMs: number): Promise<RouterSession> {
    const { session } = this
    this.used()
    if (session !== undefined) return Promise.resolve(session)
    const { clock, router } = this.#options
    // Many wait for the same dead router, each with its own delay: together they must not keep on knocking.
    const failure = this.#freshFailure()
    if (failure !== undefined) return Promise.reject(failure)
    if (this.#waiting.size >= maxWaiting) return Promise.reject(busy(router))
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clock.clearTimeout(timer)
        this.#waiting.delete(waiter)
      }
      const waiter: Waiter = {
        resolve: opened => {
          done()
          resolve(opened)
        },
        reject: error => {
          done()
          reject(error)
        },
      }
      const timer = clock.setTimeout(
        () =>
          waiter.reject(new TransportError('TRANSPORT_TIMEOUT', 'no session to the router in time', { field: router })),
        timeoutMs,
      )
      this.#waiting.add(waiter)
      this.#actor.send({ type: 'session.needed' })
    })
  }

  /** Something was sent or answered: the session is in use. */
  used(): void {
    this.#usedAt = this.#options.clock.elapsed()
  }

  /** The device is online again, or the agent goes on: what failed before says nothing any more. */
  online(): void {
    this.#lastError = undefined
    this.#actor.send({ type: 'network.online' })
  }

  /** Gives a session up that does not answer: the next one is made as after a loss. */
  giveUp(session: RouterSession): void {
    if (this.#session !== session) return
    this.#drop()
    this.#actor.send({ type: 'session.lost' })
  }

  /** Ends the session for good; who waits for it is told `reason`. */
  close(reason: DuologueError): void {
    this.#closed = true
    this.#actor.send({ type: 'session.released' })
    this.#actor.stop()
    this.#drop()
    this.#rejectWaiting(reason)
  }

  #machine() {
    return routerSessionMachine.provide({
      actors: {
        connect: fromPromise(({ signal }) => this.#connect(signal)),
        resubscribe: fromPromise(async () => {
          const { session } = this
          if (session !== undefined) await this.#options.opened(session)
        }),
      },
      actions: {
        rejectWaiting: () => this.#rejectWaiting(this.#lastError),
        resolveWaiting: () => {
          const { session } = this
          for (const waiter of this.#waiting) {
            if (session !== undefined) waiter.resolve(session)
          }
        },
        closeSession: () => this.#drop(),
      },
      guards: {
        hasSubscriptions: () => this.#options.hasSubscriptions(),
        isOffline: () => this.#options.isOffline() || this.#options.isSuspended(),
        isSuspended: () => this.#options.isSuspended(),
        isIdle: () => this.#untilIdle() <= 0 && !this.#isInUse(),
      },
      delays: {
        idle: () => {
          const left = this.#untilIdle()
          return left > 0 ? left : this.#options.idleMs
        },
      },
    })
  }

  #untilIdle(): number {
    return this.#usedAt + this.#options.idleMs - this.#options.clock.elapsed()
  }

  #isInUse(): boolean {
    if (this.#options.hasSubscriptions() || this.#waiting.size > 0) return true
    const { inFlight, queued } = this.session?.counts() ?? { inFlight: 0, queued: 0 }
    return inFlight + queued > 0
  }

  // A failure that is still fresh keeps the link: whoever comes next must hear of it.
  #noteUnused(): void {
    const { clock, failedConnectMs, hasSubscriptions, unused } = this.#options
    if (this.#closed || this.#waiting.size > 0 || this.#actor.getSnapshot().value !== 'closed') return
    if (this.#freshFailure() !== undefined) {
      clock.setTimeout(() => this.#noteUnused(), failedConnectMs)
      return
    }
    if (!hasSubscriptions()) unused()
  }

  #freshFailure(): DuologueError | undefined {
    const { clock, failedConnectMs } = this.#options
    return clock.elapsed() - this.#failedAt < failedConnectMs ? this.#lastError : undefined
  }

  async #connect(signal: AbortSignal): Promise<void> {
    let session: RouterSession
    try {
      session = await this.#options.connect(signal)
    } catch (error) {
      this.#lastError = asDuologueError(error)
      this.#failedAt = this.#options.clock.elapsed()
      if (!this.#closed) this.#options.failed(this.#lastError)
      throw error
    }
    if (signal.aborted) {
      session.close()
      return
    }
    this.#session = session
    this.used()
    // Whoever meets this session's end must not be told of an older failure.
    this.#lastError = undefined
    session.onEvent(event => this.#options.event(session, event))
    session.onClose(() => {
      // One that was closed here may end after its successor has begun.
      if (this.#closed || this.#session !== session) return
      this.#options.lost(session)
      this.#actor.send({ type: 'session.lost' })
    })
  }

  #drop(): void {
    const session = this.#session
    this.#session = undefined
    session?.close()
    if (session !== undefined && !this.#closed) this.#options.lost(session)
  }

  #rejectWaiting(error: DuologueError | undefined): void {
    const reason =
      error ?? new TransportError('TRANSPORT_CLOSED', 'the session was closed', { field: this.#options.router })
    for (const waiter of this.#waiting) waiter.reject(reason)
  }
}

const busy = (router: string): TransportError =>
  new TransportError('TRANSPORT_BUSY', 'too many requests wait for this router', {
    field: router,
    facts: { limit: maxWaiting, sent: false },
  })
