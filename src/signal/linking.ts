import { createActor, fromPromise, waitFor } from 'xstate'
import { type SignalLinkingEvent, signalLinkingMachine } from '../../machines/signalLinking.js'
import { asDuologueError, CallError, type DuologueError } from '../errors.js'
import type { TimerHandle } from '../runtime/clock.js'
import { stateName } from '../runtime/decide.js'
import { refreshAccount } from './account.js'
import type { AccountRow, SignalContext } from './context.js'
import { type ProvisioningKey, provisioningKey } from './crypto/provisioning.js'
import { forgetAccount, type LinkKeys, registerDevice, storeAccount } from './linkAccount.js'
import { type FrameChannel, signalTransportError } from './net/port.js'
import { type ServerRequest, SignalSession } from './net/session.js'
import { type Provision, readProvision } from './provision.js'
import { decode } from './wire/codec.js'
import { provisioningAddress } from './wire/messages.js'

export interface LinkOptions {
  readonly deviceName: string
  /** Told of the link that the primary device must scan, as text for a QR code. */
  readonly onLink: (link: string) => void
  readonly signal?: AbortSignal | undefined
}

/** How long a link can be scanned, in ms. */
const scanMs = 10 * 60_000

/**
 * Links this user as a new device of a Signal account (S01). Resolves when the device is linked. Throws CallError
 * `SIGNAL_LINKED_ALREADY`, `SIGNAL_OTHER_ACCOUNT`, `SIGNAL_LINK_FAILED` with the reason, TransportError.
 */
export const linkDevice = async (context: SignalContext, options: LinkOptions): Promise<AccountRow> => {
  if (context.account?.status === 'linked')
    throw new CallError('SIGNAL_LINKED_ALREADY', 'this user has a linked Signal account', {
      field: 'userId',
      hint: 'it can be used as it is; another account needs another user or database',
    })
  return new Linking(context, options).run()
}

class Linking {
  readonly #context: SignalContext
  readonly #options: LinkOptions
  readonly #key: ProvisioningKey = provisioningKey()
  #session: SignalSession | undefined
  #keepalive: TimerHandle | undefined
  #address = ''
  #provision: Provision | undefined
  #keys: LinkKeys | undefined
  readonly #before: AccountRow | undefined
  #failure: DuologueError | undefined
  #forgetting: Promise<void> | undefined
  #ended = false

  constructor(context: SignalContext, options: LinkOptions) {
    this.#context = context
    this.#options = options
    this.#before = context.account
  }

  async run(): Promise<AccountRow> {
    const { clock, closing } = this.#context
    const { deviceName, signal = closing } = this.#options
    const broken = AbortSignal.any([signal, closing])
    const actor = createActor(
      this.#machine(event => actor.send(event)),
      { input: { deviceName } },
    )
    const cancel = (): void => actor.send({ type: 'linking.cancel' })
    const breakOff = (): void => {
      this.#failure ??= brokenOff()
      cancel()
    }
    const timer = clock.setTimeout(cancel, scanMs)
    broken.addEventListener('abort', breakOff, { once: true })
    this.#traceStates(actor)
    actor.start()
    if (broken.aborted) breakOff()
    try {
      const end = await waitFor(actor, ({ value }) => value === 'linked' || value === 'failed')
      await this.#forgetting
      const account = end.value === 'linked' ? await refreshAccount(this.#context) : undefined
      if (account === undefined) throw this.#failure ?? notScanned()
      return account
    } finally {
      actor.stop()
      clock.clearTimeout(timer)
      broken.removeEventListener('abort', breakOff)
      this.#ended = true
      this.#closeSocket()
    }
  }

  #traceStates(actor: ReturnType<typeof createActor<typeof signalLinkingMachine>>): void {
    const { trace, clock, accountId: id } = this.#context
    let from = ''
    actor.subscribe(({ value }) => {
      const to = stateName(value)
      if (to !== from)
        trace?.({ at: clock.now(), traceId: '', unit: 'signalLinking', machine: 'signalLinking', id, from, to })
      from = to
    })
  }

