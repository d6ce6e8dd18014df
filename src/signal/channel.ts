import { PublicKey } from '@signalapp/libsignal-client'
import { asDuologueError, CallError, ConfigError, type DuologueError } from '../errors.js'
import type { Channel, ChannelHost, RunningChannel } from '../runtime/channel.js'
import { type OwnedClock, ownedClock } from '../runtime/ownedClock.js'
import type { TimerHandle } from '../runtime/clock.js'
import type { Wake } from '../runtime/unit.js'
import { signalMessages } from '../store/signal/messages.js'
import { signalAggregateTables } from '../store/signal/tables.js'
import { authorizationOf, noteLoggedOut, refreshAccount, uploadAttributes } from './account.js'
import type { SignalCalls } from './api/calls.js'
import { signalCalls } from './calls.js'
import { Certificates } from './certificates.js'
import { cleanUp } from './cleanup.js'
import { defaultSignalConfig, type SignalConfig } from './config.js'
import { accountIdOf, type SignalContext } from './context.js'
import { native } from './crypto/bytes.js'
import { Health } from './health.js'
import { Inbox } from './inbox.js'
import { SignalLink } from './net/link.js'
import { type SignalDialer, signalTransportError } from './net/port.js'
import { signalDialer } from './net/webSocket.js'
import { upkeepPreKeys } from './preKeys.js'
import { sendTrace } from './sendTrace.js'
import { Sends } from './sends.js'
import { Syncs } from './syncs.js'

/** Signal’s service, as a channel reaches it. */
export interface SignalServer {
  /** `https://chat.signal.org` */
  readonly url: string
  /** The certificate authority of the server, PEM: Signal’s own, which no system trusts by itself. */
  readonly ca?: string
  /** Keys that sign the certificates of sealed senders, base64. */
  readonly trustRoots: readonly string[]
  /** Where attachments are, by the number of their network. Default: the server itself, under `/cdn<n>`. */
  readonly cdn?: Readonly<Record<number, string>>
}

export interface SignalChannelOptions {
  readonly server: SignalServer
  /** The user whose account this is; default 1. */
  readonly userId?: number
  /** Default: the real network. */
  readonly dialer?: SignalDialer
  readonly config?: Partial<SignalConfig>
}

/** A channel for `openAgent({ channels: [channel] })`; its calls can be made once the agent is open. */
export interface SignalChannel extends Channel, SignalCalls {}

/** A Signal account as a linked device (see docs/SIGNAL.md). It holds nothing open before its agent starts it. */
export const signalChannel = (options: SignalChannelOptions): SignalChannel => {
  let running: Running | undefined
  const context = (): SignalContext => {
    if (running === undefined) throw notOpen()
    return running.context
  }
  return {
    scope: 'signal',
    aggregateTables: signalAggregateTables,
    start: async host => {
      if (running !== undefined)
        throw new CallError('CMD_PROHIBITED', 'the channel has been opened already', { field: 'channels' })
      running = await Running.start(host, options)
      return running
    },
    ...signalCalls(
      context,
      () => {
        if (running === undefined) throw notOpen()
        return running
      },
      options.server,
    ),
  }
}

const trustRoot = (text: string): PublicKey => {
  try {
    return PublicKey.deserialize(native(Buffer.from(text, 'base64')))
  } catch (cause) {
    throw new ConfigError('CONFIG_SERVER', 'a key that signs sender certificates is none', {
      field: 'trustRoots',
      hint: 'it is a public key in base64, 33 bytes',
      cause,
    })
  }
}

const notOpen = (): CallError =>
  new CallError('AGENT_CLOSED', 'the channel is not open', { field: 'signal', hint: 'open its agent first' })

/** The parts of an open channel. Each has one owner: this, which closes them in reverse order. */
export class Running implements RunningChannel {
  readonly context: SignalContext
  readonly #clock: OwnedClock
  readonly #sends: Sends
  readonly #syncs: Syncs
  readonly #inbox: Inbox
  #upkeepTimer: TimerHandle | undefined
  readonly #closing = new AbortController()
  readonly #suspendedBy = new Set<'agent' | 'application'>()
  #attributesTaken = false
  #upkeepDueAt = 0
  #upkeepRuns = false
  #refusals = 0
  #keysDone = false
  #upkeep: Promise<void> = Promise.resolve()
  #closed = false

