import { type Actor, createActor, fromPromise } from 'xstate'
import type { RetryInterval } from '../../machines/retry.js'
import { routerSessionMachine } from '../../machines/routerSession.js'
import { asDuologueError, type DuologueError, TransportError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import type { RouterEvent, RouterSession } from '../smp/client.js'

export interface RouterLinkOptions {
  readonly router: string
  readonly clock: Clock
  readonly reconnect: RetryInterval
  /** For so many ms after a failed attempt whoever needs a session is told of that failure, instead of making the next attempt. */
  readonly failedConnectMs: number
  readonly connect: (signal: AbortSignal) => Promise<RouterSession>
  /** Whether subscriptions wait for this router: then a lost session comes back by itself. */
  readonly hasSubscriptions: () => boolean
  /** The session is open: send what waits for it. */
  readonly opened: (session: RouterSession) => Promise<void>
  readonly lost: (session: RouterSession) => void
  /** The session could not be made. */
  readonly failed: (error: DuologueError) => void
  readonly event: (session: RouterSession, event: RouterEvent) => void
}

interface Waiter {
  readonly resolve: (session: RouterSession) => void
  readonly reject: (error: DuologueError) => void
}

/** The link of one user to one router: the routerSession machine with its socket. One session at a time. */
export class RouterLink {
  readonly #options: RouterLinkOptions
  readonly #actor: Actor<typeof routerSessionMachine>
  readonly #waiting = new Set<Waiter>()
  #session: RouterSession | undefined
  #lastError: DuologueError | undefined
  #failedAt = Number.NEGATIVE_INFINITY
  #closed = false

  constructor(options: RouterLinkOptions) {
    this.#options = options
    this.#actor = createActor(this.#machine(), {
      input: { router: options.router, reconnect: options.reconnect },
      clock: {
        setTimeout: (run: () => void, ms: number) => options.clock.setTimeout(run, ms),
        clearTimeout: (handle: never) => options.clock.clearTimeout(handle),
      } as never,
    })
    this.#actor.start()
  }

  /** The open session, or undefined. */
  get session(): RouterSession | undefined {
    return this.#session?.closed === false ? this.#session : undefined
  }

  get state(): string {
    return String(this.#actor.getSnapshot().value)
  }

  /** Connects in the background if there is no session. */
  need(): void {
    this.#actor.send({ type: 'session.needed' })
  }

  /** The open session, made if there is none. Rejects with TransportError when that fails or takes longer than `timeoutMs`. */
  open(timeoutMs: number): Promise<RouterSession> {
    const { session } = this
    if (session !== undefined) return Promise.resolve(session)
    const { clock, router, failedConnectMs } = this.#options
    // Many wait for the same dead router, each with its own delay: together they must not keep on knocking.
    if (this.#lastError !== undefined && clock.now() - this.#failedAt < failedConnectMs)
      return Promise.reject(this.#lastError)
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
      this.need()
    })
  }

  close(): void {
    this.#closed = true
    this.#actor.send({ type: 'session.released' })
    this.#actor.stop()
    this.#session?.close()
    this.#rejectWaiting(new TransportError('TRANSPORT_CLOSED', 'the agent is closed', { field: this.#options.router }))
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
        closeSession: () => this.#session?.close(),
      },
      guards: { hasSubscriptions: () => this.#options.hasSubscriptions() },
    })
  }

  async #connect(signal: AbortSignal): Promise<void> {
    let session: RouterSession
    try {
      session = await this.#options.connect(signal)
    } catch (error) {
      this.#lastError = asDuologueError(error)
      this.#failedAt = this.#options.clock.now()
      this.#options.failed(this.#lastError)
      throw error
    }
    if (signal.aborted) {
      session.close()
      return
    }
    this.#session = session
    // Whoever meets this session's end must not be told of an older failure.
    this.#lastError = undefined
    session.onEvent(event => this.#options.event(session, event))
    session.onClose(() => {
      if (this.#closed) return
      this.#options.lost(session)
      this.#actor.send({ type: 'session.lost' })
    })
  }

  #rejectWaiting(error: DuologueError | undefined): void {
    const reason =
      error ?? new TransportError('TRANSPORT_CLOSED', 'the session was closed', { field: this.#options.router })
    for (const waiter of this.#waiting) waiter.reject(reason)
  }
}
