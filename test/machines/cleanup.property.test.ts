import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cleanupMachine } from '../../machines/index.js'
import { anySteps, live } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const kinds = ['first', 'second', 'third']
const input = { steps: kinds, initial: 30, interval: 300, pause: 2 }

describe('cleanup', () => {
  it('B07 one step at a time, in their order, one that was broken off by a suspension once more', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(cleanupMachine), async steps => {
        const life = await live(cleanupMachine, input, { runStep: [undefined] }, steps, ({ worker, open }) => {
          const state = worker.state()
          expect(open().length).toBe(state === 'cleaning' ? 1 : 0)
          expect(worker.clock.pendingTimers).toBe(state === 'waiting' || state === 'pausing' ? 1 : 0)
        })
        const ran = life.began.map(({ input: { step } }) => kinds.indexOf(step as string))
        for (const [index, step] of ran.entries()) {
          const before = ran[index - 1] ?? -1
          expect([before, (before + 1) % kinds.length]).toContain(step)
        }
        // It ends a cycle from wherever it is.
        await life.take({ event: { type: 'cleanup.resumed' } })
        for (let turn = 0; turn < 4 && life.worker.state() !== 'waiting'; turn++) {
          await life.take({ ms: 2 })
          await life.take({ end: 0 })
        }
        expect(life.worker.state()).toBe('waiting')
      }),
      fuzzRuns(40),
    )
  })
})
