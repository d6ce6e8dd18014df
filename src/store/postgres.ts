import { createHash } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { Client } from 'pg'
import { StoreError } from '../errors.js'
import { quoted } from './names.js'
import { destroyConnection, type Rows, Session } from './session.js'
import type { Statement } from './sql.js'
import { databaseError, type DatabaseMessage, unavailableError } from './sqlErrors.js'
import type { SqlDatabase } from './sqlStore.js'

const connectMs = 5_000
/** Milliseconds for one transaction before its connection is given up; the server ends statements after 30 s. */
const deadlineMs = 45_000
const maxReaders = 4

/**
 * A Postgres database: one connection owns the store (it holds a session advisory lock and makes all commits), up to four
 * read. The lock goes with its connection, so the owner's connection being gone is the owner being gone.
 */
export const postgresDatabase = (options: {
  readonly url: string
  readonly schema: string
  readonly scope: string
}): SqlDatabase => new PostgresDatabase(options.url, options.schema, options.scope)

class PostgresDatabase implements SqlDatabase {
  readonly kind = 'postgres'
  readonly field: string
  readonly #url: string
  readonly #schema: string
  readonly #application: string
  readonly #lockKey: string
  readonly #readers: Reader[] = []

  constructor(url: string, schema: string, scope: string) {
    this.#url = url
    this.#schema = schema
    this.#application = `duologue ${scope} ${schema}`
    this.#lockKey = createHash('sha256')
      .update(`duologue store ${schema} ${scope}`)
      .digest()
      .readBigInt64BE()
      .toString()
    const { host, port, database } = this.#client()
    this.field = `${host}:${port}/${database ?? ''}`
  }

  async connect(purpose: 'open' | 'recover', deadline: number): Promise<Session> {
    for (let pause = 50; ; pause = Math.min(pause * 2, 500)) {
      const late = Date.now() + pause > deadline
      try {
        const session = await this.#open()
        if (await this.#lock(session, purpose === 'open' ? deadline : 0)) return session
        await session.end()
        throw new StoreError('STORE_LOCKED', 'another process owns the store', {
          field: this.field,
          hint: 'stop the process that uses it, or choose another schema',
        })
      } catch (error) {
        const unreachable = error instanceof StoreError && error.code === 'STORE_UNAVAILABLE'
        if (purpose === 'open' || !unreachable || late) throw error
      }
      await wait(pause)
    }
  }

  /** Reads on the connection that has least to do; a connection that turns out to be dead is replaced once. */
  readonly read = async (statement: Statement): Promise<Rows> => {
    try {
      return await this.#reader().read(statement)
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'STORE_UNAVAILABLE') throw error
      return this.#reader().read(statement)
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.splice(0).map(reader => reader.end()))
  }

  #reader(): Reader {
    for (const [index, reader] of [...this.#readers].entries()) if (reader.broken) this.#readers.splice(index, 1)
    let best: Reader | undefined
    for (const reader of this.#readers) if (best === undefined || reader.load < best.load) best = reader
    if (best !== undefined && (best.load === 0 || this.#readers.length >= maxReaders)) return best
    const reader = new Reader(this.#open())
    this.#readers.push(reader)
    return reader
  }

  async #lock(session: Session, deadline: number): Promise<boolean> {
    const tryLock = { text: 'SELECT pg_try_advisory_lock($1)', types: [20], params: [this.#lockKey] }
    for (;;) {
      const [rows] = await session.transaction([tryLock])
      if (rows?.[0]?.[0] === 't') return true
      if (Date.now() + 100 > deadline) return false
      await wait(100)
    }
  }

  async #open(): Promise<Session> {
    const client = this.#client()
    let session: Session
    try {
      // Without a listener a connection that breaks while it is made would end the process.
      client.on('error', () => {})
      await client.connect()
      session = new Session(client, this.field, deadlineMs)
    } catch (cause) {
      // Its own end would wait for the other side, which may never answer.
      destroyConnection(client)
      throw connectError(cause, this.field)
    }
    await session.script(settings(this.#schema, true))
    const [rows] = await session.transaction([{ text: 'SHOW server_encoding', types: [], params: [] }])
    if (rows?.[0]?.[0] === 'UTF8') return session
    await session.end()
    throw new StoreError('STORE_REFUSED', 'the database does not keep text in UTF-8', {
      field: this.field,
      hint: "create it with ENCODING 'UTF8'",
    })
  }

  #client(): Client {
    try {
      // pg takes other text for the name of a database or of a socket, and errors name those.
      if (!/^postgres(?:ql)?:\/\//i.test(this.#url)) throw new Error('not a URL')
      return new Client({
        connectionString: this.#url,
        connectionTimeoutMillis: connectMs,
        keepAlive: true,
        keepAliveInitialDelayMillis: 10_000,
        application_name: this.#application,
      })
    } catch {
      // The parser's own error would show the URL with its password.
      throw new StoreError('STORE_OPEN', 'not a Postgres URL', {
        field: 'databaseUrl',
        hint: 'postgres://user:password@host:port/database',
      })
    }
  }
}

/** A reading connection that is being made or is there. */
class Reader {
  readonly #session: Promise<Session>
  load = 0
  #failed = false

  constructor(session: Promise<Session>) {
    this.#session = session
    session.then(
      opened =>
        opened.whenBroken(() => {
          this.#failed = true
        }),
      () => {
        this.#failed = true
      },
    )
  }

  get broken(): boolean {
    return this.#failed
  }

  async read(statement: Statement): Promise<Rows> {
    this.load++
    try {
      const [rows = []] = await (await this.#session).transaction([statement])
      return rows
    } finally {
      this.load--
    }
  }

  async end(): Promise<void> {
    await this.#session.then(
      session => session.end(),
      () => {},
    )
  }
}

/**
 * What every connection is set to. Plans must not depend on statistics: a plan made while a table was empty would scan it
 * for ever, so scans and joins that are only good for small tables are off, plans are made once, and nothing is compiled.
 */
export const settings = (schema: string, network: boolean): string => `
  SET search_path TO ${quoted(schema)};
  SET plan_cache_mode = force_generic_plan;
  SET enable_seqscan = off;
  SET enable_hashjoin = off;
  SET enable_mergejoin = off;
  SET jit = off;
  SET bytea_output = 'hex';
  SET client_min_messages = warning;
  SET lock_timeout = '20s';
  SET statement_timeout = '30s';
  SET idle_in_transaction_session_timeout = '60s';
  SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
  ${network ? "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET tcp_user_timeout = '30s';" : ''}`

const connectError = (cause: unknown, field: string): StoreError => {
  const { code, severity } = cause as DatabaseMessage
  // An answer of the database, such as a wrong password; else the socket's error.
  if (severity !== undefined) return databaseError({ code }, 0)
  return unavailableError(field, cause)
}
