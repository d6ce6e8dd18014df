/** Post-quantum encryption while a connection lives: wishes for it and against it, the room it takes, a KEM that fails, and kills. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { maxInfoLength, maxMessageLength } from '../../src/agent/index.js'
import { maxInfoLengthOf, maxMessageLengthOf, maxReceiptInfoLengthOf } from '../../src/agent/limits.js'
import { inlineKem } from '../../src/crypto/index.js'
import { type AgentOptions, StoreError } from '../../src/index.js'
import { connections, rcvQueues } from '../../src/store/agent/connections.js'
import { rcvMessages, sndMessages } from '../../src/store/agent/messages.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type HeldKem, heldKem } from '../support/heldKem.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
let bob: TestAgent
let aliceId: string
let bobId: string
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

const start = (name: string, options: Partial<AgentOptions> = {}) => world.start(name, { kem: inlineKem(), ...options })

const connect = async (pq: boolean, [first, second]: readonly Partial<AgentOptions>[] = []) => {
  alice = await start('alice', first)
  bob = await start('bob', second)
  const { connectionId, link } = await alice.agent.createConnection({ pq })
  aliceId = connectionId
  bobId = (await bob.agent.joinConnection({ link, pq })).connectionId
  const { confirmationId } = await alice.next('CONF', aliceId)
  await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
  expect((await alice.next('CON', aliceId)).pqEncryption).toBe(pq)
  expect((await bob.next('CON', bobId)).pqEncryption).toBe(pq)
  await world.clock.settle()
}

const withKem = { agentVersion: 7, pqSupport: true }
const [larger, smaller] = [maxMessageLength, maxMessageLengthOf(withKem)]

interface Said {
  readonly by: 'alice' | 'bob'
  readonly pq?: boolean
  readonly length?: number
}

/** Sends, receives and acknowledges a message; whether it was encrypted post-quantum. */
const say = async ({ by, pq, length = 10 }: Said): Promise<boolean> => {
  const [from, fromId, to, toId] = by === 'alice' ? [alice, aliceId, bob, bobId] : [bob, bobId, alice, aliceId]
  const body = randomBytes(length)
  const wish = pq === undefined ? {} : { pq }
  const { pqEncryption } = await from.agent.sendMessage({ connectionId: fromId, body, ...wish })
  const message = await to.next('MSG', toId)
  expect(Buffer.compare(message.body, body)).toBe(0)
  expect(message.integrity).toEqual({ result: 'ok' })
  expect(message.pqEncryption).toBe(pqEncryption)
  await to.agent.ackMessage({ connectionId: toId, messageId: message.messageId })
  return pqEncryption
}

const row = async ({ store }: TestAgent) => (await store.find(connections, {}))[0]

