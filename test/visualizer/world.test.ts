import { describe, expect, it } from 'vitest'
import { walks } from '../../machines/walks.js'
import { scenarios } from '../../src/visualizer/model/world/scenarios.js'
import type { Entry, Scenario } from '../../src/visualizer/model/world/types.js'
import { inputsText, readInputs, World, worldAfter } from '../../src/visualizer/model/world/world.js'

const scenario = (id: string): Scenario => {
  const found = scenarios.find(one => one.id === id)
  if (found === undefined) throw new Error(id)
  return found
}

/** Plays until nothing is left, or only timers for ever. */
const playOut = (world: World, most = 400): World => {
  for (let steps = 0; steps < most && world.next !== undefined; steps++) world.step()
  return world
}

const told = (world: World, side: 'alice' | 'bob'): string[] =>
  world.entries.flatMap(entry => (entry.kind === 'told' && entry.side === side ? [entry.word] : []))

const stateOf = (world: World, side: 'alice' | 'bob', machine: string): string | undefined =>
  world.actors.find(actor => actor.side === side && actor.machine === machine)?.state

/** Steps until a message with this word is on its way. */
const until = (world: World, word: string): number => {
  for (let steps = 0; steps < 200; steps++) {
    const wire = world.wires.find(one => one.word === word)
    if (wire !== undefined) return wire.id
    world.step()
  }
  throw new Error(`${word} never came`)
}

