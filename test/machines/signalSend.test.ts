import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import {
  type SignalAnswer,
  type SignalHead,
  type SignalKeys,
  type SignalPath,
  signalSendMachine,
  type SignalVerdict,
} from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { signalAnswers } from '../../machines/walks.js'
import { controlledWork, startWorker } from './worker.js'

interface Script {
  /** Answers in their order, on either way; the last one repeats. */
  readonly answers: readonly SignalAnswer[]
  readonly paths?: readonly SignalPath[]
  readonly keys?: SignalKeys
}

/** Runs one message through the machine; what was done, in order. */
const run = async ({ answers, paths = ['sealed'], keys = { type: 'ready' } }: Script) => {
  const clock = virtualClock(0)
  const done: string[] = []
  const heads: SignalHead[] = [{ type: 'message' }]
  let answered = 0
  let chosen = 0
  const note = <T>(what: string, output: T) => {
    done.push(what)
    return Promise.resolve(output)
  }
  const next = () => answers[Math.min(answered++, answers.length - 1)] as SignalAnswer
  const machine = signalSendMachine.provide({
    actors: {
      takeNext: fromPromise<SignalHead, { recipientId: string }>(async () => heads[0] ?? { type: 'empty' }),
      choosePath: fromPromise<SignalPath, { recipientId: string; identifiedOnly: boolean }>(async ({ input }) =>
        input.identifiedOnly ? 'identified' : (paths[Math.min(chosen++, paths.length - 1)] as SignalPath),
      ),
      fetchKeys: fromPromise<SignalKeys, { recipientId: string }>(async () => keys),
      encrypt: fromPromise<'encrypted' | 'needsKeys' | 'gone', { recipientId: string }>(async () => 'encrypted'),
      sendSealed: fromPromise<SignalAnswer, { recipientId: string }>(() => note('sealed', next())),
      sendIdentified: fromPromise<SignalAnswer, { recipientId: string }>(() => note('identified', next())),
      update: fromPromise<void, { recipientId: string; change: 'mismatched' | 'stale' | 'sealedRefused' }>(
        ({ input }) => note(input.change, undefined),
      ),
      note: fromPromise<void, { recipientId: string; reason: string; waitMs: number }>(({ input }) =>
        note(`wait ${input.reason} ${input.waitMs}`, undefined),
      ),
      settle: fromPromise<void, { recipientId: string; verdict: SignalVerdict }>(({ input }) => {
        heads.shift()
        return note(`settle ${input.verdict}`, undefined)
      }),
    },
  })
  const worker = startWorker(
    machine,
    { recipientId: 'r', retry: { initial: 2_000, max: 120_000 }, maxRounds: 5 },
    clock,
  )
  await clock.settle()
  return { ...worker, clock, done, work: controlledWork(clock) }
}

describe('signalSend', () => {
  it('S05 sealed first; 401, a socket that closes, breaks, is silent or takes nothing goes identified at once', async () => {
    expect((await run({ answers: [{ type: 'accepted' }] })).done).toEqual(['sealed', 'settle sent'])
    expect((await run({ answers: [{ type: 'unauthorized' }, { type: 'accepted' }] })).done).toEqual([
      'sealed',
      'sealedRefused',
      'identified',
      'settle sent',
    ])
    expect((await run({ answers: [{ type: 'unanswered' }, { type: 'accepted' }] })).done).toEqual([
      'sealed',
      'identified',
      'settle sent',
    ])
  })

  it('S05 after a fallback the message stays identified through its rounds; the next one is sealed again', async () => {
    const { done } = await run({ answers: [{ type: 'unanswered' }, { type: 'mismatched' }, { type: 'accepted' }] })
    expect(done).toEqual(['sealed', 'identified', 'mismatched', 'identified', 'settle sent'])
  })

  it('S07 at most five answers 409 and 410 in any mixture, then it is reported failed', async () => {
    for (const answers of [
      [{ type: 'mismatched' }],
      [{ type: 'stale' }],
      [{ type: 'mismatched' }, { type: 'stale' }, { type: 'mismatched' }, { type: 'stale' }, { type: 'stale' }],
    ] as const) {
      const { done } = await run({ answers })
      expect(done.filter(step => step === 'sealed')).toHaveLength(5)
      expect(done.at(-1)).toBe('settle unsettled')
    }
  })

  it('S08 a wait that the server names is kept to the millisecond; nothing is sent before', async () => {
    const { done, clock, state } = await run({ answers: [{ type: 'limited', waitMs: 60_000 }, { type: 'accepted' }] })
    expect(done).toEqual(['sealed', 'wait limited 60000'])
    expect(state()).toBe('waiting.told')
    await clock.advance(59_999)
    expect(done).toHaveLength(2)
    await clock.advance(1)
    expect(done.at(-1)).toBe('settle sent')
  })

  it('S08 keys that the server does not give are a wait, not a failure', async () => {
    const { done } = await run({ answers: [{ type: 'accepted' }], keys: { type: 'limited', waitMs: 600_000 } })
    expect(done).toEqual(['wait keysLimited 600000'])
  })

  it('S12 no answer on either way: the same message again after 2 s, 4 s, 8 s … 2 min, for as long as it takes', async () => {
    const { done, clock } = await run({ answers: [{ type: 'unanswered' }] })
    const waits: number[] = []
    for (let attempt = 0; attempt < 8; attempt++) {
      const [before, count] = [clock.now(), done.length]
      while (done.length === count) await clock.next()
      waits.push((clock.now() - before) / 1_000)
    }
    expect(waits).toEqual([2, 4, 8, 16, 32, 64, 120, 120])
    expect(new Set(done)).toEqual(new Set(['sealed', 'identified']))
  })

  it('S12 a socket that comes back ends the wait at once', async () => {
    const { done, clock, send, state } = await run({ answers: [{ type: 'serverError' }] })
    expect(state()).toBe('waiting.unreached')
    const count = done.length
    send({ type: 'wait.over' })
    await clock.settle()
    expect(done.length).toBeGreaterThan(count)
    expect(clock.now()).toBe(0)
  })

  it('S11 suspended between any two steps it stops, and begins anew from the rows', async () => {
    const { clock, send, state, done } = await run({ answers: [{ type: 'unanswered' }] })
    send({ type: 'send.suspended' })
    await clock.advance(3_600_000)
    expect(state()).toBe('suspended')
    expect(clock.pendingTimers).toBe(0)
    const count = done.length
    send({ type: 'send.resumed' })
    await clock.settle()
    expect(done.length).toBeGreaterThan(count)
  })

  it('S07 S08 every answer leads to its end, on both ways: none leaves the message hanging', async () => {
    for (const path of ['sealed', 'identified'] as const) {
      for (const answer of signalAnswers) {
        const { state } = await run({ answers: [answer, { type: 'accepted' }], paths: [path] })
        expect(['idle', 'waiting.told', 'waiting.unreached'], `${path} ${answer.type}`).toContain(state())
      }
    }
  })
})
