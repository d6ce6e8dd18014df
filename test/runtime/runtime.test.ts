import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CallError } from '../../src/errors.js'
import type { Wake } from '../../src/runtime/unit.js'
import { insert, patch } from '../../src/store/index.js'
import {
  account,
  accounts,
  entries,
  event,
  gate,
  journal,
  openRuntime,
  settled,
  unavailable,
  unit,
  watchedStore,
} from './support.js'

const wake = (key: string, hint?: unknown): Wake => ({ worker: 'w', key, ...(hint === undefined ? {} : { hint }) })
const line = (account: string, line: number, word: string | null = null) => ({ account, line, word, extra: null })
const made = (name: string) => ({ result: name, changes: [insert(accounts, account(name))] })
const raise = (by: number) =>
  unit('a', state => {
    const balance = (state.rows(accounts, 'a')[0]?.balance ?? 0) + by
    return { result: balance, changes: [patch(accounts, { account: 'a' }, { balance })] }
  })

describe('Runtime', () => {
  it('B54 lock, commit, release, then notify: in this order', async () => {
    const log: string[] = []
    const store = watchedStore()
    store.beforeCommit = () => void log.push('commit')
    const { runtime } = await openRuntime({ store, woken: ({ key }) => log.push(`wake ${key}`) })
    const first = runtime.run(
      unit('a', () => {
        log.push('compute 1')
        return { ...made('a'), events: [event('a', 'E')], wakes: [wake('1')] }
      }),
    )
    // The lock of the first is seen to be free when the second, which waits for it, computes.
    await Promise.resolve()
    const second = runtime.run(unit(['a', 'b'], () => ({ result: void log.push('compute 2'), wakes: [wake('2')] })))
    await Promise.all([first.then(() => log.push('answer 1')), second.then(() => log.push('answer 2'))])
    expect(log.slice(0, 2)).toEqual(['compute 1', 'commit'])
    expect(log.indexOf('wake 1')).toBeGreaterThan(log.indexOf('commit'))
    expect(log.indexOf('answer 1')).toBeGreaterThan(log.indexOf('wake 1'))
    expect(log.indexOf('wake 2')).toBeGreaterThan(log.indexOf('compute 2'))
    expect(log).toHaveLength(7)
  })

  it('B54 nothing is told before it is durable, and nothing at all of a unit that failed', async () => {
    const { runtime, store, published, woken } = await openRuntime()
    const hold = gate()
    store.beforeCommit = () => hold.passed
    let answered = false
    const answer = runtime
      .run(unit('a', () => ({ ...made('a'), events: [event('a', 'E')], wakes: [wake('k')] })))
      .then(() => (answered = true))
    await settled()
    expect([published.length, woken.length, answered]).toEqual([0, 0, false])
    hold.open()
    await answer
    expect([published.length, woken.length]).toEqual([1, 1])
    const failing = unit('a', () => ({ ...made('a'), events: [event('a', 'E')], wakes: [wake('k')] }))
    await expect(runtime.run(failing)).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
    expect([published.length, woken.length]).toEqual([1, 1])
  })

  it('B54 a listener that calls back into the same connection stops nobody', async () => {
    const answers: unknown[] = []
    const opened = await openRuntime({
      published: rows => {
        for (const { type } of rows) if (type === 'FIRST') answers.push(runtime.run(raise(10)))
      },
      woken: () => answers.push(runtime.run(raise(100))),
    })
    const { runtime } = opened
    await runtime.run(unit('a', () => ({ ...made('a'), events: [event('a', 'FIRST')], wakes: [wake('k')] })))
    expect((await Promise.all(answers)).toSorted()).toEqual([10, 110])
  })

  it('units of one connection that wait together leave one row update and one commit, each over what the one before left', async () => {
    const { runtime, store } = await openRuntime()
    await runtime.run(unit('a', () => made('a')))
    const hold = gate()
    store.beforeCommit = () => hold.passed
    const first = runtime.run(raise(1))
    await settled()
    const rest = Array.from({ length: 20 }, () => runtime.run(raise(1)))
    hold.open()
    expect(await Promise.all([first, ...rest])).toEqual(Array.from({ length: 21 }, (_, index) => index + 1))
    expect(store.commits).toHaveLength(3)
    expect(await store.memory.find(accounts, {})).toEqual([account('a', 21)])
  })

  it('units of different connections share a commit', async () => {
    const { runtime, store } = await openRuntime()
    await Promise.all(['a', 'b', 'c'].map(name => runtime.run(unit(name, () => made(name)))))
    expect(store.commits).toHaveLength(1)
  })

  it('events of units have the order of their commits, those of one connection the order of their calls', async () => {
    const { runtime, published } = await openRuntime()
    const calls = Array.from({ length: 200 }, (_, index) => ({ id: `c${index % 7}`, index }))
    await Promise.all(
      calls.map(({ id, index }) =>
        runtime.run(unit(id, () => ({ result: 0, events: [event(id, 'E', { payload: { index } })] }))),
      ),
    )
    expect(published.map(row => row.cursor)).toEqual(calls.map(({ index }) => index + 1))
    for (const name of new Set(calls.map(call => call.id))) {
      const indexes = published
        .filter(row => row.connectionId === name)
        .map(row => (row.payload as { index: number }).index)
      expect(indexes).toEqual(indexes.toSorted((a, b) => a - b))
    }
  })

  it('a computation that throws fails alone, whatever it throws, and changes nothing', async () => {
    const { runtime, traced } = await openRuntime()
    await runtime.run(unit('a', () => made('a')))
    const results = await Promise.allSettled([
      runtime.run(raise(1)),
      runtime.run(
        unit('a', () => {
          throw new CallError('CMD_PROHIBITED', 'no')
        }),
      ),
      runtime.run(unit('a', () => Promise.reject(new TypeError('a bug')))),
      runtime.run(
        unit('a', () => {
          throw undefined
        }),
      ),
      runtime.run(unit('a', () => ({ result: 0 }), { load: () => Promise.reject(unavailable()) })),
      runtime.run(raise(1)),
    ])
    expect(results.map(result => (result.status === 'rejected' ? result.reason.code : result.value))).toEqual([
      1,
      'CMD_PROHIBITED',
      'INTERNAL',
      'INTERNAL',
      'STORE_UNAVAILABLE',
      2,
    ])
    expect(traced.filter(record => record.error !== undefined).map(record => record.error)).toEqual([
      'CMD_PROHIBITED',
      'INTERNAL',
      'INTERNAL',
      'STORE_UNAVAILABLE',
    ])
  })

  it('a conflict in a group: its units run again one by one, over what is there then, and only the bad one fails', async () => {
    const { runtime, store, published } = await openRuntime()
    await runtime.run(unit('a', () => made('a')))
    const hold = gate()
    store.beforeCommit = () => hold.passed
    const blocker = runtime.run(raise(0))
    await settled()
    const entry = (name: string, tag: string) =>
      unit('a', state => ({
        result: state.rows(entries, 'a').length,
        changes: [insert(entries, { entry: name, account: 'a', place: 0, tag })],
        events: [event('a', name)],
      }))
    const results = [entry('e1', 't1'), entry('e2', 't1'), entry('e3', 't3')].map(each => runtime.run(each))
    hold.open()
    const outcomes = await Promise.allSettled([blocker, ...results])
    expect(outcomes.map(outcome => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.code))).toEqual([
      0,
      0,
      'STORE_CONFLICT',
      1,
    ])
    expect(published.map(row => [row.cursor, row.type])).toEqual([
      [1, 'e1'],
      [2, 'e3'],
    ])
  })

  it('a repeated call that met its first one in the same group is answered with the first one’s result', async () => {
    const { runtime, store } = await openRuntime()
    const send = (word: string) =>
      unit<number, number | undefined>(
        'a',
        (state, known) => {
          if (known !== undefined) return { result: known }
          const next = (state.rows(accounts, 'a')[0]?.balance ?? 0) + 1
          return {
            result: next,
            changes: [patch(accounts, { account: 'a' }, { balance: next }), insert(journal, line('a', next, word))],
          }
        },
        {
          load: async read => (await read(journal, { where: { account: 'a', word } }))[0]?.line,
        },
      )
    await runtime.run(unit('a', () => made('a')))
    const words = ['x', 'y', 'x', 'z', 'y', 'x']
    expect(await Promise.all(words.map(word => runtime.run(send(word))))).toEqual([1, 2, 1, 3, 2, 1])
    // No conflict had to tell: the reads of the later ones saw the earlier ones.
    expect(store.commits.every(commit => commit.failed === undefined)).toBe(true)
    expect(store.commits.length).toBeLessThanOrEqual(3)
  })

  it('a read that only the store can answer waits for the commit of the units before it', async () => {
    const { runtime, store } = await openRuntime()
    await store.memory.commit([insert(journal, line('a', 1)), insert(journal, line('a', 2))])
    const mark = unit('a', () => ({
      result: 'marked',
      changes: [patch(journal, { account: 'a', line: 1 }, { word: 'red' })],
    }))
    const count = unit('a', (_state, count: number) => ({ result: count }), {
      load: async read => (await read(journal, { where: { account: 'a', word: 'red' } })).length,
    })
    const results = await Promise.all(
      [count, mark, count, mark, count].map(each => runtime.run<never, unknown>(each as never)),
    )
    expect(results).toEqual([0, 'marked', 1, 'marked', 1])
    expect(store.commits).toHaveLength(2)
  })

  it('units over the same rows leave the same as one after the other, grouped or not, whatever they read', async () => {
    const step = fc.record({
      keys: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 2 }),
      by: fc.integer({ min: 1, max: 9 }),
      word: fc.option(fc.constantFrom('x', 'y', 'z')),
      fails: fc.boolean(),
      pause: fc.integer({ min: 0, max: 3 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async steps => {
        const { runtime, store } = await openRuntime({ cachedAggregates: 2 })
        await store.memory.commit(['a', 'b', 'c'].map(name => insert(accounts, account(name))))
        const expected = new Map([
          ['a', 0],
          ['b', 0],
          ['c', 0],
        ])
        const words = new Map<string, number>()
        const results: Array<Promise<unknown>> = []
        const oracle: unknown[] = []
        for (const [index, { keys, by, word, fails, pause }] of steps.entries()) {
          const [key] = keys as [string]
          const seen = word === null ? undefined : words.get(`${key} ${word}`)
          oracle.push(fails ? 'failed' : (seen ?? index))
          if (!fails && seen === undefined) {
            for (const key of keys) expected.set(key, (expected.get(key) ?? 0) + by)
            if (word !== null) words.set(`${key} ${word}`, index)
          }
          results.push(
            runtime
              .run(
                unit<number, number | undefined>(
                  keys,
                  async (state, known) => {
                    for (let turn = 0; turn < pause; turn++) await Promise.resolve()
                    if (fails) throw new CallError('CMD_PROHIBITED', 'no')
                    if (known !== undefined) return { result: known }
                    return {
                      result: index,
                      changes: [
                        ...keys.map(key =>
                          patch(
                            accounts,
                            { account: key },
                            { balance: (state.rows(accounts, key)[0]?.balance ?? 0) + by },
                          ),
                        ),
                        insert(journal, line(key, index, word)),
                      ],
                    }
                  },
                  {
                    load: async read =>
                      word === null ? undefined : (await read(journal, { where: { account: key, word } }))[0]?.line,
                  },
                ),
              )
              .catch(() => 'failed'),
          )
        }
        const answers = await Promise.all(results)
        // Units of several keys may overtake each other; with one key each the order of calls is the order of effects.
        const single = steps.every(({ keys }) => keys.length === 1)
        if (single) {
          expect(answers).toEqual(oracle)
          for (const [name, balance] of expected) {
            expect(await store.memory.find(accounts, { where: { account: name } })).toEqual([account(name, balance)])
          }
        }
        const kept = answers.filter((answer, index) => answer === index).length
        expect(await store.memory.count(journal)).toBe(kept)
      }),
      { numRuns: 150 },
    )
  })

  it('what the store did not answer is rejected and not tried again; the workers look for themselves, without a hint', async () => {
    const { runtime, store, woken } = await openRuntime()
    store.memory.failNext(unavailable(), { applied: true })
    const lost = runtime.run(unit('a', () => ({ ...made('a'), wakes: [wake('k', { row: 1 })] })))
    await expect(lost).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(store.commits).toHaveLength(1)
    expect(woken).toEqual([{ worker: 'w', key: 'k' }])
    await expect(runtime.run(unit('a', () => made('a')))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
    expect(woken).toHaveLength(1)
  })

  it('a unit without changes and events needs no commit', async () => {
    const { runtime, store } = await openRuntime()
    expect(await runtime.run(unit('a', () => ({ result: 7 })))).toBe(7)
    expect(await runtime.run(unit([], () => ({ result: 8 })))).toBe(8)
    expect(store.commits).toEqual([])
  })

  it('refuses units of connections that another process owns', async () => {
    const { runtime } = await openRuntime({ ownership: { owns: id => id !== 'b' } })
    await expect(runtime.run(unit(['a', 'b'], () => ({ result: 0 })))).rejects.toMatchObject({
      code: 'NOT_OWNER',
      field: 'b',
    })
    expect(await runtime.run(unit('a', () => ({ result: 1 })))).toBe(1)
  })

  it('refuses calls when too many wait, and never the agent’s own work', async () => {
    const { runtime, store } = await openRuntime({ maxWaiting: 3 })
    const hold = gate()
    store.beforeCommit = () => hold.passed
    const waiting = ['a', 'b', 'c'].map(name => runtime.run(unit(name, () => made(name))))
    await expect(runtime.run(unit('d', () => made('d')))).rejects.toMatchObject({ code: 'AGENT_OVERLOADED' })
    const own = runtime.run(unit('e', () => made('e'), { internal: true }))
    hold.open()
    expect(await Promise.all([...waiting, own])).toEqual(['a', 'b', 'c', 'e'])
    expect(await runtime.run(unit('d', () => made('d')))).toBe('d')
  })

  it('close refuses new units and waits for those that run', async () => {
    const { runtime, store } = await openRuntime()
    const hold = gate()
    store.beforeCommit = () => hold.passed
    const running = runtime.run(unit('a', () => made('a')))
    const waiting = runtime.run(unit('a', () => ({ result: 'waited' })))
    await settled()
    let closed = false
    const closing = runtime.close().then(() => (closed = true))
    await expect(runtime.run(unit('b', () => made('b')))).rejects.toMatchObject({ code: 'AGENT_CLOSED' })
    await settled()
    expect(closed).toBe(false)
    hold.open()
    await closing
    expect(await Promise.all([running, waiting])).toEqual(['a', 'waited'])
    await runtime.close()
  })

  it('close waits for a computation, and for the commit that it leads to', async () => {
    const { runtime, store } = await openRuntime()
    const computing = gate()
    const running = runtime.run(
      unit('a', async () => {
        await computing.passed
        return made('a')
      }),
    )
    let closed = false
    const closing = runtime.close().then(() => (closed = true))
    await settled()
    expect(closed).toBe(false)
    computing.open()
    await closing
    expect(await running).toBe('a')
    expect(await store.memory.count(accounts)).toBe(1)
  })

  it('listeners that throw keep nobody from being answered; what they threw is told', async () => {
    const { runtime, failures } = await openRuntime({
      published: () => {
        throw new Error('published')
      },
      woken: () => {
        throw new Error('woken')
      },
      trace: () => {
        throw new Error('trace')
      },
    })
    const units = ['a', 'b'].map(name =>
      runtime.run(unit(name, () => ({ ...made(name), events: [event(name, 'E')], wakes: [wake(name), wake(name)] }))),
    )
    expect(await Promise.all(units)).toEqual(['a', 'b'])
    expect(await runtime.run(unit('c', () => made('c')))).toBe('c')
    await expect(runtime.run(unit('c', () => Promise.reject(new Error('x'))))).rejects.toMatchObject({
      code: 'INTERNAL',
    })
    const told = failures.map(error => (error as Error).message)
    expect(told.filter(message => message === 'published')).toHaveLength(1)
    expect(told.filter(message => message === 'woken')).toHaveLength(4)
    expect(told).toContain('trace')
    await runtime.close()
  })

  it('a store that cannot be read fails the units that needed it, and nobody else, and they may be repeated', async () => {
    const { runtime, store } = await openRuntime()
    store.beforeFind = () => Promise.reject(unavailable())
    const results = await Promise.allSettled(['a', 'b', 'a'].map(name => runtime.run(unit(name, () => made(name)))))
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'STORE_UNAVAILABLE' } })
    store.beforeFind = () => {}
    expect(await runtime.run(unit('a', () => made('a')))).toBe('a')
    await runtime.close()
  })

  it('traces every unit and every transition under one trace id, which its events carry', async () => {
    const { runtime, traced, published } = await openRuntime({ random: length => new Uint8Array(length).fill(0xab) })
    await runtime.run(
      unit('a', state => {
        state.traced('connection', 'a', 'queue.created', {
          from: 'new',
          to: 'rcv',
          intents: [{ type: 'notifyCon', params: { secret: 'no' } }],
        })
        return { ...made('a'), events: [event('a', 'CON')], wakes: [{ worker: 'delivery', key: 'a' }] }
      }),
    )
    const traceId = 'abababababababab'
    expect(traced).toEqual([
      {
        at: 0,
        traceId,
        unit: 'test',
        machine: 'connection',
        id: 'a',
        event: 'queue.created',
        from: 'new',
        to: 'rcv',
        intents: ['notifyCon'],
        aggregates: ['a'],
      },
      {
        at: 0,
        traceId,
        unit: 'test',
        events: ['CON'],
        wakes: ['delivery'],
        aggregates: ['a'],
        durations: { lock: 0, compute: 0, commit: 0 },
      },
    ])
    expect(published[0]?.traceId).toBe(traceId)
  })

  it('B04 paused: calls are refused with the reason, own units wait and run in their order at the resume, what runs is finished', async () => {
    const busy: boolean[] = []
    const { runtime, store } = await openRuntime({ busy: now => busy.push(now) })
    const hold = gate()
    store.beforeCommit = () => hold.passed
    const running = runtime.run(unit('a', () => made('a')))
    await settled()
    runtime.pause(() => new CallError('AGENT_SUSPENDED', 'not now'))
    await expect(runtime.run(unit('b', () => made('b')))).rejects.toMatchObject({ code: 'AGENT_SUSPENDED' })
    const ran: string[] = []
    const own = ['c', 'd'].map(name =>
      runtime.run({ ...unit(name, () => (ran.push(name), made(name))), internal: true }),
    )
    expect(busy).toEqual([true])
    hold.open()
    expect(await running).toBe('a')
    await settled()
    expect(busy).toEqual([true, false])
    expect(ran).toEqual([])
    expect(await runtime.run({ ...unit('e', () => made('e')), internal: true, whilePaused: true })).toBe('e')
    runtime.resume()
    await Promise.all(own)
    expect(ran).toEqual(['c', 'd'])
    await runtime.close()
    expect(busy.filter(now => now)).toHaveLength(busy.filter(now => !now).length)
  })

  it('B04 closing a paused runtime refuses what waited', async () => {
    const { runtime } = await openRuntime()
    runtime.pause(() => new CallError('AGENT_SUSPENDED', 'not now'))
    const waiting = runtime.run({ ...unit('a', () => made('a')), internal: true })
    const refused = expect(waiting).rejects.toMatchObject({ code: 'AGENT_CLOSED' })
    await runtime.close()
    await refused
  })
})
