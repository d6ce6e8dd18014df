/** B38: delivery receipts, from ackMessage to RCVD and to the row of the sent message. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { maxReceiptInfoLengthOf } from '../../src/agent/limits.js'
import type { AgentEvent } from '../../src/index.js'
import type { MessageReceipt } from '../../src/smp/protocol/agentMessage.js'
import { connections } from '../../src/store/agent/connections.js'
import { deliveries, rcvMessages, sndMessages } from '../../src/store/agent/messages.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { afterCommits, beforeCommits, touches } from '../support/storeFaults.js'

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

const connect = async () => {
  bob = await world.start('bob')
  const { initiatorId, joinerId } = await world.connect(alice, bob)
  toBob = initiatorId
  bobId = joinerId
  await world.clock.settle()
}
const told = (agent: TestAgent, ...types: string[]): AgentEvent[] =>
  agent.events.filter(({ type }) => types.includes(type))
const acks = (): number => world.router.all('ACK').length
const sentRows = () => alice.store.find(sndMessages, { orderBy: ['messageId'] })
/** Alice sends, bob acknowledges with a receipt. */
const exchange = async (body: string, receipt = '', options = {}): Promise<number> => {
  const { messageId } = await alice.agent.sendMessage({ connectionId: toBob, body, ...options })
  const message = await bob.next('MSG', bobId)
  expect(textOf(message.body)).toBe(body)
  await bob.agent.ackMessage({ connectionId: bobId, messageId: message.messageId, receipt })
  return messageId
}

