import type { Bytes } from '../encoding/index.js'

/**
 * Tables as data. One definition serves the SQL of Postgres and PGlite, the memory store and the types of the rows, so
 * the three stores cannot drift apart. Column names are camelCase here and snake_case in SQL.
 */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export interface ColumnTypes {
  text: string
  /** A whole number within ±2^53: ids, counters, cursors and times in milliseconds since 1970 (SQL bigint). */
  integer: number
  boolean: boolean
  /** SQL bytea. */
  bytes: Bytes
  /** SQL jsonb; never holds keys. */
  json: Json
}

export interface Column<Type extends keyof ColumnTypes = keyof ColumnTypes, Nullable extends boolean = boolean> {
  readonly type: Type
  readonly nullable: Nullable
}

const column = <T extends keyof ColumnTypes>(type: T): Column<T, false> => ({ type, nullable: false })
export const text = column('text')
export const integer = column('integer')
export const boolean = column('boolean')
export const bytes = column('bytes')
export const json = column('json')
/** The same column, where null stands for "none". */
export const nullable = <T extends keyof ColumnTypes>(column: Column<T, false>): Column<T, true> => ({
  type: column.type,
  nullable: true,
})

export interface Table<
  Columns extends Readonly<Record<string, Column>> = Readonly<Record<string, Column>>,
  Key extends string = string,
> {
  readonly name: string
  readonly columns: Columns
  /** The columns of the primary key, in order. */
  readonly key: readonly Key[]
  /** Further unique column sets; rows with a null in one of them do not conflict. */
  readonly unique: ReadonlyArray<readonly string[]>
  /** Column sets that queries use: an index each. */
  readonly indexes: ReadonlyArray<readonly string[]>
  /** Columns that are mostly null: each has an index of the rows in which it is not, so that the others pay nothing for it. */
  readonly sparse: readonly string[]
  /**
   * The column that names the aggregate to which a row belongs. Rows of such a table are few per aggregate, and the
   * runtime keeps them loaded while the aggregate is in use (see runtime/aggregates.ts).
   */
  readonly aggregate: string | undefined
  /** How the ids of its aggregates begin, where several kinds share a store; the runtime looks for no other there. */
  readonly aggregatePrefix: string | undefined
}

export const defineTable = <
  const Columns extends Readonly<Record<string, Column>>,
  const Key extends keyof Columns & string,
>(
  name: string,
  columns: Columns,
  options: {
    readonly key: readonly Key[]
    readonly unique?: ReadonlyArray<ReadonlyArray<keyof Columns & string>>
    readonly indexes?: ReadonlyArray<ReadonlyArray<keyof Columns & string>>
    readonly sparse?: ReadonlyArray<keyof Columns & string>
    readonly aggregate?: keyof Columns & string
    readonly aggregatePrefix?: string
  },
): Table<Columns, Key> => ({
  name,
  columns,
  key: options.key,
  unique: options.unique ?? [],
  indexes: options.indexes ?? [],
  sparse: options.sparse ?? [],
  aggregate: options.aggregate,
  aggregatePrefix: options.aggregatePrefix,
})

type ValueOf<C> = C extends Column<infer T, infer N> ? (N extends true ? ColumnTypes[T] | null : ColumnTypes[T]) : never

export type Row<T extends Table> = { readonly [K in keyof T['columns']]: ValueOf<T['columns'][K]> }
export type KeyOf<T extends Table> =
  T extends Table<infer C, infer K> ? { readonly [P in K & keyof C]: ValueOf<C[P]> } : never

/** A condition on one column: a plain value means equality (null: is null). */
export type Condition<V> =
  | V
  | { readonly in: readonly V[] }
  | { readonly lt: V }
  | { readonly lte: V }
  | { readonly gt: V }
  | { readonly gte: V }
  | { readonly not: V }

export type Where<T extends Table> = { readonly [K in keyof T['columns']]?: Condition<ValueOf<T['columns'][K]>> }

export interface Query<T extends Table> {
  readonly where?: Where<T>
  readonly orderBy?: ReadonlyArray<keyof T['columns'] & string>
  /** Reverses the whole order. */
  readonly descending?: boolean
  readonly limit?: number
}

/**
 * One change of one table. `insert` conflicts with an existing row, `put` replaces it; `patch` and `remove` of a row that
 * is not there do nothing. `removeUnused` takes effect at the end of its commit: it removes a row of a table with one key column
 * if no row of another table has that key in its column `usedBy.column`.
 */
export type ChangeOf<T extends Table> =
  | { readonly op: 'insert'; readonly table: T; readonly row: Row<T> }
  | { readonly op: 'put'; readonly table: T; readonly row: Row<T> }
  | { readonly op: 'patch'; readonly table: T; readonly key: KeyOf<T>; readonly set: Partial<Row<T>> }
  | { readonly op: 'remove'; readonly table: T; readonly key: KeyOf<T> }
  | { readonly op: 'removeWhere'; readonly table: T; readonly where: Where<T> }
  | { readonly op: 'removeUnused'; readonly table: T; readonly key: KeyOf<T>; readonly usedBy: TableColumn }

/** A column of a table; it should have an index. */
export interface TableColumn {
  readonly table: Table
  readonly column: string
}

export const insert = <T extends Table>(table: T, row: Row<T>): ChangeOf<Table> =>
  ({ op: 'insert', table, row }) as unknown as ChangeOf<Table>
export const put = <T extends Table>(table: T, row: Row<T>): ChangeOf<Table> =>
  ({ op: 'put', table, row }) as unknown as ChangeOf<Table>
export const patch = <T extends Table>(table: T, key: KeyOf<T>, set: Partial<Row<T>>): ChangeOf<Table> =>
  ({ op: 'patch', table, key, set }) as unknown as ChangeOf<Table>
export const remove = <T extends Table>(table: T, key: KeyOf<T>): ChangeOf<Table> =>
  ({ op: 'remove', table, key }) as unknown as ChangeOf<Table>
export const removeWhere = <T extends Table>(table: T, where: Where<T>): ChangeOf<Table> =>
  ({ op: 'removeWhere', table, where }) as unknown as ChangeOf<Table>
export const removeUnused = <T extends Table, U extends Table>(
  table: T,
  key: KeyOf<T>,
  user: U,
  column: keyof U['columns'] & string,
): ChangeOf<Table> =>
  ({ op: 'removeUnused', table, key, usedBy: { table: user, column } }) as unknown as ChangeOf<Table>
