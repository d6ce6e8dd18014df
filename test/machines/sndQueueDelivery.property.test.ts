import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { type DeliveryOutcome, sndQueueDeliveryMachine } from '../../machines/index.js'
import { anySteps, drain, type Life, live } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const outcomes: readonly DeliveryOutcome[] = ['empty', 'sent', 'dropped', 'retryFast', 'retrySlow', 'offline']
const { fastRetry: fast, slowRetry: slow, offlineRetryMs: offlineRetry } = defaultConfig
const run = (steps: Parameters<typeof live>[3], look?: (life: Life) => void) =>
  live(sndQueueDeliveryMachine, { queueId: 'q', fast, slow, offlineRetry }, { deliverNext: outcomes }, steps, look)

describe('sndQueueDelivery', () => {
  it('B05 B40 one attempt at a time, none while suspended, idle or waiting, and a timer only where it waits', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(sndQueueDeliveryMachine), async steps => {
        await run(steps, ({ worker, open }) => {
          const state = worker.state()
          expect(open().length).toBe(state === 'sending' ? 1 : 0)
          expect(worker.clock.pendingTimers).toBe(state.startsWith('waiting.') ? 1 : 0)
        })
      }),
      fuzzRuns(40),
    )
  })

  it('B05 a suspension comes to suspended from anywhere when the attempt under way ends, and a resume goes on', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(sndQueueDeliveryMachine), fc.nat(5), async (steps, end) => {
        const life = await run(steps)
        const idle = life.worker.state() === 'idle'
        await life.take({ event: { type: 'delivery.suspended' } })
        await drain(life, () => end, 1)
        const state = life.worker.state()
        expect([state, life.worker.clock.pendingTimers]).toEqual([
          idle || end === 0 ? expect.stringMatching(/^(idle|suspended)$/) : 'suspended',
          0,
        ])
        await life.take({ event: { type: 'delivery.added' } })
        await life.take({ event: { type: 'delivery.resumed' } })
        expect(life.worker.state()).toBe('sending')
        await life.take({ end: 0 })
        expect(life.worker.state()).toBe('idle')
      }),
      fuzzRuns(40),
    )
  })
})
