import { getStateNodes } from 'xstate/graph'
import { describe, expect, it } from 'vitest'
import { behaviours } from '../../machines/behaviours.js'
import * as exported from '../../machines/index.js'
import { ancestry, chartOf, ignoresAt, textOf } from '../../src/visualizer/model/chart.js'
import { mermaidOf } from '../../src/visualizer/model/exports/mermaid.js'
import { scxmlOf } from '../../src/visualizer/model/exports/scxml.js'
import { machines, machinesOf } from '../../src/visualizer/model/machines.js'
import { capitals, textsAt, wireWords, wireWordsIn } from '../../src/visualizer/model/wire.js'
import { sampleChart } from './sample.js'

describe('the machines of the visualizer', () => {
  it('are all that the product exports, each with its walk, and no other', () => {
    const all = { ...exported.protocolMachines, ...exported.workerMachines }
    expect(machines.map(({ name }) => name)).toEqual(Object.keys(all))
    for (const { name, machine, walk } of machines) {
      expect(machine, name).toBe(all[name as keyof typeof all])
      expect(walk, name).toBeDefined()
    }
    expect(machines.filter(({ kind }) => kind === 'protocol').map(({ name }) => name)).toEqual(
      Object.keys(exported.protocolMachines),
    )
  })

  it('are found in whatever a module exports, by itself or in a group, once', () => {
    const { connectionMachine, rcvQueueMachine } = exported
    const module = { protocolMachines: { connection: connectionMachine }, connectionMachine, rcvQueueMachine, other: 1 }
    expect(machinesOf(module).map(({ name, kind }) => [name, kind])).toEqual([
      ['connection', 'protocol'],
      ['rcvQueue', 'worker'],
    ])
  })
})

describe('a chart', () => {
  it.each(machines)('of $name has every state and every transition of the machine', ({ machine }) => {
    const chart = chartOf(machine)
    const nodes = [machine.root, ...getStateNodes(machine.root)]
    expect(chart.states).toHaveLength(nodes.length)
    const definitions = nodes.flatMap(node => [...(node.always ?? []), ...[...node.transitions.values()].flat()])
    expect(chart.transitions).toHaveLength(definitions.length)
    expect(new Set(chart.transitions.map(({ id }) => id)).size).toBe(definitions.length)
    for (const { target } of chart.transitions) {
      if (target !== undefined) expect(chart.states.map(({ path }) => path)).toContain(target)
    }
  })

  it('tells what a state is: description, behaviours, entry, ignored events, the first state inside', () => {
    const far = sampleChart.states.find(({ path }) => path === 'far')
    expect(far).toMatchObject({ kind: 'compound', initial: 'far.resting', spec: ['B02'], children: ['far.resting'] })
    const resting = sampleChart.states.find(({ path }) => path === 'far.resting')
    expect(resting).toMatchObject({ parent: 'far', entry: [{ name: 'enter' }], exit: [], ignores: { go: 'it is far' } })
    expect(sampleChart.events).toEqual(['back', 'go', 'leave'])
  })

  it('reads guards, actions, delays and invoked work as they are written', () => {
    const text = (source: string) =>
      sampleChart.transitions
        .filter(transition => transition.source === source)
        .map(({ label, guard, actions, target = 'stays', reenter }) =>
          [label, guard === undefined ? '-' : textOf(guard), actions.map(textOf).join(' '), target, reenter].join(', '),
        )
    expect(text('near')).toEqual([
      'go, isFar and isFresh, count tell(all), far, false',
      'go, not isFresh, count, stays, false',
      'go, -, , near, true',
    ])
    expect(text('far.resting')).toEqual(['after soon, -, , near, false'])
    expect(text('')).toEqual(['leave, mayLeave, , gone, false'])
    const delivery = chartOf(exported.sndQueueDeliveryMachine)
    expect(delivery.transitions.map(({ label }) => label)).toEqual(
      expect.arrayContaining(['deliverNext done', 'deliverNext failed', 'after slow']),
    )
    expect(delivery.states.find(({ path }) => path === 'sending')?.invokes).toEqual(['deliverNext'])
  })

  it('collects the ignored events of the states around', () => {
    expect(ancestry('a.b.c')).toEqual(['', 'a', 'a.b', 'a.b.c'])
    expect(ignoresAt(sampleChart, 'far.resting')).toEqual({ go: 'it is far' })
    expect(ignoresAt(sampleChart, 'gone')).toMatchObject({ back: 'it has left' })
  })
})

describe('exports', () => {
  it('Mermaid: edges between the insides of states are drawn between the states around them, and say so', () => {
    expect(mermaidOf(sampleChart).split('\n')).toEqual([
      'stateDiagram-v2',
      '  direction TB',
      '  [*] --> near',
      '  state "any state" as any',
      '  state "near" as near',
      '  state "far" as far {',
      '    [*] --> far__resting',
      '    state "resting" as far__resting',
      '  }',
      '  state "gone" as gone',
      '  any --> gone : leave [mayLeave]',
      '  near --> far : go [isFar and isFresh] / count, tell(all)',
      '  near --> near : go',
      '  far --> near : back',
      '  far --> near : (far.resting) after soon',
      '',
    ])
  })

  it.each(machines)('Mermaid of $name has no label that would end early, and balanced braces', ({ machine }) => {
    const text = mermaidOf(chartOf(machine))
    for (const line of text.split('\n')) expect(line.split(' : ').slice(1).join(' ')).not.toMatch(/[:;#]/)
    expect(text.match(/\{$/gm)?.length ?? 0).toBe(text.match(/^\s*\}$/gm)?.length ?? 0)
  })

  it.each(machines)(
    'Mermaid of $name has one edge from a state to itself: of several it would draw the last',
    ({ machine }) => {
      const loops = [...mermaidOf(chartOf(machine)).matchAll(/^ *(\w+) --> \1 : /gm)].map(([, state]) => state)
      expect(new Set(loops).size).toBe(loops.length)
      const again = chartOf(machine).transitions.filter(({ source, target }) => source === target)
      expect(new Set(again.map(({ source }) => source)).size).toBeLessThanOrEqual(loops.length)
    },
  )

  it('SCXML: states, guards, timers and what is ignored, with text escaped', () => {
    const text = scxmlOf(sampleChart)
    expect(text).toContain('<state id="sample" initial="near">')
    expect(text).toContain('<transition event="leave" cond="mayLeave" target="gone" type="internal"/>')
    expect(text).toContain(
      '<send event="xstate.after.soon.sample.far.resting" id="xstate.after.soon.sample.far.resting" delayexpr="soon"/>',
    )
    expect(text).toContain('<duo:ignores event="back" reason="it is here"/>')
    expect(text).toContain('params="{&quot;whom&quot;:&quot;all&quot;}"')
    expect(text.match(/<state /g)).toHaveLength(5)
    expect(text.match(/<\/state>/g)).toHaveLength(5)
  })
})

it.each(machines)('every word of the wire that $name says is explained', ({ machine }) => {
  const chart = chartOf(machine)
  const titles = ({ spec }: { spec: readonly string[] }) =>
    spec.map(id => behaviours.find(behaviour => behaviour.id === id)?.title ?? '')
  const said = chart.states.flatMap(state => textsAt(chart, state, titles(state))).flatMap(capitals)
  expect([...new Set(said)].filter(word => wireWords[word] === undefined)).toEqual([])
})

it('words of the wire are explained where a text names them', () => {
  expect(wireWordsIn('until the other party says QCONT, not Qcont', 'SKEY').map(([word]) => word)).toEqual([
    'QCONT',
    'SKEY',
  ])
})
