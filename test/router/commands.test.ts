import { afterEach, describe, expect, it } from 'vitest'
import { boxSecret, generateKeyPair, x25519 } from '../../src/crypto/index.js'
import type { Command } from '../../src/smp/protocol/commands.js'
import { openNotificationMeta } from '../../src/smp/protocol/recipientMessage.js'
import {
  authKey,
  bodyText,
  errorOf,
  hex,
  newQueue,
  publicOf,
  send,
  type TestClient,
  type TestQueue,
} from '../support/router/client.js'
import { type RouterWorld, routerWorld } from '../support/router/world.js'

let world: RouterWorld
afterEach(() => world.close())

const ack = (messageId: Uint8Array): Command => ({ type: 'ACK', messageId })
const nothing = new Uint8Array(0)
const received = async (client: TestClient, queue: TestQueue) => queue.open((await client.event()).response)

describe.each([14, 15, 16, 17, 18])('a session of version %i', version => {
  it('creates, secures, sends, delivers and acknowledges', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client({ version }), await world.client({ version })]
    const queue = await newQueue(alice)
    expect(queue.ids.mode).toBe('messaging')
    expect([queue.rcvId.length, queue.sndId.length]).toEqual([24, 24])
    const key = authKey()
    expect(errorOf(await bob.one(send('unsigned, first'), queue.sndId))).toBe('OK')
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, queue.sndId, key))).toBe('OK')
    expect(errorOf(await bob.one(send('signed'), queue.sndId, key))).toBe('OK')
    const first = await received(alice, queue)
    expect(bodyText(first)).toBe('unsigned, first')
    const second = queue.open(await alice.one(ack(first.messageId), queue.rcvId, queue.key))
    expect(bodyText(second)).toBe('signed')
    expect(errorOf(await alice.one(ack(second.messageId), queue.rcvId, queue.key))).toBe('OK')
    expect(alice.events).toEqual([])
  })

  it('answers SUB with SOK or OK and sends the message as an event of its own', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client({ version }), await world.client({ version })]
    const queue = await newQueue(alice, { subscribe: false })
    expect(errorOf(await bob.one(send('waits'), queue.sndId))).toBe('OK')
    await world.settle()
    expect(alice.events).toEqual([])
    expect(errorOf(await alice.one({ type: 'SUB' }, queue.rcvId, queue.key))).toBe(version < 16 ? 'OK' : 'SOK')
    const event = await alice.event()
    expect(event).toMatchObject({ corrId: '', entityId: hex(queue.rcvId) })
    expect(bodyText(queue.open(event.response))).toBe('waits')
  })
})

describe('NEW', () => {
  it('creates contact queues and, from 17, notifiers', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const contact = await newQueue(alice, { mode: 'contact' })
    expect(contact.ids.mode).toBe('contact')
    const notifierKey = authKey()
    const dh = generateKeyPair('x25519')
    const queue = await newQueue(alice, { notifier: { authKey: publicOf(notifierKey), dhKey: dh.publicKey } })
    const { notifierId } = queue.ids.notifier ?? { notifierId: nothing }
    expect(errorOf(await alice.one({ type: 'NSUB' }, notifierId, notifierKey))).toBe('SOK')
  })

  it('subscribes unless told not to', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queues = [await newQueue(alice, { subscribe: true }), await newQueue(alice, { subscribe: false })]
    for (const queue of queues) await bob.one(send('x'), queue.sndId)
    expect((await alice.event()).entityId).toBe(hex(queues[0]!.rcvId))
    await world.settle()
    expect(alice.events).toEqual([])
  })

  it('B23 without the right password is answered AUTH', async () => {
    world = await routerWorld({ settings: { password: 'secret' } })
    const alice = await world.client()
    for (const basicAuth of [undefined, 'wrong', 'secretly']) {
      const refused = newQueue(alice, basicAuth === undefined ? {} : { basicAuth })
      await expect(refused).rejects.toMatchObject({ answer: { error: { type: 'AUTH' } } })
    }
    expect((await newQueue(alice, { basicAuth: 'secret' })).ids.type).toBe('IDS')
    expect(world.router.address).toMatch(/^smp:\/\/[\w-]{43}=:secret@router:5223$/)
  })

  it('B23 is answered AUTH when the router takes no new queues', async () => {
    world = await routerWorld({ settings: { newQueues: false } })
    const alice = await world.client()
    await expect(newQueue(alice)).rejects.toMatchObject({ answer: { error: { type: 'AUTH' } } })
  })

  it('must be signed with the key that it brings', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const command: Command = {
      type: 'NEW',
      authKey: publicOf(authKey()),
      dhKey: generateKeyPair('x25519').publicKey,
      subscribe: true,
      request: { mode: 'messaging' },
    }
    expect(errorOf(await alice.one(command, undefined, authKey()))).toBe('AUTH')
    expect(errorOf(await alice.one(command))).toBe('CMD NO_AUTH')
    expect(errorOf(await alice.one(command, Buffer.alloc(24), authKey()))).toBe('CMD HAS_AUTH')
  })

  it('with a key that agrees on no secret is answered CRYPTO', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const key = authKey()
    const command: Command = { type: 'NEW', authKey: publicOf(key), dhKey: Buffer.alloc(32), subscribe: true }
    expect(errorOf(await alice.one(command, undefined, key))).toBe('CRYPTO')
  })
})

