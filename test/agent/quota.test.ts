import { afterEach, expect, it } from 'vitest'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'

let world: AgentWorld
afterEach(() => world.close())

const ackAll = (side: TestAgent, connectionId: string, got: string[]): void => {
  const acked = new Set<number>()
  void (async () => {
    for await (const event of side.agent.events({ consumer: 'default' })) {
      if (event.type !== 'MSG' || acked.has(event.messageId)) continue
      acked.add(event.messageId)
      got.push(textOf(event.body))
      await side.agent.ackMessage({ connectionId, messageId: event.messageId })
    }
  })()
}

it('B41 B45 both queues of a connection over quota: when both sides read again, everything goes on at once and in order', async () => {
  world = agentWorld()
  const router = await world.startRouter({ messageQuota: 4 })
  const alice = await world.startAgent('alice', [router])
  const bob = await world.startAgent('bob', [router])
  const { initiatorId, joinerId } = await world.connect(alice, bob)
  const numbers = Array.from({ length: 12 }, (_, index) => String(index))
  for (const body of numbers) {
    await alice.agent.sendMessage({ connectionId: initiatorId, body })
    await bob.agent.sendMessage({ connectionId: joinerId, body })
  }
  await alice.next('MWARN')
  await bob.next('MWARN')
  const atAlice: string[] = []
  const atBob: string[] = []
  const startedAt = world.clock.now()
  ackAll(alice, initiatorId, atAlice)
  ackAll(bob, joinerId, atBob)
  await world.until(() => atAlice.length >= 12 && atBob.length >= 12, 'all messages on both sides')
  expect(atAlice).toEqual(numbers)
  expect(atBob).toEqual(numbers)
  expect(world.clock.now() - startedAt).toBeLessThan(60_000)
})
