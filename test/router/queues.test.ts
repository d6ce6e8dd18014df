import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/crypto/index.js'
import { StoreError } from '../../src/errors.js'
import { secure, setNotifier, suspend } from '../../src/router/decisions.js'
import { fromRow, type QueueRecord, toRow } from '../../src/router/queue.js'
import { createQueues, type Queue } from '../../src/router/queues.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { routerLinks, routerQueues } from '../../src/store/router/tables.js'

const bytes = (min: number, max = min) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map(value => Buffer.from(value))
const keys = fc.constantFrom('ed25519' as const, 'ed448' as const, 'x25519' as const).map(algorithm => ({
  algorithm,
  raw: Buffer.from(generateKeyPair(algorithm).publicKey),
}))
const records: fc.Arbitrary<QueueRecord> = fc.record(
  {
    recipientId: bytes(24),
    senderId: bytes(24),
    recipientKeys: fc.array(keys, { minLength: 1, maxLength: 4 }),
    rcvDhSecret: bytes(32),
    senderKey: keys,
    mode: fc.constantFrom('messaging' as const, 'contact' as const),
    status: fc.constantFrom('active' as const, 'off' as const),
    notifier: fc.record({ notifierId: bytes(24), key: keys, dhSecret: bytes(32) }),
    link: fc.record({ linkId: bytes(24), fixedHash: bytes(32) }),
    createdAt: fc.nat(),
  },
  { requiredKeys: ['recipientId', 'senderId', 'recipientKeys', 'rcvDhSecret', 'status', 'createdAt'] },
)

const newRecord = (): QueueRecord => ({
  recipientId: randomBytes(24),
  senderId: randomBytes(24),
  recipientKeys: [{ algorithm: 'ed25519', raw: generateKeyPair('ed25519').publicKey }],
  rcvDhSecret: randomBytes(32),
  mode: 'messaging',
  status: 'active',
  createdAt: 1,
})
const newKey = () => ({ algorithm: 'ed25519' as const, raw: generateKeyPair('ed25519').publicKey })
const newNotifier = () => ({ notifierId: randomBytes(24), key: newKey(), dhSecret: randomBytes(32) })

const world = (maxCached = 1000) => {
  const store = openMemoryStore()
  const commits: number[] = []
  const { commit } = store
  store.commit = changes => {
    commits.push(changes.length)
    return commit.call(store, changes)
  }
  return { store, commits, queues: createQueues(store, maxCached) }
}
const created = async (queue: Promise<Queue | undefined>): Promise<Queue> => {
  const result = await queue
  if (result === undefined) throw new Error('not created')
  return result
}

describe('rows of queues', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(records, record => {
        expect(fromRow(toRow(record))).toEqual(record)
      }),
    )
  })

  it('that hold rubbish are refused with a typed error', () => {
    const row = toRow(newRecord())
    fc.assert(
      fc.property(bytes(1, 200), rubbish => {
        expect(() => fromRow({ ...row, recipientKeys: Buffer.concat([rubbish, Buffer.of(7)]) })).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^DECODE_/) }),
        )
      }),
    )
  })
})

