import { randomBytes } from 'node:crypto'
import { asDuologueError, CallError, InternalError, StoreError } from '../errors.js'
import type { Change, Row, Store, Table } from '../store/index.js'
import { AggregateCache, type AggregateRows } from './aggregates.js'
import type { Clock } from './clock.js'
import { Locks } from './locks.js'
import type { Ownership, Trace, TraceRecord } from './ports.js'
import type { NewEvent, Outcome, Unit, UnitState, Wake } from './unit.js'
import { type EventRow, Writer } from './writer.js'

export interface RuntimeOptions {
  readonly store: Store
  /** Tables whose rows are kept loaded with their aggregate. */
  readonly aggregateTables: readonly Table[]
  readonly clock: Clock
  readonly ownership: Ownership
  readonly trace?: Trace
  /** Hears of committed events in cursor order, after the locks are released. */
  readonly published: (rows: readonly EventRow[]) => void
  /** Hears of work for a worker, after commit and release. */
  readonly woken: (wake: Wake) => void
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
      published: rows => options.published(rows),
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
    return new Promise<Result>((resolve, reject) => {
      if (this.#closed) throw new CallError('AGENT_CLOSED', 'the agent is closed', { field: unit.name })
      const foreign = unit.locks.find(id => !this.#options.ownership.owns(id))
      if (foreign !== undefined)
        throw new CallError('NOT_OWNER', 'another process owns this connection', { field: foreign })
      this.#locks.submit(unit.locks, {
        unit: unit as Unit<unknown, unknown>,
        traceId: randomBytes(8).toString('hex'),
        submittedAt: this.#options.clock.now(),
        resolve: resolve as (result: unknown) => void,
        reject,
      })
    })
  }

  /** Refuses new units and waits for those that run. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#locks.size > 0) await new Promise<void>(resolve => this.#idle.push(resolve))
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
      if (this.#locks.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
    }
  }

  async #process(keys: readonly string[], items: readonly Item[]): Promise<() => void> {
    const startedAt = this.#options.clock.now()
    const loaded = new Map<string, AggregateRows>()
    for (const key of keys) loaded.set(key, (await this.#cache.load(key)).copy())
    const computed: Computed[] = []
    for (const item of items) {
      const done = await this.#compute(item, loaded)
      if (done !== undefined) computed.push(done)
    }
    if (computed.length === 0) return () => {}
    const computedAt = this.#options.clock.now()
    try {
      await this.#commit(computed)
    } catch (error) {
      for (const key of keys) this.#cache.forget(key)
      return this.#retryApart(keys, computed, error)
    }
    for (const [key, rows] of loaded) this.#cache.keep(key, rows)
    const durations = { compute: computedAt - startedAt, commit: this.#options.clock.now() - computedAt }
    return () => {
      for (const done of computed) {
        this.#record(done, durations, startedAt)
        done.item.resolve(done.outcome.result)
        for (const wake of done.outcome.wakes ?? []) this.#options.woken(wake)
      }
    }
  }

  // A group whose commit met a conflict runs again, item by item; what the network or disk refused is not tried again here.
  async #retryApart(keys: readonly string[], computed: readonly Computed[], error: unknown): Promise<() => void> {
    const conflict = error instanceof StoreError && error.code === 'STORE_CONFLICT'
    if (computed.length === 1 || !conflict) {
      return () => {
        for (const { item } of computed) item.reject(error)
      }
    }
    const notifications: Array<() => void> = []
    for (const { item } of computed) notifications.push(await this.#runGroup(keys, [item]))
    return () => {
      for (const notify of notifications) notify()
    }
  }

  async #compute(item: Item, loaded: Map<string, AggregateRows>): Promise<Computed | undefined> {
    const { unit, traceId } = item
    const now = this.#options.clock.now()
    const records: TraceRecord[] = []
    const state: UnitState = {
      now,
      rows: <T extends Table>(table: T, id: string) => {
        const rows = loaded.get(id)
        if (rows === undefined) throw new InternalError(`unit ${unit.name} reads an aggregate that it has not locked`)
        return rows.rows(table) as unknown as ReadonlyArray<Row<T>>
      },
      traced: (machine, id, event, { from, to, intents }) => {
        if (this.#options.trace === undefined) return
        const names = intents.map(intent => intent.type)
        records.push({ at: now, traceId, unit: unit.name, machine, id, event, from, to, intents: names })
      },
    }
    try {
      const extra = await unit.load?.((table, query) => this.#options.store.find(table, query))
      const outcome = await unit.compute(state, extra)
      this.#apply(outcome.changes ?? [], loaded)
      return { item, outcome, records }
    } catch (error) {
      const typed = asDuologueError(error)
      this.#options.trace?.({ at: now, traceId, unit: unit.name, error: typed.code })
      item.reject(typed)
      return undefined
    }
  }

  #apply(changes: readonly Change[], loaded: Map<string, AggregateRows>): void {
    for (const change of changes) {
      if (!this.#cache.holds(change.table)) continue
      for (const [id, rows] of loaded) rows.apply(id, change)
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

  #record(done: Computed, durations: { compute: number; commit: number }, startedAt: number): void {
    const { trace } = this.#options
    if (trace === undefined) return
    for (const record of done.records) trace(record)
    trace({
      at: startedAt,
      traceId: done.item.traceId,
      unit: done.item.unit.name,
      events: (done.outcome.events ?? []).map(event => event.type),
      durations: { lock: startedAt - done.item.submittedAt, ...durations },
    })
  }
}
