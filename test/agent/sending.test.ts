/** From sendMessage to SENT: numbers, ratchet steps, rows, and what the router sees. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { randomBytes } from 'node:crypto'
import { boxSecret, x25519 } from '../../src/crypto/index.js'
import { maxMessageLength } from '../../src/agent/index.js'
import { maxInfoLengthOf, maxMessageLengthOf, maxReceiptInfoLengthOf } from '../../src/agent/limits.js'
import { decodeAgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import { decodeEnvelope, openEnvelope } from '../../src/smp/protocol/clientMessage.js'
import { connections, rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import type { SeenCommand } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
let bob: TestAgent
let toBob: string
let bobId: string
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

const connect = async (pq?: boolean) => {
  bob = await world.start('bob')
  const { initiatorId, joinerId } = await world.connect(alice, bob, pq)
  toBob = initiatorId
  bobId = joinerId
  await world.clock.settle()
}
const sends = (): SeenCommand[] => world.router.all('SEND')
const bodyOf = ({ command }: SeenCommand): Uint8Array => (command.type === 'SEND' ? command.body : Buffer.alloc(0))

/** What the double ratchet made of each SEND to an agent: the same bytes mean the same step of the ratchet. */
const ratchetMessages = async (recipient: TestAgent, seen: readonly SeenCommand[]): Promise<string[]> => {
  const queues = await recipient.store.find(rcvQueues, {})
  return seen.map(send => {
    const queue = queues.find(row => Buffer.compare(row.sndId ?? Buffer.alloc(0), send.entityId) === 0)
    const { content } = {
      content: openEnvelope(boxSecret(queue?.e2eSecret ?? Buffer.alloc(32)), decodeEnvelope(bodyOf(send))),
    }
    const envelope = decodeAgentEnvelope(content.body)
    return envelope.type === 'message' ? Buffer.from(envelope.encryptedMessage).toString('hex') : envelope.type
  })
}

const connectionRow = async (agent: TestAgent) => (await agent.store.find(connections, {}))[0]

