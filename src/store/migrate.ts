import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { StoreError } from '../errors.js'
import { quoted } from './names.js'
import type { SqlSession } from './session.js'
import type { Statement } from './sql.js'

/**
 * Forward-only migrations: plain .sql files, run in the order of their names, all that are new in one transaction.
 * A runner of our own rather than node-pg-migrate: that one takes 0.2 s to load (glob, jiti), does not notice a database
 * that is newer than the code or a file that was changed after it ran, and fails instead of waiting for its lock.
 */
export interface MigrationFile {
  readonly name: string
  readonly sql: string
  readonly checksum: string
}

/** The files of a directory. Throws StoreError STORE_MIGRATIONS. */
export const readMigrations = async (directory: string): Promise<MigrationFile[]> => {
  try {
    const names = (await readdir(directory)).filter(name => name.endsWith('.sql')).sort()
    return await Promise.all(
      names.map(async name => {
        const sql = (await readFile(join(directory, name), 'utf8')).replaceAll('\r\n', '\n')
        return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
      }),
    )
  } catch (cause) {
    throw new StoreError('STORE_MIGRATIONS', 'the migrations cannot be read', { field: directory, cause })
  }
}

/** The package's own migrations of a scope, from the sources and from the build alike. */
export const migrationsDirectory = (scope: string): string => {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json')) && dirname(directory) !== directory)
    directory = dirname(directory)
  return join(directory, 'migrations', scope)
}

/**
 * Brings a schema up to date. Two processes wait for each other; a failing file leaves everything as it was. Throws
 * StoreError: STORE_SCHEMA_NEWER when the database has run migrations that this code does not know, STORE_SCHEMA when a
 * file differs from the one that ran or comes before it, STORE_MIGRATION naming the file that failed.
 */
export const migrate = async (
  session: SqlSession,
  options: { readonly schema: string; readonly scope: string; readonly files: readonly MigrationFile[] },
): Promise<void> => {
  const { schema, scope, files } = options
  const table = quoted(`${scope}_migrations`)
  await createSchema(session, schema)
  await session.script(prepareScript(schema, table))
  const pending = missing(await ran(session, table), files, schema)
  if (pending.length === 0) return
  await session.script(`BEGIN; ${lockScript(schema)}`)
  try {
    // Another process may have run them while this one waited for the lock.
    for (const { name, sql, checksum } of missing(await ran(session, table), files, schema)) {
      await session.script(sql).catch(error => {
        throw failed(name, error)
      })
      await session.transaction([statement(`INSERT INTO ${table} (name, checksum) VALUES ($1, $2)`, [name, checksum])])
    }
    await session.script('COMMIT')
  } catch (error) {
    await session.script('ROLLBACK').catch(() => {})
    throw error
  }
}

const lockScript = (schema: string): string => {
  const key = createHash('sha256').update(`duologue migrations ${schema}`).digest().readBigInt64BE()
  return `SELECT pg_advisory_xact_lock(${key});`
}

/** Asks first: creating needs a right that the owner of an existing schema may not have. */
const createSchema = async (session: SqlSession, schema: string): Promise<void> => {
  const [rows = []] = await session.transaction([statement('SELECT 1 FROM pg_namespace WHERE nspname = $1', [schema])])
  if (rows.length === 0) await session.script(`${lockScript(schema)} CREATE SCHEMA IF NOT EXISTS ${quoted(schema)}`)
}

/** The store's own tables, in every scope: who owns it, and what has run. */
const prepareScript = (schema: string, table: string): string => `
  ${lockScript(schema)}
  CREATE TABLE IF NOT EXISTS ${table} (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    ran_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE TABLE IF NOT EXISTS store_owner (
    scope text PRIMARY KEY,
    epoch bigint NOT NULL,
    commits bigint NOT NULL
  );`

const ran = async (session: SqlSession, table: string): Promise<ReadonlyMap<string, string>> => {
  const [rows = []] = await session.transaction([statement(`SELECT name, checksum FROM ${table}`, [])])
  return new Map(rows.map(([name, checksum]) => [name ?? '', checksum ?? '']))
}

/** The files that have not run. */
const missing = (
  done: ReadonlyMap<string, string>,
  files: readonly MigrationFile[],
  field: string,
): readonly MigrationFile[] => {
  const last = [...done.keys()].sort().at(-1)
  for (const name of done.keys()) {
    if (files.some(file => file.name === name)) continue
    throw new StoreError('STORE_SCHEMA_NEWER', 'the database is newer than this version of duologue', {
      field,
      hint: 'upgrade duologue; a database does not go back',
      facts: { migration: name },
    })
  }
  for (const { name, checksum } of files) {
    const known = done.get(name)
    if (known === undefined ? last !== undefined && name < last : known !== checksum) {
      throw new StoreError('STORE_SCHEMA', 'a migration differs from what this database has run', {
        field,
        hint: 'migrations only go forward: add a file with a higher number instead of changing or inserting one',
        facts: { migration: name },
      })
    }
  }
  return files.filter(file => !done.has(file.name))
}

const failed = (name: string, error: unknown): unknown =>
  error instanceof StoreError && error.code !== 'STORE_UNAVAILABLE'
    ? new StoreError('STORE_MIGRATION', 'a migration failed; nothing of it was kept', {
        field: name,
        facts: error.facts,
      })
    : error

const statement = (text: string, params: readonly string[]): Statement => ({
  text,
  types: params.map(() => 25),
  params,
})
