import type { Random } from '../crypto/index.js'
import { asDuologueError, ProxyError, TransportError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { isHostError, openProxy, type ProxiedRequest, type ProxySession, type RouterSession } from '../smp/client.js'
import type { Response } from '../smp/protocol/responses.js'
import { formatRouterAddress, parseRouterAddress, type RouterAddress } from '../smp/protocol/routerAddress.js'
import type { AgentConfig } from './config.js'
import type { Network } from './network.js'
import type { Routers, UserRouter } from './routers.js'
import { type Sessions, type SessionTarget, sessionKey } from './sessions.js'
import type { Statistics } from './statistics.js'

/** What the router of the other party has answered. */
export interface Routed {
  readonly response: Response
  /** The router through which it was asked, as `smp://fingerprint@host:port`; undefined: it was asked directly. */
  readonly proxy: string | undefined
}

export interface PrivateRoutingOptions {
  readonly config: AgentConfig
  readonly clock: Clock
  readonly random: Random
  readonly network: Network
  readonly routers: Routers
  readonly sessions: Sessions
  readonly statistics: Statistics
}

type Urgency = 'interactive' | 'background'

/** The proxy of one destination. */
interface Choice {
  readonly router: UserRouter
  readonly name: string
  /** The session that was used last: another proxy is chosen when it has ended. */
  session?: RouterSession
  failed: boolean
}

/** Choices that are remembered; the oldest is forgotten, which costs one more PRXY. */
const maxChoices = 10_000

/**
 * Sends to the queues of other parties, directly or through a router of the user, so that theirs does not see where we are (B49). A
 * destination keeps its proxy as long as that works; what fails is left to the caller's next attempt, through another proxy if there is one.
 */
export class PrivateRouting {
  readonly #options: PrivateRoutingOptions
  readonly #choices = new Map<string, Choice>()
  /** What a session to a proxy knows of the routers behind it, with the password that it was asked with. */
  readonly #proxies = new WeakMap<
    RouterSession,
    { readonly password: string | undefined; readonly proxy: ProxySession }
  >()

  constructor(options: PrivateRoutingOptions) {
    this.#options = options
  }

  /**
   * Sends one command to a router of another party, as the network configuration says. Rejects as `Sessions.request` and
   * `ProxySession.send` do: RouterError for what the router itself answers, ProxyError and TransportError for what failed on the way, and
   * ProxyError `PROXY_NONE` when the user has no router to send through and it may not go directly.
   */
  async send(target: SessionTarget, request: ProxiedRequest, urgency: Urgency = 'background'): Promise<Routed> {
    const relay = parseRouterAddress(target.router)
    if (!this.#isPrivate(target.userId, relay)) return this.#sendDirectly(target, request, urgency)
    try {
      return await this.#sendPrivately(target, relay, request, urgency)
    } catch (error) {
      if (!isHostError(error) || this.#options.network.config.proxyFallback !== 'allow') throw error
      return this.#sendDirectly(target, request, urgency)
    }
  }

  #isPrivate(userId: number, relay: RouterAddress): boolean {
    const { network, routers } = this.#options
    switch (network.config.proxyMode) {
      case 'always':
        return true
      case 'unknown':
      case 'unprotected':
        return !routers.knows(userId, relay)
      case 'never':
        return false
    }
  }

  async #sendDirectly(target: SessionTarget, request: ProxiedRequest, urgency: Urgency): Promise<Routed> {
    const { response } = await this.#options.sessions.request(target, request, urgency)
    return { response, proxy: undefined }
  }

  // A proxy that refuses us has done nothing yet, so another one is asked at once.
  async #sendPrivately(
    target: SessionTarget,
    relay: RouterAddress,
    request: ProxiedRequest,
    urgency: Urgency,
  ): Promise<Routed> {
    const refusing = new Set<UserRouter>()
    let refusal: unknown
    for (;;) {
      const choice = this.#choose(target, relay, refusing)
      if (refusing.has(choice.router)) throw refusal
      try {
        return { response: await this.#sendThrough(choice, target, relay, request, urgency), proxy: choice.name }
      } catch (error) {
        if (!isRefusal(error)) throw error
        refusing.add(choice.router)
        refusal = error
      }
    }
  }

  async #sendThrough(
    choice: Choice,
    target: SessionTarget,
    relay: RouterAddress,
    request: ProxiedRequest,
    urgency: Urgency,
  ): Promise<Response> {
    const { sessions, statistics } = this.#options
    const { userId, router } = target
    const { type } = request.command
    try {
      const response = await sessions.use({ ...target, router: choice.name }, urgency, (session, options) => {
        choice.session = session
        return this.#proxyOver(session, choice.router).send(relay, request, options)
      })
      statistics.count(userId, router, `${type} proxied`)
      return response
    } catch (error) {
      statistics.count(userId, router, `${type} ${asDuologueError(error).code}`)
      if (error instanceof TransportError || error instanceof ProxyError) choice.failed = true
      throw error
    }
  }

  #choose(target: SessionTarget, relay: RouterAddress, refusing: ReadonlySet<UserRouter>): Choice {
    const { routers, random, network } = this.#options
    const key = sessionKey(target, network.config)
    const known = this.#choices.get(key)
    if (known !== undefined && this.#isUsable(known, target.userId)) return known
    const avoid = known === undefined ? refusing : new Set([...refusing, known.router])
    const router = routers.pickProxy(target.userId, random, relay, avoid)
    if (router === undefined) throw noProxy(target.router)
    const choice: Choice = { router, name: formatRouterAddress(router.router), failed: false }
    this.#choices.delete(key)
    this.#choices.set(key, choice)
    for (const oldest of this.#choices.keys()) {
      if (this.#choices.size <= maxChoices) break
      this.#choices.delete(oldest)
    }
    return choice
  }

  #isUsable({ router, session, failed }: Choice, userId: number): boolean {
    return !failed && session?.closed !== true && this.#options.routers.of(userId).includes(router)
  }

  #proxyOver(session: RouterSession, { basicAuth: password }: UserRouter): ProxySession {
    const known = this.#proxies.get(session)
    if (known !== undefined && known.password === password) return known.proxy
    const { clock, random, config } = this.#options
    const proxy = openProxy(session, {
      clock,
      random,
      basicAuth: password,
      connectTimeoutMs: config.backgroundConnectMs,
    })
    this.#proxies.set(session, { password, proxy })
    return proxy
  }
}

const isRefusal = (error: unknown): boolean => error instanceof ProxyError && error.code === 'PROXY_BASIC_AUTH'

const noProxy = (router: string): ProxyError =>
  new ProxyError('PROXY_NONE', 'the user has no router to send through', {
    field: router,
    hint: 'give the user another router with the role proxy (setRouters), or allow sending directly (setNetworkConfig, proxyFallback)',
  })
