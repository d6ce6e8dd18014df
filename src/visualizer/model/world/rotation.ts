/** Queue rotation of one party, at both ends: as the one that receives from a queue, and as the one that sends to it. */
import { type Actors, type Doings, type Protocol, stateOf } from './actors.js'
import type { Commands, Ended } from './commands.js'
import type { RcvQueue, Receiving } from './receiving.js'
import type { Content } from './router.js'
import type { Sending, SndQueue } from './sending.js'
import type { ActorView } from './types.js'

interface Receiver {
  readonly machine: Protocol
  readonly old: RcvQueue
  made: RcvQueue | undefined
  /** The other party’s key for the new queue. */
  key: string | undefined
}

interface Sender {
  readonly machine: Protocol
  readonly old: SndQueue
  made: SndQueue | undefined
}

export class Rotation {
  readonly #actors: Actors
  readonly #commands: Commands
  readonly #receiving: Receiving
  readonly #sending: Sending
  #receiver: Receiver | undefined
  #sender: Sender | undefined

  constructor(actors: Actors, commands: Commands, receiving: Receiving, sending: Sending) {
    this.#actors = actors
    this.#commands = commands
    this.#receiving = receiving
    this.#sending = sending
  }

  get views(): ActorView[] {
    return [this.#receiver, this.#sender].flatMap(one => (one === undefined ? [] : [this.#actors.view(one.machine)]))
  }

  // The party that receives.

  start(): void {
    const old = this.#receiving.primary
    if (old === undefined) return
    this.#receiver = { machine: this.#actors.protocol('rcvQueueSwitch', old.id), old, made: undefined, key: undefined }
    this.#receive({ type: 'switch.start', synchronized: true })
  }

  abort(): void {
    this.#receive({ type: 'switch.abort', synchronized: true })
  }

  /** A message was processed: the first one on the new queue ends the old one. */
  processed(queue: RcvQueue): void {
    const receiver = this.#receiver
    if (queue !== receiver?.made || stateOf(receiver.machine) === 'completed') return
    this.#receive({ type: 'message.received' })
  }

  #receive(event: { readonly type: string; readonly [field: string]: unknown }): void {
    const receiver = this.#receiver
    if (receiver !== undefined) this.#actors.decide(receiver.machine, event, this.#receiverDoings(receiver))
  }

  #receiverDoings(receiver: Receiver): Doings {
    const offer = (): void => {
      const { made, old } = receiver
      if (made !== undefined) this.#sending.enqueue('QADD', 'use another queue', { queue: made.id, replaces: old.id })
    }
    return {
      createQueue: () => this.#commands.add(ended => this.#createQueue(receiver, ended)),
      sendQADD: offer,
      storeKey: () => this.#commands.add(ended => this.#secure(receiver, ended)),
      sendQUSE: () => this.#sending.enqueue('QUSE', 'use it now'),
      dropNewQueue: () => this.#delete(receiver.made, () => {}),
      commandDeleteOld: () => this.#delete(receiver.old, () => this.#receive({ type: 'queue.deleted' })),
      removeOld: () => this.#receiving.remove(receiver.old),
      ...this.#told(),
    }
  }

  #createQueue(receiver: Receiver, ended: Ended): void {
    this.#receiving.create(
      made => {
        receiver.made = made
        this.#receive({ type: 'queue.created' })
        ended('done')
      },
      () => ended('retry'),
    )
  }

  #secure({ made, key }: Receiver, ended: Ended): void {
    if (made === undefined || key === undefined) return ended('done')
    this.#receiving.secure(made, key, result => {
      if (result === 'noAnswer') return ended('retry')
      if (result === 'secured') this.#receiving.confirmed(made)
      this.#receive({ type: result === 'secured' ? 'queue.secured' : 'queue.lost' })
      ended('done')
    })
  }

  #delete(queue: RcvQueue | undefined, deleted: () => void): void {
    if (queue === undefined) return
    const { world, side } = this.#actors
    this.#commands.add(ended =>
      world.request(
        side,
        { word: 'DEL', queue: queue.id },
        queue.id,
        () => {
          this.#actors.decide(queue, { type: 'queue.deleted' })
          this.#receiving.remove(queue)
          deleted()
          ended('done')
        },
        () => ended('retry'),
      ),
    )
  }

  // The party that sends, and messages of the other one.

  /** A message of rotation; answers whether it was one. */
  received({ messageType, queue = '', key }: Content): boolean {
    switch (messageType) {
      case 'QADD':
        this.#offered(queue)
        return true
      case 'QKEY': {
        const known = key !== undefined && this.#receiver?.key === key
        if (this.#receiver !== undefined && !known) this.#receiver.key = key
        this.#receive({ type: 'key.received', known })
        return true
      }
      case 'QUSE':
        this.#send({ type: 'queue.used' })
        return true
      default:
        return messageType === 'QTEST'
    }
  }

  /** QKEY is at the router. */
  confirmed(): void {
    this.#send({ type: 'key.sent' })
  }

  /** QTEST is at the router. */
  tested(): void {
    this.#send({ type: 'test.sent' })
  }

  #offered(queue: string): void {
    const old = this.#sending.primary
    if (old === undefined) return
    this.#sender ??= { machine: this.#actors.protocol('sndQueueSwitch', old.id), old, made: undefined }
    const isKnown = this.#sender.made?.id === queue
    this.#send({ type: 'queue.offered', queue: isKnown ? 'known' : 'new' }, queue)
  }

  #send(event: { readonly type: string; readonly [field: string]: unknown }, offered = ''): void {
    const sender = this.#sender
    if (sender === undefined) return
    this.#actors.decide(sender.machine, event, {
      storeQueue: () => {
        if (sender.made !== undefined) this.#sending.remove(sender.made)
        sender.made = this.#sending.add(offered, `key of ${this.#actors.side} for ${offered}`)
      },
      sendQKEY: () => {
        const { made } = sender
        if (made !== undefined) this.#sending.enqueue('QKEY', 'own key for it', { queue: made.id, key: made.key })
      },
      drainToNew: () => {
        const { made, old } = sender
        if (made === undefined) return
        // The recipient has secured it with our key.
        this.#sending.secured(made)
        this.#sending.drain(old, made)
      },
      sendQTEST: () => this.#sending.enqueue('QTEST', 'the new queue works', {}, sender.made),
      removeOld: () => this.#sending.remove(sender.old),
      dropNewQueue: () => sender.made !== undefined && this.#sending.remove(sender.made),
      ...this.#told(),
    })
  }

  #told(): Doings {
    return {
      notifySwitch: ({ phase }) => this.#actors.told('SWITCH', String(phase)),
      notifyLost: () => this.#actors.told('ERR', 'the new queue is lost'),
      queueError: ({ reason }) => this.#actors.told('ERR', String(reason)),
      refuse: ({ reason }) => this.#actors.told('ERR', String(reason)),
    }
  }
}
