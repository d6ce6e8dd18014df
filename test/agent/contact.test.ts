/** Contact addresses: requests, accepting and rejecting them, and joining by an address, against a router that fails as the test wants. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { boxSecret, generateKeyPair, x25519 } from '../../src/crypto/index.js'
import type { AgentOptions } from '../../src/index.js'
import { type AgentEnvelope, encodeAgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import { CONFIRMATION_PADDING, sealEnvelope } from '../../src/smp/protocol/clientMessage.js'
import { type InvitationRequest, parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import {
  commands,
  connections,
  handshakes,
  invitations,
  rcvQueues,
  sndQueues,
} from '../../src/store/agent/connections.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer, type ScriptedQueue, type ScriptedRouter, scriptedRouter } from '../support/scriptedRouter.js'
import { brokenDisk, beforeCommits, touches } from '../support/storeFaults.js'

let world: AgentWorld
let router: ScriptedRouter
beforeEach(async () => {
  world = agentWorld()
  router = await scriptedRouter({ clock: world.clock, network: world.network })
})
afterEach(() => world.close())

const start = (name: string, options: Partial<AgentOptions> = {}): Promise<TestAgent> =>
  world.startAgent(name, [], { routers: [router.address], ...options })
const restart = async (agent: TestAgent, rows: MemoryStore = agent.crash()): Promise<TestAgent> => {
  const started = await start(agent.name, { store: { open: rows } })
  await started.agent.subscribe({})
  return started
}

const typesOf = (agent: TestAgent): string[] => agent.events.map(event => event.type)
const countOf = (agent: TestAgent, type: string): number => typesOf(agent).filter(known => known === type).length
const seenFrom = (name: string): string[] =>
  router.seen.filter(({ session }) => session.channel.remoteAddress === name).map(({ command }) => command.type)
const answerOf = (type: string, name: string, answer: ReturnType<typeof errorAnswer> | 'loseAnswer' | 'lose'): void => {
  router.react = ({ command, session }) =>
    command.type === type && session.channel.remoteAddress === name ? answer : undefined
}
const allGood = (): void => {
  router.react = () => undefined
}

/** alice has an address, and bob asks to connect by it. */
const requested = async (alice: TestAgent, bob: TestAgent) => {
  const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
  const { connectionId: bobId } = await bob.agent.joinConnection({ link, info: 'bob' })
  const req = await alice.next('REQ', contactId)
  // An invitation asks for a notification: the owner must act.
  for (const { command } of router.all('SEND').slice(-1))
    expect(command).toMatchObject({ flags: { notification: true } })
  return { contactId, link, bobId, req, invitationId: req.invitationId }
}
/** bob allows who has accepted him, and both can talk. */
const complete = async (alice: TestAgent, aliceId: string, bob: TestAgent, bobId: string): Promise<void> => {
  const { confirmationId, info } = await bob.next('CONF', bobId)
  expect(textOf(info)).toBe('alice')
  await bob.agent.allowConnection({ connectionId: bobId, confirmationId, info: 'bob again' })
  expect(textOf((await alice.next('INFO', aliceId)).info)).toBe('bob again')
  await alice.next('CON', aliceId)
  await bob.next('CON', bobId)
  await bob.agent.sendMessage({ connectionId: bobId, body: 'from bob' })
  expect(textOf((await alice.next('MSG', aliceId)).body)).toBe('from bob')
  await alice.agent.sendMessage({ connectionId: aliceId, body: 'from alice' })
  expect(textOf((await bob.next('MSG', bobId)).body)).toBe('from alice')
}

