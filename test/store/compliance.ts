import * as fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type Change,
  insert,
  patch,
  put,
  type Query,
  remove,
  removeUnused,
  removeWhere,
  type Store,
  type Table,
} from '../../src/store/index.js'
import { anyChanges, itemQuery, plainQuery, plainRow } from './arbitrary.js'
import { NaiveStore } from './naive.js'
import { accounts, items, pairs, plain, testTables } from './tables.js'

/** What a suite needs of a store: how to open it, and how to open the same rows once more while the first is still there. */
export interface Subject {
  readonly open: () => Promise<Store>
  /** Opens the same rows anew, after the first opening has lost them without knowing (a crash, a partition). */
  readonly takeOver: (store: Store) => Promise<Store>
  /** Random runs of a property. */
  readonly runs: number
}

const row = {
  id: 'a',
  count: 1,
  flag: true,
  data: Buffer.from([1, 2, 3]),
  extra: { deep: [1, null, 'x'] },
  maybeText: null,
  maybeCount: null,
  maybeFlag: null,
  maybeData: null,
  maybeExtra: null,
}
const item = (ownerId: string, itemId: number, state = 'new', note: string | null = null) => ({
  ownerId,
  itemId,
  state,
  note,
  body: Buffer.alloc(0),
})
const account = (id: number, email: string, number: number | null = null) => ({
  id: Buffer.from([id]),
  email,
  tenant: 1,
  number,
  label: '',
})

