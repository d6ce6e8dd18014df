import { setTimeout as wait } from 'node:timers/promises'
import { StoreError } from '../errors.js'
import { coalesce, type Step } from './coalesce.js'
import { notOwner, storeClosed } from './memory.js'
import { migrate, type MigrationFile } from './migrate.js'
import type { Change, Store, StoreIdentity } from './port.js'
import type { Rows, SqlSession } from './session.js'
import {
  countByStatement,
  countStatement,
  decodeCounts,
  decodeRow,
  findStatement,
  type Statement,
  writeStatements,
} from './sql.js'
import type { Query, Row, Table, Where } from './table.js'

/** What differs between databases: how to reach them, and how to be their only owner. */
export interface SqlDatabase {
  readonly kind: 'postgres' | 'pglite'
  /** Names the database in errors, without its password. */
  readonly field: string
  /**
   * The owner's connection, which holds the lock as long as it lives. Until the deadline (ms since 1970) opening waits for
   * the lock, and recovery for the database. Throws StoreError: STORE_LOCKED when another process has the lock,
   * STORE_UNAVAILABLE when the database cannot be reached.
   */
  connect(purpose: 'open' | 'recover', deadline: number): Promise<SqlSession>
  /** A connection to read with while the owner's is busy; undefined where there is only one. */
  readonly read?: (statement: Statement) => Promise<Rows>
  /** Upkeep that the database does not do by itself; told of every commit. */
  readonly committed?: (session: SqlSession, steps: readonly Step[]) => void
  close(): Promise<void>
}

export interface SqlStoreOptions {
  readonly schema: string
  readonly scope: string
  readonly migrations: readonly MigrationFile[]
  /** Migrations of further scopes in the same schema; each scope keeps its own list of what has run. */
  readonly furtherMigrations?: ReadonlyArray<{ readonly scope: string; readonly files: readonly MigrationFile[] }>
  /** Called once when another process has taken the store. */
  readonly lost?: ((error: StoreError) => void) | undefined
}

/** How long opening waits for a lock that another process may be about to release. */
const openMs = 5_000
/** How long a call waits for a lost connection to come back. */
const recoverMs = 10_000
const lockPauseMs = 200
const maxWaiting = 10_000

/** Opens the store in a database: takes the lock, migrates, raises the epoch. Throws StoreError. */
export const openSqlStore = async (database: SqlDatabase, options: SqlStoreOptions): Promise<SqlStore> => {
  let session: SqlSession | undefined
  try {
    session = await database.connect('open', Date.now() + openMs)
    const { schema, scope, migrations: files, furtherMigrations = [] } = options
    for (const part of [{ scope, files }, ...furtherMigrations]) await migrate(session, { schema, ...part })
    const [rows] = await session.transaction([raiseEpoch(options.scope)])
    return new SqlStore(database, options, session, Number(rows?.[0]?.[0]))
  } catch (error) {
    await session?.end()
    await database.close()
    throw error
  }
}

/**
 * The store over SQL. All commits go through the owner's connection, one after the other. Each of them writes its number to
 * the owner's row under the epoch, which does two things: an owner that has been replaced cannot commit, and after a broken
 * connection the row tells whether the last commit happened, so it is neither lost nor made twice.
 */
export class SqlStore implements Store {
  readonly kind: 'postgres' | 'pglite'
  readonly epoch: number
  readonly #database: SqlDatabase
  readonly #options: SqlStoreOptions
  #session: SqlSession
  #recovering: Promise<SqlSession> | undefined
  #commits = 0
  #waiting = 0
  #last: Promise<unknown> = Promise.resolve()
  #ended: StoreError | undefined
  #closing: Promise<void> | undefined

  constructor(database: SqlDatabase, options: SqlStoreOptions, session: SqlSession, epoch: number) {
    this.kind = database.kind
    this.epoch = epoch
    this.#database = database
    this.#options = options
    this.#session = session
    this.#watch(session)
  }

  async find<T extends Table>(table: T, query: Query<T>): Promise<Array<Row<T>>> {
    const statement = findStatement(table, query as unknown as Query<Table>)
    const rows = statement === undefined ? [] : await this.#read(statement)
    if (statement === undefined) this.#checkOpen()
    return rows.map(fields => decodeRow(table, fields)) as unknown as Array<Row<T>>
  }

