/** suspendConnection: OFF at the routers, and everything else as it was. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connections, rcvQueues } from '../../src/store/agent/connections.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

describe('B91 suspendConnection with the bundled router', () => {
  let world: AgentWorld
  let alice: TestAgent
  let bob: TestAgent
  let aliceId: string
  let bobId: string
  beforeEach(async () => {
    world = agentWorld()
    const router = await world.startRouter()
    alice = await world.startAgent('alice', [router])
    bob = await world.startAgent('bob', [router])
    ;({ initiatorId: aliceId, joinerId: bobId } = await world.connect(alice, bob))
  })
  afterEach(() => world.close())

  it('B91 no more messages: the other party’s next one fails for good; what was there before still comes', async () => {
    for (const body of ['one', 'two']) await bob.agent.sendMessage({ connectionId: bobId, body })
    const first = await alice.next('MSG')
    await bob.next('SENT')
    await bob.next('SENT')
    expect(await alice.agent.suspendConnection({ connectionId: aliceId })).toEqual({})
    const { messageId } = await bob.agent.sendMessage({ connectionId: bobId, body: 'three' })
    expect(await bob.next('MERR')).toMatchObject({ messageId, error: { code: 'AUTH' } })
    await alice.agent.ackMessage({ connectionId: aliceId, messageId: first.messageId })
    const second = await alice.next('MSG')
    expect(textOf(second.body)).toBe('two')
    await alice.agent.ackMessage({ connectionId: aliceId, messageId: second.messageId })
    await world.clock.advance(60_000)
    expect(alice.events.filter(({ type }) => type === 'MSG')).toHaveLength(2)
  })

  it('B91 the connection stays: it sends, it is listed, it is subscribed after a restart, and it can be deleted', async () => {
    await alice.agent.suspendConnection({ connectionId: aliceId })
    await alice.agent.suspendConnection({ connectionId: aliceId })
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'still here' })
    expect(textOf((await bob.next('MSG')).body)).toBe('still here')
    alice = await world.startAgent('alice', [], { store: { open: alice.crash() } })
    expect(await alice.agent.subscribe({})).toEqual({ results: [{ connectionId: aliceId, ok: true }] })
    expect(await alice.agent.listConnections({})).toMatchObject({ connections: [{ status: 'connected', ready: true }] })
    expect((await alice.agent.inspectConnection({ connectionId: aliceId })).rcvQueues).toMatchObject([
      { suspended: true, subscription: 'active' },
    ])
    await bob.agent.sendMessage({ connectionId: bobId, body: 'x' })
    expect((await bob.next('MERR')).error.code).toBe('AUTH')
    await alice.agent.deleteConnection({ connectionId: aliceId })
    await alice.next('DEL_CONN')
    expect(alice.events.filter(({ type }) => type === 'ERR')).toEqual([])
  })
})

describe('B91 suspendConnection and its router', () => {
  let world: ScriptedWorld
  let alice: TestAgent
  beforeEach(async () => {
    world = await scriptedWorld()
    alice = await world.start('alice')
  })
  afterEach(() => world.close())
  const suspended = () => alice.store.count(rcvQueues, { suspended: true })

  it('B91 an invitation that nobody has joined yet can be suspended: nobody can join it any more', async () => {
    const { connectionId, link } = await alice.agent.createConnection({})
    await alice.agent.suspendConnection({ connectionId })
    expect(world.router.queues).toMatchObject([{ off: true }])
    const bob = await world.start('bob')
    await bob.agent.joinConnection({ link })
    await bob.next('ERR')
    expect(alice.events).toEqual([])
  })

  it.each(['lose', 'loseAnswer'] as const)(
    'B91 OFF without an answer (%s) fails, and succeeds when repeated',
    async reaction => {
      const { connectionId } = await world.befriend(alice)
      world.router.react = ({ command }) => (command.type === 'OFF' ? reaction : undefined)
      const failing = alice.agent.suspendConnection({ connectionId }).catch((error: unknown) => error)
      await world.clock.advance(20_000)
      expect(await failing).toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
      expect(await suspended()).toBe(0)
      world.router.react = () => undefined
      await alice.agent.suspendConnection({ connectionId })
      expect(await suspended()).toBe(1)
    },
  )

  it('B91 a refusal of the router is the error of the call', async () => {
    const { connectionId } = await world.befriend(alice)
    world.router.react = ({ command }) => (command.type === 'OFF' ? errorAnswer('AUTH') : undefined)
    await expect(alice.agent.suspendConnection({ connectionId })).rejects.toMatchObject({ code: 'AUTH' })
    expect(await suspended()).toBe(0)
  })

  it('B91 refused where there is no queue, no connection, or none any more', async () => {
    const code = 'CMD_PROHIBITED'
    world.router.react = ({ command }) => (command.type === 'NEW' || command.type === 'DEL' ? 'hold' : undefined)
    alice.agent.createConnection({ idempotencyKey: 'k' }).catch(() => {})
    await world.until(() => world.router.all('NEW').length === 1, 'NEW')
    const [fresh] = await alice.store.find(connections, {})
    const suspend = (connectionId = '') => alice.agent.suspendConnection({ connectionId })
    await expect(suspend(fresh?.connectionId)).rejects.toMatchObject({ code, field: fresh?.connectionId })
    await expect(suspend('nobody')).rejects.toMatchObject({ code: 'CONN_NOT_FOUND' })
    const [held] = world.router.all('NEW')
    if (held !== undefined) world.router.release(held)
    await world.until(() => world.router.queues.length === 1, 'the queue')
    await world.clock.settle()
    await alice.agent.deleteConnection({ connectionId: fresh?.connectionId ?? '' })
    await expect(suspend(fresh?.connectionId)).rejects.toMatchObject({ code })
    expect(world.router.all('OFF')).toEqual([])
  })

  it('B91 deleted while OFF is on its way: nothing of it is left', async () => {
    const { connectionId } = await world.befriend(alice)
    world.router.react = ({ command }) => (command.type === 'OFF' ? 'hold' : undefined)
    const suspending = alice.agent.suspendConnection({ connectionId })
    await world.clock.settle()
    await alice.agent.deleteConnection({ connectionId })
    await alice.next('DEL_CONN')
    const [held] = world.router.all('OFF')
    if (held !== undefined) held.session.send({ to: held, response: { type: 'OK' } })
    await suspending
    expect(await alice.store.count(rcvQueues)).toBe(0)
    expect(await alice.store.count(connections)).toBe(0)
  })
})
