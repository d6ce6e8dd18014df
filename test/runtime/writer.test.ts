import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { type EventRow, type Submission, Writer } from '../../src/runtime/writer.js'
import { counters, events } from '../../src/store/eventLog.js'
import { insert, openMemoryStore } from '../../src/store/index.js'
import {
  accounts,
  account,
  event,
  gate,
  journal,
  settled,
  unavailable,
  watchedStore,
  type WatchedStore,
} from './support.js'

const open = async (store: WatchedStore = watchedStore()) => {
  const published: EventRow[] = []
  const writer = await Writer.open(store, { now: () => 5, published: rows => void published.push(...rows) })
  return { writer, store, published }
}

const events_ = (...types: string[]): Submission['events'] => types.map(type => ({ ...event('c', type), traceId: 't' }))
const submission = (name: string, ...types: string[]): Submission => ({
  changes: [insert(accounts, account(name))],
  events: events_(...types),
})

const cursors = (rows: readonly EventRow[]): number[] => rows.map(row => row.cursor)
const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)
const stored = async (store: WatchedStore) => store.memory.find(events, { orderBy: ['cursor'] })

describe('Writer', () => {
  it('commits what is submitted at the same moment as one transaction, and what comes meanwhile as the next', async () => {
    const { writer, store } = await open()
    const first = gate()
    store.beforeCommit = () => first.passed
    const early = ['a', 'b', 'c'].map(name => writer.submit(submission(name, 'E')))
    await settled()
    expect(store.commits).toHaveLength(1)
    const late = ['d', 'e'].map(name => writer.submit(submission(name, 'E')))
    first.open()
    await Promise.all([...early, ...late])
    expect(store.commits).toHaveLength(2)
    expect(await store.memory.find(accounts, { orderBy: ['account'] })).toHaveLength(5)
  })

  it('keeps a transaction below its limit, but takes one submission of any size', async () => {
    const { writer, store } = await open()
    const big = (from: number, count: number): Submission => ({
      changes: Array.from({ length: count }, (_, index) => insert(accounts, account(`${from + index}`))),
      events: [],
    })
    await Promise.all(
      [big(0, 600), big(1000, 400), big(2000, 1), big(3000, 2500), big(9000, 1)].map(s => writer.submit(s)),
    )
    expect(store.commits.map(commit => commit.changes.length)).toEqual([1000, 1, 2500, 1])
  })

  it('gives events their cursors in commit order, without gaps, also after a restart', async () => {
    const { writer, store, published } = await open()
    const results = await Promise.all([
      writer.submit(submission('a', 'A1', 'A2')),
      writer.submit({ changes: [], events: [] }),
      writer.submit(submission('b', 'B1')),
    ])
    expect(results.map(cursors)).toEqual([[1, 2], [], [3]])
    expect(published.map(row => row.type)).toEqual(['A1', 'A2', 'B1'])
    expect(writer.lastCursor).toBe(3)
    const again = await open(watchedStore(store.memory.reopen()))
    expect(again.writer.lastCursor).toBe(3)
    expect(cursors(await again.writer.submit(submission('c', 'C1')))).toEqual([4])
    expect(await stored(again.store)).toHaveLength(4)
  })

  it('tells of events before the submitter goes on, and not before they are durable', async () => {
    const { writer, store, published } = await open()
    const hold = gate()
    store.beforeCommit = () => hold.passed
    let answered = false
    const answer = writer.submit(submission('a', 'E')).then(rows => {
      answered = true
      expect(published).toEqual(rows)
    })
    await settled()
    expect([published.length, answered]).toEqual([0, false])
    hold.open()
    await answer
    expect(await stored(store)).toEqual(published)
  })

  it('commits the submissions of a refused transaction one by one: only the bad one fails, and no cursor is lost', async () => {
    const { writer, store, published } = await open()
    await writer.submit(submission('taken', 'E'))
    const results = await Promise.allSettled([
      writer.submit(submission('a', 'A')),
      writer.submit(submission('taken', 'BAD')),
      writer.submit(submission('b', 'B')),
    ])
    expect(results.map(result => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({ code: 'STORE_CONFLICT' })
    expect(published.map(row => [row.cursor, row.type])).toEqual([
      [1, 'E'],
      [2, 'A'],
      [3, 'B'],
    ])
    expect(store.commits.map(commit => commit.failed)).toEqual([
      undefined,
      'STORE_CONFLICT',
      undefined,
      'STORE_CONFLICT',
      undefined,
    ])
    expect(await stored(store)).toEqual(published)
  })

  it('never repeats a commit that the store did not answer: it may have taken place', async () => {
    for (const applied of [false, true]) {
      const { writer, store } = await open()
      store.memory.failNext(unavailable(), { applied })
      const results = await Promise.allSettled(['a', 'b'].map(name => writer.submit(submission(name, 'E'))))
      for (const result of results) expect(result).toMatchObject({ reason: { code: 'STORE_UNAVAILABLE' } })
      expect(store.commits).toHaveLength(1)
    }
  })

  it('goes on after a commit that took place without an answer: its events are told, and no cursor is given twice', async () => {
    const { writer, store, published } = await open()
    await writer.submit(submission('a', 'A'))
    store.memory.failNext(unavailable(), { applied: true })
    await expect(writer.submit(submission('b', 'B1', 'B2'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(published.map(row => row.type)).toEqual(['A'])
    expect(cursors(await writer.submit(submission('c', 'C')))).toEqual([4])
    expect(published.map(row => row.type)).toEqual(['A', 'B1', 'B2', 'C'])
    expect(cursors(published)).toEqual(upTo(4))
    expect(await stored(store)).toEqual(published)
  })

  it('asks the store once after a failure, not before every commit from then on', async () => {
    const { writer, store } = await open()
    store.memory.failNext(unavailable())
    await expect(writer.submit(submission('a'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    let finds = 0
    store.beforeFind = () => void finds++
    for (const name of ['a', 'b', 'c']) await writer.submit(submission(name, 'E'))
    expect(finds).toBe(1)
  })

  it('goes on after a commit that did not take place: no cursor is lost', async () => {
    const { writer, store, published } = await open()
    store.memory.failNext(unavailable())
    store.memory.failNext(new StoreError('STORE_FAILED', 'disk'))
    await expect(writer.submit(submission('a', 'A'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(writer.submit(submission('a', 'A'))).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await writer.submit(submission('a', 'A'))
    expect(cursors(published)).toEqual([1])
  })

  it('fails with StoreError while the store cannot tell what it has, and goes on when it can', async () => {
    const { writer, store } = await open()
    store.memory.failNext(unavailable(), { applied: true })
    await expect(writer.submit(submission('a', 'A'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    store.beforeFind = () => Promise.reject(unavailable())
    await expect(writer.submit(submission('b', 'B'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(store.commits).toHaveLength(1)
    store.beforeFind = () => {}
    expect(cursors(await writer.submit(submission('b', 'B')))).toEqual([2])
  })

  it('does not try one by one what fails for all: another owner, a closed store', async () => {
    for (const lose of [
      (store: WatchedStore) => void store.memory.reopen(),
      (store: WatchedStore) => void store.memory.close(),
    ]) {
      const { writer, store } = await open()
      lose(store)
      const results = await Promise.allSettled(['a', 'b', 'c'].map(name => writer.submit(submission(name, 'E'))))
      for (const result of results) expect(result.status).toBe('rejected')
      expect(store.commits).toHaveLength(1)
    }
  })

  it('rejects with StoreError whatever the store throws', async () => {
    const { writer, store } = await open()
    store.beforeCommit = () => {
      throw new TypeError('a bug')
    }
    await expect(writer.submit(submission('a'))).rejects.toMatchObject({ name: 'StoreError', code: 'STORE_FAILED' })
    store.beforeCommit = () => {}
    await writer.submit(submission('a'))
  })

  it('keeps cursors without gaps and in one order for log, readers and store, whatever fails', async () => {
    const outcome = fc.constantFrom('ok', 'ok', 'ok', 'conflict', 'lost', 'applied')
    const step = fc.record({ outcome, events: fc.integer({ min: 0, max: 3 }), wait: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async steps => {
        const { writer, store, published } = await open(watchedStore(openMemoryStore()))
        const all: Array<Promise<unknown>> = []
        for (const [index, { outcome, events, wait }] of steps.entries()) {
          if (outcome === 'lost' || outcome === 'applied') {
            store.memory.failNext(unavailable(), { applied: outcome === 'applied' })
          }
          const types = Array.from({ length: events }, () => 'E')
          const made = writer.submit({
            changes: [
              insert(journal, { account: 'x', line: outcome === 'conflict' ? 0 : index, word: null, extra: null }),
            ],
            events: events_(...types),
          })
          all.push(made.catch(() => {}))
          if (wait) await made.catch(() => {})
        }
        await Promise.all(all)
        store.memory.failNext(unavailable())
        await writer.submit({ changes: [], events: events_('E') }).catch(() => {})
        // The failures that are left over, then one commit that goes through.
        for (let left = 0; left <= steps.length; left++)
          await writer.submit({ changes: [], events: events_('E') }).catch(() => {})
        expect(cursors(published)).toEqual(upTo(published.length))
        expect(await stored(store)).toEqual(published)
        const [counter] = await store.memory.find(counters, { where: { name: 'lastCursor' } })
        expect(counter?.value).toBe(writer.lastCursor)
      }),
      { numRuns: 200 },
    )
  })

  it('keeps only an event body’s own bytes alive, not the block that it came in', async () => {
    const { writer } = await open()
    const body = Buffer.alloc(16_384, 3).subarray(10, 110)
    const [row] = await writer.submit({ changes: [], events: [{ ...event('c', 'MSG', { body }), traceId: 't' }] })
    expect(row?.body).toEqual(body)
    expect(row?.body?.buffer.byteLength).toBe(100)
  })

  it('is idle when everything submitted is decided', async () => {
    const { writer, store } = await open()
    const hold = gate()
    store.beforeCommit = () => hold.passed
    const answer = writer.submit(submission('a'))
    let idle = false
    const waiting = writer.idle().then(() => (idle = true))
    await settled()
    expect(idle).toBe(false)
    hold.open()
    await Promise.all([answer, waiting])
    await writer.idle()
  })
})