describe('B18 a contact address', () => {
  it('B18 REQ, accept, CONF, allow, INFO and CON: the owner becomes the joiner of a new connection', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { contactId, link, bobId, req } = await requested(alice, bob)
    expect(link).toMatch(/^simplex:\/contact#\//)
    expect(req).toMatchObject({ connectionId: contactId, pqSupport: true, routers: [router.address] })
    expect(textOf(req.info)).toBe('bob')
    expect(seenFrom('bob')).toEqual(['NEW', 'SEND'])
    // Anybody may send to an address: nothing in the request is signed, and nothing secures the queue.
    expect(router.all('SEND')[0]?.authorization).toHaveLength(0)
    const accepted = await alice.agent.acceptContact({ invitationId: req.invitationId, info: 'alice' })
    expect(accepted.connectionId).not.toBe(contactId)
    await complete(alice, accepted.connectionId, bob, bobId)
    expect(typesOf(alice)).toEqual(['REQ', 'INFO', 'CON', 'MSG', 'SENT'])
    expect(typesOf(bob)).toEqual(['CONF', 'CON', 'SENT', 'MSG'])
    for (const agent of [alice, bob]) {
      expect(await agent.store.find(commands, {})).toEqual([])
      expect(await agent.store.find(handshakes, {})).toEqual([])
    }
  })

  it('B18 its link is good for many, one after the other and at once, also after a restart', async () => {
    let alice = await start('alice')
    const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const connect = async (names: readonly string[]): Promise<void> => {
      const others = await Promise.all(names.map(name => start(name)))
      const joined = await Promise.all(others.map(other => other.agent.joinConnection({ link, info: other.name })))
      const ids = new Map(others.map((other, index) => [other.name, { other, id: joined[index]?.connectionId ?? '' }]))
      for (const _ of names) {
        const { invitationId, info } = await alice.next('REQ', contactId)
        const asking = ids.get(textOf(info))
        if (asking === undefined) throw new Error('an unknown one')
        const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
        await complete(alice, connectionId, asking.other, asking.id)
      }
    }
    await connect(['bob'])
    await connect(['carol', 'dave'])
    await alice.agent.ackEvents({ upTo: 1_000 })
    alice = await restart(alice)
    await connect(['eve'])
    const { connections: listed } = await alice.agent.listConnections({})
    expect(listed.map(({ status }) => status).toSorted()).toEqual([
      'connected',
      'connected',
      'connected',
      'connected',
      'contact',
    ])
    expect(listed.find(({ status }) => status === 'contact')).toMatchObject({
      connectionId: contactId,
      ready: false,
      rcvRouters: [router.address],
      sndRouters: [],
      subscribed: true,
    })
  })

  it('B18 on the bundled router, whose signatures count', async () => {
    const bundled = await world.startRouter()
    const alice = await world.startAgent('alice', [bundled])
    const bob = await world.startAgent('bob', [bundled])
    const { bobId, invitationId } = await requested(alice, bob)
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    await complete(alice, connectionId, bob, bobId)
    expect([...alice.events, ...bob.events].filter(({ type }) => type === 'ERR')).toEqual([])
  })

  it('B12 B18 where routers know nothing of sender-secured queues, the accepted connection makes the legacy handshake', async () => {
    router.modeOf = () => undefined
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { bobId, invitationId } = await requested(alice, bob)
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    await complete(alice, connectionId, bob, bobId)
    expect(router.all('KEY')).toHaveLength(2)
    expect(router.all('SKEY')).toHaveLength(0)
  })

  it('B12 B18 B69 an address that nobody listens to is asked, and so is the legacy handshake of who was accepted', async () => {
    router.modeOf = () => undefined
    let [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
    // Started again, alice listens to nobody.
    alice = await start('alice', { store: { open: alice.crash() } })
    const { connectionId: bobId } = await bob.agent.joinConnection({ link, info: 'bob' })
    await world.until(() => seenFrom('bob').includes('SEND'), 'the invitation sent')
    await world.clock.advance(10_000)
    expect(countOf(alice, 'REQ')).toBe(0)
    const ask = async (connectionId: string) =>
      (await alice.agent.getMessages({ connectionIds: [connectionId] })).results
    expect(await ask(contactId)).toEqual([{ connectionId: contactId, ok: true, brokerId: expect.any(String) }])
    const { invitationId } = await alice.next('REQ', contactId)
    const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    const { confirmationId } = await bob.next('CONF', bobId)
    alice = await start('alice', { store: { open: alice.crash() } })
    await bob.agent.allowConnection({ connectionId: bobId, confirmationId, info: 'bob again' })
    for (const [type, agent, connectionId] of [
      ['INFO', alice, aliceId],
      ['CON', bob, bobId],
      ['CON', alice, aliceId],
    ] as const) {
      // Each answer of the other party takes a question, and each question finds at most one.
      for (let asked = 0; asked < 5 && countOf(agent, type) === 0; asked++) {
        await ask(aliceId)
        await world.clock.advance(10_000)
      }
      await agent.next(type, connectionId)
    }
    expect(countOf(alice, 'UP') + countOf(alice, 'ERR') + countOf(bob, 'ERR')).toBe(0)
  })

  it('B18 B68 where each connection has a session of its own, the invitation and all that follows go over those', async () => {
    const alice = await start('alice', { network: { sessionMode: 'entity' } })
    const bob = await start('bob', { network: { sessionMode: 'entity' } })
    const accepted = await requested(alice, bob)
    const other = await bob.agent.joinConnection({ link: accepted.link, info: 'bob' })
    const { invitationId } = await alice.next('REQ', accepted.contactId)
    for (const [id, bobId] of [
      [accepted.invitationId, accepted.bobId],
      [invitationId, other.connectionId],
    ] as const) {
      const { connectionId } = await alice.agent.acceptContact({ invitationId: id, info: 'alice' })
      await complete(alice, connectionId, bob, bobId)
    }
    const sessionsOf = (name: string) =>
      new Set(router.seen.map(({ session }) => session).filter(({ channel }) => channel.remoteAddress === name)).size
    expect([sessionsOf('alice'), sessionsOf('bob')]).toEqual([3, 2])
  })

  it('B18 createConnection of an address is repeated under its key; the key of an invitation is another one', async () => {
    const alice = await start('alice')
    const first = await alice.agent.createConnection({ mode: 'contact', idempotencyKey: 'address' })
    expect(await alice.agent.createConnection({ mode: 'contact', idempotencyKey: 'address' })).toEqual(first)
    await expect(alice.agent.createConnection({ idempotencyKey: 'address' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'idempotencyKey',
    })
    expect(router.all('NEW')).toHaveLength(1)
    const [created] = router.all('NEW')
    expect(created?.command).toMatchObject({ request: { mode: 'contact' } })
  })

  it('B18 calls for connections are refused for an address', async () => {
    const alice = await start('alice')
    const { connectionId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const prohibited = { code: 'CMD_PROHIBITED', field: connectionId }
    await expect(alice.agent.sendMessage({ connectionId, body: 'x' })).rejects.toMatchObject(prohibited)
    await expect(alice.agent.allowConnection({ connectionId, confirmationId: 'x' })).rejects.toMatchObject(prohibited)
    await expect(alice.agent.joinConnection({ connectionId, link })).rejects.toMatchObject(prohibited)
  })
})

describe('B18 invitations', () => {
  /** An invitation of whoever, put into the queue of an address. */
  const send = (
    link: string,
    envelope: AgentEnvelope,
    { queue = router.queues[0], senderKey = false }: { queue?: ScriptedQueue | undefined; senderKey?: boolean } = {},
  ): void => {
    const dhKey = parseConnectionRequest(link).queues[0]?.address.dhKey
    if (dhKey === undefined || queue === undefined) throw new Error('no queue')
    const own = generateKeyPair('x25519')
    const key = { algorithm: 'ed25519', raw: generateKeyPair('ed25519').publicKey } as const
    const sealed = sealEnvelope(
      boxSecret(x25519(own.privateKey, dhKey)),
      randomBytes(24),
      { version: 4, dhKey: own.publicKey },
      { body: encodeAgentEnvelope(envelope), ...(senderKey ? { senderKey: key } : {}) },
      CONFIRMATION_PADDING,
    )
    router.put(queue, sealed)
  }
  const invitationFrom = async (bob: TestAgent): Promise<InvitationRequest> => {
    const request = parseConnectionRequest((await bob.agent.createConnection({})).link)
    if (request.mode !== 'invitation') throw new Error('no invitation')
    return request
  }
  const versions: ReadonlyArray<[string, (request: InvitationRequest) => InvitationRequest]> = [
    ['agent', request => ({ ...request, agentVersions: { min: 90, max: 99 } })],
    [
      'client',
      request => ({ ...request, queues: request.queues.map(q => ({ ...q, clientVersions: { min: 90, max: 99 } })) }),
    ],
    ['e2e', request => ({ ...request, e2e: { ...request.e2e, versionRange: { min: 90, max: 99 } } })],
  ]

  it.each(versions)(
    'B18 of another %s version is told as well, without PQ; accepting it is refused, rejecting is not',
    async (_, change) => {
      const [alice, bob] = [await start('alice'), await start('bob')]
      const { connectionId, link } = await alice.agent.createConnection({ mode: 'contact' })
      const request = change(await invitationFrom(bob))
      send(link, { type: 'invitation', agentVersion: 9, request, info: Buffer.from('new') })
      const { invitationId, pqSupport, info } = await alice.next('REQ', connectionId)
      expect([pqSupport, textOf(info)]).toEqual([false, 'new'])
      for (let time = 0; time < 2; time++) {
        await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({ code: 'AGENT_VERSION' })
        await expect(alice.agent.prepareConnectionToAccept({ invitationId })).rejects.toMatchObject({
          code: 'AGENT_VERSION',
        })
      }
      expect(await alice.store.count(connections)).toBe(1)
      await alice.agent.rejectContact({ invitationId })
      await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({ code: 'INVITATION_NOT_FOUND' })
    },
  )

  it('B18 pqSupport is false below agent version 5 and below e2e version 3, where accepting may still be possible', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const request = await invitationFrom(bob)
    const e2e = { ...request.e2e, versionRange: { min: 2, max: 2 } }
    send(link, { type: 'invitation', agentVersion: 7, request: { ...request, e2e }, info: Buffer.alloc(0) })
    const { invitationId, pqSupport } = await alice.next('REQ', connectionId)
    expect(pqSupport).toBe(false)
    await alice.agent.acceptContact({ invitationId })
    await bob.next('CONF')
  })

  it('B18 the same invitation again, under another message of the router, tells nothing new, before and after it was accepted', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const request = await invitationFrom(bob)
    const envelope = { type: 'invitation', agentVersion: 7, request, info: Buffer.from('bob') } as const
    for (let time = 0; time < 3; time++) send(link, envelope)
    const { invitationId } = await alice.next('REQ', connectionId)
    await alice.agent.acceptContact({ invitationId })
    send(link, envelope)
    send(link, { ...envelope, request: await invitationFrom(bob) })
    await alice.next('REQ', connectionId)
    await world.clock.advance(10_000)
    expect(countOf(alice, 'REQ')).toBe(2)
    expect(router.queues[0]?.messages).toEqual([])
  })

  it('B18 B30 what is no invitation, at an address, and an invitation elsewhere: told as errors and acknowledged', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const { connectionId: rcvId, link: invitation } = await alice.agent.createConnection({})
    const request = await invitationFrom(bob)
    const envelope = { type: 'invitation', agentVersion: 7, request, info: Buffer.alloc(0) } as const
    const confirmation = { type: 'confirmation', agentVersion: 7, encryptedInfo: randomBytes(100) } as const
    send(link, confirmation)
    expect((await alice.next('ERR', contactId)).error.message).toBe('handshake: missing sender key')
    send(link, confirmation, { senderKey: true })
    expect((await alice.next('ERR', contactId)).error.code).toBe('AGENT_PROHIBITED')
    send(link, envelope, { senderKey: true })
    expect((await alice.next('ERR', contactId)).error.message).toBe('handshake: incorrect state')
    send(link, { type: 'message', agentVersion: 7, encryptedMessage: randomBytes(100) })
    expect((await alice.next('ERR', contactId)).error.message).toBe('handshake: incorrect state')
    send(invitation, envelope, { queue: router.queues[1] })
    expect((await alice.next('ERR', rcvId)).error).toMatchObject({ code: 'AGENT_PROHIBITED', field: rcvId })
    await world.clock.settle()
    expect(router.queues.flatMap(({ messages }) => messages)).toEqual([])
    send(link, envelope)
    await alice.next('REQ', contactId)
  })

  it('B18 rejected: nobody is told, it is gone, and rejecting again is fine; an accepted one is not rejected', async () => {
    const [alice, bob, carol] = [await start('alice'), await start('bob'), await start('carol')]
    const { contactId, link, invitationId } = await requested(alice, bob)
    await alice.agent.rejectContact({ invitationId })
    await alice.agent.rejectContact({ invitationId })
    await alice.agent.rejectContact({ invitationId: 'never' })
    await world.clock.advance(100_000)
    expect(typesOf(bob)).toEqual([])
    await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({
      code: 'INVITATION_NOT_FOUND',
      field: 'invitationId',
    })
    expect(await alice.store.find(invitations, {})).toEqual([])
    await carol.agent.joinConnection({ link })
    const second = await alice.next('REQ', contactId)
    await alice.agent.acceptContact({ invitationId: second.invitationId })
    await expect(alice.agent.rejectContact({ invitationId: second.invitationId })).rejects.toMatchObject({
      code: 'INVITATION_ACCEPTED',
    })
    await carol.next('CONF')
  })

  it('B18 a deleted address takes its open invitations with it, not the connections that were accepted', async () => {
    const [alice, bob, carol] = [await start('alice'), await start('bob'), await start('carol')]
    const { contactId, link, bobId, invitationId } = await requested(alice, bob)
    await carol.agent.joinConnection({ link })
    const open = await alice.next('REQ', contactId)
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    await alice.agent.deleteConnection({ connectionId: contactId })
    await alice.next('DEL_CONN', contactId)
    for (const call of [alice.agent.acceptContact, alice.agent.prepareConnectionToAccept])
      await expect(call({ invitationId: open.invitationId })).rejects.toMatchObject({ code: 'INVITATION_NOT_FOUND' })
    await complete(alice, connectionId, bob, bobId)
    await alice.agent.deleteConnection({ connectionId })
    await alice.next('DEL_CONN', connectionId)
    expect(await alice.store.find(invitations, {})).toEqual([])
  })
})

