import { StoreError } from '../errors.js'
import type { Change } from './port.js'
import type { Table, TableColumn, Where } from './table.js'
import { type AnyRow, checkRow, checkValue, keyString, sameValue, type Value } from './values.js'

/** One set-based write: all rows of a step are different rows of one table. */
export type Step =
  | { readonly op: 'insert' | 'put'; readonly table: Table; readonly rows: readonly AnyRow[] }
  | {
      readonly op: 'patch'
      readonly table: Table
      readonly columns: readonly string[]
      readonly patches: readonly Patch[]
    }
  | { readonly op: 'remove'; readonly table: Table; readonly keys: readonly AnyRow[] }
  | { readonly op: 'removeWhere'; readonly table: Table; readonly where: Where<Table> }
  | RemoveUnused

export interface RemoveUnused {
  readonly op: 'removeUnused'
  readonly table: Table
  readonly keys: readonly AnyRow[]
  readonly usedBy: TableColumn
}

export interface Patch {
  readonly key: AnyRow
  readonly set: AnyRow
}

/**
 * The changes of a commit as few set-based steps with the same effect: several changes of one row become one, and the rest
 * is grouped by table and operation. Tables do not depend on each other (no foreign keys), so each has a plan of its own; only
 * what is removed as unused comes after everything else.
 * The one freedom taken: a row that the commit removes may be gone from the start, so a unique value that it held is free.
 * Throws StoreError STORE_VALUE for a value its column does not take, STORE_CONFLICT for a row inserted twice.
 */
export const coalesce = (changes: readonly Change[]): Step[] => {
  const plans = new Map<Table, Plan>()
  const unused = new UnusedRows()
  for (const change of changes) {
    if (change.op === 'removeUnused') {
      unused.add(change as unknown as UnusedChange)
      continue
    }
    let plan = plans.get(change.table)
    if (plan === undefined) plans.set(change.table, (plan = new Plan(change.table)))
    plan.add(change as unknown as LooseChange)
  }
  return [...[...plans.values()].flatMap(plan => plan.finish()), ...unused.steps]
}

interface UnusedChange {
  readonly table: Table
  readonly key: AnyRow
  readonly usedBy: TableColumn
}

/** Rows to be removed if nothing uses them: each once, one step for each use. */
class UnusedRows {
  readonly #byUse = new Map<string, { step: Omit<RemoveUnused, 'keys'>; keys: Map<string, AnyRow> }>()

  add({ table, key, usedBy }: UnusedChange): void {
    const [name = '', ...more] = table.key
    if (more.length > 0) throw new StoreError('STORE_VALUE', 'more than one key column', { field: table.name })
    checkValue(table, name, key[name])
    const id = [table.name, usedBy.table.name, usedBy.column].join(' ')
    let use = this.#byUse.get(id)
    if (use === undefined) {
      use = { step: { op: 'removeUnused', table, usedBy }, keys: new Map() }
      this.#byUse.set(id, use)
    }
    use.keys.set(keyString(table.key, key), key)
  }

  get steps(): RemoveUnused[] {
    return [...this.#byUse.values()].map(({ step, keys }) => ({ ...step, keys: [...keys.values()] }))
  }
}

type LooseChange =
  | { readonly op: 'insert'; readonly row: AnyRow }
  | { readonly op: 'put'; readonly row: AnyRow }
  | { readonly op: 'patch'; readonly key: AnyRow; readonly set: AnyRow }
  | { readonly op: 'remove'; readonly key: AnyRow }
  | { readonly op: 'removeWhere'; readonly where: Where<Table> }

/** What a segment does to one row. `replace` removes it and inserts it anew. */
type Pending =
  | { readonly op: 'insert' | 'put' | 'replace'; readonly row: AnyRow }
  | { readonly op: 'patch'; readonly key: AnyRow; readonly set: AnyRow; readonly unique: boolean }
  | { readonly op: 'remove'; readonly key: AnyRow }

/** The plan of one table: finished steps, and a segment of rows that can still absorb changes. */
class Plan {
  readonly #table: Table
  /** The columns of unique sets beside the key: changes of them must keep their order. */
  readonly #unique: readonly string[]
  readonly #steps: Step[] = []
  #segment = new Map<string, Pending>()

  constructor(table: Table) {
    this.#table = table
    this.#unique = [...new Set(table.unique.flat())]
  }

  add(change: LooseChange): void {
    switch (change.op) {
      case 'insert':
      case 'put':
        return this.#write(change.op, change.row)
      case 'patch':
        this.#checkKey(change.key)
        return this.#patch(change.key, change.set)
      case 'remove':
        this.#checkKey(change.key)
        return this.#remove(change.key)
      case 'removeWhere':
        this.#flush()
        this.#steps.push({ op: 'removeWhere', table: this.#table, where: change.where })
    }
  }

  finish(): Step[] {
    this.#flush()
    return this.#steps
  }

