import { existsSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import { StoreError } from '../errors.js'
import { type DirectoryLock, lockDirectory } from './directoryLock.js'
import type { Step } from './coalesce.js'
import { PgliteStream } from './pgliteStream.js'
import { databaseTemplate, unpackTar } from './pgliteTemplate.js'
import { Upkeep } from './pgliteUpkeep.js'
import { settings } from './postgres.js'
import { Session, type SqlSession } from './session.js'
import type { SqlDatabase } from './sqlStore.js'

/** Milliseconds for one transaction; upkeep of a large table is one too. */
const deadlineMs = 180_000

/**
 * The embedded database, in a directory or in memory: PGlite in a worker thread. It has one connection, which owns the store
 * and reads too. With a directory every commit is on the disk when it is answered (PGlite alone never calls fsync).
 * Throws StoreError STORE_LOCKED, STORE_OPEN.
 */
export const pgliteDatabase = async (options: {
  readonly directory?: string | undefined
  readonly schema: string
}): Promise<SqlDatabase> => {
  const { directory, schema } = options
  if (directory === undefined) return new PgliteDatabase(undefined, schema, undefined)
  await makeDirectory(directory)
  let database: PgliteDatabase | undefined
  const lock = await lockDirectory(directory, () => database?.lose())
  try {
    database = new PgliteDatabase(await prepare(directory), schema, lock)
    return database
  } catch (error) {
    await lock.release()
    throw error
  }
}

class PgliteDatabase implements SqlDatabase {
  readonly kind = 'pglite'
  readonly field: string
  readonly #directory: string | undefined
  readonly #schema: string
  readonly #lock: DirectoryLock | undefined
  readonly #upkeep = new Upkeep()
  #stream: PgliteStream | undefined
  #lost = false

  constructor(directory: string | undefined, schema: string, lock: DirectoryLock | undefined) {
    this.#directory = directory
    this.#schema = schema
    this.#lock = lock
    this.field = directory ?? 'memory'
  }

  async connect(): Promise<Session> {
    if (this.#lost) throw new StoreError('STORE_LOCKED', 'another process uses the directory', { field: this.field })
    if (this.#directory === undefined && this.#stream !== undefined) {
      throw new StoreError('STORE_NOT_OWNER', 'a database in memory does not outlive its thread', { field: this.field })
    }
    const stream = await PgliteStream.start(
      this.#directory === undefined ? { template: await databaseTemplate() } : { directory: this.#directory },
    )
    this.#stream = stream
    const client = new Client({ stream: () => stream, user: 'postgres', database: 'postgres', ssl: false })
    client.on('error', () => {})
    await client.connect()
    const session = new Session(client, this.field, deadlineMs)
    await session.script(settings(this.#schema, false))
    return session
  }

  readonly committed = (session: SqlSession, steps: readonly Step[]): void => {
    this.#upkeep.committed(session, steps)
  }

  /** Another process has taken the directory in spite of its lock: not one byte more may be written. */
  lose(): void {
    this.#lost = true
    this.#stream?.destroy()
  }

  async close(): Promise<void> {
    await this.#lock?.release()
  }
}

const makeDirectory = async (directory: string): Promise<void> => {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new StoreError('STORE_OPEN', 'the directory cannot be made', { field: directory, cause })
  }
}

/** The database's own directory inside, made from the template under another name first: it is whole or not there. */
const prepare = async (directory: string): Promise<string> => {
  const place = join(directory, 'pgdata')
  if (existsSync(place)) return place
  const draft = join(directory, 'pgdata.new')
  try {
    await rm(draft, { recursive: true, force: true })
    await unpackTar(await databaseTemplate(), draft)
    await rename(draft, place)
    await syncDirectory(directory)
    return place
  } catch (cause) {
    if (cause instanceof StoreError) throw cause
    throw new StoreError('STORE_OPEN', 'the embedded database cannot be made', { field: directory, cause })
  }
}

const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
