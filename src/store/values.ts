import { StoreError } from '../errors.js'
import type { Column, ColumnTypes, Json, Table } from './table.js'

/**
 * The values of rows, alike in every store: what a column takes, how values are copied, compared and ordered. A value that
 * a database could not keep as it is (NUL in text, a lone surrogate, 2^60) is refused everywhere, so that no store accepts
 * what another one changes or rejects.
 */
export type Value = ColumnTypes[keyof ColumnTypes] | null
/** A row of whatever table. */
export type AnyRow = Readonly<Record<string, Value>>

export const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array

/** Checks one value against its column. Throws StoreError STORE_VALUE naming `table.column`, never the value. */
export const checkValue = (table: Table, name: string, value: unknown): void => {
  const column = table.columns[name]
  if (column === undefined) throw badValue(table, name, 'no such column')
  const problem =
    value === null ? (column.nullable || column.type === 'json' ? undefined : 'null') : wrong(column, value)
  if (problem !== undefined) throw badValue(table, name, problem)
}

const badValue = (table: Table, column: string, problem: string): StoreError =>
  new StoreError('STORE_VALUE', `${table.name}.${column} does not take this value: ${problem}`, {
    field: `${table.name}.${column}`,
  })

const wrong = (column: Column, value: unknown): string | undefined => {
  switch (column.type) {
    case 'text':
      return typeof value === 'string' ? textProblem(value) : 'not text'
    case 'integer':
      return Number.isSafeInteger(value) ? undefined : 'not a whole number within 2^53'
    case 'boolean':
      return typeof value === 'boolean' ? undefined : 'not a boolean'
    case 'bytes':
      return isBytes(value) ? undefined : 'not bytes'
    case 'json':
      return jsonProblem(value)
  }
}

const textProblem = (value: string): string | undefined =>
  value.includes('\0')
    ? 'text with a NUL character'
    : isWellFormed(value)
      ? undefined
      : 'text with half a surrogate pair'

/** `String.prototype.isWellFormed`, which the ES2023 library does not declare yet. */
const isWellFormed = (value: string): boolean => (value as unknown as { isWellFormed(): boolean }).isWellFormed()

/** jsonb refuses NUL and lone surrogates too; JSON.stringify writes both as escapes. */
const jsonProblem = (value: unknown): string | undefined => {
  const json = JSON.stringify(value)
  if (json === undefined) return 'not JSON'
  return /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/.test(json) ? 'JSON with text that a database cannot keep' : undefined
}

/** Checks a whole row: every column there, nothing else. Throws StoreError STORE_VALUE. */
export const checkRow = (table: Table, row: AnyRow): void => {
  let known = 0
  for (const name in table.columns) {
    checkValue(table, name, row[name])
    known++
  }
  if (Object.keys(row).length !== known) {
    const extra = Object.keys(row).find(name => !(name in table.columns))
    throw badValue(table, extra ?? '?', 'no such column')
  }
}

/** A copy that shares nothing with the original: bytes become a Buffer of their own, JSON what JSON keeps of it. */
export const copyValue = (column: Column, value: Value): Value => {
  if (value === null) return null
  if (isBytes(value)) return Buffer.from(value)
  return column.type === 'json' ? (JSON.parse(JSON.stringify(value)) as Json) : value
}

export const copyRow = (table: Table, row: AnyRow): AnyRow => {
  const copy: Record<string, Value> = {}
  for (const [name, column] of Object.entries(table.columns)) copy[name] = copyValue(column, row[name] ?? null)
  return copy
}

/** Equality by content. JSON is not compared: conditions on it know only null. */
export const sameValue = (a: Value, b: Value): boolean =>
  isBytes(a) && isBytes(b) ? Buffer.compare(a, b) === 0 : a === b

/** The order of every store: text by code point, bytes by byte, false before true, null last. */
export const compareValues = (a: Value, b: Value): number => {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1
  if (isBytes(a) && isBytes(b)) return Buffer.compare(a, b)
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b)
  return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0
}

/** UTF-16 order differs from UTF-8 order where a surrogate meets U+E000..U+FFFF. */
const compareText = (a: string, b: string): number => {
  if (a === b) return 0
  const end = Math.min(a.length, b.length)
  for (let i = 0; i < end; i++) {
    const left = a.charCodeAt(i)
    const right = b.charCodeAt(i)
    if (left !== right) return codePointRank(left) - codePointRank(right)
  }
  return a.length - b.length
}

const codePointRank = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)

/** One string for the values of some columns, equal exactly when all the values are equal. */
export const keyString = (columns: readonly string[], row: AnyRow): string => {
  const [only] = columns
  if (columns.length === 1 && only !== undefined) return valueKey(row[only] ?? null)
  let key = ''
  for (const name of columns) {
    const part = valueKey(row[name] ?? null)
    key += `${part.length}:${part}`
  }
  return key
}

export const valueKey = (value: Value): string => {
  if (typeof value === 'string') return `s${value}`
  if (isBytes(value)) return `b${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1')}`
  return String(value)
}
