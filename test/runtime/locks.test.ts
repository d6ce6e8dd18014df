import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Locks } from '../../src/runtime/locks.js'
import { gate, settled } from './support.js'

interface Job {
  readonly id: number
  readonly keys: readonly string[]
}

const limits = { maxGroup: 4, maxWaiting: 1000 }

const keySets = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 4 })
const jobLists = fc.array(keySets, { minLength: 1, maxLength: 40 })

/** Runs everything that is scheduled, and what that schedules later. */
const drained = async (scheduler: fc.Scheduler): Promise<void> => {
  do {
    await scheduler.waitAll()
    await settled()
  } while (scheduler.count() > 0)
}

describe('Locks', () => {
  it('never have two holders, lose no item and never stand still, for any jobs under any interleaving', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), jobLists, async (scheduler, keyLists) => {
        const held = new Set<string>()
        const ran: number[] = []
        const notified: number[] = []
        const locks = new Locks<Job>(async (keys, items) => {
          for (const key of keys) {
            expect(held.has(key)).toBe(false)
            held.add(key)
          }
          for (const item of items) expect([...keys].sort()).toEqual([...new Set(item.keys)].sort())
          await scheduler.schedule(Promise.resolve(), `run ${items.map(item => item.id).join()}`)
          for (const item of items) ran.push(item.id)
          for (const key of keys) held.delete(key)
          return () => notified.push(...items.map(item => item.id))
        }, limits)
        for (const [id, keys] of keyLists.entries()) {
          void scheduler.schedule(Promise.resolve(), `submit ${id}`).then(() => locks.submit(keys, { id, keys }))
        }
        await drained(scheduler)
        const all = keyLists.map((_, id) => id)
        expect(ran.toSorted((a, b) => a - b)).toEqual(all)
        expect(notified.toSorted((a, b) => a - b)).toEqual(all)
        expect(held.size).toBe(0)
        expect([locks.size, locks.keys]).toEqual([0, 0])
      }),
      { numRuns: 300 },
    )
  })

  it('B46 keep the order of submission for every key, of items with one key and with many', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), jobLists, async (scheduler, keyLists) => {
        const order = new Map<string, number[]>()
        const locks = new Locks<Job>(async (_keys, items) => {
          for (const { id, keys } of items) for (const key of keys) order.set(key, [...(order.get(key) ?? []), id])
          await scheduler.schedule(Promise.resolve())
          return () => {}
        }, limits)
        for (const [id, keys] of keyLists.entries()) {
          void scheduler.schedule(Promise.resolve())
          locks.submit(keys, { id, keys })
        }
        await drained(scheduler)
        for (const ids of order.values()) expect(ids).toEqual(ids.toSorted((a, b) => a - b))
      }),
    )
  })

  it('hand out items that wait for the same single key together, up to the limit, and an item of several keys alone', async () => {
    const groups: number[][] = []
    const first = gate()
    const locks = new Locks<number>(async (_keys, items) => {
      groups.push([...items])
      if (items[0] === 0) await first.passed
      return () => {}
    }, limits)
    for (let id = 0; id < 7; id++) locks.submit(['a'], id)
    locks.submit(['b', 'a'], 7)
    locks.submit(['a'], 8)
    locks.submit(['a'], 9)
    first.open()
    await settled()
    expect(groups).toEqual([[0], [1, 2, 3, 4], [5, 6], [7], [8, 9]])
  })

  it('give an item of several keys its turn, however many items of one key keep coming', async () => {
    let ranPair = false
    let count = 0
    const locks = new Locks<string>(async (_keys, items) => {
      if (items.includes('pair')) ranPair = true
      else if (!ranPair && ++count < 500) locks.submit([items[0] as string], items[0] as string)
      await Promise.resolve()
      return () => {}
    }, limits)
    locks.submit(['a'], 'a')
    locks.submit(['b'], 'b')
    locks.submit(['a', 'b'], 'pair')
    await settled()
    expect(ranPair).toBe(true)
    expect(count).toBeLessThan(10)
  })

  it('take a key that is named twice once, and run an item without keys at once', async () => {
    const ran: string[][] = []
    const locks = new Locks<string>(async keys => {
      ran.push([...keys])
      return () => {}
    }, limits)
    locks.submit(['a', 'a'], 'twice')
    locks.submit([], 'none')
    await settled()
    expect(ran).toEqual([['a'], []])
    expect(locks.size).toBe(0)
  })

  it('B46 take any number of keys', async () => {
    const ran: number[] = []
    const locks = new Locks<number>(async keys => {
      ran.push(keys.length)
      return () => {}
    }, limits)
    const keys = Array.from({ length: 50_000 }, (_, index) => `k${index}`)
    locks.submit(keys, 1)
    locks.submit(keys.slice(10), 2)
    await settled()
    expect(ran).toEqual([50_000, 49_990])
    expect([locks.size, locks.keys]).toEqual([0, 0])
  })

  it('B54 release before they notify: who is told can have the lock at once', async () => {
    const log: string[] = []
    const locks = new Locks<string>(
      async (_keys, items) => {
        log.push(`run ${items.join()}`)
        return () => log.push(`notify ${items.join()}`)
      },
      { maxGroup: 1, maxWaiting: 10 },
    )
    locks.submit(['a'], 'first')
    locks.submit(['a'], 'second')
    await settled()
    expect(log).toEqual(['run first', 'run second', 'notify first', 'notify second'])
  })

  it('refuse items beyond the limit with AGENT_OVERLOADED, take those that must not be refused, and recover', async () => {
    const blocked = gate()
    const ran: string[] = []
    const locks = new Locks<string>(
      async (_keys, items) => {
        await blocked.passed
        ran.push(...items)
        return () => {}
      },
      { maxGroup: 1, maxWaiting: 3 },
    )
    for (const item of ['1', '2', '3']) locks.submit(['a'], item)
    expect(() => locks.submit(['a'], '4')).toThrow(expect.objectContaining({ code: 'AGENT_OVERLOADED' }))
    expect(() => locks.submit(['b'], '4')).toThrow(expect.objectContaining({ code: 'AGENT_OVERLOADED' }))
    locks.submit(['a'], 'own', true)
    expect(locks.size).toBe(4)
    blocked.open()
    await settled()
    expect(ran).toEqual(['1', '2', '3', 'own'])
    expect(locks.size).toBe(0)
    locks.submit(['a'], '5')
    await settled()
    expect(ran).toContain('5')
  })
})
