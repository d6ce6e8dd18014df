import { describe, expect, it } from 'vitest'
import { nextDelay } from '../../machines/index.js'

const interval = { initial: 2000, growAfter: 10_000, max: 120_000 }

describe('nextDelay', () => {
  it('B43 B53 B66 stays as it is until so much has been waited in all, then grows by half', () => {
    expect(nextDelay(interval, 2000, 2000)).toBe(2000)
    expect(nextDelay(interval, 2000, 9999)).toBe(2000)
    expect(nextDelay(interval, 2000, 10_000)).toBe(3000)
    expect(nextDelay(interval, 3000, 13_000)).toBe(4500)
    expect(nextDelay(interval, 10_125, 50_000)).toBe(15_187)
  })

  it('B43 B53 B66 never passes the longest delay', () => {
    expect(nextDelay(interval, 100_000, 400_000)).toBe(120_000)
    expect(nextDelay(interval, 120_000, 520_000)).toBe(120_000)
    expect(nextDelay({ ...interval, max: 2000 }, 2000, 0)).toBe(2000)
  })
})
