/** B34: the same message more than once, in every way in which that happens. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rcvMessages } from '../../src/store/agent/messages.js'
import { events } from '../../src/store/eventLog.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { commitGate } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
let friend: Invited
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  friend = await world.befriend(alice)
  await world.clock.settle()
})
afterEach(() => world.close())

const acked = (): string[] =>
  world.router
    .all('ACK')
    .map(({ command }) => (command.type === 'ACK' ? Buffer.from(command.messageId).toString('hex') : ''))
const headId = (): string => Buffer.from(friend.queue.messages[0]?.id ?? []).toString('hex')
const told = (...types: string[]) => alice.events.filter(({ type }) => types.includes(type))
const logged = (store: MemoryStore) => store.find(events, { where: { type: 'MSG' } })
const ack = async (messageId: number) => {
  await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId })
  await world.clock.settle()
}

/** Breaks the session, so that the router delivers again what nobody has acknowledged. */
const reconnect = async () => {
  const subs = world.router.all('SUB').length
  world.cut('alice')
  await world.until(() => world.router.all('SUB').length > subs, 'SUB again')
  await world.clock.settle()
}
const restart = async () => {
  alice = await world.start('alice', { store: { open: alice.crash() } })
  await alice.agent.subscribe({})
  await world.clock.settle()
}

describe('a message that the router delivers again', () => {
  it('B34 before the acknowledgement: nothing is told and no ACK goes out; its event is still in the log', async () => {
    await friend.peer.say('one')
    const message = await alice.next('MSG')
    const before = acked().length
    await reconnect()
    await reconnect()
    expect(told('MSG', 'ERR')).toHaveLength(1)
    expect(acked()).toHaveLength(before)
    expect(await logged(alice.store)).toMatchObject([{ cursor: message.cursor }])
    const head = headId()
    await ack(message.messageId)
    await world.clock.settle()
    expect(acked().slice(before)).toEqual([head])
    await friend.peer.say('two')
    expect(textOf((await alice.next('MSG')).body)).toBe('two')
  })

  it('B34 before the acknowledgement, after a restart: the same event once, under its old cursor, and one ACK after it', async () => {
    await friend.peer.say('one')
    const { cursor } = await alice.next('MSG')
    const before = acked().length
    await restart()
    const again = await alice.next('MSG')
    expect(again.cursor).toBe(cursor)
    await world.clock.advance(10_000)
    expect(told('MSG', 'ERR')).toHaveLength(1)
    expect(acked()).toHaveLength(before)
    const head = headId()
    await ack(again.messageId)
    await world.clock.settle()
    expect(acked().slice(before)).toEqual([head])
    expect(friend.queue.messages).toEqual([])
  })

  it.each([
    ['in a new session', () => reconnect()],
    ['after a restart', () => restart()],
  ])('B34 acknowledged by the application, %s: acknowledged to the router again and nothing told', async (_, again) => {
    await friend.peer.say('one')
    const { messageId } = await alice.next('MSG')
    world.router.react = ({ command }) => (command.type === 'ACK' ? 'lose' : undefined)
    await ack(messageId)
    await world.clock.settle()
    world.router.react = () => undefined
    const before = acked().length
    const head = headId()
    expect(head).not.toBe('')
    await again()
    await world.clock.advance(1_000)
    expect(acked().slice(before)).toContain(head)
    expect(friend.queue.messages).toEqual([])
    expect(await logged(alice.store)).toEqual([])
    expect(told('ERR')).toEqual([])
    await friend.peer.say('two')
    expect(textOf((await alice.next('MSG')).body)).toBe('two')
  })

  it('B34 acknowledged while the agent was away from the router: the redelivery is acknowledged to it', async () => {
    await friend.peer.say('one')
    const { messageId } = await alice.next('MSG')
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    await ack(messageId)
    world.network.setReachable(world.router.place, 'answers')
    await world.until(() => friend.queue.messages.length === 0, 'the ACK')
    expect(told('MSG', 'ERR')).toHaveLength(1)
  })

  it('B34 acknowledged in the very unit of work that notes its redelivery: its ACK goes out', async () => {
    await friend.peer.say('one')
    await alice.next('MSG')
    const rows = alice.crash()
    alice = await world.start('alice', { store: { open: rows } })
    const { messageId } = await alice.next('MSG')
    // Commits are let through one by one, so that both wait for the connection behind the same message of ours.
    const gate = commitGate(alice.store)
    const send = (body: string) => void alice.agent.sendMessage({ connectionId: friend.connectionId, body })
    gate.close()
    send('a')
    await world.clock.settle()
    const subs = world.router.all('SUB').length
    void alice.agent.subscribe({})
    await world.until(() => world.router.all('SUB').length > subs, 'SUB')
    await world.clock.settle()
    send('b')
    await world.clock.settle()
    gate.step()
    await world.clock.settle()
    send('c')
    await world.clock.settle()
    for (let commit = 0; commit < 2; commit++) {
      gate.step()
      await world.clock.settle()
    }
    const acking = ack(messageId)
    await world.clock.settle()
    gate.open()
    await acking
    await world.until(() => friend.queue.messages.length === 0, 'the ACK')
  })

  it('B34 twice at once, before the first is stored: one event', async () => {
    const gate = commitGate(alice.store)
    gate.close()
    await friend.peer.say('one')
    world.router.deliverAgain(friend.queue)
    world.router.deliverAgain(friend.queue)
    await world.clock.settle()
    gate.open()
    const { messageId } = await alice.next('MSG')
    await world.clock.advance(10_000)
    expect(told('MSG', 'ERR')).toHaveLength(1)
    await ack(messageId)
    await world.until(() => friend.queue.messages.length === 0, 'the ACK')
  })
})