describe('B19 PQ in the middle of a conversation', () => {
  it('B19 B47 is enabled, disabled and enabled again within the turns that the reference takes', async () => {
    await connect(false)
    const said = async (expected: boolean, what: Said) => expect([what, await say(what)]).toEqual([what, expected])
    const large = async (by: 'alice' | 'bob', pq: boolean, length: number) => {
      const [from, connectionId] = by === 'alice' ? [alice, aliceId] : [bob, bobId]
      const before = await row(from)
      await expect(from.agent.sendMessage({ connectionId, body: randomBytes(length), pq })).rejects.toMatchObject({
        code: 'LARGE_MSG',
        field: 'body',
        facts: { length, limit: smaller },
      })
      // Nothing is spent, and no support risen: the largest message without PQ still fits.
      expect(await row(from)).toEqual(before)
    }
    await said(false, { by: 'alice', pq: false })
    await said(false, { by: 'bob', pq: false })
    await said(false, { by: 'alice', pq: false, length: larger })
    await said(false, { by: 'bob', pq: false, length: larger })
    await large('alice', true, larger)
    await said(false, { by: 'alice', length: larger })
    await said(false, { by: 'alice', pq: true, length: smaller })
    await large('bob', true, larger)
    await said(false, { by: 'bob', pq: true, length: smaller })
    await said(false, { by: 'alice', pq: true, length: smaller })
    await said(true, { by: 'bob', pq: true, length: smaller })
    await said(true, { by: 'alice', pq: true, length: smaller })
    await said(true, { by: 'bob', pq: true, length: smaller })
    await said(true, { by: 'alice', pq: false, length: smaller })
    await said(true, { by: 'bob', pq: false, length: smaller })
    await said(false, { by: 'alice', pq: false, length: smaller })
    await said(false, { by: 'bob', pq: false, length: smaller })
    await said(false, { by: 'alice', pq: true, length: smaller })
    await said(false, { by: 'bob', pq: true, length: smaller })
    await said(false, { by: 'alice', pq: true, length: smaller })
    await said(true, { by: 'bob', pq: true, length: smaller })
    await said(true, { by: 'alice', pq: true, length: smaller })
    await said(true, { by: 'bob', pq: false, length: smaller })
    await said(true, { by: 'alice', pq: false, length: smaller })
    await said(false, { by: 'bob', pq: false, length: smaller })
    await said(false, { by: 'alice', pq: false, length: smaller })
    // Disabled again, but the support stays.
    await large('alice', false, smaller + 1)
    await large('bob', false, smaller + 1)
    expect([(await row(alice))?.pqSupport, (await row(bob))?.pqSupport]).toEqual([true, true])
  })

  it('B19 no wish keeps what is: on stays on, off stays off', async () => {
    await connect(true)
    for (let turn = 0; turn < 3; turn++) {
      expect(await say({ by: 'alice', length: smaller })).toBe(true)
      expect(await say({ by: 'bob', length: smaller })).toBe(true)
    }
  })

  it('B19 one side’s wish alone encrypts nothing post-quantum', async () => {
    await connect(false)
    for (let turn = 0; turn < 3; turn++) {
      expect(await say({ by: 'alice', pq: true, length: smaller })).toBe(false)
      expect(await say({ by: 'bob', pq: false, length: larger })).toBe(false)
    }
    expect([(await row(alice))?.pqSupport, (await row(bob))?.pqSupport]).toEqual([true, false])
  })

  it.each([
    ['agent version 4', { agentVersions: { min: 2, max: 4 } }],
    ['e2e version 2', { e2eVersions: { min: 2, max: 2 } }],
  ])('B19 with %s a wish changes nothing, and bodies keep their room', async (_, config) => {
    alice = await start('alice', { config: { agentVersions: { min: 2, max: 7 }, ...config } })
    bob = await start('bob', { config: { agentVersions: { min: 2, max: 7 }, ...config } })
    const ids = await world.connect(alice, bob)
    aliceId = ids.initiatorId
    bobId = ids.joinerId
    for (let turn = 0; turn < 3; turn++) {
      expect(await say({ by: 'alice', pq: true, length: larger })).toBe(false)
      expect(await say({ by: 'bob', pq: true, length: larger })).toBe(false)
    }
    expect([(await row(alice))?.pqSupport, (await row(bob))?.pqSupport]).toEqual([false, false])
  })

  it('B19 B20 a side that learned e2e version 3 later takes part from its next messages on', async () => {
    const old = { config: { e2eVersions: { min: 2, max: 2 } } }
    alice = await start('alice')
    bob = await start('bob', old)
    const ids = await world.connect(alice, bob)
    aliceId = ids.initiatorId
    bobId = ids.joinerId
    expect(await say({ by: 'bob', pq: true, length: larger })).toBe(false)
    bob = await start('bob', { store: { open: bob.crash() } })
    await bob.agent.subscribe({})
    const flags: boolean[] = []
    for (let turn = 0; turn < 4; turn++) {
      flags.push(await say({ by: 'alice', pq: true }))
      flags.push(await say({ by: 'bob', pq: true }))
    }
    expect(flags.at(0)).toBe(false)
    expect(flags.slice(-2)).toEqual([true, true])
  })

  it('B19 B46 an item’s wish leaves later items of its connection the smaller room; a repeated key answers with the first flag', async () => {
    await connect(false)
    const send = () =>
      alice.agent.sendMessages({
        items: [
          { connectionId: aliceId, body: Buffer.alloc(larger, 'a'), idempotencyKey: 'before' },
          { connectionId: aliceId, body: Buffer.alloc(smaller, 'b'), pq: true, idempotencyKey: 'wish' },
          { connectionId: aliceId, body: Buffer.alloc(smaller + 1, 'c') },
          { connectionId: aliceId, body: Buffer.alloc(smaller, 'd'), idempotencyKey: 'after' },
        ],
      })
    const { results } = await send()
    const refused = { connectionId: aliceId, error: expect.objectContaining({ code: 'LARGE_MSG' }) }
    const accepted = (messageId: number) => ({ connectionId: aliceId, messageId, pqEncryption: false })
    expect(results).toEqual([accepted(2), accepted(3), refused, accepted(4)])
    for (const letter of ['a', 'b', 'd']) {
      const message = await bob.next('MSG')
      expect([textOf(message.body).slice(0, 1), message.integrity]).toEqual([letter, { result: 'ok' }])
      await bob.agent.ackMessage({ connectionId: bobId, messageId: message.messageId })
    }
    for (let turn = 0; turn < 2; turn++) {
      await say({ by: 'bob', pq: true })
      await say({ by: 'alice', pq: true })
    }
    expect((await send()).results).toEqual(results)
    const call = { connectionId: aliceId, body: 'again', idempotencyKey: 'again' }
    const first = await alice.agent.sendMessage(call)
    expect(first.pqEncryption).toBe(true)
    expect(await alice.agent.sendMessage(call)).toEqual(first)
  })

  it('B38 B19 receipts are encrypted as everything else, and within their limit', async () => {
    await connect(true)
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'hi' })
    const { messageId } = await bob.next('MSG')
    const acknowledge = (length: number) =>
      bob.agent.ackMessage({ connectionId: bobId, messageId, receipt: Buffer.alloc(length, 'r') })
    const limit = maxReceiptInfoLengthOf(withKem)
    await expect(acknowledge(limit + 1)).rejects.toMatchObject({ code: 'LARGE_MSG', facts: { limit } })
    await acknowledge(limit)
    expect(await alice.next('RCVD', aliceId)).toMatchObject({ pqEncryption: true, integrity: { result: 'ok' } })
  })

  it('B40 the stored message knows its padding and flag', async () => {
    await connect(true)
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'hi' })
    const [message] = await alice.store.find(sndMessages, { where: { type: 'A_MSG' } })
    expect(message).toMatchObject({ paddedLength: 13_618, pqEncryption: true })
  })
})