describe('B40 the ratchet advances at enqueue, the body is encrypted at delivery', () => {
  it('B40 every attempt, also after a restart, sends the same ratchet message in a new encryption of the queue', async () => {
    await connect()
    const before = sends().length
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    await alice.agent.sendMessage({ connectionId: toBob, body: 'one' })
    const enqueued = (await connectionRow(alice))?.ratchet
    await world.until(() => sends().length >= before + 3, 'three attempts')
    expect((await connectionRow(alice))?.ratchet).toEqual(enqueued)
    alice = await world.start('alice', { store: { open: alice.crash() } })
    await world.until(() => sends().length >= before + 5, 'two attempts after the restart')
    expect((await connectionRow(alice))?.ratchet).toEqual(enqueued)
    world.router.react = () => undefined
    const { body, integrity } = await bob.next('MSG')
    expect(textOf(body)).toBe('one')
    expect(integrity).toEqual({ result: 'ok' })
    const attempts = sends().slice(before)
    expect(new Set(await ratchetMessages(bob, attempts)).size).toBe(1)
    expect(new Set(attempts.map(attempt => Buffer.from(bodyOf(attempt)).toString('hex'))).size).toBe(attempts.length)
    await alice.next('SENT')
    expect((await connectionRow(alice))?.ratchet).toEqual(enqueued)
  })

  it('B40 what waits is the body with the header and key of its ratchet step, not a ciphertext', async () => {
    await connect()
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    const before = (await connectionRow(alice))?.ratchet
    await alice.agent.sendMessage({ connectionId: toBob, body: 'the body' })
    const [row] = await alice.store.find(sndMessages, {})
    expect(row?.encrypted).toBeNull()
    expect(row?.header).toBeInstanceOf(Uint8Array)
    expect(textOf(row?.body ?? Buffer.alloc(0))).toContain('the body')
    expect((await connectionRow(alice))?.ratchet).not.toEqual(before)
  })

  it('B40 each message takes one step at its call, in the order of the calls, however they are delivered', async () => {
    await connect()
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    for (const body of ['one', 'two', 'three']) await alice.agent.sendMessage({ connectionId: toBob, body })
    const rows = await alice.store.find(sndMessages, { orderBy: ['messageId'] })
    expect(rows.map(({ messageId, sendId }) => [messageId, sendId])).toEqual([
      [2, 2],
      [3, 3],
      [4, 4],
    ])
    expect(rows.slice(1).map(({ previousHash }) => previousHash)).toEqual(rows.slice(0, -1).map(({ hash }) => hash))
    world.network.setReachable(world.router.place, 'answers')
    for (const expected of ['one', 'two', 'three']) {
      const { body, integrity, messageId } = await bob.next('MSG')
      expect([textOf(body), integrity]).toEqual([expected, { result: 'ok' }])
      await bob.agent.ackMessage({ connectionId: bobId, messageId })
    }
  })

  it('B40 a confirmation is stored encrypted, and its attempts are the same', async () => {
    const bob = await world.start('bob')
    const { link } = await alice.agent.createConnection({})
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    await bob.agent.joinConnection({ link })
    await world.until(() => sends().length > 1, 'a second attempt')
    const [row] = await bob.store.find(sndMessages, {})
    expect(row?.type).toBe('CONN_INFO_REPLY')
    expect(row?.encrypted).toBeInstanceOf(Uint8Array)
    expect(row?.body).toBeNull()
    const [queue] = await alice.store.find(rcvQueues, {})
    const infos = sends().map(send => {
      const envelope = decodeEnvelope(bodyOf(send))
      const secret = x25519(queue?.e2ePrivateKey ?? Buffer.alloc(32), envelope.header.dhKey ?? Buffer.alloc(32))
      return Buffer.from(openEnvelope(boxSecret(secret), envelope).body).toString('hex')
    })
    expect(new Set(infos).size).toBe(1)
    expect(infos[0]).toContain(Buffer.from(row?.encrypted ?? []).toString('hex'))
  })
})

describe('B44 what the router’s OK means', () => {
  it('B44 A_MSG: SENT with its number, once, when the router has it and not before', async () => {
    await connect()
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'hold' : undefined)
    const before = sends().length
    const { messageId } = await alice.agent.sendMessage({ connectionId: toBob, body: 'one' })
    await world.clock.settle()
    expect(alice.events.filter(({ type }) => type === 'SENT')).toEqual([])
    const held = sends()[before]
    if (held !== undefined) world.router.release(held)
    expect((await alice.next('SENT', toBob)).messageId).toBe(messageId)
    await world.clock.advance(60_000)
    expect(alice.events.filter(({ type }) => type === 'SENT')).toHaveLength(1)
  })

  it('B44 CONN_INFO on the fast path: the send queue is active and the connection complete (CON)', async () => {
    const { connectionId, confirmationId } = await world.invite(alice)
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'hold' : undefined)
    const before = sends().length
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.until(() => sends().length > before, 'SEND')
    expect(await alice.store.find(sndQueues, {})).toMatchObject([{ status: 'secured' }])
    expect((await connectionRow(alice))?.status).toBe('allowed')
    const held = sends()[before]
    if (held !== undefined) world.router.release(held)
    await alice.next('CON', connectionId)
    expect(await alice.store.find(sndQueues, {})).toMatchObject([{ status: 'active' }])
    expect((await connectionRow(alice))?.status).toBe('connected')
  })

  it('B44 CONN_INFO to a queue that its recipient must secure: it carries the key, unsigned, and the queue is only confirmed', async () => {
    const { connectionId, confirmationId, peer } = await world.invite(alice, { legacyReply: true })
    const before = { sends: sends().length, secures: world.router.all('SKEY').length }
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.until(() => sends().length > before.sends, 'SEND')
    await world.clock.settle()
    expect(world.router.all('SKEY')).toHaveLength(before.secures)
    const [sent] = sends().slice(before.sends)
    expect(sent?.authorization).toHaveLength(0)
    const envelope = decodeEnvelope(sent === undefined ? Buffer.alloc(0) : bodyOf(sent))
    const secret = x25519(peer.replyKeys.privateKey, envelope.header.dhKey ?? Buffer.alloc(32))
    expect(openEnvelope(boxSecret(secret), envelope).senderKey?.algorithm).toBe('ed25519')
    expect(await alice.store.find(sndQueues, {})).toMatchObject([{ status: 'confirmed' }])
    expect(alice.events.map(({ type }) => type)).toEqual(['CONF'])
  })

  it('B44 the joiner’s confirmation makes its send queue confirmed, its first message active', async () => {
    bob = await world.start('bob')
    const { link } = await alice.agent.createConnection({})
    const { connectionId } = await bob.agent.joinConnection({ link })
    await alice.next('CONF')
    await world.clock.settle()
    expect(await bob.store.find(sndQueues, {})).toMatchObject([{ status: 'confirmed' }])
    await bob.agent.sendMessage({ connectionId, body: 'early' })
    await bob.next('SENT')
    expect(await bob.store.find(sndQueues, {})).toMatchObject([{ status: 'active' }])
  })
})

