import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { insert, patch, type Store } from '../../src/store/index.js'
import { readMigrations } from '../../src/store/migrate.js'
import { openStore } from '../../src/store/open.js'
import { postgresDatabase } from '../../src/store/postgres.js'
import { openSqlStore, type SqlDatabase } from '../../src/store/sqlStore.js'
import { type FaultProxy, startFaultProxy } from '../../src/testing/faultProxy.js'
import { asAdmin, dropSchema, newSchema, noPostgres, placeOf, testDatabaseUrl, urlBehind } from './postgres.js'
import { pairs } from './tables.js'

const migrations = fileURLToPath(new URL('./migrations', import.meta.url))
const missing = await noPostgres()

describe.skipIf(missing !== undefined)(
  `ownership on Postgres${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    const schema = newSchema()
    const place = { schema, scope: 'agent' as const }
    const open = (url = testDatabaseUrl, lost?: (error: StoreError) => void) =>
      openStore({ databaseUrl: url, ...place, migrations, ...(lost === undefined ? {} : { lost }) })
    const pair = (left: number) => insert(pairs, { left, right: 'x' })
    const lefts = async (store: Store) => (await store.find(pairs, { orderBy: ['left'] })).map(({ left }) => left)

    let proxy: FaultProxy
    let behindProxy: string
    let store: Store
    beforeAll(async () => {
      proxy = await startFaultProxy(placeOf(testDatabaseUrl))
      behindProxy = urlBehind(proxy, testDatabaseUrl)
    })
    afterEach(async () => {
      await store.close()
      await asAdmin(`DELETE FROM "${schema}".pairs`)
    })
    afterAll(async () => {
      await proxy.close()
      await dropSchema(schema)
    })

    it('a second owner is refused with STORE_LOCKED while the first lives, and welcome when it is closed', async () => {
      store = await open()
      const second = postgresDatabase({ url: testDatabaseUrl, ...place })
      await expect(second.connect('open', Date.now())).rejects.toMatchObject({ code: 'STORE_LOCKED' })
      const { epoch } = store
      await store.close()
      store = await open()
      expect(store.epoch).toBe(epoch + 1)
    })

    it('stores of other scopes and schemas do not meet', async () => {
      store = await open()
      const other = await openStore({ databaseUrl: testDatabaseUrl, schema, scope: 'router' })
      await other.close()
    })

    it('a commit whose answer is lost is made once, and the caller learns that it was', async () => {
      store = await open(behindProxy)
      await store.commit([pair(1)])
      proxy.set({ type: 'cut', after: 0 }, 'toClient')
      await store.commit([pair(2)])
      await store.commit([pair(3)])
      expect(await lefts(store)).toEqual([1, 2, 3])
    })

    it('a commit that is lost on its way is made after all', async () => {
      store = await open(behindProxy)
      await store.commit([pair(1)])
      proxy.set({ type: 'cut', after: 0 }, 'toServer')
      await store.commit([pair(2)])
      expect(await lefts(store)).toEqual([1, 2])
    })

    it('all of many commits at once survive a broken connection, in order', async () => {
      store = await open(behindProxy)
      await store.commit([pair(0)])
      const commits = Array.from({ length: 20 }, (_, n) => store.commit([pair(n + 1)]))
      proxy.set({ type: 'cut', after: 0 }, 'toClient')
      await Promise.all(commits)
      expect(await lefts(store)).toHaveLength(21)
    })

    it('a conflict is still one after a broken connection', async () => {
      store = await open(behindProxy)
      await store.commit([pair(1)])
      proxy.set({ type: 'cut', after: 0 }, 'toServer')
      await expect(store.commit([pair(2), pair(1)])).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
      expect(await lefts(store)).toEqual([1])
    })

    it('reads go on when their connections have died', async () => {
      store = await open()
      await store.commit([pair(1)])
      expect(await lefts(store)).toEqual([1])
      await asAdmin(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'duologue agent ${schema}'
      AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`)
      expect(await lefts(store)).toEqual([1])
    })

    it('an owner whose place was taken while it was cut off hears of it and can never write', async () => {
      const lost = vi.fn<(error: StoreError) => void>()
      store = await open(behindProxy, lost)
      await store.commit([pair(1)])
      proxy.refuse(true)
      proxy.break('cut')
      const second = await open()
      try {
        proxy.refuse(false)
        await expect(store.commit([pair(2)])).rejects.toMatchObject({ code: 'STORE_NOT_OWNER' })
        await second.commit([pair(3)])
      } finally {
        await second.close()
      }
      await expect(store.commit([pair(4)])).rejects.toMatchObject({ code: 'STORE_NOT_OWNER' })
      await expect(store.find(pairs, {})).rejects.toMatchObject({ code: 'STORE_NOT_OWNER' })
      expect(lost).toHaveBeenCalledTimes(1)
      store = await open()
      expect(await lefts(store)).toEqual([1, 3])
    })

    it('an old owner whose lock went without its knowing is stopped by the epoch, whatever it has under way', async () => {
      const database = postgresDatabase({ url: testDatabaseUrl, ...place })
      const shared: SqlDatabase = {
        kind: 'postgres',
        field: 'shared',
        connect: async (purpose, deadline) => {
          const session = await database.connect(purpose, deadline)
          // As behind a pooler that gives the session to somebody else.
          await session.script('SELECT pg_advisory_unlock_all()')
          return session
        },
        close: () => database.close(),
      }
      const old = await openSqlStore(shared, { ...place, migrations: await readMigrations(migrations) })
      await old.commit([pair(0)])
      const commits = Array.from({ length: 30 }, (_, n) =>
        old.commit([pair(n + 1)]).then(
          () => n + 1,
          () => 0,
        ),
      )
      store = await open()
      const before = await lefts(store)
      const answered = (await Promise.all(commits)).filter(left => left > 0)
      await expect(old.commit([pair(99)])).rejects.toMatchObject({ code: 'STORE_NOT_OWNER' })
      await old.close()
      expect(await lefts(store)).toEqual(before)
      expect(before).toEqual([0, ...answered])
    })

    it('bad places are refused with their reason and without a password', async () => {
      store = await open()
      const refuse = async (databaseUrl: string, code: string) => {
        const error = await openStore({ databaseUrl, ...place }).catch((thrown: unknown) => thrown)
        expect(error).toBeInstanceOf(StoreError)
        expect(error).toMatchObject({ code })
        expect(JSON.stringify(error) + String((error as Error).stack)).not.toContain('secret')
      }
      await refuse('postgres://root:secret@127.0.0.1:1/test', 'STORE_UNAVAILABLE')
      await refuse(new URL('/no_such_database', testDatabaseUrl).href, 'STORE_REFUSED')
      await refuse('postgres://nobody_like_this:secret@127.0.0.1:5432/test', 'STORE_REFUSED')
      await refuse('postgres://root:secret@[bad/test', 'STORE_OPEN')
      // What is no URL would be taken for the name of a database and shown with its password.
      await refuse('postgres//root:secret@127.0.0.1/test', 'STORE_OPEN')
      await refuse('//root:secret@127.0.0.1/test', 'STORE_OPEN')
      await refuse('root:secret@127.0.0.1/test', 'STORE_OPEN')
      await expect(openStore({ ...place })).rejects.toMatchObject({ code: 'STORE_OPEN' })
    })

    it('a row that the schema refuses is an error without its values', async () => {
      store = await open()
      await asAdmin(`ALTER TABLE "${schema}".pairs ADD CONSTRAINT small CHECK ("left" < 1000)`)
      const error = await store
        .commit([insert(pairs, { left: 5000, right: 'secret' })])
        .catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'STORE_VALUE', facts: { sqlState: '23514', constraint: 'small' } })
      expect(JSON.stringify(error) + String((error as Error).stack) + String((error as Error).cause)).not.toContain(
        'secret',
      )
      await store.commit([pair(1), patch(pairs, { left: 1, right: 'x' }, {})])
    })
  },
)
