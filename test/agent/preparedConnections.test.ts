/** Connections whose id is known before anything is sent (B16), and calls that go on after a refusal (B15). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { commands, connections, handshakes, rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
let bob: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  bob = await world.start('bob')
})
afterEach(() => world.close())

const typesOf = (agent: TestAgent): string[] => agent.events.map(event => event.type)
const allow = async (connectionId: string): Promise<void> => {
  const { confirmationId } = await alice.next('CONF', connectionId)
  await alice.agent.allowConnection({ connectionId, confirmationId, info: 'alice' })
}
const refuse = (type: string, name: string): void => {
  world.router.react = ({ command, session }) =>
    command.type === type && session.channel.remoteAddress === name ? errorAnswer('INTERNAL') : undefined
}

describe('B16 prepareConnectionToJoin', () => {
  it('B16 the id is there before anything is sent, and every event comes under it, however soon', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const seen = world.router.seen.length
    const { connectionId } = await bob.agent.prepareConnectionToJoin({ link })
    await world.clock.advance(60_000)
    expect(world.router.seen).toHaveLength(seen)
    expect(await bob.agent.listConnections({})).toMatchObject({
      connections: [{ connectionId, status: 'new', ready: false, rcvRouters: [], sndRouters: [] }],
    })
    const joining = bob.agent.joinConnection({ connectionId, link, info: 'bob' })
    await allow(aliceId)
    await bob.next('CON', connectionId)
    expect(await joining).toEqual({ connectionId })
    expect(bob.events.map(event => [event.type, event.connectionId])).toEqual([
      ['INFO', connectionId],
      ['CON', connectionId],
    ])
    await bob.agent.sendMessage({ connectionId, body: 'hi' })
    expect(textOf((await alice.next('MSG', aliceId)).body)).toBe('hi')
  })

  it('B16 it outlives a restart, and under a key it is made once; joinConnection repeated changes nothing', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const prepare = { link, idempotencyKey: 'prepare' }
    const answers = await Promise.all([0, 1, 2].map(() => bob.agent.prepareConnectionToJoin(prepare)))
    expect(new Set(answers.map(({ connectionId }) => connectionId)).size).toBe(1)
    bob = await world.start('bob', { store: { open: bob.crash() } })
    const { connectionId } = await bob.agent.prepareConnectionToJoin(prepare)
    expect(connectionId).toBe(answers[0]?.connectionId)
    const join = { connectionId, link, info: 'bob' }
    await Promise.all([0, 1, 2].map(() => bob.agent.joinConnection(join)))
    await allow(aliceId)
    await bob.next('CON', connectionId)
    await bob.agent.joinConnection(join)
    await world.clock.advance(60_000)
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
    expect(await bob.store.count(connections)).toBe(1)
    expect(await bob.store.count(sndQueues)).toBe(1)
    expect(await bob.agent.prepareConnectionToJoin(prepare)).toEqual({ connectionId })
  })

  it('B16 what cannot be joined is not prepared, and no other connection is taken for a prepared one', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({ idempotencyKey: 'create' })
    const other = (await bob.agent.createConnection({})).link
    await expect(bob.agent.prepareConnectionToJoin({ link: 'hello' })).rejects.toMatchObject({ code: 'DECODE_INVALID' })
    const old = link.replace('v=6-7', 'v=90-99')
    await expect(bob.agent.prepareConnectionToJoin({ link: old })).rejects.toMatchObject({ code: 'AGENT_VERSION' })
    await expect(alice.agent.prepareConnectionToJoin({ link: other, idempotencyKey: 'create' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'idempotencyKey',
    })
    await expect(alice.agent.joinConnection({ link: other, connectionId: aliceId })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: aliceId,
    })
    await expect(alice.agent.joinConnection({ link: other, connectionId: 'nobody' })).rejects.toMatchObject({
      code: 'CONN_NOT_FOUND',
    })
    const { connectionId } = await bob.agent.prepareConnectionToJoin({ link, idempotencyKey: 'prepare' })
    // The key of the preparation is not one of the join.
    await expect(bob.agent.joinConnection({ link, idempotencyKey: 'prepare' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
    })
    const prohibited = { code: 'CMD_PROHIBITED', field: connectionId }
    await expect(bob.agent.sendMessage({ connectionId, body: 'x' })).rejects.toMatchObject(prohibited)
    await expect(bob.agent.allowConnection({ connectionId, confirmationId: 'x' })).rejects.toMatchObject(prohibited)
    await bob.agent.deleteConnection({ connectionId })
    await bob.next('DEL_CONN', connectionId)
    await expect(bob.agent.joinConnection({ link, connectionId })).rejects.toMatchObject({ code: 'CONN_NOT_FOUND' })
  })
})

describe('B15 a step of the fast handshake that a router refuses', () => {
  it.each(['SKEY', 'NEW'])(
    'B15 %s of the joiner: told once, and the repeated call goes on with the same queue, keys and ratchet',
    async step => {
      const { connectionId: aliceId, link } = await alice.agent.createConnection({})
      refuse(step, 'bob')
      const join = { link, info: 'bob', idempotencyKey: 'join' }
      const { connectionId } = await bob.agent.joinConnection(join)
      expect((await bob.next('ERR', connectionId)).error.code).toBe('INTERNAL')
      await world.clock.advance(300_000)
      expect(await bob.store.find(commands, {})).toEqual([])
      const [snd] = await bob.store.find(sndQueues, {})
      const [rcv] = await bob.store.find(rcvQueues, {})
      const [row] = await bob.store.find(connections, {})
      bob = await world.start('bob', { store: { open: bob.crash() } })
      world.router.react = () => undefined
      await world.clock.advance(300_000)
      expect(typesOf(alice)).toEqual([])
      await Promise.all([bob.agent.joinConnection(join), bob.agent.joinConnection(join)])
      await allow(aliceId)
      await bob.next('CON', connectionId)
      const [sndAfter] = await bob.store.find(sndQueues, {})
      const [rcvAfter] = await bob.store.find(rcvQueues, {})
      expect(sndAfter).toEqual({ ...snd, status: 'confirmed' })
      expect([rcvAfter?.rcvPrivateKey, rcvAfter?.e2ePrivateKey]).toEqual([rcv?.rcvPrivateKey, rcv?.e2ePrivateKey])
      expect(row?.ratchet).not.toBeNull()
      expect(await bob.store.find(handshakes, {})).toEqual([])
      expect(typesOf(bob)).toEqual(['ERR', 'INFO', 'CON'])
      const skeys = world.router.all('SKEY').filter(({ session }) => session.channel.remoteAddress === 'bob')
      expect(new Set(skeys.map(({ command }) => (command.type === 'SKEY' ? textOf(command.key.raw) : ''))).size).toBe(1)
      expect(skeys).toHaveLength(step === 'SKEY' ? 2 : 1)
    },
  )

  it('B15 SKEY of the initiator: told once, and allowConnection repeated goes on with the same key', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const { connectionId } = await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    refuse('SKEY', 'alice')
    const call = { connectionId: aliceId, confirmationId, info: 'alice' }
    await alice.agent.allowConnection(call)
    await alice.next('ERR', aliceId)
    alice = await world.start('alice', { store: { open: alice.crash() } })
    world.router.react = () => undefined
    await Promise.all([alice.agent.allowConnection(call), alice.agent.allowConnection(call)])
    await bob.next('CON', connectionId)
    await alice.next('CON', aliceId)
    const skeys = world.router.all('SKEY').filter(({ session }) => session.channel.remoteAddress === 'alice')
    expect(skeys).toHaveLength(2)
    expect(new Set(skeys.map(({ command }) => (command.type === 'SKEY' ? textOf(command.key.raw) : ''))).size).toBe(1)
    expect(await alice.store.count(sndQueues)).toBe(1)
    expect(typesOf(alice)).toEqual(['CONF', 'ERR', 'CON'])
  })

  it('B15 a repeated allowConnection never sends a second confirmation, also while the first waits for its router', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    world.router.react = ({ command, session }) =>
      command.type === 'SEND' && session.channel.remoteAddress === 'alice' ? 'lose' : undefined
    const call = { connectionId: aliceId, confirmationId }
    await alice.agent.allowConnection(call)
    await world.clock.advance(10_000)
    await alice.agent.allowConnection(call)
    await world.clock.advance(10_000)
    const [row] = await alice.store.find(connections, {})
    expect(row?.lastSendId).toBe(1)
    world.router.react = () => undefined
    await bob.next('CON')
    await alice.next('CON', aliceId)
  })

  it('B15 allowConnection repeated while its step is under way stores no second step', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    world.router.react = ({ command, session }) =>
      command.type === 'SKEY' && session.channel.remoteAddress === 'alice' ? 'hold' : undefined
    const call = { connectionId: aliceId, confirmationId }
    for (let n = 0; n < 3; n++) {
      await alice.agent.allowConnection(call)
      await world.clock.settle()
    }
    expect((await alice.store.find(commands, {})).map(({ type }) => type)).toEqual(['allowSecure'])
    const held = world.router.all('SKEY').at(-1)
    world.router.react = () => undefined
    if (held !== undefined) world.router.release(held)
    await alice.next('CON', aliceId)
    await bob.next('CON')
    expect((await alice.store.find(connections, {}))[0]?.lastSendId).toBe(1)
  })

  it('B15 B16 a prepared connection that is joined again after a refusal goes on with the same queues, keys and ratchet', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const { connectionId } = await bob.agent.prepareConnectionToJoin({ link })
    refuse('SKEY', 'bob')
    const join = { connectionId, link, info: 'bob' }
    await bob.agent.joinConnection(join)
    await bob.next('ERR', connectionId)
    const rows = async () => ({
      connections: await bob.store.find(connections, {}),
      snd: await bob.store.find(sndQueues, {}),
      rcv: await bob.store.find(rcvQueues, {}),
      handshakes: await bob.store.find(handshakes, {}),
    })
    const before = await rows()
    world.router.react = ({ command, session }) =>
      command.type === 'SKEY' && session.channel.remoteAddress === 'bob' ? 'hold' : undefined
    await bob.agent.joinConnection(join)
    await world.clock.settle()
    expect(await rows()).toEqual(before)
    const held = world.router.all('SKEY').at(-1)
    world.router.react = () => undefined
    if (held !== undefined) world.router.release(held)
    await allow(aliceId)
    await bob.next('CON', connectionId)
  })
})