describe('B18 accepting', () => {
  it('B18 ★ a second accept is refused, also at the same moment; under the same key it answers as the first', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { invitationId, bobId } = await requested(alice, bob)
    const accept = { invitationId, info: 'alice', idempotencyKey: 'accept' }
    const answers = await Promise.all(Array.from({ length: 4 }, () => alice.agent.acceptContact(accept)))
    const [first] = answers
    expect(new Set(answers.map(({ connectionId }) => connectionId)).size).toBe(1)
    const refused = { code: 'INVITATION_ACCEPTED', field: 'invitationId' }
    await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject(refused)
    await expect(alice.agent.acceptContact({ invitationId, idempotencyKey: 'other' })).rejects.toMatchObject(refused)
    await complete(alice, first?.connectionId ?? '', bob, bobId)
    await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject(refused)
    expect(await alice.agent.acceptContact(accept)).toEqual(first)
    expect(await alice.store.count(connections)).toBe(2)
    expect(countOf(bob, 'CONF')).toBe(1)
  })

  it('B18 without a key one of several accepts at the same moment wins', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { invitationId, bobId } = await requested(alice, bob)
    const settled = await Promise.allSettled(
      Array.from({ length: 4 }, () => alice.agent.acceptContact({ invitationId, info: 'alice' })),
    )
    const won = settled.flatMap(answer => (answer.status === 'fulfilled' ? [answer.value.connectionId] : []))
    expect(won).toHaveLength(1)
    for (const answer of settled)
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'INVITATION_ACCEPTED' })
    await complete(alice, won[0] ?? '', bob, bobId)
  })

  it.each(['SKEY', 'NEW'])(
    'B15 B18 ★ %s that a router refuses gives the invitation back: accepted again it is the same connection, with the same keys',
    async step => {
      let alice = await start('alice')
      const bob = await start('bob')
      const { invitationId, bobId } = await requested(alice, bob)
      answerOf(step, 'alice', errorAnswer('INTERNAL'))
      const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'lost' })
      await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({ code: 'INVITATION_ACCEPTED' })
      expect((await alice.next('ERR', connectionId)).error.code).toBe('INTERNAL')
      const [queue] = await alice.store.find(sndQueues, {})
      const [row] = await alice.store.find(connections, { where: { connectionId } })
      expect(await alice.store.find(invitations, {})).toMatchObject([{ accepted: false, acceptedBy: connectionId }])
      expect(await alice.store.find(commands, {})).toEqual([])
      alice = await restart(alice)
      allGood()
      expect(await alice.agent.acceptContact({ invitationId, info: 'alice', idempotencyKey: 'again' })).toEqual({
        connectionId,
      })
      expect(await alice.agent.acceptContact({ invitationId, idempotencyKey: 'again' })).toEqual({ connectionId })
      await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({ code: 'INVITATION_ACCEPTED' })
      await complete(alice, connectionId, bob, bobId)
      const [queueAfter] = await alice.store.find(sndQueues, {})
      expect(queueAfter).toEqual({ ...queue, status: 'active' })
      expect(row?.ratchet).not.toBeNull()
      const skeys = router.all('SKEY').filter(({ session }) => session.channel.remoteAddress === 'alice')
      expect(new Set(skeys.map(({ command }) => (command.type === 'SKEY' ? textOf(command.key.raw) : ''))).size).toBe(1)
      expect(countOf(bob, 'CONF')).toBe(1)
      expect(countOf(alice, 'ERR')).toBe(1)
    },
  )

  it('B18 an attempt that failed and was deleted leaves the invitation: accepted again it is a new connection', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { invitationId, bobId } = await requested(alice, bob)
    answerOf('SKEY', 'alice', errorAnswer('INTERNAL'))
    const failed = await alice.agent.acceptContact({ invitationId })
    await alice.next('ERR', failed.connectionId)
    await alice.agent.deleteConnection(failed)
    allGood()
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    expect(connectionId).not.toBe(failed.connectionId)
    await complete(alice, connectionId, bob, bobId)
  })

  it('B18 the key of one accepted invitation does not accept another one, nor does a connection that was prepared to join', async () => {
    const [alice, bob, carol] = [await start('alice'), await start('bob'), await start('carol')]
    const { invitationId, bobId, contactId, link } = await requested(alice, bob)
    const { connectionId: carolId } = await carol.agent.joinConnection({ link })
    const { invitationId: other } = await alice.next('REQ', contactId)
    const key = { idempotencyKey: 'one' }
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice', ...key })
    await expect(alice.agent.acceptContact({ invitationId: other, ...key })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'idempotencyKey',
    })
    const prepared = await alice.agent.prepareConnectionToJoin({ link })
    await expect(alice.agent.acceptContact({ invitationId: other, ...prepared })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'connectionId',
    })
    await complete(alice, connectionId, bob, bobId)
    const second = await alice.agent.acceptContact({ invitationId: other, info: 'alice' })
    await complete(alice, second.connectionId, carol, carolId)
  })

  it('B18 accepting that could not be stored has accepted nothing', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { invitationId, bobId } = await requested(alice, bob)
    let failures = 1
    beforeCommits(alice.store, changes => {
      if (touches(changes, invitations) && failures-- > 0) throw brokenDisk()
    })
    await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({ code: 'STORE_WRITE' })
    expect(await alice.store.find(invitations, {})).toMatchObject([{ accepted: false, acceptedBy: null }])
    expect(await alice.store.count(connections)).toBe(1)
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    await complete(alice, connectionId, bob, bobId)
  })

  it('B16 B18 as a prepared connection, whose id is known before bob can answer', async () => {
    const [alice, bob, carol] = [await start('alice'), await start('bob'), await start('carol')]
    const { invitationId, bobId, contactId, link } = await requested(alice, bob)
    await carol.agent.joinConnection({ link })
    const other = await alice.next('REQ', contactId)
    const prepared = await alice.agent.prepareConnectionToAccept({ invitationId, idempotencyKey: 'prepare' })
    expect(await alice.agent.prepareConnectionToAccept({ invitationId, idempotencyKey: 'prepare' })).toEqual(prepared)
    expect(await alice.store.find(connections, { where: prepared })).toMatchObject([{ status: 'new' }])
    const accept = { invitationId, info: 'alice', ...prepared }
    // Its id is the key of the call, and the connection keeps the key that it was prepared under.
    expect(await alice.agent.acceptContact({ ...accept, idempotencyKey: 'accept' })).toEqual(prepared)
    expect(await alice.store.find(connections, { where: prepared })).toMatchObject([{ idempotencyKey: 'prepare' }])
    expect(await alice.agent.acceptContact(accept)).toEqual(prepared)
    const misused = { code: 'CMD_PROHIBITED', field: 'connectionId' }
    for (const connectionId of [prepared.connectionId, contactId]) {
      await expect(alice.agent.acceptContact({ invitationId: other.invitationId, connectionId })).rejects.toMatchObject(
        misused,
      )
    }
    await expect(
      alice.agent.acceptContact({ invitationId: other.invitationId, connectionId: 'nobody' }),
    ).rejects.toMatchObject({ code: 'CONN_NOT_FOUND' })
    await complete(alice, prepared.connectionId, bob, bobId)
    expect(countOf(bob, 'CONF')).toBe(1)
  })

  it('B18 while an attempt that failed is there, the invitation is not accepted as yet another connection', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { invitationId, bobId } = await requested(alice, bob)
    answerOf('SKEY', 'alice', errorAnswer('INTERNAL'))
    const { connectionId } = await alice.agent.acceptContact({ invitationId })
    await alice.next('ERR', connectionId)
    allGood()
    const prepared = await alice.agent.prepareConnectionToAccept({ invitationId })
    await expect(alice.agent.acceptContact({ invitationId, ...prepared })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'connectionId',
    })
    await alice.agent.acceptContact({ invitationId, connectionId, info: 'alice' })
    await complete(alice, connectionId, bob, bobId)
  })
})