describe('B47 a message that is too large', () => {
  it('B47 is refused before anything is spent: the error names the limit, and the next message is in sequence', async () => {
    await connect(false)
    const before = await connectionRow(alice)
    await expect(
      alice.agent.sendMessage({ connectionId: toBob, body: randomBytes(maxMessageLength + 1) }),
    ).rejects.toMatchObject({
      code: 'LARGE_MSG',
      field: 'body',
      facts: { limit: maxMessageLength, length: maxMessageLength + 1 },
    })
    expect(await connectionRow(alice)).toEqual(before)
    expect(await alice.store.find(sndMessages, {})).toEqual([])
    expect(await alice.agent.sendMessage({ connectionId: toBob, body: 'fits' })).toMatchObject({ messageId: 2 })
    const message = await bob.next('MSG')
    expect([textOf(message.body), message.senderMessageId, message.integrity]).toEqual(['fits', 2, { result: 'ok' }])
  })

  it('B47 the largest body is delivered whole, as bytes and as text of several bytes a letter', async () => {
    await connect(false)
    const largest = randomBytes(maxMessageLength)
    await alice.agent.sendMessage({ connectionId: toBob, body: largest })
    const first = await bob.next('MSG')
    expect(Buffer.compare(first.body, largest)).toBe(0)
    await bob.agent.ackMessage({ connectionId: bobId, messageId: first.messageId })
    const euros = '€'.repeat(Math.floor(maxMessageLength / 3))
    await alice.agent.sendMessage({ connectionId: toBob, body: euros })
    expect(textOf((await bob.next('MSG')).body)).toBe(euros)
    await expect(alice.agent.sendMessage({ connectionId: toBob, body: `${euros}€` })).rejects.toMatchObject({
      code: 'LARGE_MSG',
    })
  })

  it('B47 between agents with a KEM the limits are smaller: its keys take their room', async () => {
    const withKem = { agentVersion: 7, pqSupport: true }
    expect(maxMessageLengthOf(withKem)).toBe(13_618 - 2 - 43)
    expect(maxInfoLengthOf(withKem)).toBe(11_106 - 832)
    expect(maxReceiptInfoLengthOf(withKem)).toBe(13_618 - 2 - 42 - 1 - 1 - 8 - 33 - 2)
    // Versions that know no KEM have none, whatever the connection would like.
    expect(maxMessageLengthOf({ agentVersion: 4, pqSupport: true })).toBe(maxMessageLength)
    await connect(true)
    const before = await connectionRow(alice)
    const limit = maxMessageLengthOf(withKem)
    await expect(alice.agent.sendMessage({ connectionId: toBob, body: randomBytes(limit + 1) })).rejects.toMatchObject({
      code: 'LARGE_MSG',
      facts: { limit },
    })
    expect(await connectionRow(alice)).toEqual(before)
    await alice.agent.sendMessage({ connectionId: toBob, body: Buffer.alloc(limit, 'x') })
    const message = await bob.next('MSG')
    expect([message.body.length, message.integrity]).toEqual([limit, { result: 'ok' }])
  })

  it('B47 the limit stays the same for high message numbers and an empty body is a message', async () => {
    expect(maxMessageLength).toBe(15_840 - 2 - 43)
    await connect()
    await alice.agent.sendMessage({ connectionId: toBob, body: Buffer.alloc(0) })
    expect((await bob.next('MSG')).body).toHaveLength(0)
  })
})