describe('KEY and SKEY', () => {
  it('secure a queue once; the same key again is fine, another one is not', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    const [key, other] = [authKey('ed448'), authKey()]
    for (const expected of ['OK', 'OK']) {
      expect(errorOf(await alice.one({ type: 'KEY', key: publicOf(key) }, queue.rcvId, queue.key))).toBe(expected)
    }
    expect(errorOf(await alice.one({ type: 'KEY', key: publicOf(other) }, queue.rcvId, queue.key))).toBe('AUTH')
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, queue.sndId, key))).toBe('OK')
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(other) }, queue.sndId, other))).toBe('AUTH')
    expect(errorOf(await bob.one(send('signed by the other'), queue.sndId, other))).toBe('AUTH')
    expect(errorOf(await bob.one(send('unsigned'), queue.sndId))).toBe('AUTH')
    expect(errorOf(await bob.one(send('signed'), queue.sndId, key))).toBe('OK')
  })

  it('SKEY is for messaging queues and must be signed with the key that it brings', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const contact = await newQueue(alice, { mode: 'contact' })
    const messaging = await newQueue(alice)
    const key = authKey()
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, contact.sndId, key))).toBe('AUTH')
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, messaging.sndId, authKey()))).toBe('AUTH')
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, messaging.sndId, key))).toBe('OK')
  })

  it('are seen by the SEND that follows in the same block', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    const key = authKey()
    const answers = await bob.ask(
      { command: { type: 'SKEY', key: publicOf(key) }, entityId: queue.sndId, key },
      { command: send('signed'), entityId: queue.sndId, key },
      { command: send('unsigned'), entityId: queue.sndId },
    )
    expect(answers.map(errorOf)).toEqual(['OK', 'OK', 'AUTH'])
  })
})

describe('SEND', () => {
  it('takes the largest body and answers LARGE_MSG to a longer one', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    const largest = Buffer.alloc(16_048, 'x')
    expect(errorOf(await bob.one(send(largest), queue.sndId))).toBe('OK')
    expect(errorOf(await bob.one(send(Buffer.alloc(16_049)), queue.sndId))).toBe('LARGE_MSG')
    expect(bodyText(await received(alice, queue))).toBe(largest.toString())
  })

  it('signed to a queue that is not secured, or without a queue, is refused', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    expect(errorOf(await bob.one(send('x'), queue.sndId, authKey()))).toBe('AUTH')
    expect(errorOf(await bob.one(send('x')))).toBe('CMD NO_ENTITY')
    expect(errorOf(await bob.one(send('x'), queue.rcvId))).toBe('AUTH')
  })

  it('keeps the order of many messages in one block', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    const texts = Array.from({ length: 50 }, (_, i) => `message ${i}`)
    const answers = await bob.ask(...texts.map(text => ({ command: send(text), entityId: queue.sndId })))
    expect(new Set(answers.map(errorOf))).toEqual(new Set(['OK']))
    let message = await received(alice, queue)
    const bodies = [bodyText(message)]
    while (bodies.length < texts.length) {
      message = queue.open(await alice.one(ack(message.messageId), queue.rcvId, queue.key))
      bodies.push(bodyText(message))
    }
    expect(bodies).toEqual(texts)
  })
})

