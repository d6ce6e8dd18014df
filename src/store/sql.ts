import { StoreError } from '../errors.js'
import type { Patch, Step } from './coalesce.js'
import { quoted, snakeCase } from './names.js'
import { checkGrouped, checkQuery, type Test, testsOf } from './query.js'
import type { Column, Query, Table, Where } from './table.js'
import { type AnyRow, isBytes, type Value } from './values.js'

/** A parameter as the wire takes it: text, or bytes in binary form. */
export type Param = string | Buffer | null

/** One SQL statement. Texts repeat, so a session can prepare each once. `types` are the type oids of the parameters. */
export interface Statement {
  readonly text: string
  readonly types: readonly number[]
  readonly params: readonly Param[]
}

const typeOids = { text: 25, integer: 20, boolean: 16, bytes: 17, json: 3802 } as const
const arrayOids = { text: 1009, integer: 1016, boolean: 1000 } as const

/**
 * How many rows one statement carries. Rows are dealt to these sizes, largest first, so there are few texts to prepare;
 * the statements of a commit travel together, so more of them cost little (measured: as fast as one statement of exact size).
 */
const rowsPerStatement = [32, 8, 1] as const

/** The statements of one step, in order. Throws StoreError STORE_QUERY for a `where` that cannot be asked. */
export const writeStatements = (step: Step): Statement[] => {
  const { table } = step
  switch (step.op) {
    case 'insert':
    case 'put': {
      const columns = Object.keys(table.columns)
      return deal(step.rows).map(rows => ({
        ...template(table, step.op, columns, rows.length),
        params: rows.flatMap(row => columns.map(name => param(table, name, row[name] ?? null))),
      }))
    }
    case 'patch':
      return deal(step.patches).map(patches => ({
        ...template(table, 'patch', step.columns, patches.length),
        params: patches.flatMap(patch => patchParams(table, step.columns, patch)),
      }))
    case 'remove':
      return deal(step.keys).map(keys => ({
        ...template(table, 'remove', [], keys.length),
        params: keys.flatMap(key => table.key.map(name => param(table, name, key[name] ?? null))),
      }))
    case 'removeUnused':
      return deal(step.keys).map(keys => ({
        ...template(table, 'removeUnused', [step.usedBy.table.name, step.usedBy.column], keys.length),
        params: keys.flatMap(key => table.key.map(name => param(table, name, key[name] ?? null))),
      }))
    case 'removeWhere': {
      const where = new WhereClause(table, step.where)
      return where.never ? [] : [where.statement(`DELETE FROM ${quoted(table.name)}${where.sql}`)]
    }
  }
}

const patchParams = (table: Table, columns: readonly string[], { key, set }: Patch): Param[] => [
  ...table.key.map(name => param(table, name, key[name] ?? null)),
  ...columns.map(name => param(table, name, set[name] ?? null)),
]

const deal = <Item>(items: readonly Item[]): Array<readonly Item[]> => {
  const dealt: Array<readonly Item[]> = []
  let from = 0
  for (const size of rowsPerStatement) {
    while (items.length - from >= size) dealt.push(items.slice(from, (from += size)))
  }
  return dealt
}

/**
 * Text and parameter types of a write, built once for each table, operation, column set and number of rows. For `removeUnused` the
 * columns are the name of the table that uses the rows, and its column.
 */
const template = (
  table: Table,
  op: keyof typeof writeText,
  columns: readonly string[],
  rows: number,
): { text: string; types: readonly number[] } => {
  let templates = templatesOf.get(table)
  if (templates === undefined) templatesOf.set(table, (templates = new Map()))
  const id = `${op} ${rows} ${op === 'patch' || op === 'removeUnused' ? columns.join() : ''}`
  let found = templates.get(id)
  if (found === undefined) {
    const names = op === 'insert' || op === 'put' ? columns : [...table.key, ...(op === 'patch' ? columns : [])]
    const types = names.map(name => typeOids[columnOf(table, name).type])
    found = {
      text: writeText[op](table, columns, valuesList(rows, names.length)),
      types: Array.from({ length: rows }, () => types).flat(),
    }
    templates.set(id, found)
  }
  return found
}

const templatesOf = new WeakMap<Table, Map<string, { text: string; types: readonly number[] }>>()

