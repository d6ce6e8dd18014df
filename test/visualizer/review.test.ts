import { setup } from 'xstate'
import { describe, expect, it } from 'vitest'
import { readCoverage, reviewOf } from '../../src/visualizer/model/analysis.js'
import { type Chart, chartOf } from '../../src/visualizer/model/chart.js'
import { diffCharts } from '../../src/visualizer/model/diff.js'
import { machines } from '../../src/visualizer/model/machines.js'
import { reviewAll, reviewText } from '../../src/visualizer/model/review.js'
import { sample, sampleChart } from './sample.js'

describe('the review of a machine', () => {
  it('counts its states, events and transitions, and what the tests take', () => {
    const taken = { 'near | go | 0': 3, 'far | back | 0': 1, 'near | unknown | 0': 9 }
    const review = reviewOf(sample, sampleChart, { at: 0, files: 1, taken: { sample: taken } })
    expect(review).toMatchObject({ states: 4, events: 3, transitions: 7, unreachable: [], silent: [] })
    // The bare `leave` in `gone` only says that it is ignored: no test need take it.
    expect(review.coverage).toEqual({
      taken: 2,
      untaken: [
        '(any) | leave | 0',
        'near | go | 1',
        'near | go | 2',
        'far.resting | xstate.after.soon.sample.far.resting | 0',
      ],
    })
    expect(reviewOf(sample, sampleChart).coverage).toBeUndefined()
  })

  it('finds states that cannot be reached and events that nobody answers', () => {
    const machine = setup({ types: {} as { events: { type: 'go' } | { type: 'stop' } } }).createMachine({
      id: 'open',
      initial: 'a',
      context: {},
      states: { a: { on: { go: 'b' } }, b: { on: { go: {} } }, island: { on: { go: 'a', stop: 'a' } } },
    })
    const walk = {
      name: 'open',
      machines: [machine],
      contexts: [{}],
      events: { go: [{ type: 'go' }], stop: [{ type: 'stop' }] },
      internal: [],
    }
    const review = reviewOf({ name: 'open', kind: 'protocol', machine, walk }, chartOf(machine))
    expect(review.unreachable).toEqual(['island'])
    expect(review.silent).toEqual([
      { state: 'a', event: 'stop' },
      { state: 'b', event: 'stop' },
    ])
  })

  it('finds nothing open in the machines that run', () => {
    const { machines: reviews, unknown } = reviewAll(machines)
    expect(reviews.map(({ name }) => name)).toEqual(machines.map(({ name }) => name))
    for (const { name, unreachable, silent } of reviews)
      expect({ name, unreachable, silent }).toEqual({ name, unreachable: [], silent: [] })
    expect(unknown).toEqual([])
  })

  it('is printed as a table with its findings', () => {
    const text = reviewText(reviewAll([sample], { at: 0, files: 1, taken: { sample: { 'near | go | 0': 1 } } }))
    const [head, row] = text.split('\n')
    expect(head).toMatch(/^machine +kind +states/)
    expect(row).toMatch(/^sample +protocol +4 +3 +7 +1\/6 \(16 %\) +0 +0$/)
    expect(text).toContain('sample: no test takes near × go × 1')
  })

  it('reads coverage, and nothing else', () => {
    const coverage = { at: 1, files: 2, taken: { sample: {} } }
    expect(readCoverage(JSON.stringify(coverage))).toEqual(coverage)
    for (const text of ['', 'null', '{}', '[]', '{"at":1}']) expect(readCoverage(text)).toBeUndefined()
  })
})

describe('the difference of two versions', () => {
  const changed: Chart = {
    ...sampleChart,
    states: sampleChart.states
      .filter(({ path }) => path !== 'gone')
      .map(state => (state.path === 'near' ? { ...state, spec: ['B09'] } : state))
      .concat({ ...(sampleChart.states[1] as Chart['states'][number]), path: 'here', key: 'here' }),
    transitions: sampleChart.transitions
      .filter(({ target, source }) => target !== 'gone' && source !== 'gone')
      .map(transition => (transition.event === 'back' ? { ...transition, target: 'here' } : transition)),
  }

  it('marks states and transitions that came, went and changed, and draws all of them', () => {
    const { chart, states, transitions, differences } = diffCharts(sampleChart, changed)
    expect(Object.fromEntries(states)).toEqual({ near: 'changed', here: 'added', gone: 'removed' })
    expect(Object.fromEntries(transitions)).toEqual({
      'far | back | 0': 'added',
      'was far | back | 0': 'removed',
      'was (any) | leave | 0': 'removed',
      'was gone | leave | 0': 'removed',
    })
    expect(differences).toBe(7)
    expect(chart.states.find(({ path }) => path === '')?.children.toSorted()).toEqual(['far', 'gone', 'here', 'near'])
  })

  it('does not take a transition for another one because its place among others has changed', () => {
    const reordered = { ...sampleChart, transitions: sampleChart.transitions.toReversed() }
    expect(diffCharts(sampleChart, reordered).differences).toBe(0)
    expect(diffCharts(sampleChart, sampleChart).differences).toBe(0)
  })

  it('adds or removes a machine as a whole', () => {
    expect([...diffCharts(undefined, sampleChart).states.values()]).toEqual(Array(5).fill('added'))
    expect([...diffCharts(sampleChart, undefined).transitions.values()]).toEqual(Array(7).fill('removed'))
  })
})
