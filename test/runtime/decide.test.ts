import * as fc from 'fast-check'
import { type AnyStateMachine, setup, type StateValue, transition } from 'xstate'
import { describe, expect, it } from 'vitest'
import { rcvQueueMachine, subscriptionMachine } from '../../machines/index.js'
import { decide, stateName } from '../../src/runtime/decide.js'
import { protocolWalks } from '../../machines/walks.js'

/** The same decision by XState’s own `transition`, which builds an actor each time. */
const official = (machine: AnyStateMachine, state: string, context: object, event: { readonly type: string }) => {
  const [next, actions] = transition(machine, machine.resolveState({ value: state, context }), event)
  return {
    from: state,
    to: stateName((next as { value: StateValue }).value),
    intents: actions.map(({ type, params }) => ({ type, params: params ?? {} })),
  }
}

const nested = setup({
  types: {} as { events: { type: 'in' } | { type: 'out' } },
  guards: {
    broken: () => {
      throw new Error('a bug')
    },
  },
}).createMachine({
  id: 'nested',
  initial: 'outside',
  states: {
    outside: { on: { in: 'inside.deep', out: { guard: 'broken', target: 'inside' } } },
    inside: {
      initial: 'shallow',
      states: { shallow: {}, deep: { initial: 'er', states: { er: { on: { out: '#nested.outside' } } } } },
    },
  },
})

describe('decide', () => {
  it.each(protocolWalks)('$name: the same as XState’s own transition, for every state, event and context', walk => {
    const [machine] = walk.machines as [AnyStateMachine]
    for (const state of Object.keys(machine.root.states)) {
      for (const event of Object.values(walk.events).flat()) {
        for (const context of walk.contexts) {
          expect(decide(machine, state, context, event)).toEqual(official(machine, state, context, event))
        }
      }
    }
  })

  it('keeps decisions apart: the intents of one are not changed by the next, in any order of machines', () => {
    const decisions = protocolWalks.flatMap(walk => {
      const [machine] = walk.machines as [AnyStateMachine]
      return Object.keys(machine.root.states).flatMap(state =>
        Object.values(walk.events)
          .flat()
          .flatMap(event => walk.contexts.map(context => ({ machine, state, event, context }))),
      )
    })
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...decisions), { maxLength: 30 }), sequence => {
        const made = sequence.map(({ machine, state, event, context }) => decide(machine, state, context, event))
        for (const [index, { machine, state, event, context }] of sequence.entries()) {
          expect(made[index]).toEqual(official(machine, state, context, event))
        }
      }),
      { numRuns: 50 },
    )
  })

  it('leaves the context that it is given alone', () => {
    const context = Object.freeze({ secret: false })
    decide(rcvQueueMachine, 'new', context, {
      type: 'message.arrived',
      key: true,
      senderKey: false,
      envelope: 'confirmation',
    })
    expect(context).toEqual({ secret: false })
  })

  it('writes and reads states within states as one text', () => {
    expect(decide(nested, 'outside', {}, { type: 'in' })).toEqual({
      from: 'outside',
      to: 'inside.deep.er',
      intents: [],
    })
    expect(decide(nested, 'inside.deep.er', {}, { type: 'out' }).to).toBe('outside')
  })

  it('throws InternalError for a state that the machine does not know, and for a guard that fails, and works on', () => {
    for (const state of ['', 'unknown', 'active.deeper', '.', 'constructor', '__proto__']) {
      expect(() => decide(subscriptionMachine, state, {}, { type: 'session.closed' })).toThrow(
        expect.objectContaining({ code: 'INTERNAL' }),
      )
    }
    expect(() => decide(nested, 'outside', {}, { type: 'out' })).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
    expect(decide(nested, 'outside', {}, { type: 'in' }).to).toBe('inside.deep.er')
    expect(decide(subscriptionMachine, 'active', {}, { type: 'session.closed' }).intents).toHaveLength(1)
  })
})
