/** Queues that a party receives from, their subscriptions, and what an arriving message is. */
import type { AnyEventObject } from 'xstate'
import type { Actors, Protocol } from './actors.js'
import type { Content, QueuedMessage } from './router.js'
import type { ActorView } from './types.js'

export interface RcvQueue extends Protocol {
  readonly id: string
  readonly subscription: Protocol
  /** What the machine’s guards read. */
  readonly row: { secret: boolean; readonly securable: boolean }
  /** Of a contact address: no connection receives on it. */
  readonly isAddress: boolean
  /** What the application has been told and not acknowledged. */
  readonly unread: Array<{ readonly message: QueuedMessage; readonly hash: number }>
}

/** What becomes of messages. */
export interface ReceivingListener {
  confirmation(queue: RcvQueue, content: Content): void
  invitation(content: Content): void
  ratchetKey(content: Content): void
  /** A message of the user: answers whether the application was told of it. */
  userMessage(content: Content): boolean
  /** A message of the other agent, which is acknowledged already. */
  agentMessage(queue: RcvQueue, content: Content): void
  /** Any message that decrypts, after it was processed. */
  processed(queue: RcvQueue, content: Content): void
  /** The queue was full and is empty now. */
  drained(): void
}

const resubscribeMs = 2_000

export class Receiving {
  readonly #actors: Actors
  readonly #listener: ReceivingListener
  #queues: RcvQueue[] = []
  /** Messages by hash, and whether they may be acknowledged to the router. */
  readonly #known = new Map<number, { acknowledged: boolean }>()
  #reading = true

  constructor(actors: Actors, listener: ReceivingListener) {
    this.#actors = actors
    this.#listener = listener
  }

  get primary(): RcvQueue | undefined {
    return this.#queues.find(({ isAddress }) => !isAddress)
  }

  get views(): ActorView[] {
    return this.#queues.flatMap(queue => [this.#actors.view(queue), this.#actors.view(queue.subscription)])
  }