describe('B18 B21 asynchronously', () => {
  /** The answer of a stored call, without what every event has. */
  const answerTo = async (agent: TestAgent, correlationId: string) => {
    const find = () => agent.events.find(event => event.correlationId === correlationId)
    await world.until(() => find() !== undefined, `an answer to ${correlationId}`)
    const event = find()
    if (event?.type === 'OK') return event.result as { connectionId: string; link: string }
    return event?.type === 'ERR' ? event.error.code : event?.type
  }

  it('B18 ★ accepted once, whoever asks; ERR for the second; the same connection again after a refusal', async () => {
    let alice = await start('alice')
    const bob = await start('bob')
    await alice.agent.createConnectionAsync({ mode: 'contact', correlationId: 'create' })
    const address = await answerTo(alice, 'create')
    if (address === undefined || typeof address === 'string') throw new Error('no address')
    await bob.agent.joinConnectionAsync({ link: address.link, info: 'bob', correlationId: 'join' })
    const joined = await answerTo(bob, 'join')
    const { invitationId } = await alice.next('REQ', address.connectionId)
    answerOf('SKEY', 'alice', errorAnswer('INTERNAL'))
    await alice.agent.acceptContactAsync({ invitationId, info: 'lost', correlationId: 'first' })
    await alice.agent.acceptContactAsync({ invitationId, info: 'lost', correlationId: 'second' })
    const answers = [await answerTo(alice, 'first'), await answerTo(alice, 'second')]
    const accepted = answers.find(answer => typeof answer === 'object')
    expect(answers.filter(answer => typeof answer === 'string')).toEqual(['INVITATION_ACCEPTED'])
    await world.until(() => countOf(alice, 'ERR') === 2, 'the refusal')
    alice = await restart(alice)
    allGood()
    await alice.agent.acceptContactAsync({ invitationId, info: 'alice', correlationId: 'third' })
    expect(await answerTo(alice, 'third')).toEqual(accepted)
    if (typeof accepted !== 'object' || typeof joined !== 'object') throw new Error('not joined')
    await complete(alice, accepted.connectionId, bob, joined.connectionId)
    await alice.agent.rejectContactAsync({ invitationId, correlationId: 'reject' })
    expect(await answerTo(alice, 'reject')).toBe('INVITATION_ACCEPTED')
    expect(await alice.store.count(connections)).toBe(2)
  })

  it('B16 B18 as prepared connections, on both sides', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { link } = await alice.agent.createConnection({ mode: 'contact' })
    const own = await bob.agent.prepareConnectionToJoin({ link })
    await bob.agent.joinConnectionAsync({ link, info: 'bob', correlationId: 'join', ...own })
    expect(await answerTo(bob, 'join')).toEqual(own)
    const { invitationId } = await alice.next('REQ')
    const theirs = await alice.agent.prepareConnectionToAccept({ invitationId })
    await alice.agent.acceptContactAsync({ invitationId, info: 'alice', correlationId: 'accept', ...theirs })
    expect(await answerTo(alice, 'accept')).toEqual(theirs)
    await complete(alice, theirs.connectionId, bob, own.connectionId)
  })
})

