import type { Change, Query, Row, Table } from '../../src/store/index.js'

/** What a store must do, written as plainly as possible: the measure for the real ones. Strict about the order of changes. */
type Any = Record<string, unknown>

export class NaiveStore {
  #tables = new Map<string, Any[]>()

  find<T extends Table>(table: T, query: Query<T>): Array<Row<T>> {
    let rows = this.#rows(table).filter(row => holds(row, (query.where ?? {}) as Any))
    for (const column of [...(query.orderBy ?? [])].reverse()) {
      rows = rows
        .map((row, index) => ({ row, index }))
        .sort((a, b) => order(a.row[column], b.row[column]) || a.index - b.index)
        .map(({ row }) => row)
    }
    if (query.descending === true) rows.reverse()
    return rows.slice(0, query.limit) as Array<Row<T>>
  }

  /** False when the changes conflict; then nothing has changed. */
  commit(changes: readonly Change[]): boolean {
    const before = new Map([...this.#tables].map(([name, rows]) => [name, [...rows]]))
    const unused = changes.filter(change => change.op === 'removeUnused')
    for (const change of [...changes.filter(change => change.op !== 'removeUnused'), ...unused]) {
      if (this.#apply(change as unknown as Any & { table: Table })) continue
      this.#tables = before
      return false
    }
    return true
  }

  #rows(table: Table): Any[] {
    const rows = this.#tables.get(table.name) ?? []
    this.#tables.set(table.name, rows)
    return rows
  }

  #apply(change: Any & { table: Table }): boolean {
    const { table } = change
    const rows = this.#rows(table)
    const keyOf = (row: Any) => table.key.map(name => text(row[name])).join('\0')
    const target = keyOf((change.row ?? change.key ?? {}) as Any)
    const index = rows.findIndex(row => keyOf(row) === target)
    switch (change.op) {
      case 'insert':
        if (index >= 0) return false
        rows.push(change.row as Any)
        return this.#unique(table, change.row as Any)
      case 'put':
        if (index >= 0) rows[index] = change.row as Any
        else rows.push(change.row as Any)
        return this.#unique(table, change.row as Any)
      case 'patch': {
        if (index < 0) return true
        const row = { ...rows[index], ...(change.set as Any) }
        rows[index] = row
        return this.#unique(table, row)
      }
      case 'remove':
        if (index >= 0) rows.splice(index, 1)
        return true
      case 'removeUnused': {
        const { table: user, column } = change.usedBy as { table: Table; column: string }
        const key = (change.key as Any)[table.key[0] ?? '']
        if (index >= 0 && !this.#rows(user).some(row => same(row[column], key))) rows.splice(index, 1)
        return true
      }
      default:
        this.#tables.set(
          table.name,
          rows.filter(row => !holds(row, change.where as Any)),
        )
        return true
    }
  }

  #unique(table: Table, row: Any): boolean {
    return table.unique.every(
      columns =>
        columns.some(name => row[name] === null) ||
        this.#rows(table).filter(other => columns.every(name => same(other[name], row[name]))).length < 2,
    )
  }
}

const text = (value: unknown): string =>
  value instanceof Uint8Array ? `b${Buffer.from(value).toString('hex')}` : `${typeof value}${String(value)}`
const same = (a: unknown, b: unknown): boolean => text(a) === text(b)

const order = (a: unknown, b: unknown): number => {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b)
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return Number(a) - Number(b)
}

const holds = (row: Any, where: Any): boolean =>
  Object.entries(where).every(([name, condition]) => {
    const value = row[name]
    if (condition === null || typeof condition !== 'object' || condition instanceof Uint8Array)
      return same(value, condition)
    const [op, operand] = Object.entries(condition)[0] as [string, unknown]
    if (op === 'in') return (operand as unknown[]).some(one => same(value, one))
    if (op === 'not') return !same(value, operand)
    if (value === null || operand === null) return false
    const sign = order(value, operand)
    return { lt: sign < 0, lte: sign <= 0, gt: sign > 0, gte: sign >= 0 }[op] === true
  })
