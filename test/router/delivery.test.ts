import { afterEach, describe, expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import type { Verify } from '../../src/router/authorize.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import type { Command } from '../../src/smp/protocol/commands.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { bodyText, errorOf, hex, newQueue, send, type TestClient, type TestQueue } from '../support/router/client.js'
import { type RouterWorld, routerWorld } from '../support/router/world.js'

let world: RouterWorld
afterEach(() => world.close())

const ack = (messageId: Uint8Array): Command => ({ type: 'ACK', messageId })
const received = async (client: TestClient, queue: TestQueue) => queue.open((await client.event()).response)
const acknowledge = (client: TestClient, queue: TestQueue, { messageId }: { messageId: Uint8Array }) =>
  client.one(ack(messageId), queue.rcvId, queue.key)
const subscribe = (client: TestClient, queue: TestQueue) => client.one({ type: 'SUB' }, queue.rcvId, queue.key)
const day = 86_400_000

describe('delivery', () => {
  it('one message at a time is delivered and not acknowledged', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    for (const text of ['1', '2', '3']) await bob.one(send(text), queue.sndId)
    const first = await received(alice, queue)
    await world.settle()
    expect(alice.events).toEqual([])
    expect(first.timestamp).toBe(world.clock.now() / 1000)
    const second = queue.open(await acknowledge(alice, queue, first))
    const third = queue.open(await acknowledge(alice, queue, second))
    expect([first, second, third].map(bodyText)).toEqual(['1', '2', '3'])
    expect(errorOf(await acknowledge(alice, queue, third))).toBe('OK')
    await bob.one(send('4'), queue.sndId)
    expect(bodyText(await received(alice, queue))).toBe('4')
  })

  it('ACK of anything but the delivered message is answered NO_MSG and changes nothing', async () => {
    world = await routerWorld()
    const [alice, bob, other] = [await world.client(), await world.client(), await world.client()]
    const queue = await newQueue(alice)
    expect(errorOf(await alice.one(ack(Buffer.alloc(24)), queue.rcvId, queue.key))).toBe('NO_MSG')
    await bob.one(send('1'), queue.sndId)
    const message = await received(alice, queue)
    expect(errorOf(await alice.one(ack(Buffer.alloc(24)), queue.rcvId, queue.key))).toBe('NO_MSG')
    expect(errorOf(await acknowledge(other, queue, message))).toBe('NO_MSG')
    expect(errorOf(await acknowledge(alice, queue, message))).toBe('OK')
    expect(errorOf(await acknowledge(alice, queue, message))).toBe('NO_MSG')
  })

  it('ACK without an id acknowledges what was delivered', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    await bob.one(send('1'), queue.sndId)
    await received(alice, queue)
    expect(errorOf(await alice.one(ack(new Uint8Array(0)), queue.rcvId, queue.key))).toBe('OK')
    expect(world.router.stats().messagesStored).toBe(0)
  })

  it('what was not acknowledged comes again after SUB, in the same and in another session', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    await bob.one(send('1'), queue.sndId)
    const first = await received(alice, queue)
    expect(errorOf(await subscribe(alice, queue))).toBe('SOK')
    const again = await received(alice, queue)
    alice.close()
    await world.settle()
    const later = await world.client()
    await subscribe(later, queue)
    const last = await received(later, queue)
    expect([again.messageId, last.messageId].map(hex)).toEqual([first.messageId, first.messageId].map(hex))
    expect(errorOf(await acknowledge(later, queue, last))).toBe('OK')
  })

  it('B60 another session takes a subscription over and the first one gets END', async () => {
    world = await routerWorld()
    const [alice, phone, bob] = [await world.client(), await world.client(), await world.client()]
    const queue = await newQueue(alice)
    await subscribe(phone, queue)
    expect(await alice.event()).toMatchObject({ corrId: '', entityId: hex(queue.rcvId), response: { type: 'END' } })
    await bob.one(send('1'), queue.sndId)
    const message = await received(phone, queue)
    expect(errorOf(await acknowledge(alice, queue, message))).toBe('NO_MSG')
    expect(errorOf(await acknowledge(phone, queue, message))).toBe('OK')
    alice.close()
    await world.settle()
    await bob.one(send('2'), queue.sndId)
    expect(bodyText(await received(phone, queue))).toBe('2')
  })

  it('many SUBs in a block are answered first, their messages follow', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queues = await Promise.all(Array.from({ length: 100 }, () => newQueue(alice, { subscribe: false })))
    await Promise.all(queues.map((queue, i) => bob.one(send(`for ${i}`), queue.sndId)))
    const answers = await alice.ask(
      ...queues.map(({ rcvId, key }) => ({ command: { type: 'SUB' } as const, entityId: rcvId, key })),
    )
    expect(new Set(answers.map(errorOf))).toEqual(new Set(['SOK']))
    const byQueue = new Map(queues.map((queue, i) => [hex(queue.rcvId), { queue, text: `for ${i}` }]))
    for (let i = 0; i < queues.length; i++) {
      const { entityId, response } = await alice.event()
      const { queue, text } = byQueue.get(entityId)!
      expect(bodyText(queue.open(response))).toBe(text)
      byQueue.delete(entityId)
    }
    expect(byQueue.size).toBe(0)
  })

  it('B66 1,350 SUBs take the turns of the event loop a few milliseconds at a time', async () => {
    const queues = 1_350
    const clock = virtualClock()
    // Verifying takes a millisecond here, twice what Ed448 takes on a slow machine.
    let spent = 0
    let inThisTurn = 0
    let longestTurn = 0
    let counting = false
    const verify: Verify = () => {
      spent += 1
      inThisTurn += 1
      longestTurn = Math.max(longestTurn, inThisTurn)
      return true
    }
    const watchTurns = (): void => {
      inThisTurn = 0
      if (counting) setImmediate(watchTurns)
    }
    world = await routerWorld({ verify, clock: { ...clock, elapsed: () => clock.elapsed() + spent } })
    const alice = await world.client()
    const all: TestQueue[] = []
    while (all.length < queues) {
      const fifty = Array.from({ length: 50 }, () => newQueue(alice, { subscribe: false }))
      all.push(...(await Promise.all(fifty)))
    }
    counting = true
    longestTurn = 0
    watchTurns()
    const answers = await alice.ask(
      ...all.map(({ rcvId, key }) => ({ command: { type: 'SUB' } as const, entityId: rcvId, key })),
    )
    counting = false
    expect(answers.filter(({ type }) => type === 'SOK')).toHaveLength(queues)
    // The end of one block and the beginning of the next may share a turn.
    expect(longestTurn).toBeLessThanOrEqual(4)
    expect(world.router.stats().subscriptions).toBe(queues)
  })
})

