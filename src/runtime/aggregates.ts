import type { Change, Row, Store, Table } from '../store/index.js'

/** The loaded rows of one aggregate, table by table. */
export class AggregateRows {
  readonly #rows: Map<string, ReadonlyArray<Row<Table>>>

  constructor(rows: Map<string, ReadonlyArray<Row<Table>>>) {
    this.#rows = rows
  }

  rows(table: Table): ReadonlyArray<Row<Table>> {
    return this.#rows.get(table.name) ?? []
  }

  /** A copy that can be changed without touching this one. */
  copy(): AggregateRows {
    return new AggregateRows(new Map(this.#rows))
  }

  /** Applies a change if it is of this aggregate (`id`). */
  apply(id: string, change: Change): void {
    const column = change.table.aggregate as string
    if (change.op === 'insert' || change.op === 'put') {
      if (change.row[column] !== id) return
    } else if (change.op === 'removeWhere' && change.where[column] !== id) return
    this.#rows.set(change.table.name, applyChange(this.rows(change.table), change))
  }
}

const sameKey = (table: Table, row: Row<Table>, key: Readonly<Record<string, unknown>>): boolean =>
  table.key.every(column => sameValue(row[column], key[column]))

const sameValue = (a: unknown, b: unknown): boolean =>
  a === b || (a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0)

const applyChange = (rows: ReadonlyArray<Row<Table>>, change: Change): ReadonlyArray<Row<Table>> => {
  switch (change.op) {
    case 'insert':
      return [...rows, change.row]
    case 'put':
      return [...rows.filter(row => !sameKey(change.table, row, change.row)), change.row]
    case 'patch':
      return rows.map(row => (sameKey(change.table, row, change.key) ? ({ ...row, ...change.set } as Row<Table>) : row))
    case 'remove':
      return rows.filter(row => !sameKey(change.table, row, change.key))
    case 'removeWhere':
      // An aggregate's rows are only ever removed by their aggregate as a whole.
      return []
  }
}

/**
 * Aggregates kept loaded while they are in use: only their lock's holder touches them, only a commit changes them, and a
 * failed commit drops them, so that what is here is what the database says. The least recently used leave first.
 */
export class AggregateCache {
  readonly #store: Store
  readonly #tables: readonly Table[]
  readonly #limit: number
  readonly #loaded = new Map<string, AggregateRows>()

  constructor(store: Store, tables: readonly Table[], limit: number) {
    this.#store = store
    this.#tables = tables
    this.#limit = limit
  }

  /** Whether changes of this table belong to an aggregate. */
  holds(table: Table): boolean {
    return this.#tables.includes(table)
  }

  async load(id: string): Promise<AggregateRows> {
    const known = this.#loaded.get(id)
    if (known !== undefined) {
      this.#loaded.delete(id)
      this.#loaded.set(id, known)
      return known
    }
    const results = await Promise.all(
      this.#tables.map(async table => {
        const rows = await this.#store.find(table, { where: { [table.aggregate as string]: id }, orderBy: table.key })
        return [table.name, rows] as const
      }),
    )
    return new AggregateRows(new Map(results))
  }

  /** Keeps an aggregate as a commit has left it. */
  keep(id: string, rows: AggregateRows): void {
    this.#loaded.delete(id)
    this.#loaded.set(id, rows)
    if (this.#loaded.size > this.#limit) {
      const oldest = this.#loaded.keys().next()
      if (!oldest.done) this.#loaded.delete(oldest.value)
    }
  }

  forget(id: string): void {
    this.#loaded.delete(id)
  }
}
