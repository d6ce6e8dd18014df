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
import { takesEveryTransition } from '../transitions/taken.js'

interface Script {
  /** Answers in their order, on either way; the last one repeats. */
  readonly answers: readonly SignalAnswer[]
  readonly paths?: readonly SignalPath[]
  readonly keys?: SignalKeys
  readonly encrypted?: ReadonlyArray<'encrypted' | 'needsKeys' | 'gone'>
  /** What the outbox holds; a message by default. `next`: a look at the head takes it away. */
  readonly heads?: readonly SignalHead[]
  readonly next?: boolean
  /** Work that breaks off the first time: by its name, or its name and what it is about. */
  readonly failing?: readonly string[]
}

/** Runs the outbox through the machine; what was done, in order. */
const run = async (script: Script) => {
  const { answers, paths = ['sealed'], keys = { type: 'ready' }, encrypted = ['encrypted'] } = script
  const clock = virtualClock(0)
  const done: string[] = []
  const heads: SignalHead[] = [...(script.heads ?? [{ type: 'message' } as const])]
  const failing = new Set(script.failing)
  const calls: Record<string, number> = {}
  const count = (name: string): number => {
    const before = calls[name] ?? 0
    calls[name] = before + 1
    return before
  }
  const nth = <T>(list: readonly T[], index: number): T => list[Math.min(index, list.length - 1)] as T
  /** One piece of work: it may break off the first time. */
  const work = async <T>(name: string, about: string | undefined, run: () => T): Promise<T> => {
    const index = count(name)
    if (failing.delete(name) || failing.delete(`${name} ${about}`)) throw new Error(`${name} broke off at ${index}`)
    return run()
  }
  const note = <T>(what: string, output: T): T => {
    done.push(what)
    return output
  }
  const head = (): SignalHead => (script.next === true ? heads.shift() : heads[0]) ?? { type: 'empty' }
  const answer = (path: string) => note(path, nth(answers, count('answer')))
  const machine = signalSendMachine.provide({
    actors: {
      takeNext: fromPromise<SignalHead, { recipientId: string }>(() => work('takeNext', undefined, head)),
      choosePath: fromPromise<SignalPath, { recipientId: string; identifiedOnly: boolean }>(({ input }) =>
        work('choosePath', undefined, () => (input.identifiedOnly ? 'identified' : nth(paths, count('path')))),
      ),
      fetchKeys: fromPromise<SignalKeys, { recipientId: string }>(() => work('fetchKeys', undefined, () => keys)),
      encrypt: fromPromise<'encrypted' | 'needsKeys' | 'gone', { recipientId: string }>(() =>
        work('encrypt', undefined, () => nth(encrypted, count('encrypted'))),
      ),
      sendSealed: fromPromise<SignalAnswer, { recipientId: string }>(() =>
        work('sendSealed', undefined, () => answer('sealed')),
      ),
      sendIdentified: fromPromise<SignalAnswer, { recipientId: string }>(() =>
        work('sendIdentified', undefined, () => answer('identified')),
      ),
      update: fromPromise<void, { recipientId: string; change: 'mismatched' | 'stale' | 'sealedRefused' }>(
        ({ input: { change } }) => work('update', change, () => note(change, undefined)),
      ),
      note: fromPromise<void, { recipientId: string; reason: string; waitMs: number }>(
        ({ input: { reason, waitMs } }) => work('note', reason, () => note(`wait ${reason} ${waitMs}`, undefined)),
      ),
      settle: fromPromise<void, { recipientId: string; verdict: SignalVerdict }>(({ input: { verdict } }) =>
        work('settle', verdict, () => {
          if (script.next !== true) heads.shift()
          return note(`settle ${verdict}`, undefined)
        }),
      ),
    },
  })
  const worker = startWorker(
    machine,
    { recipientId: 'r', retry: { initial: 2_000, max: 120_000 }, maxRounds: 5 },
    clock,
  )
  await clock.settle()
  return { ...worker, clock, done, calls: () => calls, add: (one: SignalHead) => void heads.push(one) }
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
    for (const path of ['sealed', 'identified'] as const) {
      for (const answers of [
        [{ type: 'mismatched' }],
        [{ type: 'stale' }],
        [{ type: 'mismatched' }, { type: 'stale' }, { type: 'mismatched' }, { type: 'stale' }, { type: 'stale' }],
      ] as const) {
        const { done } = await run({ answers, paths: [path] })
        expect(done.filter(step => step === path)).toHaveLength(5)
        expect(done.at(-1)).toBe('settle unsettled')
      }
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

  it('S12 a message that has waited too long is settled as expired, and nothing is sent', async () => {
    const { done, state } = await run({ answers: [{ type: 'accepted' }], heads: [{ type: 'expired' }] })
    expect([done, state()]).toEqual([['settle expired'], 'idle'])
  })

  it('S08 a head whose stored wait is not over waits for the rest of it', async () => {
    const { done, clock, state } = await run({
      answers: [{ type: 'accepted' }],
      heads: [{ type: 'wait', waitMs: 5_000 }, { type: 'message' }],
      next: true,
    })
    expect([state(), done]).toEqual(['waiting.told', []])
    await clock.advance(4_999)
    expect(state()).toBe('waiting.told')
    await clock.advance(1)
    expect(done).toEqual(['sealed', 'settle sent'])
  })

  it('S05 neither socket open: it waits and tries again', async () => {
    const { done, clock, state } = await run({ answers: [{ type: 'accepted' }], paths: ['unreached', 'sealed'] })
    expect([state(), done]).toEqual(['waiting.unreached', []])
    await clock.advance(2_000)
    expect(done).toEqual(['sealed', 'settle sent'])
  })

  it('S07 a recipient whose keys say that it is not registered any more; keys that cannot be asked for', async () => {
    const gone = await run({ answers: [{ type: 'accepted' }], keys: { type: 'unregistered' } })
    expect([gone.done, gone.state()]).toEqual([['settle unregistered'], 'idle'])
    const unreached = await run({ answers: [{ type: 'accepted' }], keys: { type: 'unreached' } })
    expect([unreached.done, unreached.state()]).toEqual([[], 'waiting.unreached'])
  })

  it('S11 encryption that finds a session missing asks for keys; a message that is gone makes room for the next', async () => {
    const missing = await run({ answers: [{ type: 'accepted' }], encrypted: ['needsKeys', 'encrypted'] })
    expect(missing.done).toEqual(['sealed', 'settle sent'])
    expect(missing.calls()['fetchKeys']).toBe(2)
    const gone = await run({
      answers: [{ type: 'accepted' }],
      heads: [{ type: 'message' }, { type: 'empty' }],
      next: true,
      encrypted: ['gone'],
    })
    expect([gone.done, gone.state()]).toEqual([[], 'idle'])
  })

  it('S08 a server that fails is asked again later, on the sealed way too', async () => {
    for (const path of ['sealed', 'identified'] as const) {
      const { done, clock, state } = await run({
        answers: [{ type: 'serverError' }, { type: 'accepted' }],
        paths: [path],
      })
      expect([state(), done]).toEqual(['waiting.unreached', [path]])
      await clock.advance(2_000)
      expect(done).toEqual([path, path, 'settle sent'])
    }
  })

  it('S12 work that breaks off anywhere leaves the message waiting, and the next attempt sends it', async () => {
    const ways: ReadonlyArray<readonly [string, Partial<Script>]> = [
      ['takeNext', {}],
      ['choosePath', {}],
      ['fetchKeys', {}],
      ['encrypt', {}],
      ['sendIdentified', { paths: ['identified'] }],
      ['update mismatched', { answers: [{ type: 'mismatched' }, { type: 'accepted' }] }],
      ['update stale', { answers: [{ type: 'stale' }, { type: 'accepted' }] }],
      ['update sealedRefused', { answers: [{ type: 'unauthorized' }, { type: 'accepted' }] }],
      ['note challenge', { answers: [{ type: 'challenge', waitMs: 9 }, { type: 'accepted' }] }],
      ['note limited', { answers: [{ type: 'limited', waitMs: 9 }, { type: 'accepted' }] }],
      ['settle sent', {}],
      ['settle tooLarge', { answers: [{ type: 'tooLarge' }, { type: 'accepted' }] }],
      ['settle invalid', { answers: [{ type: 'invalid' }, { type: 'accepted' }] }],
      ['settle unregistered', { answers: [{ type: 'unregistered' }, { type: 'accepted' }] }],
      ['settle forbidden', { paths: ['identified'], answers: [{ type: 'unauthorized' }, { type: 'accepted' }] }],
    ]
    for (const [failing, script] of ways) {
      const { done, clock, state } = await run({ answers: [{ type: 'accepted' }], ...script, failing: [failing] })
      expect(state(), failing).toBe('waiting.unreached')
      await clock.advance(2_000)
      expect([state(), done.at(-1)], failing).toEqual(['idle', 'settle sent'])
    }
    const unsettled = await run({ answers: [{ type: 'stale' }], failing: ['settle unsettled'] })
    expect(unsettled.state()).toBe('waiting.unreached')
    const expired = await run({
      answers: [{ type: 'accepted' }],
      heads: [{ type: 'expired' }],
      failing: ['settle expired'],
    })
    expect(expired.state()).toBe('waiting.unreached')
    await expired.clock.advance(2_000)
    expect([expired.state(), expired.done]).toEqual(['idle', ['settle expired']])
    const limited = { type: 'limited', waitMs: 9 } as const
    const keys = await run({ answers: [{ type: 'accepted' }], keys: limited, failing: ['note keysLimited'] })
    expect(keys.state()).toBe('waiting.unreached')
  })

  it('S05 a sealed attempt that breaks off goes identified at once', async () => {
    const { done } = await run({ answers: [{ type: 'accepted' }], failing: ['sendSealed'] })
    expect(done).toEqual(['identified', 'settle sent'])
  })

  it('S11 suspended twice, or with nothing to do, nothing changes; a message that comes to an idle worker is sent', async () => {
    const { send, state, done, add, clock } = await run({ answers: [{ type: 'accepted' }] })
    expect(state()).toBe('idle')
    send({ type: 'send.suspended' })
    expect(state()).toBe('idle')
    add({ type: 'message' })
    send({ type: 'message.added' })
    expect(state()).toBe('choosing')
    send({ type: 'send.suspended' })
    send({ type: 'send.suspended' })
    await clock.settle()
    expect([state(), done]).toEqual(['suspended', ['sealed', 'settle sent']])
    send({ type: 'send.resumed' })
    await clock.settle()
    expect([state(), done.length]).toEqual(['idle', 4])
  })
})

