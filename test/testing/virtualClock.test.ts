import { describe, expect, it } from 'vitest'
import { virtualClock, virtualEpoch } from '../../src/testing/virtualClock.js'

describe('virtual clock', () => {
  it('stands still until it is advanced', async () => {
    const clock = virtualClock()
    expect(clock.now()).toBe(virtualEpoch)
    await clock.advance(1_500)
    expect(clock.now()).toBe(virtualEpoch + 1_500)
  })

  it('runs due timers by time, then in order of setting, each at its own time', async () => {
    const clock = virtualClock(0)
    const ran: [string, number][] = []
    const at = (name: string, ms: number) => clock.setTimeout(() => ran.push([name, clock.now()]), ms)
    at('late', 30)
    at('first at 10', 10)
    at('second at 10', 10)
    at('never', 101)
    at('negative is now', -5)
    await clock.advance(100)
    expect(ran).toEqual([
      ['negative is now', 0],
      ['first at 10', 10],
      ['second at 10', 10],
      ['late', 30],
    ])
    expect(clock.now()).toBe(100)
    expect(clock.pendingTimers).toBe(1)
  })

  it('runs timers that timers set, and promise work in between', async () => {
    const clock = virtualClock(0)
    const ran: number[] = []
    const again = async (): Promise<void> => {
      await Promise.resolve()
      ran.push(clock.now())
      clock.setTimeout(() => void again(), 10)
    }
    void again()
    await clock.advance(35)
    expect(ran).toEqual([0, 10, 20, 30])
  })

  it('forgets a cleared timer, once or twice', async () => {
    const clock = virtualClock()
    let ran = false
    const timer = clock.setTimeout(() => (ran = true), 10)
    clock.clearTimeout(timer)
    clock.clearTimeout(timer)
    await clock.advance(20)
    expect(ran).toBe(false)
    expect(clock.pendingTimers).toBe(0)
  })

  it('goes from timer to timer, and says when none is left', async () => {
    const clock = virtualClock(0)
    const ran: number[] = []
    for (const ms of [500, 20, 20]) clock.setTimeout(() => ran.push(ms), ms)
    expect(await clock.next()).toBe(true)
    expect([clock.now(), ran]).toEqual([20, [20, 20]])
    expect(await clock.next()).toBe(true)
    expect(await clock.next()).toBe(false)
    expect(clock.now()).toBe(500)
  })

  it('keeps order with many timers in any order of setting and clearing', async () => {
    const clock = virtualClock(0)
    const ran: number[] = []
    const handles = Array.from({ length: 2_000 }, (_, i) => {
      const ms = (i * 7_919) % 1_000
      return clock.setTimeout(() => ran.push(ms), ms)
    })
    handles.forEach((handle, i) => i % 3 === 0 && clock.clearTimeout(handle))
    await clock.advance(1_000)
    expect(ran.length).toBe(2_000 - Math.ceil(2_000 / 3))
    expect(ran).toEqual([...ran].sort((a, b) => a - b))
  })
})
