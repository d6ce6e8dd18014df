import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { coalesce } from '../../src/store/coalesce.js'
import {
  type Change,
  insert,
  openMemoryStore,
  patch,
  put,
  remove,
  removeUnused,
  removeWhere,
} from '../../src/store/index.js'
import { writeStatements } from '../../src/store/sql.js'
import { anyChanges } from './arbitrary.js'
import { NaiveStore } from './naive.js'
import { accounts, items, pairs, plain, testTables } from './tables.js'

const row = (itemId: number, note: string | null = null) => ({
  ownerId: 'x',
  itemId,
  state: 'new',
  note,
  body: Buffer.alloc(0),
})
const key = (itemId: number) => ({ ownerId: 'x', itemId })
const account = (id: number, email: string) => ({ id: Buffer.from([id]), email, tenant: 1, number: null, label: '' })

/** A plan in short: operation and what it holds. */
const plan = (changes: readonly Change[]) =>
  coalesce(changes).map(step => {
    if (step.op === 'insert' || step.op === 'put') return [step.op, step.rows]
    if (step.op === 'patch') return [step.op, step.patches.map(({ key, set }) => ({ ...key, ...set }))]
    return step.op === 'remove' || step.op === 'removeUnused' ? [step.op, step.keys] : [step.op]
  })

describe('coalesce', () => {
  it.each<[string, Change[], unknown]>([
    ['insert + patch', [insert(items, row(1)), patch(items, key(1), { note: 'n' })], [['insert', [row(1, 'n')]]]],
    ['insert + put', [insert(items, row(1)), put(items, row(1, 'n'))], [['insert', [row(1, 'n')]]]],
    ['put + patch', [put(items, row(1)), patch(items, key(1), { note: 'n' })], [['put', [row(1, 'n')]]]],
    ['put + remove', [put(items, row(1)), remove(items, key(1))], [['remove', [key(1)]]]],
    [
      'patch + patch',
      [patch(items, key(1), { note: 'a', state: 's' }), patch(items, key(1), { note: 'b' })],
      [['patch', [{ ...key(1), note: 'b', state: 's' }]]],
    ],
    ['patch + put', [patch(items, key(1), { note: 'a' }), put(items, row(1))], [['put', [row(1)]]]],
    ['patch + remove', [patch(items, key(1), { note: 'a' }), remove(items, key(1))], [['remove', [key(1)]]]],
    ['remove + insert', [remove(items, key(1)), insert(items, row(1))], [['put', [row(1)]]]],
    ['remove + patch', [remove(items, key(1)), patch(items, key(1), { note: 'a' })], [['remove', [key(1)]]]],
    ['a patch of nothing', [patch(items, key(1), {})], []],
    [
      'insert + remove, where the insert must still meet its key',
      [insert(items, row(1)), remove(items, key(1))],
      [
        ['insert', [row(1)]],
        ['remove', [key(1)]],
      ],
    ],
    [
      'removeWhere as a barrier',
      [insert(items, row(1)), removeWhere(items, { state: 'new' }), patch(items, key(1), { note: 'n' })],
      [['insert', [row(1)]], ['removeWhere'], ['patch', [{ ...key(1), note: 'n' }]]],
    ],
    [
      'removeUnused of one row twice, after everything else',
      [
        removeUnused(plain, { id: 'a' }, items, 'note'),
        insert(items, row(1)),
        removeUnused(plain, { id: 'a' }, items, 'note'),
        removeUnused(plain, { id: 'b' }, items, 'note'),
      ],
      [
        ['insert', [row(1)]],
        ['removeUnused', [{ id: 'a' }, { id: 'b' }]],
      ],
    ],
    [
      'a unique value handed on',
      [
        insert(accounts, account(1, 'a')),
        patch(accounts, { id: Buffer.from([1]) }, { email: 'b' }),
        insert(accounts, account(2, 'a')),
      ],
      [
        ['insert', [account(1, 'a')]],
        ['patch', [{ id: Buffer.from([1]), email: 'b' }]],
        ['insert', [account(2, 'a')]],
      ],
    ],
  ])('%s', (_, changes, expected) => {
    expect(plan(changes)).toEqual(expected)
  })

  it('one step for each table and operation, however the changes are mixed', () => {
    const changes = Array.from({ length: 100 }, (_, n) => [
      insert(items, row(n)),
      put(pairs, { left: n, right: 'x' }),
      remove(items, key(n + 1000)),
      patch(items, key(n + 2000), { note: 'n' }),
    ]).flat()
    expect(coalesce(changes).map(step => `${step.op} ${step.table.name}`)).toEqual([
      'remove items',
      'patch items',
      'insert items',
      'put pairs',
    ])
    expect(coalesce(changes).flatMap(writeStatements)).toHaveLength(4 * 7)
  })

  it('two inserts of one row conflict, whatever is stored', () => {
    expect(() => coalesce([insert(items, row(1)), insert(items, row(1))])).toThrow(
      expect.objectContaining({ code: 'STORE_CONFLICT' }),
    )
  })

  it('the steps do what the changes do one by one', async () => {
    await fc.assert(
      fc.asyncProperty(anyChanges, anyChanges, async (before, changes) => {
        const model = new NaiveStore()
        const store = openMemoryStore()
        for (const batch of [before, changes]) {
          if (!model.commit(batch)) return
          await store.commit(batch)
        }
        for (const table of testTables) {
          const rows = await store.find(table, {})
          expect(new Set(rows.map(text))).toEqual(new Set(model.find(table, {}).map(text)))
        }
      }),
      { numRuns: 500 },
    )
  })

  it('no statement has more parameters than the protocol carries, and bytes go as bytes', () => {
    fc.assert(
      fc.property(anyChanges, changes => {
        let steps
        try {
          steps = coalesce(changes)
        } catch {
          return
        }
        for (const { text, types, params } of steps.flatMap(writeStatements)) {
          expect(params.length).toBe(types.length)
          expect(params.length).toBeLessThan(65_536)
          expect(text).not.toContain('bytea[]')
          params.forEach((param, index) => {
            if (types[index] === 17 && param !== null) expect(Buffer.isBuffer(param)).toBe(true)
          })
        }
      }),
    )
  })
})

const text = (one: object): string =>
  JSON.stringify(
    Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)),
    (_, value) =>
      typeof value === 'object' && value !== null && !Array.isArray(value) && !('type' in value)
        ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
        : value,
  )
