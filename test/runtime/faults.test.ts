import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { events } from '../../src/store/eventLog.js'
import { insert, patch } from '../../src/store/index.js'
import type { EventRow } from '../../src/runtime/writer.js'
import {
  account,
  accounts,
  event,
  journal,
  openRuntime,
  settled,
  unavailable,
  unit,
  type WatchedStore,
  watchedStore,
} from './support.js'

const names = ['a', 'b', 'c'] as const
type Name = (typeof names)[number]

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)

/** Raises the balance of every account by one, with a line and an event for each: all three must always agree. */
const raise = (
  accounts_: readonly Name[],
  line: number,
  word: string | null,
  more: { turns?: number; reads?: boolean } = {},
) =>
  unit<'raised' | 'known', boolean>(
    accounts_,
    async (state, known) => {
      for (let turn = 0; turn < (more.turns ?? 0); turn++) await Promise.resolve()
      if (known) return { result: 'known' }
      return {
        result: 'raised',
        changes: accounts_.flatMap(name => [
          patch(accounts, { account: name }, { balance: (state.rows(accounts, name)[0]?.balance ?? 0) + 1 }),
          insert(journal, { account: name, line, word, extra: null }),
        ]),
        events: accounts_.map(name => event(name, 'RAISED', { payload: { line } })),
      }
    },
    {
      load: async read => {
        if (more.reads !== true) return false
        const [key] = accounts_
        const found = await read(journal, { where: { account: key as string, word } })
        return found.length > 0
      },
    },
  )

/** Balance, lines and events of every account agree; the lines by account. */
const consistent = async ({ memory }: WatchedStore): Promise<Map<Name, number[]>> => {
  const lines = new Map<Name, number[]>()
  for (const name of names) {
    const [row] = await memory.find(accounts, { where: { account: name } })
    const written = (await memory.find(journal, { where: { account: name } })).map(({ line }) => line)
    const told = (await memory.find(events, { where: { connectionId: name }, orderBy: ['cursor'] })) as EventRow[]
    expect(row?.balance).toBe(written.length)
    expect(told.map(({ payload }) => (payload as { line: number }).line).toSorted((x, y) => x - y)).toEqual(
      written.toSorted((x, y) => x - y),
    )
    lines.set(name, written)
  }
  return lines
}

const keys = fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 3 })
const call = fc.record({
  keys,
  /** Lines with the same word conflict. */
  word: fc.option(fc.constantFrom('x', 'y')),
  reads: fc.boolean(),
  turns: fc.integer({ min: 0, max: 4 }),
  fault: fc.constantFrom('none', 'none', 'none', 'none', 'lost', 'applied'),
})

describe('units of work under faults', () => {
  it('B32 whatever fails and however commits are delayed, what belongs together is stored together, and answers are true', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.array(call, { maxLength: 30 }), async (scheduler, calls) => {
        const { runtime, store, published } = await openRuntime({ cachedAggregates: 2 })
        await store.memory.commit(names.map(name => insert(accounts, account(name))))
        store.beforeCommit = () => scheduler.schedule(Promise.resolve(), 'commit')
        const outcomes: Array<{ line: number; keys: readonly Name[]; outcome: string }> = []
        const running = calls.map(async ({ keys, word, reads, turns, fault }, line) => {
          await scheduler.schedule(Promise.resolve(), `call ${line}`)
          if (fault !== 'none') store.memory.failNext(unavailable(), { applied: fault === 'applied' })
          const outcome = await runtime
            .run(raise(keys, line, word, { turns, reads }))
            .catch((error: { code: string }) => error.code)
          outcomes.push({ line, keys, outcome })
        })
        do {
          await scheduler.waitAll()
          await settled()
        } while (scheduler.count() > 0)
        await Promise.all(running)
        expect(outcomes).toHaveLength(calls.length)

        store.beforeCommit = () => {}
        // Faults that are left over, then a commit that goes through: the writer knows all its events then.
        for (let left = 0; left <= calls.length; left++) {
          await runtime.run(unit('a', () => ({ result: 0, events: [event('end', 'END')] }))).catch(() => {})
        }
        const lines = await consistent(store)
        for (const { line, keys, outcome } of outcomes) {
          const written = keys.map(name => lines.get(name)?.includes(line))
          expect(new Set(written).size).toBe(1)
          if (outcome === 'raised') expect(written[0]).toBe(true)
          else if (outcome !== 'STORE_UNAVAILABLE') expect(written[0]).toBe(false)
          expect(['raised', 'known', 'STORE_CONFLICT', 'STORE_UNAVAILABLE']).toContain(outcome)
        }
        const cursors = published.map(row => row.cursor)
        expect(cursors).toEqual(upTo(cursors.length))
        expect(published).toEqual(await store.memory.find(events, { orderBy: ['cursor'] }))
        await runtime.close()
      }),
      { numRuns: 150 },
    )
  })

  it('B32 a process that ends at any moment: what it answered is there, and nothing is there by halves', async () => {
    const crash = fc.record({
      calls: fc.array(call, { minLength: 1, maxLength: 12 }),
      turns: fc.integer({ min: 0, max: 60 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(crash, { minLength: 1, maxLength: 4 }), async crashes => {
        let store = watchedStore()
        await store.memory.commit(names.map(name => insert(accounts, account(name))))
        const answered: Array<{ line: number; keys: readonly Name[] }> = []
        let line = 0
        for (const { calls, turns } of crashes) {
          const { runtime } = await openRuntime({ store })
          let ended = false
          for (const { keys } of calls) {
            const own = line++
            void runtime
              .run(raise(keys, own, null))
              .then(() => !ended && answered.push({ line: own, keys }))
              .catch(() => {})
          }
          for (let turn = 0; turn < turns; turn++) await Promise.resolve()
          ended = true
          // The next process takes the store; whatever the old one still does fails.
          store = watchedStore(store.memory.reopen())
          const lines = await consistent(store)
          for (const { line, keys } of answered) for (const name of keys) expect(lines.get(name)).toContain(line)
        }
        const { runtime } = await openRuntime({ store })
        expect(await runtime.run(raise([...names], line, null))).toBe('raised')
        await settled()
        await consistent(store)
        const cursors = (await store.memory.find(events, { orderBy: ['cursor'] })).map(row => row.cursor)
        expect(cursors).toEqual(upTo(cursors.length))
      }),
      { numRuns: 150 },
    )
  })
})
