import { describe, expect, it } from 'vitest'
import { follow } from '../../src/runtime/follow.js'

const intent = (type: string, params = {}) => ({ type, params })

describe('follow', () => {
  it('gives the effects of all intents, in their order, each with its parameters', () => {
    const wake = (key: unknown) => ({ worker: 'w', key: String(key) })
    const doings = {
      one: () => ({ wakes: [wake('one')] }),
      two: ({ key }: Readonly<Record<string, unknown>>) => ({ wakes: [wake(key)] }),
      unused: () => ({ wakes: [wake('unused')] }),
    }
    const effects = follow({ intents: [intent('two', { key: 'a' }), intent('one')] }, doings)
    expect(effects).toEqual({ changes: [], events: [], wakes: [wake('a'), wake('one')] })
  })

  it('passes over no intent: one that nobody follows is a bug', () => {
    expect(() => follow({ intents: [intent('forgotten')] }, {})).toThrow(
      expect.objectContaining({ code: 'INTERNAL', field: 'forgotten' }),
    )
  })
})
