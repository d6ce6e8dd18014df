import { InternalError } from '../errors.js'
import { compareRows, passes, testsOf } from '../store/query.js'
import type { Change, Query, Row, Table } from '../store/index.js'
import { type AnyRow, sameValue } from '../store/values.js'

type Rows = readonly AnyRow[]

/** A list of rows in memory: which rows belong to it, and their order. */
export interface RowList {
  readonly holds: (row: AnyRow) => boolean
  readonly orderBy: readonly string[]
  readonly descending?: boolean
}

export const sameKey = (table: Table, row: AnyRow, key: AnyRow): boolean =>
  table.key.every(column => sameValue(row[column] ?? null, key[column] ?? null))

/** A list of rows after one change of their table; the list itself is not touched. */
export const changed = (list: RowList, rows: Rows, change: Change): Rows => {
  const { table } = change
  switch (change.op) {
    case 'insert':
      return list.holds(change.row) ? placed(list, rows, change.row) : rows
    case 'put': {
      const others = rows.filter(row => !sameKey(table, row, change.row))
      return list.holds(change.row) ? placed(list, others, change.row) : others
    }
    case 'patch': {
      const at = rows.findIndex(row => sameKey(table, row, change.key))
      const before = rows[at]
      if (before === undefined) return rows
      const after = patched(before, change.set)
      if (!list.holds(after)) return rows.toSpliced(at, 1)
      const moves = list.orderBy.some(column => column in change.set)
      return moves ? placed(list, rows.toSpliced(at, 1), after) : rows.with(at, after)
    }
    case 'remove':
      return rows.filter(row => !sameKey(table, row, change.key))
    case 'removeWhere': {
      const tests = testsOf(table, change.where)
      return rows.filter(row => !passes(row, tests))
    }
    case 'removeUnused':
      throw new InternalError(`only the store knows whether a row of ${table.name} is used`)
  }
}

const patched = (row: AnyRow, set: Readonly<Record<string, unknown>>): AnyRow => {
  const after: Record<string, unknown> = { ...row }
  for (const column in set) if (set[column] !== undefined) after[column] = set[column]
  return after as AnyRow
}

// Rows mostly come in order, so the place is looked for from the end.
const placed = ({ orderBy, descending = false }: RowList, rows: Rows, row: AnyRow): Rows => {
  let at = rows.length
  if (orderBy.length > 0) {
    const after = (other: AnyRow): boolean => compareRows(orderBy, other, row) * (descending ? -1 : 1) > 0
    while (at > 0 && after(rows[at - 1] as AnyRow)) at--
  }
  return rows.toSpliced(at, 0, row)
}

/**
 * The rows that a query will find once `changes` are committed, from the rows that it finds now; undefined when these do not
 * tell, because a row that was not among them may have come in.
 */
export const overlaid = <T extends Table>(
  table: T,
  query: Query<T>,
  found: ReadonlyArray<Row<T>>,
  changes: readonly Change[],
): Array<Row<T>> | undefined => {
  const { where, orderBy = [], descending = false, limit = Number.POSITIVE_INFINITY } = query as unknown as Query<Table>
  const tests = testsOf(table, where)
  const list: RowList = { holds: row => passes(row, tests), orderBy, descending }
  const watched = new Set([...Object.keys(where ?? {}), ...orderBy])
  const cut = found.length >= limit
  let rows = found as unknown as Rows
  for (const change of changes) {
    if ((change.table as Table) !== table) continue
    if (change.op === 'removeUnused') return undefined
    const before = rows
    rows = changed(list, rows, change)
    if (change.op === 'patch' && Object.keys(change.set).some(column => watched.has(column))) {
      if (cut || !before.some(row => sameKey(table, row, change.key))) return undefined
    }
    // Behind a limit there may be rows that move up.
    const left = change.op === 'put' && before.some(row => sameKey(table, row, change.row))
    if (cut && (left || rows.length < before.length)) return undefined
  }
  return rows.slice(0, limit) as unknown as Array<Row<T>>
}

/**
 * A row whose bytes are its own. Bytes that came from the network are windows into blocks of 16 KB, which a row that is kept
 * must not keep alive.
 */
export const ownedRow = <R extends Readonly<Record<string, unknown>>>(row: R): R => {
  let copy: Record<string, unknown> | undefined
  for (const column in row) {
    const value: unknown = row[column]
    if (!(value instanceof Uint8Array)) continue
    const own = ownedBytes(value)
    if (own !== value) (copy ??= { ...row })[column] = own
  }
  return (copy ?? row) as R
}

/**
 * Bytes that do not keep a much larger block in memory. Node's pool of 8 KB is left as it is: what was encoded here keeps its
 * identity, by which decoded forms are found again (ratchets).
 */
export const ownedBytes = (bytes: Uint8Array): Uint8Array =>
  bytes.buffer.byteLength <= Math.max(Buffer.poolSize, 2 * bytes.byteLength)
    ? bytes
    : Uint8Array.prototype.slice.call(bytes)