describe('GET', () => {
  it('takes messages one by one, OK when there is none, and ACK brings no next one', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice, { subscribe: false })
    const get = () => alice.one({ type: 'GET' }, queue.rcvId, queue.key)
    expect(errorOf(await get())).toBe('OK')
    for (const text of ['1', '2']) await bob.one(send(text), queue.sndId)
    const first = queue.open(await get())
    expect(hex(queue.open(await get()).messageId)).toBe(hex(first.messageId))
    expect(errorOf(await acknowledge(alice, queue, first))).toBe('OK')
    expect(bodyText(queue.open(await get()))).toBe('2')
    await world.settle()
    expect(alice.events).toEqual([])
  })

  it('B69 and SUB exclude each other in one session', async () => {
    world = await routerWorld()
    const [alice, phone] = [await world.client(), await world.client()]
    const subscribed = await newQueue(alice)
    const polled = await newQueue(alice, { subscribe: false })
    expect(errorOf(await alice.one({ type: 'GET' }, subscribed.rcvId, subscribed.key))).toBe('CMD PROHIBITED')
    expect(errorOf(await alice.one({ type: 'GET' }, polled.rcvId, polled.key))).toBe('OK')
    expect(errorOf(await subscribe(alice, polled))).toBe('CMD PROHIBITED')
    expect(errorOf(await phone.one({ type: 'GET' }, subscribed.rcvId, subscribed.key))).toBe('OK')
    await world.settle()
    expect(alice.events).toEqual([])
  })
})

