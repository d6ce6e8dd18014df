import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { cleanupMachine } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const start = () => {
  const clock = virtualClock(0)
  const work = controlledWork<void>(clock)
  const ran: Array<[string, number]> = []
  const failed: string[] = []
  const machine = cleanupMachine.provide({
    actors: {
      runStep: fromPromise<void, { step: string }>(({ input }) => {
        ran.push([input.step, clock.now()])
        return work.run()
      }),
    },
    actions: { notifyFailed: (_, { step }) => failed.push(step) },
  })
  const input = { steps: ['first', 'second'], initial: 30, interval: 300, pause: 2 }
  return { ...startWorker(machine, input, clock), work, ran, failed }
}

describe('cleanup', () => {
  it('B07 runs each kind apart with a pause between two, first after the initial delay, then at each interval', async () => {
    const { clock, work, ran, state } = start()
    await clock.advance(30)
    await work.end()
    await clock.advance(2)
    await work.end()
    expect(state()).toBe('waiting')
    await clock.advance(300)
    expect(ran).toEqual([
      ['first', 30],
      ['second', 32],
      ['first', 332],
    ])
  })

  it('B07 a kind that fails is told of, and the next one runs all the same', async () => {
    const { clock, work, ran, failed, state } = start()
    await clock.advance(30)
    await work.fail()
    await clock.advance(2)
    await work.fail()
    expect(failed).toEqual(['first', 'second'])
    expect(ran.map(([step]) => step)).toEqual(['first', 'second'])
    expect(state()).toBe('waiting')
  })

  it('B04 does nothing while the agent is suspended, and goes on with the kind that was next', async () => {
    const { clock, work, ran, send, state } = start()
    await clock.advance(30)
    await work.end()
    send({ type: 'cleanup.suspended' })
    await clock.advance(10_000)
    expect([state(), ran.length]).toEqual(['suspended', 1])
    send({ type: 'cleanup.resumed' })
    await clock.advance(2)
    expect(ran.at(-1)?.[0]).toBe('second')
  })

  it('B04 a suspension ends the wait for the next cycle, and the step under way; the step runs once more after it', async () => {
    const { clock, work, ran, send, state } = start()
    send({ type: 'cleanup.suspended' })
    expect([state(), clock.pendingTimers]).toEqual(['suspended', 0])
    send({ type: 'cleanup.resumed' })
    await clock.advance(2)
    expect([state(), ran.length]).toEqual(['cleaning', 1])
    send({ type: 'cleanup.suspended' })
    await work.end()
    expect([state(), clock.pendingTimers]).toEqual(['suspended', 0])
    send({ type: 'cleanup.resumed' })
    await clock.advance(2)
    expect(ran.map(([step]) => step)).toEqual(['first', 'first'])
  })
})

takesEveryTransition(cleanupMachine)
