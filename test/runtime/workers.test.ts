import * as fc from 'fast-check'
import { assign, fromPromise, setup } from 'xstate'
import { describe, expect, it } from 'vitest'
import { type CommandOutcome, type CommandRun, commandWorkerMachine } from '../../machines/index.js'
import { Workers } from '../../src/runtime/workers.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { gate } from './support.js'

const retry = { initial: 1000, growAfter: 10_000, max: 5000 }

/** Workers over lists of work in "rows"; `look` is how long one look at the rows takes, in microtasks. */
const start = (look: () => Promise<void> = async () => {}) => {
  const clock = virtualClock(0)
  const rows = new Map<string, string[]>()
  const did: string[] = []
  const idle: string[] = []
  const traced: string[] = []
  let running = 0
  let most = 0
  const machine = commandWorkerMachine.provide({
    actors: {
      runNext: fromPromise<CommandOutcome, CommandRun>(async ({ input }) => {
        most = Math.max(most, ++running)
        const [head] = rows.get(input.connectionId) ?? []
        await look()
        running--
        if (head === undefined) return 'empty'
        if (head === 'retry') return 'retry'
        rows.get(input.connectionId)?.shift()
        did.push(`${input.connectionId} ${head}`)
        return 'done'
      }),
    },
  }) as typeof commandWorkerMachine
  const workers = new Workers({
    machine,
    clock,
    input: key => ({ connectionId: key, router: 'r', retry, offlineRetry: 1_800_000 }),
    workAdded: { type: 'command.added' },
    idle: key => idle.push(key),
    traced: (key, event, from, to) => traced.push(`${key} ${event}: ${from} → ${to}`),
  })
  const add = (key: string, work: string): void => {
    rows.set(key, [...(rows.get(key) ?? []), work])
    workers.wake(key)
  }
  return { workers, clock, rows, did, idle, traced, add, most: () => most }
}

