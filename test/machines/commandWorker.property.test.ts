import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { type CommandOutcome, commandWorkerMachine } from '../../machines/index.js'
import { anySteps, drain, type Life, live } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const outcomes: readonly CommandOutcome[] = ['empty', 'done', 'failed', 'moved', 'retry', 'offline']
const { fastRetry: retry, offlineRetryMs: offlineRetry } = defaultConfig
const input = { connectionId: 'c', router: 'r', retry, offlineRetry }
const run = (steps: Parameters<typeof live>[3], look?: (life: Life) => void) =>
  live(commandWorkerMachine, input, { runNext: outcomes }, steps, look)

describe('commandWorker', () => {
  it('B50 one command at a time, none while suspended, idle or waiting, and a timer only where it waits', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(commandWorkerMachine), async steps => {
        await run(steps, ({ worker, open }) => {
          const state = worker.state()
          expect(open().length).toBe(state === 'running' ? 1 : 0)
          expect(worker.clock.pendingTimers).toBe(state === 'waiting' || state === 'offline' ? 1 : 0)
        })
      }),
      fuzzRuns(40),
    )
  })

  it('B06 a suspension comes to suspended from anywhere when the run under way ends, and a resume goes on', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(commandWorkerMachine), fc.nat(5), async (steps, end) => {
        const life = await run(steps)
        const idle = life.worker.state() === 'idle'
        await life.take({ event: { type: 'worker.suspended' } })
        await drain(life, () => end, 1)
        expect(life.worker.state()).toMatch(idle || end === 0 ? /^(idle|suspended)$/ : /^suspended$/)
        expect(life.worker.clock.pendingTimers).toBe(0)
        await life.take({ event: { type: 'command.added' } })
        await life.take({ event: { type: 'worker.resumed' } })
        expect(life.worker.state()).toBe('running')
        await life.take({ end: 0 })
        expect(life.worker.state()).toBe('idle')
      }),
      fuzzRuns(40),
    )
  })

  it('B68 the device is contradicted only when half an hour has passed offline', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(commandWorkerMachine), async steps => {
        let before = ''
        let runs = 0
        await run(steps, ({ worker, began }) => {
          for (; runs < began.length; runs++) if (began[runs]?.input['insist'] === true) expect(before).toBe('offline')
          before = worker.state()
        })
      }),
      fuzzRuns(40),
    )
  })
})