describe('OFF and DEL', () => {
  it('B91 OFF stops senders, but not the recipient', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    await bob.one(send('before'), queue.sndId)
    for (const expected of ['OK', 'OK']) {
      expect(errorOf(await alice.one({ type: 'OFF' }, queue.rcvId, queue.key))).toBe(expected)
    }
    expect(errorOf(await bob.one(send('after'), queue.sndId))).toBe('AUTH')
    expect(bodyText(await received(alice, queue))).toBe('before')
  })

  it('DEL removes the queue and its messages, and tells the other subscriber DELD', async () => {
    world = await routerWorld()
    const [alice, phone, bob] = [await world.client(), await world.client(), await world.client()]
    const queue = await newQueue(alice)
    await bob.one(send('gone'), queue.sndId)
    expect(errorOf(await phone.one({ type: 'DEL' }, queue.rcvId, queue.key))).toBe('OK')
    expect((await alice.event()).response.type).toBe('MSG')
    expect(await alice.event()).toMatchObject({ entityId: hex(queue.rcvId), response: { type: 'DELD' } })
    for (const type of ['SUB', 'DEL', 'QUE', 'GET'] as const) {
      expect(errorOf(await phone.one({ type }, queue.rcvId, queue.key))).toBe('AUTH')
    }
    expect(errorOf(await bob.one(send('x'), queue.sndId))).toBe('AUTH')
    expect(world.router.stats()).toMatchObject({ messagesStored: 0, subscriptions: 0, queuesDeleted: 1 })
  })

  it('DEL by the subscriber tells nobody', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const queue = await newQueue(alice)
    expect(errorOf(await alice.one({ type: 'DEL' }, queue.rcvId, queue.key))).toBe('OK')
    await world.settle()
    expect(alice.events).toEqual([])
  })
})

describe('RKEY', () => {
  it('replaces the recipient keys of a contact queue; any of them authorizes', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const contact = await newQueue(alice, { mode: 'contact' })
    const keys = [authKey('ed448'), authKey('x25519')]
    const rekey: Command = { type: 'RKEY', keys: keys.map(publicOf) }
    expect(errorOf(await alice.one(rekey, contact.rcvId, contact.key))).toBe('OK')
    for (const key of keys) expect(errorOf(await alice.one({ type: 'SUB' }, contact.rcvId, key))).toBe('SOK')
    expect(errorOf(await alice.one({ type: 'SUB' }, contact.rcvId, contact.key))).toBe('AUTH')
    const messaging = await newQueue(alice)
    expect(errorOf(await alice.one(rekey, messaging.rcvId, messaging.key))).toBe('AUTH')
  })
})

describe('QUE', () => {
  it('tells what is in the queue and how the session is subscribed', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice, { subscribe: false })
    const ask = () => alice.one({ type: 'QUE' }, queue.rcvId, queue.key)
    expect(await ask()).toEqual({ type: 'INFO', status: { qiSnd: false, qiNtf: false, qiSize: 0 } })
    await bob.one(send('one'), queue.sndId)
    await bob.one(send('two'), queue.sndId)
    const key = authKey()
    await alice.one({ type: 'KEY', key: publicOf(key) }, queue.rcvId, queue.key)
    await alice.one({ type: 'SUB' }, queue.rcvId, queue.key)
    const message = await received(alice, queue)
    const msgId = Buffer.from(message.messageId).toString('base64')
    expect(await ask()).toEqual({
      type: 'INFO',
      status: {
        qiSub: { qSubThread: 'noSub', qDelivered: msgId },
        qiMsg: { msgId, msgTs: '2026-01-01T00:00:00Z', msgType: 'message' },
        qiSnd: true,
        qiNtf: false,
        qiSize: 2,
      },
    })
  })
})

