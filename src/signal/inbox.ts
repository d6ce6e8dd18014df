import { LibSignalErrorBase, PublicKey } from '@signalapp/libsignal-client'
import { asDuologueError, CryptoError, DecodeError, StoreError } from '../errors.js'
import { signalIdentities } from '../store/signal/account.js'
import { type Arrival, readArrival } from './arrival.js'
import { askOwnDevice } from './askAgain.js'
import { peerOf, type SignalContext, signalEvent } from './context.js'
import { native } from './crypto/bytes.js'
import { serverReceipt } from './incoming.js'
import type { ServerRequest } from './net/session.js'
import { receive, type Received } from './receive.js'
import { readRecipients, resolveRecipient, setRecipient, withRecipient } from './recipients.js'
import { envelopeTypes } from './wire/messages.js'
import { isAci, pniOf } from './wire/serviceId.js'

/** Until a message that the store did not take is tried again, in ms. */
const storeRetryMs = 2_000

/**
 * What the server sends over the identified socket. Messages are begun in their order and acknowledged each when it is
 * stored, and not before (S11): what is lost on the way is delivered again, and known (S12).
 */
export class Inbox {
  readonly #context: SignalContext
  /** Requests whose seal is opened one after the other. */
  #opening: Promise<void> = Promise.resolve()
  /** Everything that is not stored and acknowledged yet. */
  readonly #unstored = new Set<Promise<void>>()
  /** Messages that are on their way to the store. */
  readonly #storing = new Set<Promise<void>>()
  readonly #waitingForRoom: Array<() => void> = []
  /** Ends the pauses of messages that the store did not take. */
  readonly #paused = new Set<() => void>()
  #closed = false

