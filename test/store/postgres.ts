import { randomBytes } from 'node:crypto'
import { Client, type QueryResult } from 'pg'

/** Where the tests find Postgres. */
export const testDatabaseUrl = process.env.DUOLOGUE_TEST_DATABASE_URL ?? 'postgres://root@127.0.0.1:5432/test'

/** Why the Postgres tests do not run, or undefined when a Postgres answers. */
export const noPostgres = async (): Promise<string | undefined> => {
  const client = new Client({ connectionString: testDatabaseUrl, connectionTimeoutMillis: 3_000 })
  try {
    await client.connect()
    return undefined
  } catch (error) {
    return `no Postgres answers: ${(error as Error).message}`
  } finally {
    await client.end().catch(() => {})
  }
}

/** A schema of its own for a test file. */
export const newSchema = (): string => `test_${randomBytes(6).toString('hex')}`

/** Runs SQL beside the store. */
export const asAdmin = async (sql: string): Promise<QueryResult> => {
  const client = new Client({ connectionString: testDatabaseUrl })
  await client.connect()
  try {
    return await client.query(sql)
  } finally {
    await client.end()
  }
}

export const dropSchema = (schema: string): Promise<unknown> => asAdmin(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`)

/** Where a database listens, for a proxy before it. */
export const placeOf = (databaseUrl: string): { host: string; port: number } => {
  const { hostname, port } = new URL(databaseUrl)
  return { host: hostname, port: Number(port || 5432) }
}

/** The same database by way of a proxy. */
export const urlBehind = (proxy: { readonly host: string; readonly port: number }, databaseUrl: string): string => {
  const url = new URL(databaseUrl)
  url.hostname = proxy.host
  url.port = String(proxy.port)
  return url.href
}
