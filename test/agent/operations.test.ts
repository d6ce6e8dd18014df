/** The counts of what is under way, and who is stopped by a suspension: everything around the agentOperations machine. */
import { beforeEach, describe, expect, it } from 'vitest'
import { type Operation, operations } from '../../machines/agentOperations.js'
import { Operations } from '../../src/agent/operations.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'

let clock: VirtualClock
let done: string[]
let counted: Operations
beforeEach(() => {
  clock = virtualClock()
  done = []
  counted = new Operations({
    clock,
    operating: operation => ({
      stop: () => done.push(`stop ${operation}`),
      resume: () => done.push(`resume ${operation}`),
    }),
    suspended: () => done.push('suspended'),
  })
})

const stops = (...kinds: Operation[]): string[] => kinds.map(kind => `stop ${kind}`)

describe('a suspension', () => {
  it('B05 ★ a delivery that is counted while another kind of work is being ended is waited for', async () => {
    counted.began('receiving')
    counted.suspend(10_000)
    await clock.settle()
    expect(done).toEqual(stops('receiving'))
    counted.began('delivery')
    counted.ended('receiving')
    await clock.advance(5_000)
    expect(done).toEqual(stops('receiving', 'delivery'))
    expect(counted.state).toBe('suspending.network.delivery')
    counted.ended('delivery')
    await clock.settle()
    expect(done).toEqual([...stops(...operations), 'suspended'])
  })

  it('B06 ★ a command that ends its attempt lets the suspension out, and one that begins anew is refused', async () => {
    counted.began('sending')
    counted.suspend(10_000)
    await clock.settle()
    expect(done).toEqual(stops('receiving', 'delivery', 'sending'))
    counted.ended('sending')
    await clock.settle()
    expect(done.at(-1)).toBe('suspended')
    let ran = false
    const work = counted.during('sending', async () => {
      ran = true
    })
    await expect(work).rejects.toMatchObject({ code: 'AGENT_SUSPENDED' })
    expect(ran).toBe(false)
  })

  it('B04 past its time what comes from the network is waited for no longer: the timer alone stops the rest', async () => {
    counted.began('delivery')
    counted.suspend(1_000)
    await clock.advance(999)
    expect(done).toEqual(stops('receiving', 'delivery'))
    await clock.advance(1)
    expect(done).toEqual([...stops(...operations), 'suspended'])
  })

  it('B04 gradual and then at once: each kind is stopped once, and goes on once', async () => {
    counted.began('receiving')
    counted.suspend(10_000)
    counted.suspend(0)
    await clock.settle()
    expect(done).toEqual(stops(...operations))
    counted.foreground()
    counted.foreground()
    await clock.settle()
    expect(done.slice(4)).toEqual(operations.toReversed().map(operation => `resume ${operation}`))
  })

  it('B04 closed in the middle, it stops nothing more and tells nobody', async () => {
    counted.began('delivery')
    counted.suspend(1_000)
    await clock.settle()
    const before = [...done]
    counted.close()
    counted.ended('delivery')
    counted.foreground()
    await clock.advance(10_000)
    expect(done).toEqual(before)
  })
})
