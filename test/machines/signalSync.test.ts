import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { signalSyncMachine, type SignalSyncOutcome } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const start = () => {
  const clock = virtualClock(0)
  const work = controlledWork<SignalSyncOutcome>(clock)
  const machine = signalSyncMachine.provide({
    actors: { syncNext: fromPromise<SignalSyncOutcome>(() => work.run()) },
  })
  return { ...startWorker(machine, { accountId: 'a', retry: { initial: 2_000, max: 8_000 } }, clock), work }
}

describe('signalSync', () => {
  it('S10 one transcript after the other; a failing one is retried by itself, with growing delays', async () => {
    const { work, clock, state } = start()
    await work.end('synced')
    expect(work.calls()).toBe(2)
    for (const delay of [2_000, 4_000, 8_000, 8_000]) {
      const before = clock.now()
      await work.end('retry')
      expect(state()).toBe('waiting')
      await clock.next()
      expect(clock.now() - before).toBe(delay)
    }
    // One that got through: the next one that fails waits for the shortest time again.
    await work.end('synced')
    await work.end('retry')
    const before = clock.now()
    await clock.next()
    expect(clock.now() - before).toBe(2_000)
    await work.end('empty')
    expect(state()).toBe('idle')
    expect(clock.pendingTimers).toBe(0)
  })

  it('S10 a changed list of own devices is tried again at once, work that fails by itself after a delay', async () => {
    const { work, state, clock, send } = start()
    await work.end('again')
    expect(work.calls()).toBe(2)
    await work.fail()
    expect(state()).toBe('waiting')
    send({ type: 'wait.over' })
    expect(work.calls()).toBe(3)
    send({ type: 'sync.suspended' })
    await work.end('synced')
    expect(state()).toBe('suspended')
    expect(clock.pendingTimers).toBe(0)
    send({ type: 'sync.resumed' })
    expect(state()).toBe('syncing')
  })

  it('S10 a suspension ends a wait, and a transcript that comes to an idle worker is synced at once', async () => {
    const { work, state, clock, send } = start()
    await work.end('retry')
    send({ type: 'sync.suspended' })
    expect([state(), clock.pendingTimers]).toEqual(['suspended', 0])
    send({ type: 'sync.resumed' })
    await work.end('empty')
    expect([state(), work.calls()]).toEqual(['idle', 2])
    send({ type: 'sync.added' })
    expect([state(), work.calls()]).toEqual(['syncing', 3])
  })
})

takesEveryTransition(signalSyncMachine)
