/** Ratchet synchronisation of one party. Keys are their hashes here: all that the machine asks of them is their order. */
import { type Actors, type Doings, type Protocol, stateOf } from './actors.js'
import type { Content } from './router.js'
import type { Sending } from './sending.js'
import type { ActorView } from './types.js'

const machineName = 'ratchetSync'

export class Synchronisation {
  readonly #actors: Actors
  readonly #sending: Sending
  readonly #machine: Protocol
  /** Keys that were made so far: each has another hash. */
  #keys = 0
  #ownHash = ''
  #saysReady = false

  constructor(actors: Actors, sending: Sending) {
    this.#actors = actors
    this.#sending = sending
    this.#machine = actors.protocol(machineName, 'ratchet')
  }

  get views(): ActorView[] {
    // It is worth its place only once something has happened to it.
    return this.#machine.simulation.steps.length === 0 ? [] : [this.#actors.view(this.#machine)]
  }

  get state(): string {
    return stateOf(this.#machine)
  }

  start(force: boolean): void {
    this.#decide({ type: 'sync.start', force })
  }

  /** The key of the other party. */
  keyReceived({ text: theirs }: Content): void {
    // A party that has not started makes its key now, before the order of both is known.
    if (this.state !== 'started') this.#ownHash = this.#newHash()
    this.#decide({ type: 'key.received', role: this.#ownHash <= theirs ? 'receiving' : 'sending' })
  }

  /** A message decrypts. */
  decrypted(): void {
    if (this.state === 'ok') return
    this.#decide({ type: 'message.decrypted' })
    // The receiving party says so with its first message (B83).
    if (this.#saysReady) this.#sending.enqueue('EREADY', 'ready')
    this.#saysReady = false
  }

  #newHash(): string {
    this.#keys++
    return `${this.#actors.side === 'alice' ? '3a' : '7b'}${this.#keys}…`
  }

  #decide(event: { readonly type: string; readonly [field: string]: unknown }): void {
    this.#actors.decide(this.#machine, event, this.#doings())
  }

  #doings(): Doings {
    const sendKey = (): void => this.#sending.enqueue('RATCHET_INFO', this.#ownHash)
    const tell = (): void => this.#actors.told('RSYNC', this.state)
    return {
      sendKey: () => {
        this.#ownHash = this.#newHash()
        sendKey()
      },
      replyKey: sendKey,
      createReceivingRatchet: () => {
        this.#saysReady = true
      },
      sendEREADY: () => this.#sending.enqueue('EREADY', 'ready'),
      notifySync: tell,
      notifySyncError: tell,
      refuse: ({ reason }) => this.#actors.told('ERR', String(reason)),
    }
  }
}
