/** Where the demo keeps its data, and how it is removed afterwards. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AgentOptions } from '../../agent/openAgent.js'
import { StoreError } from '../../errors.js'

export interface Places {
  /** A directory for the bundled router. */
  readonly routerDirectory: string
  readonly stores: readonly [AgentOptions['store'], AgentOptions['store']]
  /** Removes everything; the agents and the router must be closed. */
  remove(): Promise<void>
}

/** A new temporary directory; with `databaseUrl` the agents' data is in two new schemas of that Postgres instead. */
export const createPlaces = async (databaseUrl?: string): Promise<Places> => {
  const directory = await mkdtemp(join(tmpdir(), 'duologue-demo-'))
  const removeDirectory = (): Promise<void> => rm(directory, { recursive: true, force: true, maxRetries: 3 })
  const routerDirectory = join(directory, 'router')
  if (databaseUrl === undefined) {
    const stores = [{ directory: join(directory, 'alice') }, { directory: join(directory, 'bob') }] as const
    return { routerDirectory, stores, remove: removeDirectory }
  }
  const prefix = `duologue_demo_${randomBytes(4).toString('hex')}`
  const schemas = [`${prefix}_alice`, `${prefix}_bob`] as const
  return {
    routerDirectory,
    stores: [
      { databaseUrl, schema: schemas[0] },
      { databaseUrl, schema: schemas[1] },
    ],
    remove: async () => {
      await removeDirectory()
      await dropSchemas(databaseUrl, schemas)
    },
  }
}

const dropSchemas = async (databaseUrl: string, schemas: readonly string[]): Promise<void> => {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 })
  try {
    await client.connect()
    for (const schema of schemas) await client.query(`DROP SCHEMA IF EXISTS ${client.escapeIdentifier(schema)} CASCADE`)
  } catch (cause) {
    const field = schemas.join(', ')
    throw new StoreError('STORE_UNAVAILABLE', 'the schemas of the demo could not be dropped', { field, cause })
  } finally {
    await client.end()
  }
}
