import { StoreError } from '../../src/errors.js'
import type { Trace } from '../../src/runtime/ports.js'
import { Runtime, type RuntimeOptions } from '../../src/runtime/runtime.js'
import type { NewEvent, Unit, Wake } from '../../src/runtime/unit.js'
import type { EventRow } from '../../src/runtime/writer.js'
import {
  bytes,
  type Change,
  defineTable,
  integer,
  json,
  nullable,
  openMemoryStore,
  type MemoryStore,
  type Query,
  type Row,
  type Store,
  type Table,
  text,
} from '../../src/store/index.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'

/** The root of a test aggregate. */
export const accounts = defineTable(
  'accounts',
  { account: text, balance: integer, data: nullable(bytes) },
  { key: ['account'], aggregate: 'account' },
)

/** Rows of an aggregate with a key of their own, and something unique. */
export const entries = defineTable(
  'entries',
  { entry: text, account: text, place: integer, tag: nullable(text) },
  { key: ['entry'], unique: [['tag']], indexes: [['account']], aggregate: 'account' },
)

/** A table that belongs to no aggregate: what a unit reads in its load phase. */
export const journal = defineTable(
  'journal',
  { account: text, line: integer, word: nullable(text), extra: json },
  { key: ['account', 'line'], unique: [['account', 'word']] },
)

export const aggregateTables: readonly Table[] = [accounts, entries]

export interface WatchedStore extends Store {
  readonly memory: MemoryStore
  /** Every commit that was asked for, and whether it took place. */
  readonly commits: Array<{ readonly changes: readonly Change[]; failed?: string }>
  /** Called before every commit; what it returns is waited for. */
  beforeCommit: () => Promise<void> | void
  beforeFind: (table: Table) => Promise<void> | void
}

/** A memory store that notes what is asked of it, and that a test can hold up. */
export const watchedStore = (memory: MemoryStore = openMemoryStore()): WatchedStore => {
  const store: WatchedStore = {
    memory,
    kind: 'memory',
    epoch: memory.epoch,
    commits: [],
    beforeCommit: () => {},
    beforeFind: () => {},
    find: async <T extends Table>(table: T, query: Query<T>): Promise<Array<Row<T>>> => {
      await store.beforeFind(table)
      return memory.find(table, query)
    },
    count: (table, where) => memory.count(table, where),
    countBy: (table, column) => memory.countBy(table, column),
    commit: async changes => {
      const noted: { changes: readonly Change[]; failed?: string } = { changes }
      store.commits.push(noted)
      await store.beforeCommit()
      try {
        await memory.commit(changes)
      } catch (error) {
        noted.failed = error instanceof StoreError ? error.code : 'other'
        throw error
      }
    },
    close: () => memory.close(),
  }
  return store
}

export interface OpenRuntime {
  readonly runtime: Runtime
  readonly store: WatchedStore
  readonly clock: VirtualClock
  readonly published: EventRow[]
  readonly woken: Wake[]
  readonly traced: Array<Parameters<Trace>[0]>
  readonly failures: unknown[]
}

export const openRuntime = async (
  options: Partial<RuntimeOptions> & { readonly store?: WatchedStore } = {},
): Promise<OpenRuntime> => {
  const store = options.store ?? watchedStore()
  const clock = virtualClock(0)
  const published: EventRow[] = []
  const woken: Wake[] = []
  const traced: Array<Parameters<Trace>[0]> = []
  const failures: unknown[] = []
  const runtime = await Runtime.open({
    aggregateTables,
    clock,
    ownership: { owns: () => true },
    trace: record => traced.push(record),
    published: rows => published.push(...rows),
    woken: wake => woken.push(wake),
    failed: error => failures.push(error),
    ...options,
    store,
  })
  return { runtime, store, clock, published, woken, traced, failures }
}

/** A unit with the parts that every test needs to name. */
export const unit = <Result, Loaded = void>(
  account: string | readonly string[],
  compute: Unit<Loaded, Result>['compute'],
  more: Partial<Unit<Loaded, Result>> = {},
): Unit<Loaded, Result> => ({
  name: 'test',
  locks: typeof account === 'string' ? [account] : account,
  compute,
  ...more,
})

export const event = (connectionId: string, type: string, more: Partial<NewEvent> = {}): NewEvent => ({
  network: 'simplex',
  userId: 1,
  connectionId,
  type,
  payload: {},
  ...more,
})

export const account = (name: string, balance = 0): Row<typeof accounts> => ({ account: name, balance, data: null })

export const unavailable = (): StoreError => new StoreError('STORE_UNAVAILABLE', 'the database is away')

/** A gate that a test opens: whatever awaits `passed` stands still until then. */
export const gate = (): { readonly passed: Promise<void>; readonly open: () => void } => {
  let open = (): void => {}
  const passed = new Promise<void>(resolve => {
    open = resolve
  })
  return { passed, open }
}

/** Lets all promise work that is ready finish. */
export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise<void>(resolve => setImmediate(resolve))
}
