import { describe, expect, it, vi } from 'vitest'
import { createCleanup } from '../../src/cli/demo/cleanup.js'

const setUp = () => {
  const stop = new AbortController()
  const closed: string[] = []
  const close = (name: string) => async () => {
    closed.push(name)
  }
  return { stop, closed, close, cleanup: createCleanup(stop.signal) }
}

describe('the cleanup of the demo', () => {
  it('closes what was opened in the reverse order', async () => {
    const { cleanup, closed, close } = setUp()
    await cleanup.own(Promise.resolve(1), close('first'))
    cleanup.add(close('second'))
    await cleanup.own(Promise.resolve(3), close('third'))
    await cleanup.run()
    expect(closed).toEqual(['third', 'second', 'first'])
  })

  it('closes what becomes open only after the demo was stopped', async () => {
    const { stop, cleanup, closed, close } = setUp()
    let opened = (_value: string): void => {}
    const opening = new Promise<string>(resolve => {
      opened = resolve
    })
    const owned = cleanup.own(opening, close('late'))
    stop.abort()
    await expect(cleanup.interrupted).rejects.toMatchObject({ code: 'CMD_INTERRUPTED' })
    const cleaned = cleanup.run()
    opened('agent')
    await expect(owned).rejects.toMatchObject({ code: 'CMD_INTERRUPTED' })
    await cleaned
    expect(closed).toEqual(['late'])
  })

  it('leaves out what could not be opened', async () => {
    const { cleanup } = setUp()
    const close = vi.fn()
    await expect(cleanup.own(Promise.reject(new Error('no')), close)).rejects.toThrow('no')
    await cleanup.run()
    expect(close).not.toHaveBeenCalled()
  })

  it('closes the others when one fails, and throws the first failure', async () => {
    const { cleanup, closed, close } = setUp()
    cleanup.add(close('first'))
    cleanup.add(() => Promise.reject(new Error('cannot close')))
    await expect(cleanup.run()).rejects.toThrow('cannot close')
    expect(closed).toEqual(['first'])
  })
})
