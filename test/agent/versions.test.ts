/** B20: the agreed version of a connection rises with what the other party says it speaks, and never falls. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import { connections } from '../../src/store/agent/connections.js'
import type { TestAgent } from '../support/agentWorld.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

const versionOf = async (agent: TestAgent): Promise<number | undefined> =>
  (await agent.store.find(connections, {}))[0]?.agentVersion

it('B20 B38 a peer of version 3 gets no receipt; when it says that it speaks 4, the next message gets one', async () => {
  const alice = await world.start('alice', { config: { agentVersions: { min: 2, max: 7 } } })
  const { connectionId, confirmationId, peer } = await world.invite(alice, { agentVersion: 3 })
  await alice.agent.allowConnection({ connectionId, confirmationId })
  await alice.next('CON')
  const repliesTo = world.router.queues.at(-1)?.senderId ?? Buffer.of()
  const receipts = () =>
    world.router.all('SEND').filter(({ entityId }) => Buffer.compare(entityId, repliesTo) === 0).length - 1
  const exchange = async (body: string) => {
    await peer.say(body)
    const { messageId, integrity } = await alice.next('MSG')
    expect(integrity).toEqual({ result: 'ok' })
    await alice.agent.ackMessage({ connectionId, messageId, receipt: '' })
    await world.clock.settle()
    return [await versionOf(alice), receipts()]
  }
  expect(await exchange('3')).toEqual([3, 0])
  peer.agentVersion = 4
  expect(await exchange('4')).toEqual([4, 1])
  peer.agentVersion = 2
  expect(await exchange('2, which changes nothing')).toEqual([4, 2])
  peer.agentVersion = 1
  expect(await exchange('1, which is not spoken here')).toEqual([4, 3])
  peer.agentVersion = 9
  expect(await exchange('9, of which 7 is spoken here')).toEqual([7, 4])
})

it('B20 a message that does not decrypt raises nothing', async () => {
  const alice = await world.start('alice')
  const { connectionId, confirmationId, peer } = await world.invite(alice, { agentVersion: 6 })
  await alice.agent.allowConnection({ connectionId, confirmationId })
  await alice.next('CON')
  const back = peer.remember()
  await peer.say('one')
  const { messageId } = await alice.next('MSG')
  await alice.agent.ackMessage({ connectionId, messageId })
  back()
  peer.agentVersion = 7
  await peer.say('not one')
  await alice.next('RSYNC')
  expect(await versionOf(alice)).toBe(6)
})

it('B20 two agents of version 6 that are updated, one after the other, agree on 7 when both are', async () => {
  const old = { config: { agentVersions: { min: 6, max: 6 } } }
  let alice = await world.start('alice', old)
  let bob = await world.start('bob', old)
  const { initiatorId, joinerId } = await world.connect(alice, bob)
  const exchange = async () => {
    const sides = [
      [alice, initiatorId, bob, joinerId],
      [bob, joinerId, alice, initiatorId],
    ] as const
    for (const [from, fromId, to, toId] of sides) {
      await from.agent.sendMessage({ connectionId: fromId, body: 'x' })
      const { messageId } = await to.next('MSG', toId)
      await to.agent.ackMessage({ connectionId: toId, messageId })
    }
    return [await versionOf(alice), await versionOf(bob)]
  }
  expect(await exchange()).toEqual([6, 6])
  bob = await world.start('bob', { store: { open: bob.crash() } })
  await bob.agent.subscribe({})
  expect(await exchange()).toEqual([6, 6])
  alice = await world.start('alice', { store: { open: alice.crash() } })
  await alice.agent.subscribe({})
  expect(await exchange()).toEqual([7, 7])
})
