import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { signalSendMachine } from '../../machines/index.js'
import { signalAnswers } from '../../machines/walks.js'
import { anySteps, drain, type Life, live, type Outcomes } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const input = { recipientId: 'r', retry: { initial: 2_000, max: 120_000 }, maxRounds: 5 }
const outcomes: Outcomes = {
  takeNext: [
    { type: 'empty' },
    { type: 'message' },
    { type: 'message' },
    { type: 'expired' },
    { type: 'wait', waitMs: 9 },
  ],
  choosePath: ['sealed', 'sealed', 'identified', 'unreached'],
  fetchKeys: [
    { type: 'ready' },
    { type: 'ready' },
    { type: 'unregistered' },
    { type: 'limited', waitMs: 9 },
    { type: 'unusable', waitMs: 9 },
    { type: 'unreached' },
  ],
  encrypt: ['encrypted', 'encrypted', 'needsKeys', 'gone'],
  sendSealed: signalAnswers,
  sendIdentified: signalAnswers,
  update: [undefined],
  note: [undefined],
  settle: [undefined],
}
const run = (steps: Parameters<typeof live>[3], look?: (life: Life) => void) =>
  live(signalSendMachine, input, outcomes, steps, look)

describe('signalSend', () => {
  it('S11 one piece of work at a time, none while suspended, idle or waiting, and a timer only where it waits', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(signalSendMachine, 60), async steps => {
        await run(steps, ({ worker, open }) => {
          const state = worker.state()
          const rests = /^(idle|suspended|waiting)/.test(state)
          expect(open().length).toBe(rests ? 0 : 1)
          expect(worker.clock.pendingTimers).toBe(state.startsWith('waiting') ? 1 : 0)
        })
      }),
      fuzzRuns(40),
    )
  })

  it('S05 S07 between two looks at the outbox a message is settled once at most, goes identified for good once sealed has failed, and has five rounds', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(signalSendMachine, 80), async steps => {
        const { began } = await run(steps)
        let attempt: string[] = []
        for (const { name, input: about } of [...began, { name: 'takeNext', input: {} }]) {
          if (name !== 'takeNext') attempt.push(name === 'update' ? `update ${String(about['change'])}` : name)
          else {
            expect(attempt.filter(step => step === 'settle').length).toBeLessThanOrEqual(1)
            if (attempt.includes('settle')) expect(attempt.at(-1)).toBe('settle')
            const identified = attempt.indexOf('sendIdentified')
            if (identified > -1) expect(attempt.slice(identified)).not.toContain('sendSealed')
            expect(attempt.filter(step => /mismatched|stale/.test(step)).length).toBeLessThan(5)
            // Nothing is sent that was not encrypted, and stored, before.
            const first = attempt.findIndex(step => step.startsWith('send'))
            if (first > -1) expect(attempt.slice(0, first)).toContain('encrypt')
            attempt = []
          }
        }
      }),
      fuzzRuns(60),
    )
  })

  it('S11 a suspension reaches suspended from anywhere, at once; from there the outbox runs empty', async () => {
    await fc.assert(
      fc.asyncProperty(anySteps(signalSendMachine, 60), async steps => {
        const life = await run(steps)
        await life.take({ event: { type: 'send.suspended' } })
        expect(life.worker.state()).toMatch(/^(idle|suspended)$/)
        expect([life.open().length, life.worker.clock.pendingTimers]).toEqual([0, 0])
        await life.take({ event: { type: 'message.added' } })
        await life.take({ event: { type: 'send.resumed' } })
        expect(life.worker.state()).toBe('choosing')
        await drain(life, () => 0)
        expect(life.worker.state()).toBe('idle')
      }),
      fuzzRuns(40),
    )
  })
})
