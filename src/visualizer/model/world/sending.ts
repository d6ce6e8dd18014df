/** Queues that a party sends to, and what the answer to each message means for it. */
import type { AnyEventObject } from 'xstate'
import type { Actors, Protocol } from './actors.js'
import type { Content } from './router.js'
import type { ActorView } from './types.js'
import type { ModelWorker } from './worker.js'

export interface SndQueue extends Protocol {
  readonly id: string
  readonly securable: boolean
  readonly key: string
  secured: boolean
  readonly waiting: Content[]
  readonly worker: ModelWorker
}

/** What else hears of messages that were sent or refused. */
export interface SendingListener {
  confirmationSent(secured: boolean): void
  confirmationRefused(): void
  helloSent(): void
  helloRefused(): void
  /** QKEY, and QTEST, is at the router. */
  switchConfirmed(): void
  switchCompleted(): void
}

export class Sending {
  readonly #actors: Actors
  readonly #listener: SendingListener
  #queues: SndQueue[] = []

  constructor(actors: Actors, listener: SendingListener) {
    this.#actors = actors
    this.#listener = listener
  }

  /** The queue that messages go to. */
  get primary(): SndQueue | undefined {
    return this.#queues[0]
  }

  find(id: string): SndQueue | undefined {
    return this.#queues.find(queue => queue.id === id)
  }

  get views(): ActorView[] {
    return this.#queues.flatMap(queue => [
      this.#actors.view(queue),
      this.#actors.workerView('sndQueueDelivery', queue.actor, queue.worker),
    ])
  }

  /** A queue that the other party has named. */
  add(id: string, key = `key of ${this.#actors.side}`): SndQueue {
    const known = this.find(id)
    if (known !== undefined) return known
    const queue: SndQueue = {
      ...this.#actors.protocol('sndQueue', id),
      id,
      securable: this.#actors.world.securable,
      key,
      secured: false,
      waiting: [],
      worker: this.#actors.worker('sndQueueDelivery', id, { deliverNext: done => this.#deliverNext(queue, done) }),
    }
    this.#queues.push(queue)
    queue.worker.start()
    return queue
  }

  /** The router takes only this side’s signed messages from now on. */
  secured(queue: SndQueue): void {
    queue.secured = true
    this.#actors.decide(queue, { type: 'queue.secured' })
  }

  /** Takes a queue away; with it goes whatever waits there. */
  remove(queue: SndQueue): void {
    this.#queues = this.#queues.filter(one => one !== queue)
    queue.waiting.splice(0)
  }

  enqueue(messageType: string, text: string, more: Partial<Content> = {}, queue = this.primary): void {
    if (queue === undefined) return
    queue.waiting.push({ hash: this.#actors.world.nextHash(), messageType, text, ...more })
    queue.worker.send({ type: 'delivery.added' })
  }

  /** What waits on one queue waits on another one too, in its order. */
  drain(from: SndQueue, to: SndQueue): void {
    for (const content of from.waiting) to.waiting.push(content)
    to.worker.send({ type: 'delivery.added' })
  }

  /** The other party’s queues take messages again. */
  continueAll(): void {
    for (const { worker } of this.#queues) worker.send({ type: 'queue.continued' })
  }

  #deliverNext(queue: SndQueue, done: (outcome: string) => void): void {
    const [head] = queue.waiting
    if (head === undefined) return done('empty')
    const { messageType, text } = head
    const { world, side } = this.#actors
    // A confirmation goes to a queue that its recipient has not secured yet.
    const isSigned = queue.secured || !messageType.startsWith('CONN_INFO')
    world.request(
      side,
      { word: 'SEND', queue: queue.id, key: isSigned ? queue.key : undefined, content: head },
      messageType === 'A_MSG' ? text : messageType,
      ({ word }) => {
        if (word === 'OK')
          done(this.#settle(queue, head, { type: 'message.sent', messageType, securable: queue.securable }))
        else if (word === 'ERR QUOTA') {
          done(this.#settle(queue, head, { type: 'message.overQuota', messageType, expired: false }))
        } else done(this.#settle(queue, head, { type: 'message.unauthorized', messageType }))
      },
      () => done(this.#settle(queue, head, { type: 'message.unreached', messageType, host: false, expired: false })),
    )
  }

  #settle(queue: SndQueue, head: Content, event: AnyEventObject): string {
    const { messageType, text } = head
    const actors = this.#actors
    const isOfUser = messageType === 'A_MSG'
    let outcome = 'sent'
    const gone = (next: string) => () => {
      if (queue.waiting[0] === head) queue.waiting.shift()
      outcome = next
    }
    const retry = (next: string) => () => {
      outcome = next
    }
    actors.decide(queue, event, {
      dropMessage: gone('dropped'),
      keepForReceipt: gone('sent'),
      // The agent’s own messages are not told of.
      notifySent: () => isOfUser && actors.told('SENT', text),
      notifyFailed: () => actors.told(isOfUser ? 'MERR' : 'ERR', text),
      warn: () => actors.told('MWARN', text),
      retryFast: retry('retryFast'),
      retrySlow: retry('retrySlow'),
      confirmSent: () => this.#listener.confirmationSent(queue.securable),
      refuseConfirmation: () => this.#listener.confirmationRefused(),
      helloSent: () => this.#listener.helloSent(),
      refuseHello: () => this.#listener.helloRefused(),
      confirmSwitch: () => this.#listener.switchConfirmed(),
      completeSwitch: () => this.#listener.switchCompleted(),
      queueError: () => actors.told('ERR', `${messageType} was refused`),
      notifyNotAvailable: () => actors.told('ERR', 'CONN NOT_AVAILABLE'),
    })
    if (event.type === 'message.sent' && queue.waiting[0] === head) {
      // The row would stay for ever: the reader must see it, and the scenario goes on.
      actors.world.noted(actors.side, `no intent says what becomes of ${messageType}, which was sent`)
      queue.waiting.shift()
    }
    return outcome
  }
}
