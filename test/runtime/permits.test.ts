import { describe, expect, it } from 'vitest'
import { Permits } from '../../src/runtime/permits.js'

/** Takes permits one after the other; the names of those that were served, as they were. */
const asking = (limit: number) => {
  const permits = new Permits(limit)
  const served: string[] = []
  return {
    permits,
    served,
    ask: (name: string, count?: number) => void permits.take(count).then(() => void served.push(name)),
  }
}
const settle = () => new Promise(resolve => setImmediate(resolve))

describe('Permits', () => {
  it('gives as many as there are, and the next when some come back, in order', async () => {
    const { permits, served, ask } = asking(3)
    for (const name of ['a', 'b', 'c', 'd', 'e']) ask(name)
    await settle()
    expect(served).toEqual(['a', 'b', 'c'])
    permits.give(2)
    await settle()
    expect(served).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  it('a large share is not passed by small ones', async () => {
    const { permits, served, ask } = asking(3)
    ask('first', 2)
    ask('large', 3)
    ask('small', 1)
    await settle()
    expect(served).toEqual(['first'])
    permits.give(2)
    await settle()
    expect(served).toEqual(['first', 'large'])
    permits.give(3)
    await settle()
    expect(served).toEqual(['first', 'large', 'small'])
  })

  it('who stops waiting takes nothing and holds up nobody behind it', async () => {
    const { permits, served, ask } = asking(2)
    ask('first', 1)
    const stopped = new AbortController()
    const large = permits.take(2, stopped.signal)
    ask('small', 1)
    stopped.abort()
    expect(await large).toBe(false)
    await settle()
    expect(served).toEqual(['first', 'small'])
    expect(await permits.take(1, stopped.signal)).toBe(false)
    permits.give(2)
    expect(permits.unused).toBe(true)
  })

  it('knows when nothing is taken and nobody waits', async () => {
    const { permits, ask } = asking(2)
    expect(permits.unused).toBe(true)
    ask('a', 2)
    ask('b', 1)
    expect(permits.unused).toBe(false)
    permits.give(2)
    expect(permits.unused).toBe(false)
    permits.give(1)
    expect(permits.unused).toBe(true)
  })
})
