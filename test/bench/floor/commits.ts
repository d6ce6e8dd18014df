/** The floor of the store: durable commits of messages on the same database, through its driver and nothing of duologue. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { type Effort, type Figure, ratePerSecond, repeated } from '../measure.js'

/** Messages per second, each durable before the next round begins. */
export interface CommitFloor {
  /** A transaction for each message, one after the other. */
  readonly single: Figure
  /** A transaction for 100 messages of 100 connections: the shape of the agent's merged commits. */
  readonly batched: Figure
}

const batchLength = 100

/** What runs a statement durably. */
interface Database {
  run(text: string, params: readonly unknown[]): Promise<void>
  close(): Promise<void>
}

export const postgresCommits = async (databaseUrl: string, effort: Effort): Promise<CommitFloor> =>
  measure(await openPostgres(databaseUrl), effort)

export const pgliteCommits = async (effort: Effort): Promise<CommitFloor> => measure(await openPglite(), effort)

const measure = async (database: Database, { repeats, floorMs }: Effort): Promise<CommitFloor> => {
  try {
    for (const text of schema) await database.run(text, [])
    for (let index = 0; index < batchLength; index++) {
      await database.run('INSERT INTO connections VALUES ($1, 0, $2)', [connectionId(index), randomBytes(400)])
    }
    const rate = (length: number) => (): Promise<number> => ratePerSecond(() => commit(database, length), floorMs)
    return { single: await repeated(repeats, rate(1)), batched: await repeated(repeats, rate(batchLength)) }
  } finally {
    await database.close()
  }
}

// A received message: the connection's ratchet and numbers, the message's row, and the event with its body.
const schema = [
  'CREATE TABLE connections (connection_id text PRIMARY KEY, last_message_id bigint NOT NULL, ratchet bytea NOT NULL)',
  `CREATE TABLE rcv_messages (connection_id text, message_id bigint, hash bytea NOT NULL, state text NOT NULL,
    PRIMARY KEY (connection_id, message_id))`,
  'CREATE TABLE events (cursor bigint PRIMARY KEY, connection_id text NOT NULL, payload jsonb NOT NULL, body bytea)',
]

const connectionId = (index: number): string => `connection-${index}`

let lastMessage = 0
const body = randomBytes(1024)
const [ratchet, hash] = [randomBytes(400), randomBytes(32)]
const payload = JSON.stringify({ integrity: { result: 'ok' }, brokerId: 'x'.repeat(32), brokerAt: 1, notify: true })

const commit = async (database: Database, length: number): Promise<number> => {
  const params: unknown[] = []
  for (let index = 0; index < length; index++) params.push(connectionId(index), ++lastMessage, ratchet)
  for (let index = 0; index < length; index++) {
    params.push(connectionId(index), lastMessage - index, hash, 'received')
  }
  for (let index = 0; index < length; index++) params.push(lastMessage - index, connectionId(index), payload, body)
  await database.run(statement(length), params)
  return length
}

const statements = new Map<number, string>()

const statement = (length: number): string => {
  const known = statements.get(length)
  if (known !== undefined) return known
  let next = 1
  const rows = (types: readonly string[]): string =>
    Array.from({ length }, () => `(${types.map(type => `$${next++}::${type}`).join(',')})`).join(',')
  const text = `WITH updated AS (UPDATE connections c SET last_message_id = v.id, ratchet = v.ratchet
      FROM (VALUES ${rows(['text', 'bigint', 'bytea'])}) v (connection_id, id, ratchet)
      WHERE c.connection_id = v.connection_id),
    inserted AS (INSERT INTO rcv_messages VALUES ${rows(['text', 'bigint', 'bytea', 'text'])})
    INSERT INTO events VALUES ${rows(['bigint', 'text', 'jsonb', 'bytea'])}`
  statements.set(length, text)
  return text
}

const openPostgres = async (databaseUrl: string): Promise<Database> => {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5000 })
  await client.connect()
  const name = `duologue_bench_${randomBytes(4).toString('hex')}`
  await client.query(`CREATE SCHEMA ${name}`)
  await client.query(`SET search_path TO ${name}`)
  return {
    // Prepared under a name, as whatever wants to be fast does.
    run: async (text, params) => {
      await client.query({ name: text.length > 60 ? `s${text.length}` : '', text, values: [...params] })
    },
    close: async () => {
      await client.query(`DROP SCHEMA ${name} CASCADE`)
      await client.end()
    },
  }
}

const openPglite = async (): Promise<Database> => {
  const { PGlite } = await import('@electric-sql/pglite')
  const directory = await mkdtemp(join(tmpdir(), 'duologue-bench-'))
  const database = await PGlite.create(join(directory, 'db'))
  return {
    run: async (text, params) => {
      await database.query(text, [...params])
    },
    close: async () => {
      await database.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