describe('B47 connection info', () => {
  const limit = maxInfoLengthOf(withKem)

  it('B47 with PQ the info of joinConnection and allowConnection has less room, and its largest is delivered', async () => {
    alice = await start('alice')
    bob = await start('bob')
    const { connectionId, link } = await alice.agent.createConnection({ pq: 'invitation' })
    const large = { code: 'LARGE_MSG', field: 'info', facts: { length: limit + 1, limit } }
    const info = (length: number) => Buffer.alloc(length, 'i')
    await expect(bob.agent.joinConnection({ link, info: info(limit + 1) })).rejects.toMatchObject(large)
    expect(await bob.store.count(connections)).toBe(0)
    await bob.agent.joinConnection({ link, info: info(limit) })
    const conf = await alice.next('CONF', connectionId)
    expect(conf.info).toHaveLength(limit)
    const { confirmationId } = conf
    const allow = (length: number) => alice.agent.allowConnection({ connectionId, confirmationId, info: info(length) })
    await expect(allow(limit + 1)).rejects.toMatchObject(large)
    await allow(limit)
    expect((await bob.next('INFO')).info).toHaveLength(limit)
    await alice.next('CON')
  })

  it('B18 B47 the same by a contact address, whose invitation holds a KEM key', async () => {
    alice = await start('alice')
    bob = await start('bob')
    const { link } = await alice.agent.createConnection({ mode: 'contact' })
    const info = (length: number) => Buffer.alloc(length, 'i')
    const large = { code: 'LARGE_MSG', field: 'info', facts: { length: limit + 1, limit } }
    await expect(bob.agent.joinConnection({ link, info: info(limit + 1) })).rejects.toMatchObject(large)
    await bob.agent.joinConnection({ link, info: info(limit) })
    const { invitationId, info: told } = await alice.next('REQ')
    expect(told).toHaveLength(limit)
    await expect(alice.agent.acceptContact({ invitationId, info: info(limit + 1) })).rejects.toMatchObject(large)
    await alice.agent.acceptContact({ invitationId, info: info(limit) })
    expect((await bob.next('CONF')).info).toHaveLength(limit)
  })

  it('B47 without PQ the larger info is delivered as before', async () => {
    alice = await start('alice')
    bob = await start('bob')
    const { connectionId, link } = await alice.agent.createConnection({})
    await bob.agent.joinConnection({ link, info: Buffer.alloc(maxInfoLength, 'i'), pq: false })
    expect((await alice.next('CONF', connectionId)).info).toHaveLength(maxInfoLength)
  })
})