describe('scenarios', () => {
  it.each(scenarios)('$title ends, and the same inputs give the same world', scenario => {
    const world = playOut(new World(scenario))
    expect(world.next).toBeUndefined()
    expect(playOut(new World(scenario)).entries).toEqual(world.entries)
  })

  it('fast handshake: CONF, INFO and CON once each, and both connections end connected', () => {
    const world = playOut(new World(scenario('fast-handshake')))
    expect(told(world, 'alice')).toEqual(['CONF', 'CON', 'SENT', 'MSG'])
    expect(told(world, 'bob')).toEqual(['INFO', 'CON', 'MSG', 'SENT'])
    for (const side of ['alice', 'bob'] as const) expect(stateOf(world, side, 'connection')).toBe('connected')
  })

  it('legacy handshake: KEY on both sides, a HELLO from each, CON once', () => {
    const world = playOut(new World(scenario('legacy-handshake')))
    expect(told(world, 'alice')).toEqual(['CONF', 'CON', 'SENT', 'MSG'])
    expect(told(world, 'bob')).toEqual(['INFO', 'CON', 'MSG', 'SENT'])
    const sent = (word: string): string[] =>
      world.entries.filter(isSent(word)).map(entry => (entry.kind === 'wire' ? entry.wire.from : ''))
    expect(sent('KEY')).toEqual(['alice', 'bob'])
    expect(sent('SKEY')).toEqual([])
    for (const side of ['alice', 'bob'] as const) expect(stateOf(world, side, 'connection')).toBe('connected')
  })

  it.each(['NEW', 'SEND', 'MSG', 'KEY', 'OK', 'ACK'])('legacy handshake comes to its end when a %s is lost', word => {
    const world = new World(scenario('legacy-handshake'))
    world.apply({ do: 'drop', wire: until(world, word) })
    playOut(world)
    for (const side of ['alice', 'bob'] as const) expect(stateOf(world, side, 'connection')).toBe('connected')
  })

  it('contact address: REQ and CONF on the two sides, and who accepts is the joiner', () => {
    const world = playOut(new World(scenario('contact-address')))
    expect(told(world, 'alice')).toEqual(['REQ', 'INFO', 'CON', 'SENT', 'MSG'])
    expect(told(world, 'bob')).toEqual(['CONF', 'CON', 'MSG', 'SENT'])
    const alices = world.actors.filter(({ side, machine }) => side === 'alice' && machine === 'connection')
    expect(alices.map(({ actor, state }) => [actor, state])).toEqual([
      ['connection', 'connected'],
      ['contact address', 'contact'],
    ])
  })

  it.each(['NEW', 'SEND', 'MSG', 'SKEY', 'OK', 'ACK'])('contact address comes to its end when a %s is lost', word => {
    const world = new World(scenario('contact-address'))
    world.apply({ do: 'drop', wire: until(world, word) })
    playOut(world)
    for (const side of ['alice', 'bob'] as const) {
      expect(stateOf(world, side, 'connection')).toBe('connected')
      for (const once of ['REQ', 'CONF', 'INFO', 'CON', 'MSG']) {
        expect(told(world, side).filter(word => word === once).length, `${side} ${once}`).toBeLessThanOrEqual(1)
      }
    }
  })

  const phases = (world: World, side: 'alice' | 'bob', word: string): string[] =>
    world.entries.flatMap(entry =>
      entry.kind === 'told' && entry.side === side && entry.word === word ? [entry.about] : [],
    )

  it('rotation: all phases in their order on both sides, and the old queue is gone', () => {
    const world = playOut(new World(scenario('rotation')))
    for (const side of ['alice', 'bob'] as const) {
      expect(phases(world, side, 'SWITCH')).toEqual(['started', 'confirmed', 'secured', 'completed'])
    }
    expect(told(world, 'bob').at(-1)).toBe('MSG')
    const queues = world.actors.filter(({ machine }) => machine === 'sndQueue' || machine === 'rcvQueue')
    expect(new Set(queues.map(({ actor }) => actor))).toEqual(new Set(['queue 1', 'queue 3']))
  })

  it.each(['NEW', 'SEND', 'MSG', 'KEY', 'DEL', 'OK', 'ACK'])('rotation comes to its end when a %s is lost', word => {
    const world = new World(scenario('rotation'))
    world.apply({ do: 'drop', wire: until(world, word) })
    playOut(world)
    for (const side of ['alice', 'bob'] as const) expect(phases(world, side, 'SWITCH').at(-1)).toBe('completed')
    expect(told(world, 'bob').filter(told => told === 'MSG')).toHaveLength(1)
  })

  it('rotation, aborted: the late QKEY is an error, and messages go on over the old queue', () => {
    const world = playOut(new World(scenario('rotation-abort')))
    expect(phases(world, 'bob', 'ERR')).toEqual(['QKEY for a queue that is not used'])
    expect(told(world, 'bob').at(-1)).toBe('MSG')
    expect(stateOf(world, 'bob', 'rcvQueueSwitch')).toBe('idle')
  })

  it('both synchronise at once: one receives, one sends, and messages flow both ways', () => {
    const world = playOut(new World(scenario('ratchet-sync')))
    const made = world.entries.flatMap(entry =>
      entry.kind === 'machine'
        ? entry.intents.filter(name => name.endsWith('Ratchet')).map(name => entry.side + name)
        : [],
    )
    expect(made.sort()).toEqual(['alicecreateReceivingRatchet', 'bobcreateSendingRatchet'])
    for (const side of ['alice', 'bob'] as const)
      expect(phases(world, side, 'RSYNC')).toEqual(['started', 'agreed', 'ok'])
    expect(told(world, 'alice').at(-1)).toBe('MSG')
    expect(told(world, 'bob')).toContain('MSG')
  })

  it('QUOTA, then QCONT: the wait ends at once, long before its delay', () => {
    const world = playOut(new World(scenario('quota')))
    expect(told(world, 'alice')).toEqual(['SENT', 'SENT', 'MWARN', 'QCONT', 'SENT'])
    expect(told(world, 'bob').filter(word => word === 'MSG')).toHaveLength(3)
    expect(world.entries.some(({ kind }) => kind === 'time')).toBe(false)
  })

  it('AUTH: there is one for each kind of message that the machine tells apart', () => {
    const types = walks
      .find(({ name }) => name === 'sndQueue')
      ?.events['message.unauthorized']?.map(event => String(event['messageType']))
    expect(scenarios.filter(({ id }) => id.startsWith('auth-')).map(({ title }) => title)).toEqual(
      [...new Set(types)].map(type => `AUTH for ${type}`),
    )
    expect(told(playOut(new World(scenario('auth-a-msg'))), 'alice')).toEqual(['MERR'])
    expect(told(playOut(new World(scenario('auth-conn-info'))), 'alice')).toContain('ERR')
    expect(phases(playOut(new World(scenario('auth-hello'))), 'bob', 'ERR')).toEqual(['CONN NOT_ACCEPTED'])
    expect(phases(playOut(new World(scenario('auth-qkey'))), 'alice', 'ERR')).toEqual(['QKEY was refused'])
  })
})