  #machine(send: (event: SignalLinkingEvent) => void) {
    const context = this.#context
    return signalLinkingMachine.provide({
      actors: {
        connect: fromPromise<void>(() => this.#attempt(() => this.#connect(send))),
        storeAccount: fromPromise<void, { deviceName: string }>(({ input }) =>
          this.#attempt(async () => {
            this.#keys = await storeAccount(context, this.#provision as Provision, input.deviceName)
          }),
        ),
        register: fromPromise<void>(() => this.#attempt(() => this.#register())),
        uploadKeys: fromPromise<void>(async () => {
          const { links, config } = context
          links.identified.start()
          links.unidentified.start()
          if (await links.identified.ensureAlive(config.probeQuietMs, config.connectTimeoutMs)) await context.upkeep()
        }),
      },
      actions: {
        showLink: () => this.#showLink(send),
        closeSocket: () => this.#closeSocket(),
        forgetAccount: () => {
          this.#forgetting = forgetAccount(context, this.#before)
        },
      },
    })
  }

  // What is thrown in an action would end the process.
  #showLink(send: (event: SignalLinkingEvent) => void): void {
    try {
      this.#options.onLink(this.#key.link(this.#address))
    } catch (cause) {
      this.#failure = new CallError('SIGNAL_LINK_FAILED', 'the link could not be shown', { field: 'onLink', cause })
      send({ type: 'provision.refused' })
    }
  }

  /** Notes why it failed, for whoever called. */
  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.#failure = asDuologueError(error)
      throw error
    }
  }

  async #connect(send: (event: SignalLinkingEvent) => void): Promise<void> {
    const channel = await this.#dial('provisioning', '/v1/websocket/provisioning/')
    if (this.#ended) return channel.destroy()
    const session = new SignalSession(channel, this.#context.clock, 'provisioning')
    this.#session = session
    session.onClose = () => {
      this.#failure ??= linkClosed()
      send({ type: 'socket.lost' })
    }
    // The state that takes it is entered in the next microtask at the latest.
    session.onRequest = request => setImmediate(() => this.#heard(request, send))
    this.#keepAlive(session)
  }

  // The server closes an idle socket long before somebody has found the phone.
  #keepAlive(session: SignalSession): void {
    const { clock, config } = this.#context
    this.#keepalive = clock.setTimeout(() => {
      session
        .request({ verb: 'GET', path: '/v1/keepalive/provisioning' }, config.probeDeadlineMs)
        .then(() => this.#keepAlive(session))
        .catch(() => session.destroy())
    }, config.keepaliveMs)
  }

  #heard(request: ServerRequest, send: (event: SignalLinkingEvent) => void): void {
    try {
      if (request.path === '/v1/address') {
        this.#address = decode(provisioningAddress, request.body).address ?? ''
        if (this.#address === '') throw signalTransportError('SIGNAL_ANSWER', 'the server has given no address')
        send({ type: 'address.received' })
      } else if (request.path === '/v1/message') {
        this.#provision ??= readProvision(this.#key, request.body)
        send({ type: 'provision.received' })
      }
      request.respond(200)
    } catch (error) {
      this.#failure = asDuologueError(error)
      request.respond(400)
      send({ type: 'provision.refused' })
    }
  }

  #closeSocket(): void {
    if (this.#keepalive !== undefined) this.#context.clock.clearTimeout(this.#keepalive)
    // What this ends itself, nobody has lost.
    if (this.#session !== undefined) this.#session.onClose = () => {}
    this.#session?.destroy()
  }

  async #dial(socket: 'provisioning' | 'unidentified', path: string): Promise<FrameChannel> {
    const { clock, config, dialer } = this.#context
    const deadline = new AbortController()
    const timer = clock.setTimeout(
      () => deadline.abort(signalTransportError('SIGNAL_TIMEOUT', 'no connection in time', { field: socket })),
      config.connectTimeoutMs,
    )
    try {
      return await dialer.dial({ socket, path }, deadline.signal)
    } finally {
      clock.clearTimeout(timer)
    }
  }

  async #register(): Promise<void> {
    const channel = await this.#dial('unidentified', '/v1/websocket/')
    const session = new SignalSession(channel, this.#context.clock, 'provisioning')
    try {
      await registerDevice(this.#context, session, this.#keys as LinkKeys, (this.#provision as Provision).code)
    } finally {
      session.destroy()
    }
  }
}

const notScanned = (): CallError =>
  new CallError('SIGNAL_LINK_FAILED', 'the device was not linked', {
    field: 'link',
    hint: 'ask for a new link and scan it within ten minutes',
  })

const brokenOff = (): CallError =>
  new CallError('SIGNAL_LINK_FAILED', 'the link was broken off', {
    field: 'link',
    hint: 'a new attempt needs a new link',
  })

const linkClosed = (): CallError =>
  new CallError('SIGNAL_LINK_FAILED', 'the server has closed the link before it was scanned', {
    field: 'link',
    hint: 'ask for a new link and scan it at once',
  })
