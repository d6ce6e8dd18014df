import { StoreError } from '../errors.js'
import { camelCase } from './names.js'

/** What a database says about a failed statement, as far as it is needed; `detail` holds values and never leaves. */
export interface DatabaseMessage {
  readonly code?: string | undefined
  readonly severity?: string | undefined
  readonly detail?: string | undefined
  readonly table?: string | undefined
  readonly column?: string | undefined
  readonly constraint?: string | undefined
  readonly routine?: string | undefined
}

/**
 * A failed statement as a StoreError. The database's own text stays behind, because it may quote values; `facts.sqlState`
 * and the names of table, column and constraint say what happened. `statement` is its place in the transaction.
 */
export const databaseError = (message: DatabaseMessage, statement: number): StoreError => {
  const sqlState = message.code ?? '?????'
  const { code, text, hint } = describe(sqlState)
  const columns = /^Key \((.*?)\)=/.exec(message.detail ?? '')?.[1]
  return new StoreError(code, message.table === undefined ? text : `${message.table}: ${text}`, {
    ...(message.table === undefined ? {} : { field: message.table }),
    ...(hint === undefined ? {} : { hint }),
    facts: {
      sqlState,
      statement,
      ...(message.table === undefined ? {} : { table: message.table }),
      ...(message.column === undefined ? {} : { column: camelCase(message.column) }),
      ...(message.constraint === undefined ? {} : { constraint: message.constraint }),
      ...(code !== 'STORE_CONFLICT' || columns === undefined
        ? {}
        : { columns: columns.split(', ').map(unquoted).map(camelCase).join() }),
    },
  })
}

const unquoted = (name: string): string => name.replace(/^"(.*)"$/, '$1')

interface Description {
  readonly code: string
  readonly text: string
  readonly hint?: string
}

const describe = (sqlState: string): Description => bySqlState[sqlState] ?? byClass[sqlState.slice(0, 2)] ?? failed

const failed: Description = { code: 'STORE_FAILED', text: 'the database refused a statement' }
const unavailable: Description = { code: 'STORE_UNAVAILABLE', text: 'the database cannot be reached' }
const schema: Description = {
  code: 'STORE_SCHEMA',
  text: 'the database does not have the tables that this version needs',
  hint: 'open the store with its migrations',
}

const bySqlState: Readonly<Record<string, Description>> = {
  '23505': { code: 'STORE_CONFLICT', text: 'a row with the same key or unique value exists' },
  '57014': { code: 'STORE_UNAVAILABLE', text: 'the database took too long', hint: 'look for locks or a slow disk' },
  '55P03': { code: 'STORE_UNAVAILABLE', text: 'the database took too long to give a lock' },
  '53100': { code: 'STORE_FULL', text: 'the disk of the database is full', hint: 'free space, then try again' },
  '54000': { code: 'STORE_VALUE', text: 'a value is too large for its index' },
  '25006': { ...unavailable, text: 'the database takes no writes', hint: 'connect to the primary, not to a replica' },
  '42501': {
    code: 'STORE_REFUSED',
    text: 'the database user lacks a right',
    hint: 'grant CREATE and USAGE on the schema',
  },
  '42704': { code: 'STORE_REFUSED', text: 'the database is too old', hint: 'use PostgreSQL 12 or newer' },
  '3D000': { code: 'STORE_REFUSED', text: 'the database does not exist', hint: 'create it, or correct its URL' },
}

const byClass: Readonly<Record<string, Description>> = {
  '08': unavailable,
  '22': { code: 'STORE_VALUE', text: 'the database does not take a value' },
  '23': { code: 'STORE_VALUE', text: 'a value breaks a rule of the table' },
  '28': { code: 'STORE_REFUSED', text: 'the database refused the user', hint: 'check user and password in its URL' },
  '40': { code: 'STORE_UNAVAILABLE', text: 'the database rolled the transaction back' },
  '42': schema,
  '53': { ...unavailable, text: 'the database has too few resources', hint: 'see max_connections and memory' },
  '57': unavailable,
}

/** A connection that could not be made or broke. `cause` comes from the socket and holds no data. */
export const unavailableError = (field: string, cause: unknown): StoreError => {
  if (cause instanceof StoreError) return cause
  const code = (cause as { code?: unknown } | undefined)?.code
  return new StoreError('STORE_UNAVAILABLE', 'the database cannot be reached', {
    field,
    hint: 'check that the database runs and can be reached under this address',
    cause,
    ...(typeof code === 'string' ? { facts: { reason: code } } : {}),
  })
}