describe('B38 a receipt that was asked for', () => {
  it('B38 B31 is told as RCVD with the number of the message, and waits for the user’s acknowledgement', async () => {
    await connect()
    const messageId = await exchange('one', 'read it')
    const event = await alice.next('RCVD', toBob)
    // A receipt wakes nobody’s device.
    expect(world.router.all('SEND').at(-1)?.command).toMatchObject({ flags: { notification: false } })
    expect(event.receipts).toEqual([{ messageId, result: 'ok', info: Buffer.from('read it') }])
    expect(event).toMatchObject({ integrity: { result: 'ok' }, senderMessageId: 2, brokerId: expect.any(String) })
    await bob.agent.sendMessage({ connectionId: bobId, body: 'behind it' })
    const before = acks()
    await world.clock.advance(3_600_000)
    expect(acks()).toBe(before)
    expect(told(alice, 'MSG')).toEqual([])
    await alice.agent.ackMessage({ connectionId: toBob, messageId: event.messageId })
    expect(textOf((await alice.next('MSG', toBob)).body)).toBe('behind it')
    expect(told(alice, 'ERR')).toEqual([])
  })

  it('B38 is no message of the application for its sender: no SENT, and no row stays', async () => {
    await connect()
    await exchange('one')
    await alice.next('RCVD')
    await world.clock.settle()
    expect(told(bob, 'SENT', 'MERR')).toEqual([])
    expect(await bob.store.find(sndMessages, {})).toEqual([])
    expect(await bob.store.find(deliveries, {})).toEqual([])
  })

  it('B38 B48 a bare acknowledgement of a good receipt prunes the row of the sent message, by number or by cursor', async () => {
    await connect()
    for (const by of ['number', 'cursor', 'upTo'] as const) {
      await exchange(by)
      const { cursor, messageId } = await alice.next('RCVD', toBob)
      expect(await sentRows()).toMatchObject([{ type: 'A_MSG', receipt: 'ok' }])
      if (by === 'number') await alice.agent.ackMessage({ connectionId: toBob, messageId })
      else await alice.agent.ackEvents(by === 'cursor' ? { cursor } : { upTo: cursor })
      expect(await sentRows()).toEqual([])
    }
  })

  it('B38 the row of a message under an idempotency key stays: the repeated call answers with the first', async () => {
    await connect()
    const first = await exchange('one', '', { idempotencyKey: 'k' })
    const { messageId } = await alice.next('RCVD', toBob)
    await alice.agent.ackMessage({ connectionId: toBob, messageId })
    const sends = world.router.all('SEND').length
    expect(await alice.agent.sendMessage({ connectionId: toBob, body: 'one', idempotencyKey: 'k' })).toMatchObject({
      messageId: first,
    })
    await world.clock.advance(10_000)
    expect(world.router.all('SEND')).toHaveLength(sends)
  })

  it('B38 the row of a message that still waits, because its answer was lost, outlives the receipt', async () => {
    await connect()
    let lost = 0
    world.router.react = ({ command }) => (command.type === 'SEND' && lost++ === 0 ? 'loseAnswer' : undefined)
    const { messageId } = await alice.agent.sendMessage({ connectionId: toBob, body: 'one' })
    const message = await bob.next('MSG', bobId)
    await bob.agent.ackMessage({ connectionId: bobId, messageId: message.messageId, receipt: '' })
    const event = await alice.next('RCVD', toBob)
    await alice.agent.ackMessage({ connectionId: toBob, messageId: event.messageId })
    expect(await sentRows()).toMatchObject([{ messageId, receipt: 'ok' }])
    expect((await alice.next('SENT', toBob)).messageId).toBe(messageId)
    expect(told(alice, 'SENT')).toHaveLength(1)
    expect(told(bob, 'MSG', 'ERR')).toHaveLength(1)
  })

  it('B38 the call repeated, also after a restart, sends no second receipt', async () => {
    await connect()
    await exchange('one')
    const [{ messageId = 0 } = {}] = (await bob.store.find(rcvMessages, { where: { type: 'A_MSG' } })) ?? []
    await bob.agent.ackMessage({ connectionId: bobId, messageId, receipt: 'again' })
    bob = await world.start('bob', { store: { open: bob.crash() } })
    await bob.agent.ackMessage({ connectionId: bobId, messageId, receipt: 'and again' })
    await alice.next('RCVD')
    await world.clock.advance(60_000)
    expect(told(alice, 'RCVD', 'ERR')).toHaveLength(1)
  })

  it('B38 two consumers that both ask for one: one receipt, and the router hears from the last', async () => {
    await connect()
    await bob.agent.registerConsumer({ consumer: 'other' })
    await alice.agent.sendMessage({ connectionId: toBob, body: 'one' })
    const { messageId } = await bob.next('MSG', bobId)
    await bob.agent.ackMessage({ connectionId: bobId, messageId, receipt: 'first' })
    expect((await alice.next('RCVD')).receipts.map(({ info }) => textOf(info))).toEqual(['first'])
    const before = acks()
    await bob.agent.ackMessage({ connectionId: bobId, messageId, receipt: 'second', consumer: 'other' })
    await world.clock.settle()
    expect(acks()).toBe(before + 1)
    await world.clock.advance(60_000)
    expect(told(alice, 'RCVD', 'ERR')).toHaveLength(1)
    // The confirmation and one receipt.
    expect((await bob.store.find(connections, {}))[0]?.lastSendId).toBe(2)
  })

  it.each([
    ['before', beforeCommits],
    ['behind', afterCommits],
  ])('B38 killed %s the commit of the acknowledgement, then acknowledged again: one receipt', async (_, kill) => {
    await connect()
    await alice.agent.sendMessage({ connectionId: toBob, body: 'one' })
    const { messageId } = await bob.next('MSG', bobId)
    let rows: ReturnType<TestAgent['crash']> | undefined
    kill(bob.store, changes => {
      if (rows === undefined && touches(changes, sndMessages, 'insert')) rows = bob.crash()
    })
    const ack = () => bob.agent.ackMessage({ connectionId: bobId, messageId, receipt: 'got it' })
    ack().catch(() => {})
    await world.until(() => rows !== undefined, 'the kill')
    bob = await world.start('bob', { store: { open: rows as ReturnType<TestAgent['crash']> } })
    await ack()
    expect((await alice.next('RCVD')).receipts).toMatchObject([{ result: 'ok' }])
    await world.clock.advance(60_000)
    expect(told(alice, 'RCVD', 'ERR')).toHaveLength(1)
  })

  it('B38 info that is too long is refused before anything is spent: the message is not acknowledged', async () => {
    await connect()
    await alice.agent.sendMessage({ connectionId: toBob, body: 'one' })
    const { messageId } = await bob.next('MSG', bobId)
    const [before] = await bob.store.find(connections, {})
    const limit = maxReceiptInfoLengthOf({ agentVersion: 7, pqSupport: true })
    const ack = (receipt: Uint8Array) => bob.agent.ackMessage({ connectionId: bobId, messageId, receipt })
    await expect(ack(randomBytes(limit + 1))).rejects.toMatchObject({
      code: 'LARGE_MSG',
      field: 'receipt',
      facts: { limit },
    })
    expect(await bob.store.find(connections, {})).toEqual([before])
    expect(await bob.store.find(rcvMessages, { where: { messageId } })).toMatchObject([{ state: 'received' }])
    const largest = randomBytes(limit)
    await ack(largest)
    expect((await alice.next('RCVD')).receipts[0]?.info).toEqual(largest)
  })

  it('B38 an early message is acknowledged without one, because the connection cannot send yet', async () => {
    const invited = await world.invite(alice)
    await invited.peer.say('early')
    const { messageId } = await alice.next('MSG')
    const sends = world.router.all('SEND').length
    await alice.agent.ackMessage({ connectionId: invited.connectionId, messageId, receipt: '' })
    await world.clock.advance(10_000)
    expect(world.router.all('SEND')).toHaveLength(sends)
    expect(await alice.store.find(rcvMessages, { where: { messageId } })).toMatchObject([{ state: 'acknowledged' }])
    expect(told(alice, 'ERR')).toEqual([])
  })

  it('B38 a receipt has no receipt: the call is refused and nothing is acknowledged', async () => {
    await connect()
    await exchange('one')
    const { messageId } = await alice.next('RCVD', toBob)
    const before = acks()
    await expect(alice.agent.ackMessage({ connectionId: toBob, messageId, receipt: '' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'receipt',
    })
    await world.clock.settle()
    expect(acks()).toBe(before)
    expect(await sentRows()).toHaveLength(1)
  })
})

describe('B38 receipts of all kinds from a hand-made peer', () => {
  let friend: Invited
  let rows: Awaited<ReturnType<typeof sentRows>>
  beforeEach(async () => {
    friend = await world.befriend(alice)
    for (const body of ['one', 'two', 'three']) {
      await alice.agent.sendMessage({ connectionId: friend.connectionId, body })
    }
    await world.until(() => told(alice, 'SENT').length === 3, 'three SENT')
    rows = await sentRows()
  })
  const receiptOf = (index: number, forged: Partial<MessageReceipt> = {}): MessageReceipt => ({
    messageId: rows[index]?.sendId ?? 0,
    hash: rows[index]?.hash ?? Buffer.of(),
    info: Buffer.of(),
    ...forged,
  })
  const say = async (...receipts: MessageReceipt[]) => {
    await friend.peer.say({ type: 'A_RCVD', receipts })
    await world.clock.settle()
  }
  const ackLast = async () => {
    const event = told(alice, 'RCVD').at(-1)
    if (event?.type !== 'RCVD') throw new Error('no RCVD')
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: event.messageId })
    await world.clock.settle()
    return event.receipts.map(({ messageId, result }) => [messageId, result])
  }
  const idOf = (index: number) => rows[index]?.messageId

  it('B38 several in one message: told together, each by itself', async () => {
    await say(receiptOf(0), receiptOf(1, { hash: randomBytes(32) }), receiptOf(2))
    expect(await ackLast()).toEqual([
      [idOf(0), 'ok'],
      [idOf(1), 'badHash'],
      [idOf(2), 'ok'],
    ])
    expect(await sentRows()).toMatchObject([{ messageId: idOf(1), receipt: 'badHash' }])
  })

  it('B38 two for one message in one message: the second is no news', async () => {
    await say(receiptOf(0), receiptOf(0))
    expect(await ackLast()).toEqual([[idOf(0), 'ok']])
  })

  it('B38 a bad hash is told and the row stays; a good receipt after it is news, a good one after that is none', async () => {
    await say(receiptOf(0, { hash: randomBytes(32) }))
    expect(await ackLast()).toEqual([[idOf(0), 'badHash']])
    await say(receiptOf(0))
    const before = acks()
    expect(told(alice, 'RCVD')).toHaveLength(2)
    await say(receiptOf(1))
    expect(acks()).toBe(before)
    expect(await ackLast()).toEqual([[idOf(0), 'ok']])
    expect((await sentRows()).map(({ messageId }) => messageId)).toEqual([idOf(1), idOf(2)])
  })

  it('B31 B38 a receipt without news is acknowledged by the agent and told to nobody', async () => {
    const { connectionId } = friend
    const { messageId } = await alice.agent.sendMessage({ connectionId, body: 'kept', idempotencyKey: 'k' })
    await world.clock.settle()
    rows = await sentRows()
    await say(receiptOf(3), receiptOf(3, { hash: randomBytes(32) }))
    expect(await ackLast()).toEqual([[messageId, 'ok']])
    const before = acks()
    await say(receiptOf(3))
    await say(receiptOf(3, { hash: randomBytes(32) }))
    expect(acks()).toBe(before + 2)
    expect(told(alice, 'RCVD', 'ERR')).toHaveLength(1)
    expect(await sentRows()).toMatchObject([{}, {}, {}, { messageId, receipt: 'ok' }])
  })

  it('B31 B38 a receipt for what is not known, or is no message of the application, is an error, and acknowledged', async () => {
    const before = acks()
    await say(receiptOf(0, { messageId: 999 }), receiptOf(0, { messageId: 998 }))
    expect(told(alice, 'ERR')).toMatchObject([
      { error: { code: 'AGENT_PROHIBITED', message: 'receipt: not a message that is known' } },
    ])
    expect(acks()).toBe(before + 1)
    // A message of the agent's own that waits.
    world.router.react = ({ command, entityId }) =>
      command.type === 'SEND' && Buffer.compare(entityId, friend.peer.senderId) !== 0 ? 'lose' : undefined
    await friend.peer.say('ask me for a receipt')
    const { messageId } = await alice.next('MSG')
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId, receipt: '' })
    const [own] = await alice.store.find(sndMessages, { where: { type: 'A_RCVD' } })
    await say(receiptOf(0, { messageId: own?.sendId ?? 0 }), receiptOf(0))
    expect(told(alice, 'ERR').at(-1)).toMatchObject({
      error: { code: 'AGENT_PROHIBITED', message: 'receipt: not a message of the application' },
    })
    expect(await ackLast()).toEqual([[idOf(0), 'ok']])
    expect(told(alice, 'ERR')).toHaveLength(2)
  })

  it('B34 B38 a receipt that is delivered again before its acknowledgement: told once, under its old cursor', async () => {
    await say(receiptOf(0))
    const [{ cursor = 0 } = {}] = told(alice, 'RCVD')
    const before = acks()
    const subs = world.router.all('SUB').length
    world.cut('alice')
    await world.until(() => world.router.all('SUB').length > subs, 'SUB again')
    alice = await world.start('alice', { store: { open: alice.crash() } })
    await alice.agent.subscribe({})
    await world.clock.advance(1_000)
    expect(acks()).toBe(before)
    expect(told(alice, 'RCVD').map(event => event.cursor)).toEqual([cursor])
    expect(told(alice, 'ERR')).toEqual([])
    expect(await ackLast()).toEqual([[idOf(0), 'ok']])
    expect(acks()).toBe(before + 1)
    expect(friend.queue.messages).toEqual([])
  })

  it('B35 B38 the number and hash chain of a receipt are checked and told with it', async () => {
    await friend.peer.say({ type: 'A_RCVD', receipts: [receiptOf(0)] }, { id: 9 })
    const event = await alice.next('RCVD')
    expect(event.integrity).toEqual({ result: 'skipped', from: 2, to: 8 })
    await ackLast()
    await friend.peer.say({ type: 'A_RCVD', receipts: [receiptOf(1)] }, { previousHash: randomBytes(32) })
    expect((await alice.next('RCVD')).integrity).toEqual({ result: 'badHash' })
  })
})