it('B04 B34 a redelivery that the end of a suspension meets half-way is acknowledged in the foreground', async () => {
  world.router.react = ({ command }) => (command.type === 'ACK' ? 'lose' : undefined)
  await friend.peer.say('one')
  await ack((await alice.next('MSG')).messageId)
  await world.clock.settle()
  world.router.react = () => undefined
  const [before, head] = [acked().length, headId()]
  // The connection is busy with a message of ours, whose commit takes long: the redelivery waits for it.
  const gate = commitGate(alice.store)
  gate.close()
  void alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'slow' })
  await world.clock.settle()
  world.router.deliverAgain(friend.queue)
  await world.clock.settle()
  void alice.agent.suspendAgent({ maxDelayMs: 1_000 })
  await world.clock.advance(2_000)
  gate.open()
  await world.clock.settle()
  expect(acked()).toHaveLength(before)
  await alice.agent.foregroundAgent({})
  await world.clock.settle()
  expect(acked().slice(before)).toEqual([head])
})

describe('a message that its sender sends again', () => {
  it('B34 under a new id of the router, after the first was acknowledged: acknowledged and not told', async () => {
    const body = friend.peer.seal(friend.peer.message('one'))
    await friend.peer.send(body)
    const { messageId } = await alice.next('MSG')
    await ack(messageId)
    await friend.peer.send(body)
    await friend.peer.say('two')
    expect(textOf((await alice.next('MSG')).body)).toBe('two')
    expect(told('MSG')).toHaveLength(2)
    expect(told('ERR')).toEqual([])
  })

  it('B34 under a new id and a new encryption of the queue, before the first was acknowledged: only the copy is acknowledged', async () => {
    const message = friend.peer.message('one')
    await friend.peer.send(friend.peer.seal(message))
    const { messageId } = await alice.next('MSG')
    const before = acked().length
    // A router that does not wait for the ACK; the bundled one delivers the copy after it.
    const copy = world.router.sealed(friend.queue, friend.peer.seal(message))
    world.router.deliverAgain(friend.queue, copy)
    await world.clock.settle()
    expect(acked().slice(before)).toEqual([Buffer.from(copy.id).toString('hex')])
    expect(told('MSG', 'ERR')).toHaveLength(1)
    const head = headId()
    await ack(messageId)
    await world.clock.settle()
    expect(acked().slice(before + 1)).toEqual([head])
  })

  it('B34 when later ones were received since', async () => {
    const body = friend.peer.seal(friend.peer.message('one'))
    await friend.peer.send(body)
    await ack((await alice.next('MSG')).messageId)
    for (const text of ['two', 'three']) {
      await friend.peer.say(text)
      await ack((await alice.next('MSG')).messageId)
    }
    const before = acked().length
    await friend.peer.send(body)
    await world.clock.settle()
    expect(acked()).toHaveLength(before + 1)
    expect(told('ERR', 'RSYNC')).toEqual([])
    expect(told('MSG')).toHaveLength(3)
  })

  it('B34 when the ratchet has turned since, so that its header cannot be read any more', async () => {
    const bob = await world.start('bob')
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    const say = async (from: TestAgent, to: TestAgent): Promise<void> => {
      const [own, others] = from === alice ? [initiatorId, joinerId] : [joinerId, initiatorId]
      await from.agent.sendMessage({ connectionId: own, body: 'hi' })
      const { messageId } = await to.next('MSG')
      await to.agent.ackMessage({ connectionId: others, messageId })
      await world.clock.settle()
    }
    await say(bob, alice)
    const sent = world.router.all('SEND').at(-1)
    const queue = world.router.queues.find(
      ({ senderId }) => Buffer.compare(senderId, sent?.entityId ?? Buffer.of()) === 0,
    )
    if (sent?.command.type !== 'SEND' || queue === undefined) throw new Error('no message')
    for (let turn = 0; turn < 3; turn++) {
      await say(alice, bob)
      await say(bob, alice)
    }
    const before = acked().length
    world.router.put(queue, sent.command.body)
    await world.clock.settle()
    expect(acked()).toHaveLength(before + 1)
    expect(told('ERR', 'RSYNC')).toEqual([])
  })

  it('B34 after a restart of the receiver in between', async () => {
    const body = friend.peer.seal(friend.peer.message('one'))
    await friend.peer.send(body)
    await ack((await alice.next('MSG')).messageId)
    await restart()
    await friend.peer.send(body)
    await friend.peer.say('two')
    const two = await alice.next('MSG')
    expect(textOf(two.body)).toBe('two')
    expect(two.integrity).toEqual({ result: 'ok' })
    expect(told('ERR')).toEqual([])
  })

  it('B31 B34 what the agents say to each other, whose ACK was lost, is acknowledged again, and the next message comes', async () => {
    world.router.react = ({ command }) => (command.type === 'ACK' ? 'lose' : undefined)
    await friend.peer.say({ type: 'EREADY', lastDecryptedId: 1 })
    await world.clock.settle()
    world.router.react = () => undefined
    const before = acked().length
    const head = headId()
    await restart()
    expect(acked().slice(before)).toEqual([head])
    await friend.peer.say('one')
    expect(textOf((await alice.next('MSG')).body)).toBe('one')
    expect(told('ERR')).toEqual([])
  })
})

