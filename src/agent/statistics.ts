import { asDuologueError } from '../errors.js'
import type { RouterRequest, RouterSession } from '../smp/client.js'
import type { Response } from '../smp/protocol/responses.js'
import { statistics } from '../store/agent/users.js'
import { counters } from '../store/eventLog.js'
import { type Change, put, removeWhere, type Store } from '../store/index.js'
import type { ResultOf } from './api/calls.js'

const sinceCounter = 'statisticsSince'

/**
 * Counts by user and router: each command with its answer (`SEND`, `SEND AUTH`; `SEND proxied` through a proxy), what routers send by themselves (`event MSG`) and
 * connections (`connect`, `connect TRANSPORT_…`). Saved at the end and now and then, restored at the start (B01).
 */
export class Statistics {
  readonly #counts = new Map<string, Map<string, number>>()
  /** What was counted since the last save, as `user router` and name. */
  readonly #changed = new Set<string>()
  #since: number

  private constructor(since: number) {
    this.#since = since
  }

  /** Counts of a process that neither restores nor saves them. */
  static empty(now: number): Statistics {
    return new Statistics(now)
  }

  static async open(store: Store, now: number): Promise<Statistics> {
    const [since] = await store.find(counters, { where: { name: sinceCounter } })
    const opened = new Statistics(since?.value ?? now)
    for (const { userId, router, name, value } of await store.find(statistics, {})) {
      opened.#of(userId, router).set(name, value)
    }
    return opened
  }

  count(userId: number, router: string, name: string): void {
    const counts = this.#of(userId, router)
    counts.set(name, (counts.get(name) ?? 0) + 1)
    this.#changed.add(`${linkKey(userId, router)} ${name}`)
  }

  /** A session that counts what goes over it. */
  counted(userId: number, router: string, session: RouterSession): RouterSession {
    const count = (name: string): void => this.count(userId, router, name)
    const note = ({ command }: RouterRequest, answer: Promise<Response>): Promise<Response> => {
      answer.then(
        response => {
          count(command.type)
          if (response.type === 'MSG') count('event MSG')
        },
        (error: unknown) => count(`${command.type} ${asDuologueError(error).code}`),
      )
      return answer
    }
    return {
      ...session,
      get closed() {
        return session.closed
      },
      send: (request, options) => note(request, session.send(request, options)),
      sendMany: (requests, options) =>
        Promise.allSettled(requests.map(request => note(request, session.send(request, options)))),
      onEvent: handler =>
        session.onEvent(event => {
          count(`event ${event.response.type}`)
          handler(event)
        }),
    }
  }

  /** The changes that save what was counted since the last save. */
  save(): Change[] {
    const changes: Change[] = [put(counters, { name: sinceCounter, value: this.#since })]
    for (const [key, counts] of this.#counts) {
      const { userId, router } = splitKey(key)
      for (const [name, value] of counts) {
        if (this.#changed.has(`${key} ${name}`)) changes.push(put(statistics, { userId, router, name, value }))
      }
    }
    this.#changed.clear()
    return changes
  }

  /** Forgets all counts, or those of one user; the changes that store it. */
  reset(now: number, userId?: number): Change[] {
    for (const key of this.#counts.keys()) {
      if (userId === undefined || splitKey(key).userId === userId) this.#counts.delete(key)
    }
    this.#changed.clear()
    if (userId !== undefined) {
      for (const [key, counts] of this.#counts) for (const name of counts.keys()) this.#changed.add(`${key} ${name}`)
      return [removeWhere(statistics, { userId })]
    }
    this.#since = now
    return [removeWhere(statistics, {}), put(counters, { name: sinceCounter, value: now })]
  }

  report(userId?: number): ResultOf<'getStatistics'> {
    const rows = [...this.#counts].map(([key, counts]) => ({ ...splitKey(key), counts: Object.fromEntries(counts) }))
    return { since: this.#since, statistics: rows.filter(row => userId === undefined || row.userId === userId) }
  }

  #of(userId: number, router: string): Map<string, number> {
    const key = linkKey(userId, router)
    const known = this.#counts.get(key)
    if (known !== undefined) return known
    const counts = new Map<string, number>()
    this.#counts.set(key, counts)
    return counts
  }
}

const linkKey = (userId: number, router: string): string => `${userId} ${router}`

const splitKey = (key: string): { userId: number; router: string } => {
  const space = key.indexOf(' ')
  return { userId: Number(key.slice(0, space)), router: key.slice(space + 1) }
}
