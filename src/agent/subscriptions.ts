import { subscriptionMachine, type SubscriptionEvent } from '../../machines/subscription.js'
import type { Bytes } from '../encoding/index.js'
import { asDuologueError, type DuologueError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { decide, type Decision } from '../runtime/decide.js'
import { isTemporaryError, type RouterEvent, type RouterSession } from '../smp/client.js'
import type { Response } from '../smp/protocol/responses.js'
import type { LiveActor } from './actors.js'
import type { AgentConfig } from './config.js'
import {
  late,
  refused,
  replaced,
  type SessionsListener,
  type SubscribeAnswer,
  type SubscribedQueue,
  subRequest,
  subscriptionEnded,
  unexpected,
} from './subscribedQueue.js'

/** The session that subscriptions go over. */
export interface SubscriptionLink {
  readonly session: RouterSession | undefined
  /** Connects if there is no session; answers the failure of an attempt that has just been made. */
  need(): DuologueError | undefined
  giveUp(session: RouterSession): void
}

export interface SubscriptionsOptions {
  readonly config: AgentConfig
  readonly clock: Clock
  readonly userId: number
  readonly router: string
  readonly link: () => SubscriptionLink
  readonly listener: SessionsListener
  /** A result came too late to count. */
  readonly countIgnored: () => void
}

interface Subscription {
  readonly queue: SubscribedQueue
  /** State of the subscription machine. */
  state: string
  /** What calls of subscribe wait for, together. */
  waiting:
    | { readonly promise: Promise<SubscribeAnswer>; readonly resolve: (answer: SubscribeAnswer) => void }
    | undefined
}

/**
 * The subscriptions of receive queues over one transport session, which is replaced when it is lost. Each queue is subscribed once in
 * each session, in batches, one batch at a time.
 */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #byQueue = new Map<string, Subscription>()
  readonly #byRcvId = new Map<string, Subscription>()
  /** Pending ones for which SUB is not on its way. */
  readonly #toSend = new Set<Subscription>()
  /** Active queues of connections: UP and DOWN are told of connections, which may have several queues. */
  readonly #active = new Map<string, number>()
  #subscribed = 0
  /** The session in which batches are being sent. */
  #sendingIn: number | undefined

  constructor(options: SubscriptionsOptions) {
    this.#options = options
  }

  /** Queues that are pending or active: they need a session. */
  get subscribed(): number {
    return this.#subscribed
  }

  /** The subscriptions that are not removed. */
  *actors(): Iterable<LiveActor> {
    for (const { queue, state } of this.#byQueue.values()) {
      yield { machine: 'subscription', id: queue.queueId, connectionId: queue.connectionId, state }
    }
  }

  /** State of a queue’s subscription: `removed`, `pending`, `active`, `getting`. */
  stateOf(queueId: string): string {
    return this.#byQueue.get(queueId)?.state ?? 'removed'
  }

  /** Queues become pending; each answers for itself when its SUB is answered. The caller calls `send` then. */
  request(queue: SubscribedQueue): Promise<SubscribeAnswer> {
    const subscription = this.#subscriptionOf(queue)
    const before = subscription.state
    if (before === 'active') return Promise.resolve(undefined)
    const { intents } = this.#decide(subscription, { type: 'subscription.requested' })
    const prohibited = intents.find(({ type }) => type === 'prohibited')
    if (prohibited !== undefined) return Promise.resolve(refused(queue, prohibited.params))
    if (before === 'removed') this.#toSend.add(subscription)
    return waitingOf(subscription)
  }

  /** Sends SUB for what is pending, or sees to a session in which it will be sent. */
  send(): void {
    if (this.#toSend.size === 0) return
    const link = this.#options.link()
    if (link.session !== undefined) {
      void this.opened(link.session)
      return
    }
    const failure = link.need()
    if (failure !== undefined) this.failed(failure)
  }

  /**
   * Sends SUB for every pending queue in a session, in batches, one after the other; UP is told once per batch (B60). What becomes
   * pending meanwhile goes with the next batch.
   */
  async opened(session: RouterSession): Promise<void> {
    if (this.#sendingIn === session.id) return
    this.#sendingIn = session.id
    const { subscribeBatch, backgroundCommandMs } = this.#options.config
    while (this.#isCurrent(session)) {
      const batch = take(this.#toSend, subscribeBatch)
      if (batch.length === 0) break
      const requests = batch.map(({ queue }) => subRequest(queue))
      this.#answered(session, batch, await session.sendMany(requests, { timeoutMs: backgroundCommandMs }))
    }
    if (this.#sendingIn === session.id) this.#sendingIn = undefined
  }

  /** Notes a queue that was made with a subscription in this session: it is active at once, without an UP. */
  created(queue: SubscribedQueue, session: RouterSession): void {
    const subscription = this.#subscriptionOf(queue)
    this.#decide(subscription, { type: 'subscription.requested' })
    const current = this.#isCurrent(session)
    this.#decide(subscription, { type: 'subscription.confirmed', current })
    if (subscription.state !== 'pending') return
    // The session was lost in between: the next one subscribes the queue.
    this.#toSend.add(subscription)
    this.send()
  }

  /** Notes that a message is asked for. Throws CallError `CMD_PROHIBITED` for a queue that is subscribed (B69). */
  get(queue: SubscribedQueue): void {
    const subscription = this.#subscriptionOf(queue)
    const { intents } = this.#decide(subscription, { type: 'message.get' })
    const prohibited = intents.find(({ type }) => type === 'prohibited')
    if (prohibited !== undefined) throw refused(queue, prohibited.params)
  }

  /** Forgets a queue that is deleted or given up. */
  remove(queueId: string): void {
    const subscription = this.#byQueue.get(queueId)
    if (subscription === undefined) return
    this.#decide(subscription, { type: 'queue.deleted' })
    // An answer to its SUB may still be on its way.
    this.#drop(subscription, undefined)
  }

  /** The session is lost: what was active is told of as down, who waits is told, and everything waits for the next one. */
  lost(): void {
    const { listener, userId, router } = this.#options
    const down = new Set<string>()
    for (const subscription of this.#byQueue.values()) {
      const { intents } = this.#decide(subscription, { type: 'session.closed' })
      if (intents.some(({ type }) => type === 'notifyDown')) down.add(subscription.queue.connectionId)
      if (subscription.state === 'pending') {
        this.#toSend.add(subscription)
        // The next session may be hours away, if the device is offline or the agent suspended.
        answer(subscription, replaced(router))
      } else this.#drop(subscription, undefined)
    }
    if (down.size > 0) listener.down(userId, router, [...down])
  }

  /** No session could be made: who waits is told; what is pending stays so. */
  failed(error: DuologueError): void {
    for (const subscription of this.#byQueue.values()) {
      answer(subscription, error)
      if (subscription.state === 'getting') this.#decide(subscription, { type: 'session.closed' })
      this.#dropRemoved(subscription)
    }
  }

  /** What a session tells without being asked, and answers that came after their deadline. */
  event(session: RouterSession, { entityId, response, answerTo }: RouterEvent): void {
    const subscription = this.#byRcvId.get(hex(entityId))
    if (subscription === undefined) return
    const { listener } = this.#options
    switch (response.type) {
      case 'MSG':
        if (answerTo?.type === 'SUB') this.#answered(session, [subscription], [late(response)])
        else this.#deliver(subscription, response)
        return
      case 'SOK':
      case 'OK':
        // The answer to SUB came after its deadline; it still tells that messages will come.
        if (answerTo?.type === 'SUB') this.#answered(session, [subscription], [late(response)])
        return
      case 'END': {
        const current = this.#isCurrent(session)
        const { intents } = this.#decide(subscription, { type: 'subscription.ended', current })
        if (intents.length > 0) listener.ended(subscription.queue)
        this.#dropRemoved(subscription)
        return
      }
      case 'DELD':
        this.#decide(subscription, { type: 'queue.deleted' })
        listener.deleted(subscription.queue)
        this.#dropRemoved(subscription)
        return
      // ENDS is about a service’s subscription, which this agent never makes.
    }
  }

  /** Ends here: everybody who waits is told. What was subscribed, for another session to take over once this one is lost. */
  close(error: DuologueError): SubscribedQueue[] {
    const queues: SubscribedQueue[] = []
    for (const subscription of this.#byQueue.values()) {
      queues.push(subscription.queue)
      answer(subscription, error)
    }
    this.#byQueue.clear()
    this.#byRcvId.clear()
    this.#toSend.clear()
    this.#active.clear()
    this.#subscribed = 0
    return queues
  }

  #answered(
    session: RouterSession,
    batch: readonly Subscription[],
    results: ReadonlyArray<PromiseSettledResult<Response>>,
  ): void {
    const current = this.#isCurrent(session)
    const { listener, userId, router } = this.#options
    const up = new Set<string>()
    const unanswered: Subscription[] = []
    batch.forEach((subscription, index) => {
      const result = results[index]
      if (result === undefined) return
      const error = result.status === 'rejected' ? asDuologueError(result.reason) : unexpected(result.value)
      if (error === undefined) {
        const { connectionId } = subscription.queue
        const isUp = this.#active.has(connectionId)
        const { intents } = this.#decide(subscription, { type: 'subscription.confirmed', current })
        if (!isUp && intents.some(({ type }) => type === 'notifyUp')) up.add(connectionId)
        answer(subscription, current ? undefined : replaced(router))
        // The connection is up whatever becomes of the message that answered SUB (B62).
        if (result.status === 'fulfilled') this.#deliver(subscription, result.value)
        return
      }
      const temporary = isTemporaryError(error)
      const { intents } = this.#decide(subscription, { type: 'subscription.failed', current, temporary })
      if (intents.some(({ type }) => type === 'notifyError')) listener.failed(subscription.queue, error)
      answer(subscription, error)
      this.#dropRemoved(subscription)
      if (temporary) unanswered.push(subscription)
    })
    if (up.size > 0) listener.up(userId, router, [...up])
    if (unanswered.length === 0 || !current) return
    // A router that has answered none of them, and that nothing else is heard of, will not answer in this session.
    if (unanswered.length === batch.length && this.#active.size === 0) this.#options.link().giveUp(session)
    else this.#sendLater(session, unanswered)
  }

  // SUBs that timed out in a session that lives on are sent again.
  #sendLater(session: RouterSession, unanswered: readonly Subscription[]): void {
    this.#options.clock.setTimeout(() => {
      if (!this.#isCurrent(session)) return
      for (const subscription of unanswered) {
        if (subscription.state === 'pending') this.#toSend.add(subscription)
      }
      void this.opened(session)
    }, this.#options.config.reconnect.initial)
  }

  #subscriptionOf(queue: SubscribedQueue): Subscription {
    const known = this.#byQueue.get(queue.queueId)
    if (known !== undefined && Buffer.compare(known.queue.rcvId, queue.rcvId) === 0) return known
    // The same row under another id: NEW was repeated, and the router’s first queue is an orphan.
    this.remove(queue.queueId)
    // The address is one text for all queues.
    const { router } = this.#options
    const subscription: Subscription = { queue: { ...queue, router }, state: 'removed', waiting: undefined }
    this.#byQueue.set(queue.queueId, subscription)
    this.#byRcvId.set(hex(queue.rcvId), subscription)
    return subscription
  }

  #isCurrent(session: RouterSession): boolean {
    return this.#options.link().session?.id === session.id
  }

  // Nobody waits for the router any more on account of this queue; subscribed again, it gets a new entry and its own SUB.
  #dropRemoved(subscription: Subscription): void {
    if (subscription.state === 'removed') this.#drop(subscription, subscriptionEnded(this.#options.router))
  }

  #drop(subscription: Subscription, reason: SubscribeAnswer): void {
    const { queueId, rcvId } = subscription.queue
    if (this.#byQueue.get(queueId) === subscription) this.#byQueue.delete(queueId)
    if (this.#byRcvId.get(hex(rcvId)) === subscription) this.#byRcvId.delete(hex(rcvId))
    this.#toSend.delete(subscription)
    answer(subscription, reason)
  }

  #deliver({ queue }: Subscription, response: Response): void {
    if (response.type !== 'MSG') return
    const { messageId, body } = response
    this.#options.listener.message({ queue, messageId, body })
  }

  #decide(subscription: Subscription, event: SubscriptionEvent): Decision {
    const decision = decide(subscriptionMachine, subscription.state, {}, event)
    subscription.state = decision.to
    if (decision.from !== decision.to) this.#count(subscription, decision)
    if (decision.intents.some(({ type }) => type === 'countIgnored')) this.#options.countIgnored()
    this.#options.listener.traced(subscription.queue, event.type, decision)
    return decision
  }

  #count(subscription: Subscription, { from, to }: Decision): void {
    const { connectionId } = subscription.queue
    this.#toSend.delete(subscription)
    this.#subscribed += Number(needsSession(to)) - Number(needsSession(from))
    const active = (this.#active.get(connectionId) ?? 0) + Number(to === 'active') - Number(from === 'active')
    if (active > 0) this.#active.set(connectionId, active)
    else this.#active.delete(connectionId)
  }
}

const needsSession = (state: string): boolean => state === 'pending' || state === 'active'

const waitingOf = (subscription: Subscription): Promise<SubscribeAnswer> => {
  if (subscription.waiting === undefined) {
    let resolve: (answer: SubscribeAnswer) => void = () => {}
    const promise = new Promise<SubscribeAnswer>(settle => {
      resolve = settle
    })
    subscription.waiting = { promise, resolve }
  }
  return subscription.waiting.promise
}

const answer = (subscription: Subscription, result: SubscribeAnswer): void => {
  subscription.waiting?.resolve(result)
  subscription.waiting = undefined
}

/** Takes the first elements out of a set. */
const take = <T>(set: Set<T>, count: number): T[] => {
  const taken: T[] = []
  for (const element of set) {
    if (taken.length === count) break
    taken.push(element)
  }
  for (const element of taken) set.delete(element)
  return taken
}

const hex = (bytes: Bytes): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
