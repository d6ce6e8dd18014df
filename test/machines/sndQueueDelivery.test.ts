import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { type DeliveryOutcome, type DeliveryRun, sndQueueDeliveryMachine } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, delaysBetween, startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const minutes = 60_000

const start = () => {
  const clock = virtualClock(0)
  const work = controlledWork<DeliveryOutcome>(clock)
  const queues: string[] = []
  const insisted: boolean[] = []
  const machine = sndQueueDeliveryMachine.provide({
    actors: {
      deliverNext: fromPromise<DeliveryOutcome, DeliveryRun>(({ input }) => {
        queues.push(input.queueId)
        insisted.push(input.insist)
        return work.run()
      }),
    },
  })
  const { fastRetry: fast, slowRetry: slow, offlineRetryMs: offlineRetry } = defaultConfig
  return { ...startWorker(machine, { queueId: 'q1', fast, slow, offlineRetry }, clock), work, queues, insisted }
}

describe('sndQueueDelivery', () => {
  it('B40 delivers one message after the other and in order: the next one starts when the one before has ended', async () => {
    const { work, state, queues, clock } = start()
    for (let message = 1; message <= 5; message++) {
      expect(work.calls()).toBe(message)
      expect(work.open()).toBe(1)
      await work.end(message % 2 === 0 ? 'sent' : 'dropped')
    }
    await work.end('empty')
    expect(state()).toBe('idle')
    expect(new Set(queues)).toEqual(new Set(['q1']))
    expect(clock.pendingTimers).toBe(0)
  })

  it('B43 an unreachable router is tried again after 2 s, growing by half after 10 s, to 120 s', async () => {
    const { work, clock } = start()
    const delays = await delaysBetween<DeliveryOutcome>(clock, work, 'retryFast', 18)
    expect(delays.slice(0, 9)).toEqual([2000, 2000, 2000, 2000, 2000, 3000, 4500, 6750, 10_125])
    expect(delays.slice(-3)).toEqual([120_000, 120_000, 120_000])
    for (const [index, delay] of delays.entries()) {
      if (index > 5) expect(delay).toBe(Math.min(Math.floor((delays[index - 1] as number) * 1.5), 120_000))
    }
  })

  it('B41 a full queue is tried again after 5 min, growing by half at once, to 6 h', async () => {
    const { work, clock } = start()
    const delays = await delaysBetween<DeliveryOutcome>(clock, work, 'retrySlow', 14)
    expect(delays.slice(0, 4)).toEqual([5 * minutes, 7.5 * minutes, 11.25 * minutes, 16.875 * minutes])
    expect(delays.slice(-2)).toEqual([360 * minutes, 360 * minutes])
  })

  it('B43 fast and slow delays grow apart, and both start again after a message has gone out', async () => {
    const { work, clock } = start()
    const grown = await delaysBetween<DeliveryOutcome>(clock, work, 'retryFast', 6)
    expect(grown.at(-1)).toBe(3000)
    expect(await delaysBetween<DeliveryOutcome>(clock, work, 'retrySlow', 2)).toEqual([5 * minutes, 7.5 * minutes])
    expect(await delaysBetween<DeliveryOutcome>(clock, work, 'retryFast', 1)).toEqual([4500])
    await work.end('sent')
    expect(await delaysBetween<DeliveryOutcome>(clock, work, 'retryFast', 1)).toEqual([2000])
    expect(await delaysBetween<DeliveryOutcome>(clock, work, 'retrySlow', 1)).toEqual([5 * minutes])
  })

  it('B43 an attempt that fails by itself is tried again like an unreachable router, never at once', async () => {
    const { work, clock, state } = start()
    await work.fail()
    expect(state()).toBe('waiting.fast')
    await clock.advance(1999)
    expect(work.calls()).toBe(1)
    await clock.advance(1)
    expect(work.calls()).toBe(2)
  })

  it('B45 QCONT ends a wait of 6 h at once', async () => {
    const { work, clock, state, send } = start()
    await delaysBetween<DeliveryOutcome>(clock, work, 'retrySlow', 13)
    await work.end('retrySlow')
    expect(state()).toBe('waiting.slow')
    const waitingSince = clock.now()
    const calls = work.calls()
    send({ type: 'queue.continued' })
    await clock.settle()
    expect(work.calls()).toBe(calls + 1)
    expect(clock.now()).toBe(waitingSince)
    await work.end('sent')
    expect(state()).toBe('sending')
    expect(clock.pendingTimers).toBe(0)
  })

  it('B45 QCONT that comes while an attempt is under way is not lost: the wait after it does not take place', async () => {
    for (const outcome of ['retrySlow', 'retryFast'] as const) {
      const { work, send, state } = start()
      send({ type: 'queue.continued' })
      await work.end(outcome)
      expect(state()).toBe('sending')
      expect(work.calls()).toBe(2)
      // It counts for one wait only.
      await work.end(outcome)
      expect(state()).toBe(outcome === 'retrySlow' ? 'waiting.slow' : 'waiting.fast')
    }
    const { work, send, state } = start()
    send({ type: 'queue.continued' })
    await work.fail()
    expect([state(), work.calls()]).toEqual(['sending', 2])
    await work.fail()
    expect([state(), work.calls()]).toEqual(['waiting.fast', 2])
  })

  it('B45 QCONT is remembered past messages that go out, and forgotten when nothing waits', async () => {
    const { work, send, state } = start()
    // A turn may send several messages before it meets the full queue.
    send({ type: 'queue.continued' })
    await work.end('sent')
    await work.end('retrySlow')
    expect(state()).toBe('sending')
    send({ type: 'queue.continued' })
    await work.end('empty')
    send({ type: 'delivery.added' })
    await work.end('retrySlow')
    expect(state()).toBe('waiting.slow')
  })

  it('B40 new messages do not disturb the order: neither while one is on its way nor while one waits', async () => {
    const { work, send, state } = start()
    send({ type: 'delivery.added' })
    expect(work.open()).toBe(1)
    await work.end('retryFast')
    send({ type: 'delivery.added' })
    expect(state()).toBe('waiting.fast')
    expect(work.calls()).toBe(1)
  })

  it('B48 an idle worker starts again when a message is added', async () => {
    const { work, send, state } = start()
    await work.end('empty')
    send({ type: 'queue.continued' })
    expect(state()).toBe('idle')
    send({ type: 'delivery.added' })
    expect(state()).toBe('sending')
    expect(work.calls()).toBe(2)
  })

  it('B04 suspension between any two attempts: no timer is left, and the first attempt after the resume does not wait', async () => {
    const { work, send, state, clock } = start()
    await work.end('retrySlow')
    send({ type: 'delivery.suspended' })
    expect(state()).toBe('suspended')
    expect(clock.pendingTimers).toBe(0)
    send({ type: 'queue.continued' })
    send({ type: 'delivery.added' })
    await clock.advance(720 * minutes)
    expect(work.calls()).toBe(1)
    send({ type: 'delivery.resumed' })
    expect(work.calls()).toBe(2)
    send({ type: 'delivery.suspended' })
    await work.end('sent')
    expect(state()).toBe('suspended')
  })

  it('B04 B05 a suspension during an attempt waits for its end, however it ends; the next one begins after the resume', async () => {
    for (const end of ['sent', 'dropped', 'retryFast', 'retrySlow', 'offline', 'error'] as const) {
      const { work, send, state, clock, context } = start()
      send({ type: 'delivery.suspended' })
      expect([state(), work.open()], end).toEqual(['sending', 1])
      send({ type: 'queue.continued' })
      await (end === 'error' ? work.fail() : work.end(end))
      expect([state(), work.calls(), clock.pendingTimers], end).toEqual(['suspended', 1, 0])
      expect(context(), end).toMatchObject({ stopping: false, continued: false })
      send({ type: 'delivery.resumed' })
      await work.end('sent')
      expect([state(), work.calls()], end).toEqual(['sending', 3])
      await work.end('retrySlow')
      expect(state(), end).toBe('waiting.slow')
    }
  })

  it('B04 a suspension that is taken back during an attempt has stopped nothing', async () => {
    for (const end of ['sent', 'error'] as const) {
      const { work, send, state } = start()
      send({ type: 'delivery.suspended' })
      send({ type: 'delivery.resumed' })
      await (end === 'error' ? work.fail() : work.end(end))
      expect(state()).toBe(end === 'error' ? 'waiting.fast' : 'sending')
    }
  })

  it('B04 B48 a worker that was suspended when nothing was left goes on with the next message', async () => {
    const { work, send, state } = start()
    send({ type: 'delivery.suspended' })
    await work.end('empty')
    expect(state()).toBe('idle')
    send({ type: 'delivery.added' })
    await work.end('sent')
    expect([state(), work.calls()]).toEqual(['sending', 3])
  })

  it('B68 the delay starts again when the device comes online, wherever the worker waits for the network', async () => {
    for (const outcome of ['retryFast', 'offline'] as const) {
      const { work, send, clock } = start()
      await delaysBetween<DeliveryOutcome>(clock, work, 'retryFast', 8)
      await work.end(outcome)
      send({ type: 'network.online' })
      expect(await delaysBetween<DeliveryOutcome>(clock, work, 'retryFast', 1)).toEqual([2000])
    }
  })

  it('B68 offline, no attempt is made until the device is online, and then at once; what was slow or new does not matter', async () => {
    const { work, state, send, clock } = start()
    await work.end('offline')
    expect(state()).toBe('waiting.offline')
    send({ type: 'delivery.added' })
    await clock.advance(29 * minutes)
    expect(work.calls()).toBe(1)
    send({ type: 'network.online' })
    expect(work.calls()).toBe(2)
    await work.end('retryFast')
    const from = clock.now()
    await clock.next()
    expect(clock.now() - from).toBe(2000)
  })

  it('B68 offline for half an hour, one attempt is made whatever the device says, and the next after as long', async () => {
    const { work, clock, insisted } = start()
    for (let round = 1; round <= 3; round++) {
      await work.end('offline')
      const from = clock.now()
      await clock.next()
      expect(clock.now() - from).toBe(30 * minutes)
      await work.end('retryFast')
      await clock.advance(2000)
    }
    expect(insisted).toEqual([false, true, false, true, false, true, false])
  })

  it('B68 online cuts the wait for an unreachable router short, not the one for a full queue', async () => {
    const { work, send, state } = start()
    await work.end('retryFast')
    send({ type: 'network.online' })
    expect(work.calls()).toBe(2)
    await work.end('retrySlow')
    send({ type: 'network.online' })
    expect(state()).toBe('waiting.slow')
    expect(work.calls()).toBe(2)
  })

  it('B68 online that comes while an attempt is under way is not lost', async () => {
    for (const outcome of ['offline', 'retryFast'] as const) {
      const { work, send, state } = start()
      send({ type: 'network.online' })
      await work.end(outcome)
      expect(state()).toBe('sending')
      expect(work.calls()).toBe(2)
      await work.end(outcome)
      expect(state()).toMatch(/^waiting/)
    }
  })

  it('B68 a worker that waits for the network is suspended at once, and looks again when it is resumed', async () => {
    const { work, send, state, clock } = start()
    await work.end('offline')
    send({ type: 'delivery.suspended' })
    expect(state()).toBe('suspended')
    send({ type: 'network.online' })
    await clock.advance(60 * minutes)
    expect(work.calls()).toBe(1)
    send({ type: 'delivery.resumed' })
    expect(work.calls()).toBe(2)
  })
})

takesEveryTransition(sndQueueDeliveryMachine)
