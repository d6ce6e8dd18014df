import { afterEach, describe, expect, it } from 'vitest'
import { type Agent, openAgent } from '../../src/index.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { type AgentWorld, agentWorld } from '../support/agentWorld.js'
import { scriptedWorld } from '../support/scriptedWorld.js'

let world: AgentWorld
let opened: Agent | undefined
afterEach(async () => {
  await opened?.close()
  opened = undefined
  await world.close()
})

describe('what an agent refuses, with a code and the field', () => {
  it('routers whose fingerprint is not a whole SHA-256', async () => {
    world = agentWorld()
    const opening = openAgent({ store: { open: openMemoryStore() }, routers: ['smp://abcd@localhost'] })
    await expect(opening).rejects.toMatchObject({ code: 'CONFIG_ROUTER', field: 'routers' })
  })

  it('a confirmation that is not of the connection, also when it was allowed already', async () => {
    world = agentWorld()
    const router = await world.startRouter()
    const alice = await world.startAgent('alice', [router])
    const bob = await world.startAgent('bob', [router])
    const { connectionId, link } = await alice.agent.createConnection({})
    await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF')
    const wrong = { code: 'CONFIRMATION_NOT_FOUND', field: 'confirmationId' }
    const allow = (id: string) => alice.agent.allowConnection({ connectionId, confirmationId: id })
    await expect(allow('other')).rejects.toMatchObject(wrong)
    await allow(confirmationId)
    await expect(allow('other')).rejects.toMatchObject(wrong)
    await allow(confirmationId)
    await alice.next('CON')
  })
})

it('a router that answers NEW with something else is told as that, by the steps of a handshake too', async () => {
  const scripted = await scriptedWorld()
  world = scripted
  const alice = await scripted.start('alice')
  const bob = await scripted.start('bob')
  const { link } = await alice.agent.createConnection({})
  scripted.router.react = ({ command }) => (command.type === 'NEW' ? { type: 'PONG' } : undefined)
  const { connectionId } = await bob.agent.joinConnection({ link })
  expect((await bob.next('ERR', connectionId)).error).toMatchObject({ code: 'SMP_UNEXPECTED' })
})

it('an event log whose oldest unread event is too old stops receiving, until it is acknowledged', async () => {
  world = agentWorld()
  const router = await world.startRouter()
  const alice = await world.startAgent('alice', [router])
  const bob = await world.startAgent('bob', [router], { config: { maxUnreadAgeMs: 60_000 } })
  const { initiatorId, joinerId } = await world.connect(alice, bob)
  await world.clock.advance(61_000)
  await alice.agent.sendMessage({ connectionId: initiatorId, body: 'one' })
  await alice.agent.sendMessage({ connectionId: initiatorId, body: 'two' })
  const first = await bob.next('MSG', joinerId)
  await bob.agent.ackMessage({ connectionId: joinerId, messageId: first.messageId })
  await world.clock.advance(5_000)
  expect(bob.events.filter(event => event.type === 'MSG')).toHaveLength(1)
  await bob.agent.ackEvents({ upTo: first.cursor })
  await bob.next('MSG', joinerId)
})