type Actors = NonNullable<Parameters<typeof signalSendMachine.provide>[0]['actors']>

/** The machine with every actor in the test’s hands; what each was given is noted. */
const controlled = () => {
  const clock = virtualClock(0)
  const names = [
    'takeNext',
    'choosePath',
    'fetchKeys',
    'encrypt',
    'sendSealed',
    'sendIdentified',
    'update',
    'note',
    'settle',
  ] as const
  const work = Object.fromEntries(names.map(name => [name, controlledWork<unknown>(clock)])) as Record<
    (typeof names)[number],
    ReturnType<typeof controlledWork<unknown>>
  >
  const inputs: Array<readonly [string, unknown]> = []
  const actors = Object.fromEntries(
    names.map(name => [
      name,
      fromPromise<unknown, unknown>(({ input }) => {
        inputs.push([name, input])
        return work[name].run()
      }),
    ]),
  ) as unknown as Actors
  const machine = signalSendMachine.provide({ actors }) as typeof signalSendMachine
  const input = { recipientId: 'r', retry: { initial: 2_000, max: 120_000 }, maxRounds: 5 }
  return { ...startWorker(machine, input, clock), work, inputs }
}

/** Brings a message to its way. */
const onItsWay = async (path: 'sealed' | 'identified') => {
  const machine = controlled()
  await machine.work.takeNext.end({ type: 'message' })
  await machine.work.choosePath.end(path)
  await machine.work.fetchKeys.end({ type: 'ready' })
  await machine.work.encrypt.end('encrypted')
  return machine
}