  #write(op: 'insert' | 'put', row: AnyRow): void {
    checkRow(this.#table, row)
    const id = keyString(this.#table.key, row)
    const before = this.#segment.get(id)
    switch (before?.op) {
      case undefined:
        return this.#append(id, { op, row })
      case 'remove':
        return this.#append(id, { op: 'replace', row })
      case 'patch':
        return before.unique ? this.#afterFlush(id, { op, row }) : this.#append(id, { op, row })
      case 'insert':
      case 'put':
      case 'replace':
        if (op === 'insert') throw keyConflict(this.#table)
        if (!this.#sameUnique(before.row, row)) return this.#afterFlush(id, { op, row })
        this.#segment.set(id, { op: before.op, row })
    }
  }

  #patch(key: AnyRow, set: AnyRow): void {
    const changes = this.#checkPatch(key, set)
    if (Object.keys(changes).length === 0) return
    const id = keyString(this.#table.key, key)
    const unique = this.#unique.some(name => name in changes)
    const before = this.#segment.get(id)
    switch (before?.op) {
      case undefined:
        return this.#append(id, { op: 'patch', key, set: changes, unique })
      case 'remove':
        return
      case 'patch': {
        if (unique && before.unique) return this.#afterFlush(id, { op: 'patch', key, set: changes, unique })
        const merged: Pending = {
          op: 'patch',
          key,
          set: { ...before.set, ...changes },
          unique: unique || before.unique,
        }
        if (unique) this.#append(id, merged)
        else this.#segment.set(id, merged)
        return
      }
      case 'insert':
      case 'put':
      case 'replace': {
        const row = { ...before.row, ...changes }
        if (!this.#sameUnique(before.row, row)) this.#afterFlush(id, { op: 'patch', key, set: changes, unique })
        else this.#segment.set(id, { op: before.op, row })
      }
    }
  }

  #checkKey(key: AnyRow): void {
    for (const name of this.#table.key) checkValue(this.#table, name, key[name])
  }

  /** The columns of a patch; the key may be repeated in it but never changed. */
  #checkPatch(key: AnyRow, set: AnyRow): AnyRow {
    const changes: Record<string, Value> = {}
    for (const [name, value] of Object.entries(set)) {
      if (value === undefined) continue
      checkValue(this.#table, name, value)
      if (!this.#table.key.includes(name)) changes[name] = value
      else if (!sameValue(value, key[name] ?? null)) {
        throw new StoreError('STORE_VALUE', 'a patch cannot change the key of a row', {
          field: `${this.#table.name}.${name}`,
          hint: 'remove the row and insert it anew',
        })
      }
    }
    return changes
  }

  #remove(key: AnyRow): void {
    const id = keyString(this.#table.key, key)
    // An insert must still meet what it conflicts with, even when its row does not stay.
    if (this.#segment.get(id)?.op === 'insert') this.#afterFlush(id, { op: 'remove', key })
    else this.#append(id, { op: 'remove', key })
  }

  #sameUnique(a: AnyRow, b: AnyRow): boolean {
    return this.#unique.every(name => sameValue(a[name] ?? null, b[name] ?? null))
  }

  /** Puts a change at the end of the segment, in place of what the row had there. */
  #append(id: string, pending: Pending): void {
    this.#segment.delete(id)
    this.#segment.set(id, pending)
  }

  #afterFlush(id: string, pending: Pending): void {
    this.#flush()
    this.#segment.set(id, pending)
  }

  #flush(): void {
    if (this.#segment.size === 0) return
    const pending = [...this.#segment.values()]
    this.#segment = new Map()
    this.#flushRemoves(pending)
    this.#flushPatches(pending)
    if (this.#unique.length === 0) this.#flushWrites(pending)
    else this.#flushInOrder(pending)
  }

  #flushRemoves(pending: readonly Pending[]): void {
    const keys: AnyRow[] = []
    for (const item of pending) {
      if (item.op === 'remove') keys.push(item.key)
      else if (item.op === 'replace' && this.#unique.length > 0) keys.push(item.row)
    }
    if (keys.length > 0) this.#steps.push({ op: 'remove', table: this.#table, keys })
  }

  #flushPatches(pending: readonly Pending[]): void {
    const groups = new Map<string, { columns: string[]; patches: Patch[] }>()
    for (const item of pending) {
      if (item.op !== 'patch' || item.unique) continue
      const columns = Object.keys(item.set).sort()
      const id = columns.join()
      const group = groups.get(id)
      if (group === undefined) groups.set(id, { columns, patches: [item] })
      else group.patches.push(item)
    }
    for (const group of groups.values()) this.#steps.push({ op: 'patch', table: this.#table, ...group })
  }

  /** Without unique sets different rows never conflict: one step for all puts, one for all inserts. */
  #flushWrites(pending: readonly Pending[]): void {
    const puts: AnyRow[] = []
    const inserts: AnyRow[] = []
    for (const item of pending) {
      if (item.op === 'insert') inserts.push(item.row)
      else if (item.op === 'put' || item.op === 'replace') puts.push(item.row)
    }
    if (puts.length > 0) this.#steps.push({ op: 'put', table: this.#table, rows: puts })
    if (inserts.length > 0) this.#steps.push({ op: 'insert', table: this.#table, rows: inserts })
  }

  /** Whatever takes unique values keeps its order; only neighbours of one kind share a step. */
  #flushInOrder(pending: readonly Pending[]): void {
    let rows: AnyRow[] = []
    let last: 'insert' | 'put' | undefined
    for (const item of pending) {
      if (item.op === 'remove') continue
      if (item.op === 'patch') {
        if (!item.unique) continue
        last = undefined
        this.#steps.push({ op: 'patch', table: this.#table, columns: Object.keys(item.set).sort(), patches: [item] })
        continue
      }
      const op = item.op === 'put' ? 'put' : 'insert'
      if (op !== last) this.#steps.push({ op: (last = op), table: this.#table, rows: (rows = []) })
      rows.push(item.row)
    }
  }
}

/** The error for an insert that meets an existing key. */
export const keyConflict = (table: Table): StoreError => conflict(table, table.key, `${table.name}_pkey`)

/** STORE_CONFLICT: `facts` name the table, the columns of the key or unique set, and the constraint. */
export const conflict = (table: Table, columns: readonly string[], constraint: string): StoreError =>
  new StoreError('STORE_CONFLICT', `${table.name} has a row with the same ${columns.join(', ')}`, {
    field: table.name,
    facts: { table: table.name, columns: columns.join(), constraint },
  })