describe('messages moved by hand', () => {
  it('a lost answer to SKEY: the command is tried again with the same key, and the handshake completes', () => {
    const world = new World(scenario('fast-handshake'))
    until(world, 'SKEY')
    world.step()
    world.apply({ do: 'drop', wire: until(world, 'OK') })
    playOut(world)
    // Bob’s twice, Alice’s once.
    expect(world.entries.filter(isSent('SKEY')).length).toBe(3)
    expect(told(world, 'alice').filter(word => word === 'CON')).toHaveLength(1)
    expect(told(world, 'bob').filter(word => word === 'CON')).toHaveLength(1)
  })

  it.each(['SKEY', 'NEW', 'SEND', 'MSG', 'ACK', 'OK', 'IDS'])('a lost %s changes nothing about how it ends', word => {
    const world = new World(scenario('fast-handshake'))
    if (word === 'NEW' || word === 'IDS') until(world, 'SKEY')
    world.apply({ do: 'drop', wire: until(world, word) })
    playOut(world)
    expect(stateOf(world, 'alice', 'connection')).toBe('connected')
    expect(stateOf(world, 'bob', 'connection')).toBe('connected')
    expect(told(world, 'alice').filter(word => word === 'MSG')).toHaveLength(1)
    expect(told(world, 'bob').filter(word => word === 'MSG')).toHaveLength(1)
  })

  it('a message that comes twice is told once', () => {
    const world = new World(scenario('quota'))
    world.apply({ do: 'duplicate', wire: until(world, 'SEND') })
    playOut(world)
    expect(told(world, 'bob').filter(word => word === 'MSG')).toHaveLength(3)
  })

  it('a confirmation that comes twice is only acknowledged again', () => {
    const world = new World(scenario('fast-handshake'))
    until(world, 'SKEY')
    until(world, 'SEND')
    world.step()
    world.apply({ do: 'duplicate', wire: until(world, 'MSG') })
    playOut(world)
    expect(told(world, 'alice').filter(word => word === 'CONF')).toHaveLength(1)
  })

  it('a message that is held back waits until it is let go', () => {
    const world = new World(scenario('fast-handshake'))
    const wire = until(world, 'SKEY')
    world.apply({ do: 'hold', wire })
    expect(world.next).toBe('time passes: 30 s')
    world.apply({ do: 'hold', wire })
    world.apply({ do: 'deliver', wire })
    expect(world.entries.at(-1)).toMatchObject({ kind: 'wire', fate: 'arrived', wire: { word: 'SKEY' } })
  })

  it('are written into a link and read from it', () => {
    const inputs = [{ do: 'step' }, { do: 'step' }, { do: 'drop', wire: 2 }, { do: 'hold', wire: 3 }] as const
    expect(inputsText(inputs)).toBe('s.s.x2.h3')
    expect(readInputs('s.s.x2.h3')).toEqual(inputs)
    expect(readInputs('s.?.x.z9.x99999999')).toEqual([{ do: 'step' }])
    const world = worldAfter(scenario('fast-handshake'), inputs)
    expect(world.entries.some(({ kind }) => kind === 'does')).toBe(true)
  })
})

const isSent = (word: string) => (entry: Entry) =>
  entry.kind === 'wire' && entry.wire.word === word && entry.wire.to === 'router'
