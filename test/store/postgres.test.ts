import { fileURLToPath } from 'node:url'
import { afterAll, describe } from 'vitest'
import { readMigrations } from '../../src/store/migrate.js'
import { postgresDatabase } from '../../src/store/postgres.js'
import { openSqlStore } from '../../src/store/sqlStore.js'
import { describeStore } from './compliance.js'
import { dropSchema, newSchema, noPostgres, testDatabaseUrl } from './postgres.js'
import { sharedDatabase } from './sharedDatabase.js'

const migrations = fileURLToPath(new URL('./migrations', import.meta.url))
const missing = await noPostgres()

describe.skipIf(missing !== undefined)(`Postgres${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  const schema = newSchema()
  const shared = sharedDatabase(postgresDatabase({ url: testDatabaseUrl, schema, scope: 'agent' }))
  const open = async () =>
    openSqlStore(shared.database, { schema, scope: 'agent', migrations: await readMigrations(migrations) })
  afterAll(async () => {
    await shared.end()
    await dropSchema(schema)
  })
  describeStore('postgres', { open, takeOver: open, runs: 60 })
})
