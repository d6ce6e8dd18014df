import { type Random, systemRandom } from '../crypto/index.js'
import { asDuologueError, CallError, InternalError, StoreError } from '../errors.js'
import type { Change, Query, Row, Store, Table } from '../store/index.js'
import { AggregateCache, aggregateOf, type AggregateRows } from './aggregates.js'
import type { Clock } from './clock.js'
import { Locks } from './locks.js'
import type { Ownership, Trace, TraceRecord } from './ports.js'
import { overlaid } from './rows.js'
import type { NewEvent, Outcome, Unit, UnitState, Wake } from './unit.js'
import { type EventRow, Writer } from './writer.js'

export interface RuntimeOptions {
  readonly store: Store
  /** Tables whose rows are kept loaded with their aggregate. */
  readonly aggregateTables: readonly Table[]
  readonly clock: Clock
  readonly ownership: Ownership
  readonly trace?: Trace
  /**
   * Hears of events in cursor order, as soon as they are durable. Locks may still be held: it notes them and returns, and tells
   * readers later.
   */
  readonly published: (rows: readonly EventRow[]) => void
  /** Hears of work for a worker, after commit and release. */
  readonly woken: (wake: Wake) => void
  /** Hears what `published`, `woken` or `trace` threw, which is a bug in them. Default: an uncaught exception. */
  readonly failed?: (error: unknown) => void
  /** Hears when units begin to run and when none runs any more. */
  readonly busy?: (busy: boolean) => void
  /** Gives trace ids. */
  readonly random?: Random
  /** Aggregates kept loaded. */
  readonly cachedAggregates?: number
  /** Units of work that may wait; further calls are refused. */
  readonly maxWaiting?: number
}

interface Item {
  readonly unit: Unit<unknown, unknown>
  readonly traceId: string
  readonly submittedAt: number
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** An item whose computation is done and whose changes wait for the commit. */
interface Computed {
  readonly item: Item
  readonly outcome: Outcome<unknown>
  readonly records: TraceRecord[]
}

const maxGroup = 32
/** Until the store is asked what became of a commit that it did not answer. */
const lookAgainMs = 1_000

const isUnanswered = (error: unknown): boolean => error instanceof StoreError && error.code === 'STORE_UNAVAILABLE'

/** A read of a later unit that only the store can answer, once the units before it are committed. */
class CommitFirst extends Error {}

const throwLater = (error: unknown): void =>
  queueMicrotask(() => {
    throw error
  })

/**
 * Runs units of work: lock, load, compute, commit, release, then notify. The data's one way through agent and channels; what a
 * computation returned is the only thing that can reach the database, the readers and the workers.
 */
export class Runtime {
  readonly #options: RuntimeOptions
  readonly #writer: Writer
  readonly #cache: AggregateCache
  readonly #locks: Locks<Item>
  #closed = false
  /** While paused: why calls are refused, and the agent's own units that wait. */
  #paused: { readonly reason: () => CallError; readonly waiting: Array<() => void> } | undefined
  #looking = false
  #idle: Array<() => void> = []

