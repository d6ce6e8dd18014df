import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { routerSessionMachine } from '../../machines/index.js'
import { anySteps, drain, type Life, live } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const { reconnect, offlineRetryMs: offlineRetry } = defaultConfig
const answers = fc.record({
  hasSubscriptions: fc.boolean(),
  isOffline: fc.boolean(),
  isSuspended: fc.boolean(),
  isIdle: fc.boolean(),
})
const run = (
  steps: Parameters<typeof live>[3],
  guards: Readonly<Record<string, boolean>>,
  look?: (life: Life) => void,
) =>
  live(
    routerSessionMachine.provide({
      guards: Object.fromEntries(Object.entries(guards).map(([name, answer]) => [name, () => answer])),
      delays: { idle: () => 300_000 },
    }),
    { router: 'r', reconnect, offlineRetry },
    { connect: [undefined], resubscribe: [undefined] },
    steps,
    look,
  )

describe('routerSession', () => {
  it('B66 one attempt to connect at a time; whoever waits for it is answered by its end, whatever that is', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(routerSessionMachine), answers, async (steps, guards) => {
        const life = await run(steps, guards, ({ worker, open }) => {
          const connecting = open().filter(({ name }) => name === 'connect').length
          expect(connecting).toBe(worker.state() === 'connecting' ? 1 : 0)
          if (worker.state() === 'closed') expect([open().length, worker.clock.pendingTimers]).toEqual([0, 0])
        })
        const { did } = life
        const attempts = did.filter(name => name === 'connect').length
        const underWay = life.worker.state() === 'connecting' ? 1 : 0
        // The end of an attempt answers those who wait; a session that ends answers those who came too late to see it.
        const resolved = did.filter(name => name === 'resolveWaiting').length
        const rejected = did.filter(name => name === 'rejectWaiting').length
        expect(resolved + rejected).toBeGreaterThanOrEqual(attempts - underWay)
        expect(resolved).toBeLessThanOrEqual(attempts)
      }),
      fuzzRuns(40),
    )
  })

  it('B69 a session that is released ends from anywhere, and is needed again by nobody but who asks', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(routerSessionMachine), answers, async (steps, guards) => {
        const life = await run(steps, guards)
        await life.take({ event: { type: 'session.released' } })
        expect([life.worker.state(), life.worker.clock.pendingTimers]).toEqual(['closed', 0])
        for (const type of ['session.lost', 'network.online', 'session.released']) await life.take({ event: { type } })
        await life.take({ ms: 86_400_000 })
        expect(life.worker.state()).toBe('closed')
        await life.take({ event: { type: 'session.needed' } })
        expect(life.worker.state()).toBe('connecting')
        await drain(life, () => 0, 1)
        expect(life.worker.state()).toBe('open.watched')
      }),
      fuzzRuns(40),
    )
  })
})