  async count<T extends Table>(table: T, where?: Where<T>): Promise<number> {
    const statement = countStatement(table, where as unknown as Where<Table>)
    this.#checkOpen()
    return statement === undefined ? 0 : Number((await this.#read(statement))[0]?.[0])
  }

  async countBy<T extends Table, C extends keyof Row<T> & string>(
    table: T,
    column: C,
  ): Promise<Array<{ value: Row<T>[C]; count: number }>> {
    const statement = countByStatement(table, column)
    this.#checkOpen()
    const rows = await this.#read(statement)
    return decodeCounts(table, column, rows) as Array<{ value: Row<T>[C]; count: number }>
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#checkOpen()
    const steps = coalesce(changes)
    const statements = steps.flatMap(writeStatements)
    if (this.#waiting >= maxWaiting) {
      throw new StoreError('STORE_BUSY', 'too many commits wait for the database', { field: this.#database.field })
    }
    this.#waiting++
    const committed = this.#last.then(() => this.#commitOnce(statements))
    this.#last = committed.catch(() => {})
    try {
      await committed
    } finally {
      this.#waiting--
    }
    this.#database.committed?.(this.#session, steps)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Reads outside the store's own tables, for checks of the schema. */
  async inspect(text: string): Promise<Rows> {
    this.#checkOpen()
    return this.#read({ text, types: [], params: [] })
  }

  async identity(): Promise<StoreIdentity | undefined> {
    if (this.kind !== 'postgres') return undefined
    try {
      const [row] = await this.inspect(
        'SELECT system_identifier::text, timeline_id::text FROM pg_control_system(), pg_control_checkpoint()',
      )
      return { systemId: row?.[0] ?? '', timeline: Number(row?.[1]) }
    } catch (error) {
      // Some services do not let their users see it.
      if (error instanceof StoreError && error.code !== 'STORE_UNAVAILABLE') return undefined
      throw error
    }
  }

  get schema(): string {
    return this.#options.schema
  }

  async #close(): Promise<void> {
    this.#ended ??= storeClosed()
    await this.#last
    await this.#recovering?.catch(() => {})
    await this.#session.end()
    await this.#database.close()
    this.#ended = storeClosed()
  }

  async #read(statement: Statement): Promise<Rows> {
    this.#checkOpen()
    // While it is open whether the last commit happened, rows read elsewhere could be rows of the past.
    const session = await this.#connected()
    if (this.#database.read !== undefined) return this.#database.read(statement)
    const [rows = []] = await session.transaction([statement])
    return rows
  }

  async #commitOnce(statements: readonly Statement[]): Promise<void> {
    const session = await this.#connected()
    const number = this.#commits + 1
    try {
      await this.#write(session, number, statements)
    } catch (error) {
      if (session.broken === undefined) throw error
      const next = await this.#connected()
      if (this.#commits !== number) await this.#write(next, number, statements)
    }
  }

  async #write(session: SqlSession, number: number, statements: readonly Statement[]): Promise<void> {
    try {
      await session.transaction([ownerCheck(this.#options.scope, this.epoch, number), ...statements])
      this.#commits = number
    } catch (error) {
      const { sqlState, statement } = error instanceof StoreError ? error.facts : {}
      if (sqlState === divisionByZero && statement === 0) throw this.#lose()
      throw error
    }
  }

  /** The owner's connection; after a loss the new one, as soon as it is sure that this is still the owner. */
  async #connected(): Promise<SqlSession> {
    if (this.#ended !== undefined && this.#ended.code !== 'STORE_CLOSED') throw this.#ended
    if (this.#session.broken === undefined) return this.#session
    this.#recovering ??= this.#recover().finally(() => {
      this.#recovering = undefined
    })
    return this.#recovering
  }

  async #recover(): Promise<SqlSession> {
    const session = await this.#reconnect(Date.now() + recoverMs)
    try {
      const [rows = []] = await session.transaction([readOwner(this.#options.scope)])
      this.#commits = this.#checkOwner(rows)
    } catch (error) {
      await session.end()
      throw error
    }
    this.#session = session
    this.#watch(session)
    return session
  }

  async #reconnect(deadline: number): Promise<SqlSession> {
    for (;;) {
      try {
        return await this.#database.connect('recover', deadline)
      } catch (error) {
        if (!(error instanceof StoreError) || error.code !== 'STORE_LOCKED') throw error
      }
      // The lock may be held by what is left of the lost connection, or by a new owner: the row tells.
      this.#checkOwner((await this.#database.read?.(readOwner(this.#options.scope))) ?? [])
      if (Date.now() + lockPauseMs > deadline) {
        throw new StoreError('STORE_UNAVAILABLE', 'the database still holds the lost connection', {
          field: this.#database.field,
        })
      }
      await wait(lockPauseMs)
    }
  }

  /** The number of the last commit; throws when the epoch is another owner's. */
  #checkOwner(rows: Rows): number {
    const [epoch, commits] = rows[0] ?? []
    if (Number(epoch) !== this.epoch) throw this.#lose()
    return Number(commits)
  }

  #watch(session: SqlSession): void {
    session.whenBroken(() => {
      if (this.#ended === undefined) this.#connected().catch(() => {})
    })
  }

  #lose(): StoreError {
    const error = notOwner(this.#database.field)
    if (this.#ended === undefined) {
      this.#ended = error
      this.#options.lost?.(error)
    }
    return error
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw this.#ended
  }
}

const divisionByZero = '22012'

/** Fails unless the epoch is still this owner's; else takes the owner's row until the end of the transaction. */
const ownerCheck = (scope: string, epoch: number, number: number): Statement => ({
  text: 'WITH owner AS (UPDATE store_owner SET commits = $3 WHERE scope = $1 AND epoch = $2 RETURNING 1) SELECT 1 / count(*) FROM owner',
  types: [25, 20, 20],
  params: [scope, String(epoch), String(number)],
})

const raiseEpoch = (scope: string): Statement => ({
  text: 'INSERT INTO store_owner AS o (scope, epoch, commits) VALUES ($1, 1, 0) ON CONFLICT (scope) DO UPDATE SET epoch = o.epoch + 1, commits = 0 RETURNING epoch',
  types: [25],
  params: [scope],
})

const readOwner = (scope: string): Statement => ({
  text: 'SELECT epoch, commits FROM store_owner WHERE scope = $1',
  types: [25],
  params: [scope],
})
