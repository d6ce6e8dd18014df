import type { Bytes } from '../encoding/index.js'
import { CallError, RouterError, TransportError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { Permits } from '../runtime/permits.js'
import type { RequestOptions, RouterRequest, RouterSession } from '../smp/client.js'
import type { Response } from '../smp/protocol/responses.js'
import type { LiveActor } from './actors.js'
import type { AgentConfig } from './config.js'
import type { Network, NetworkConfig } from './network.js'
import { RouterLink } from './routerLink.js'
import { type SessionsListener, type SubscribeAnswer, type SubscribedQueue, subRequest } from './subscribedQueue.js'
import { Subscriptions } from './subscriptions.js'

export type { DeliveredMessage, SessionsListener, SubscribedQueue } from './subscribedQueue.js'

/** Whose session a request goes over: every row of a queue is one. */
export interface SessionTarget {
  readonly userId: number
  readonly router: string
  readonly connectionId: string
}

/** Whose session it is: the user's, or the connection's (session mode `entity`). */
export const sessionKey = ({ userId, router, connectionId }: SessionTarget, { sessionMode }: NetworkConfig): string =>
  sessionMode === 'entity' ? `${userId} ${router} ${connectionId}` : `${userId} ${router}`

export interface SessionsOptions {
  readonly config: AgentConfig
  readonly clock: Clock
  readonly network: Network
  /** Suspended, no session is made by itself. */
  readonly isSuspended: () => boolean
  readonly connect: (userId: number, router: string, signal: AbortSignal) => Promise<RouterSession>
  readonly listener: SessionsListener
}

interface Link {
  readonly key: string
  readonly userId: number
  readonly link: RouterLink
  readonly subscriptions: Subscriptions
}

/** Connections to one router that are being made at once; with a session for each connection there may be thousands to make. */
const connectsPerRouter = 32

/**
 * Transport sessions, one for each user and router or for each connection (the session mode), and the subscriptions of receive queues
 * over them. A result counts only while its queue is pending and its session is the current one (B61).
 */
export class Sessions {
  readonly #options: SessionsOptions
  readonly #links = new Map<string, Link>()
  readonly #connecting = new Map<string, Permits>()
  /** Messages that are being asked for, by queue. */
  readonly #getting = new Map<string, Promise<Bytes | undefined>>()
  /** Results that came too late to count. */
  ignored = 0
  #closed = false

  constructor(options: SessionsOptions) {
    this.#options = options
    options.network.listen({
      online: () => this.resume(),
      // Who is sent through does not touch the sessions that there are.
      configured: before => {
        if (before.sessionMode !== options.network.config.sessionMode) this.#replaceAll()
      },
    })
  }

  /** Transport sessions and attempts to make one. */
  get size(): number {
    return this.#links.size
  }

  /**
   * Sends a command to a router, connecting if need be. Rejects with RouterError for an error answer, TransportError when the
   * router cannot be reached or does not answer in time.
   */
  async request(
    target: SessionTarget,
    request: RouterRequest,
    urgency: 'interactive' | 'background' = 'background',
  ): Promise<{ readonly response: Response; readonly session: RouterSession }> {
    return this.use(target, urgency, async (session, options) => ({
      response: await session.send(request, options),
      session,
    }))
  }

  /** Lends a session, which is made if need be, for one piece of work; its deadline for one command goes with it. Rejects as `request` does. */
  async use<T>(
    target: SessionTarget,
    urgency: 'interactive' | 'background',
    work: (session: RouterSession, options: Required<RequestOptions>) => Promise<T>,
  ): Promise<T> {
    if (this.#closed) throw agentClosed(target.router)
    const { config } = this.#options
    const interactive = urgency === 'interactive'
    const { link } = this.#linkOf(target)
    const session = await link.open(interactive ? config.interactiveConnectMs : config.backgroundConnectMs)
    const timeoutMs = interactive ? config.interactiveCommandMs : config.backgroundCommandMs
    try {
      return await work(session, { timeoutMs })
    } finally {
      link.used()
    }
  }

  /** Lost sessions that something waits for come back now: the device is online again, or the agent no longer suspended. */
  resume(): void {
    for (const { link } of this.#links.values()) link.online()
  }

  /** State of a queue's subscription: `removed`, `pending`, `active`, `getting`. */
  stateOf(queue: SessionTarget & { readonly queueId: string }): string {
    return this.#links.get(this.#keyOf(queue))?.subscriptions.stateOf(queue.queueId) ?? 'removed'
  }

  /**
   * Subscribes queues; each answers for itself, with undefined or an error. A queue whose router cannot be reached answers with the
   * error and stays pending: it is subscribed when the session is back. A queue that is active already is left alone (B66).
   */
  subscribe(queues: readonly SubscribedQueue[]): Array<Promise<SubscribeAnswer>> {
    if (this.#closed) return queues.map(async ({ router }) => agentClosed(router))
    const links = new Set<Link>()
    const answers = queues.map(queue => {
      const link = this.#linkOf(queue)
      links.add(link)
      return link.subscriptions.request(queue)
    })
    for (const { subscriptions } of links) subscriptions.send()
    return answers
  }

  /** Notes a queue that was made with a subscription in this session: it is active at once, without an UP. */
  created(queue: SubscribedQueue, session: RouterSession): void {
    if (!this.#closed) this.#linkOf(queue).subscriptions.created(queue, session)
  }

  /**
   * Asks for one message of a queue that is not subscribed (GET); it goes the way of all messages. Answers the router's id of it,
   * undefined when there is none. Throws CallError `CMD_PROHIBITED` when the queue is subscribed (B69), and as `request` does.
   */
  get(queue: SubscribedQueue): Promise<Bytes | undefined> {
    const running = this.#getting.get(queue.queueId)
    if (running !== undefined) return running
    const getting = this.#get(queue).finally(() => this.#getting.delete(queue.queueId))
    this.#getting.set(queue.queueId, getting)
    return getting
  }

  /**
   * Has the router deliver what a queue has, once more if it has delivered it in this session already. Rejects as `request` does, and with
   * what refuses the subscription.
   */
  async redeliver(queue: SubscribedQueue): Promise<void> {
    const state = this.stateOf(queue)
    if (state === 'getting') {
      await this.get(queue)
      return
    }
    if (state !== 'active') {
      const error = await this.subscribe([queue])[0]
      if (error !== undefined) throw error
      return
    }
    // A second SUB: nobody need be told, since the queue was and stays subscribed.
    const { response } = await this.request(queue, subRequest(queue))
    if (response.type === 'MSG')
      this.#options.listener.message({ queue, messageId: response.messageId, body: response.body })
  }

  /** Forgets a queue that is deleted or given up. */
  remove(queue: SessionTarget & { readonly queueId: string }): void {
    this.#links.get(this.#keyOf(queue))?.subscriptions.remove(queue.queueId)
  }

  /** Ends the sessions of a user that receives no more. */
  removeUser(userId: number): void {
    const ended = new TransportError('TRANSPORT_CLOSED', 'the user receives no more')
    for (const link of this.#links.values()) if (link.userId === userId) this.#end(link, ended)
  }

  /** The sessions, and the subscriptions over them. */
  *actors(): Iterable<LiveActor> {
    for (const [id, { link, subscriptions }] of this.#links) {
      yield { machine: 'routerSession', id, state: link.state }
      yield* subscriptions.actors()
    }
  }

  /** Ends every session and answers whoever waits for one. */
  close(): void {
    this.#closed = true
    for (const { link, subscriptions } of this.#takeAll()) {
      link.close(new TransportError('TRANSPORT_CLOSED', 'the agent is closed'))
      subscriptions.close(agentClosed('agent'))
    }
  }

  async #get(queue: SubscribedQueue): Promise<Bytes | undefined> {
    if (this.#closed) throw agentClosed(queue.router)
    this.#linkOf(queue).subscriptions.get(queue)
    const request = {
      command: { type: 'GET' },
      entityId: queue.rcvId,
      key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
    } as const
    const { response } = await this.request(queue, request, 'interactive')
    if (response.type === 'OK') return undefined
    if (response.type !== 'MSG') {
      throw new RouterError('SMP_UNEXPECTED', `GET was answered with ${response.type}`, { field: 'GET' })
    }
    const { messageId, body } = response
    this.#options.listener.message({ queue, messageId, body })
    return messageId
  }

  // The sessions of the old configuration end, and what was subscribed in them is subscribed in new ones: DOWN, then UP (B68).
  #replaceAll(): void {
    const replaced = new TransportError('TRANSPORT_CLOSED', 'the network configuration has changed')
    const queues: SubscribedQueue[] = []
    for (const { link, subscriptions } of this.#takeAll()) {
      subscriptions.lost()
      link.close(replaced)
      queues.push(...subscriptions.close(replaced))
    }
    this.subscribe(queues)
  }

  #takeAll(): Link[] {
    const links = [...this.#links.values()]
    this.#links.clear()
    return links
  }

  #keyOf(target: SessionTarget): string {
    return sessionKey(target, this.#options.network.config)
  }

  #linkOf(target: SessionTarget): Link {
    const key = this.#keyOf(target)
    const known = this.#links.get(key)
    if (known !== undefined) return known
    const link = this.#newLink(key, target)
    this.#links.set(key, link)
    return link
  }

  #newLink(key: string, { userId, router }: SessionTarget): Link {
    const { config, clock, network, listener } = this.#options
    const subscriptions = new Subscriptions({
      config,
      clock,
      userId,
      router,
      listener,
      link: () => routerLink,
      countIgnored: () => void this.ignored++,
    })
    const routerLink = new RouterLink({
      router,
      clock,
      reconnect: config.reconnect,
      failedConnectMs: config.failedConnectMs,
      offlineRetryMs: config.offlineRetryMs,
      idleMs: config.idleSessionMs,
      isOffline: () => !network.online,
      isSuspended: this.#options.isSuspended,
      connect: signal => this.#connect(userId, router, signal),
      hasSubscriptions: () => subscriptions.subscribed > 0,
      opened: session => subscriptions.opened(session),
      lost: () => subscriptions.lost(),
      failed: error => subscriptions.failed(error),
      event: (session, event) => subscriptions.event(session, event),
      traced: (event, from, to) => listener.sessionTraced(key, event, from, to),
      unused: () => this.#end(link, new TransportError('TRANSPORT_CLOSED', 'the session was not used any more')),
    })
    const link: Link = { key, userId, link: routerLink, subscriptions }
    return link
  }

  #end(link: Link, reason: TransportError): void {
    this.#links.delete(link.key)
    link.link.close(reason)
    link.subscriptions.close(reason)
  }

  async #connect(userId: number, router: string, signal: AbortSignal): Promise<RouterSession> {
    const permits = this.#connecting.get(router) ?? new Permits(connectsPerRouter)
    this.#connecting.set(router, permits)
    try {
      await this.#permitted(permits, router, signal)
      try {
        return await this.#options.connect(userId, router, signal)
      } finally {
        permits.give()
      }
    } finally {
      if (permits.unused) this.#connecting.delete(router)
    }
  }

  // Whoever waits behind others that are being connected is answered as late as they are, not later.
  async #permitted(permits: Permits, router: string, signal: AbortSignal): Promise<void> {
    const { clock, config } = this.#options
    const deadline = new AbortController()
    const timer = clock.setTimeout(() => deadline.abort(), config.backgroundConnectMs)
    try {
      if (await permits.take(1, AbortSignal.any([signal, deadline.signal]))) return
    } finally {
      clock.clearTimeout(timer)
    }
    if (signal.aborted) throw new TransportError('TRANSPORT_CLOSED', 'connecting was stopped here')
    throw new TransportError('TRANSPORT_TIMEOUT', 'too many sessions to the router are being made', { field: router })
  }
}

const agentClosed = (router: string): CallError =>
  new CallError('AGENT_CLOSED', 'the agent is closed', { field: router })
