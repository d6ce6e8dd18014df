import { assign, and, not, setup } from 'xstate'
import { intent, type StateMeta, stub } from '../../machines/stub.js'
import type { NamedMachine } from '../../src/visualizer/model/machines.js'
import { chartOf } from '../../src/visualizer/model/chart.js'

/** A small machine with one of everything that a chart can show. */
export const sampleMachine = setup({
  types: {} as {
    context: { count: number }
    events: { type: 'go'; far: boolean } | { type: 'back' } | { type: 'leave' }
    meta: StateMeta
  },
  guards: {
    isFar: ({ event }) => event.type === 'go' && event.far,
    isFresh: ({ context }) => context.count === 0,
    mayLeave: stub('mayLeave') as () => boolean,
  },
  actions: {
    count: assign(({ context }) => ({ count: context.count + 1 })),
    tell: intent<{ whom: string }>(),
    enter: () => {},
  },
  delays: { soon: ({ context }) => 10 * (context.count + 1) },
}).createMachine({
  id: 'sample',
  description: 'Shows <everything>; "once"',
  initial: 'near',
  context: { count: 0 },
  on: { leave: { guard: 'mayLeave', target: '.gone' } },
  states: {
    near: {
      description: 'Here.',
      meta: { spec: ['B01'], ignores: { back: 'it is here' } },
      on: {
        go: [
          {
            guard: and(['isFar', 'isFresh']),
            target: 'far',
            actions: ['count', { type: 'tell', params: { whom: 'all' } }],
          },
          { guard: not('isFresh'), actions: ['count'] },
          { target: 'near', reenter: true },
        ],
      },
    },
    far: {
      description: 'There.',
      initial: 'resting',
      meta: { spec: ['B02'] },
      on: { back: 'near' },
      states: {
        resting: {
          description: 'Waits.',
          meta: { spec: ['B02'], ignores: { go: 'it is far' } },
          entry: ['enter'],
          after: { soon: { target: '#sample.near' } },
        },
      },
    },
    gone: {
      description: 'Left.',
      meta: { spec: ['B01'], ignores: { go: 'it has left', back: 'it has left', leave: 'it has left' } },
      on: { leave: {} },
    },
  },
})

export const sample: NamedMachine = {
  name: 'sample',
  kind: 'protocol',
  machine: sampleMachine,
  walk: {
    name: 'sample',
    machines: [sampleMachine.provide({ guards: { mayLeave: () => true } })],
    contexts: [{ count: 0 }],
    events: {
      go: [
        { type: 'go', far: false },
        { type: 'go', far: true },
      ],
      back: [{ type: 'back' }],
      leave: [{ type: 'leave' }],
    },
    internal: [{ type: 'xstate.after.soon.sample.far.resting' }],
  },
}

export const sampleChart = chartOf(sampleMachine)
