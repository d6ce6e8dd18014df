import { StoreError } from '../errors.js'
import { openMemoryStore } from './memory.js'
import { migrationsDirectory, readMigrations } from './migrate.js'
import { pgliteDatabase } from './pglite.js'
import type { Store } from './port.js'
import { postgresDatabase } from './postgres.js'
import { openSqlStore } from './sqlStore.js'

export interface OpenStoreOptions {
  /** A Postgres database, `postgres://user:password@host:port/database`. */
  readonly databaseUrl?: string
  /** The directory of an embedded database (PGlite); made when it is not there. */
  readonly directory?: string
  /** A store that ends with the process: `true` without a database, `'pglite'` for the embedded one without a disk. */
  readonly memory?: true | 'pglite'
  /** The Postgres schema that holds the tables, so that several stores share a database; default `public`. */
  readonly schema?: string
  /** Whose tables these are: names the migrations, their table, the lock and the owner's row. */
  readonly scope: 'agent' | 'router'
  /** Further scopes whose tables stand in the same schema, such as those of a channel. */
  readonly also?: readonly string[]
  /** Where the .sql files are; by default those of the package. */
  readonly migrations?: string
  /** Called once when another process has taken the store; every call fails from then on. */
  readonly lost?: (error: StoreError) => void
}

/**
 * Opens a store: takes its lock, brings its tables up to date, raises the owner epoch. Throws StoreError: STORE_LOCKED,
 * STORE_UNAVAILABLE, STORE_REFUSED (user, password, rights), STORE_OPEN (directory or URL), STORE_SCHEMA_NEWER,
 * STORE_SCHEMA, STORE_MIGRATION.
 */
export const openStore = async (options: OpenStoreOptions): Promise<Store> => {
  const { databaseUrl, directory, memory, scope, also = [], schema = 'public', lost } = options
  const chosen = [databaseUrl, directory, memory].filter(choice => choice !== undefined)
  if (chosen.length !== 1) {
    throw new StoreError('STORE_OPEN', 'a store needs one place', {
      field: 'databaseUrl, directory, memory',
      hint: 'give exactly one of them',
    })
  }
  if (memory === true) return openMemoryStore()
  const migrations = await readMigrations(options.migrations ?? migrationsDirectory(scope))
  const furtherMigrations = await Promise.all(
    also.map(async name => ({ scope: name, files: await readMigrations(migrationsDirectory(name)) })),
  )
  const database =
    databaseUrl === undefined
      ? await pgliteDatabase({ directory, schema })
      : postgresDatabase({ url: databaseUrl, schema, scope })
  return openSqlStore(database, { schema, scope, migrations, furtherMigrations, lost })
}