  constructor(context: SignalContext) {
    this.#context = context
    context.eventLog.onRoom(() => {
      for (const go of this.#waitingForRoom.splice(0)) go()
    })
  }

  accept(request: ServerRequest): void {
    if (this.#closed) return
    if (this.#unstored.size >= this.#context.config.maxUnstored) {
      // The server never has so many unacknowledged: it delivers them again.
      this.#context.links.identified.drop()
      return
    }
    let stored: () => void = () => {}
    const work = new Promise<void>(resolve => {
      stored = resolve
    }).finally(() => this.#unstored.delete(work))
    this.#unstored.add(work)
    this.#opening = this.#opening
      .then(() => this.#take(request, stored))
      .catch((error: unknown) => {
        this.#context.log.error({ code: asDuologueError(error).code }, 'a message could not be taken')
        stored()
      })
  }

  /** Takes no more messages and waits for those being stored. */
  async close(): Promise<void> {
    this.#closed = true
    for (const go of this.#waitingForRoom.splice(0)) go()
    for (const end of this.#paused) end()
    await Promise.all(this.#unstored)
  }

  // Resolves when the next message may be begun.
  async #take(request: ServerRequest, stored: () => void): Promise<void> {
    await this.#room()
    if (this.#closed) return stored()
    if (request.path === '/api/v1/queue/empty') return this.#caughtUp(request, stored)
    if (request.path !== '/api/v1/message') {
      request.respond(400)
      return stored()
    }
    const arrival = await this.#read(request)
    if (arrival === undefined) {
      request.respond(200)
      return stored()
    }
    const work = this.#store(arrival, request).finally(() => {
      this.#storing.delete(work)
      stored()
    })
    this.#storing.add(work)
    // The first message of somebody makes their recipient, which those behind it must find.
    if (!(await this.#isKnown(arrival))) await work
  }

  async #isKnown({ source }: Arrival): Promise<boolean> {
    const { store, userId, account } = this.#context
    if (source === account?.aci) return true
    const read = store.find.bind(store) as Parameters<typeof readRecipients>[0]
    return (await readRecipients(read, userId, isAci(source) ? { aci: source } : { pni: source })).length > 0
  }

  // What the store does not take now is tried again in its turn: nothing is acknowledged, and nobody is told that all is there.
  // One attempt is made although its session has ended: what it stores is known when it comes again, so that all comes to an end.
  async #store(arrival: Arrival, request: ServerRequest): Promise<void> {
    const { log } = this.#context
    do {
      try {
        if (arrival.type === envelopeTypes.serverReceipt) await this.#serverReceipt(arrival)
        else await this.#finish(arrival, await receive(this.#context, arrival))
        return request.respond(200)
      } catch (error) {
        log.error({ code: asDuologueError(error).code }, 'a message could not be stored')
        if (!(error instanceof StoreError)) return
        await this.#pause(storeRetryMs)
      }
    } while (!this.#closed && !request.ended)
  }

  async #pause(ms: number): Promise<void> {
    const { clock } = this.#context
    await new Promise<void>(resolve => {
      const timer = clock.setTimeout(() => this.#paused.delete(end) && resolve(), ms)
      const end = (): void => {
        clock.clearTimeout(timer)
        resolve()
      }
      this.#paused.add(end)
    })
  }

  // A message without a sender that can be believed is told and not asked for again.
  async #read(request: ServerRequest): Promise<Arrival | undefined> {
    try {
      return await readArrival(this.#context, request.body)
    } catch (error) {
      if (!(error instanceof LibSignalErrorBase || error instanceof CryptoError || error instanceof DecodeError))
        throw error
      const code = error instanceof LibSignalErrorBase ? error.name : error.code
      this.#context.log.warn({ code }, 'a message that cannot be opened was dropped')
      await this.#tell('DROPPED', { code })
      return undefined
    }
  }

  async #finish(arrival: Arrival, received: Received): Promise<void> {
    if (received.type === 'ownFailed') await askOwnDevice(this.#context, arrival, received.code)
    if (received.type === 'pniSigned') await this.#joinPni(arrival, received.pni, received.signature)
  }

  // The PNI’s key signs for the ACI’s: both are one person (S18).
  async #joinPni({ source }: Arrival, rawPni: Uint8Array, signature: Uint8Array): Promise<void> {
    const { store, log } = this.#context
    if (rawPni.length < 16 || !isAci(source)) return
    const pni = pniOf(rawPni)
    const keys = await store.find(signalIdentities, {
      where: { peer: { in: [peerOf(this.#context, pni), peerOf(this.#context, source)] } },
    })
    const pniKey = keys.find(row => row.peer === peerOf(this.#context, pni))
    const aciKey = keys.find(row => row.peer === peerOf(this.#context, source))
    if (pniKey === undefined || aciKey === undefined) return
    const signs = PublicKey.deserialize(native(pniKey.identityKey)).verifyAlternateIdentity(
      PublicKey.deserialize(native(aciKey.identityKey)),
      native(signature),
    )
    if (signs) await setRecipient(this.#context, { aci: source, pni })
    else log.warn({}, 'a PNI signature does not hold')
  }

  async #serverReceipt(arrival: Arrival): Promise<void> {
    const ids = isAci(arrival.source) ? { aci: arrival.source } : { pni: arrival.source }
    await withRecipient(this.#context, ids, (candidates, fresh) =>
      this.#context.runtime.run({
        name: 'signal.serverReceipt',
        internal: true,
        locks: candidates,
        load: read => readRecipients(read, this.#context.userId, ids),
        compute: (state, rows) => {
          const { recipient, changes, events } = resolveRecipient(this.#context, state, rows, ids, candidates, fresh)
          const told = serverReceipt(this.#context, recipient, arrival)
          return { result: undefined, changes, events: [...events, ...told.events] }
        },
      }),
    )
  }

  // The server says so when everything before it was acknowledged; here it is told when everything before it is stored.
  async #caughtUp(request: ServerRequest, stored: () => void): Promise<void> {
    const { health } = this.#context
    await Promise.all(this.#storing)
    if (!request.ended && !health.report.caughtUp) {
      health.caughtUp()
      await this.#tell('CAUGHT_UP', {})
    }
    request.respond(200)
    stored()
  }

  async #tell(type: string, payload: { readonly [name: string]: string }): Promise<void> {
    await this.#context.runtime.run({
      name: `signal.${type}`,
      internal: true,
      locks: [],
      compute: () => ({ result: undefined, events: [signalEvent(this.#context, '', type, payload)] }),
    })
  }

  // While the event log is full nothing is taken, so nothing is acknowledged and the server keeps what follows.
  async #room(): Promise<void> {
    while (this.#context.eventLog.isFull && !this.#closed)
      await new Promise<void>(resolve => this.#waitingForRoom.push(resolve))
  }
}