/** An identified attempt is answered with 409; its keys are there. */
const round = async (work: ReturnType<typeof controlled>['work']): Promise<void> => {
  await work.sendIdentified.end({ type: 'mismatched' })
  await work.update.end(undefined)
  await work.fetchKeys.end({ type: 'ready' })
}

describe('signalSend, step by step', () => {
  it('S16 each step is given the recipient, and what else it needs', async () => {
    const { work, inputs, state, clock } = await onItsWay('sealed')
    await work.sendSealed.end({ type: 'stale' })
    await work.update.end(undefined)
    await work.fetchKeys.end({ type: 'ready' })
    await work.encrypt.end('encrypted')
    await work.sendSealed.end({ type: 'unanswered' })
    await work.sendIdentified.end({ type: 'limited', waitMs: 5_000 })
    await work.note.end(undefined)
    await clock.advance(5_000)
    await work.takeNext.end({ type: 'expired' })
    expect(state()).toBe('settling.expired')
    expect(inputs).toEqual([
      ['takeNext', { recipientId: 'r' }],
      ['choosePath', { recipientId: 'r', identifiedOnly: false }],
      ['fetchKeys', { recipientId: 'r' }],
      ['encrypt', { recipientId: 'r' }],
      ['sendSealed', { recipientId: 'r' }],
      ['update', { recipientId: 'r', change: 'stale' }],
      ['fetchKeys', { recipientId: 'r' }],
      ['encrypt', { recipientId: 'r' }],
      ['sendSealed', { recipientId: 'r' }],
      ['sendIdentified', { recipientId: 'r' }],
      ['note', { recipientId: 'r', reason: 'limited', waitMs: 5_000 }],
      ['takeNext', { recipientId: 'r' }],
      ['settle', { recipientId: 'r', verdict: 'expired' }],
    ])
  })

  it.each([
    ['accepted', 'settling.sent', 'sent'],
    ['unregistered', 'settling.unregistered', 'unregistered'],
    ['tooLarge', 'settling.tooLarge', 'tooLarge'],
    ['invalid', 'settling.invalid', 'invalid'],
  ] as const)('S07 S08 %s on either way is the end of the message: %s', async (type, end, verdict) => {
    for (const path of ['sealed', 'identified'] as const) {
      const { work, state, inputs } = await onItsWay(path)
      await (path === 'sealed' ? work.sendSealed : work.sendIdentified).end({ type })
      expect(state()).toBe(end)
      expect(inputs.at(-1)).toEqual(['settle', { recipientId: 'r', verdict }])
      await work.settle.end(undefined)
      expect(state()).toBe('choosing')
    }
  })

  it.each([
    ['challenge', 'noting.challenge'],
    ['limited', 'noting.limited'],
  ] as const)('S08 %s on either way is noted, then waited for', async (type, noting) => {
    for (const path of ['sealed', 'identified'] as const) {
      const { work, state, inputs, clock } = await onItsWay(path)
      await (path === 'sealed' ? work.sendSealed : work.sendIdentified).end({ type, waitMs: 7_000 })
      expect(state()).toBe(noting)
      expect(inputs.at(-1)).toEqual(['note', { recipientId: 'r', reason: type, waitMs: 7_000 }])
      await work.note.end(undefined)
      await clock.advance(6_999)
      expect(state()).toBe('waiting.told')
      await clock.advance(1)
      expect(state()).toBe('choosing')
    }
  })

  it.each([
    ['limited', 'keysLimited'],
    ['unusable', 'keysUnusable'],
  ] as const)('S08 keys that are %s are noted as %s, then waited for', async (type, reason) => {
    const { work, state, inputs, clock } = controlled()
    await work.takeNext.end({ type: 'message' })
    await work.choosePath.end('sealed')
    await work.fetchKeys.end({ type, waitMs: 7_000 })
    expect(state()).toBe(`noting.${reason}`)
    expect(inputs.at(-1)).toEqual(['note', { recipientId: 'r', reason, waitMs: 7_000 }])
    await work.note.end(undefined)
    await clock.advance(7_000)
    expect(state()).toBe('choosing')
    // What cannot be stored is not forgotten: the message waits as after any failure.
    await work.takeNext.end({ type: 'message' })
    await work.choosePath.end('sealed')
    await work.fetchKeys.end({ type, waitMs: 7_000 })
    await work.note.fail()
    expect(state()).toBe('waiting.unreached')
  })

  it('S07 keys of nobody end the message; keys that were not reached are asked for again', async () => {
    for (const [type, end] of [
      ['unregistered', 'settling.unregistered'],
      ['unreached', 'waiting.unreached'],
    ] as const) {
      const { work, state } = controlled()
      await work.takeNext.end({ type: 'message' })
      await work.choosePath.end('identified')
      await work.fetchKeys.end({ type })
      expect(state()).toBe(end)
    }
  })

  it('S06 devices without a session are named by the encryption: keys, then the encryption again', async () => {
    const { work, state } = controlled()
    await work.takeNext.end({ type: 'message' })
    await work.choosePath.end('sealed')
    await work.fetchKeys.end({ type: 'ready' })
    await work.encrypt.end('needsKeys')
    expect(state()).toBe('keying')
    await work.fetchKeys.end({ type: 'ready' })
    expect(state()).toBe('encrypting')
    await work.encrypt.end('gone')
    expect(state()).toBe('choosing')
  })

  it('S05 401 to a sealed message is stored before it goes identified; 401 again is the end', async () => {
    const { work, state, inputs } = await onItsWay('sealed')
    await work.sendSealed.end({ type: 'unauthorized' })
    expect(state()).toBe('updating.sealedRefused')
    expect(inputs.at(-1)).toEqual(['update', { recipientId: 'r', change: 'sealedRefused' }])
    await work.update.end(undefined)
    expect(state()).toBe('sending.identified')
    await work.sendIdentified.end({ type: 'unauthorized' })
    expect(state()).toBe('settling.forbidden')
    expect(inputs.at(-1)).toEqual(['settle', { recipientId: 'r', verdict: 'forbidden' }])
  })

  it('S05 a sealed attempt that fails by itself goes identified, an identified one waits', async () => {
    const { work, state } = await onItsWay('sealed')
    await work.sendSealed.fail()
    expect(state()).toBe('sending.identified')
    await work.sendIdentified.fail()
    expect(state()).toBe('waiting.unreached')
  })

  it('S05 the next message, and the next attempt, begin sealed again', async () => {
    const { work, inputs, clock } = await onItsWay('sealed')
    await work.sendSealed.end({ type: 'unanswered' })
    await work.sendIdentified.end({ type: 'serverError' })
    await clock.advance(2_000)
    await work.takeNext.end({ type: 'message' })
    expect(inputs.at(-1)).toEqual(['choosePath', { recipientId: 'r', identifiedOnly: false }])
    await work.choosePath.end('identified')
    await work.fetchKeys.end({ type: 'ready' })
    await work.encrypt.end('encrypted')
    await work.sendIdentified.end({ type: 'accepted' })
    await work.settle.end(undefined)
    await work.takeNext.end({ type: 'message' })
    expect(inputs.at(-1)).toEqual(['choosePath', { recipientId: 'r', identifiedOnly: false }])
  })

  it.each<[string, (machine: Awaited<ReturnType<typeof onItsWay>>) => Promise<void>]>([
    [
      'the message after it',
      async ({ work }) => {
        await work.sendIdentified.end({ type: 'accepted' })
        await work.settle.end(undefined)
      },
    ],
    [
      'an attempt after a wait that the server has named',
      async ({ work, clock }) => {
        await work.sendIdentified.end({ type: 'limited', waitMs: 5_000 })
        await work.note.end(undefined)
        await clock.advance(5_000)
      },
    ],
    [
      'an attempt after the server could not be reached',
      async ({ work, clock }) => {
        await work.sendIdentified.end({ type: 'serverError' })
        await clock.advance(2_000)
      },
    ],
    [
      'whatever is at the head after a suspension',
      async ({ send, work }) => {
        send({ type: 'send.suspended' })
        // What comes meanwhile is found in the rows.
        await work.sendIdentified.end({ type: 'accepted' })
        send({ type: 'send.resumed' })
      },
    ],
    [
      'the message after one that is gone',
      async ({ work }) => {
        await round(work)
        await work.encrypt.end('gone')
      },
    ],
  ])(
    'S05 S07 four answers 409 and a fallback are those of one attempt: %s has five and begins sealed',
    async (what, ends) => {
      const machine = await onItsWay('identified')
      const { work, state, inputs } = machine
      // A message that is gone has had one of its rounds already.
      for (let count = what.includes('gone') ? 1 : 0; count < 4; count++) {
        await round(work)
        await work.encrypt.end('encrypted')
      }
      expect(state()).toBe('sending.identified')
      await ends(machine)
      await work.takeNext.end({ type: 'message' })
      expect(inputs.at(-1)).toEqual(['choosePath', { recipientId: 'r', identifiedOnly: false }])
      await work.choosePath.end('identified')
      await work.fetchKeys.end({ type: 'ready' })
      await work.encrypt.end('encrypted')
      for (let count = 0; count < 4; count++) {
        await round(work)
        await work.encrypt.end('encrypted')
      }
      expect(state()).toBe('sending.identified')
      await work.sendIdentified.end({ type: 'mismatched' })
      expect(state()).toBe('settling.unsettled')
    },
  )

  it.each([
    ['tooLarge', 'settling.tooLarge'],
    ['invalid', 'settling.invalid'],
    ['serverError', 'waiting.unreached'],
  ] as const)('S07 S08 %s in the last round is what it is, not one 409 too many', async (type, state) => {
    const machine = await onItsWay('identified')
    for (let count = 0; count < 4; count++) {
      await round(machine.work)
      await machine.work.encrypt.end('encrypted')
    }
    await machine.work.sendIdentified.end({ type })
    expect(machine.state()).toBe(state)
  })

  it.each<[string, (work: Awaited<ReturnType<typeof onItsWay>>['work']) => Promise<void>]>([
    [
      'was refused',
      async work => {
        await work.sendSealed.end({ type: 'unauthorized' })
        await work.update.end(undefined)
      },
    ],
    ['was not answered', work => work.sendSealed.end({ type: 'unanswered' })],
    ['failed by itself', work => work.sendSealed.fail()],
  ])('S05 S07 a sealed attempt that %s: the message stays identified when its devices change', async (_, fails) => {
    const { work, state } = await onItsWay('sealed')
    await fails(work)
    expect(state()).toBe('sending.identified')
    await round(work)
    await work.encrypt.end('encrypted')
    expect(state()).toBe('sending.identified')
  })

  it('S05 S06 keys that are missing are fetched on the identified way as well, before anything is sent', async () => {
    const { work, state } = controlled()
    await work.takeNext.end({ type: 'message' })
    await work.choosePath.end('identified')
    await work.fetchKeys.end({ type: 'ready' })
    await work.encrypt.end('needsKeys')
    expect([state(), work.sendIdentified.calls()]).toEqual(['keying', 0])
  })

  it('S12 no way: it waits, and delays grow from attempt to attempt until one ends a message', async () => {
    const { work, state, clock } = controlled()
    const unreached = async (delay: number): Promise<void> => {
      await work.takeNext.end({ type: 'message' })
      await work.choosePath.end('unreached')
      await clock.advance(delay - 1)
      expect(state()).toBe('waiting.unreached')
      await clock.advance(1)
      expect(state()).toBe('choosing')
    }
    await unreached(2_000)
    await unreached(4_000)
    await work.takeNext.end({ type: 'expired' })
    await work.settle.end(undefined)
    await unreached(2_000)
  })

  it.each(['takeNext', 'choosePath', 'fetchKeys', 'encrypt', 'update', 'note', 'settle'] as const)(
    'S12 %s that fails by itself leaves the message waiting',
    async failing => {
      const { work, state } = controlled()
      if (failing !== 'takeNext') await work.takeNext.end({ type: 'message' })
      if (!['takeNext', 'choosePath'].includes(failing)) await work.choosePath.end('identified')
      if (!['takeNext', 'choosePath', 'fetchKeys'].includes(failing)) await work.fetchKeys.end({ type: 'ready' })
      const answers = {
        update: { type: 'stale' },
        note: { type: 'challenge', waitMs: 9 },
        settle: { type: 'accepted' },
      }
      if (failing in answers) {
        await work.encrypt.end('encrypted')
        await work.sendIdentified.end(answers[failing as keyof typeof answers])
      }
      await work[failing].fail()
      expect(state()).toBe('waiting.unreached')
    },
  )

  it('S08 a head that waits since before is waited for, and not sent; a challenge that is answered ends the wait', async () => {
    const { work, state, send, clock } = controlled()
    await work.takeNext.end({ type: 'wait', waitMs: 9_000 })
    expect(state()).toBe('waiting.told')
    await clock.advance(8_999)
    expect(work.takeNext.calls()).toBe(1)
    send({ type: 'wait.over' })
    expect(state()).toBe('choosing')
    await work.takeNext.end({ type: 'empty' })
    expect(state()).toBe('idle')
    send({ type: 'message.added' })
    expect(state()).toBe('choosing')
  })
})

takesEveryTransition(signalSendMachine)