const writeText = {
  insert: (table: Table, columns: readonly string[], values: string) =>
    `INSERT INTO ${quoted(table.name)} (${list(columns)}) VALUES ${values}`,
  put: (table: Table, columns: readonly string[], values: string) => {
    const rest = columns.filter(name => !table.key.includes(name))
    const update = rest.map(name => `${sqlName(name)} = excluded.${sqlName(name)}`).join(', ')
    return `${writeText.insert(table, columns, values)} ON CONFLICT (${list(table.key)}) DO ${update === '' ? 'NOTHING' : `UPDATE SET ${update}`}`
  },
  patch: (table: Table, columns: readonly string[], values: string) => {
    const set = columns.map((name, index) => `${sqlName(name)} = v.c${table.key.length + index}`).join(', ')
    const names = [...table.key, ...columns].map((_, index) => `c${index}`).join(', ')
    return `UPDATE ${quoted(table.name)} t SET ${set} FROM (VALUES ${values}) v (${names}) WHERE ${sameKey(table)}`
  },
  remove: (table: Table, _columns: readonly string[], values: string) => {
    const names = table.key.map((_, index) => `c${index}`).join(', ')
    return `DELETE FROM ${quoted(table.name)} t USING (VALUES ${values}) v (${names}) WHERE ${sameKey(table)}`
  },
  removeUnused: (table: Table, [user = '', column = '']: readonly string[], values: string) => {
    const uses = `u.${sqlName(column)} = t.${sqlName(table.key[0] ?? '')}`
    return `${writeText.remove(table, [], values)} AND NOT EXISTS (SELECT 1 FROM ${quoted(user)} u WHERE ${uses})`
  },
}

const sameKey = (table: Table): string =>
  table.key.map((name, index) => `t.${sqlName(name)} = v.c${index}`).join(' AND ')

const valuesList = (rows: number, width: number): string => {
  let next = 1
  const row = () => `(${Array.from({ length: width }, () => `$${next++}`).join(',')})`
  return Array.from({ length: rows }, row).join(',')
}

/** A query as SQL; undefined when no row can pass. Throws StoreError STORE_QUERY. */
export const findStatement = (table: Table, query: Query<Table>): Statement | undefined => {
  checkQuery(table, query)
  const where = new WhereClause(table, query.where)
  if (where.never || query.limit === 0) return undefined
  const direction = query.descending === true ? ' DESC' : ''
  const order = (query.orderBy ?? []).map(name => `${sqlName(name)}${collation(table, name)}${direction}`).join(', ')
  return where.statement(
    `SELECT ${list(Object.keys(table.columns))} FROM ${quoted(table.name)}${where.sql}` +
      (order === '' ? '' : ` ORDER BY ${order}`) +
      (query.limit === undefined ? '' : ` LIMIT ${query.limit}`),
  )
}

/** How many rows pass; undefined when none can. The answer is one row of one number. */
export const countStatement = (table: Table, condition: Where<Table> | undefined): Statement | undefined => {
  const where = new WhereClause(table, condition)
  return where.never ? undefined : where.statement(`SELECT count(*) FROM ${quoted(table.name)}${where.sql}`)
}

/** How many rows have each value of a column; read the answer with `decodeCounts`. Throws StoreError STORE_QUERY. */
export const countByStatement = (table: Table, column: string): Statement => {
  checkGrouped(table, column)
  const text = `SELECT ${sqlName(column)}, count(*) FROM ${quoted(table.name)} GROUP BY 1`
  return { text, types: [], params: [] }
}

export const decodeCounts = (
  table: Table,
  column: string,
  rows: ReadonlyArray<ReadonlyArray<string | null>>,
): Array<{ value: Value; count: number }> =>
  rows.map(([value = null, count]) => ({ value: decodeValue(table, column, value), count: Number(count) }))

/** Text sorts by code point whatever the database's locale is; an index serves that when the locale is C. */
const collation = (table: Table, name: string): string => (columnOf(table, name).type === 'text' ? ' COLLATE "C"' : '')

/** A `where` as SQL with its parameters. */
class WhereClause {
  readonly sql: string
  /** Some test can never hold, such as `in` of nothing. */
  readonly never: boolean
  readonly #table: Table
  readonly #types: number[] = []
  readonly #params: Param[] = []