describe('a KEM that cannot do its work now', () => {
  let kem: HeldKem
  beforeEach(() => {
    kem = heldKem()
  })
  const errors = ({ events }: TestAgent) => events.filter(({ type }) => type === 'ERR')

  it('B31 B32 a message that needs it is neither acknowledged nor told as an error, and is received once when it works again', async () => {
    await connect(true, [{}, { kem }])
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'one' })
    const first = await bob.next('MSG')
    await bob.agent.ackMessage({ connectionId: bobId, messageId: first.messageId })
    await say({ by: 'bob' })
    await world.clock.settle()
    kem.failing = true
    const { operations } = kem
    const state = await row(bob)
    const acks = world.router.all('ACK').length
    for (const body of ['two', 'three']) await alice.agent.sendMessage({ connectionId: aliceId, body })
    await world.until(() => kem.operations > operations + 3, 'attempts')
    expect(await row(bob)).toEqual(state)
    expect(await bob.store.count(rcvMessages, { state: 'received' })).toBe(0)
    expect(world.router.all('ACK')).toHaveLength(acks)
    expect(bob.events.filter(({ type }) => type === 'MSG')).toHaveLength(1)
    kem.failing = false
    for (const body of ['two', 'three']) {
      const message = await bob.next('MSG')
      expect([textOf(message.body), message.integrity, message.pqEncryption]).toEqual([body, { result: 'ok' }, true])
      await bob.agent.ackMessage({ connectionId: bobId, messageId: message.messageId })
    }
    expect(errors(bob)).toEqual([])
    expect(await say({ by: 'bob' })).toBe(true)
  })

  it('B31 the same when the agent ends before it works again: the next one receives the message', async () => {
    await connect(true, [{}, { kem }])
    await say({ by: 'alice' })
    await say({ by: 'bob' })
    kem.failing = true
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'two' })
    const { operations } = kem
    await world.until(() => kem.operations > operations, 'an attempt')
    bob = await start('bob', { store: { open: bob.crash() } })
    await bob.agent.subscribe({})
    const message = await bob.next('MSG', bobId)
    expect([textOf(message.body), message.integrity]).toEqual(['two', { result: 'ok' }])
    expect(errors(bob)).toEqual([])
  })

  it('B13 B31 both confirmations wait for it', async () => {
    const other = heldKem()
    alice = await start('alice', { kem })
    bob = await start('bob', { kem: other })
    const { connectionId, link } = await alice.agent.createConnection({ pq: 'invitation' })
    kem.failing = true
    await bob.agent.joinConnection({ link })
    const { operations } = kem
    await world.until(() => kem.operations > operations + 2, 'attempts of the initiator')
    expect(alice.events).toEqual([])
    kem.failing = false
    const { confirmationId } = await alice.next('CONF', connectionId)
    other.failing = true
    const made = other.operations
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.until(() => other.operations > made + 2, 'attempts of the joiner')
    expect(bob.events.map(({ type }) => type)).toEqual([])
    other.failing = false
    expect((await bob.next('CON')).pqEncryption).toBe(true)
    expect((await alice.next('CON')).pqEncryption).toBe(true)
    expect([...errors(alice), ...errors(bob)]).toEqual([])
  })

  it('B15 B16 calls that need it are refused, store nothing, and succeed when they are repeated', async () => {
    alice = await start('alice', { kem })
    bob = await start('bob', { kem })
    const create = { pq: 'invitation', idempotencyKey: 'create' } as const
    kem.failing = true
    await expect(alice.agent.createConnection(create)).rejects.toMatchObject({ code: 'KEM_UNAVAILABLE' })
    expect(await alice.store.count(connections)).toBe(0)
    expect(await alice.store.count(rcvQueues)).toBe(0)
    kem.failing = false
    const { link } = await alice.agent.createConnection(create)
    kem.failing = true
    const join = { link, idempotencyKey: 'join' }
    await expect(bob.agent.joinConnection(join)).rejects.toMatchObject({ code: 'KEM_UNAVAILABLE' })
    expect(await bob.store.count(connections)).toBe(0)
    kem.failing = false
    await bob.agent.joinConnection(join)
    await alice.next('CONF')
  })

  it('B21 a stored call goes on by itself', async () => {
    alice = await start('alice')
    bob = await start('bob', { kem })
    const { link } = await alice.agent.createConnection({})
    kem.failing = true
    await bob.agent.joinConnectionAsync({ link, correlationId: 'join' })
    await world.until(() => kem.operations > 3, 'attempts')
    expect(bob.events).toEqual([])
    kem.failing = false
    expect((await bob.next('OK')).correlationId).toBe('join')
    await alice.next('CONF')
  })
})

