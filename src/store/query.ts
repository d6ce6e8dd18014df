import { StoreError } from '../errors.js'
import type { Query, Table, Where } from './table.js'
import { type AnyRow, checkValue, compareValues, isBytes, sameValue, type Value } from './values.js'

/** One test of one column, taken apart from the form in which callers write it. */
export type Test =
  | { readonly column: string; readonly op: 'equal' | 'not' | 'lt' | 'lte' | 'gt' | 'gte'; readonly value: Value }
  | { readonly column: string; readonly op: 'in'; readonly values: readonly Value[] }

const operators = ['in', 'lt', 'lte', 'gt', 'gte', 'not'] as const

/**
 * The tests of a `where`, in the order of its columns. `not` and `in` treat null as a value of its own; the comparisons
 * never hold for null. Throws StoreError STORE_QUERY for a column or condition that does not exist.
 */
export const testsOf = (table: Table, where: Where<Table> | undefined): Test[] => {
  const tests: Test[] = []
  for (const [column, condition] of Object.entries(where ?? {})) {
    if (condition === undefined) continue
    checkColumn(table, column)
    for (const test of testsOfColumn(table, column, condition)) {
      checkTest(table, test)
      tests.push(test)
    }
  }
  return tests
}

const testsOfColumn = (table: Table, column: string, condition: unknown): Test[] => {
  if (condition === null || typeof condition !== 'object' || isBytes(condition)) {
    return [{ column, op: 'equal', value: condition as Value }]
  }
  return Object.entries(condition).map(([name, operand]): Test => {
    const op = operators.find(known => known === name)
    if (op === undefined) throw badQuery(table, column, 'no such operator')
    if (op !== 'in') return { column, op, value: operand as Value }
    if (!Array.isArray(operand)) throw badQuery(table, column, '"in" takes a list')
    return { column, op, values: operand as Value[] }
  })
}

const checkTest = (table: Table, test: Test): void => {
  const column = table.columns[test.column]
  for (const value of test.op === 'in' ? test.values : [test.value]) {
    if (value === null) continue
    if (column?.type === 'json') throw badQuery(table, test.column, 'JSON is only compared with null')
    checkValue(table, test.column, value)
  }
}

const checkColumn = (table: Table, column: string): void => {
  if (table.columns[column] === undefined) throw badQuery(table, column, 'no such column')
}

/** Checks a column by whose values rows are counted: text, numbers or flags. Throws StoreError STORE_QUERY. */
export const checkGrouped = (table: Table, column: string): void => {
  checkColumn(table, column)
  const type = table.columns[column]?.type
  if (type === 'json' || type === 'bytes') throw badQuery(table, column, 'rows are not counted by its values')
}

/** Checks order and limit. Throws StoreError STORE_QUERY. */
export const checkQuery = (table: Table, query: Query<Table>): void => {
  for (const column of query.orderBy ?? []) {
    checkColumn(table, column)
    if (table.columns[column]?.type === 'json') throw badQuery(table, column, 'JSON has no order')
  }
  const { limit } = query
  if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) throw badQuery(table, 'limit', 'not a count')
}

const badQuery = (table: Table, column: string, problem: string): StoreError =>
  new StoreError('STORE_QUERY', `query of ${table.name} by ${column}: ${problem}`, { field: `${table.name}.${column}` })

/** Whether a row passes all tests. */
export const passes = (row: AnyRow, tests: readonly Test[]): boolean => tests.every(test => passesOne(row, test))

const passesOne = (row: AnyRow, test: Test): boolean => {
  const value = row[test.column] ?? null
  switch (test.op) {
    case 'equal':
      return sameValue(value, test.value)
    case 'not':
      return !sameValue(value, test.value)
    case 'in':
      return test.values.some(candidate => sameValue(value, candidate))
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      return value !== null && test.value !== null && compares(compareValues(value, test.value), test.op)
  }
}

const compares = (order: number, op: 'lt' | 'lte' | 'gt' | 'gte'): boolean => {
  if (order === 0) return op === 'lte' || op === 'gte'
  return order < 0 ? op === 'lt' || op === 'lte' : op === 'gt' || op === 'gte'
}

/** Compares two rows column by column, as `orderBy` does. */
export const compareRows = (columns: readonly string[], a: AnyRow, b: AnyRow): number => {
  for (const column of columns) {
    const order = compareValues(a[column] ?? null, b[column] ?? null)
    if (order !== 0) return order
  }
  return 0
}
