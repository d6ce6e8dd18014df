import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { agentTables } from '../../src/store/agent/tables.js'
import { defineTable, integer, nullable, openMemoryStore, text } from '../../src/store/index.js'
import { migrate, migrationsDirectory, readMigrations } from '../../src/store/migrate.js'
import { pgliteDatabase } from '../../src/store/pglite.js'
import { routerLinks, routerQueues, routerTables } from '../../src/store/router/tables.js'
import { checkSchema } from '../../src/store/schema.js'
import { signalTables } from '../../src/store/signal/tables.js'
import type { SqlSession } from '../../src/store/session.js'
import { openSqlStore } from '../../src/store/sqlStore.js'
import { sharedDatabase } from './sharedDatabase.js'
import { accounts, items, pairs, plain, testTables } from './tables.js'

const testMigrations = fileURLToPath(new URL('./migrations', import.meta.url))

describe('schema and migrations', { timeout: 60_000 }, async () => {
  const shared = sharedDatabase(await pgliteDatabase({ schema: 'public' }))
  let session: SqlSession
  const open = async (schema: string, scope: string, directory: string) => {
    await session.script(`SET search_path TO "${schema}"`)
    return openSqlStore(shared.database, { schema, scope, migrations: await readMigrations(directory) })
  }
  const names = async (schema: string) => {
    const [rows = []] = await session.transaction([
      { text: `SELECT name FROM "${schema}".agent_migrations ORDER BY name`, types: [], params: [] },
    ])
    return rows.map(([name]) => name)
  }
  const file = (name: string, sql: string) => ({ name, sql, checksum: sql })

  beforeAll(async () => {
    session = await shared.database.connect('open', 0)
  })
  afterAll(() => shared.end())

  it('the tables of the test suite are what their migrations make', async () => {
    const store = await open('tested', 'agent', testMigrations)
    expect(await checkSchema(store, testTables)).toEqual([])
  })

  it('the tables of the agent are what migrations/agent makes', async () => {
    const store = await open('agent', 'agent', migrationsDirectory('agent'))
    expect(await checkSchema(store, agentTables)).toEqual([])
  })

  it('the tables of the router are what migrations/router makes, beside those of an agent', async () => {
    const store = await open('agent', 'router', migrationsDirectory('router'))
    expect(await checkSchema(store, routerTables)).toEqual([])
    expect(await checkSchema(store, agentTables)).toEqual([])
  })

  it('B10 the data of links that a router has in its first schema moves to its own table', async () => {
    const [first, ...later] = await readMigrations(migrationsDirectory('router'))
    await session.script('SET search_path TO moved')
    await migrate(session, { schema: 'moved', scope: 'router', files: [first!] })
    const row = (id: string, link: string): string =>
      `INSERT INTO moved.router_queues (recipient_id, sender_id, recipient_keys, rcv_dh_secret, status, created_at, link_id, link_fixed_data, link_user_data) ` +
      `VALUES ('${id}', '${id}', '', '', 'active', 1, ${link});`
    await session.script(row('linked', `'link', 'fixed', 'user'`) + row('plain', 'NULL, NULL, NULL'))
    const store = await open('moved', 'router', migrationsDirectory('router'))
    expect(later.map(({ name }) => name)).toContain('0002_links.sql')
    const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString())
    const links = await store.find(routerLinks, {})
    expect(links.map(row => [row.linkId, row.fixedData, row.userData].map(text))).toEqual([['link', 'fixed', 'user']])
    const queues = await store.find(routerQueues, { orderBy: ['recipientId'] })
    expect(queues.map(({ recipientId, linkId }) => [recipientId, linkId].map(text))).toEqual([
      ['linked', 'link'],
      ['plain', null],
    ])
    const hashes = queues.map(({ linkFixedHash }) => linkFixedHash && Buffer.from(linkFixedHash).toString('hex'))
    expect(hashes).toEqual([createHash('sha256').update('fixed').digest('hex'), null])
  })

  it('the tables of the Signal channel are what migrations/signal makes, beside those of an agent', async () => {
    const store = await open('agent', 'signal', migrationsDirectory('signal'))
    expect(await checkSchema(store, signalTables)).toEqual([])
    expect(await checkSchema(store, agentTables)).toEqual([])
  })

  it('every difference is told', async () => {
    const store = await open('tested', 'agent', testMigrations)
    const { left: _, ...rest } = pairs.columns
    const wrong = [
      defineTable('missing', { id: text }, { key: ['id'] }),
      defineTable('pairs', { ...rest, left: text, more: nullable(integer) }, { key: ['right'], aggregate: 'right' }),
      defineTable('items', { ...items.columns, note: text }, { key: ['ownerId', 'itemId'] }),
      defineTable('accounts', accounts.columns, { key: ['id'], unique: [['label']], indexes: [['tenant']] }),
    ]
    expect(await checkSchema(store, wrong)).toEqual([
      'missing is not there',
      'missing has no primary key (id)',
      'pairs.left is bigint, not text',
      'pairs.more is not there',
      'pairs has no primary key (right)',
      'pairs has an index pairs_pkey that is not in the definition',
      'pairs has no index that begins with its aggregate right',
      'items.note takes null',
      'items has an index items_note that is not in the definition',
      'items has an index items_state_item_id that is not in the definition',
      'accounts has no unique set (label)',
      'accounts has no index (tenant)',
      'accounts has an index accounts_email_key that is not in the definition',
      'accounts has an index accounts_tenant_number_key that is not in the definition',
    ])
    await session.script(
      'CREATE TABLE tested.child (id text PRIMARY KEY REFERENCES tested.plain (id) ON DELETE CASCADE, extra text)',
    )
    const child = defineTable('child', { id: text }, { key: ['id'] })
    expect(await checkSchema(store, [child, plain])).toEqual([
      'child.extra is not in the definition',
      'child has a foreign key child_id_fkey, which the store port does not know',
    ])
  })

  it('a sparse index is one of the rows without null, and only of those', async () => {
    const store = await open('tested', 'agent', testMigrations)
    const { columns, indexes } = items
    const define = (options: { sparse?: ['note' | 'state']; more?: ['note'] }) =>
      defineTable('items', columns, {
        key: ['ownerId', 'itemId'],
        indexes: [...(indexes as [['state', 'itemId']]), ...(options.more === undefined ? [] : [options.more])],
        sparse: options.sparse ?? [],
      })
    expect(await checkSchema(store, [define({ more: ['note'] })])).toEqual([
      'items has no index (note)',
      'items has an index items_note that is not in the definition',
    ])
    await session.script('CREATE INDEX items_state ON tested.items (state) WHERE state IS NULL')
    expect(await checkSchema(store, [define({ sparse: ['state'] })])).toEqual([
      'items has no sparse index (state)',
      'items has an index items_note that is not in the definition',
      'items has an index items_state that is not in the definition',
    ])
    await session.script('DROP INDEX tested.items_state')
  })

  it('a memory store has no schema to differ', async () => {
    expect(await checkSchema(openMemoryStore(), testTables)).toEqual([])
  })

  describe('migrations', () => {
    const run = async (schema: string, files: ReturnType<typeof file>[]) => {
      await session.script(`SET search_path TO "${schema}"`)
      await migrate(session, { schema, scope: 'agent', files })
    }
    const first = file('0001_a.sql', 'CREATE TABLE a (id bigint)')
    const second = file('0002_b.sql', 'CREATE TABLE b (id bigint); INSERT INTO b VALUES (1)')

    it('run once each, in order, also when more come later', async () => {
      await run('m1', [first])
      await run('m1', [first, second])
      await run('m1', [first, second])
      expect(await names('m1')).toEqual(['0001_a.sql', '0002_b.sql'])
    })
    it('a failing file leaves nothing of itself and nothing of those before it', async () => {
      await run('m2', [first])
      const broken = file('0003_c.sql', 'CREATE TABLE c (id bigint); INSERT INTO nowhere VALUES (1)')
      await expect(run('m2', [first, second, broken])).rejects.toMatchObject({
        code: 'STORE_MIGRATION',
        field: '0003_c.sql',
        facts: { sqlState: '42P01' },
      })
      expect(await names('m2')).toEqual(['0001_a.sql'])
      await run('m2', [first, second])
    })
    it('a database that has run what this code does not know is refused: STORE_SCHEMA_NEWER', async () => {
      await run('m3', [first, second])
      await expect(run('m3', [first])).rejects.toMatchObject({
        code: 'STORE_SCHEMA_NEWER',
        facts: { migration: '0002_b.sql' },
      })
    })
    it('a file that was changed, or comes before one that ran, is refused: STORE_SCHEMA', async () => {
      await run('m4', [second])
      await expect(run('m4', [first, second])).rejects.toMatchObject({ code: 'STORE_SCHEMA' })
      await expect(run('m4', [file('0002_b.sql', 'SELECT 1')])).rejects.toMatchObject({ code: 'STORE_SCHEMA' })
    })
    it('a directory without files to read is refused: STORE_MIGRATIONS', async () => {
      await expect(readMigrations('/nowhere/at/all')).rejects.toMatchObject({ code: 'STORE_MIGRATIONS' })
    })
  })
})
