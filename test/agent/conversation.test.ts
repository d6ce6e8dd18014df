import { afterEach, describe, expect, it } from 'vitest'
import { type AgentWorld, agentWorld, textOf } from '../support/agentWorld.js'

let world: AgentWorld
afterEach(() => world.close())

describe('a conversation', () => {
  it('B11 fast handshake: CONF, INFO and CON once each, at the right side', async () => {
    world = agentWorld()
    const router = await world.startRouter()
    const alice = await world.startAgent('alice', [router])
    const bob = await world.startAgent('bob', [router])
    await world.connect(alice, bob)
    expect(alice.events.map(event => event.type)).toEqual(['CONF', 'CON'])
    expect(bob.events.map(event => event.type)).toEqual(['INFO', 'CON'])
    const [conf] = alice.events
    const [info] = bob.events
    expect(conf?.type === 'CONF' && textOf(conf.info)).toBe('joiner')
    expect(info?.type === 'INFO' && textOf(info.info)).toBe('initiator')
  })

  it('messages go both ways, in order, and the first is number 2', async () => {
    world = agentWorld()
    const router = await world.startRouter()
    const alice = await world.startAgent('alice', [router])
    const bob = await world.startAgent('bob', [router])
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    for (let index = 0; index < 20; index++) {
      const sent = await alice.agent.sendMessage({ connectionId: initiatorId, body: `to bob ${index}` })
      if (index === 0) expect(sent.messageId).toBe(2)
      const message = await bob.next('MSG', joinerId)
      expect(textOf(message.body)).toBe(`to bob ${index}`)
      expect(message.integrity).toEqual({ result: 'ok' })
      await bob.agent.ackMessage({ connectionId: joinerId, messageId: message.messageId })
      await alice.next('SENT', initiatorId)
      await bob.agent.sendMessage({ connectionId: joinerId, body: `to alice ${index}` })
      const answer = await alice.next('MSG', initiatorId)
      expect(textOf(answer.body)).toBe(`to alice ${index}`)
      await alice.agent.ackMessage({ connectionId: initiatorId, messageId: answer.messageId })
    }
    expect(alice.events.filter(event => event.type === 'ERR')).toEqual([])
    expect(bob.events.filter(event => event.type === 'ERR')).toEqual([])
  })
})
