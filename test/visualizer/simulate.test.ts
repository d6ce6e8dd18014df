import { describe, expect, it } from 'vitest'
import { chartOf } from '../../src/visualizer/model/chart.js'
import { machines } from '../../src/visualizer/model/machines.js'
import {
  begin,
  branchesFor,
  enteredPaths,
  possibleNow,
  replay,
  runtimeGuards,
  statePath,
  step,
} from '../../src/visualizer/model/simulate.js'
import { readWalk, walkText } from '../../src/visualizer/model/walkLink.js'
import { sample, sampleChart } from './sample.js'

const start = () => begin(sample, sampleChart)
const far = { type: 'go', far: true }

describe('a walk', () => {
  it('takes events, notes what was done and changes the context', () => {
    const walked = step(start(), far)
    expect(statePath(walked.snapshot)).toBe('far.resting')
    expect([...enteredPaths(walked.snapshot)]).toEqual(['', 'far', 'far.resting'])
    expect(walked.steps).toEqual([
      {
        event: far,
        from: 'near',
        to: 'far.resting',
        taken: ['near | go | 0'],
        actions: [
          { name: 'tell', params: { whom: 'all' } },
          { name: 'enter', params: undefined },
        ],
        context: { count: 1 },
        blocked: [],
      },
    ])
    const back = step(walked, { type: 'xstate.after.soon.sample.far.resting' })
    expect(statePath(back.snapshot)).toBe('near')
  })

  it('may begin in any state with any context, and is the same when it is walked again', () => {
    const from = { state: 'near', context: { count: 3 } }
    const walked = step(begin(sample, sampleChart, from), far)
    expect(walked.steps[0]?.taken).toEqual(['near | go | 1'])
    expect(replay(sample, sampleChart, from, [far]).steps).toEqual(walked.steps)
    expect(() => begin(sample, sampleChart, { state: 'nowhere' })).toThrow()
  })

  it('asks the reader where only the runtime knows the answer', () => {
    expect(runtimeGuards(sample.machine)).toEqual(['mayLeave'])
    expect(statePath(step(start(), { type: 'leave' }).snapshot)).toBe('near')
    const allowed = begin(sample, sampleChart, { answers: { mayLeave: true } })
    expect(statePath(step(allowed, { type: 'leave' }).snapshot)).toBe('gone')
  })

  it.each(machines)('of $name: everything that is offered can be sent', named => {
    const chart = chartOf(named.machine)
    let simulation = begin(named, chart)
    for (const { ignored, variants } of possibleNow(simulation, named)) {
      if (ignored !== undefined) continue
      for (const variant of variants) {
        const next = step(simulation, variant)
        expect(chart.states.map(({ path }) => path)).toContain(statePath(next.snapshot))
      }
    }
    simulation = begin(named, chart)
    expect(simulation.steps).toEqual([])
  })
})

describe('what can happen', () => {
  it('is every event: those that are handled with their variants, then those that are ignored with the reason', () => {
    expect(
      possibleNow(start(), sample).map(({ label, variants, ignored }) => [label, variants.length, ignored]),
    ).toEqual([
      ['leave', 1, undefined],
      ['go', 2, undefined],
      ['back', 1, 'it is here'],
    ])
    const resting = step(start(), far)
    expect(possibleNow(resting, sample).map(({ label, ignored }) => [label, ignored])).toEqual([
      ['leave', undefined],
      ['back', undefined],
      ['after soon', undefined],
      ['go', 'it is far'],
    ])
  })

  it.each(machines)('of $name: no event is left without a word', named => {
    const chart = chartOf(named.machine)
    for (const { path, children } of chart.states) {
      if (path === '' || children.length > 0) continue
      const here = possibleNow(begin(named, chart, { state: path }), named)
      expect(here.filter(({ ignored }) => ignored?.startsWith('not handled here') === true)).toEqual([])
    }
  })
})

describe('a guard that blocks', () => {
  it('says what it has read and what it would have needed', () => {
    const [first, second, third] = branchesFor(start(), { type: 'go', far: false }, sample)
    expect(first).toMatchObject({
      taken: false,
      behind: false,
      answer: { holds: false, read: ['event.far = false', 'context.count = 0'], wouldHold: ['far = true'] },
    })
    expect(second?.answer).toMatchObject({ holds: false, read: ['context.count = 0'], wouldHold: [] })
    expect(third).toMatchObject({ taken: true, answer: undefined })
  })

  it('is told of with the step that did nothing', () => {
    const blocked = step(start(), { type: 'leave' })
    expect(blocked.steps).toMatchObject([
      { from: 'near', to: 'near', taken: [], blocked: [{ guard: 'mayLeave', read: [] }] },
    ])
    expect(step(start(), { type: 'go', far: false }).steps).toMatchObject([{ taken: ['near | go | 2'], blocked: [] }])
  })

  it('is not asked behind the transition that is taken', () => {
    const branches = branchesFor(start(), far, sample)
    expect(branches.map(({ taken, behind }) => [taken, behind])).toEqual([
      [true, false],
      [false, true],
      [false, true],
    ])
  })
})

describe('a walk as a link', () => {
  it('comes back as it was, with any text in it', () => {
    const walk = { start: { state: 'near', context: { count: 1 } }, events: [{ type: 'go', note: 'ü ≠ 😀' }] }
    expect(walkText(walk)).toMatch(/^[\w-]+$/)
    expect(readWalk(walkText(walk))).toEqual(walk)
  })

  it.each([
    '',
    'x',
    '!!!',
    walkText({ start: {}, events: [] }).slice(0, 3),
    btoa('[1,2]'),
    btoa('[{},[{"no":1}]]'),
    'a'.repeat(100_001),
  ])('is refused when it is none: %#', text => {
    expect(readWalk(text)).toBeUndefined()
  })
})