  constructor(table: Table, where: Where<Table> | undefined) {
    this.#table = table
    const tests = testsOf(table, where).map(test => this.#test(test))
    this.never = tests.includes('false')
    this.sql = tests.length === 0 ? '' : ` WHERE ${tests.join(' AND ')}`
  }

  statement(text: string): Statement {
    return { text, types: this.#types, params: this.#params }
  }

  #test(test: Test): string {
    const name = sqlName(test.column)
    if (test.op === 'in') return this.#in(name, test.column, test.values)
    if (test.value === null) {
      return test.op === 'equal' ? `${name} IS NULL` : test.op === 'not' ? `${name} IS NOT NULL` : 'false'
    }
    const operand = this.#bind(test.column, test.value)
    if (test.op === 'equal') return `${name} = ${operand}`
    if (test.op === 'not') return `${name} IS DISTINCT FROM ${operand}`
    return `${name}${collation(this.#table, test.column)} ${comparison[test.op]} ${operand}`
  }

  #in(name: string, column: string, values: readonly Value[]): string {
    const present = values.filter(value => value !== null)
    const orNull = present.length < values.length
    if (present.length === 0) return orNull ? `${name} IS NULL` : 'false'
    const match = `${name} ${this.#oneOf(column, present)}`
    return orNull ? `(${match} OR ${name} IS NULL)` : match
  }

  /** An array is one parameter, but arrays of bytes travel as text (slow): bytes are listed, in a number of few sizes. */
  #oneOf(column: string, values: readonly Value[]): string {
    const { type } = columnOf(this.#table, column)
    if (type !== 'bytes' && type !== 'json') {
      this.#params.push(arrayParam(values))
      return `= ANY($${this.#types.push(arrayOids[type])})`
    }
    if (values.length > 16_384) {
      throw new StoreError('STORE_QUERY', 'too many values in a condition', { field: `${this.#table.name}.${column}` })
    }
    const size = 2 ** Math.ceil(Math.log2(values.length))
    const operands = Array.from({ length: size }, (_, index) =>
      this.#bind(column, values[Math.min(index, values.length - 1)] ?? null),
    )
    return `IN (${operands.join(',')})`
  }

  #bind(column: string, value: Value): string {
    this.#params.push(param(this.#table, column, value))
    return `$${this.#types.push(typeOids[columnOf(this.#table, column).type])}`
  }
}

const comparison = { lt: '<', lte: '<=', gt: '>', gte: '>=' } as const

/** One value for the wire. */
export const param = (table: Table, column: string, value: Value): Param => {
  const { type, nullable } = columnOf(table, column)
  if (type === 'json') return value === null && nullable ? null : JSON.stringify(value)
  if (value === null) return null
  if (isBytes(value))
    return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (typeof value === 'boolean') return value ? 't' : 'f'
  return String(value)
}

const arrayParam = (values: readonly Value[]): string =>
  `{${values.map(value => `"${String(value).replace(/["\\]/g, '\\$&')}"`).join(',')}}`

/** A row from the text form in which a database answers. Throws StoreError STORE_VALUE for an integer past 2^53. */
export const decodeRow = (table: Table, fields: ReadonlyArray<string | null>): AnyRow => {
  const row: Record<string, Value> = {}
  let index = 0
  for (const name in table.columns) row[name] = decodeValue(table, name, fields[index++] ?? null)
  return row
}

const decodeValue = (table: Table, name: string, text: string | null): Value => {
  if (text === null) return null
  switch (columnOf(table, name).type) {
    case 'text':
      return text
    case 'integer': {
      const value = Number(text)
      if (Number.isSafeInteger(value)) return value
      throw new StoreError('STORE_VALUE', 'a stored number is too large', { field: `${table.name}.${name}` })
    }
    case 'boolean':
      return text === 't'
    case 'bytes':
      return Buffer.from(text.slice(2), 'hex')
    case 'json':
      return JSON.parse(text) as Value
  }
}

const columnOf = (table: Table, name: string): Column => {
  const column = table.columns[name]
  if (column === undefined) throw new StoreError('STORE_QUERY', 'no such column', { field: `${table.name}.${name}` })
  return column
}

const sqlName = (name: string): string => quoted(snakeCase(name))
const list = (names: readonly string[]): string => names.map(sqlName).join(', ')
