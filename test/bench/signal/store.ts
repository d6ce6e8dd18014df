/** Schemas of Postgres for the Signal suite, a new one for each part, dropped at the end. */
import { randomBytes } from 'node:crypto'
import { openStore } from '../../../src/store/open.js'
import type { Store } from '../../../src/store/index.js'

export const signalStore = async (
  databaseUrl: string,
): Promise<{ readonly open: () => Promise<Store>; readonly drop: () => Promise<void> }> => {
  const { default: pg } = await import('pg')
  const schemas: string[] = []
  return {
    open: () => {
      const schema = `bench_signal_${randomBytes(6).toString('hex')}`
      schemas.push(schema)
      return openStore({ databaseUrl, schema, scope: 'agent', also: ['signal'] })
    },
    drop: async () => {
      const client = new pg.Client({ connectionString: databaseUrl })
      await client.connect()
      for (const schema of schemas) await client.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`)
      await client.end()
    },
  }
}