/** The one suite that every store passes. */
export const describeStore = (name: string, subject: Subject): void => {
  describe(`store: ${name}`, () => {
    let store: Store
    beforeAll(async () => {
      store = await subject.open()
    })
    afterAll(async () => {
      await store.close()
    })
    beforeEach(async () => {
      await store.commit(testTables.map(table => removeWhere(table, {})))
    })

    const sorted = (rows: readonly object[]) => rows.map(canonical).sort()

    describe('finds', () => {
      beforeEach(async () => {
        await store.commit(
          [item('x', 1), item('x', 2, 'done'), item('x', 3, 'done', 'n'), item('y', 1), item('y', 2, 'new', 'm')].map(
            one => insert(items, one),
          ),
        )
      })
      const ids = async (query: Query<typeof items>) =>
        (await store.find(items, { orderBy: ['ownerId', 'itemId'], ...query })).map(
          one => `${one.ownerId}${one.itemId}`,
        )

      it('a row by its key, and nothing by a key that is not there', async () => {
        expect(await ids({ where: { ownerId: 'x', itemId: 2 } })).toEqual(['x2'])
        expect(await ids({ where: { ownerId: 'x', itemId: 9 } })).toEqual([])
      })
      it('by every condition', async () => {
        expect(await ids({ where: { itemId: { lt: 2 } } })).toEqual(['x1', 'y1'])
        expect(await ids({ where: { itemId: { lte: 2 } } })).toEqual(['x1', 'x2', 'y1', 'y2'])
        expect(await ids({ where: { itemId: { gt: 2 } } })).toEqual(['x3'])
        expect(await ids({ where: { ownerId: { gte: 'y' } } })).toEqual(['y1', 'y2'])
        expect(await ids({ where: { itemId: { in: [1, 3] }, ownerId: 'x' } })).toEqual(['x1', 'x3'])
        expect(await ids({ where: { itemId: { in: [] } } })).toEqual([])
        expect(await ids({ where: { state: { not: 'new' } } })).toEqual(['x2', 'x3'])
      })
      it('null as a value: equal, not, in; comparisons never hold for it', async () => {
        expect(await ids({ where: { note: null } })).toEqual(['x1', 'x2', 'y1'])
        expect(await ids({ where: { note: { not: null } } })).toEqual(['x3', 'y2'])
        expect(await ids({ where: { note: { not: 'n' } } })).toEqual(['x1', 'x2', 'y1', 'y2'])
        expect(await ids({ where: { note: { in: [null, 'm'] } } })).toEqual(['x1', 'x2', 'y1', 'y2'])
        expect(await ids({ where: { note: { gt: '' } } })).toEqual(['x3', 'y2'])
      })
      it('in order, reversed, limited; null comes last', async () => {
        expect(await ids({ orderBy: ['note', 'ownerId', 'itemId'] })).toEqual(['y2', 'x3', 'x1', 'x2', 'y1'])
        expect(await ids({ orderBy: ['note', 'ownerId', 'itemId'], descending: true, limit: 2 })).toEqual(['y1', 'x2'])
        expect(await ids({ where: { ownerId: 'x' }, orderBy: ['itemId'], limit: 1 })).toEqual(['x1'])
        expect(await ids({ where: { ownerId: 'x' }, orderBy: ['itemId'], descending: true, limit: 1 })).toEqual(['x3'])
        expect(await ids({ limit: 0 })).toEqual([])
      })
      it('text in the order of code points', async () => {
        const names = ['B', 'a', 'ü', '\uffee', '\u{1f600}']
        await store.commit([...names].reverse().map(right => insert(pairs, { left: 1, right })))
        const found = await store.find(pairs, { where: { left: 1 }, orderBy: ['left', 'right'] })
        expect(found.map(pair => pair.right)).toEqual(names)
      })
      it('rows by many values of a column, text and bytes', async () => {
        await store.commit(Array.from({ length: 90 }, (_, n) => insert(accounts, account(n, `${n}@x`, n))))
        const emails = Array.from({ length: 60 }, (_, n) => `${n * 2}@x`)
        const keys = Array.from({ length: 67 }, (_, n) => Buffer.from([n]))
        expect(await store.find(accounts, { where: { email: { in: emails } } })).toHaveLength(45)
        expect(await store.find(accounts, { where: { id: { in: keys } } })).toHaveLength(67)
      })
      it('counts', async () => {
        expect(await store.count(items)).toBe(5)
        expect(await store.count(items, { ownerId: 'x', note: null })).toBe(2)
        expect(await store.count(items, { ownerId: { in: [] } })).toBe(0)
      })
      it('counts by the values of a column, none among them', async () => {
        const sorted = (counts: ReadonlyArray<{ value: unknown; count: number }>) =>
          counts.map(({ value, count }) => `${String(value)} ${count}`).sort()
        expect(sorted(await store.countBy(items, 'note'))).toEqual(['m 1', 'n 1', 'null 3'])
        expect(sorted(await store.countBy(items, 'itemId'))).toEqual(['1 2', '2 2', '3 1'])
        expect(await store.countBy(pairs, 'right')).toEqual([])
        await expect(store.countBy(items, 'body')).rejects.toMatchObject({ code: 'STORE_QUERY' })
        await expect(store.countBy(items, 'nothing' as never)).rejects.toMatchObject({ code: 'STORE_QUERY' })
      })
      it('gives fresh rows: changing one changes nothing stored', async () => {
        await store.commit([insert(plain, row)])
        const [first] = await store.find(plain, {})
        first?.data.set([9])
        const extra = first?.extra as { deep: unknown[] }
        extra.deep.push('more')
        expect(await store.find(plain, {})).toEqual([row])
      })
      it('refuses a query that no table can answer, with STORE_QUERY', async () => {
        const bad = [
          { where: { nothing: 1 } },
          { orderBy: ['extra'] },
          { where: { extra: 'x' } },
          { limit: -1 },
          { where: { count: { like: 1 } } },
        ]
        for (const query of bad) {
          await expect(store.find(plain, query as never)).rejects.toMatchObject({ code: 'STORE_QUERY' })
        }
        await expect(store.find(plain, { where: { count: '1' } } as never)).rejects.toMatchObject({
          code: 'STORE_VALUE',
        })
      })
    })

    describe('changes', () => {
      it('insert, put, patch, remove, removeWhere', async () => {
        await store.commit([insert(items, item('x', 1)), put(items, item('x', 2)), insert(items, item('x', 3))])
        await store.commit([
          put(items, item('x', 1, 'done')),
          patch(items, { ownerId: 'x', itemId: 2 }, { note: 'n' }),
          remove(items, { ownerId: 'x', itemId: 3 }),
        ])
        expect(sorted(await store.find(items, {}))).toEqual(sorted([item('x', 1, 'done'), item('x', 2, 'new', 'n')]))
        await store.commit([removeWhere(items, { state: 'done' })])
        expect(await store.find(items, {})).toEqual([item('x', 2, 'new', 'n')])
      })
      it('patch and remove of a row that is not there do nothing', async () => {
        await store.commit([
          patch(items, { ownerId: 'q', itemId: 1 }, { note: 'n' }),
          remove(items, { ownerId: 'q', itemId: 2 }),
        ])
        expect(await store.find(items, {})).toEqual([])
      })
      it('apply in order within one commit', async () => {
        const key = { ownerId: 'x', itemId: 1 }
        await store.commit([
          insert(items, item('x', 1)),
          patch(items, key, { note: 'one' }),
          removeWhere(items, { note: 'one' }),
          insert(items, item('x', 1)),
          patch(items, key, { note: 'two' }),
          patch(items, key, { state: 'done' }),
        ])
        expect(await store.find(items, {})).toEqual([item('x', 1, 'done', 'two')])
      })
      it('hundreds of rows of several tables at once', async () => {
        const rows = Array.from({ length: 333 }, (_, n) => item(`o${n % 7}`, n))
        await store.commit([...rows.map(one => insert(items, one)), insert(plain, row)])
        await store.commit(rows.map(one => patch(items, one, { note: `n${one.itemId}` })))
        expect(sorted(await store.find(items, {}))).toEqual(
          sorted(rows.map(one => ({ ...one, note: `n${one.itemId}` }))),
        )
        await store.commit(rows.slice(100).map(one => remove(items, one)))
        expect(await store.count(items)).toBe(100)
        expect(await store.count(plain)).toBe(1)
      })
      describe('removeUnused', () => {
        const idsLeft = async () => (await store.find(plain, { orderBy: ['id'] })).map(({ id }) => id)
        const unused = (id: string) => removeUnused(plain, { id }, items, 'note')
        it('removes a row only when no row of the other table names it', async () => {
          await store.commit([
            ...['a', 'b', 'c'].map(id => insert(plain, { ...row, id })),
            insert(items, item('x', 1, 'new', 'a')),
            insert(items, item('y', 1, 'new', 'a')),
            insert(items, item('x', 2, 'new', null)),
          ])
          await store.commit([unused('a'), unused('b'), unused('not there')])
          expect(await idsLeft()).toEqual(['a', 'c'])
        })
        it('looks at the end of its commit: the last use goes with what it used, a new one keeps it', async () => {
          const first = { ownerId: 'x', itemId: 1 }
          await store.commit([insert(plain, { ...row, id: 'a' }), insert(items, item('x', 1, 'new', 'a'))])
          await store.commit([
            unused('a'),
            patch(items, first, { note: null }),
            insert(items, item('y', 1, 'new', 'a')),
          ])
          expect(await idsLeft()).toEqual(['a'])
          await store.commit([unused('a'), removeWhere(items, { ownerId: 'y' })])
          expect(await idsLeft()).toEqual([])
        })
        it('many of them, many times', async () => {
          const ids = Array.from({ length: 100 }, (_, n) => `n${n}`)
          await store.commit(
            ids.flatMap((id, n) => [insert(plain, { ...row, id }), insert(items, item('x', n, 'new', id))]),
          )
          await store.commit([...ids.map(unused), ...ids.map(unused)])
          expect(await store.count(plain)).toBe(100)
          await store.commit([removeWhere(items, { itemId: { lt: 60 } }), ...ids.map(unused)])
          expect(await store.count(plain)).toBe(40)
        })
        it('of a key with the wrong type is refused', async () => {
          await expect(store.commit([removeUnused(plain, { id: 1 as never }, items, 'note')])).rejects.toMatchObject({
            code: 'STORE_VALUE',
          })
        })
      })
      it('an empty commit is one', async () => {
        await store.commit([])
      })
      it('a table whose columns are all key takes a put twice', async () => {
        await store.commit([put(pairs, { left: 1, right: 'a' })])
        await store.commit([put(pairs, { left: 1, right: 'a' }), put(pairs, { left: 2, right: 'b' })])
        expect(await store.count(pairs)).toBe(2)
      })
      it('commits that were started together all arrive, in order', async () => {
        const commits = Array.from({ length: 20 }, (_, n) =>
          store.commit([put(items, item('x', 1, 'new', `n${n}`)), insert(items, item('y', n))]),
        )
        const found = store.find(items, { where: { ownerId: 'x' } })
        await Promise.all(commits)
        await found
        expect(await store.find(items, { where: { ownerId: 'x' } })).toEqual([item('x', 1, 'new', 'n19')])
        expect(await store.count(items)).toBe(21)
      })
    })

    describe('conflicts', () => {
      const fails = async (changes: readonly Change[], columns: string) =>
        expect(store.commit(changes)).rejects.toMatchObject({
          name: 'StoreError',
          code: 'STORE_CONFLICT',
          facts: { columns, table: expect.any(String), constraint: expect.any(String) },
        })
      beforeEach(async () => {
        await store.commit([insert(accounts, account(1, 'a@x', 1)), insert(items, item('x', 1))])
      })
      it('an insert meets its key', async () => {
        await fails([insert(items, item('x', 1))], 'ownerId,itemId')
      })
      it('two inserts of one commit meet', async () => {
        await fails([insert(items, item('z', 1)), insert(items, item('z', 1))], 'ownerId,itemId')
      })
      it('an insert conflicts even when its row is removed later in the commit', async () => {
        await fails([insert(items, item('x', 1)), remove(items, { ownerId: 'x', itemId: 1 })], 'ownerId,itemId')
      })
      it('insert, put and patch meet a unique value; null meets nothing', async () => {
        await fails([insert(accounts, account(2, 'a@x'))], 'email')
        await fails([put(accounts, account(2, 'b@x', 1))], 'tenant,number')
        await store.commit([insert(accounts, account(2, 'b@x')), insert(accounts, account(3, 'c@x'))])
        await fails([patch(accounts, { id: Buffer.from([2]) }, { number: 1 })], 'tenant,number')
      })
      it('a unique value is free again in the same commit when its row gives it up before', async () => {
        await store.commit([remove(accounts, { id: Buffer.from([1]) }), insert(accounts, account(2, 'a@x', 1))])
        await store.commit([
          patch(accounts, { id: Buffer.from([2]) }, { email: 'z@x' }),
          insert(accounts, account(3, 'a@x')),
        ])
        expect((await store.find(accounts, { orderBy: ['email'] })).map(one => one.email)).toEqual(['a@x', 'z@x'])
      })
      it('leave nothing behind: all changes or none', async () => {
        const before = await Promise.all(testTables.map(table => store.find(table as Table, {})))
        await fails(
          [
            insert(plain, row),
            put(items, item('x', 1, 'done')),
            remove(accounts, { id: Buffer.from([9]) }),
            insert(accounts, account(2, 'a@x')),
          ],
          'email',
        )
        expect(await Promise.all(testTables.map(table => store.find(table as Table, {})))).toEqual(before)
        await store.commit([insert(plain, row)])
      })
      it('do not touch the commit that comes after', async () => {
        const bad = store.commit([insert(items, item('x', 1))])
        const good = store.commit([insert(items, item('x', 2))])
        await expect(bad).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
        await good
        expect(await store.count(items)).toBe(2)
      })
    })

    describe('values', () => {
      it('come back as they went in, for every type', async () => {
        await fc.assert(
          fc.asyncProperty(plainRow, async one => {
            await store.commit([put(plain, one)])
            expect(sorted(await store.find(plain, { where: { id: one.id } }))).toEqual(sorted([one]))
          }),
          { numRuns: subject.runs },
        )
      })
      it('at the edges: no bytes, 16 KB, the largest numbers', async () => {
        const edge = {
          ...row,
          data: Buffer.alloc(0),
          maybeData: Buffer.alloc(16_384, 0x5c),
          count: Number.MAX_SAFE_INTEGER,
          maybeCount: Number.MIN_SAFE_INTEGER,
          extra: null,
          maybeText: '',
        }
        await store.commit([insert(plain, edge)])
        expect(await store.find(plain, { where: { count: Number.MAX_SAFE_INTEGER } })).toEqual([edge])
      })
      it('that a column does not take are refused with STORE_VALUE before anything is written', async () => {
        const bad = [
          { count: 2 ** 53 },
          { count: 1.5 },
          { count: '1' },
          { id: 'nul\0' },
          { id: '\ud800' },
          { flag: null },
          { data: 'text' },
          { extra: { a: '\0' } },
          { extra: undefined },
          { unknown: 1 },
        ]
        for (const wrong of bad) {
          await expect(store.commit([insert(plain, { ...row, ...wrong } as never)])).rejects.toMatchObject({
            code: 'STORE_VALUE',
            field: `plain.${Object.keys(wrong)[0]}`,
          })
        }
        await expect(store.commit([patch(plain, { id: 'a' }, { id: 'b' })])).rejects.toMatchObject({
          code: 'STORE_VALUE',
        })
        expect(await store.count(plain)).toBe(0)
      })
    })

    describe('like the plain model', () => {
      it('random commits leave the same rows, and conflict where they must', async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(anyChanges, { maxLength: 4 }), async commits => {
            await store.commit(testTables.map(table => removeWhere(table, {})))
            const model = new NaiveStore()
            for (const changes of commits) {
              const expected = model.commit(changes)
              const committed = await store.commit(changes).then(
                () => true,
                (error: { code: string }) => {
                  expect(error.code).toBe('STORE_CONFLICT')
                  return false
                },
              )
              // A row removed later in the commit may count as gone: only then a store may take what the model refuses.
              if (committed !== expected) {
                expect(committed && removesAccount(changes)).toBe(true)
                return
              }
              for (const table of testTables) {
                expect(sorted(await store.find(table as Table, {}))).toEqual(sorted(model.find(table as Table, {})))
              }
            }
          }),
          { numRuns: subject.runs },
        )
      })
      it('random queries find the same rows', async () => {
        const model = new NaiveStore()
        await fc.assert(
          fc.asyncProperty(
            anyChanges,
            fc.array(
              fc.oneof(
                itemQuery.map(query => ({ table: items, query })),
                plainQuery.map(query => ({ table: plain, query })),
              ),
              { minLength: 3, maxLength: 6 },
            ),
            async (changes, queries) => {
              const writes = changes.filter(change => change.op === 'put' && (change.table as Table) !== accounts)
              model.commit(writes)
              await store.commit(writes).catch(() => expect.unreachable())
              for (const { table, query } of queries)
                expectSame(table, query, await store.find(table as Table, query), model.find(table as Table, query))
            },
          ),
          { numRuns: subject.runs },
        )
      })
    })

    describe('ownership', () => {
      it('a second opening raises the epoch, and the first can never commit again', async () => {
        await store.commit([insert(items, item('x', 1))])
        const second = await subject.takeOver(store)
        try {
          expect(second.epoch).toBeGreaterThan(store.epoch)
          await expect(store.commit([insert(items, item('x', 2))])).rejects.toMatchObject({ code: 'STORE_NOT_OWNER' })
          await expect(store.find(items, {})).rejects.toMatchObject({ code: 'STORE_NOT_OWNER' })
          await second.commit([insert(items, item('x', 3))])
          expect((await second.find(items, { orderBy: ['itemId'] })).map(one => one.itemId)).toEqual([1, 3])
        } finally {
          await store.close()
          store = second
        }
      })
      it('a closed store answers every call with STORE_CLOSED', async () => {
        const last = store
        await last.commit([insert(items, item('x', 1))])
        await last.close()
        await last.close()
        await expect(last.find(items, {})).rejects.toMatchObject({ code: 'STORE_CLOSED' })
        await expect(last.count(items)).rejects.toMatchObject({ code: 'STORE_CLOSED' })
        await expect(last.commit([])).rejects.toMatchObject({ code: 'STORE_CLOSED' })
      })
    })
  })
}

