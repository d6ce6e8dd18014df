import { conflict, keyConflict, type Patch, type RemoveUnused, type Step } from './coalesce.js'
import { snakeCase } from './names.js'
import { checkGrouped, checkQuery, compareRows, passes, type Test, testsOf } from './query.js'
import type { Query, Table, Where } from './table.js'
import { type AnyRow, copyRow, copyValue, keyString, type Value, valueKey } from './values.js'

/** How to take back one write: the row under the key as it was. */
export interface Undo {
  readonly table: MemoryTable
  readonly id: string
  readonly before: AnyRow | undefined
}

/**
 * The rows of one table with their indexes. Unique sets have a map each; the other paths to rows are built when a query
 * first needs them and kept from then on, so that a table pays only for the indexes that are used.
 */
export class MemoryTable {
  readonly #table: Table
  readonly #rows = new Map<string, AnyRow>()
  readonly #unique: ReadonlyArray<{ readonly columns: readonly string[]; readonly ids: Map<string, string> }>
  readonly #paths = new Map<string, Path>()
  readonly #indexes: ReadonlyArray<readonly string[]>

  constructor(table: Table) {
    this.#table = table
    this.#unique = table.unique.map(columns => ({ columns, ids: new Map() }))
    this.#indexes = [
      table.key,
      ...table.unique,
      ...table.indexes,
      ...table.sparse.map(column => [column]),
      ...(table.aggregate === undefined ? [] : [[table.aggregate]]),
    ]
  }

  /** Does one step, noting how to undo it. Throws StoreError STORE_CONFLICT; what was done before it stays for the undo. */
  apply(step: Exclude<Step, RemoveUnused>, undo: Undo[]): void {
    switch (step.op) {
      case 'insert':
        for (const row of step.rows) {
          const id = keyString(this.#table.key, row)
          if (this.#rows.has(id)) throw keyConflict(this.#table)
          this.#set(id, copyRow(this.#table, row), undo)
        }
        return
      case 'put':
        for (const row of step.rows) this.#set(keyString(this.#table.key, row), copyRow(this.#table, row), undo)
        return
      case 'patch':
        for (const patch of step.patches) this.#patch(patch, undo)
        return
      case 'remove':
        for (const key of step.keys) this.#set(keyString(this.#table.key, key), undefined, undo)
        return
      case 'removeWhere':
        for (const row of this.#select({ where: step.where })) {
          this.#set(keyString(this.#table.key, row), undefined, undo)
        }
    }
  }

  restore({ id, before }: Undo): void {
    this.#replace(id, this.#rows.get(id), before)
  }

  /** Copies of the rows that a query asks for. Throws StoreError STORE_QUERY. */
  find(query: Query<Table>): AnyRow[] {
    return this.#select(query).map(row => copyRow(this.#table, row))
  }

  /** How many rows a condition holds for. Throws StoreError STORE_QUERY. */
  count(where: Where<Table> | undefined): number {
    return where === undefined ? this.#rows.size : this.#select({ where }).length
  }

  /** How many rows have each value of a column. Throws StoreError STORE_QUERY. */
  countBy(column: string): Array<{ value: Value; count: number }> {
    checkGrouped(this.#table, column)
    const counts = new Map<string, { value: Value; count: number }>()
    for (const row of this.#rows.values()) {
      const id = keyString([column], row)
      const known = counts.get(id)
      if (known === undefined) counts.set(id, { value: row[column] ?? null, count: 1 })
      else known.count++
    }
    return [...counts.values()]
  }

  #patch({ key, set }: Patch, undo: Undo[]): void {
    const id = keyString(this.#table.key, key)
    const before = this.#rows.get(id)
    if (before === undefined) return
    const row: Record<string, Value> = { ...before }
    for (const [name, value] of Object.entries(set)) {
      const column = this.#table.columns[name]
      if (column !== undefined) row[name] = copyValue(column, value)
    }
    this.#set(id, row, undo)
  }

  #set(id: string, row: AnyRow | undefined, undo: Undo[]): void {
    const before = this.#rows.get(id)
    if (before === undefined && row === undefined) return
    if (row !== undefined) this.#checkUnique(id, row)
    undo.push({ table: this, id, before })
    this.#replace(id, before, row)
  }

  #checkUnique(id: string, row: AnyRow): void {
    for (const { columns, ids } of this.#unique) {
      if (hasNull(columns, row)) continue
      const holder = ids.get(keyString(columns, row))
      if (holder !== undefined && holder !== id) {
        throw conflict(this.#table, columns, `${this.#table.name}_${columns.map(snakeCase).join('_')}_key`)
      }
    }
  }

  #replace(id: string, before: AnyRow | undefined, row: AnyRow | undefined): void {
    if (before !== undefined) {
      for (const { columns, ids } of this.#unique) if (!hasNull(columns, before)) ids.delete(keyString(columns, before))
      for (const path of this.#paths.values()) path.remove(before)
    }
    if (row === undefined) {
      this.#rows.delete(id)
      return
    }
    this.#rows.set(id, row)
    for (const { columns, ids } of this.#unique) if (!hasNull(columns, row)) ids.set(keyString(columns, row), id)
    for (const path of this.#paths.values()) path.add(row)
  }

  #select(query: {
    where?: Where<Table>
    orderBy?: readonly string[]
    descending?: boolean
    limit?: number
  }): AnyRow[] {
    const table = this.#table
    const tests = testsOf(table, query.where)
    checkQuery(table, query as Query<Table>)
    const limit = query.limit ?? Number.POSITIVE_INFINITY
    if (limit === 0) return []
    const orderBy = query.orderBy ?? []
    const descending = query.descending === true
    const candidates = this.#candidates(tests, orderBy)
    const rows: AnyRow[] = []
    for (const row of candidates.ordered && descending ? candidates.backward() : candidates.forward()) {
      if (!passes(row, tests)) continue
      rows.push(row)
      if (rows.length >= limit && (candidates.ordered || orderBy.length === 0)) break
    }
    if (candidates.ordered || orderBy.length === 0) return rows
    rows.sort((a, b) => compareRows(orderBy, a, b) * (descending ? -1 : 1))
    return rows.length > limit ? rows.slice(0, limit) : rows
  }

  /** The rows among which a query has to look: by key, by the index that narrows most, or all. */
  #candidates(tests: readonly Test[], orderBy: readonly string[]): Candidates {
    const equal = new Map<string, readonly Value[]>()
    for (const test of tests) {
      if (test.op === 'equal') equal.set(test.column, [test.value])
      else if (test.op === 'in') equal.set(test.column, test.values)
    }
    if (this.#table.key.every(name => equal.has(name))) {
      const rows = combinations(this.#table.key, equal).map(key => this.#rows.get(keyString(this.#table.key, key)))
      return unordered(rows.filter(row => row !== undefined))
    }
    const single = (name: string) => equal.get(name)?.length === 1
    const order = orderBy.filter(name => !single(name))
    const findsNull = (name: string) => equal.get(name)?.includes(null) !== false
    let best: { columns: readonly string[]; width: number; ordered: boolean; score: number } | undefined
    for (const columns of this.#indexes) {
      if (this.#isSparse(columns) && columns.some(findsNull)) continue
      let width = 0
      while (width < columns.length && equal.has(columns[width] ?? '')) width++
      const ordered =
        order.length > 0 &&
        columns.slice(0, width).every(single) &&
        order.every((name, index) => columns[width + index] === name)
      const range = tests.some(test => test.column === columns[width])
      const score = width * 4 + (ordered ? 2 : 0) + (range ? 1 : 0)
      if (score > (best?.score ?? 0)) best = { columns, width, ordered, score }
    }
    if (best === undefined) return unordered(this.#rows.values())
    const rest = best.columns.slice(best.width)
    const path = this.#path(best.columns.slice(0, best.width), rest)
    if (!best.ordered && rest.length === 0) {
      const keys = new Set(combinations(path.columns, equal).map(key => keyString(path.columns, key)))
      return unordered([...keys].flatMap(key => path.bucket(key)))
    }
    const keys = [...new Set(combinations(path.columns, equal).map(key => keyString(path.columns, key)))]
    const [first = ''] = keys
    if (keys.length === 1) return range(path.bucket(first), rest[0], tests, best.ordered)
    return unordered(keys.flatMap(key => path.bucket(key)))
  }

  #isSparse(columns: readonly string[]): boolean {
    return columns.length === 1 && this.#table.sparse.includes(columns[0] ?? '')
  }

  #path(columns: readonly string[], order: readonly string[]): Path {
    const id = `${columns.join()}|${order.join()}`
    let path = this.#paths.get(id)
    if (path === undefined) {
      path = new Path(columns, order, this.#table.key, this.#isSparse(columns))
      this.#paths.set(id, path)
      for (const row of this.#rows.values()) path.add(row)
    }
    return path
  }
}

interface Candidates {
  /** Whether they come in the order that the query asks for. */
  readonly ordered: boolean
  forward(): Iterable<AnyRow>
  backward(): Iterable<AnyRow>
}

const unordered = (rows: Iterable<AnyRow>): Candidates => ({
  ordered: false,
  forward: () => rows,
  backward: () => rows,
})

/** The part of a sorted bucket that the comparisons of its first ordering column leave. */
const range = (
  rows: readonly AnyRow[],
  column: string | undefined,
  tests: readonly Test[],
  ordered: boolean,
): Candidates => {
  let from = 0
  let to = rows.length
  for (const test of tests) {
    if (column === undefined || test.column !== column || test.op === 'in' || test.op === 'not') continue
    const probe: AnyRow = { [column]: test.value }
    const first = lowerBound(rows, [column], probe, false)
    const past = lowerBound(rows, [column], probe, true)
    if (test.op === 'gt' || test.op === 'gte') from = Math.max(from, test.op === 'gt' ? past : first)
    if (test.op === 'lt' || test.op === 'lte') to = Math.min(to, test.op === 'lt' ? first : past)
  }
  return {
    ordered,
    *forward() {
      for (let i = from; i < to; i++) yield rows[i] as AnyRow
    },
    *backward() {
      for (let i = to - 1; i >= from; i--) yield rows[i] as AnyRow
    },
  }
}

/** Rows by the values of some columns, each bucket sorted by further columns and the key. */
class Path {
  readonly columns: readonly string[]
  readonly #order: readonly string[]
  /** Rows with a null in the columns are left out. */
  readonly #sparse: boolean
  readonly #buckets = new Map<string, AnyRow[]>()

  constructor(columns: readonly string[], order: readonly string[], key: readonly string[], sparse: boolean) {
    this.columns = columns
    this.#order = [...new Set([...order, ...key])]
    this.#sparse = sparse
  }

  bucket(key: string): readonly AnyRow[] {
    return this.#buckets.get(key) ?? []
  }

  add(row: AnyRow): void {
    if (this.#sparse && hasNull(this.columns, row)) return
    const key = keyString(this.columns, row)
    const bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      this.#buckets.set(key, [row])
      return
    }
    const last = bucket.at(-1)
    if (last !== undefined && compareRows(this.#order, last, row) < 0) bucket.push(row)
    else bucket.splice(lowerBound(bucket, this.#order, row, false), 0, row)
  }

  remove(row: AnyRow): void {
    if (this.#sparse && hasNull(this.columns, row)) return
    const key = keyString(this.columns, row)
    const bucket = this.#buckets.get(key)
    if (bucket === undefined) return
    if (bucket.length === 1) {
      this.#buckets.delete(key)
      return
    }
    const at = lowerBound(bucket, this.#order, row, false)
    if (at === 0) bucket.shift()
    else bucket.splice(at, 1)
  }
}

/** The first place whose row is not before (or, with `past`, is after) the probe. */
const lowerBound = (rows: readonly AnyRow[], columns: readonly string[], probe: AnyRow, past: boolean): number => {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const order = compareRows(columns, rows[middle] as AnyRow, probe)
    if (order < 0 || (past && order === 0)) low = middle + 1
    else high = middle
  }
  return low
}

/** Every way to give the columns one of their values each. */
const combinations = (columns: readonly string[], values: ReadonlyMap<string, readonly Value[]>): AnyRow[] => {
  let keys: AnyRow[] = [{}]
  for (const column of columns) {
    keys = keys.flatMap(key => distinct(values.get(column) ?? []).map(value => ({ ...key, [column]: value })))
  }
  return keys
}

const distinct = (values: readonly Value[]): readonly Value[] =>
  values.length < 2 ? values : [...new Map(values.map(value => [valueKey(value), value])).values()]

const hasNull = (columns: readonly string[], row: AnyRow): boolean => columns.some(name => (row[name] ?? null) === null)
