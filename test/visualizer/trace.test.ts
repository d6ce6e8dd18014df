import { describe, expect, it } from 'vitest'
import {
  actorsOf,
  connectionsOf,
  eventText,
  isOfConnection,
  parseTrace,
  type TraceRecord,
  transitionsOf,
  unitsOf,
} from '../../src/visualizer/model/trace.js'
import { sampleChart } from './sample.js'

const transition = (traceId: string, machine: string, id: string, from: string, to: string): TraceRecord => ({
  at: 1,
  traceId,
  unit: 'work',
  machine,
  id,
  event: 'go',
  from,
  to,
  aggregates: [`of ${id}`],
})
const summary = (traceId: string): TraceRecord => ({
  at: 2,
  traceId,
  unit: 'work',
  events: ['CON'],
  durations: { lock: 1, compute: 2, commit: 3 },
})

describe('a trace file', () => {
  it('is read line by line; what is no record is counted', () => {
    const lines = [
      JSON.stringify(summary('t')),
      '',
      'no json',
      '[1]',
      '{"at":"x","unit":"y"}',
      '{"at":1,"unit":"u","events":[1]}',
      '{"at":1,"unit":"u","durations":{"lock":1}}',
      '{"leftOut":7}',
      JSON.stringify(transition('t', 'm', 'a', 'x', 'y')),
    ]
    const { records, bad, leftOut } = parseTrace(lines.join('\n'))
    expect(records).toEqual([summary('t'), transition('t', 'm', 'a', 'x', 'y')])
    expect({ bad, leftOut }).toEqual({ bad: 5, leftOut: 7 })
  })
})

describe('what a trace tells', () => {
  const records = [
    transition('t1', 'queue', 'a', 'x', 'y'),
    transition('t1', 'connection', 'c', 'new', 'rcv'),
    summary('t1'),
    transition('', 'worker', 'w', '', 'idle'),
    transition('t2', 'queue', 'a', 'y', 'z'),
    transition('t3', 'queue', 'b', 'x', 'y'),
    summary('t3'),
  ]

  it('units of work with their transitions and their own record; what belongs to none stands alone', () => {
    expect(unitsOf(records).map(({ transitions, summary }) => [transitions.length, summary !== undefined])).toEqual([
      [2, true],
      [1, false],
      [1, false],
      [1, true],
    ])
    const keys = unitsOf(records).map(({ key }) => key)
    expect(new Set(keys).size).toBe(keys.length)
    // The keys stay as records at the front go.
    expect(unitsOf(records.slice(3), 3).map(({ key }) => key)).toEqual(keys.slice(1))
  })

  it('actors with the state at its end, and the connections', () => {
    expect(actorsOf(records).map(({ machine, id, state, records }) => [machine, id, state, records.length])).toEqual([
      ['queue', 'a', 'z', 2],
      ['connection', 'c', 'rcv', 1],
      ['worker', 'w', 'idle', 1],
      ['queue', 'b', 'y', 1],
    ])
    expect(connectionsOf(records)).toEqual(['of a', 'of c', 'of w', 'of b'])
    expect(records.filter(record => isOfConnection(record, 'of a'))).toHaveLength(2)
    expect(records.filter(record => isOfConnection(record, ''))).toHaveLength(records.length)
  })

  it('which transitions of a chart a record can have been', () => {
    const record = { ...transition('t', 'sample', 's', 'near', 'far.resting'), event: 'go' }
    expect(transitionsOf(record, sampleChart.transitions)).toEqual(['near | go | 0'])
    const stays = { ...record, to: 'near' }
    expect(transitionsOf(stays, sampleChart.transitions)).toEqual(['near | go | 1', 'near | go | 2'])
  })

  it('events of timers and of invoked work by short names', () => {
    expect(eventText('xstate.done.actor.0.commandWorker.running')).toBe('work done')
    expect(eventText('xstate.error.actor.0.commandWorker.running')).toBe('work failed')
    expect(eventText('xstate.after.slow.sndQueueDelivery.waiting.slow')).toBe('after slow')
    expect(eventText('queue.created')).toBe('queue.created')
  })
})
