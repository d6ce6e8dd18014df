import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AggregateCache } from '../../src/runtime/aggregates.js'
import { defineTable, insert, openMemoryStore, patch, put, removeWhere, text } from '../../src/store/index.js'
import { accountChange, accountNames, entryChange } from './changes.js'
import { account, accounts, aggregateTables, entries, openRuntime, unavailable, unit, watchedStore } from './support.js'

const entry = (account: string, entry: string, place = 0, tag: string | null = null) => ({ entry, account, place, tag })

describe('aggregates', () => {
  it('B32 in memory are what the store has, in the same order, after any units, failed ones among them', async () => {
    const changes = fc.array(fc.oneof(accountChange, entryChange), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(fc.array(changes, { maxLength: 12 }), async units => {
        const { runtime, store } = await openRuntime()
        await Promise.all(
          units.map(changes => runtime.run(unit(accountNames, () => ({ result: undefined, changes }))).catch(() => {})),
        )
        const finds = new Set<string>()
        store.beforeFind = table => void finds.add(table.name)
        for (const name of accountNames) {
          const seen = await runtime.run(
            unit(name, state => ({ result: [state.rows(accounts, name), state.rows(entries, name)] })),
          )
          const { memory } = store
          expect(seen).toEqual([
            await memory.find(accounts, { where: { account: name }, orderBy: ['account'] }),
            await memory.find(entries, { where: { account: name }, orderBy: ['entry'] }),
          ])
        }
      }),
      { numRuns: 300 },
    )
  })

  it('are loaded once and then kept', async () => {
    const { runtime, store } = await openRuntime()
    await runtime.run(unit('a', () => ({ result: 0, changes: [insert(accounts, account('a', 1))] })))
    store.beforeFind = table => {
      throw new Error(`${table.name} is read again`)
    }
    const balance = await runtime.run(unit('a', state => ({ result: state.rows(accounts, 'a')[0]?.balance })))
    expect(balance).toBe(1)
  })

  it('have the same order whether they were changed in memory or loaded', async () => {
    const { runtime, store } = await openRuntime()
    const names = ['e3', 'e1', 'e2']
    await runtime.run(unit('a', () => ({ result: 0, changes: names.map(name => insert(entries, entry('a', name))) })))
    const order = unit('a', state => ({ result: state.rows(entries, 'a').map(row => row.entry) }))
    expect(await runtime.run(order)).toEqual(['e1', 'e2', 'e3'])
    const again = await openRuntime({ store: watchedStore(store.memory.reopen()) })
    expect(await again.runtime.run(order)).toEqual(['e1', 'e2', 'e3'])
  })

  it('lose only the rows that a conditional removal is about', async () => {
    const { runtime } = await openRuntime()
    await runtime.run(
      unit('a', () => ({
        result: 0,
        changes: [insert(entries, entry('a', 'e1', 1)), insert(entries, entry('a', 'e2', 2))],
      })),
    )
    const left = await runtime.run(
      unit('a', () => ({ result: 0, changes: [removeWhere(entries, { account: 'a', place: { gt: 1 } })] })),
    )
    expect(left).toBe(0)
    expect(await runtime.run(unit('a', state => ({ result: state.rows(entries, 'a').map(row => row.entry) })))).toEqual(
      ['e1'],
    )
  })

  it('are dropped after a failed commit and loaded again', async () => {
    const { runtime, store } = await openRuntime()
    await runtime.run(unit('a', () => ({ result: 0, changes: [insert(accounts, account('a', 1))] })))
    // The commit takes place, but nobody hears of it.
    store.memory.failNext(unavailable(), { applied: true })
    const lost = runtime.run(
      unit('a', () => ({ result: 0, changes: [patch(accounts, { account: 'a' }, { balance: 2 })] })),
    )
    await expect(lost).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await runtime.run(unit('a', state => ({ result: state.rows(accounts, 'a')[0]?.balance })))).toBe(2)
    store.memory.failNext(unavailable())
    const failed = runtime.run(
      unit('a', () => ({ result: 0, changes: [patch(accounts, { account: 'a' }, { balance: 3 })] })),
    )
    await expect(failed).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await runtime.run(unit('a', state => ({ result: state.rows(accounts, 'a')[0]?.balance })))).toBe(2)
  })

  it('are not touched by a unit that fails, nor by a change whose commit is still under way', async () => {
    const { runtime } = await openRuntime()
    await runtime.run(unit('a', () => ({ result: 0, changes: [insert(accounts, account('a', 1))] })))
    const seen: unknown[] = []
    const failing = runtime.run(
      unit('a', state => {
        seen.push(state.rows(accounts, 'a')[0]?.balance)
        throw new Error('no')
      }),
    )
    await expect(failing).rejects.toMatchObject({ code: 'INTERNAL' })
    expect(await runtime.run(unit('a', state => ({ result: state.rows(accounts, 'a')[0]?.balance })))).toBe(1)
    expect(seen).toEqual([1])
  })

  it('can only be changed and read by units that have locked them', async () => {
    const { runtime, store } = await openRuntime()
    const foreign = [
      [insert(accounts, account('b'))],
      [put(entries, entry('b', 'e1'))],
      [patch(accounts, { account: 'b' }, { balance: 1 })],
      [removeWhere(entries, { account: 'b' })],
      [removeWhere(entries, { place: 1 })],
    ]
    for (const changes of foreign) {
      await expect(runtime.run(unit('a', () => ({ result: 0, changes })))).rejects.toMatchObject({ code: 'INTERNAL' })
    }
    await expect(runtime.run(unit('a', state => ({ result: state.rows(accounts, 'b') })))).rejects.toMatchObject({
      code: 'INTERNAL',
    })
    expect(store.commits).toEqual([])
  })

  it('keep no more of them than the limit, the longest unused leave first', async () => {
    const store = watchedStore(openMemoryStore())
    const loads: unknown[] = []
    const cache = new AggregateCache(store, aggregateTables, 2)
    const use = async (id: string): Promise<void> => {
      for (const [key, rows] of await cache.load([id])) cache.keep(key, rows)
    }
    for (const id of ['a', 'b', 'a', 'c']) await use(id)
    store.beforeFind = table => void loads.push(table.name)
    await use('a')
    await use('c')
    expect(loads).toEqual([])
    await use('b')
    expect(loads).toEqual(['accounts', 'entries'])
    await use('a')
    expect(loads).toHaveLength(4)
  })

  it('are read together when a unit locks many, and only those that are not in memory', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `a${index}`)
    const memory = openMemoryStore()
    await memory.commit(
      names.flatMap(name => [insert(accounts, account(name, 1)), insert(entries, entry(name, `e-${name}`))]),
    )
    const { runtime, store } = await openRuntime({ store: watchedStore(memory) })
    await runtime.run(unit('a3', () => ({ result: 0, changes: [patch(accounts, { account: 'a3' }, { balance: 7 })] })))
    let finds = 0
    store.beforeFind = () => void finds++
    const seen = await runtime.run({
      name: 'many',
      locks: [...names, 'unknown'],
      compute: state => ({
        result: [...names, 'unknown'].map(name => [
          state.rows(accounts, name).map(row => row.balance),
          state.rows(entries, name).map(row => row.entry),
        ]),
        changes: names.map(name => patch(accounts, { account: name }, { balance: 9 })),
      }),
    })
    expect(finds).toBe(aggregateTables.length)
    expect(seen).toEqual([...names.map(name => [[name === 'a3' ? 7 : 1], [`e-${name}`]]), [[], []]])
    expect(await runtime.run(unit('a9', state => ({ result: state.rows(accounts, 'a9')[0]?.balance })))).toBe(9)
    expect(finds).toBe(aggregateTables.length)
  })

  it('of a kind with a prefix of its own are looked for in its tables, and nowhere else', async () => {
    const boxes = defineTable(
      'boxes',
      { box: text, label: text },
      { key: ['box'], aggregate: 'box', aggregatePrefix: 'box:' },
    )
    const memory = openMemoryStore()
    await memory.commit([insert(accounts, account('a', 1)), insert(boxes, { box: 'box:1', label: 'one' })])
    const finds: string[] = []
    const store = watchedStore(memory)
    store.beforeFind = table => void finds.push(table.name)
    const cache = new AggregateCache(store, [...aggregateTables, boxes], 10)
    const loaded = await cache.load(['a', 'box:1'])
    expect(loaded.get('a')?.rows(accounts)).toHaveLength(1)
    expect(loaded.get('box:1')?.rows(boxes)).toMatchObject([{ label: 'one' }])
    expect(finds.toSorted()).toEqual([...aggregateTables.map(table => table.name), 'boxes'].toSorted())
    finds.length = 0
    await cache.load(['box:2'])
    await cache.load(['b'])
    expect(finds).toEqual(['boxes', ...aggregateTables.map(table => table.name)])
  })

  it('hand out the very bytes that were committed, so that what was decoded from them can be found again', async () => {
    const { runtime } = await openRuntime()
    const data = Buffer.concat([Buffer.from('a '), Buffer.from('ratchet')])
    const seen = () => runtime.run(unit('a', state => ({ result: state.rows(accounts, 'a')[0]?.data })))
    await runtime.run(unit('a', () => ({ result: 0, changes: [insert(accounts, { ...account('a'), data })] })))
    expect(await seen()).toBe(data)
    expect(await seen()).toBe(data)
  })

  it('keep only their own bytes alive, not the blocks that these came in', async () => {
    const { runtime } = await openRuntime()
    const block = Buffer.alloc(16_384, 1)
    const kept = async () =>
      runtime.run(unit('a', state => ({ result: state.rows(accounts, 'a')[0]?.data?.buffer.byteLength })))
    await runtime.run(
      unit('a', () => ({ result: 0, changes: [insert(accounts, { ...account('a'), data: block.subarray(0, 32) })] })),
    )
    expect(await kept()).toBe(32)
    await runtime.run(
      unit('a', () => ({ result: 0, changes: [patch(accounts, { account: 'a' }, { data: block.subarray(5, 15) })] })),
    )
    expect(await kept()).toBe(10)
  })
})
