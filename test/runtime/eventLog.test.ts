import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { eventAcks, events } from '../../src/store/eventLog.js'
import type { EventRow } from '../../src/runtime/writer.js'
import { insert } from '../../src/store/index.js'
import { cursors, openLog, reopenLog, types } from './log.js'
import { event, gate, settled, unavailable, unit } from './support.js'

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)
const named = (count: number, from = 0): string[] => Array.from({ length: count }, (_, index) => `E${from + index}`)
const minute = 60_000

describe('EventLog', () => {
  it('B55 keeps the order of commits, also when the reader pauses for longer than the tail in memory', async () => {
    const { log, add, register, ack, store } = await openLog()
    await register('app')
    const seen: EventRow[] = []
    const readAll = async (limit: number): Promise<void> => {
      for (;;) {
        const rows = await log.read('app', seen.at(-1)?.cursor ?? 0, limit, 0)
        if (rows.length === 0) return
        seen.push(...rows)
        await ack('app', ...rows)
      }
    }
    await add(...named(10))
    await readAll(3)
    await add(...named(3000, 10))
    let finds = 0
    store.beforeFind = table => void (table === events && finds++)
    await readAll(100)
    expect(finds).toBeGreaterThan(5)
    await add(...named(10, 3010))
    await readAll(7)
    expect(types(seen)).toEqual(named(3020))
    expect(cursors(seen)).toEqual(upTo(3020))
    expect(await store.memory.count(events)).toBe(0)
  })

  it('B55 readers that start anywhere and pause anywhere see every event once and in order', async () => {
    const turns = fc.array(
      fc.record({ add: fc.integer({ min: 0, max: 5 }), read: fc.integer({ min: 0, max: 4 }), restart: fc.boolean() }),
      { maxLength: 20 },
    )
    await fc.assert(
      fc.asyncProperty(turns, async turns => {
        let opened = await openLog()
        await opened.register('app')
        const seen: EventRow[] = []
        let made = 0
        const read = async (limit: number): Promise<void> => {
          const rows = await opened.log.read('app', seen.at(-1)?.cursor ?? 0, limit, 0)
          expect(rows.length).toBeLessThanOrEqual(limit)
          seen.push(...rows)
          await opened.ack('app', ...rows)
        }
        for (const { add, read: limit, restart } of turns) {
          await opened.add(...named(add, made))
          made += add
          if (limit > 0) await read(limit)
          if (restart) opened = await reopenLog(opened)
        }
        while (seen.length < made) await read(3)
        expect(types(seen)).toEqual(named(made))
        expect(await opened.store.memory.count(events)).toBe(0)
      }),
      { numRuns: 30 },
    )
  })

  it('reads on from any place among events of which some are acknowledged', async () => {
    const { log, add, register, ack } = await openLog()
    await register('app')
    await add(...named(30))
    const rows = await log.read('app', 0, 30, 0)
    await ack('app', ...rows.filter(row => row.cursor > 3 && row.cursor % 3 !== 0))
    const left = upTo(30).filter(cursor => cursor <= 3 || cursor % 3 === 0)
    for (let after = 0; after <= 30; after++) {
      for (const limit of [1, 2, 30]) {
        const expected = left.filter(cursor => cursor > after).slice(0, limit)
        expect(cursors(await log.read('app', after, limit, 0))).toEqual(expected)
      }
    }
  })

  it('B54 with a reader that works on the same connection for every event, and a consumer that nobody reads, everything moves', async () => {
    const { log, add, register, ack, runtime } = await openLog()
    await register('busy')
    await register('nobody')
    const seen: string[] = []
    const reader = (async () => {
      let position = 0
      while (seen.length < 300) {
        for (const row of await log.read('busy', position, 10, minute)) {
          const echo = row.type.startsWith('E') ? [event('c', `echo ${row.type}`)] : []
          await runtime.run(unit('c', () => ({ result: undefined, events: echo })))
          await ack('busy', row)
          seen.push(row.type)
          position = row.cursor
        }
      }
    })()
    await add(...named(150))
    await reader
    expect(seen.filter(type => type.startsWith('E'))).toEqual(named(150))
    expect(seen.filter(type => type.startsWith('echo'))).toEqual(named(150).map(type => `echo ${type}`))
    expect(await log.read('nobody', 0, 1000, 0)).toHaveLength(300)
  })

  it('waits for an event, and not longer than told', async () => {
    const { log, add, register, clock } = await openLog()
    await register('app')
    let ended: EventRow[] | undefined
    const read = async (waitMs: number): Promise<void> => {
      ended = undefined
      void log.read('app', 0, 10, waitMs).then(rows => (ended = rows))
      await clock.settle()
    }
    await read(minute)
    await clock.advance(minute - 1)
    expect(ended).toBeUndefined()
    await clock.advance(1)
    expect(ended).toEqual([])
    expect(clock.pendingTimers).toBe(0)
    await read(minute)
    await add('E')
    await clock.settle()
    expect(types(ended ?? [])).toEqual(['E'])
    expect(clock.pendingTimers).toBe(0)
    expect(await log.read('app', 1, 10, 0)).toEqual([])
  })

  it('wakes a reader whose page was being read while the event came: at any moment of the reading', async () => {
    for (const fromStore of [true, false]) {
      for (let delay = 0; delay < 12; delay++) {
        const first = await openLog()
        await first.register('app')
        await first.add('OLD')
        const [old] = (await first.log.read('app', 0, 1, 0)) as [EventRow]
        await first.ack('app', old)
        // After a restart the reader begins behind the tail and so reads the store; with a later cursor it reads memory.
        const { log, clock, store } = await reopenLog(first)
        let rows: EventRow[] | undefined
        void log.read('app', fromStore ? 0 : 1, 10, minute).then(found => (rows = found))
        for (let turn = 0; turn < delay; turn++) await Promise.resolve()
        const event = { ...old, cursor: 2, type: 'NEW' }
        void store.memory.commit([insert(events, event)])
        log.publish([event])
        await clock.settle()
        expect(types(rows ?? [])).toEqual(['NEW'])
      }
    }
  })

  it('wakes a reader that reads the store slowly when the event comes in between', async () => {
    const first = await openLog()
    await first.register('app')
    await first.add('OLD')
    await first.ack('app', ...(await first.log.read('app', 0, 1, 0)))
    const { log, add, clock, store } = await reopenLog(first)
    const slow = gate()
    const originalFind = store.find
    // The answer is of the moment of the question; it arrives late.
    store.find = async (table, query) => {
      const rows = await originalFind(table, query)
      if ((table as unknown) === events) await slow.passed
      return rows
    }
    let rows: EventRow[] | undefined
    void log.read('app', 0, 10, minute).then(found => (rows = found))
    await settled()
    store.find = originalFind
    await add('NEW')
    slow.open()
    await clock.settle()
    expect(types(rows ?? [])).toEqual(['NEW'])
  })

  it('close ends every reader at once, also one that is just reading, and reads after it answer nothing', async () => {
    for (let delay = 0; delay < 8; delay++) {
      const { log, register, clock } = await openLog()
      await register('app')
      let rows: EventRow[] | undefined
      void log.read('app', 0, 10, minute).then(found => (rows = found))
      for (let turn = 0; turn < delay; turn++) await Promise.resolve()
      log.close()
      await clock.settle()
      expect(rows).toEqual([])
      expect(clock.pendingTimers).toBe(0)
      expect(await log.read('app', 0, 10, minute)).toEqual([])
      expect(log.closed).toBe(true)
    }
  })

  it('a store that is lost ends every reader with its error, at any moment, and those that come later', async () => {
    for (let delay = 0; delay < 8; delay++) {
      const { log, register, clock } = await openLog()
      await register('app')
      const error = new StoreError('STORE_NOT_OWNER', 'another process has taken the store')
      let ended: unknown
      void log.read('app', 0, 10, minute).catch((failure: unknown) => (ended = failure))
      for (let turn = 0; turn < delay; turn++) await Promise.resolve()
      log.fail(error)
      await clock.settle()
      expect(ended).toBe(error)
      expect(clock.pendingTimers).toBe(0)
      await expect(log.read('app', 0, 10, minute)).rejects.toBe(error)
    }
  })

  it('an aborted reader ends at once, whenever the abort comes, and leaves no timer', async () => {
    for (let delay = 0; delay < 8; delay++) {
      const { log, register, clock } = await openLog()
      await register('app')
      const abort = new AbortController()
      let rows: EventRow[] | undefined
      void log.read('app', 0, 10, minute, abort.signal).then(found => (rows = found))
      for (let turn = 0; turn < delay; turn++) await Promise.resolve()
      abort.abort()
      await clock.settle()
      expect(rows).toEqual([])
      expect(clock.pendingTimers).toBe(0)
    }
  })

  it('every consumer sees every event until it has acknowledged it itself, whatever the others do in whatever order', async () => {
    const consumers = ['a', 'b', 'c'] as const
    const acks = fc.array(
      fc.record({
        consumer: fc.constantFrom(...consumers),
        cursors: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }),
        wait: fc.boolean(),
      }),
      { maxLength: 25 },
    )
    await fc.assert(
      fc.asyncProperty(acks, async acks => {
        const { log, add, register, ack, store } = await openLog()
        for (const consumer of consumers) await register(consumer)
        await add(...named(6))
        const rows = await log.read('a', 0, 10, 0)
        const acked = new Map(consumers.map(name => [name, new Set<number>()]))
        const running: Array<Promise<void>> = []
        for (const { consumer, cursors: named, wait } of acks) {
          for (const cursor of named) acked.get(consumer)?.add(cursor)
          running.push(ack(consumer, ...rows.filter(row => named.includes(row.cursor))))
          if (!wait) continue
          await Promise.all(running.splice(0))
          for (const name of consumers) {
            const unread = upTo(6).filter(cursor => acked.get(name)?.has(cursor) !== true)
            expect(cursors(await log.read(name, 0, 10, 0))).toEqual(unread)
            expect(cursors(await log.read(name, 0, 2, 0))).toEqual(unread.slice(0, 2))
          }
        }
        await Promise.all(running)
        const needed = upTo(6).filter(cursor => consumers.some(name => acked.get(name)?.has(cursor) !== true))
        expect(cursors(await store.memory.find(events, { orderBy: ['cursor'] }))).toEqual(needed)
        // What was acknowledged by all leaves nothing behind.
        const noted = await store.memory.find(eventAcks, {})
        expect(noted.filter(row => !needed.includes(row.cursor))).toEqual([])
      }),
      { numRuns: 60 },
    )
  })

  it('two consumers that acknowledge at the same moment see each other, so that the event goes', async () => {
    const { log, add, register, ack, store } = await openLog()
    await register('a')
    await register('b')
    await add('E')
    const rows = await log.read('a', 0, 10, 0)
    const hold = gate()
    store.beforeCommit = () => hold.passed
    const acks = [ack('a', ...rows), ack('b', ...rows), ack('a', ...rows)]
    await settled()
    hold.open()
    await Promise.all(acks)
    expect(await store.memory.count(events)).toBe(0)
    expect(await store.memory.count(eventAcks)).toBe(0)
  })

  it('a consumer that registers later sees only what comes after, and holds up nothing before', async () => {
    const { log, add, register, ack, store } = await openLog()
    await register('first')
    await add('OLD')
    await register('late', log.lastCursor)
    await add('NEW')
    expect(types(await log.read('late', 0, 10, 0))).toEqual(['NEW'])
    await ack('first', ...(await log.read('first', 0, 1, 0)))
    expect(types(await store.memory.find(events, {}))).toEqual(['NEW'])
    expect(log.registeredFrom('late')).toBe(1)
    expect(log.registeredFrom('nobody')).toBeUndefined()
  })

  it('after a restart what was not acknowledged is delivered again, and nothing else', async () => {
    const first = await openLog()
    await first.register('app')
    await first.register('other')
    await first.add(...named(6))
    const rows = await first.log.read('app', 0, 10, 0)
    await first.ack('app', ...rows.filter(row => row.cursor % 2 === 0))
    const again = await reopenLog(first)
    expect(cursors(await again.log.read('app', 0, 10, 0))).toEqual([1, 3, 5])
    expect(cursors(await again.log.read('other', 0, 10, 0))).toEqual(upTo(6))
    await again.add('E6')
    expect(cursors(await again.log.read('app', 5, 10, 0))).toEqual([7])
  })

  it('after a commit without an answer its events are delivered as well, once', async () => {
    const { log, add, register, runtime, store } = await openLog()
    await register('app')
    await add('E0')
    store.memory.failNext(unavailable(), { applied: true })
    await expect(runtime.run(unit('c', () => ({ result: 0, events: [event('c', 'LOST')] })))).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
    })
    await add('E1')
    expect(types(await log.read('app', 0, 10, 0))).toEqual(['E0', 'LOST', 'E1'])
    expect(types(await log.read('app', 1, 10, 0))).toEqual(['LOST', 'E1'])
  })

  it('refuses consumers that nobody registered', async () => {
    const { log } = await openLog()
    await expect(log.read('nobody', 0, 1, 0)).rejects.toMatchObject({ code: 'CONSUMER_UNKNOWN', field: 'consumer' })
    await expect(log.acknowledgement('nobody', [])).rejects.toMatchObject({ code: 'CONSUMER_UNKNOWN' })
  })

  it('finds the event of a message while it is unacknowledged, from memory and from the store', async () => {
    const first = await openLog()
    await first.register('app')
    await first.add(event('c', 'MSG', { messageId: 7 }))
    await first.add(event('c', 'ERR', { messageId: 7 }))
    await first.add(event('d', 'MSG', { messageId: 7 }))
    let opened = first
    for (let run = 0; run < 2; run++) {
      if (run > 0) opened = await reopenLog(first)
      expect(await opened.log.messageEvent('c', 7, ['MSG'])).toMatchObject({
        cursor: 1,
        type: 'MSG',
        connectionId: 'c',
      })
      expect(await opened.log.messageEvent('d', 7, ['MSG'])).toMatchObject({ cursor: 3, connectionId: 'd' })
      expect(await opened.log.messageEvent('c', 8, ['MSG'])).toBeUndefined()
      expect(cursors(await opened.log.page({ cursor: 2 }))).toEqual([2])
      expect(cursors(await opened.log.page({ after: 0, upTo: 2 }))).toEqual([1, 2])
      expect(await opened.log.page({ cursor: 99 })).toEqual([])
    }
    await opened.ack('app', ...(await opened.log.page({ cursor: 1 })))
    expect(await opened.log.messageEvent('c', 7, ['MSG'])).toBeUndefined()
  })

  it('is full at its limit of unread events, and has room again when they are acknowledged, however often', async () => {
    const first = await openLog(undefined, 5)
    await first.register('app')
    await first.add(...named(4))
    expect(first.log.isFull).toBe(false)
    await first.add('E4')
    expect(first.log.isFull).toBe(true)
    const again = await reopenLog(first, 5)
    expect(again.log.isFull).toBe(true)
    await again.add('E5')
    const rows = await again.log.read('app', 0, 10, 0)
    const last = rows.slice(-1)
    await Promise.all([again.ack('app', ...last), again.ack('app', ...last), again.ack('app', ...last)])
    expect(again.log.isFull).toBe(true)
    await again.ack('app', ...rows.slice(0, 1))
    expect(again.log.isFull).toBe(false)
    await again.add('E6')
    expect(again.log.isFull).toBe(true)
  })

  it('a consumer that lags behind reads pages, not events, past what it has acknowledged', async () => {
    const { log, add, register, ack, store } = await openLog()
    await register('app')
    await register('lagging')
    await add(...named(3000))
    const rows = await log.read('app', 0, 2950, 0)
    expect(rows).toHaveLength(2950)
    await ack('app', ...rows)
    let finds = 0
    store.beforeFind = () => void finds++
    expect(types(await log.read('app', 0, 1, 0))).toEqual(['E2950'])
    expect(finds).toBeLessThan(40)
  })
})
