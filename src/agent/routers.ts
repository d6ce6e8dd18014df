import type { Random } from '../crypto/index.js'
import { CallError } from '../errors.js'
import {
  formatRouterAddress,
  parseRouterAddress,
  type RouterAddress,
  type RouterAddressWithAuth,
  sameRouterPlace,
  sharesRouterPlace,
} from '../smp/protocol/routerAddress.js'
import { userRouters } from '../store/agent/users.js'
import type { Row, Store } from '../store/index.js'

/** A router as a user may use it (B23). */
export interface UserRouter extends RouterAddressWithAuth {
  /** Whether new receive queues are made on it, and whether messages may be sent through it. */
  readonly storage: boolean
  readonly proxy: boolean
  readonly enabled: boolean
}

/** Which routers a user has: its own, or those that the agent was opened with. */
export class Routers {
  readonly #defaults: readonly UserRouter[]
  readonly #own = new Map<number, readonly UserRouter[]>()

  private constructor(defaults: readonly RouterAddressWithAuth[], rows: ReadonlyArray<Row<typeof userRouters>>) {
    this.#defaults = defaults.map(address => ({ ...address, storage: true, proxy: true, enabled: true }))
    for (const row of rows) this.#own.set(row.userId, [...(this.#own.get(row.userId) ?? []), fromRow(row)])
  }

  static async open(store: Store, defaults: readonly RouterAddressWithAuth[]): Promise<Routers> {
    return new Routers(defaults, await store.find(userRouters, { orderBy: ['userId', 'position'] }))
  }

  of(userId: number): readonly UserRouter[] {
    return this.#own.get(userId) ?? this.#defaults
  }

  /** Notes what a commit has stored; an empty list goes back to the defaults. */
  set(userId: number, routers: readonly UserRouter[]): void {
    if (routers.length === 0) this.#own.delete(userId)
    else this.#own.set(userId, routers)
  }

  /**
   * The router for a new queue of a user, as `smp://fingerprint@host:port`: one of those that may store, at random, and another one
   * than the other party's if there is one. Throws CallError `CONFIG_NO_ROUTERS`.
   */
  pick(userId: number, random: Random, other?: string): string {
    const usable = this.of(userId).filter(({ enabled, storage }) => enabled && storage)
    const picked = pickOne(usable, random, other)
    if (picked !== undefined) return formatRouterAddress(picked.router)
    throw new CallError('CONFIG_NO_ROUTERS', 'the user has no router that new queues can be made on', {
      field: 'routers',
      hint: 'give the agent or the user at least one router address (smp://…) with the role storage',
    })
  }

  /**
   * The router for a queue that replaces one at `old`: none of those that the connection uses already if possible, at least another one
   * than `old`. Throws CallError `CONFIG_NO_ROUTERS`.
   */
  pickUnused(userId: number, random: Random, used: readonly string[], old: string): string {
    const places = used.map(parseRouterAddress)
    const unused = this.of(userId).filter(
      ({ enabled, storage, router }) => enabled && storage && !places.some(place => sameRouterPlace(place, router)),
    )
    const picked = pickOne(unused, random)
    return picked === undefined ? this.pick(userId, random, old) : formatRouterAddress(picked.router)
  }

  /**
   * A router of the user to send through, not the one that the message is for; undefined when there is none (B49). One of `avoid` only
   * when there is no other.
   */
  pickProxy(
    userId: number,
    random: Random,
    destination: RouterAddress,
    avoid: ReadonlySet<UserRouter> = new Set(),
  ): UserRouter | undefined {
    const usable = this.of(userId).filter(
      ({ enabled, proxy, router }) => enabled && proxy && !sharesRouterPlace(router, destination),
    )
    const others = usable.filter(router => !avoid.has(router))
    return pickOne(others.length > 0 ? others : usable, random)
  }

  /** Whether a router is one that the user has chosen itself, by whichever of its hosts. */
  knows(userId: number, destination: RouterAddress): boolean {
    return this.of(userId).some(({ router }) => sharesRouterPlace(router, destination))
  }

  /** The password of a user's router, for NEW. */
  passwordOf(userId: number, router: string): string | undefined {
    return this.#find(userId, router)?.basicAuth
  }

  #find(userId: number, router: string): UserRouter | undefined {
    return this.of(userId).find(known => formatRouterAddress(known.router) === router)
  }
}

const pickOne = (routers: readonly UserRouter[], random: Random, other?: string): UserRouter | undefined => {
  const used = other === undefined ? undefined : parseRouterAddress(other)
  const unused = used === undefined ? [] : routers.filter(({ router }) => !sameRouterPlace(router, used))
  const candidates = unused.length > 0 ? unused : routers
  return candidates[Buffer.from(random(4)).readUInt32BE() % Math.max(1, candidates.length)]
}

const fromRow = ({ router, password, storage, proxy, enabled }: Row<typeof userRouters>): UserRouter => ({
  router: parseRouterAddress(router),
  ...(password === null ? {} : { basicAuth: password }),
  storage,
  proxy,
  enabled,
})

/** The rows of a user's routers. */
export const routerRows = (userId: number, routers: readonly UserRouter[]): Array<Row<typeof userRouters>> =>
  routers.map(({ router, basicAuth, storage, proxy, enabled }, position) => ({
    userId,
    position,
    router: formatRouterAddress(router),
    password: basicAuth ?? null,
    storage,
    proxy,
    enabled,
  }))