const removesAccount = (changes: readonly Change[]): boolean =>
  changes.some(change => (change as { table: Table; op: string }).table === accounts && change.op === 'remove')

/** One text for a value, whatever the order of its properties; a Buffer tells its type and bytes. */
const canonical = (value: object): string => JSON.stringify(plainly(value))
const plainly = (value: unknown): unknown => {
  if (Buffer.isBuffer(value)) return { buffer: value.toString('hex') }
  if (Array.isArray(value)) return value.map(plainly)
  return typeof value === 'object' && value !== null ? sortKeys(value as Record<string, unknown>) : value
}
const sortKeys = (value: Record<string, unknown>) =>
  Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, one]) => [name, plainly(one)])

/** The same rows; where the order leaves ties open or none is asked for, the same as a set as far as the limit allows. */
const expectSame = (
  table: Table,
  query: Record<string, unknown>,
  found: readonly object[],
  expected: readonly object[],
): void => {
  expect(found).toHaveLength(expected.length)
  const orderBy = (query.orderBy ?? []) as string[]
  const columns = table.key.every(name => orderBy.includes(name)) ? Object.keys(table.columns) : orderBy
  const pick = (row: object) => canonical(columns.map(name => (row as Record<string, object>)[name] ?? null))
  expect(found.map(pick)).toEqual(expected.map(pick))
  if (query.limit === undefined) expect(found.map(canonical).sort()).toEqual(expected.map(canonical).sort())
}