describe('quota', () => {
  it('of 128: then a marker, and QUOTA until the queue is drained', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    const fill = await bob.ask(
      ...Array.from({ length: 128 }, (_, i) => ({ command: send(String(i)), entityId: queue.sndId })),
    )
    expect(new Set(fill.map(errorOf))).toEqual(new Set(['OK']))
    const over = async () => errorOf(await bob.one(send('over'), queue.sndId))
    expect([await over(), await over()]).toEqual(['QUOTA', 'QUOTA'])
    let message = await received(alice, queue)
    for (let i = 1; i < 128; i++) {
      message = queue.open(await acknowledge(alice, queue, message))
      expect(bodyText(message)).toBe(String(i))
    }
    expect(await over()).toBe('QUOTA')
    const marker = queue.open(await acknowledge(alice, queue, message))
    expect(marker.type).toBe('quota')
    expect(await over()).toBe('QUOTA')
    expect(errorOf(await acknowledge(alice, queue, marker))).toBe('OK')
    expect(await over()).toBe('OK')
    expect(bodyText(await received(alice, queue))).toBe('over')
  })

  it('a full disk looks like a full queue', async () => {
    world = await routerWorld({ messages: memoryLog(100) })
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    expect(errorOf(await bob.one(send(Buffer.alloc(90)), queue.sndId))).toBe('OK')
    expect(errorOf(await bob.one(send(Buffer.alloc(90)), queue.sndId))).toBe('QUOTA')
    expect(errorOf(await acknowledge(alice, queue, await received(alice, queue)))).toBe('OK')
    expect(errorOf(await bob.one(send(Buffer.alloc(90)), queue.sndId))).toBe('OK')
  })
})

describe('time to live', () => {
  it('drops messages after 21 days, unread or delivered', async () => {
    world = await routerWorld()
    let [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    await bob.one(send('old'), queue.sndId)
    const old = await received(alice, queue)
    await world.clock.advance(20 * day)
    ;[alice, bob] = [await world.client(), await world.client()]
    await bob.one(send('young'), queue.sndId)
    await subscribe(alice, queue)
    expect(hex((await received(alice, queue)).messageId)).toBe(hex(old.messageId))
    await world.clock.advance(2 * day)
    alice = await world.client()
    await subscribe(alice, queue)
    expect(bodyText(await received(alice, queue))).toBe('young')
    expect(world.router.stats()).toMatchObject({ messagesStored: 1, messagesExpired: 1 })
  })
})

describe('a failing store', () => {
  it('ends the session without an answer: the client repeats instead of giving up', async () => {
    const log = memoryLog()
    const { write } = log
    log.write = () => Promise.reject(new StoreError('STORE_WRITE', 'disk error'))
    world = await routerWorld({ messages: log })
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    await expect(bob.one(send('lost'), queue.sndId)).rejects.toMatchObject({
      code: expect.stringMatching(/^TRANSPORT_/),
    })
    log.write = write
    expect(errorOf(await (await world.client()).one(send('again'), queue.sndId))).toBe('OK')
    expect(bodyText(await received(alice, queue))).toBe('again')
  })

  it('a message that cannot be read now stays, and ends the session of its recipient', async () => {
    const log = memoryLog()
    const { read } = log
    log.read = () => Promise.reject(new StoreError('STORE_READ', 'disk error'))
    world = await routerWorld({ messages: log })
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    expect(errorOf(await bob.one(send('kept'), queue.sndId))).toBe('OK')
    await world.settle()
    expect([alice.channel.closed, bob.channel.closed]).toEqual([true, false])
    log.read = read
    const again = await world.client()
    await subscribe(again, queue)
    expect(bodyText(await received(again, queue))).toBe('kept')
  })

  it('a damaged message is skipped', async () => {
    const log = memoryLog()
    const { read } = log
    log.read = async entry => {
      const body = await read(entry)
      if (Buffer.from(body).toString() === 'damaged') throw new StoreError('STORE_DAMAGED', 'no')
      return body
    }
    world = await routerWorld({ messages: log })
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    for (const text of ['damaged', 'whole']) await bob.one(send(text), queue.sndId)
    expect(bodyText(await received(alice, queue))).toBe('whole')
  })
})
