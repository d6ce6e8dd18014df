import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { overlaid, ownedBytes, ownedRow } from '../../src/runtime/rows.js'
import { type Change, insert, openMemoryStore, patch, type Query, type Row, remove } from '../../src/store/index.js'
import { journalChange, journalWhere } from './changes.js'
import { journal } from './support.js'

type JournalRow = Row<typeof journal>

const row = (account: string, line: number, word: string | null = null): JournalRow => ({
  account,
  line,
  word,
  extra: null,
})

const query: fc.Arbitrary<Query<typeof journal>> = fc.record(
  {
    where: journalWhere,
    orderBy: fc.constantFrom(
      ['account', 'line'] as const,
      ['line', 'account'] as const,
      ['word', 'account', 'line'] as const,
    ),
    descending: fc.boolean(),
    limit: fc.integer({ min: 0, max: 4 }),
  },
  { requiredKeys: ['where', 'orderBy'] },
)

describe('overlaid rows', () => {
  it('are what the query finds after the commit, for any changes and queries, or are left to the store', async () => {
    let told = 0
    let left = 0
    const changes = fc.array(journalChange, { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(changes, changes, query, async (earlier, later, query) => {
        const store = openMemoryStore()
        for (const change of earlier) await committed(store.commit([change]))
        const before = await store.find(journal, query)
        const untouched = structuredClone(before)
        const seen = overlaid(journal, query, before, later)
        expect(before).toEqual(untouched)
        if (!(await committed(store.commit(later)))) return
        if (seen === undefined) left++
        else {
          told++
          expect(seen).toEqual(await store.find(journal, query))
        }
      }),
      { numRuns: 600 },
    )
    expect(told).toBeGreaterThan(left)
  })

  it('are the rows found where nothing of the table has changed', () => {
    const found = [row('a', 1)]
    expect(overlaid(journal, { where: { account: 'a' } }, found, [])).toEqual(found)
  })

  it('show what came in, also past a limit and in reverse order', () => {
    const changes = [insert(journal, row('a', 3)), insert(journal, row('b', 9)), insert(journal, row('a', 0))]
    const query = { where: { account: 'a' }, orderBy: ['line'], descending: true, limit: 2 } as const
    expect(overlaid(journal, query, [row('a', 2), row('a', 1)], changes)).toEqual([row('a', 3), row('a', 2)])
  })

  it('are unknown where a row that was not found may match now, or may move up to the limit', () => {
    const found = [row('a', 1, 'red')]
    const marked: Change[] = [patch(journal, { account: 'a', line: 2 }, { word: 'red' })]
    expect(overlaid(journal, { where: { account: 'a', word: 'red' } }, found, marked)).toBeUndefined()
    const gone: Change[] = [remove(journal, { account: 'a', line: 1 })]
    expect(overlaid(journal, { where: { account: 'a' }, orderBy: ['line'], limit: 1 }, found, gone)).toBeUndefined()
    expect(overlaid(journal, { where: { account: 'a' }, orderBy: ['line'], limit: 2 }, found, gone)).toEqual([])
  })
})

describe('bytes of kept rows', () => {
  it('keep about their own length in memory, not the block that they came in', () => {
    const block = Buffer.alloc(16_384, 7)
    const window = block.subarray(100, 132)
    const { data, name } = ownedRow({ data: window, name: 'x' })
    expect(Buffer.isBuffer(data)).toBe(true)
    expect(data).toEqual(window)
    expect(data.buffer.byteLength).toBe(32)
    expect(name).toBe('x')
  })

  it('are not copied when they are their own already', () => {
    const own = new Uint8Array(1000)
    expect(ownedBytes(own)).toBe(own)
    const pooled = Buffer.concat([Buffer.from('made'), Buffer.from('here')])
    expect(ownedBytes(pooled)).toBe(pooled)
    const row = { data: own, none: null }
    expect(ownedRow(row)).toBe(row)
  })
})

const committed = async (commit: Promise<void>): Promise<boolean> => {
  try {
    await commit
    return true
  } catch (error) {
    if (error instanceof StoreError && error.code === 'STORE_CONFLICT') return false
    throw error
  }
}