describe('B48 rows after success', () => {
  it('B48 the delivery goes; a user’s message keeps its row without its body until the receipt', async () => {
    await connect()
    const { messageId } = await alice.agent.sendMessage({ connectionId: toBob, body: 'one', idempotencyKey: 'k' })
    await alice.next('SENT')
    expect(await alice.store.find(deliveries, {})).toEqual([])
    const rows = await alice.store.find(sndMessages, {})
    expect(rows).toMatchObject([{ messageId, type: 'A_MSG', body: null, header: null, idempotencyKey: 'k' }])
  })

  it('B48 of a confirmation nothing stays, at either side', async () => {
    await connect()
    for (const { store } of [alice, bob]) {
      expect(await store.find(deliveries, {})).toEqual([])
      expect(await store.find(sndMessages, {})).toEqual([])
    }
  })

  it('B48 a message whose answer is lost keeps its delivery until a later attempt is answered', async () => {
    await connect()
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'loseAnswer' : undefined)
    await alice.agent.sendMessage({ connectionId: toBob, body: 'one' })
    const { messageId } = await bob.next('MSG')
    expect(await alice.store.find(deliveries, {})).toHaveLength(1)
    world.router.react = () => undefined
    await alice.next('SENT')
    expect(await alice.store.find(deliveries, {})).toEqual([])
    await bob.agent.ackMessage({ connectionId: bobId, messageId })
    await world.clock.advance(10_000)
    expect(bob.events.filter(({ type }) => type === 'MSG' || type === 'ERR')).toHaveLength(1)
  })
})

describe('the order of messages', () => {
  const readAll = async (count: number): Promise<string[]> => {
    const bodies: string[] = []
    while (bodies.length < count) {
      const { body, messageId, integrity } = await bob.next('MSG', bobId)
      expect(integrity).toEqual({ result: 'ok' })
      bodies.push(textOf(body))
      await bob.agent.ackMessage({ connectionId: bobId, messageId })
    }
    return bodies
  }

  it('calls that do not wait for each other take effect in their order, numbers rise without a gap', async () => {
    await connect()
    const bodies = Array.from({ length: 300 }, (_, index) => `message ${index}`)
    const answers = await Promise.all(bodies.map(body => alice.agent.sendMessage({ connectionId: toBob, body })))
    expect(answers.map(({ messageId }) => messageId)).toEqual(bodies.map((_, index) => index + 2))
    expect(await readAll(300)).toEqual(bodies)
  })

  it('breaks of the session in the middle change nothing of it', async () => {
    await connect()
    const bodies = Array.from({ length: 60 }, (_, index) => `message ${index}`)
    let count = 0
    world.router.react = ({ command }) => {
      if (command.type !== 'SEND' || ++count % 7 !== 0) return undefined
      queueMicrotask(() => world.cut('alice'))
      return count % 2 === 0 ? 'lose' : 'loseAnswer'
    }
    for (const body of bodies) void alice.agent.sendMessage({ connectionId: toBob, body })
    expect(await readAll(60)).toEqual(bodies)
    await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 60, 'every SENT')
    const sent = alice.events.flatMap(event => (event.type === 'SENT' ? [event.messageId] : []))
    expect(sent).toEqual(bodies.map((_, index) => index + 2))
  })
})