describe('B32 a message that waits for the KEM', () => {
  it('B32 holds up no other connection, and its bytes are its own meanwhile', async () => {
    const kem = heldKem()
    await connect(true, [{}, { kem }])
    await say({ by: 'alice' })
    await say({ by: 'bob' })
    const carol = await start('carol')
    const other = await carol.agent.createConnection({ pq: false })
    const { connectionId: toCarol } = await bob.agent.joinConnection({ link: other.link, pq: false })
    const { confirmationId } = await carol.next('CONF')
    await carol.agent.allowConnection({ connectionId: other.connectionId, confirmationId })
    await bob.next('CON', toCarol)
    const release = kem.hold()
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'held' })
    for (let n = 0; n < 20; n++) {
      await carol.agent.sendMessage({ connectionId: other.connectionId, body: `free ${n}` })
      const message = await bob.next('MSG', toCarol)
      expect(textOf(message.body)).toBe(`free ${n}`)
      await bob.agent.ackMessage({ connectionId: toCarol, messageId: message.messageId })
    }
    expect(bob.events.filter(event => event.type === 'MSG' && event.connectionId === bobId)).toHaveLength(1)
    release()
    const message = await bob.next('MSG', bobId)
    expect([textOf(message.body), message.integrity]).toEqual(['held', { result: 'ok' }])
  })

  it('B31 B34 a kill while it waits, and one after its commit: it is received once, and the ratchets go on', async () => {
    const kem = heldKem()
    await connect(true, [{}, { kem }])
    await say({ by: 'alice' })
    await say({ by: 'bob' })
    kem.hold()
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'held' })
    await world.clock.settle()
    bob = await start('bob', { store: { open: bob.crash() } })
    await bob.agent.subscribe({})
    const message = await bob.next('MSG', bobId)
    expect([textOf(message.body), message.integrity]).toEqual(['held', { result: 'ok' }])
    bob = await start('bob', { store: { open: bob.crash() } })
    await bob.agent.subscribe({})
    const again = await bob.next('MSG', bobId)
    expect([again.cursor, again.messageId]).toEqual([message.cursor, message.messageId])
    await bob.agent.ackMessage({ connectionId: bobId, messageId: again.messageId })
    for (let turn = 0; turn < 2; turn++) {
      expect(await say({ by: 'bob' })).toBe(true)
      expect(await say({ by: 'alice' })).toBe(true)
    }
  })

  it('B34 a commit that fails after the KEM has worked leaves nothing of the turn: it is made anew', async () => {
    await connect(true)
    await say({ by: 'alice' })
    await say({ by: 'bob' })
    const before = await row(bob)
    const commit = bob.store.commit.bind(bob.store)
    let refusals = 0
    bob.store.commit = async changes => {
      if (refusals++ < 2) throw new StoreError('STORE_WRITE', 'the disk is full')
      return commit(changes)
    }
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'again' })
    await world.until(() => refusals === 1, 'the first attempt')
    expect(await row(bob)).toEqual(before)
    const message = await bob.next('MSG', bobId)
    expect([textOf(message.body), message.integrity]).toEqual(['again', { result: 'ok' }])
    await bob.agent.ackMessage({ connectionId: bobId, messageId: message.messageId })
    expect(await say({ by: 'bob' })).toBe(true)
  })
})
