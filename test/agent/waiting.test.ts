/** What the delivery workers tell of a message that waits: the facts behind "Why is it waiting?". */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import type { AgentContext } from '../../src/agent/context.js'
import { Deliveries } from '../../src/agent/deliveries.js'
import { newConnection } from '../../src/agent/newConnection.js'
import { generateKeyPair, systemRandom } from '../../src/crypto/index.js'
import { RouterError, TransportError } from '../../src/errors.js'
import { ownsEverything } from '../../src/runtime/ports.js'
import { Runtime } from '../../src/runtime/runtime.js'
import { connections, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { connectionTables } from '../../src/store/agent/tables.js'
import { insert, openMemoryStore } from '../../src/store/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'

const queueId = 'queue'
const connectionId = 'connection'
const second = 1000
const day = 24 * 3600 * second

const open = async () => {
  const clock = virtualClock()
  const store = openMemoryStore()
  const keys = generateKeyPair('ed25519')
  await store.commit([
    insert(connections, {
      ...newConnection({ connectionId, userId: 1, origin: 'created', agentVersion: 7, now: clock.now() }),
      status: 'connected',
    }),
    insert(sndQueues, {
      queueId,
      connectionId,
      userId: 1,
      router: 'smp://router',
      sndId: Buffer.alloc(24),
      sndPrivateKey: keys.privateKey,
      e2ePublicKey: Buffer.alloc(32),
      e2eSecret: Buffer.alloc(32, 1),
      status: 'active',
      clientVersion: 4,
      queueMode: 'messaging',
      primary: true,
      replaces: null,
      switchStatus: null,
      createdAt: clock.now(),
    }),
  ])
  const add = (messageId: number, type: string) =>
    store.commit([
      insert(sndMessages, {
        connectionId,
        messageId,
        sendId: messageId,
        type,
        body: null,
        bodyId: null,
        header: null,
        paddedLength: 15_840,
        pqEncryption: false,
        encrypted: Buffer.from('encrypted'),
        previousHash: Buffer.alloc(0),
        hash: Buffer.alloc(32),
        notify: true,
        idempotencyKey: null,
        receipt: null,
        createdAt: clock.now(),
      }),
      insert(deliveries, { queueId, messageId, connectionId, warned: null, sent: false, createdAt: clock.now() }),
    ])
  const router: { answer: () => Promise<void> } = { answer: async () => {} }
  const runtime = await Runtime.open({
    store,
    aggregateTables: connectionTables,
    clock,
    ownership: ownsEverything,
    published: () => {},
    woken: () => {},
  })
  const workers = new Deliveries({
    config: { ...defaultConfig, helloTimeoutMs: day },
    store,
    runtime,
    clock,
    random: systemRandom,
    operations: { began: () => {}, ended: () => {}, isStopped: () => false },
    contestedQueues: new Set(),
    log: { debug: () => {}, error: () => {} },
    network: { online: true },
    privateRouting: { send: async () => ({ response: await router.answer() }) },
  } as unknown as AgentContext)
  return { clock, store, add, router, workers }
}

let world: Awaited<ReturnType<typeof open>>
beforeEach(async () => {
  world = await open()
})
afterEach(() => world.workers.close())

const unreachable = () => Promise.reject(new TransportError('TRANSPORT_BROKEN', 'the router is away'))
const full = () => Promise.reject(new RouterError('QUOTA', 'the queue is full'))
const start = async () => {
  world.workers.wake(queueId, undefined)
  await world.clock.settle()
}

describe('what the first message of a queue waits for', () => {
  it('B43 an unreachable router: the error, the attempts, when it is tried again and when it is given up', async () => {
    const { clock, add, router, workers } = world
    const queuedAt = clock.now()
    await add(2, 'A_MSG')
    await clock.advance(5 * second)
    router.answer = unreachable
    await start()
    const lastError = { code: 'TRANSPORT_BROKEN', message: 'the router is away' }
    const fact = { messageId: 2, messageType: 'A_MSG', queuedAt, lastError, expiresAt: queuedAt + 2 * day }
    const now = queuedAt + 5 * second
    expect(workers.waiting(queueId)).toEqual({
      ...fact,
      attempts: 1,
      lastAttemptAt: now,
      nextAttemptAt: now + 2 * second,
    })
    await clock.advance(4 * second)
    expect(workers.waiting(queueId)).toEqual({
      ...fact,
      attempts: 3,
      lastAttemptAt: now + 4 * second,
      nextAttemptAt: now + 6 * second,
    })
  })

  it('B41 a full queue: the long delay and the longer expiry', async () => {
    const { clock, add, router, workers } = world
    await add(2, 'A_MSG')
    router.answer = full
    await start()
    const now = clock.now()
    expect(workers.waiting(queueId)).toMatchObject({
      lastError: { code: 'QUOTA' },
      nextAttemptAt: now + 300 * second,
      expiresAt: now + 7 * day,
    })
  })

  it('B43 HELLO has its own expiry', async () => {
    const { clock, add, router, workers } = world
    await add(2, 'HELLO')
    router.answer = unreachable
    await start()
    expect(workers.waiting(queueId)).toMatchObject({ messageType: 'HELLO', expiresAt: clock.now() + day })
  })

  it('B43 no next attempt is told while one is under way', async () => {
    const { clock, add, router, workers } = world
    await add(2, 'A_MSG')
    router.answer = unreachable
    await start()
    router.answer = () => new Promise(() => {})
    await clock.advance(2 * second)
    expect(workers.waiting(queueId)).toMatchObject({ attempts: 1 })
    expect(workers.waiting(queueId)).not.toHaveProperty('nextAttemptAt')
  })

  it('B40 a message that was read from the rows before its wake-up came goes out once', async () => {
    const { clock, add, router, workers } = world
    await add(2, 'A_MSG')
    await add(3, 'A_MSG')
    let sent = 0
    let release = () => {}
    router.answer = () => {
      sent++
      return new Promise(resolve => (release = resolve))
    }
    await start()
    for (const messageId of [2, 3]) {
      const [[delivery], [message]] = await Promise.all([
        world.store.find(deliveries, { where: { messageId } }),
        world.store.find(sndMessages, { where: { messageId } }),
      ])
      if (delivery === undefined || message === undefined) throw new Error('nothing waits')
      workers.wake(queueId, { delivery, message, body: null })
    }
    for (let n = 0; n < 5; n++) {
      release()
      await clock.settle()
    }
    expect(sent).toBe(2)
    expect(await world.store.find(deliveries, {})).toEqual([])
  })

  it('B43 a failure behind a success waits as briefly as the first one', async () => {
    const { clock, add, router, workers } = world
    await add(2, 'A_MSG')
    await add(3, 'A_MSG')
    router.answer = unreachable
    await start()
    await clock.advance(120 * second)
    let answers = 0
    router.answer = () => (answers++ === 0 ? Promise.resolve() : unreachable())
    while (workers.waiting(queueId)?.messageId === 2) await clock.advance(second)
    const { attempts, lastAttemptAt, nextAttemptAt } = workers.waiting(queueId) ?? {}
    expect({ attempts, nextAttemptAt }).toEqual({ attempts: 1, nextAttemptAt: (lastAttemptAt ?? 0) + 2 * second })
  })

  it('B44 nothing is told of a queue that delivers, of one without messages, and of an unknown one', async () => {
    const { clock, add, router, workers } = world
    expect(workers.waiting('unknown')).toBeUndefined()
    await add(2, 'A_MSG')
    await add(3, 'A_MSG')
    router.answer = unreachable
    await start()
    expect(workers.waiting(queueId)).toMatchObject({ messageId: 2, attempts: 1 })
    let answers = 0
    router.answer = () => (answers++ === 0 ? Promise.resolve() : unreachable())
    await clock.advance(2 * second)
    expect(workers.waiting(queueId)).toMatchObject({ messageId: 3, attempts: 1 })
    router.answer = async () => {}
    await clock.advance(2 * second)
    expect(workers.waiting(queueId)).toBeUndefined()
  })
})
