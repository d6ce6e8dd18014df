import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { signalSyncMachine } from '../../machines/index.js'
import { anySteps, drain, type Life, live } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const input = { accountId: 'a', retry: { initial: 2_000, max: 8_000 } }
const run = (steps: Parameters<typeof live>[3], look?: (life: Life) => void) =>
  live(signalSyncMachine, input, { syncNext: ['empty', 'synced', 'dropped', 'again', 'retry'] }, steps, look)

describe('signalSync', () => {
  it('S10 one transcript at a time, none while suspended, idle or waiting, and a timer only where it waits', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(signalSyncMachine), async steps => {
        await run(steps, ({ worker, open }) => {
          const state = worker.state()
          expect(open().length).toBe(state === 'syncing' ? 1 : 0)
          expect(worker.clock.pendingTimers).toBe(state === 'waiting' ? 1 : 0)
        })
      }),
      fuzzRuns(40),
    )
  })

  it('S10 a suspension reaches suspended from anywhere, at once; a resume brings the rest', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(signalSyncMachine), async steps => {
        const life = await run(steps)
        await life.take({ event: { type: 'sync.suspended' } })
        expect(life.worker.state()).toMatch(/^(idle|suspended)$/)
        expect([life.open().length, life.worker.clock.pendingTimers]).toEqual([0, 0])
        await life.take({ event: { type: 'sync.added' } })
        await life.take({ event: { type: 'sync.resumed' } })
        await drain(life, () => 0)
        expect(life.worker.state()).toBe('idle')
      }),
      fuzzRuns(40),
    )
  })
})
