import type { ChangeOf, Query, Row, Table, Where } from './table.js'

/** Any change of any table, as a unit of work hands it to the writer. */
export type Change = ChangeOf<Table>

export interface StoreIdentity {
  readonly systemId: string
  readonly timeline: number
}

/**
 * The store port: rows are the truth. Three implementations (Postgres, PGlite, memory) pass one compliance suite.
 * A store has exactly one owner: opening it takes a lock and raises the owner epoch, and every commit checks that epoch,
 * so a process that lost the store can never write again.
 */
export interface Store {
  readonly kind: 'postgres' | 'pglite' | 'memory'
  /** The epoch under which this process owns the store; it rises with each opening. */
  readonly epoch: number
  /** Rows of one table. Results are fresh objects: a caller may keep them. Throws StoreError. */
  find<T extends Table>(table: T, query: Query<T>): Promise<Array<Row<T>>>
  /** How many rows of a table a condition holds for. Throws StoreError. */
  count<T extends Table>(table: T, where?: Where<T>): Promise<number>
  /** How many rows have each value of a column, in no order; values that no row has are left out. Throws StoreError. */
  countBy<T extends Table, C extends keyof Row<T> & string>(
    table: T,
    column: C,
  ): Promise<Array<{ readonly value: Row<T>[C]; readonly count: number }>>
  /**
   * All changes in one transaction, or none: applied in order (only that a row which the commit removes may be gone from
   * the start, so that its unique values are free), made durable before the promise resolves. Commits happen one after the
   * other, in the order of the calls.
   * Throws StoreError `STORE_CONFLICT` when an insert meets an existing key or unique value (`facts`: table, columns,
   * constraint), `STORE_VALUE` for a value that its column does not take, `STORE_NOT_OWNER` when another process has taken
   * the store, `STORE_FULL`, `STORE_BUSY`. A broken connection is made again and the commit finished, exactly once; only
   * when that takes too long it is `STORE_UNAVAILABLE`: the commit may or may not have happened, and rows must be read anew.
   */
  commit(changes: readonly Change[]): Promise<void>
  /**
   * The database's own identity, where it has one that a restored backup does not share: a Postgres's system identifier and timeline.
   * Undefined where that is not to be known. Throws StoreError.
   */
  identity?(): Promise<StoreIdentity | undefined>
  /** Releases the lock and every connection; further calls throw `STORE_CLOSED`. */
  close(): Promise<void>
}
