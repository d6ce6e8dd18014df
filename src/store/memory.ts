import { StoreError } from '../errors.js'
import { coalesce, type RemoveUnused, type Step } from './coalesce.js'
import { MemoryTable, type Undo } from './memoryTable.js'
import type { Change, Store } from './port.js'
import type { Query, Row, Table, Where } from './table.js'
import type { AnyRow } from './values.js'

/** The store without a database: for simulation, tests and the floor of the benchmarks. Nothing survives the process. */
export interface MemoryStore extends Store {
  readonly kind: 'memory'
  /**
   * The next commit fails with this error. With `applied` its changes are made all the same, as when a connection breaks
   * between a commit and its answer. Several calls queue up.
   */
  failNext(error: StoreError, options?: { readonly applied?: boolean }): void
  /** The same rows under a new epoch, as after a restart: this store can no longer commit. */
  reopen(): MemoryStore
}

/** What outlives one opening: the rows and the epoch of the last owner. */
class MemoryData {
  readonly #tables = new Map<string, MemoryTable>()
  epoch = 0

  table(table: Table): MemoryTable {
    let found = this.#tables.get(table.name)
    if (found === undefined) this.#tables.set(table.name, (found = new MemoryTable(table)))
    return found
  }

  /** All changes or none. Throws StoreError. */
  commit(changes: readonly Change[]): void {
    const steps = coalesce(changes)
    const undo: Undo[] = []
    try {
      for (const step of steps) {
        this.table(step.table).apply(step.op === 'removeUnused' ? this.#unused(step) : step, undo)
      }
    } catch (error) {
      for (const entry of undo.reverse()) entry.table.restore(entry)
      throw error
    }
  }

  #unused({ table, keys, usedBy }: RemoveUnused): Exclude<Step, RemoveUnused> {
    const users = this.table(usedBy.table)
    const [name = ''] = table.key
    const isUsed = (key: AnyRow): boolean => users.count({ [usedBy.column]: key[name] } as Where<Table>) > 0
    return { op: 'remove', table, keys: keys.filter(key => !isUsed(key)) }
  }
}

/**
 * Opens an empty memory store. Commits and finds take effect at the call and their promises settle in a fixed number of
 * microtasks, without timers, so a simulation replays exactly. Tables come to be when they are first used.
 */
export const openMemoryStore = (): MemoryStore => new OpenMemoryStore(new MemoryData())

class OpenMemoryStore implements MemoryStore {
  readonly kind = 'memory'
  readonly epoch: number
  readonly #data: MemoryData
  readonly #failures: Array<{ readonly error: StoreError; readonly applied: boolean }> = []
  #closed = false

  constructor(data: MemoryData) {
    this.#data = data
    this.epoch = ++data.epoch
  }

  async find<T extends Table>(table: T, query: Query<T>): Promise<Array<Row<T>>> {
    this.#checkOpen()
    return this.#data.table(table).find(query as unknown as Query<Table>) as unknown as Array<Row<T>>
  }

  async count<T extends Table>(table: T, where?: Where<T>): Promise<number> {
    this.#checkOpen()
    return this.#data.table(table).count(where as unknown as Where<Table>)
  }

  async countBy<T extends Table, C extends keyof Row<T> & string>(
    table: T,
    column: C,
  ): Promise<Array<{ value: Row<T>[C]; count: number }>> {
    this.#checkOpen()
    return this.#data.table(table).countBy(column) as Array<{ value: Row<T>[C]; count: number }>
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#checkOpen()
    const failure = this.#failures.shift()
    if (failure === undefined || failure.applied) this.#data.commit(changes)
    if (failure !== undefined) throw failure.error
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  failNext(error: StoreError, options: { readonly applied?: boolean } = {}): void {
    this.#failures.push({ error, applied: options.applied === true })
  }

  reopen(): MemoryStore {
    return new OpenMemoryStore(this.#data)
  }

  #checkOpen(): void {
    if (this.#closed) throw storeClosed()
    if (this.epoch !== this.#data.epoch) throw notOwner('memory')
  }
}

export const storeClosed = (): StoreError => new StoreError('STORE_CLOSED', 'the store is closed')

/** Another opening has raised the epoch: whoever gets this must stop. */
export const notOwner = (field: string): StoreError =>
  new StoreError('STORE_NOT_OWNER', 'another process has taken the store', {
    field,
    hint: 'stop this process, or open the store again',
  })
