/** The router's rows in the embedded database: what the memory store promises holds for real SQL. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair, type KeyAlgorithm } from '../../src/crypto/index.js'
import { removeLink, removeNotifier, secure, setLink } from '../../src/router/decisions.js'
import type { QueueRecord } from '../../src/router/queue.js'
import { createQueues } from '../../src/router/queues.js'
import type { Store } from '../../src/store/index.js'
import { openStore } from '../../src/store/open.js'

let store: Store
beforeAll(async () => {
  store = await openStore({ memory: 'pglite', scope: 'router' })
})
afterAll(() => store?.close())

const key = (algorithm: KeyAlgorithm) => ({ algorithm, raw: Buffer.from(generateKeyPair(algorithm).publicKey) })
const bare = (): QueueRecord => ({
  recipientId: randomBytes(24),
  senderId: randomBytes(24),
  recipientKeys: [key('ed25519'), key('x25519')],
  rcvDhSecret: randomBytes(32),
  status: 'active',
  createdAt: Date.UTC(2026, 0, 1),
})
const full = (): QueueRecord => ({
  ...bare(),
  senderKey: key('ed448'),
  mode: 'contact',
  status: 'off',
  notifier: { notifierId: randomBytes(24), key: key('ed25519'), dhSecret: randomBytes(32) },
  link: { linkId: randomBytes(24), fixedHash: randomBytes(32) },
})

describe('rows of queues in the embedded database', () => {
  it('come back as they were written, by each id', async () => {
    const record = full()
    for (const each of [record, bare()]) expect(await createQueues(store, 10).create(each)).toBeDefined()
    const ids = [
      ['recipient', record.recipientId],
      ['sender', record.senderId],
      ['notifier', record.notifier!.notifierId],
      ['link', record.link!.linkId],
    ] as const
    for (const [party, id] of ids) {
      const queues = createQueues(store, 10)
      await queues.load([[party, id]])
      expect(queues.get(party, id)?.record).toEqual(record)
    }
  })

  it('two with the same id are refused, without harm to the others of the commit', async () => {
    const queues = createQueues(store, 10)
    const record = full()
    await queues.create(record)
    const fresh = createQueues(store, 10)
    const twins: QueueRecord[] = [
      { ...bare(), recipientId: record.recipientId },
      { ...bare(), senderId: record.senderId },
      { ...bare(), notifier: record.notifier! },
      { ...bare(), link: record.link! },
    ]
    const results = await Promise.all([...twins, bare(), bare()].map(each => fresh.create(each)))
    expect(results.map(result => result !== undefined)).toEqual([false, false, false, false, true, true])
  })

  it('B10 carry the data of their links: set, replaced, taken away and gone with the queue', async () => {
    const queues = createQueues(store, 10)
    const { notifier: _, link: __, ...record } = { ...full(), mode: 'contact' as const }
    const link = { linkId: randomBytes(24), fixedHash: randomBytes(32) }
    const data = (user: number) => ({ fixedData: Buffer.alloc(2_048, 1), userData: Buffer.alloc(13_824, user) })
    const queue = await queues.create({ ...record, link }, data(1))
    if (queue === undefined) throw new Error('not created')
    const read = () => createQueues(store, 10).linkData(link.linkId)
    expect(await read()).toEqual(data(1))
    expect(await queues.change(queue, setLink(link, data(2)))).toBeUndefined()
    expect(await read()).toEqual(data(2))
    // Another queue with the same link changes nothing, and harms nobody in its commit.
    const other = { ...bare(), mode: 'contact' as const }
    const others = createQueues(store, 10)
    const twin = await others.create(other)
    if (twin === undefined) throw new Error('not created')
    const stolen = { linkId: link.linkId, fixedHash: randomBytes(32) }
    const [taken, made] = await Promise.all([
      others.change(twin, setLink(stolen, data(3))),
      others.create({ ...bare(), link: { linkId: randomBytes(24), fixedHash: randomBytes(32) } }, data(4)),
    ])
    expect([taken, made !== undefined]).toEqual([{ type: 'AUTH' }, true])
    expect(await read()).toEqual(data(2))
    expect(await queues.change(queue, removeLink)).toBeUndefined()
    expect(await read()).toBeUndefined()
    expect(await others.change(twin, setLink(stolen, data(5)))).toBeUndefined()
    expect(await read()).toEqual(data(5))
    await others.change(twin, () => ({ answer: undefined, record: undefined }))
    expect(await read()).toBeUndefined()
  })

  it('change, lose what was taken away, and go', async () => {
    const queues = createQueues(store, 10)
    const record = { ...full(), mode: 'messaging' as const }
    const { senderKey: _, ...unsecured } = record
    const queue = await queues.create(unsecured)
    if (queue === undefined) throw new Error('not created')
    const senderKey = key('ed25519')
    await Promise.all([queues.change(queue, secure(senderKey)), queues.change(queue, removeNotifier)])
    const read = async () => {
      const fresh = createQueues(store, 10)
      await fresh.load([['recipient', record.recipientId]])
      return fresh.get('recipient', record.recipientId)?.record
    }
    const { notifier: __, ...rest } = unsecured
    expect(await read()).toEqual({ ...rest, senderKey })
    await queues.change(queue, () => ({ answer: undefined, record: undefined }))
    expect(await read()).toBeUndefined()
  })
})
