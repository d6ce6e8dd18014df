import { describe, expect, it } from 'vitest'
import { HeldMessages, type OthersState } from '../../src/agent/heldMessages.js'
import type { DeliveredMessage } from '../../src/agent/sessions.js'
import { virtualClock } from '../../src/testing/virtualClock.js'

const message = (queueId: string, connectionId = 'c'): DeliveredMessage => ({
  queue: {
    queueId,
    connectionId,
    userId: 1,
    router: 'smp://router',
    rcvId: Buffer.from(queueId),
    rcvPrivateKey: Buffer.alloc(32),
  },
  messageId: Buffer.alloc(24),
  body: Buffer.alloc(0),
})

const start = () => {
  const clock = virtualClock(0)
  const again: Array<[queueId: string, force: boolean, at: number]> = []
  let others: OthersState | Promise<OthersState> = 'empty'
  const asked: Array<ReadonlySet<string>> = []
  const held = new HeldMessages({
    clock,
    silenceMs: 30_000,
    patienceMs: 3_600_000,
    others: async (_message, queues) => {
      asked.push(queues)
      return others
    },
    again: ({ queue }, force) => again.push([queue.queueId, force, clock.now()]),
  })
  return { clock, held, again, asked, set: (state: typeof others) => (others = state) }
}

describe('HeldMessages', () => {
  it('B78 a held message is looked at again when another one of its connection was processed', () => {
    const { held, again } = start()
    held.hold(message('new'))
    held.hold(message('other', 'd'))
    held.progressed('c')
    held.progressed('c')
    expect(again).toEqual([['new', false, 0]])
    expect(held.size).toBe(1)
  })

  it('B78 it is taken as it is when the other queue has been silent for 30 s and its router tells that it is empty', async () => {
    const { clock, held, again } = start()
    held.hold(message('new'))
    await clock.advance(29_999)
    held.progressed('c')
    held.hold(message('new'))
    await clock.advance(29_999)
    expect(again).toEqual([['new', false, 29_999]])
    await clock.advance(1)
    expect(again.at(-1)).toEqual(['new', true, 59_999])
    expect(clock.pendingTimers).toBe(0)
  })

  it('B78 a reader that is stalled on the other queue is waited for, however long that takes', async () => {
    const { clock, held, again, set } = start()
    set('busy')
    held.hold(message('new'))
    await clock.advance(24 * 3_600_000)
    expect(again).toEqual([])
    set('empty')
    await clock.advance(30_000)
    expect(again).toHaveLength(1)
  })

  it('B78 a queue that cannot be read is given up after the hour', async () => {
    const { clock, held, again, set } = start()
    set('unread')
    held.hold(message('new'))
    await clock.advance(3_599_999)
    expect(again).toEqual([])
    await clock.advance(1)
    expect(again).toEqual([['new', true, 3_600_000]])
  })

  it('B78 a queue that cannot be read is waited for an hour, also when the message is delivered again in between', async () => {
    const { clock, held, again, set } = start()
    set('unread')
    held.hold(message('new'))
    await clock.advance(1_800_000)
    held.hold(message('new'))
    await clock.advance(1_799_000)
    expect(again).toEqual([])
    await clock.advance(60_000)
    expect(again).toHaveLength(1)
    held.taken('new')
    held.hold(message('new'))
    await clock.advance(3_000_000)
    expect(again).toHaveLength(1)
  })

  it('B78 an hour of patience begins anew with each message that the other queue gives', async () => {
    const { clock, held, again, set } = start()
    const forced = () => again.filter(([, force]) => force).length
    set('unread')
    held.hold(message('new'))
    await clock.advance(3_500_000)
    held.progressed('c')
    held.hold(message('new'))
    await clock.advance(3_599_999)
    expect(forced()).toBe(0)
    await clock.advance(1)
    expect(forced()).toBe(1)
  })

  it('B78 an hour of patience begins anew while nothing is read', async () => {
    const { clock, held, again, set } = start()
    set('busy')
    held.hold(message('new'))
    await clock.advance(8 * 3_600_000)
    set('unread')
    await clock.advance(3_599_999)
    expect(again).toEqual([])
    await clock.advance(1)
    expect(again).toHaveLength(1)
  })

  it('B78 of two that are held the one that was sent first is taken first, and its queue is not asked', async () => {
    const { clock, held, again, asked } = start()
    held.hold(message('new'), 5)
    await clock.advance(10)
    held.hold(message('old'), 3)
    await clock.advance(30_000)
    expect(again).toEqual([['old', true, 30_010]])
    expect(asked).toEqual([new Set(['new', 'old'])])
    await clock.advance(30_000)
    expect(again.map(([queue]) => queue)).toEqual(['old', 'new'])
  })

  it('B78 the patience of one that waits for another held one begins when that is taken', async () => {
    const { clock, held, again, set } = start()
    set('unread')
    held.hold(message('old'), 3)
    held.hold(message('new'), 5)
    await clock.advance(3_600_000)
    expect(again).toEqual([['old', true, 3_600_000]])
    // Its last look that found another one before it was half a minute earlier.
    await clock.advance(3_569_999)
    expect(again).toHaveLength(1)
    await clock.advance(1)
    expect(again.at(-1)).toEqual(['new', true, 7_170_000])
  })

  it('B78 a ratchet key is taken behind all that has a number', async () => {
    const { clock, held, again } = start()
    held.hold(message('old'))
    held.hold(message('new'), 1_000_000)
    await clock.advance(60_000)
    expect(again.map(([queue]) => queue)).toEqual(['new', 'old'])
  })

  it('B78 the answer of a router that comes after the message was processed, delivered again or forgotten counts for nothing', async () => {
    const { clock, held, again, set } = start()
    const answers: Array<(state: OthersState) => void> = []
    const ask = () => set(new Promise<OthersState>(resolve => answers.push(resolve)))
    ask()
    held.hold(message('new'))
    await clock.advance(30_000)
    held.hold(message('new'))
    answers[0]?.('empty')
    await clock.settle()
    ask()
    await clock.advance(30_000)
    held.forget('c')
    answers[1]?.('empty')
    await clock.settle()
    expect([again, answers.length, held.size, clock.pendingTimers]).toEqual([[], 2, 0, 0])
  })

  it('B77 the messages of a deleted connection are forgotten, and all at the end', () => {
    const { clock, held, again } = start()
    held.hold(message('new'))
    held.hold(message('old'))
    held.forget('c')
    held.hold(message('new', 'd'))
    held.close()
    expect([held.size, clock.pendingTimers, again.length]).toEqual([0, 0, 0])
  })
})
