import { subscriptionMachine, type SubscriptionEvent } from '../../machines/subscription.js'
import type { Bytes } from '../encoding/index.js'
import { asDuologueError, CallError, type DuologueError, RouterError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { decide, type Decision } from '../runtime/decide.js'
import type { RouterEvent, RouterRequest, RouterSession } from '../smp/client.js'
import { isTemporaryError } from '../smp/client.js'
import type { Response } from '../smp/protocol/responses.js'
import type { AgentConfig } from './config.js'
import { RouterLink } from './routerLink.js'

/** What a subscription needs to know of its receive queue. */
export interface SubscribedQueue {
  readonly queueId: string
  readonly connectionId: string
  readonly userId: number
  readonly router: string
  readonly rcvId: Bytes
  readonly rcvPrivateKey: Bytes
}

/** A message that a router has delivered. It stays the router's until it is acknowledged. */
export interface DeliveredMessage {
  readonly queue: SubscribedQueue
  readonly messageId: Bytes
  readonly body: Bytes
}

/** What the sessions tell the agent. None of them may block. */
export interface SessionsListener {
  message(message: DeliveredMessage): void
  up(userId: number, router: string, connectionIds: readonly string[]): void
  down(userId: number, router: string, connectionIds: readonly string[]): void
  ended(queue: SubscribedQueue): void
  deleted(queue: SubscribedQueue): void
  failed(queue: SubscribedQueue, error: DuologueError): void
  traced(queue: SubscribedQueue, event: string, decision: Decision): void
}

export interface SessionsOptions {
  readonly config: AgentConfig
  readonly clock: Clock
  readonly connect: (userId: number, router: string, signal: AbortSignal) => Promise<RouterSession>
  readonly listener: SessionsListener
}

interface Subscription {
  readonly queue: SubscribedQueue
  /** State of the subscription machine. */
  state: string
  /** The session in which SUB was sent last. */
  sentIn: number | undefined
  /** Who waits for the answer: calls of subscribe. */
  readonly waiting: Array<(error: DuologueError | undefined) => void>
}

interface Link {
  readonly userId: number
  readonly router: string
  readonly link: RouterLink
  readonly byQueue: Map<string, Subscription>
  readonly byRcvId: Map<string, Subscription>
}

/**
 * Transport sessions, one per (user, router), and the subscriptions of receive queues over them. A result counts only while
 * its queue is pending and its session is the current one (B61).
 */
export class Sessions {
  readonly #options: SessionsOptions
  readonly #links = new Map<string, Link>()
  /** Results that came too late to count. */
  ignored = 0
  #closed = false

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  /**
   * Sends a command to a router, connecting if need be. Rejects with RouterError for an error answer, TransportError when the
   * router cannot be reached or does not answer in time.
   */
  async request(
    userId: number,
    router: string,
    request: RouterRequest,
    urgency: 'interactive' | 'background' = 'background',
  ): Promise<{ readonly response: Response; readonly session: RouterSession }> {
    if (this.#closed) throw agentClosed(router)
    const { config } = this.#options
    const interactive = urgency === 'interactive'
    const { link } = this.#linkOf(userId, router)
    const session = await link.open(interactive ? config.interactiveConnectMs : config.backgroundConnectMs)
    const timeoutMs = interactive ? config.interactiveCommandMs : config.backgroundCommandMs
    return { response: await session.send(request, { timeoutMs }), session }
  }

  /** State of a queue's subscription: `removed`, `pending`, `active`. */
  stateOf(queue: { readonly userId: number; readonly router: string; readonly queueId: string }): string {
    return this.#links.get(linkKey(queue.userId, queue.router))?.byQueue.get(queue.queueId)?.state ?? 'removed'
  }

  /**
   * Subscribes queues; each answers for itself, with undefined or an error. A queue whose router cannot be reached answers with the
   * error and stays pending: it is subscribed when the session is back.
   */
  subscribe(queues: readonly SubscribedQueue[]): Array<Promise<DuologueError | undefined>> {
    if (this.#closed) return queues.map(async ({ router }) => agentClosed(router))
    const links = new Set<Link>()
    const results = queues.map(queue => {
      const link = this.#linkOf(queue.userId, queue.router)
      const subscription = this.#subscriptionOf(link, queue)
      if (subscription.state === 'active') return Promise.resolve(undefined)
      links.add(link)
      this.#decide(subscription, { type: 'subscription.requested' })
      return new Promise<DuologueError | undefined>(resolve => subscription.waiting.push(resolve))
    })
    for (const link of links) {
      if (link.link.session === undefined) link.link.need()
      else void this.#sendSubs(link, link.link.session)
    }
    return results
  }

  /** Notes a queue that was made with a subscription in this session: it is active at once, without an UP. */
  created(queue: SubscribedQueue, session: RouterSession): void {
    if (this.#closed) return
    const link = this.#linkOf(queue.userId, queue.router)
    const subscription = this.#subscriptionOf(link, queue)
    subscription.sentIn = session.id
    this.#decide(subscription, { type: 'subscription.requested' })
    const current = this.#isCurrent(link, session)
    this.#decide(subscription, { type: 'subscription.confirmed', current })
    // The session was lost in between: the next one subscribes the queue.
    if (!current) link.link.need()
  }

  /** Forgets a queue that is deleted or given up. */
  remove(queue: { readonly userId: number; readonly router: string; readonly queueId: string }): void {
    const link = this.#links.get(linkKey(queue.userId, queue.router))
    const subscription = link?.byQueue.get(queue.queueId)
    if (link === undefined || subscription === undefined) return
    link.byQueue.delete(queue.queueId)
    link.byRcvId.delete(hex(subscription.queue.rcvId))
    // An answer to its SUB may still be on its way.
    this.#decide(subscription, { type: 'queue.deleted' })
    this.#answer(subscription, undefined)
  }

  /** Ends the sessions of a user that receives no more. */
  removeUser(userId: number): void {
    for (const [key, link] of this.#links) {
      if (link.userId !== userId) continue
      for (const { queue } of link.byQueue.values()) this.remove(queue)
      link.link.close()
      this.#links.delete(key)
    }
  }

  /** Ends every session and answers whoever waits for one. */
  close(): void {
    this.#closed = true
    for (const link of this.#links.values()) {
      link.link.close()
      this.#answerAll(link, agentClosed(link.router))
      link.byQueue.clear()
    }
    this.#links.clear()
  }

  #linkOf(userId: number, router: string): Link {
    const key = linkKey(userId, router)
    const known = this.#links.get(key)
    if (known !== undefined) return known
    const byQueue = new Map<string, Subscription>()
    const link: Link = {
      userId,
      router,
      byQueue,
      byRcvId: new Map(),
      link: new RouterLink({
        router,
        clock: this.#options.clock,
        reconnect: this.#options.config.reconnect,
        failedConnectMs: this.#options.config.failedConnectMs,
        connect: signal => this.#options.connect(userId, router, signal),
        hasSubscriptions: () => byQueue.size > 0,
        opened: session => this.#sendSubs(link, session),
        lost: () => this.#lost(link),
        failed: error => this.#answerAll(link, error),
        event: (session, event) => this.#event(link, session, event),
      }),
    }
    this.#links.set(key, link)
    return link
  }

  #subscriptionOf(link: Link, queue: SubscribedQueue): Subscription {
    const known = link.byQueue.get(queue.queueId)
    if (known !== undefined && Buffer.compare(known.queue.rcvId, queue.rcvId) === 0) return known
    // The same row under another id: NEW was repeated, and the router’s first queue is an orphan.
    if (known !== undefined) this.remove(known.queue)
    const subscription: Subscription = { queue, state: 'removed', sentIn: undefined, waiting: [] }
    link.byQueue.set(queue.queueId, subscription)
    link.byRcvId.set(hex(queue.rcvId), subscription)
    return subscription
  }

  #isCurrent(link: Link, session: RouterSession): boolean {
    return link.link.session?.id === session.id
  }

  // Sends SUB for every pending queue that this session has not sent it for, in batches; UP is told once per batch (B60).
  async #sendSubs(link: Link, session: RouterSession): Promise<void> {
    const { subscribeBatch, backgroundCommandMs } = this.#options.config
    for (;;) {
      const batch: Subscription[] = []
      for (const subscription of link.byQueue.values()) {
        if (subscription.state !== 'pending' || subscription.sentIn === session.id) continue
        subscription.sentIn = session.id
        batch.push(subscription)
        if (batch.length === subscribeBatch) break
      }
      if (batch.length === 0) return
      const requests = batch.map(({ queue }) => subRequest(queue))
      const results = await session.sendMany(requests, { timeoutMs: backgroundCommandMs })
      this.#subscribed(link, session, batch, results)
    }
  }

  #subscribed(
    link: Link,
    session: RouterSession,
    batch: readonly Subscription[],
    results: ReadonlyArray<PromiseSettledResult<Response>>,
  ): void {
    const current = this.#isCurrent(link, session)
    const up: string[] = []
    let retry = false
    batch.forEach((subscription, index) => {
      const result = results[index]
      if (result === undefined) return
      const error = result.status === 'rejected' ? asDuologueError(result.reason) : unexpected(result.value)
      if (error === undefined) {
        const { intents } = this.#decide(subscription, { type: 'subscription.confirmed', current })
        if (intents.some(intent => intent.type === 'notifyUp')) up.push(subscription.queue.connectionId)
        if (current) this.#answer(subscription, undefined)
        // The connection is up whatever becomes of the message that answered SUB (B62).
        if (result.status === 'fulfilled') this.#deliver(subscription, result.value)
        return
      }
      const temporary = isTemporaryError(error)
      const { intents } = this.#decide(subscription, { type: 'subscription.failed', current, temporary })
      if (intents.some(intent => intent.type === 'notifyError'))
        this.#options.listener.failed(subscription.queue, error)
      this.#answer(subscription, error)
      this.#dropRemoved(link, subscription)
      retry ||= temporary && current
    })
    if (up.length > 0) this.#options.listener.up(link.userId, link.router, up)
    if (retry) this.#retryLater(link, session, batch)
  }

  // SUBs that timed out in a session that lives on are sent again.
  #retryLater(link: Link, session: RouterSession, batch: readonly Subscription[]): void {
    this.#options.clock.setTimeout(() => {
      if (!this.#isCurrent(link, session)) return
      for (const subscription of batch) {
        if (subscription.state === 'pending') subscription.sentIn = undefined
      }
      void this.#sendSubs(link, session)
    }, this.#options.config.reconnect.initial)
  }

  #lost(link: Link): void {
    const down: string[] = []
    for (const subscription of link.byQueue.values()) {
      subscription.sentIn = undefined
      const { intents } = this.#decide(subscription, { type: 'session.closed' })
      if (intents.some(intent => intent.type === 'notifyDown')) down.push(subscription.queue.connectionId)
    }
    if (down.length > 0) this.#options.listener.down(link.userId, link.router, down)
  }

  #event(link: Link, session: RouterSession, event: RouterEvent): void {
    const subscription = link.byRcvId.get(hex(event.entityId))
    if (subscription === undefined) return
    const current = this.#isCurrent(link, session)
    switch (event.response.type) {
      case 'MSG':
        this.#deliver(subscription, event.response)
        return
      case 'SOK':
      case 'OK':
        // The answer to SUB came after its deadline; it still tells that messages will come.
        if (event.answerTo?.type === 'SUB') this.#subscribed(link, session, [subscription], [late(event.response)])
        return
      case 'END': {
        const { intents } = this.#decide(subscription, { type: 'subscription.ended', current })
        if (intents.length > 0) this.#options.listener.ended(subscription.queue)
        this.#dropRemoved(link, subscription)
        return
      }
      case 'DELD':
        this.#decide(subscription, { type: 'queue.deleted' })
        this.#options.listener.deleted(subscription.queue)
        this.#dropRemoved(link, subscription)
        return
      default:
        return
    }
  }

  // Nobody waits for the router any more on account of this queue; subscribed again, it gets a new entry and its own SUB.
  #dropRemoved(link: Link, subscription: Subscription): void {
    if (subscription.state !== 'removed') return
    const { queue } = subscription
    if (link.byQueue.get(queue.queueId) === subscription) link.byQueue.delete(queue.queueId)
    if (link.byRcvId.get(hex(queue.rcvId)) === subscription) link.byRcvId.delete(hex(queue.rcvId))
    this.#answer(subscription, subscriptionEnded(link.router))
  }

  #deliver({ queue }: Subscription, response: Response): void {
    if (response.type !== 'MSG') return
    const { messageId, body } = response
    this.#options.listener.message({ queue, messageId, body })
  }

  #decide(subscription: Subscription, event: SubscriptionEvent): Decision {
    const decision = decide(subscriptionMachine, subscription.state, {}, event)
    subscription.state = decision.to
    if (decision.intents.some(intent => intent.type === 'countIgnored')) this.ignored++
    this.#options.listener.traced(subscription.queue, event.type, decision)
    return decision
  }

  #answer(subscription: Subscription, error: DuologueError | undefined): void {
    for (const resolve of subscription.waiting.splice(0)) resolve(error)
  }

  #answerAll(link: Link, error: DuologueError): void {
    for (const subscription of link.byQueue.values()) this.#answer(subscription, error)
  }
}

const agentClosed = (router: string): CallError =>
  new CallError('AGENT_CLOSED', 'the agent is closed', { field: router })

const subscriptionEnded = (router: string): RouterError =>
  new RouterError('SMP_SUBSCRIPTION_ENDED', 'the queue was taken over or deleted while it was being subscribed', {
    field: router,
  })

const linkKey = (userId: number, router: string): string => `${userId} ${router}`
const hex = (bytes: Bytes): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

const subRequest = (queue: SubscribedQueue): RouterRequest => ({
  command: { type: 'SUB' },
  entityId: queue.rcvId,
  key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
})

const late = (value: Response): PromiseSettledResult<Response> => ({ status: 'fulfilled', value })

// Routers of all versions: OK, SOK, or the message itself.
const unexpected = (response: Response): DuologueError | undefined =>
  response.type === 'OK' || response.type === 'SOK' || response.type === 'MSG'
    ? undefined
    : new RouterError('SMP_UNEXPECTED', `SUB was answered with ${response.type}`, { field: 'SUB' })
