import { fileURLToPath } from 'node:url'
import { afterAll, describe } from 'vitest'
import { readMigrations } from '../../src/store/migrate.js'
import { pgliteDatabase } from '../../src/store/pglite.js'
import { openSqlStore } from '../../src/store/sqlStore.js'
import { describeStore } from './compliance.js'
import { sharedDatabase } from './sharedDatabase.js'

const migrations = fileURLToPath(new URL('./migrations', import.meta.url))

describe('PGlite', async () => {
  const shared = sharedDatabase(await pgliteDatabase({ schema: 'public' }))
  const open = async () =>
    openSqlStore(shared.database, { schema: 'public', scope: 'agent', migrations: await readMigrations(migrations) })
  afterAll(() => shared.end())
  describeStore('pglite', { open, takeOver: open, runs: 60 })
})
