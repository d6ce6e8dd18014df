/** Agents that ask for messages instead of subscribing, and sessions that nobody uses. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rcvQueues } from '../../src/store/agent/connections.js'
import { remove } from '../../src/store/index.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

const told = (agent: TestAgent, ...types: string[]) => agent.events.filter(({ type }) => types.includes(type))

describe('B69 asking for messages, at a router that knows the rules', () => {
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
    // Started again, bob listens to nobody.
    bob = await world.startAgent('bob', [router], { store: { open: bob.crash() } })
  })
  afterEach(() => world.close())

  const ask = async () => (await bob.agent.getMessages({ connectionIds: [bobId] })).results[0]

  it('B69 messages come one by one, as they are asked for and acknowledged', async () => {
    for (const body of ['one', 'two']) {
      await alice.agent.sendMessage({ connectionId: aliceId, body })
      await alice.next('SENT', aliceId)
    }
    await world.clock.advance(60_000)
    expect(told(bob, 'MSG')).toEqual([])
    for (const body of ['one', 'two']) {
      const answer = await ask()
      const message = await bob.next('MSG', bobId)
      expect(answer).toEqual({ connectionId: bobId, ok: true, brokerId: message.brokerId })
      expect(textOf(message.body)).toBe(body)
      expect(message.integrity).toEqual({ result: 'ok' })
      // Until it is acknowledged it is the answer, but not told again.
      expect(await ask()).toEqual(answer)
      await bob.agent.ackMessage({ connectionId: bobId, messageId: message.messageId })
      await world.clock.advance(60_000)
    }
    expect(await ask()).toEqual({ connectionId: bobId, ok: true })
    expect(told(bob, 'MSG')).toHaveLength(2)
    expect(told(bob, 'UP', 'ERR')).toEqual([])
  })

  it('B69 a connection that is subscribed is not asked', async () => {
    await bob.agent.subscribe({})
    const sent = await ask()
    expect(sent).toMatchObject({ connectionId: bobId, ok: false, error: { code: 'CMD_PROHIBITED', field: bobId } })
    // Nor while its subscription waits for the router.
    for (const link of world.network.links({ from: 'bob' })) link.cut()
    await bob.next('DOWN')
    expect(await ask()).toMatchObject({ ok: false, error: { code: 'CMD_PROHIBITED' } })
    await bob.next('UP')
  })

  it('B69 a connection that was asked is not subscribed in the same session, but in the next one', async () => {
    expect(await ask()).toEqual({ connectionId: bobId, ok: true })
    const refused = { connectionId: bobId, ok: false, error: expect.objectContaining({ code: 'CMD_PROHIBITED' }) }
    expect(await bob.agent.subscribe({})).toEqual({ results: [refused] })
    expect(told(bob, 'ERR')).toEqual([])
    await world.clock.advance(300_001)
    expect(await bob.agent.subscribe({})).toEqual({ results: [{ connectionId: bobId, ok: true }] })
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'by itself' })
    expect(textOf((await bob.next('MSG', bobId)).body)).toBe('by itself')
  })

  it('B69 asked for twice at once, a message is told once', async () => {
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'one' })
    await alice.next('SENT', aliceId)
    const [first, second] = await Promise.all([ask(), ask()])
    expect(first).toEqual(second)
    await bob.next('MSG', bobId)
    await world.clock.advance(60_000)
    expect(told(bob, 'MSG')).toHaveLength(1)
  })

  it('B69 each connection answers for itself, once, in the order of the call', async () => {
    await bob.agent.subscribe({})
    const { link } = await alice.agent.createConnection({})
    const { connectionId: sendOnly } = await bob.agent.joinConnection({ link })
    await alice.next('CONF')
    const [queue] = await bob.store.find(rcvQueues, { where: { connectionId: sendOnly } })
    bob = await world.startAgent('bob', [], { store: { open: bob.crash() } })
    await bob.store.commit([remove(rcvQueues, { queueId: queue?.queueId ?? '' })])
    const { results } = await bob.agent.getMessages({ connectionIds: [sendOnly, 'nobody', bobId, sendOnly] })
    expect(results).toMatchObject([
      { connectionId: sendOnly, ok: false, error: { code: 'CONN_SIMPLEX', field: sendOnly } },
      { connectionId: 'nobody', ok: false, error: { code: 'CONN_NOT_FOUND', field: 'nobody' } },
      { connectionId: bobId, ok: true },
    ])
  })

  it('B69 a handshake goes on by asking', async () => {
    bob = await world.startAgent('bob', [], { store: { open: bob.crash() } })
    const { connectionId: invited, link } = await alice.agent.createConnection({})
    alice = await world.startAgent('alice', [], { store: { open: alice.crash() } })
    const { connectionId: joined } = await (
      await world.startAgent('carol', [await world.startRouter()])
    ).agent.joinConnection({ link })
    await world.clock.advance(10_000)
    expect(told(alice, 'CONF').filter(({ connectionId }) => connectionId === invited)).toEqual([])
    const { results } = await alice.agent.getMessages({ connectionIds: [invited] })
    expect(results).toMatchObject([{ connectionId: invited, ok: true }])
    const { confirmationId } = await alice.next('CONF', invited)
    await alice.agent.allowConnection({ connectionId: invited, confirmationId })
    await alice.next('CON', invited)
    expect(joined).not.toBe('')
  })
})

describe('B69 routers that misbehave', () => {
  let world: ScriptedWorld
  let alice: TestAgent
  beforeEach(async () => {
    world = await scriptedWorld()
    alice = await world.start('alice')
  })
  afterEach(() => world.close())

  it('B69 a router that cannot be reached, or answers with something else, is told of in the answer; a later question is asked', async () => {
    const { connectionId } = await alice.agent.createConnection({})
    alice = await world.start('alice', { store: { open: alice.crash() } })
    const ask = async () => (await alice.agent.getMessages({ connectionIds: [connectionId] })).results[0]
    world.network.setReachable(world.router.place, 'refuses')
    expect(await ask()).toMatchObject({ ok: false, error: { code: 'TRANSPORT_CONNECT' } })
    world.network.setReachable(world.router.place, 'answers')
    await world.clock.advance(3_000)
    world.router.react = ({ command }) => (command.type === 'GET' ? { type: 'SOK' } : undefined)
    expect(await ask()).toMatchObject({ ok: false, error: { code: 'SMP_UNEXPECTED' } })
    world.router.react = () => undefined
    expect(await ask()).toEqual({ connectionId, ok: true })
    // The attempt that failed has left nothing behind that keeps the connection from being subscribed.
    world.cut('alice')
    await world.clock.advance(3_000)
    expect((await alice.agent.subscribe({})).results).toEqual([{ connectionId, ok: true }])
  })

  it('B69 a message whose answer came too late is not lost', async () => {
    const { peer, connectionId } = await world.befriend(alice)
    alice = await world.start('alice', { store: { open: alice.crash() } })
    await peer.say('late')
    world.router.react = ({ command }) => (command.type === 'GET' ? 'hold' : undefined)
    let done = false
    const asking = alice.agent.getMessages({ connectionIds: [connectionId] }).finally(() => (done = true))
    await world.until(() => done, 'the deadline')
    expect((await asking).results).toMatchObject([{ ok: false, error: { code: 'TRANSPORT_TIMEOUT' } }])
    const [get] = world.router.all('GET')
    if (get === undefined) throw new Error('no GET')
    world.router.release(get)
    expect(textOf((await alice.next('MSG', connectionId)).body)).toBe('late')
  })
})

describe('B69 idle sessions', () => {
  let world: ScriptedWorld
  let alice: TestAgent
  beforeEach(async () => {
    world = await scriptedWorld()
    alice = await world.start('alice')
  })
  afterEach(() => world.close())

  const open = (): number => world.network.links({ from: 'alice' }).length

  it('B69 a session without subscriptions is closed five minutes after its last use, and made again when it is needed', async () => {
    const { peer, connectionId } = await world.befriend(alice)
    alice = await world.start('alice', { store: { open: alice.crash() } })
    await alice.agent.sendMessage({ connectionId, body: 'one' })
    await alice.next('SENT', connectionId)
    expect(open()).toBe(1)
    await world.clock.advance(240_000)
    await alice.agent.sendMessage({ connectionId, body: 'two' })
    await alice.next('SENT', connectionId)
    await world.clock.advance(299_000)
    expect(open()).toBe(1)
    await world.clock.advance(1_100)
    expect(open()).toBe(0)
    await world.clock.advance(3_600_000)
    expect(open()).toBe(0)
    expect(told(alice, 'DOWN', 'UP', 'ERR')).toEqual([])
    await alice.agent.sendMessage({ connectionId, body: 'three' })
    await alice.next('SENT', connectionId)
    expect(open()).toBe(1)
    peer.close()
  })

  it('B69 a session with a subscription stays, until the last of them is gone', async () => {
    const { connectionId } = await alice.agent.createConnection({})
    await world.clock.advance(3_600_000)
    expect(open()).toBe(1)
    await alice.agent.deleteConnection({ connectionId })
    await alice.next('DEL_CONN', connectionId)
    await world.clock.advance(600_000)
    expect(open()).toBe(0)
  })

  it('B69 a session whose request is not answered yet is not idle', async () => {
    const { connectionId } = await world.befriend(alice)
    alice = await world.start('alice', {
      store: { open: alice.crash() },
      config: { idleSessionMs: 1_000, backgroundCommandMs: 30_000 },
    })
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'hold' : undefined)
    await alice.agent.sendMessage({ connectionId, body: 'slow' })
    await world.clock.advance(20_000)
    const [send] = world.router.all('SEND').slice(-1)
    if (send === undefined) throw new Error('no SEND')
    world.router.release(send)
    await alice.next('SENT', connectionId)
    expect(
      world.router.sessions.filter(({ received }) => received.some(({ command }) => command.type === 'SEND')),
    ).toHaveLength(3)
  })
})