describe('queues', () => {
  it('are found by every id, and by none after they are deleted', async () => {
    const { queues, store } = world()
    const notifier = newNotifier()
    const linkData = { fixedData: Buffer.of(1), userData: Buffer.of(2) }
    const link = { linkId: randomBytes(24), fixedHash: randomBytes(32) }
    const record = { ...newRecord(), notifier, link }
    await created(queues.create(record, linkData))
    const ids = [
      ['recipient', record.recipientId],
      ['sender', record.senderId],
      ['notifier', notifier.notifierId],
      ['link', link.linkId],
    ] as const
    for (const [party, id] of ids) {
      const fresh = createQueues(store, 10)
      expect(fresh.get(party, id)).toBeUndefined()
      await fresh.load([[party, id]])
      expect(fresh.get(party, id)?.record).toEqual(record)
      expect(fresh.load([[party, id]])).toBeUndefined()
    }
    const again = createQueues(store, 10)
    await again.load([['sender', record.senderId]])
    const queue = again.get('recipient', record.recipientId)!
    await again.change(queue, () => ({ answer: undefined, record: undefined }))
    for (const [party, id] of ids) {
      await again.load([[party, id]])
      expect(again.get(party, id)).toBeUndefined()
    }
    expect(await store.find(routerQueues, {})).toEqual([])
    expect(await store.find(routerLinks, {})).toEqual([])
  })

  it('keep no block in memory for the few bytes that they have of it', async () => {
    const { queues } = world()
    const block = randomBytes(16_384)
    const viewed: QueueRecord = {
      ...newRecord(),
      senderId: block.subarray(0, 24),
      recipientKeys: [{ algorithm: 'ed25519', raw: block.subarray(100, 132) }],
      link: { linkId: block.subarray(200, 224), fixedHash: randomBytes(32) },
    }
    const queue = await created(queues.create(viewed))
    await queues.change(queue, secure({ algorithm: 'ed25519', raw: block.subarray(300, 332) }))
    expect(queue.record).toEqual({ ...viewed, senderKey: { algorithm: 'ed25519', raw: block.subarray(300, 332) } })
    const { senderId, recipientKeys, senderKey, link } = queue.record!
    const kept = [senderId, recipientKeys[0]!.raw, senderKey!.raw, link!.linkId]
    expect(kept.filter(({ buffer }) => buffer === block.buffer)).toEqual([])
  })

  it('changes that are ready together share a commit', async () => {
    const { queues, commits } = world()
    const made = await Promise.all(Array.from({ length: 50 }, () => created(queues.create(newRecord()))))
    await Promise.all(made.map(queue => queues.change(queue, secure(newKey()))))
    expect(commits).toEqual([50, 50])
  })

  it('an id that is taken harms nobody else in the commit', async () => {
    const { queues, store } = world()
    const record = newRecord()
    await created(queues.create(record))
    const other = createQueues(store, 10)
    const twin = { ...newRecord(), senderId: record.senderId }
    const results = await Promise.all([other.create(newRecord()), other.create(twin), other.create(newRecord())])
    expect(results.map(result => result !== undefined)).toEqual([true, false, true])
    expect(await store.count(routerQueues, {})).toBe(3)
  })

  it('changes of one queue follow each other and see what the one before did', async () => {
    const { queues, store } = world()
    const queue = await created(queues.create(newRecord()))
    const [key, other] = [newKey(), newKey()]
    const answers = await Promise.all([
      queues.change(queue, secure(key)),
      queues.change(queue, secure(other)),
      queues.change(queue, setNotifier(newNotifier())),
      queues.change(queue, suspend),
    ])
    expect(answers).toEqual([undefined, { type: 'AUTH' }, {}, undefined])
    const [row] = await store.find(routerQueues, {})
    expect(fromRow(row!)).toMatchObject({ senderKey: key, status: 'off', notifier: expect.anything() })
  })

  it('a change that the store refuses leaves the queue as it was, and the next one goes on', async () => {
    const { queues, store } = world()
    const queue = await created(queues.create(newRecord()))
    store.failNext(new StoreError('STORE_UNAVAILABLE', 'away'))
    await expect(queues.change(queue, secure(newKey()))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(queue.record?.senderKey).toBeUndefined()
    expect(queue.changing).toBeUndefined()
    expect(await queues.change(queue, secure(newKey()))).toBeUndefined()
    expect(queue.record?.senderKey).toBeDefined()
  })

  it('in memory are bounded; those with a subscription stay', async () => {
    const { queues } = world(20)
    const pinned = await created(queues.create(newRecord()))
    pinned.pins++
    const all = [pinned]
    for (let i = 0; i < 100; i++) all.push(await created(queues.create(newRecord())))
    expect(queues.cached).toBeLessThanOrEqual(21)
    expect(queues.get('recipient', pinned.record!.recipientId)).toBe(pinned)
    const early = all[1]!.record!
    expect(queues.get('sender', early.senderId)).toBeUndefined()
    await queues.load([['sender', early.senderId]])
    expect(queues.get('sender', early.senderId)?.record).toEqual(early)
    expect(queues.get('recipient', early.recipientId)).toBe(queues.get('sender', early.senderId))
  })

  it('that are loaded twice at the same time are one object', async () => {
    const { queues, store } = world()
    const record = newRecord()
    await created(queues.create(record))
    const again = createQueues(store, 10)
    await Promise.all([
      again.load([['sender', record.senderId]]),
      again.load([['sender', record.senderId]]),
      again.load([['recipient', record.recipientId]]),
    ])
    expect(again.get('sender', record.senderId)).toBe(again.get('recipient', record.recipientId))
    expect(again.cached).toBe(1)
  })
})
