import { describe, expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { insert, type MemoryStore, openMemoryStore, patch, remove } from '../../src/store/index.js'
import { describeStore } from './compliance.js'
import { items, pairs } from './tables.js'

describeStore('memory', {
  open: async () => openMemoryStore(),
  takeOver: async store => (store as MemoryStore).reopen(),
  runs: 300,
})

describe('memory store', () => {
  it('fails the next commits on demand, with or without their effect', async () => {
    const store = openMemoryStore()
    store.failNext(new StoreError('STORE_UNAVAILABLE', 'gone'))
    store.failNext(new StoreError('STORE_UNAVAILABLE', 'gone after the commit'), { applied: true })
    await expect(store.commit([insert(pairs, { left: 1, right: 'a' })])).rejects.toMatchObject({ message: 'gone' })
    expect(await store.count(pairs)).toBe(0)
    await expect(store.commit([insert(pairs, { left: 1, right: 'a' })])).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
    })
    expect(await store.count(pairs)).toBe(1)
    await store.commit([insert(pairs, { left: 2, right: 'a' })])
  })

  it('keeps its indexes true while rows come, change and go', async () => {
    const store = openMemoryStore()
    const row = (itemId: number) => ({
      ownerId: `o${itemId % 3}`,
      itemId,
      state: 'new',
      note: null,
      body: Buffer.alloc(0),
    })
    const news = () => store.find(items, { where: { state: 'new' }, orderBy: ['itemId'], limit: 3 })
    await store.commit(Array.from({ length: 50 }, (_, n) => insert(items, row(49 - n))))
    expect((await news()).map(one => one.itemId)).toEqual([0, 1, 2])
    await store.commit([patch(items, row(1), { state: 'done' }), remove(items, row(0))])
    expect((await news()).map(one => one.itemId)).toEqual([2, 3, 4])
    const after = await store.find(items, { where: { state: 'new', itemId: { gt: 40, lte: 42 } }, orderBy: ['itemId'] })
    expect(after.map(one => one.itemId)).toEqual([41, 42])
  })

  it('settles in a fixed number of microtasks', async () => {
    const store = openMemoryStore()
    const turns = async (promise: Promise<unknown>) => {
      let count = 0
      let settled = false
      void promise.then(() => (settled = true))
      while (!settled && count < 10) {
        count++
        await Promise.resolve()
      }
      return count
    }
    const small = await turns(store.commit([insert(pairs, { left: 1, right: 'a' })]))
    const large = await turns(
      store.commit(Array.from({ length: 500 }, (_, left) => insert(pairs, { left, right: 'b' }))),
    )
    expect(large).toBe(small)
    expect(await turns(store.find(pairs, {}))).toBe(small)
  })
})