  static async start(host: ChannelHost, options: SignalChannelOptions): Promise<Running> {
    const running = new Running(host, options)
    await running.#begin()
    return running
  }

  private constructor(host: ChannelHost, options: SignalChannelOptions) {
    const { userId = 1, server } = options
    this.#clock = ownedClock(host.clock)
    const config = { ...defaultSignalConfig, ...options.config }
    const dialer = options.dialer ?? signalDialer(server)
    const trustRoots = server.trustRoots.map(trustRoot)
    const failed = (error: unknown): void =>
      host.log.error({ code: asDuologueError(error).code }, 'an event could not be stored')
    const health = new Health({ userId, runtime: host.runtime, failed })
    const link = (socket: 'identified' | 'unidentified'): SignalLink =>
      new SignalLink({
        socket,
        clock: this.#clock,
        ...config,
        dial: signal => this.#dial(dialer, socket, signal),
        onRequest: request => (socket === 'identified' ? this.#inbox.accept(request) : request.respond(400)),
        onState: (state, error) => this.#entered(socket, state, error),
        traced: (event, from, to) =>
          host.trace?.({
            at: host.clock.now(),
            traceId: socket,
            unit: 'signal.socket',
            machine: 'signalSocket',
            id: socket,
            event,
            from,
            to,
          }),
      })
    const links = { identified: link('identified'), unidentified: link('unidentified') }
    this.context = {
      ...host,
      clock: this.#clock,
      config,
      userId,
      accountId: accountIdOf(userId),
      trustRoots,
      dialer,
      links,
      health,
      certificates: new Certificates({
        config,
        clock: this.#clock,
        device: () => this.context.account?.deviceId,
        trustRoots,
        request: request => links.identified.request(request),
        found: available => health.degraded('CERTIFICATE', !available),
      }),
      sendTrace: sendTrace(this.#clock, host.trace),
      uploads: new Map(),
      closing: this.#closing.signal,
      account: undefined,
      nextTimestamp: () => 0,
      upkeep: () => this.#upkeep,
    }
    this.#sends = new Sends(this.context)
    this.#syncs = new Syncs(this.context)
    this.#inbox = new Inbox(this.context)
  }

  woken({ worker, key }: Wake): void {
    if (worker === 'signalSend') this.#sends.wake(key)
    else if (worker === 'signalSync' && key === this.context.accountId) this.#syncs.wake()
  }

  /** Connects, after linking or when the server had closed a socket for good. */
  connect(): void {
    if (this.#suspendedBy.size > 0 || this.context.account?.status !== 'linked') return
    this.context.links.identified.start()
    this.context.links.unidentified.start()
  }

  /** Ends both sockets and all sending; what waits is in rows. Agent and application suspend apart from each other. */
  suspend(by: 'agent' | 'application' = 'agent'): void {
    this.#suspendedBy.add(by)
    this.#sends.suspend(true)
    this.#syncs.suspend(true)
    this.context.links.identified.pause()
    this.context.links.unidentified.pause()
  }

  resume(by: 'agent' | 'application' = 'agent'): void {
    if (!this.#suspendedBy.delete(by) || this.#suspendedBy.size > 0) return
    this.connect()
    this.#sends.suspend(false)
    this.#syncs.suspend(false)
    this.resumeWork().catch((error: unknown) =>
      this.context.log.error({ code: asDuologueError(error).code }, 'what waits could not be looked up'),
    )
  }

  /** Starts the workers of everything that is stored. */
  async resumeWork(): Promise<void> {
    await this.#sends.resume()
    this.#syncs.wake()
  }

  /** A wait ends before its time: the server’s reason is gone. */
  waitOver(): void {
    this.#sends.waitOver()
    this.#syncs.waitOver()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#closing.abort()
    this.#sends.close()
    this.#syncs.close()
    this.context.links.identified.stop()
    this.context.links.unidentified.stop()
    await this.#inbox.close()
    await this.#upkeep
    await this.context.health.idle()
    this.#clock.close()
  }

  async #begin(): Promise<void> {
    const { context } = this
    const account = await refreshAccount(context)
    const [newest] = await context.store.find(signalMessages, {
      where: { userId: context.userId },
      orderBy: ['userId', 'timestamp'],
      descending: true,
      limit: 1,
    })
    let last = newest?.timestamp ?? 0
    context.nextTimestamp = () => (last = Math.max(this.#clock.now(), last + 1))
    if (account?.status !== 'linked') return
    context.health.linked(true)
    this.connect()
    await this.resumeWork()
  }

  async #dial(dialer: SignalDialer, socket: 'identified' | 'unidentified', signal: AbortSignal) {
    const { account } = this.context
    if (socket === 'unidentified') return dialer.dial({ socket, path: '/v1/websocket/' }, signal)
    if (account === undefined || account.deviceId === null)
      throw signalTransportError('SIGNAL_REFUSED', 'no account is linked')
    return dialer.dial({ socket, path: '/v1/websocket/', authorization: authorizationOf(account) }, signal)
  }

  #entered(socket: 'identified' | 'unidentified', state: string, error: DuologueError | undefined): void {
    if (this.#closed) return
    const { health, log, links } = this.context
    const before = health.report.sockets[socket]
    if (!(state === 'open.probing')) health.socket(socket, state)
    if (state === 'backingOff') log.debug({ socket, code: error?.code }, 'a socket is down')
    if (state === 'open.quiet') this.#alive(socket, before)
    // Attributes that were refused are tried again with each connection, as they may be right for a new server.
    if (socket === 'identified' && state === 'connecting' && this.#keysDone && !this.#attributesTaken)
      this.#upkeepDueAt = 0
    if (socket === 'identified' && (state === 'closed.refused' || state === 'closed.invalidated')) {
      // Nothing is sent in the name of a device that is none any more.
      links.unidentified.pause()
      void noteLoggedOut(this.context).catch(cause => log.error({ code: asDuologueError(cause).code }, 'logged out'))
    }
  }

  // After each probe that was answered upkeep looks whether it is due; what waits goes on when the socket has come back.
  #alive(socket: 'identified' | 'unidentified', before: string): void {
    if (!before.startsWith('open')) this.waitOver()
    if (socket === 'identified' && this.context.account?.status === 'linked') this.#upkeepWhenDue()
  }

  // What the server refuses is not asked for again at every probe.
  #upkeepWhenDue(): void {
    const { clock, config, links } = this.context
    if (this.#upkeepRuns || clock.elapsed() < this.#upkeepDueAt) return
    this.#upkeepRuns = true
    this.#upkeep = this.#doUpkeep()
      .catch((error: unknown): 'refused' => {
        this.context.log.warn({ code: asDuologueError(error).code }, 'upkeep failed')
        return 'refused'
      })
      .then(outcome => {
        this.#upkeepRuns = false
        this.#refusals = outcome === 'refused' ? this.#refusals + 1 : 0
        const backoff = Math.min(upkeepRetryMs * 2 ** this.#refusals, config.preKeysCheckMs)
        const waitMs = outcome === 'done' ? config.preKeysCheckMs : outcome === 'refused' ? backoff : 0
        this.#upkeepDueAt = clock.elapsed() + waitMs
        if (this.#upkeepTimer !== undefined) clock.clearTimeout(this.#upkeepTimer)
        this.#upkeepTimer = clock.setTimeout(
          () => {
            if (links.identified.isOpen) this.#upkeepWhenDue()
          },
          Math.max(waitMs, upkeepRetryMs),
        )
      })
  }

  async #doUpkeep(): Promise<'done' | 'unreached' | 'refused'> {
    if (this.#closed || !this.context.links.identified.isOpen) return 'unreached'
    const attributes = this.#attributesTaken ? 'done' : await uploadAttributes(this.context)
    this.#attributesTaken = attributes === 'done'
    const keys = await upkeepPreKeys(this.context)
    this.#keysDone = keys === 'done'
    await cleanUp(this.context)
    return keys === 'done' ? attributes : keys
  }
}

/** Until what the server has refused is tried again, at first, in ms. */
const upkeepRetryMs = 30_000