  /** Makes a queue at the router, with its subscription. */
  create(made: (queue: RcvQueue) => void, failed: () => void, isAddress = false): void {
    const { world, side } = this.#actors
    world.request(
      side,
      { word: 'NEW', side },
      'a queue to receive from',
      ({ queue: id }) => {
        if (id === undefined) failed()
        else made(this.#add(id, isAddress))
      },
      failed,
    )
  }

  /** The secret with the sender is known. */
  confirmed(queue: RcvQueue): void {
    queue.row.secret = true
    this.#actors.decide(queue, { type: 'queue.confirmed' })
  }

  /** KEY: the router knows the sender’s key. */
  secure(queue: RcvQueue, key: string, ended: (result: 'secured' | 'refused' | 'noAnswer') => void): void {
    const { world, side } = this.#actors
    world.request(
      side,
      { word: 'KEY', queue: queue.id, key },
      queue.id,
      ({ word }) => {
        if (word === 'OK') this.#actors.decide(queue, { type: 'queue.secured' })
        ended(word === 'OK' ? 'secured' : 'refused')
      },
      () => ended('noAnswer'),
    )
  }

  remove(queue: RcvQueue): void {
    this.#queues = this.#queues.filter(one => one !== queue)
  }

  /** Whether the application acknowledges what it is told. */
  reading(on: boolean): void {
    this.#reading = on
    if (on) while (this.#queues.some(({ unread }) => unread.length > 0)) this.acknowledge()
  }

  /** The application acknowledges the oldest message. */
  acknowledge(): void {
    const queue = this.#queues.find(({ unread }) => unread.length > 0)
    const read = queue?.unread.shift()
    if (queue === undefined || read === undefined) return
    this.#known.set(read.hash, { acknowledged: true })
    this.#ack(queue, read.message)
  }

  /** A message of the router. */
  arrived(queueId: string, message: QueuedMessage): void {
    const queue = this.#queues.find(({ id }) => id === queueId)
    if (queue === undefined) return
    const { content } = message
    if (content === undefined) {
      this.#ack(queue, message)
      this.#listener.drained()
      return
    }
    const known = this.#known.get(content.hash)
    const envelope = envelopeOf(content)
    if (known !== undefined && envelope !== 'confirmation') {
      // Seen before: acknowledged again only if the application has acknowledged it (B34).
      if (known.acknowledged) this.#ack(queue, message)
      return
    }
    this.#known.set(content.hash, { acknowledged: envelope !== 'message' })
    const acknowledged = (then: () => void) => () => {
      then()
      this.#ack(queue, message)
    }
    this.#actors.decide(
      queue,
      { type: 'message.arrived', key: isWithKey(envelope), senderKey: isKeyInside(content), envelope },
      {
        acknowledge: acknowledged(() => {}),
        processConfirmation: acknowledged(() => this.#listener.confirmation(queue, content)),
        processInvitation: acknowledged(() => this.#listener.invitation(content)),
        processRatchetKey: acknowledged(() => this.#listener.ratchetKey(content)),
        processMessage: () => this.#message(queue, message, content),
        prohibited: acknowledged(() => this.#actors.told('ERR', 'refused')),
      },
    )
  }

  /** The session to the router was lost: it comes back, and the queues are subscribed again. */
  sessionLost(): void {
    for (const { subscription } of this.#queues) {
      this.#actors.decide(subscription, { type: 'session.closed' }, { notifyDown: () => this.#actors.told('DOWN') })
    }
    this.#actors.world.setTimer(() => {
      for (const queue of this.#queues) this.#subscribe(queue)
    }, resubscribeMs)
  }

  #add(id: string, isAddress: boolean): RcvQueue {
    const row = { secret: false, securable: this.#actors.world.securable }
    const queue: RcvQueue = {
      ...this.#actors.protocol('rcvQueue', id, () => row),
      id,
      subscription: this.#actors.protocol('subscription', id),
      row,
      isAddress,
      unread: [],
    }
    this.#queues.push(queue)
    // A queue is made with its subscription.
    this.#actors.decide(queue.subscription, { type: 'subscription.requested' })
    this.#actors.decide(queue.subscription, { type: 'subscription.confirmed', current: true })
    return queue
  }

  #message(queue: RcvQueue, message: QueuedMessage, content: Content): void {
    const { messageType, hash } = content
    if (messageType === 'A_MSG') {
      if (this.#listener.userMessage(content)) queue.unread.push({ message, hash })
      if (this.#reading) this.acknowledge()
    } else {
      // The agent’s own messages are acknowledged at once (B31).
      this.#known.set(hash, { acknowledged: true })
      this.#ack(queue, message)
      this.#listener.agentMessage(queue, content)
    }
    this.#listener.processed(queue, content)
  }

  #ack(queue: RcvQueue, { id }: QueuedMessage): void {
    const { world, side } = this.#actors
    world.request(
      side,
      { word: 'ACK', queue: queue.id, message: id },
      queue.id,
      () => {},
      // No answer means that the session is gone: the router delivers again after the next SUB.
      () => this.sessionLost(),
    )
  }

  #subscribe(queue: RcvQueue): void {
    const { subscription, id } = queue
    const { world, side } = this.#actors
    const ended = (event: AnyEventObject): void =>
      this.#actors.decide(subscription, event, { notifyUp: () => this.#actors.told('UP') })
    const failed = (temporary: boolean): AnyEventObject => ({ type: 'subscription.failed', current: true, temporary })
    const sendSub = (): void =>
      world.request(
        side,
        { word: 'SUB', queue: id },
        id,
        ({ word }) => ended(word === 'OK' ? { type: 'subscription.confirmed', current: true } : failed(false)),
        () => {
          ended(failed(true))
          world.setTimer(() => this.#subscribe(queue), resubscribeMs)
        },
      )
    this.#actors.decide(subscription, { type: 'subscription.requested' }, { sendSub })
  }
}

// In the legacy handshake a confirmation tells the key that its recipient must make known to the router.
const isKeyInside = ({ messageType, key }: Content): boolean => messageType.startsWith('CONN_INFO') && key !== undefined

type Envelope = 'confirmation' | 'invitation' | 'ratchetKey' | 'message'

// Before a secret is agreed, the key for it travels in the clear.
const isWithKey = (envelope: Envelope): boolean => envelope === 'confirmation' || envelope === 'invitation'

const envelopeOf = ({ messageType }: Content): Envelope => {
  if (messageType.startsWith('CONN_INFO')) return 'confirmation'
  if (messageType === 'INVITATION') return 'invitation'
  return messageType === 'RATCHET_INFO' ? 'ratchetKey' : 'message'
}
