/** The fast handshake, step by step, against a router that loses what the test wants lost. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MemoryStore } from '../../src/store/memory.js'
import { commands, confirmations, connections, rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { generateKeyPair } from '../../src/crypto/index.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { barePeer } from '../support/barePeer.js'
import { type ScriptedRouter, scriptedRouter, type SeenCommand } from '../support/scriptedRouter.js'
import { beforeCommits, brokenDisk, recordCommits, touches } from '../support/storeFaults.js'

let world: AgentWorld
let router: ScriptedRouter
beforeEach(async () => {
  world = agentWorld()
  router = await scriptedRouter({ clock: world.clock, network: world.network })
})
afterEach(() => world.close())

const start = (name: string, store?: MemoryStore): Promise<TestAgent> =>
  world.startAgent(name, [], { routers: [router.address], ...(store === undefined ? {} : { store: { open: store } }) })

const typesOf = (agent: TestAgent): string[] => agent.events.map(event => event.type)
const keyOf = ({ command }: SeenCommand): string =>
  command.type === 'SKEY' ? Buffer.from(command.key.raw).toString('hex') : ''

const joined = async (alice: TestAgent, bob: TestAgent) => {
  const { connectionId: aliceId, link } = await alice.agent.createConnection({})
  const { connectionId: bobId } = await bob.agent.joinConnection({ link, info: 'bob' })
  const conf = await alice.next('CONF', aliceId)
  return { aliceId, bobId, allow: { connectionId: aliceId, confirmationId: conf.confirmationId, info: 'alice' } }
}

describe('the fast handshake', () => {
  it('B11 each side secures the other’s queue with its own key, and says so to no router twice', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { allow } = await joined(alice, bob)
    expect(router.seen.map(({ command }) => command.type)).toEqual(['NEW', 'SKEY', 'NEW', 'SEND', 'ACK'])
    await alice.agent.allowConnection(allow)
    await bob.next('CON')
    await alice.next('CON')
    await world.clock.settle()
    expect(router.seen.map(({ command }) => command.type)).toEqual([
      'NEW',
      'SKEY',
      'NEW',
      'SEND',
      'ACK',
      'SKEY',
      'SEND',
      'ACK',
    ])
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
    expect(typesOf(bob)).toEqual(['INFO', 'CON'])
    const [aliceQueue, bobQueue] = router.queues
    expect(aliceQueue?.senderKey).toBeDefined()
    expect(bobQueue?.senderKey).toBeDefined()
    expect(aliceQueue?.senderKey).not.toEqual(bobQueue?.senderKey)
  })

  it('B11 CON comes to the initiator only when the router has its confirmation', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, allow } = await joined(alice, bob)
    router.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    await alice.agent.allowConnection(allow)
    await world.clock.advance(20_000)
    expect(typesOf(alice)).toEqual(['CONF'])
    await expect(alice.agent.sendMessage({ connectionId: aliceId, body: 'early' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: aliceId,
    })
    router.react = () => undefined
    await alice.next('CON')
    await bob.next('CON')
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
  })

  it('B11 a repeated allowConnection changes nothing, before and after the connection is complete', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { allow } = await joined(alice, bob)
    await Promise.all([alice.agent.allowConnection(allow), alice.agent.allowConnection(allow)])
    await alice.next('CON')
    await bob.next('CON')
    await alice.agent.allowConnection(allow)
    await world.clock.advance(60_000)
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
    expect(typesOf(bob)).toEqual(['INFO', 'CON'])
    expect(router.all('SKEY')).toHaveLength(2)
    expect(await alice.store.find(sndQueues, {})).toHaveLength(1)
  })
})

describe('B13 the initiator’s ratchet exists from the confirmation on', () => {
  it('B13 messages that the joiner sent before it was allowed decrypt and come as events before allowConnection', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, bobId, allow } = await joined(alice, bob)
    for (const body of ['one', 'two']) await bob.agent.sendMessage({ connectionId: bobId, body })
    const first = await alice.next('MSG', aliceId)
    expect(textOf(first.body)).toBe('one')
    expect(first.integrity).toEqual({ result: 'ok' })
    await alice.agent.ackMessage({ connectionId: aliceId, messageId: first.messageId })
    const second = await alice.next('MSG', aliceId)
    expect(textOf(second.body)).toBe('two')
    expect(second.integrity).toEqual({ result: 'ok' })
    await alice.agent.ackMessage({ connectionId: aliceId, messageId: second.messageId })
    expect(typesOf(alice)).toEqual(['CONF', 'MSG', 'MSG'])
    await alice.agent.allowConnection(allow)
    await alice.next('CON')
    await bob.next('CON')
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'three' })
    expect(textOf((await bob.next('MSG')).body)).toBe('three')
  })

  it('B13 ratchet, queue secret and confirmation are in one commit', async () => {
    const alice = await start('alice')
    const { link } = await alice.agent.createConnection({})
    const commits = recordCommits(alice.store)
    const peer = await barePeer({ ...world, router: router.address, link })
    await peer.join()
    await alice.next('CONF')
    const [confirming, ...others] = commits.filter(changes => touches(changes, confirmations))
    expect(others).toEqual([])
    const set = Object.assign({}, ...(confirming ?? []).map(change => (change.op === 'patch' ? change.set : {})))
    expect(set).toMatchObject({ status: 'confirmed' })
    expect(set.ratchet).toBeInstanceOf(Uint8Array)
    expect(set.e2eSecret).toBeInstanceOf(Uint8Array)
    expect(set.x3dhKeys).toBeNull()
    peer.close()
  })
})

describe('B14 the joining party at the initiator’s confirmation', () => {
  it('B14 without a sender key: INFO and CON at once, in this order, and nothing more is sent', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { bobId, allow } = await joined(alice, bob)
    await alice.agent.allowConnection(allow)
    await bob.next('CON', bobId)
    expect(typesOf(bob)).toEqual(['INFO', 'CON'])
    const info = bob.events[0]
    expect(info?.type === 'INFO' && textOf(info.info)).toBe('alice')
    const sent = router.all('SEND').length
    await world.clock.advance(10_000)
    expect(router.all('SEND')).toHaveLength(sent)
    const [queue] = await bob.store.find(rcvQueues, { where: { connectionId: bobId } })
    expect(queue?.status).toBe('active')
  })
})

describe('B15 a join that fails half way', () => {
  it('B15 SKEY whose answer is lost is repeated with the same key, after a restart too, and the connection completes', async () => {
    const alice = await start('alice')
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    router.react = ({ command }) => (command.type === 'SKEY' ? 'loseAnswer' : undefined)
    let bob = await start('bob')
    const { connectionId: bobId } = await bob.agent.joinConnection({ link, info: 'bob' })
    await world.clock.advance(70_000)
    expect(router.all('SKEY').length).toBeGreaterThan(1)
    const [queueBefore] = await bob.store.find(sndQueues, {})
    const [connectionBefore] = await bob.store.find(connections, {})
    const rows = bob.crash()
    router.react = () => undefined
    bob = await start('bob', rows)
    const conf = await alice.next('CONF', aliceId)
    expect(new Set(router.all('SKEY').map(keyOf)).size).toBe(1)
    const [queue] = await bob.store.find(sndQueues, {})
    const [connection] = await bob.store.find(connections, {})
    expect(queue).toEqual({ ...queueBefore, status: queue?.status })
    expect(connection?.connectionId).toBe(bobId)
    expect(connectionBefore?.ratchet).not.toBeNull()
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId: conf.confirmationId })
    await alice.next('CON')
    await bob.next('CON', bobId)
  })

  it('B15 NEW of the reply queue whose answer is lost is repeated with the same keys and the same ratchet', async () => {
    const alice = await start('alice')
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    router.react = ({ command, session }) =>
      command.type === 'NEW' && session !== router.sessions[0] ? 'loseAnswer' : undefined
    const bob = await start('bob')
    await bob.agent.joinConnection({ link })
    await world.clock.advance(40_000)
    const [before] = await bob.store.find(connections, {})
    router.react = () => undefined
    const conf = await alice.next('CONF', aliceId)
    const made = router.all('NEW').slice(1)
    expect(made.length).toBeGreaterThan(1)
    const keys = made.map(({ command }) =>
      command.type === 'NEW'
        ? Buffer.from(command.authKey.raw).toString('hex') + Buffer.from(command.dhKey).toString('hex')
        : '',
    )
    expect(new Set(keys).size).toBe(1)
    // The ratchet has taken one step since, for the confirmation: no other one was made.
    expect(before?.ratchet).not.toBeNull()
    expect(router.all('SKEY')).toHaveLength(1)
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId: conf.confirmationId })
    await bob.next('CON')
    await alice.next('CON')
    // The subscription is the one of the queue that the confirmation named.
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'hi' })
    expect(textOf((await bob.next('MSG')).body)).toBe('hi')
  })

  it('B15 NEW that was answered but could not be stored is repeated, and the second queue is the one that counts', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    let failures = 1
    beforeCommits(bob.store, changes => {
      if (touches(changes, sndMessages, 'insert') && failures-- > 0) throw brokenDisk()
    })
    await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    expect(router.all('NEW')).toHaveLength(3)
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    await bob.next('CON')
    await alice.next('CON')
    const [row] = await bob.store.find(rcvQueues, {})
    expect(row?.rcvId).toEqual(router.queues[2]?.recipientId)
  })

  it('B15 the confirmation whose answer is lost is sent again as the same ratchet message; the initiator sees one CONF', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    let lost = 0
    router.react = ({ command }) => (command.type === 'SEND' && lost++ < 1 ? 'loseAnswer' : undefined)
    await bob.agent.joinConnection({ link })
    const conf = await alice.next('CONF', aliceId)
    await world.clock.advance(60_000)
    expect(router.all('SEND')).toHaveLength(2)
    expect(typesOf(alice)).toEqual(['CONF'])
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId: conf.confirmationId })
    await bob.next('CON')
    await alice.next('CON')
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
  })

  it('B15 the initiator repeats its SKEY with the same key as well', async () => {
    let alice = await start('alice')
    const bob = await start('bob')
    const { allow } = await joined(alice, bob)
    const before = router.all('SKEY').length
    router.react = ({ command }) => (command.type === 'SKEY' ? 'loseAnswer' : undefined)
    await alice.agent.allowConnection(allow)
    await world.clock.advance(40_000)
    const rows = alice.crash()
    router.react = () => undefined
    alice = await start('alice', rows)
    await alice.next('CON')
    await bob.next('CON')
    const again = router.all('SKEY').slice(before)
    expect(again.length).toBeGreaterThan(1)
    expect(new Set(again.map(keyOf)).size).toBe(1)
  })

  it('B15 a queue that somebody else has secured: AUTH is reported once, and the command is given up', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { link } = await alice.agent.createConnection({})
    const [queue] = router.queues
    if (queue !== undefined) queue.senderKey = generateKeyPair('ed25519').publicKey
    const { connectionId } = await bob.agent.joinConnection({ link })
    const error = await bob.next('ERR', connectionId)
    expect(error.error).toMatchObject({ code: 'AUTH' })
    await world.clock.advance(300_000)
    expect(router.all('SKEY')).toHaveLength(1)
    expect(await bob.store.find(commands, {})).toEqual([])
    expect(typesOf(bob)).toEqual(['ERR'])
  })
})

describe('B16 the connection is known before the peer can answer', () => {
  it('B16 joinConnection answers with an id whose rows exist although no router was reached', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { link } = await alice.agent.createConnection({})
    const seen = router.seen.length
    world.network.setReachable(router.place, 'refuses')
    for (const open of world.network.links({ from: 'bob' })) open.cut()
    const { connectionId } = await bob.agent.joinConnection({ link, info: 'bob' })
    expect(router.seen).toHaveLength(seen)
    expect(await bob.store.find(connections, { where: { connectionId } })).toHaveLength(1)
    expect(await bob.store.find(rcvQueues, { where: { connectionId } })).toHaveLength(1)
    expect(await bob.store.find(sndQueues, { where: { connectionId } })).toHaveLength(1)
    world.network.setReachable(router.place, 'answers')
    const conf = await alice.next('CONF')
    expect(textOf(conf.info)).toBe('bob')
  })

  it('B16 when the confirmation leaves, the reply queue that it names is in the rows and subscribed', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { link } = await alice.agent.createConnection({})
    let atSend: Promise<unknown> | undefined
    router.react = ({ command }) => {
      if (command.type === 'SEND') atSend ??= bob.store.find(rcvQueues, {})
      return undefined
    }
    const { connectionId } = await bob.agent.joinConnection({ link })
    await alice.next('CONF')
    const [, replyQueue] = router.queues
    expect(await atSend).toMatchObject([{ connectionId, rcvId: Buffer.from(replyQueue?.recipientId ?? []) }])
    expect(replyQueue?.subscriber).toBeDefined()
  })

  it('B16 an answer that is there before joinConnection’s caller looks finds the connection', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    void alice
      .next('CONF', aliceId)
      .then(({ confirmationId }) => alice.agent.allowConnection({ connectionId: aliceId, confirmationId }))
    const joining = bob.agent.joinConnection({ link })
    await bob.next('CON')
    const { connectionId } = await joining
    expect(bob.events.map(event => event.connectionId)).toEqual([connectionId, connectionId])
    expect(await bob.store.find(deliveries, {})).toEqual([])
    expect(await bob.store.find(sndMessages, {})).toEqual([])
  })
})
