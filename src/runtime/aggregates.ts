import { InternalError } from '../errors.js'
import type { Change, Row, Store, Table } from '../store/index.js'
import type { AnyRow } from '../store/values.js'
import { changed, ownedRow } from './rows.js'

/** The loaded rows of one aggregate, table by table, each in the order of its key. */
export class AggregateRows {
  readonly #id: string
  readonly #rows: Map<string, readonly AnyRow[]>

  constructor(id: string, rows: Map<string, readonly AnyRow[]>) {
    this.#id = id
    this.#rows = rows
  }

  rows<T extends Table>(table: T): ReadonlyArray<Row<T>> {
    return (this.#rows.get(table.name) ?? []) as unknown as ReadonlyArray<Row<T>>
  }

  /** A copy that can be changed without touching this one. */
  copy(): AggregateRows {
    return new AggregateRows(this.#id, new Map(this.#rows))
  }

  /** Applies a change; one of another aggregate changes nothing. */
  apply(change: Change): void {
    const column = change.table.aggregate as string
    const list = { holds: (row: AnyRow) => row[column] === this.#id, orderBy: change.table.key }
    this.#rows.set(change.table.name, changed(list, this.#rows.get(change.table.name) ?? [], owned(change)))
  }
}

const owned = (change: Change): Change => {
  if (change.op === 'insert' || change.op === 'put') return { ...change, row: ownedRow(change.row) }
  return change.op === 'patch' ? { ...change, set: ownedRow(change.set) } : change
}

/**
 * The aggregate that a change names, or undefined where it only names a row. Throws InternalError for a change that may be of
 * several aggregates.
 */
export const aggregateOf = (change: Change): string | undefined => {
  const column = change.table.aggregate as string
  switch (change.op) {
    case 'insert':
    case 'put':
      return change.row[column] as string
    case 'patch':
    case 'remove':
    case 'removeUnused':
      return (change.key as AnyRow)[column] as string | undefined
    case 'removeWhere': {
      const condition: unknown = change.where[column]
      if (typeof condition === 'string') return condition
      throw new InternalError(`a change of ${change.table.name} names no aggregate`, { field: column })
    }
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
  readonly #prefixes: readonly string[]
  readonly #loaded = new Map<string, AggregateRows>()

  constructor(store: Store, tables: readonly Table[], limit: number) {
    this.#store = store
    this.#tables = tables
    this.#limit = limit
    this.#prefixes = [...new Set(tables.flatMap(({ aggregatePrefix }) => aggregatePrefix ?? []))]
  }

  /** Whether changes of this table belong to an aggregate. */
  holds(table: Table): boolean {
    return this.#tables.includes(table)
  }

  /** Aggregates by their ids; those that are not in memory are read together. */
  async load(ids: readonly string[]): Promise<Map<string, AggregateRows>> {
    const loaded = new Map<string, AggregateRows>()
    const missing: string[] = []
    for (const id of ids) {
      const known = this.#loaded.get(id)
      if (known === undefined) {
        missing.push(id)
        continue
      }
      this.#loaded.delete(id)
      this.#loaded.set(id, known)
      loaded.set(id, known)
    }
    for (const [id, rows] of await this.#read(missing)) loaded.set(id, rows)
    return loaded
  }

  async #read(ids: readonly string[]): Promise<Map<string, AggregateRows>> {
    if (ids.length === 0) return new Map()
    const read = new Map(ids.map(id => [id, new Map<string, AnyRow[]>()]))
    await Promise.all(
      this.#tables.map(async table => {
        const column = table.aggregate as string
        const own = ids.filter(id => this.#canHold(table, id))
        if (own.length === 0) return
        const which = own.length === 1 ? own[0] : { in: own }
        for (const row of await this.#store.find(table, { where: { [column]: which }, orderBy: table.key })) {
          const tables = read.get((row as unknown as AnyRow)[column] as string)
          const rows = tables?.get(table.name)
          const owned = ownedRow(row as unknown as AnyRow)
          if (rows === undefined) tables?.set(table.name, [owned])
          else rows.push(owned)
        }
      }),
    )
    return new Map([...read].map(([id, tables]) => [id, new AggregateRows(id, tables)]))
  }

  // A kind of aggregates with a prefix of its own has rows in its own tables only.
  #canHold({ aggregatePrefix }: Table, id: string): boolean {
    if (aggregatePrefix !== undefined) return id.startsWith(aggregatePrefix)
    return !this.#prefixes.some(prefix => id.startsWith(prefix))
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