describe('B18 joining by an address', () => {
  it.each(['NEW', 'SEND'])(
    'B15 ★ %s whose answer is lost is repeated with the same queue and keys: one REQ, after restarts too',
    async step => {
      const alice = await start('alice')
      const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
      let bob = await start('bob')
      answerOf(step, 'bob', 'loseAnswer')
      const { connectionId: bobId } = await bob.agent.joinConnection({ link, info: 'bob' })
      await world.clock.advance(70_000)
      const [before] = await bob.store.find(rcvQueues, {})
      const [rowBefore] = await bob.store.find(connections, {})
      expect(seenFrom('bob').filter(type => type === step).length).toBeGreaterThan(1)
      bob = await restart(bob)
      allGood()
      const { invitationId } = await alice.next('REQ', contactId)
      await world.clock.advance(200_000)
      expect(countOf(alice, 'REQ')).toBe(1)
      const [after] = await bob.store.find(rcvQueues, {})
      const [row] = await bob.store.find(connections, {})
      expect(after?.e2ePrivateKey).toEqual(before?.e2ePrivateKey)
      expect(after?.rcvPrivateKey).toEqual(before?.rcvPrivateKey)
      expect(row?.x3dhKeys).toEqual(rowBefore?.x3dhKeys)
      expect(row?.status).toBe('rcv')
      const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
      await complete(alice, connectionId, bob, bobId)
    },
  )

  it('B18 the owner’s confirmation comes before the router’s answer to the invitation: it is not sent again', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
    answerOf('SEND', 'bob', 'loseAnswer')
    const { connectionId: bobId } = await bob.agent.joinConnection({ link, info: 'bob' })
    const { invitationId } = await alice.next('REQ', contactId)
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    await world.until(() => countOf(bob, 'CONF') === 1, 'CONF')
    const sent = seenFrom('bob').filter(type => type === 'SEND').length
    allGood()
    await world.clock.advance(300_000)
    expect(seenFrom('bob').filter(type => type === 'SEND')).toHaveLength(sent)
    expect(await bob.store.find(commands, {})).toEqual([])
    expect(await bob.store.find(handshakes, {})).toEqual([])
    await complete(alice, connectionId, bob, bobId)
    expect(countOf(bob, 'CONF')).toBe(1)
    expect(countOf(alice, 'REQ')).toBe(1)
  })

  it.each(['NEW', 'SEND'])(
    'B15 %s that a router refuses is told once; the repeated call goes on with the same keys',
    async step => {
      const [alice, bob] = [await start('alice'), await start('bob')]
      const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
      answerOf(step, 'bob', errorAnswer(step === 'NEW' ? 'AUTH' : 'QUOTA'))
      const join = { link, info: 'bob', idempotencyKey: 'join' }
      const { connectionId: bobId } = await bob.agent.joinConnection(join)
      await bob.next('ERR', bobId)
      const [row] = await bob.store.find(connections, {})
      await world.clock.advance(300_000)
      expect(countOf(bob, 'ERR')).toBe(1)
      allGood()
      await Promise.all([bob.agent.joinConnection(join), bob.agent.joinConnection(join)])
      const { invitationId } = await alice.next('REQ', contactId)
      const [rowAfter] = await bob.store.find(connections, {})
      expect(rowAfter?.x3dhKeys).toEqual(row?.x3dhKeys)
      const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
      await complete(alice, connectionId, bob, bobId)
      expect([countOf(alice, 'REQ'), countOf(bob, 'ERR')]).toEqual([1, 1])
    },
  )

  it('B18 a deleted address refuses: AUTH is told, and the connection can be deleted', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
    await alice.agent.deleteConnection({ connectionId: contactId })
    await alice.next('DEL_CONN')
    const { connectionId } = await bob.agent.joinConnection({ link })
    expect((await bob.next('ERR', connectionId)).error.code).toBe('AUTH')
    await bob.agent.deleteConnection({ connectionId })
    await bob.next('DEL_CONN', connectionId)
    expect(router.queues).toEqual([])
  })

  it('B16 B18 as a prepared connection', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: contactId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const prepared = await bob.agent.prepareConnectionToJoin({ link })
    await world.clock.advance(10_000)
    expect(seenFrom('bob')).toEqual([])
    const join = { link, info: 'bob', ...prepared }
    await Promise.all([bob.agent.joinConnection(join), bob.agent.joinConnection(join)])
    const { invitationId } = await alice.next('REQ', contactId)
    const { connectionId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    await complete(alice, connectionId, bob, prepared.connectionId)
    expect(await bob.agent.joinConnection(join)).toEqual(prepared)
    expect(countOf(alice, 'REQ')).toBe(1)
  })
})