  private constructor(options: RuntimeOptions, writer: Writer) {
    this.#options = options
    this.#writer = writer
    this.#cache = new AggregateCache(options.store, options.aggregateTables, options.cachedAggregates ?? 10_000)
    this.#locks = new Locks((keys, items) => this.#runGroup(keys, items), {
      maxGroup,
      maxWaiting: options.maxWaiting ?? 10_000,
    })
  }

  static async open(options: RuntimeOptions): Promise<Runtime> {
    const writer = await Writer.open(options.store, {
      now: () => options.clock.now(),
      published: rows => tell(options, () => options.published(rows)),
    })
    return new Runtime(options, writer)
  }

  get lastCursor(): number {
    return this.#writer.lastCursor
  }

  /**
   * Runs one unit of work; resolves with its result once its changes are durable. Rejects with the DuologueError of its
   * computation, with StoreError when the commit failed, and with CallError `AGENT_CLOSED` or `AGENT_OVERLOADED`.
   */
  run<Loaded, Result>(unit: Unit<Loaded, Result>): Promise<Result> {
    const paused = unit.whilePaused === true ? undefined : this.#paused
    if (paused !== undefined && unit.internal !== true && !this.#closed) return Promise.reject(paused.reason())
    if (paused === undefined) return this.#submit(unit)
    return new Promise<void>(resolve => paused.waiting.push(resolve)).then(() => this.run(unit))
  }

  /**
   * From now on calls are refused with `reason`, and the agent's own units wait for `resume`; what runs is finished (B04).
   */
  pause(reason: () => CallError): void {
    this.#paused ??= { reason, waiting: [] }
  }

  /** Ends a pause: what waited runs, in its order. */
  resume(): void {
    const paused = this.#paused
    this.#paused = undefined
    for (const start of paused?.waiting ?? []) start()
  }

  /** Whether units of work are running or waiting for their locks. */
  get isBusy(): boolean {
    return this.#locks.size > 0
  }

  #submit<Loaded, Result>(unit: Unit<Loaded, Result>): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      if (this.#closed) throw new CallError('AGENT_CLOSED', 'the agent is closed', { field: unit.name })
      const foreign = unit.locks.find(id => !this.#options.ownership.owns(id))
      if (foreign !== undefined)
        throw new CallError('NOT_OWNER', 'another process owns this connection', { field: foreign })
      const item: Item = {
        unit: unit as Unit<unknown, unknown>,
        traceId: Buffer.from((this.#options.random ?? systemRandom)(8)).toString('hex'),
        submittedAt: this.#options.clock.now(),
        resolve: resolve as (result: unknown) => void,
        reject,
      }
      if (!this.isBusy) this.#options.busy?.(true)
      this.#locks.submit(unit.locks, item, unit.internal)
    })
  }

  /** Refuses new units and waits for those that run. */
  async close(): Promise<void> {
    this.#closed = true
    this.resume()
    if (this.isBusy) await new Promise<void>(resolve => this.#idle.push(resolve))
    await this.#writer.idle()
  }

  // What comes back is called when the locks are free: answers, wake-ups, and word to whoever waits for silence.
  async #runGroup(keys: readonly string[], items: readonly Item[]): Promise<() => void> {
    let notify: () => void
    try {
      notify = await this.#process(keys, items)
    } catch (error) {
      notify = () => {
        for (const item of items) item.reject(asDuologueError(error))
      }
    }
    return () => {
      notify()
      if (this.isBusy) return
      for (const resolve of this.#idle.splice(0)) resolve()
      this.#options.busy?.(false)
    }
  }

  async #process(keys: readonly string[], items: readonly Item[]): Promise<() => void> {
    const startedAt = this.#options.clock.now()
    const loaded = new Map([...(await this.#cache.load(keys))].map(([key, rows]) => [key, rows.copy()]))
    const computed: Computed[] = []
    let rest: readonly Item[] = []
    for (const [index, item] of items.entries()) {
      const done = await this.#compute(item, loaded, computed)
      if (done === 'commitFirst') {
        rest = items.slice(index)
        break
      }
      if (done !== undefined) computed.push(done)
    }
    const notify = await this.#finish(keys, computed, loaded, startedAt)
    if (rest.length === 0) return notify
    const notifyRest = await this.#runGroup(keys, rest)
    return () => {
      notify()
      notifyRest()
    }
  }

  async #finish(
    keys: readonly string[],
    computed: readonly Computed[],
    loaded: ReadonlyMap<string, AggregateRows>,
    startedAt: number,
  ): Promise<() => void> {
    if (computed.length === 0) return () => {}
    const computedAt = this.#options.clock.now()
    try {
      await this.#commit(computed)
    } catch (error) {
      for (const key of keys) this.#cache.forget(key)
      if (isUnanswered(error)) this.#lookLater()
      return this.#retryApart(keys, computed, error)
    }
    for (const [key, rows] of loaded) this.#cache.keep(key, rows)
    const durations = { compute: computedAt - startedAt, commit: this.#options.clock.now() - computedAt }
    return () => {
      for (const done of computed) {
        done.item.resolve(done.outcome.result)
        this.#record(done, durations, startedAt)
        for (const wake of done.outcome.wakes ?? []) this.#wake(wake)
      }
    }
  }

  // A commit without an answer may have taken place: its events are told even if nothing else is ever committed.
  #lookLater(): void {
    if (this.#looking || this.#closed) return
    this.#looking = true
    this.#options.clock.setTimeout(() => {
      this.#looking = false
      if (this.#closed) return
      this.#writer.submit({ changes: [], events: [] }).catch((error: unknown) => {
        if (isUnanswered(error)) this.#lookLater()
      })
    }, lookAgainMs)
  }

  // A group whose commit met a conflict runs again, item by item; what the network or disk refused is not tried again here.
  async #retryApart(keys: readonly string[], computed: readonly Computed[], error: unknown): Promise<() => void> {
    const code = error instanceof StoreError ? error.code : undefined
    if (computed.length === 1 || code !== 'STORE_CONFLICT') {
      return () => {
        for (const { item } of computed) item.reject(error)
        if (code !== 'STORE_UNAVAILABLE') return
        // The commit may have taken place: the workers look for themselves.
        for (const { worker, key } of computed.flatMap(({ outcome }) => outcome.wakes ?? []))
          this.#wake({ worker, key })
      }
    }
    const notifications: Array<() => void> = []
    for (const { item } of computed) notifications.push(await this.#runGroup(keys, [item]))
    return () => {
      for (const notify of notifications) notify()
    }
  }

  async #compute(
    item: Item,
    loaded: ReadonlyMap<string, AggregateRows>,
    before: readonly Computed[],
  ): Promise<Computed | 'commitFirst' | undefined> {
    const { unit, traceId } = item
    const now = this.#options.clock.now()
    const records: TraceRecord[] = []
    const state: UnitState = {
      now,
      rows: <T extends Table>(table: T, id: string) => {
        const rows = loaded.get(id)
        if (rows === undefined) throw new InternalError(`unit ${unit.name} reads an aggregate that it has not locked`)
        return rows.rows(table)
      },
      traced: (machine, id, event, { from, to, intents }) => {
        if (this.#options.trace === undefined) return
        const names = intents.map(intent => intent.type)
        records.push({
          at: now,
          traceId,
          unit: unit.name,
          machine,
          id,
          event,
          from,
          to,
          intents: names,
          aggregates: unit.locks,
        })
      },
    }
    try {
      const extra = await unit.load?.((table, query) => this.#read(table, query, before), state)
      const outcome = await unit.compute(state, extra)
      this.#apply(unit.name, outcome.changes ?? [], loaded)
      return { item, outcome, records }
    } catch (error) {
      if (error instanceof CommitFirst) return 'commitFirst'
      const typed = asDuologueError(error)
      item.reject(typed)
      this.#trace({ at: now, traceId, unit: unit.name, error: typed.code, aggregates: unit.locks })
      return undefined
    }
  }

  // A read sees what the units before it in its group have changed, though none of that is committed yet.
  async #read<T extends Table>(table: T, query: Query<T>, before: readonly Computed[]): Promise<Array<Row<T>>> {
    const rows = await this.#options.store.find(table, query)
    if (before.length === 0) return rows
    const seen = overlaid(
      table,
      query,
      rows,
      before.flatMap(({ outcome }) => (outcome.changes ?? []) as Change[]),
    )
    if (seen === undefined) throw new CommitFirst()
    return seen
  }

  #apply(unit: string, changes: readonly Change[], loaded: ReadonlyMap<string, AggregateRows>): void {
    const ofAggregates = changes.filter(change => this.#cache.holds(change.table))
    for (const change of ofAggregates) {
      const id = aggregateOf(change)
      if (id !== undefined && !loaded.has(id)) {
        throw new InternalError(`unit ${unit} changes an aggregate that it has not locked`, {
          field: change.table.name,
        })
      }
    }
    for (const change of ofAggregates) {
      // A put may take the place of another aggregate's row; else a change that names its aggregate is of no other.
      const id = change.op === 'put' ? undefined : aggregateOf(change)
      for (const rows of id === undefined ? loaded.values() : [loaded.get(id)]) rows?.apply(change)
    }
  }

  async #commit(computed: readonly Computed[]): Promise<void> {
    const changes = computed.flatMap(({ outcome }) => (outcome.changes ?? []) as Change[])
    const events = computed.flatMap(({ item, outcome }) =>
      (outcome.events ?? []).map((event: NewEvent) => ({ ...event, traceId: item.traceId })),
    )
    if (changes.length === 0 && events.length === 0) return
    await this.#writer.submit({ changes, events })
  }

  #wake(wake: Wake): void {
    tell(this.#options, () => this.#options.woken(wake))
  }

  #trace(record: TraceRecord): void {
    const { trace } = this.#options
    if (trace !== undefined) tell(this.#options, () => trace(record))
  }

  #record(done: Computed, durations: { compute: number; commit: number }, startedAt: number): void {
    if (this.#options.trace === undefined) return
    for (const record of done.records) this.#trace(record)
    this.#trace({
      at: startedAt,
      traceId: done.item.traceId,
      unit: done.item.unit.name,
      events: (done.outcome.events ?? []).map(event => event.type),
      wakes: [...new Set((done.outcome.wakes ?? []).map(wake => wake.worker))],
      aggregates: done.item.unit.locks,
      durations: { lock: startedAt - done.item.submittedAt, ...durations },
    })
  }
}

// Whoever listens cannot stop the writer or keep a call from being answered.
const tell = ({ failed = throwLater }: Pick<RuntimeOptions, 'failed'>, listener: () => void): void => {
  try {
    listener()
  } catch (error) {
    failed(error)
  }
}
