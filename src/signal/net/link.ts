import { type Actor, createActor, fromPromise, type InspectionEvent } from 'xstate'
import {
  type SignalConnectOutcome,
  type SignalProbeOutcome,
  signalSocketMachine,
} from '../../../machines/signalSocket.js'
import { asDuologueError, type DuologueError } from '../../errors.js'
import type { Clock } from '../../runtime/clock.js'
import { stateName } from '../../runtime/decide.js'
import { Permits } from '../../runtime/permits.js'
import { type FrameChannel, signalTransportError } from './port.js'
import { type ServerRequest, type SignalRequest, type SignalResponse, SignalSession } from './session.js'

export interface SignalLinkOptions {
  readonly socket: 'identified' | 'unidentified'
  readonly clock: Clock
  readonly keepaliveMs: number
  readonly probeDeadlineMs: number
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly requestsInFlight: number
  readonly backoff: { readonly initial: number; readonly max: number }
  readonly dial: (signal: AbortSignal) => Promise<FrameChannel>
  readonly onRequest: (request: ServerRequest) => void
  /** The machine is in a new state; `error`: why the last attempt to connect failed. */
  readonly onState: (state: string, error: DuologueError | undefined) => void
  readonly traced?: (event: string, from: string, to: string) => void
}

/** Close codes by which the server ends a socket for good. */
const closeEvents: Readonly<Record<number, 'socket.invalidated' | 'socket.replaced'>> = {
  4401: 'socket.invalidated',
  4409: 'socket.replaced',
}

/** One of the two sockets: the signalSocket machine with its session. */
export class SignalLink {
  readonly #options: SignalLinkOptions
  readonly #actor: Actor<typeof signalSocketMachine>
  readonly #waiting = new Set<() => void>()
  readonly #permits: Permits
  #session: SignalSession | undefined
  #lastError: DuologueError | undefined
  #state = 'stopped'

