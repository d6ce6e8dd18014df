/** What 0004_handshakes.sql makes of handshakes that an agent of the version before was in the middle of. */
import { afterAll, expect, it } from 'vitest'
import { concat, large } from '../../src/encoding/index.js'
import { migrate, migrationsDirectory, readMigrations } from '../../src/store/migrate.js'
import { pgliteDatabase } from '../../src/store/pglite.js'
import { sharedDatabase } from './sharedDatabase.js'

const shared = sharedDatabase(await pgliteDatabase({ schema: 'public' }))
afterAll(() => shared.end())

it('B15 handshakes under way keep their keys and info, and every connection knows which call made it', {
  timeout: 60_000,
}, async () => {
  const session = await shared.database.connect('open', 0)
  const files = await readMigrations(migrationsDirectory('agent'))
  const at = (last: number) => files.filter(({ name }) => Number(name.slice(0, 4)) <= last)
  const schema = 'upgraded'
  await session.script(`CREATE SCHEMA ${schema}; SET search_path TO ${schema}`)
  await migrate(session, { schema, scope: 'agent', files: at(1) })

  const params = Buffer.alloc(300, 7)
  const info = Buffer.from('own info')
  const join = concat(large(params), info)
  const hex = (bytes: Uint8Array): string => `'\\x${Buffer.from(bytes).toString('hex')}'`
  const connection = (id: string, status: string, link: string, x3dh: string): string =>
    `INSERT INTO connections VALUES ('${id}', 1, '${status}', 7, false, 0, 0, '', 0, 0, '', 'ok', NULL, ${x3dh}, ${link}, NULL, 0);`
  const command = (id: number, of: string, type: string, secret: string): string =>
    `INSERT INTO commands VALUES (${id}, '${of}', 1, 'smp://r', '${type}', '{}', ${secret}, NULL, 0);`
  await session.script(
    [
      connection('created', 'rcv', `'simplex:/invitation'`, `'\\x01'`),
      connection('creating', 'new', 'NULL', `'\\x01'`),
      connection('confirmed', 'confirmed', `'simplex:/invitation'`, 'NULL'),
      connection('securing', 'snd', 'NULL', 'NULL'),
      connection('replying', 'snd', 'NULL', 'NULL'),
      command(1, 'securing', 'secureSend', hex(join)),
      command(2, 'replying', 'createReply', hex(concat(large(params), Buffer.alloc(0)))),
      command(3, 'confirmed', 'allowSecure', hex(info)),
      command(4, 'gone', 'deleteQueue', 'NULL'),
    ].join('\n'),
  )

  await migrate(session, { schema, scope: 'agent', files })
  const query = async (text: string) => {
    const [rows = []] = await session.transaction([{ text, types: [], params: [] }])
    return rows
  }
  expect(await query(`SELECT connection_id, origin FROM connections ORDER BY connection_id`)).toEqual([
    ['confirmed', 'created'],
    ['created', 'created'],
    ['creating', 'created'],
    ['replying', 'joined'],
    ['securing', 'joined'],
  ])
  expect(
    await query(
      `SELECT connection_id, encode(e2e_params, 'hex'), contact_queue, encode(info, 'escape') FROM handshakes ORDER BY 1`,
    ),
  ).toEqual([
    ['replying', params.toString('hex'), null, ''],
    ['securing', params.toString('hex'), null, 'own info'],
  ])
  expect(await query(`SELECT command_id, secret FROM commands ORDER BY 1`)).toEqual([
    ['1', null],
    ['2', null],
    ['3', null],
    ['4', null],
  ])
})
