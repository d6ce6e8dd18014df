import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Router } from '../../src/router/router.js'
import { rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'

let world: AgentWorld
let first: Router
let second: Router
let alice: TestAgent
let bob: TestAgent
let ids: { initiatorId: string; joinerId: string }

beforeEach(async () => {
  world = agentWorld()
  first = await world.startRouter()
  second = await world.startRouter()
  alice = await world.startAgent('alice', [first])
  bob = await world.startAgent('bob', [first])
  ids = await world.connect(alice, bob)
})
afterEach(() => {
  world.network.setLatency(0)
  return world.close()
})

const place = ({ address }: Router): string => address.slice(address.indexOf('@') + 1)
const connectionOf = (side: TestAgent): string => (side === alice ? ids.initiatorId : ids.joinerId)
const phases = ({ events }: TestAgent, direction: 'rcv' | 'snd'): string[] =>
  events.flatMap(event => (event.type === 'SWITCH' && event.direction === direction ? [event.phase] : []))
const states = ({ events }: TestAgent): string[] =>
  events.flatMap(event => (event.type === 'RSYNC' ? [event.state] : []))
const errors = ({ events }: TestAgent): string[] =>
  events.flatMap(event => (event.type === 'ERR' ? [event.error.message] : []))

const reading = (side: TestAgent): string[] => {
  const got: string[] = []
  void (async () => {
    for await (const event of side.agent.events()) {
      if (event.type !== 'MSG') continue
      got.push(textOf(event.body))
      await side.agent.ackMessage({ connectionId: event.connectionId, messageId: event.messageId }).catch(() => {})
    }
  })().catch(() => {})
  return got
}

/** Where the switch of Alice’s queue stands when the synchronisation starts: what an event of one side has just told. */
const moments = [
  { at: 'the new queue is being made', seen: () => true },
  { at: 'QADD is on its way', seen: () => phases(alice, 'rcv').includes('started') },
  { at: 'QKEY is on its way', seen: () => phases(bob, 'snd').includes('started') },
  { at: 'QKEY has come', seen: () => phases(alice, 'rcv').includes('confirmed') },
  { at: 'QUSE is on its way', seen: () => phases(alice, 'rcv').includes('secured') },
  { at: 'QTEST is on its way', seen: () => phases(bob, 'snd').includes('secured') },
  { at: 'QTEST is at the router', seen: () => phases(bob, 'snd').includes('completed') },
] as const

describe('a ratchet synchronisation during a switch', { timeout: 60_000 }, () => {
  for (const { at, seen } of moments) {
    for (const name of ['alice', 'bob', 'both'] as const) {
      it(`B76 started by ${name} when ${at}: both come to their end, and nothing is lost, twice or out of order`, async () => {
        const [atAlice, atBob] = [reading(alice), reading(bob)]
        world.network.setLatency(50)
        for (const [side, body] of [
          [alice, 'a0'],
          [bob, 'b0'],
          [bob, 'b1'],
        ] as const)
          await side.agent.sendMessage({ connectionId: connectionOf(side), body })
        await alice.agent.switchConnection({ connectionId: ids.initiatorId, router: second.address })
        await world.until(seen, at)
        const starters = name === 'both' ? [alice, bob] : [name === 'alice' ? alice : bob]
        await Promise.all(
          starters.map(side => side.agent.synchronizeRatchet({ connectionId: connectionOf(side), force: true })),
        )
        const ended = () =>
          phases(alice, 'rcv').at(-1) === 'completed' &&
          phases(bob, 'snd').at(-1) === 'completed' &&
          [alice, bob].every(side => states(side).at(-1) === 'ok')
        await world.until(
          ended,
          `both (rcv ${phases(alice, 'rcv').join()}, snd ${phases(bob, 'snd').join()}, alice ${states(alice).join()} ${errors(alice).join()}, bob ${states(bob).join()} ${errors(bob).join()})`,
        )
        for (const [side, body] of [
          [alice, 'a1'],
          [bob, 'b2'],
        ] as const)
          await side.agent.sendMessage({ connectionId: connectionOf(side), body })
        await world.until(() => atAlice.includes('b2') && atBob.includes('a1'), 'the messages after it')
        world.network.setLatency(0)
        await world.clock.advance(60_000)
        expect(atAlice).toEqual(['b0', 'b1', 'b2'])
        expect(atBob).toEqual(['a0', 'a1'])
        expect(await alice.store.find(rcvQueues, {})).toMatchObject([{ router: second.address, primary: true }])
        expect(await bob.store.find(sndQueues, {})).toMatchObject([{ router: second.address, primary: true }])
        expect([...errors(alice), ...errors(bob)]).toEqual([])
      })
    }
  }

  for (const name of ['alice', 'bob'] as const) {
    it(`B76 B78 started by ${name} while the new queue’s router is away: what waited for that queue arrives, though the key comes on the old one`, async () => {
      const atAlice = reading(alice)
      world.network.setLatency(50)
      await alice.agent.switchConnection({ connectionId: ids.initiatorId, router: second.address })
      await world.until(() => phases(bob, 'snd').includes('secured'), 'QUSE at Bob')
      world.network.setReachable(place(second), 'refuses')
      for (const link of world.network.links({ place: place(second) })) link.cut()
      const bodies = ['b0', 'b1', 'b2']
      for (const body of bodies) await bob.agent.sendMessage({ connectionId: ids.joinerId, body })
      await world.clock.advance(60_000)
      expect(atAlice).toEqual([])
      const starter = name === 'alice' ? alice : bob
      await starter.agent.synchronizeRatchet({ connectionId: connectionOf(starter), force: true })
      const agreed = () => [alice, bob].every(side => ['agreed', 'ok'].includes(states(side).at(-1) ?? ''))
      await world.until(agreed, 'the new ratchets')
      world.network.setReachable(place(second), 'answers')
      const inStep = () => [alice, bob].every(side => states(side).at(-1) === 'ok')
      await world.until(inStep, 'the end of the synchronisation')
      expect(atAlice).toEqual(bodies)
      await world.until(() => phases(bob, 'snd').at(-1) === 'completed', 'the end of the switch')
      await bob.agent.sendMessage({ connectionId: ids.joinerId, body: 'b3' })
      await world.until(() => atAlice.includes('b3'), 'the message after it')
      await world.clock.advance(60_000)
      expect(atAlice).toEqual([...bodies, 'b3'])
      expect(states(alice).at(-1)).toBe('ok')
      expect([...errors(alice), ...errors(bob)]).toEqual([])
      expect(await bob.store.find(deliveries, {})).toEqual([])
      expect(await alice.store.find(rcvQueues, {})).toMatchObject([{ router: second.address, primary: true }])
    })
  }
})
