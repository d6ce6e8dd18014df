import { camelCase, snakeCase } from './names.js'
import type { Store } from './port.js'
import type { Rows } from './session.js'
import { SqlStore } from './sqlStore.js'
import type { Column, Table } from './table.js'

/**
 * Whether the tables of a database are what their definitions say, both ways: columns with type and null, key, unique sets,
 * indexes, and nothing that the store port does not know (foreign keys, triggers). Answers one sentence for each difference;
 * none for a memory store, which has no tables of its own. Throws StoreError.
 */
export const checkSchema = async (store: Store, tables: readonly Table[]): Promise<string[]> => {
  if (!(store instanceof SqlStore)) return []
  const namespace = `(SELECT oid FROM pg_namespace WHERE nspname = current_schema())`
  const [columns, indexes, extras] = await Promise.all([
    store.inspect(columnsQuery(namespace)),
    store.inspect(indexesQuery(namespace)),
    store.inspect(extrasQuery(namespace)),
  ])
  return tables.flatMap(table => [
    ...columnProblems(table, of(columns, table)),
    ...indexProblems(table, of(indexes, table).map(readIndex)),
    ...of(extras, table).map(
      ([, kind, name]) => `${table.name} has a ${kind} ${name}, which the store port does not know`,
    ),
  ])
}

const columnsQuery = (namespace: string): string => `
  SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE c.relkind = 'r' AND c.relnamespace = ${namespace}`

/** Name, primary, unique, simple (no expression, checked at once), its condition if it has one, and the columns in order. */
const indexesQuery = (namespace: string): string => `
  SELECT c.relname, i.relname, x.indisprimary, x.indisunique,
    x.indexprs IS NULL AND x.indimmediate, pg_get_expr(x.indpred, x.indrelid),
    (SELECT json_agg(a.attname ORDER BY k.place)::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(number, place)
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number)
  FROM pg_class c JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid
  WHERE c.relnamespace = ${namespace} ORDER BY i.relname`

const extrasQuery = (namespace: string): string => `
  SELECT c.relname, 'foreign key', k.conname FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f'
  WHERE c.relnamespace = ${namespace}
  UNION ALL
  SELECT c.relname, 'trigger', t.tgname FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
  WHERE c.relnamespace = ${namespace}`

const of = (rows: Rows, table: Table): Rows => rows.filter(([name]) => name === table.name)

const sqlTypes = { text: 'text', integer: 'bigint', boolean: 'boolean', bytes: 'bytea', json: 'jsonb' } as const

const columnProblems = (table: Table, rows: Rows): string[] => {
  if (rows.length === 0) return [`${table.name} is not there`]
  const found = new Map(rows.map(([, name, type, notNull]) => [name ?? '', { type, nullable: notNull === 'f' }]))
  const problems: string[] = []
  for (const [name, column] of Object.entries<Column>(table.columns)) {
    const there = found.get(snakeCase(name))
    found.delete(snakeCase(name))
    const expected = sqlTypes[column.type]
    if (there === undefined) problems.push(`${table.name}.${name} is not there`)
    else if (there.type !== expected) problems.push(`${table.name}.${name} is ${there.type}, not ${expected}`)
    else if (there.nullable !== column.nullable) {
      problems.push(`${table.name}.${name} ${column.nullable ? 'does not take null' : 'takes null'}`)
    }
  }
  return [...problems, ...[...found.keys()].map(name => `${table.name}.${camelCase(name)} is not in the definition`)]
}

interface Index {
  readonly name: string
  readonly primary: boolean
  readonly unique: boolean
  readonly simple: boolean
  /** Rows without a null only; undefined for a condition of another kind. */
  readonly sparse: boolean | undefined
  readonly columns: readonly string[]
}

const readIndex = ([, name, primary, unique, simple, condition, list]: ReadonlyArray<string | null>): Index => {
  const columns = JSON.parse(list ?? '[]') as string[]
  return {
    name: name ?? '',
    primary: primary === 't',
    unique: unique === 't',
    simple: simple === 't',
    sparse: condition === null ? false : condition === `(${columns[0]} IS NOT NULL)` ? true : undefined,
    columns: columns.map(camelCase),
  }
}

const indexProblems = (table: Table, indexes: readonly Index[]): string[] => {
  const problems: string[] = []
  const used = new Set<Index>()
  const expect = (
    columns: readonly string[],
    kind: string,
    fits: (index: Index) => boolean,
    { sparse = false } = {},
  ): void => {
    const index = indexes.find(
      one => fits(one) && one.simple && one.sparse === sparse && one.columns.join() === columns.join(),
    )
    if (index === undefined) problems.push(`${table.name} has no ${kind} (${columns.join(', ')})`)
    else used.add(index)
  }
  expect(table.key, 'primary key', index => index.primary)
  for (const columns of table.unique) expect(columns, 'unique set', index => index.unique && !index.primary)
  for (const columns of table.indexes) expect(columns, 'index', index => !index.unique)
  for (const column of table.sparse) expect([column], 'sparse index', index => !index.unique, { sparse: true })
  for (const index of indexes) {
    if (!used.has(index)) problems.push(`${table.name} has an index ${index.name} that is not in the definition`)
  }
  const { aggregate } = table
  if (aggregate !== undefined && !indexes.some(index => index.columns[0] === aggregate)) {
    problems.push(`${table.name} has no index that begins with its aggregate ${aggregate}`)
  }
  return problems
}
