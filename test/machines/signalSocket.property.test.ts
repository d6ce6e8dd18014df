import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { signalSocketMachine } from '../../machines/index.js'
import { anySteps, drain, type Life, live } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const input = { socket: 'identified', keepaliveMs: 30_000, backoff: { initial: 1_000, max: 30_000 } }
const run = (steps: Parameters<typeof live>[3], look?: (life: Life) => void) =>
  live(signalSocketMachine, input, { connect: ['open', 'refused', 'failed'], probe: ['alive', 'dead'] }, steps, look)

describe('signalSocket', () => {
  it('S03 S04 one attempt or one probe at a time, and a timer only where it waits', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(signalSocketMachine), async steps => {
        await run(steps, ({ worker, open }) => {
          const state = worker.state()
          const work = state === 'connecting' ? ['connect'] : state === 'open.probing' ? ['probe'] : []
          expect(open().map(({ name }) => name)).toEqual(work)
          expect(worker.clock.pendingTimers).toBe(state === 'open.quiet' || state === 'backingOff' ? 1 : 0)
        })
      }),
      fuzzRuns(40),
    )
  })

  it('S02 a stop ends it from anywhere, and a start opens it again', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(signalSocketMachine), async steps => {
        const life = await run(steps)
        await life.take({ event: { type: 'socket.stop' } })
        expect([life.worker.state(), life.worker.clock.pendingTimers]).toEqual(['stopped', 0])
        await life.take({ event: { type: 'socket.start' } })
        await drain(life, () => 0, 1)
        expect(life.worker.state()).toBe('open.quiet')
      }),
      fuzzRuns(40),
    )
  })

  it('S02 S15 closed for good is left by nothing but a start or a stop, and no session is left open behind', async () => {
    const isOpen = (state: string) => state.startsWith('open')
    await fc.assert(
      fc.asyncProperty(anySteps(signalSocketMachine), async steps => {
        let before = ''
        let drops = 0
        const life = await run([], () => {})
        for (const step of steps) {
          before = life.worker.state()
          await life.take(step)
          const state = life.worker.state()
          const dropped = life.did.filter(word => word === 'dropSession').length - drops
          drops += dropped
          if (isOpen(before) && !isOpen(state)) expect(dropped).toBeGreaterThan(0)
          if (before.startsWith('closed') && state !== before) {
            expect(['event' in step && step.event.type, state]).toEqual(
              expect.arrayContaining([expect.stringMatching(/^socket\.st(art|op)$/)]),
            )
          }
        }
      }),
      fuzzRuns(40),
    )
  })
})