  constructor(options: SignalLinkOptions) {
    this.#options = options
    const { socket, keepaliveMs, backoff, clock } = options
    this.#permits = new Permits(options.requestsInFlight)
    this.#actor = createActor(this.#machine(), {
      input: { socket, keepaliveMs, backoff },
      clock: {
        setTimeout: (run: () => void, ms: number) => clock.setTimeout(run, ms),
        clearTimeout: (handle: never) => clock.clearTimeout(handle),
      } as never,
      inspect: (inspection: InspectionEvent) => {
        if (inspection.type === '@xstate.snapshot' && inspection.actorRef === this.#actor)
          this.#entered(inspection.event.type)
      },
    })
    this.#actor.start()
  }

  /** The machine’s state: `open.quiet`, `backingOff`, `closed.replaced` … */
  get state(): string {
    return this.#state
  }

  get isOpen(): boolean {
    return this.#state.startsWith('open')
  }

  /** When the last frame came; undefined without a session. */
  get lastReceivedAt(): number | undefined {
    return this.#session?.lastReceivedAt
  }

  start(): void {
    this.#actor.send({ type: 'socket.start' })
  }

  /** Ends the session until the next start. */
  pause(): void {
    this.#actor.send({ type: 'socket.stop' })
  }

  /** Ends it for good. */
  stop(): void {
    this.#actor.send({ type: 'socket.stop' })
    this.#actor.stop()
    this.#session?.destroy()
    this.#wake()
  }

  /** Drops the session that is there: it comes back by itself, and the server delivers again what was not acknowledged. */
  drop(): void {
    this.#session?.destroy()
  }

  /**
   * Sends a request over the open socket. Rejects with TransportError: SIGNAL_CLOSED at once when there is none,
   * SIGNAL_TIMEOUT after `timeoutMs`.
   */
  async request(request: SignalRequest, timeoutMs = this.#options.requestTimeoutMs): Promise<SignalResponse> {
    await this.#permits.take()
    try {
      const session = this.#session
      if (session === undefined || !this.isOpen)
        throw signalTransportError('SIGNAL_CLOSED', 'the socket is not open', { field: this.#options.socket })
      return await session.request(request, timeoutMs)
    } finally {
      this.#permits.give()
    }
  }

  /**
   * Makes sure that the socket is alive: probes it when nothing was received for `quietMs`, waits while it connects, for
   * `connectMs` at the most. Answers whether it is open then.
   */
  async ensureAlive(quietMs: number, connectMs: number): Promise<boolean> {
    const { lastReceivedAt } = this
    if (this.isOpen && lastReceivedAt !== undefined && this.#options.clock.now() - lastReceivedAt > quietMs) {
      this.#actor.send({ type: 'probe.requested' })
    }
    if (this.#state === 'open.probing')
      await this.#until(() => this.#state !== 'open.probing', this.#options.probeDeadlineMs * 2)
    if (this.#isOnItsWay()) await this.#until(() => !this.#isOnItsWay(), connectMs)
    return this.isOpen
  }

  #isOnItsWay(): boolean {
    return this.#state === 'connecting' || this.#state === 'backingOff'
  }

  /** Waits for a state, or until the deadline. */
  #until(reached: () => boolean, ms: number): Promise<void> {
    if (reached()) return Promise.resolve()
    return new Promise(resolve => {
      const done = (): void => {
        this.#waiting.delete(look)
        this.#options.clock.clearTimeout(timer)
        resolve()
      }
      const look = (): void => {
        if (reached() || this.#actor.getSnapshot().status !== 'active') done()
      }
      const timer = this.#options.clock.setTimeout(done, ms)
      this.#waiting.add(look)
    })
  }

  #wake(): void {
    for (const look of this.#waiting) look()
  }

  #entered(event: string): void {
    const from = this.#state
    this.#state = stateName(this.#actor.getSnapshot().value)
    if (from === this.#state) return
    this.#options.traced?.(event, from, this.#state)
    this.#options.onState(this.#state, this.#lastError)
    this.#wake()
  }

  #machine() {
    return signalSocketMachine.provide({
      actors: {
        connect: fromPromise<SignalConnectOutcome>(({ signal }) => this.#connect(signal)),
        probe: fromPromise<SignalProbeOutcome>(() => this.#probe()),
      },
      actions: {
        dropSession: () => {
          const session = this.#session
          this.#session = undefined
          session?.destroy()
        },
      },
    })
  }

  async #connect(signal: AbortSignal): Promise<SignalConnectOutcome> {
    const { clock, connectTimeoutMs, dial, socket } = this.#options
    const deadline = new AbortController()
    const timer = clock.setTimeout(
      () => deadline.abort(signalTransportError('SIGNAL_TIMEOUT', 'no connection in time', { field: socket })),
      connectTimeoutMs,
    )
    let channel: FrameChannel
    try {
      channel = await dial(AbortSignal.any([signal, deadline.signal]))
    } catch (error) {
      this.#lastError = asDuologueError(error)
      return this.#lastError.code === 'SIGNAL_REFUSED' ? 'refused' : 'failed'
    } finally {
      clock.clearTimeout(timer)
    }
    if (signal.aborted) {
      channel.destroy()
      return 'failed'
    }
    this.#lastError = undefined
    this.#adopt(channel)
    return 'open'
  }

  #adopt(channel: FrameChannel): void {
    const session = new SignalSession(channel, this.#options.clock, this.#options.socket)
    this.#session = session
    session.onRequest = request => this.#options.onRequest(request)
    session.onClose = code => {
      // What an older session ends with says nothing about this one.
      if (this.#session !== session) return
      this.#actor.send({ type: closeEvents[code] ?? 'socket.lost' })
    }
    if (session.closed) throw signalTransportError('SIGNAL_CLOSED', 'the socket closed at once')
  }

  async #probe(): Promise<SignalProbeOutcome> {
    const session = this.#session
    if (session === undefined) return 'dead'
    try {
      await session.request({ verb: 'GET', path: '/v1/keepalive' }, this.#options.probeDeadlineMs)
      return 'alive'
    } catch {
      return session === this.#session ? 'dead' : 'alive'
    }
  }
}