describe('Workers', () => {
  it('B50 start when there is work, do all of it in order, and are thrown away when there is none', async () => {
    const { workers, clock, did, idle, add } = start()
    expect(workers.size).toBe(0)
    for (const work of ['1', '2', '3']) add('a', work)
    add('b', '1')
    expect(workers.size).toBe(2)
    await clock.settle()
    expect(did.filter(done => done.startsWith('a'))).toEqual(['a 1', 'a 2', 'a 3'])
    expect(did).toContain('b 1')
    expect(workers.size).toBe(0)
    expect(idle.toSorted()).toEqual(['a', 'b'])
    expect(workers.stateOf('a')).toBeUndefined()
    add('a', '4')
    await clock.settle()
    expect(did).toContain('a 4')
  })

  it('B50 one worker for a key, however often it is woken; a wake without work is harmless', async () => {
    const { workers, clock, did, add, most } = start(async () => {
      await Promise.resolve()
    })
    add('a', '1')
    for (let wake = 0; wake < 50; wake++) workers.wake('a')
    expect(workers.size).toBe(1)
    await clock.settle()
    for (let wake = 0; wake < 5; wake++) workers.wake('a')
    await clock.settle()
    expect(did).toEqual(['a 1'])
    expect(most()).toBe(1)
    expect(workers.size).toBe(0)
  })

  it('lose no work that comes between "there is none" and their end, at any moment', async () => {
    for (let delay = 0; delay < 40; delay++) {
      const { clock, did, add, workers } = start(async () => {
        for (let turn = 0; turn < 3; turn++) await Promise.resolve()
      })
      add('a', 'first')
      for (let turn = 0; turn < delay; turn++) await Promise.resolve()
      add('a', 'second')
      await clock.settle()
      expect(did).toEqual(['a first', 'a second'])
      expect(workers.size).toBe(0)
    }
  })

  it('lose no work, whenever it comes and however long a look at the rows takes', async () => {
    const wakes = fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c'), turns: fc.integer({ min: 0, max: 12 }) }), {
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), wakes, async (scheduler, wakes) => {
        const { clock, did, add, workers } = start(() => scheduler.schedule(Promise.resolve()))
        const expected: string[] = []
        for (const [index, { key, turns }] of wakes.entries()) {
          add(key, `${index}`)
          expected.push(`${key} ${index}`)
          for (let turn = 0; turn < turns; turn++) await Promise.resolve()
          if (turns % 3 === 0 && scheduler.count() > 0) await scheduler.waitOne()
        }
        do {
          await scheduler.waitAll()
          await clock.settle()
        } while (scheduler.count() > 0)
        for (const key of ['a', 'b', 'c']) {
          const ofKey = (list: readonly string[]) => list.filter(item => item.startsWith(key))
          expect(ofKey(did)).toEqual(ofKey(expected))
        }
        expect(workers.size).toBe(0)
      }),
      { numRuns: 60 },
    )
  })

  it('B53 stay while they wait for another attempt, on the clock that they were given', async () => {
    const { workers, clock, did, rows, add } = start()
    add('a', 'retry')
    add('a', 'next')
    await clock.settle()
    expect(workers.stateOf('a')).toBe('waiting')
    expect(clock.pendingTimers).toBe(1)
    rows.set('a', ['next'])
    await clock.advance(999)
    expect(did).toEqual([])
    await clock.advance(1)
    expect(did).toEqual(['a next'])
    expect(clock.pendingTimers).toBe(0)
    expect(workers.size).toBe(0)
  })

  it('hear events only while they run', async () => {
    const { workers, clock, add, rows } = start()
    workers.send('a', { type: 'worker.suspended' })
    workers.sendAll({ type: 'worker.suspended' })
    expect(workers.size).toBe(0)
    add('a', 'retry')
    add('b', 'retry')
    await clock.settle()
    workers.send('a', { type: 'worker.suspended' })
    expect([workers.stateOf('a'), workers.stateOf('b')]).toEqual(['suspended', 'waiting'])
    rows.clear()
    workers.sendAll({ type: 'worker.suspended' })
    expect(clock.pendingTimers).toBe(0)
    workers.sendAll({ type: 'worker.resumed' })
    await clock.settle()
    expect(workers.size).toBe(0)
  })

  it('stop at once, leave no timer, and are not woken again; what comes back from work under way starts nothing', async () => {
    const held = gate()
    const { workers, clock, add, did } = start(() => held.passed)
    add('a', '1')
    const { workers: waiting, clock: waitingClock, add: addWaiting } = start()
    addWaiting('w', 'retry')
    await waitingClock.settle()
    for (const each of [workers, waiting]) each.stop()
    expect([workers.size, waiting.size, waitingClock.pendingTimers]).toEqual([0, 0, 0])
    held.open()
    await clock.settle()
    expect(did).toEqual(['a 1'])
    add('a', '2')
    await clock.settle()
    expect(did).toEqual(['a 1'])
    expect(workers.size).toBe(0)
  })

  it('tell of every transition, for traces', async () => {
    const { traced, clock, add } = start()
    add('a', '1')
    await clock.settle()
    expect(traced.at(0)).toBe('a xstate.init:  → running')
    expect(traced.filter(line => /^a xstate\.done\.actor\.\S+: running → (?:running|idle)$/.test(line))).toHaveLength(2)
    expect(traced.at(-1)).toBe('a xstate.stop: idle → idle')
    expect(traced.every(line => line.startsWith('a '))).toBe(true)
  })

  it('name states within states as rows and traces do', async () => {
    const clock = virtualClock(0)
    const machine = setup({ types: {} as { events: { type: 'go' } } }).createMachine({
      initial: 'waiting',
      states: { waiting: { initial: 'fast', states: { fast: {} }, on: { go: {} } } },
    })
    const workers = new Workers({ machine, clock, input: () => undefined as never, workAdded: { type: 'go' } })
    workers.wake('a')
    expect(workers.stateOf('a')).toBe('waiting.fast')
    workers.stop()
  })

  it('B02 a worker whose machine throws is reported and thrown away; the next wake starts it anew', async () => {
    const clock = virtualClock(0)
    const crashes: string[] = []
    let throws = true
    const machine = setup({
      types: {} as { context: { looks: number }; events: { type: 'go' } },
      actions: {
        look: assign(({ context }) => {
          if (throws) throw new Error('a bug')
          return { looks: context.looks + 1 }
        }),
      },
    }).createMachine({
      initial: 'busy',
      context: { looks: 0 },
      states: { busy: { on: { go: { actions: ['look'] } } } },
    })
    const workers = new Workers({
      machine,
      clock,
      input: () => undefined as never,
      workAdded: { type: 'go' },
      crashed: (key, error) => {
        crashes.push(`${key}: ${(error as Error).message}`)
        return false
      },
    })
    workers.wake('a')
    workers.wake('b')
    workers.wake('a')
    expect(crashes).toEqual(['a: a bug'])
    expect([workers.stateOf('a'), workers.stateOf('b')]).toEqual([undefined, 'busy'])
    throws = false
    workers.wake('a')
    workers.wake('a')
    expect(workers.stateOf('a')).toBe('busy')
    workers.stop()
  })

  it('B05 B06 paused: the attempt under way is finished and counted until then, no other begins; who was woken meanwhile starts at the resume', async () => {
    const clock = virtualClock(0)
    const finish = gate()
    let counted = 0
    const ran: string[] = []
    const machine = commandWorkerMachine.provide({
      actors: {
        runNext: fromPromise<CommandOutcome, CommandRun>(async ({ input }) => {
          if (ran.includes(input.connectionId)) return 'empty'
          ran.push(input.connectionId)
          if (input.connectionId === 'a') await finish.passed
          return 'done'
        }),
      },
    }) as typeof commandWorkerMachine
    const workers = new Workers({
      machine,
      clock,
      input: key => ({ connectionId: key, router: 'r', retry, offlineRetry: 1_800_000 }),
      workAdded: { type: 'command.added' },
      attempts: { state: 'running', began: () => counted++, ended: () => counted-- },
      pausing: { paused: { type: 'worker.suspended' }, resumed: { type: 'worker.resumed' } },
    })
    workers.wake('a')
    expect(counted).toBe(1)
    workers.pause()
    workers.pause()
    workers.wake('b')
    await clock.settle()
    expect([ran, counted, workers.stateOf('a')]).toEqual([['a'], 1, 'running'])
    finish.open()
    await clock.settle()
    expect([counted, workers.stateOf('a'), workers.stateOf('b')]).toEqual([0, 'suspended', undefined])
    workers.resume()
    workers.resume()
    await clock.settle()
    expect(ran).toEqual(['a', 'b'])
    expect([counted, workers.size]).toEqual([0, 0])
  })

  it('B05 a worker that is thrown away or crashes is not counted any more', async () => {
    const clock = virtualClock(0)
    let counted = 0
    const workers = new Workers({
      machine: commandWorkerMachine.provide({
        actors: {
          runNext: fromPromise<CommandOutcome, CommandRun>(() => new Promise(() => {})),
        },
      }) as typeof commandWorkerMachine,
      clock,
      input: key => ({ connectionId: key, router: 'r', retry, offlineRetry: 1_800_000 }),
      workAdded: { type: 'command.added' },
      attempts: { state: 'running', began: () => counted++, ended: () => counted-- },
    })
    workers.wake('a')
    workers.wake('b')
    expect(counted).toBe(2)
    workers.stop()
    expect(counted).toBe(0)
  })
})