it('B31 the next message as the answer to ACK, as routers of old versions give it, is told once and acknowledged by the user', async () => {
  await friend.peer.say('one')
  await friend.peer.say('two')
  const { messageId } = await alice.next('MSG')
  let answered = false
  world.router.react = ({ command }) => {
    if (command.type !== 'ACK' || answered) return undefined
    answered = true
    friend.queue.messages.shift()
    const [next] = friend.queue.messages
    return next === undefined ? undefined : { type: 'MSG', messageId: next.id, body: next.body }
  }
  await ack(messageId)
  const two = await alice.next('MSG')
  expect(textOf(two.body)).toBe('two')
  await ack(two.messageId)
  expect(friend.queue.messages).toEqual([])
  expect(told('MSG')).toHaveLength(2)
})

describe('a message that only looks like one that was received', () => {
  it('B34 B36 unknown hash: the real error is told, and it is acknowledged', async () => {
    const rewind = friend.peer.remember()
    await friend.peer.say('one')
    await ack((await alice.next('MSG')).messageId)
    rewind()
    const before = acked().length
    // Another text under a number of the ratchet that was used before.
    await friend.peer.say('not one')
    const { state, error } = await alice.next('RSYNC', friend.connectionId)
    expect(state).toBe('allowed')
    expect(error?.code).toMatch(/^CRYPTO_(DUPLICATE|EARLIER)$/)
    await world.clock.settle()
    expect(acked()).toHaveLength(before + 1)
    expect(told('MSG')).toHaveLength(1)
  })
})

describe('a message that nobody ever acknowledges', () => {
  const day = 24 * 60 * 60 * 1000
  const hold = async () => {
    await friend.peer.say('one')
    await friend.peer.say('two')
    return alice.next('MSG')
  }

  it('B34 8 tries within a day, or fewer in a longer time, drop nothing', async () => {
    await hold()
    for (let attempt = 0; attempt < 20; attempt++) await reconnect()
    expect(friend.queue.messages).toHaveLength(2)
    expect(told('ERR')).toEqual([])
    const [row] = await alice.store.find(rcvMessages, { where: { type: 'A_MSG' } })
    expect(row?.attempts).toBe(20)
  })

  it('B34 a day alone drops nothing', async () => {
    await hold()
    await world.clock.advance(2 * day)
    for (let attempt = 0; attempt < 7; attempt++) await reconnect()
    expect(friend.queue.messages).toHaveLength(2)
    expect(told('ERR')).toEqual([])
  })

  it('B34 it is dropped at the very end of the day, not before', async () => {
    await hold()
    const [row] = await alice.store.find(rcvMessages, { where: { type: 'A_MSG' } })
    for (let attempt = 0; attempt < 8; attempt++) {
      world.router.deliverAgain(friend.queue)
      await world.clock.settle()
    }
    const left = (row?.createdAt ?? 0) + day - world.clock.now()
    await world.clock.advance(left - 1)
    world.router.deliverAgain(friend.queue)
    await world.clock.settle()
    expect(told('ERR')).toEqual([])
    await world.clock.advance(1)
    world.router.deliverAgain(friend.queue)
    await world.clock.settle()
    expect(told('ERR')).toHaveLength(1)
  })

  it('B34 8 tries and a day: it is dropped from its queue, told so, and the next one comes; its event stays in the log', async () => {
    const held = await hold()
    for (let attempt = 0; attempt < 7; attempt++) await reconnect()
    await world.clock.advance(day)
    expect(told('ERR')).toEqual([])
    await reconnect()
    const { error } = await alice.next('ERR', friend.connectionId)
    expect(error.code).toBe('AGENT_DUPLICATE')
    const two = await alice.next('MSG')
    expect(textOf(two.body)).toBe('two')
    expect(two.integrity).toEqual({ result: 'ok' })
    expect((await logged(alice.store)).map(({ messageId }) => messageId)).toEqual([held.messageId, two.messageId])
    await ack(held.messageId)
    await ack(two.messageId)
    await world.clock.settle()
    expect(friend.queue.messages).toEqual([])
    expect(await logged(alice.store)).toEqual([])
  })
})
