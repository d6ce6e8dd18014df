import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { type CommandOutcome, type CommandRun, commandWorkerMachine } from '../../machines/index.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, delaysBetween, startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const start = (router = 'r1', clock: VirtualClock = virtualClock(0)) => {
  const work = controlledWork<CommandOutcome>(clock)
  const inputs: unknown[] = []
  const machine = commandWorkerMachine.provide({
    actors: {
      runNext: fromPromise<CommandOutcome, CommandRun>(({ input }) => {
        inputs.push(input)
        return work.run()
      }),
    },
  })
  return {
    ...startWorker(
      machine,
      { connectionId: 'c1', router, retry: defaultConfig.fastRetry, offlineRetry: defaultConfig.offlineRetryMs },
      clock,
    ),
    work,
    inputs,
  }
}

describe('commandWorker', () => {
  it('B50 runs the commands of its connection and router one after the other', async () => {
    const { work, inputs, state } = start()
    for (const outcome of ['done', 'failed', 'moved', 'done'] as const) {
      expect(work.open()).toBe(1)
      await work.end(outcome)
    }
    await work.end('empty')
    expect(state()).toBe('idle')
    expect(inputs).toEqual(Array.from({ length: 5 }, () => ({ connectionId: 'c1', router: 'r1', insist: false })))
  })

  it('B50 a blocked router does not hold up the commands for another one', async () => {
    const clock = virtualClock(0)
    const blocked = start('r1', clock)
    const other = start('r2', clock)
    await blocked.work.end('retry')
    for (let command = 0; command < 3; command++) await other.work.end('done')
    await other.work.end('empty')
    expect(other.state()).toBe('idle')
    expect(blocked.state()).toBe('waiting')
    expect(blocked.work.calls()).toBe(1)
  })

  it('B50 a command that comes during a run is run after it; one that comes when idle starts the worker', async () => {
    const { work, send, state } = start()
    send({ type: 'command.added' })
    expect(work.calls()).toBe(1)
    await work.end('done')
    await work.end('empty')
    expect(state()).toBe('idle')
    send({ type: 'command.added' })
    expect(work.calls()).toBe(3)
  })

  it('B53 temporary errors: the same command again after 2 s, growing by half after 10 s, to 120 s', async () => {
    const { work, clock } = start()
    const delays = await delaysBetween<CommandOutcome>(clock, work, 'retry', 18)
    expect(delays.slice(0, 7)).toEqual([2000, 2000, 2000, 2000, 2000, 3000, 4500])
    expect(delays.slice(-2)).toEqual([120_000, 120_000])
  })

  it('B53 a permanent error goes on with the next command at once, and the delay starts again', async () => {
    const { work, clock, state } = start()
    await delaysBetween<CommandOutcome>(clock, work, 'retry', 8)
    await work.end('failed')
    expect(state()).toBe('running')
    expect(await delaysBetween<CommandOutcome>(clock, work, 'retry', 1)).toEqual([2000])
  })

  it('B53 a run that breaks off counts as a temporary error', async () => {
    const { work, clock, state } = start()
    await work.fail()
    expect(state()).toBe('waiting')
    await clock.advance(2000)
    expect(work.calls()).toBe(2)
  })

  it('B06 a suspension is not held up by a command that waits for its next attempt', async () => {
    const { work, send, state, clock } = start()
    await work.end('retry')
    send({ type: 'worker.suspended' })
    expect(state()).toBe('suspended')
    expect(clock.pendingTimers).toBe(0)
    send({ type: 'command.added' })
    await clock.advance(600_000)
    expect(work.calls()).toBe(1)
    send({ type: 'worker.resumed' })
    expect(work.calls()).toBe(2)
  })

  it('B06 a suspension during a run waits for it to end, however it ends; the next one begins after the resume', async () => {
    for (const end of ['done', 'failed', 'moved', 'retry', 'offline', 'error'] as const) {
      const { work, send, state, clock, context } = start()
      send({ type: 'worker.suspended' })
      expect([state(), work.open()], end).toEqual(['running', 1])
      send({ type: 'commands.changed' })
      await (end === 'error' ? work.fail() : work.end(end))
      expect([state(), clock.pendingTimers], end).toEqual(['suspended', 0])
      expect(work.calls(), end).toBe(1)
      expect(context(), end).toMatchObject({ stopping: false, changed: false })
      send({ type: 'worker.resumed' })
      expect([state(), work.calls()], end).toEqual(['running', 2])
      await work.end('done')
      expect([state(), work.calls()], end).toEqual(['running', 3])
      await work.end('retry')
      expect(state(), end).toBe('waiting')
    }
  })

  it('B06 a suspension that is taken back during a run has stopped nothing', async () => {
    for (const end of ['done', 'error'] as const) {
      const { work, send, state, context } = start()
      expect(context()['stopping']).toBe(false)
      send({ type: 'worker.suspended' })
      send({ type: 'worker.resumed' })
      await (end === 'error' ? work.fail() : work.end('done'))
      expect(state()).toBe(end === 'error' ? 'waiting' : 'running')
    }
  })

  it('B06 B50 a worker without commands has forgotten what was asked of its last run', async () => {
    const { work, send, state } = start()
    send({ type: 'worker.suspended' })
    send({ type: 'commands.changed' })
    await work.end('empty')
    expect(state()).toBe('idle')
    send({ type: 'command.added' })
    await work.end('retry')
    expect(state()).toBe('waiting')
    send({ type: 'commands.changed' })
    await work.end('done')
    expect(state()).toBe('running')
  })

  it('B53 changed rows end the wait, and the delay starts again', async () => {
    const { work, send, state, clock } = start()
    await delaysBetween<CommandOutcome>(clock, work, 'retry', 8)
    await work.end('retry')
    expect(state()).toBe('waiting')
    const before = work.calls()
    send({ type: 'commands.changed' })
    expect([work.calls(), state()]).toEqual([before + 1, 'running'])
    expect(await delaysBetween<CommandOutcome>(clock, work, 'retry', 1)).toEqual([2000])
  })

  it('B53 rows that change during a run are looked at after it, whatever it ends with', async () => {
    for (const end of ['retry', 'error'] as const) {
      const { work, send, state } = start()
      send({ type: 'commands.changed' })
      await (end === 'retry' ? work.end('retry') : work.fail())
      expect([work.calls(), state()]).toEqual([2, 'running'])
      await work.end('retry')
      expect([work.calls(), state()]).toEqual([2, 'waiting'])
    }
  })

  it('B53 rows that changed during a run count once: the wait after the next one takes place, with a new delay', async () => {
    for (const end of ['done', 'retry'] as const) {
      const { work, send, state, clock } = start()
      await delaysBetween<CommandOutcome>(clock, work, 'retry', 8)
      send({ type: 'commands.changed' })
      await work.end(end)
      expect(state()).toBe('running')
      await work.end('retry')
      expect(state()).toBe('waiting')
      const from = clock.now()
      await clock.next()
      expect(clock.now() - from).toBe(2000)
    }
  })

  it('B68 the delay starts again when the device comes online, wherever the worker waits', async () => {
    for (const outcome of ['retry', 'offline'] as const) {
      const { work, send, clock } = start()
      await delaysBetween<CommandOutcome>(clock, work, 'retry', 8)
      await work.end(outcome)
      send({ type: 'network.online' })
      expect(await delaysBetween<CommandOutcome>(clock, work, 'retry', 1)).toEqual([2000])
    }
  })

  it('B68 offline, nothing is run until the device is online, and then at once, with a new delay', async () => {
    const { work, state, send, clock } = start()
    await work.end('offline')
    expect(state()).toBe('offline')
    send({ type: 'command.added' })
    await clock.advance(1_740_000)
    expect(work.calls()).toBe(1)
    send({ type: 'network.online' })
    expect(work.calls()).toBe(2)
    await work.end('retry')
    const from = clock.now()
    await clock.next()
    expect(clock.now() - from).toBe(2000)
  })

  it('B68 offline for half an hour, the command is run once whatever the device says', async () => {
    const { work, clock, inputs } = start()
    for (let round = 1; round <= 2; round++) {
      await work.end('offline')
      const from = clock.now()
      await clock.next()
      expect(clock.now() - from).toBe(1_800_000)
      await work.end('retry')
      await clock.advance(2000)
    }
    expect(inputs.map(input => (input as CommandRun).insist)).toEqual([false, true, false, true, false])
  })

  it('B68 online cuts the wait for the next attempt short, and is not lost while one is under way', async () => {
    const { work, send, state } = start()
    await work.end('retry')
    send({ type: 'network.online' })
    expect(work.calls()).toBe(2)
    for (const outcome of ['retry', 'offline'] as const) {
      send({ type: 'network.online' })
      await work.end(outcome)
      expect(state()).toBe('running')
    }
    expect(work.calls()).toBe(4)
    await work.end('retry')
    expect(state()).toBe('waiting')
  })

  it('B68 a worker that waits for the network is suspended at once', async () => {
    const { work, send, state } = start()
    await work.end('offline')
    send({ type: 'worker.suspended' })
    expect(state()).toBe('suspended')
    send({ type: 'worker.resumed' })
    expect(work.calls()).toBe(2)
  })

  it('B53 rows that change while the device is offline are looked at at once, without insisting', async () => {
    const { work, send, state, inputs } = start()
    await work.end('offline')
    send({ type: 'commands.changed' })
    expect([state(), work.calls()]).toEqual(['running', 2])
    expect((inputs.at(-1) as CommandRun).insist).toBe(false)
  })
})

takesEveryTransition(commandWorkerMachine)
