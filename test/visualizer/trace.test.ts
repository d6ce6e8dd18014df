import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  connectionsOf,
  eventText,
  isOfConnection,
  lastState,
  type TraceRecord,
  transitionsOf,
  unitsOf,
} from '../../src/visualizer/model/trace.js'
import { type LoadedTrace, TraceReader } from '../../src/visualizer/model/traceFile.js'
import { TraceTable } from '../../src/visualizer/model/traceTable.js'
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

/** Reads a file in pieces of so many characters. */
const read = (text: string, pieceLength = text.length + 1, most?: number): LoadedTrace => {
  const reader = new TraceReader(most)
  for (let from = 0; from < text.length; from += pieceLength) reader.push(text.slice(from, from + pieceLength))
  return reader.end()
}
const recordsOf = ({ table }: LoadedTrace): TraceRecord[] => table.view('').records(0, table.length)

describe('a trace file', () => {
  const good = [
    { ...summary('t'), wakes: ['delivery'], aggregates: ['c1', 'c2'] },
    transition('t', 'm', 'a', 'x', 'y'),
    { ...transition('', 'm', 'a', 'y', 'y'), intents: ['one', 'two'], facts: { status: 409, devices: [1, 2] } },
    { at: 0.5, traceId: 't', unit: 'u', error: 'CODE' },
  ]

  it.each([1, 7, 100_000])('comes back as it was written, in pieces of %i characters', pieceLength => {
    const text = good.map(record => JSON.stringify(record)).join('\r\n\n')
    const trace = read(text, pieceLength)
    expect(recordsOf(trace)).toEqual(good)
    expect(trace).toMatchObject({ bad: [], badCount: 0, leftOut: 0, cut: false })
  })

  it('tells each line that is no record, by its number and with the reason', () => {
    const lines = [
      JSON.stringify(summary('t')),
      '',
      'no json',
      '[1]',
      '{"at":"x","unit":"y"}',
      '{"at":1e300,"unit":"y"}',
      '{"at":1}',
      '{"at":1,"unit":"u","machine":1}',
      '{"at":1,"unit":"u","events":[1]}',
      '{"at":1,"unit":"u","facts":[]}',
      '{"at":1,"unit":"u","durations":{"lock":1}}',
      '{"leftOut":7}',
      JSON.stringify(transition('t', 'm', 'a', 'x', 'y')),
      '{"at":1,"unit":"cut off',
    ]
    const trace = read(lines.join('\n'))
    expect(recordsOf(trace)).toEqual([summary('t'), transition('t', 'm', 'a', 'x', 'y')])
    expect(trace.leftOut).toBe(7)
    expect(trace.bad.map(({ line, why }) => `${line}: ${why}`)).toEqual([
      '3: it is no JSON',
      '4: it is no JSON object',
      '5: `at` is no time in ms',
      '6: `at` is no time in ms',
      '7: `unit` is no text',
      '8: `machine` is no text',
      '9: `events` is no list of texts',
      '10: `facts` is no object',
      '11: `durations` has no numbers for lock, compute and commit',
      '14: it is no JSON',
    ])
    expect(trace.bad[0]?.text).toBe('no json')
  })

  it('is read on behind a line that has no end, and keeps no more than it may', () => {
    const trace = read(`${'x'.repeat(3_000_000)}\n${JSON.stringify(summary('t'))}\n`, 65_536)
    expect(trace.bad).toEqual([{ line: 1, why: 'it is longer than 1 MiB', text: 'x'.repeat(80) }])
    expect(recordsOf(trace)).toEqual([summary('t')])
    const many = read('x\n'.repeat(500))
    expect([many.bad.length, many.badCount]).toEqual([100, 500])
    const cut = read(`${JSON.stringify(summary('t'))}\n`.repeat(5), 1_000, 3)
    expect([cut.table.length, cut.cut]).toEqual([3, true])
  })
})

describe('a moment of a trace', () => {
  const anyState = fc.constantFrom('a', 'b', undefined)
  const anyRecord = fc.record({
    machine: fc.constantFrom('m', 'n'),
    id: fc.constantFrom('1', '2', '3'),
    to: anyState,
  })

  it('is what the records before it say, actor by actor, in the whole and in one connection', () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { maxLength: 40 }), fc.nat(), (steps, seed) => {
        const records = steps.map(
          ({ machine, id, to }, at): TraceRecord => ({
            at,
            traceId: '',
            unit: 'u',
            machine,
            id,
            event: 'e',
            ...(to === undefined ? {} : { to }),
            aggregates: [`of ${id}`],
          }),
        )
        const table = new TraceTable()
        for (const record of records) table.add(record)
        const before = records.length === 0 ? 0 : seed % (records.length + 1)
        for (const connectionId of ['', 'of 2']) {
          const seen = records.slice(0, before).filter(record => isOfConnection(record, connectionId))
          const states = new Map<string, string>()
          for (const { machine, id, to } of seen) {
            const key = `${machine} ${id}`
            states.set(key, to ?? states.get(key) ?? '')
          }
          const counts = table.counts(connectionId, before)
          expect(counts.reduce((sum, { count }) => sum + count, 0)).toBe(states.size)
          for (const [key, state] of states) {
            const [machine = '', id = ''] = key.split(' ')
            expect(table.stateOf({ machine, id }, before)).toBe(state)
            expect(table.list({ machine, state }, connectionId, before, 99)).toContainEqual({ id, state })
            const own = seen.filter(record => record.machine === machine && record.id === id)
            expect(table.history({ machine, id }, before, 2).map(number => table.record(number))).toEqual(own.slice(-2))
          }
          const view = table.view(connectionId)
          expect(view.records(0, view.length)).toEqual(records.filter(record => isOfConnection(record, connectionId)))
        }
      }),
    )
  })

  it('is found in a trace that is longer than the room it begins with', () => {
    const table = new TraceTable()
    for (let at = 0; at < 5_000; at++)
      table.add({ at, traceId: '', unit: 'u', machine: 'm', id: 'x', to: `s${at % 7}` })
    expect(table.record(4_999)).toMatchObject({ at: 4_999, to: `s${4_999 % 7}` })
    expect(table.counts('', 1_026)).toEqual([{ machine: 'm', state: `s${1_025 % 7}`, count: 1 }])
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

  it('keys of units differ where a unit without its own record is followed by what belongs to none', () => {
    const units = unitsOf([transition('t1', 'queue', 'a', 'x', 'y'), transition('', 'worker', 'w', '', 'idle')])
    expect(units).toHaveLength(2)
    expect(new Set(units.map(({ key }) => key)).size).toBe(2)
  })

  it('its connections, and the last state that its records tell', () => {
    expect(lastState(records.filter(({ id }) => id === 'a'))).toBe('z')
    expect(lastState([summary('t')])).toBeUndefined()
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