describe('notifiers (NKEY, NDEL, NSUB)', () => {
  const withNotifier = async () => {
    world = await routerWorld()
    const [alice, bob, notifier] = [await world.client(), await world.client(), await world.client()]
    const queue = await newQueue(alice)
    const key = authKey()
    const dh = generateKeyPair('x25519')
    const answer = await alice.one({ type: 'NKEY', key: publicOf(key), dhKey: dh.publicKey }, queue.rcvId, queue.key)
    if (answer.type !== 'NID') throw new Error('no NID')
    const secret = boxSecret(x25519(dh.privateKey, answer.dhKey))
    return { alice, bob, notifier, queue, key, notifierId: answer.notifierId, secret }
  }

  it('a subscribed notifier is told of flagged messages only', async () => {
    const { alice, bob, notifier, queue, key, notifierId, secret } = await withNotifier()
    expect(errorOf(await notifier.one({ type: 'NSUB' }, notifierId, key))).toBe('SOK')
    await bob.one(send('quiet'), queue.sndId)
    await bob.one(send('loud', true), queue.sndId)
    const { entityId, response } = await notifier.event()
    expect(entityId).toBe(hex(notifierId))
    if (response.type !== 'NMSG') throw new Error('no NMSG')
    const meta = openNotificationMeta(secret, response.nonce, response.metadata)
    const quiet = await received(alice, queue)
    const loud = queue.open(await alice.one(ack(quiet.messageId), queue.rcvId, queue.key))
    expect(hex(meta.messageId)).toBe(hex(loud.messageId))
    expect(notifier.events).toEqual([])
  })

  it('what came before NSUB is told then, if it is not older than a day', async () => {
    const { bob, queue, key, notifierId } = await withNotifier()
    await bob.one(send('too old', true), queue.sndId)
    await world.clock.advance(86_400_000)
    await (await world.client()).one(send('old', true), queue.sndId)
    await world.clock.advance(1)
    const late = await world.client()
    expect(errorOf(await late.one({ type: 'NSUB' }, notifierId, key))).toBe('SOK')
    expect((await late.event()).response.type).toBe('NMSG')
    await world.settle()
    expect(late.events).toEqual([])
    expect(world.router.stats().notificationsPending).toBe(0)
  })

  it('another NSUB ends the first one; NDEL, NKEY and DEL tell DELD', async () => {
    const { alice, notifier, queue, key, notifierId } = await withNotifier()
    const second = await world.client()
    await notifier.one({ type: 'NSUB' }, notifierId, key)
    await second.one({ type: 'NSUB' }, notifierId, key)
    expect(await notifier.event()).toMatchObject({ entityId: hex(notifierId), response: { type: 'END' } })
    const again = await alice.one(
      { type: 'NKEY', key: publicOf(key), dhKey: generateKeyPair('x25519').publicKey },
      queue.rcvId,
      queue.key,
    )
    expect(await second.event()).toMatchObject({ entityId: hex(notifierId), response: { type: 'DELD' } })
    expect(errorOf(await second.one({ type: 'NSUB' }, notifierId, key))).toBe('AUTH')
    if (again.type !== 'NID') throw new Error('no NID')
    await second.one({ type: 'NSUB' }, again.notifierId, key)
    for (const expected of ['OK', 'OK']) {
      expect(errorOf(await alice.one({ type: 'NDEL' }, queue.rcvId, queue.key))).toBe(expected)
    }
    expect(await second.event()).toMatchObject({ entityId: hex(again.notifierId), response: { type: 'DELD' } })
  })

  it('the notifier key opens nothing else', async () => {
    const { notifier, queue, key, notifierId } = await withNotifier()
    expect(errorOf(await notifier.one({ type: 'NSUB' }, notifierId, authKey()))).toBe('AUTH')
    expect(errorOf(await notifier.one({ type: 'SUB' }, queue.rcvId, key))).toBe('AUTH')
    expect(errorOf(await notifier.one({ type: 'SUB' }, notifierId, key))).toBe('AUTH')
  })
})

describe('other commands', () => {
  it('PING is answered PONG; credentials make it HAS_AUTH', async () => {
    world = await routerWorld()
    const alice = await world.client()
    expect(errorOf(await alice.one({ type: 'PING' }))).toBe('PONG')
    expect(errorOf(await alice.one({ type: 'PING' }, undefined, authKey()))).toBe('CMD HAS_AUTH')
  })

  it('of services and proxies are refused with typed errors', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const router = { keyHash: Buffer.alloc(32), hosts: ['a.example'], port: '' }
    const key = generateKeyPair('x25519').publicKey
    const transmission = Buffer.alloc(10)
    expect(errorOf(await alice.one({ type: 'SUBS' }, Buffer.alloc(24), authKey()))).toBe('SERVICE')
    expect(errorOf(await alice.one({ type: 'NSUBS' }, Buffer.alloc(24), authKey()))).toBe('SERVICE')
    expect(errorOf(await alice.one({ type: 'RFWD', transmission }))).toBe('CRYPTO')
    expect(await alice.one({ type: 'PRXY', router })).toEqual({
      type: 'ERR',
      error: { type: 'PROXY', error: { type: 'BASIC_AUTH' } },
    })
    expect(await alice.one({ type: 'PFWD', version: 18, key, transmission }, Buffer.alloc(32))).toEqual({
      type: 'ERR',
      error: { type: 'PROXY', error: { type: 'NO_SESSION' } },
    })
  })
})
