/** Two callers connect their agents and exchange messages by asynchronous calls only, and keep a ledger of the answers. */
import type { CallName, ParamsOf } from '../../src/agent/api/calls.js'
import type { EventLine } from './harness.js'
import type { Inbox } from './inbox.js'

/** Longer than any kill keeps an answer back: then it does not come. */
const patienceMs = 120_000

/** One caller: what it asked under which correlation id, and the answers. */
export class AsyncCaller {
  readonly #inbox: Inbox
  /** How often each call was stored, as far as its caller knows: one that was not answered was asked again. */
  readonly #asked = new Map<string, number>()
  readonly answers = new Map<string, EventLine[]>()
  /** Bodies in the order in which they came. */
  readonly received: string[] = []
  readonly types: string[] = []
  readonly #waiting = new Map<string, Array<() => void>>()
  readonly #failed: (event: EventLine) => void
  confirmed: (event: EventLine) => Promise<void> = async () => {}

  constructor(inbox: Inbox, failed: (event: EventLine) => void) {
    this.#inbox = inbox
    this.#failed = failed
    inbox.handle = event => this.#take(event)
  }

  /** Stores a call, again and again until that is answered. */
  async ask<N extends CallName>(name: N, params: ParamsOf<N> & { readonly correlationId: string }): Promise<void> {
    const { agent } = this.#inbox
    const before = agent.repeats
    await agent.repeat(name, params)
    const { correlationId } = params
    this.#asked.set(correlationId, (this.#asked.get(correlationId) ?? 0) + 1 + agent.repeats - before)
  }

  /** The result of a stored call. */
  async result<T>(correlationId: string): Promise<T> {
    await this.#until(correlationId)
    return this.answers.get(correlationId)?.[0]?.['result'] as T
  }

  /** Waits for an event of a type. */
  async event(type: string): Promise<void> {
    if (!this.types.includes(type)) await this.#until(type)
  }

  /** Calls without an answer, with different ones, or with more than they were asked. */
  get wrong(): string[] {
    return [...this.#asked].flatMap(([correlationId, asked]) => {
      const answers = this.answers.get(correlationId) ?? []
      const different = new Set(answers.map(({ result }) => written(result)))
      const told = `${correlationId}: asked ${asked}, ${answers.length} answers, ${different.size} different`
      return different.size === 1 && answers.length <= asked ? [] : [[told, ...different].join(' ')]
    })
  }

  #until(what: string): Promise<void> {
    if (this.answers.has(what)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no ${what} in ${patienceMs} ms`)), patienceMs)
      const found = (): void => {
        clearTimeout(late)
        resolve()
      }
      this.#waiting.set(what, [...(this.#waiting.get(what) ?? []), found])
    })
  }

  async #take(event: EventLine): Promise<void> {
    const { type } = event
    const correlationId = event['correlationId'] as string | undefined
    if (type === 'ERR' && event['temporary'] !== true) this.#failed(event)
    if (type === 'OK' && correlationId !== undefined) {
      this.answers.set(correlationId, [...(this.answers.get(correlationId) ?? []), event])
      this.#wake(correlationId)
    }
    if (type === 'MSG') this.received.push((event['body'] as { text?: string }).text ?? '')
    this.types.push(type)
    this.#wake(type)
    if (type === 'CONF') await this.confirmed(event)
  }

  #wake(what: string): void {
    for (const resolve of this.#waiting.get(what) ?? []) resolve()
    this.#waiting.delete(what)
  }
}

// An event that is read back from a database has its keys in another order than one that is told at once.
const written = (value: unknown): string =>
  JSON.stringify(value, (_name, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )

export interface AsyncRound {
  readonly callers: readonly [AsyncCaller, AsyncCaller]
  readonly ids: readonly [string, string]
}

/** A connection made by asynchronous calls, and `messages` sent each way. Rejects on an ERR event. */
export const asyncRound = async (
  [alice, bob]: readonly [Inbox, Inbox],
  round: number,
  messages: number,
): Promise<AsyncRound> => {
  let fail: (error: Error) => void = () => {}
  const failure = new Promise<never>((_resolve, reject) => {
    fail = reject
  })
  const onErr = (event: EventLine): void => fail(new Error(JSON.stringify(event)))
  const callers = [new AsyncCaller(alice, onErr), new AsyncCaller(bob, onErr)] as const
  const [creator, joiner] = callers
  const id = (what: string): string => `${what}-${round}`
  creator.confirmed = async ({ connectionId, confirmationId }) =>
    creator.ask('allowConnectionAsync', {
      connectionId,
      confirmationId: confirmationId as string,
      correlationId: id('allow'),
    })
  const connect = async (): Promise<AsyncRound> => {
    await creator.ask('createConnectionAsync', { idempotencyKey: id('create'), correlationId: id('create') })
    const { connectionId, link } = await creator.result<{ connectionId: string; link: string }>(id('create'))
    await joiner.ask('joinConnectionAsync', { link, idempotencyKey: id('join'), correlationId: id('join') })
    const joined = await joiner.result<{ connectionId: string }>(id('join'))
    const ids = [connectionId, joined.connectionId] as const
    await Promise.all(callers.map(caller => caller.event('CON')))
    await Promise.all(
      callers.map(async (caller, index) => {
        for (let n = 0; n < messages; n++) {
          const correlationId = `${id('send')}-${n}`
          const params = { connectionId: ids[index] ?? '', body: `${n}`, idempotencyKey: correlationId, correlationId }
          await caller.ask('sendMessageAsync', params)
          await caller.result(correlationId)
        }
      }),
    )
    return { callers, ids }
  }
  return Promise.race([connect(), failure])
}
