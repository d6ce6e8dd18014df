/** B46: one call that sends to many connections. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { maxMessageLength } from '../../src/agent/index.js'
import { SharedBodies } from '../../src/agent/sharedBodies.js'
import { commands, connections, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndBodies, sndMessages } from '../../src/store/agent/messages.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { afterCommits, beforeCommits, brokenDisk, commitGate, recordCommits, touches } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
let bob: TestAgent
/** Connections of alice with bob, and their other ends. */
let ids: string[]
let ends: string[]
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  bob = await world.start('bob')
  ids = []
  ends = []
})
afterEach(() => world.close())

const connect = async (count: number): Promise<void> => {
  for (let index = 0; index < count; index++) {
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    ids.push(initiatorId)
    ends.push(joinerId)
  }
  await world.clock.settle()
}
const idAt = (index: number): string => ids[index] ?? ''
type Items = Parameters<TestAgent['agent']['sendMessages']>[0]['items']
const send = async (items: Items) => (await alice.agent.sendMessages({ items })).results
const loseSends = (lost = true) => {
  world.router.react = ({ command }) => (lost && command.type === 'SEND' ? 'lose' : undefined)
}
/** The next messages of bob’s end of a connection, acknowledged. */
const received = async (index: number, count = 1): Promise<string[]> => {
  const bodies: string[] = []
  while (bodies.length < count) {
    const connectionId = ends[index] ?? ''
    const { body, messageId, integrity } = await bob.next('MSG', connectionId)
    expect(integrity).toEqual({ result: 'ok' })
    bodies.push(textOf(body))
    await bob.agent.ackMessage({ connectionId, messageId })
  }
  return bodies
}
const bodies = (store: MemoryStore = alice.store) => store.find(sndBodies, {})

describe('B46 one body for many', () => {
  it('B46 B40 is stored once, named by its messages, and each connection gets it under its own ratchet step', async () => {
    await connect(3)
    loseSends()
    const before = await alice.store.find(connections, {})
    const results = await send([
      { connectionId: idAt(0), body: 'for all', ref: 'all' },
      { connectionId: idAt(1), ref: 'all' },
      { connectionId: idAt(2), ref: 'all' },
    ])
    expect(results).toEqual(ids.map(connectionId => ({ connectionId, messageId: 2, pqEncryption: true })))
    const [stored, ...more] = await bodies()
    expect(more).toEqual([])
    expect(textOf(stored?.body ?? Buffer.of())).toContain('for all')
    const rows = await alice.store.find(sndMessages, {})
    expect(rows).toHaveLength(3)
    for (const row of rows) expect(row).toMatchObject({ body: null, bodyId: stored?.bodyId, encrypted: null })
    expect(new Set(rows.map(row => Buffer.from(row.header ?? []).toString('hex'))).size).toBe(3)
    const after = await alice.store.find(connections, {})
    for (const [index, row] of before.entries()) expect(after[index]?.ratchet).not.toEqual(row.ratchet)
    loseSends(false)
    for (const index of ids.keys()) expect(await received(index)).toEqual(['for all'])
  })

  it('B46 goes with the last message that needs it: delivered, failed or deleted, in the same commit', async () => {
    await connect(3)
    loseSends()
    const body = 'for all'
    await send([
      { connectionId: idAt(0), body, ref: 'all' },
      { connectionId: idAt(1), ref: 'all' },
      { connectionId: idAt(2), ref: 'all' },
    ])
    await alice.agent.deleteConnection({ connectionId: idAt(0) })
    expect(await bodies()).toHaveLength(1)
    // The next connection's queue is gone, the last one takes the message.
    const [gone] = await alice.store.find(sndQueues, { where: { connectionId: idAt(1) } })
    world.router.react = ({ command, entityId }) =>
      command.type !== 'SEND'
        ? undefined
        : Buffer.compare(entityId, gone?.sndId ?? Buffer.of()) === 0
          ? errorAnswer('AUTH')
          : 'lose'
    expect((await alice.next('MERR', idAt(1))).messageId).toBe(2)
    expect(await bodies()).toHaveLength(1)
    const commits = recordCommits(alice.store)
    loseSends(false)
    await alice.next('SENT', idAt(2))
    expect(await bodies()).toEqual([])
    const last = commits.filter(changes => touches(changes, deliveries, 'remove'))
    expect(last).toHaveLength(1)
    expect(touches(last[0] ?? [], sndBodies, 'removeUnused')).toBe(true)
    expect(await received(2)).toEqual([body])
  })

  it('B46 goes with the deletion of the connections that need it, before their queues are deleted at the router', async () => {
    await connect(2)
    loseSends()
    await send([
      { connectionId: idAt(0), body: 'for both', ref: 'both' },
      { connectionId: idAt(1), ref: 'both' },
    ])
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    await alice.agent.deleteConnection({ connectionId: idAt(0) })
    expect(await bodies()).toHaveLength(1)
    await alice.agent.deleteConnection({ connectionId: idAt(1) })
    expect(await bodies()).toEqual([])
  })

  it('B46 B90 goes with a deletion that has waited for deliveries for too long, and with a user whose queues are left alone', async () => {
    await connect(2)
    const config = { deleteDeliveryTimeoutMs: 3_600_000 }
    alice = await world.start('alice', { store: { open: alice.crash() }, config })
    loseSends()
    const toBoth = () =>
      send([
        { connectionId: idAt(0), body: 'for both', ref: 'both' },
        { connectionId: idAt(1), ref: 'both' },
      ])
    await toBoth()
    await alice.agent.deleteConnections({ connectionIds: ids, waitDelivery: true })
    await world.clock.advance(config.deleteDeliveryTimeoutMs / 2)
    expect(await bodies()).toHaveLength(1)
    await world.clock.advance(config.deleteDeliveryTimeoutMs)
    expect(await bodies()).toEqual([])
    loseSends(false)
    ids = []
    ends = []
    await connect(2)
    loseSends()
    await toBoth()
    expect(await bodies()).toHaveLength(1)
    await alice.agent.deleteUser({ userId: 1, deleteQueues: false })
    expect(await bodies()).toEqual([])
  })

  it('B46 expires with the messages that need it', async () => {
    await connect(2)
    const messageTimeoutMs = 3_600_000
    alice = await world.start('alice', { store: { open: alice.crash() }, config: { messageTimeoutMs } })
    loseSends()
    await send([
      { connectionId: idAt(0), body: 'first', ref: 'first' },
      { connectionId: idAt(0), body: 'second', ref: 'second' },
      { connectionId: idAt(0), ref: 'first' },
      { connectionId: idAt(0), ref: 'second' },
    ])
    expect(await bodies()).toHaveLength(2)
    await world.clock.advance(messageTimeoutMs + 300_000)
    expect((await alice.next('MERRS')).messageIds).toEqual([3, 4, 5])
    expect(await bodies()).toEqual([])
  })

  it('B46 a body that only one message needs is kept with it', async () => {
    await connect(2)
    loseSends()
    await send([
      { connectionId: idAt(0), body: 'with a name', ref: 'unused' },
      { connectionId: 'nobody', ref: 'unused' },
      { connectionId: idAt(1), body: 'without' },
    ])
    expect(await bodies()).toEqual([])
    expect(await alice.store.find(sndMessages, {})).toMatchObject([{ bodyId: null }, { bodyId: null }])
  })

  it('B46 B40 killed and started again, the same ratchet messages go out with the body, which is read once', async () => {
    await connect(3)
    loseSends()
    const before = await alice.store.find(connections, {})
    await send(
      ids.map((connectionId, index) =>
        index === 0 ? { connectionId, body: 'x', ref: 'r' } : { connectionId, ref: 'r' },
      ),
    )
    const rows = alice.crash()
    const enqueued = await rows.find(connections, {})
    expect(enqueued).not.toEqual(before)
    let reads = 0
    const find = rows.find.bind(rows)
    rows.find = async (table, query) => {
      if (table.name === 'snd_bodies') reads++
      return find(table, query)
    }
    loseSends(false)
    alice = await world.start('alice', { store: { open: rows } })
    for (const index of ids.keys()) expect(await received(index)).toEqual(['x'])
    expect((await find(connections, {})).map(row => row.lastSendId)).toEqual(enqueued.map(row => row.lastSendId))
    expect(reads).toBe(1)
    await world.until(() => alice.events.filter(({ type }) => type === 'SENT').length === 3, 'three SENT')
    expect(await find(sndBodies, {})).toEqual([])
  })
})

describe('B46 each item answers for itself', () => {
  it('B46 a bad connection, also one that holds the shared body, keeps nothing from the others', async () => {
    await connect(2)
    const { connectionId: unready } = await alice.agent.createConnection({})
    const results = await send([
      { connectionId: 'nobody', body: 'for all', ref: 'all' },
      { connectionId: idAt(0), ref: 'all' },
      { connectionId: unready, ref: 'all' },
      { connectionId: idAt(1), body: randomBytes(maxMessageLength + 1), ref: 'large' },
      { connectionId: idAt(1), ref: 'large' },
      { connectionId: idAt(1), ref: 'all' },
    ])
    expect(results).toMatchObject([
      { connectionId: 'nobody', error: { code: 'CONN_NOT_FOUND', field: 'connectionId' } },
      { connectionId: idAt(0), messageId: 2 },
      { connectionId: unready, error: { code: 'CMD_PROHIBITED', field: unready } },
      { connectionId: idAt(1), error: { code: 'LARGE_MSG', field: 'body' } },
      { connectionId: idAt(1), error: { code: 'LARGE_MSG', field: 'body' } },
      { connectionId: idAt(1), messageId: 2 },
    ])
    for (const result of results) expect('messageId' in result).toBe(!('error' in result))
    expect(await received(0)).toEqual(['for all'])
    expect(await received(1)).toEqual(['for all'])
  })

  it('B46 B47 an item that is too large spends nothing: the next message of its connection is in sequence', async () => {
    await connect(1)
    const [before] = await alice.store.find(connections, {})
    const results = await send([{ connectionId: idAt(0), body: randomBytes(maxMessageLength + 1) }])
    expect(results).toMatchObject([{ error: { code: 'LARGE_MSG', field: 'body' } }])
    expect(await alice.store.find(connections, {})).toEqual([before])
    await send([{ connectionId: idAt(0), body: 'fits' }])
    expect(await received(0)).toEqual(['fits'])
  })

  it.each([
    ['no body', [{ connectionId: 'c' }], 'items.0.body'],
    ['an unknown ref', [{ connectionId: 'c', ref: 'x' }], 'items.0.ref'],
    [
      'a ref that is named only later',
      [
        { connectionId: 'c', ref: 'x' },
        { connectionId: 'c', body: 'b', ref: 'x' },
      ],
      'items.0.ref',
    ],
    [
      'a ref that is named twice',
      [
        { connectionId: 'c', body: 'a', ref: 'x' },
        { connectionId: 'c', body: 'b', ref: 'x' },
      ],
      'items.1.ref',
    ],
    ['nothing', [], 'items'],
    ['more than 1000', Array.from({ length: 1001 }, () => ({ connectionId: 'c', body: 'b' })), 'items'],
  ])('B46 %s refuses the whole call, before anything is done', async (_, items, field) => {
    await connect(1)
    const forMe = items.map(item => ({ ...item, connectionId: idAt(0) }))
    await expect(send(forMe)).rejects.toMatchObject({ code: 'CMD_PARAMS', field })
    expect(await alice.store.find(sndMessages, {})).toEqual([])
  })
})

describe('B46 the order of messages', () => {
  it('B46 items of one connection take effect in their order, wherever they stand, next to those of others', async () => {
    await connect(2)
    const items = Array.from({ length: 20 }, (_, index) => ({ connectionId: idAt(index % 2), body: `${index}` }))
    const results = await send(items)
    expect(results.map(({ messageId }) => messageId)).toEqual(items.map((_, index) => 2 + Math.floor(index / 2)))
    const [even, odd] = [0, 1].map(end => items.filter((_, index) => index % 2 === end).map(({ body }) => body))
    expect(await received(0, 10)).toEqual(even)
    expect(await received(1, 10)).toEqual(odd)
  })

  it('B46 calls that lock the same connections in other orders, and single ones between them, all get through, in order', async () => {
    await connect(4)
    const counts = [0, 0, 0, 0]
    const next = (index: number) => {
      const body = String(counts[index])
      counts[index] = Number(body) + 1
      return { connectionId: idAt(index), body }
    }
    const calls: Array<Promise<unknown>> = []
    for (let round = 0; round < 10; round++) {
      calls.push(send([0, 1, 2, 3].map(next)))
      calls.push(alice.agent.sendMessage(next(round % 4)))
      calls.push(send([3, 2, 1, 0].map(next)))
      calls.push(send([round % 4, (round + 1) % 4].map(next)))
    }
    await Promise.all(calls)
    for (const index of ids.keys()) {
      expect(await received(index, counts[index])).toEqual(Array.from({ length: counts[index] ?? 0 }, (_, n) => `${n}`))
    }
  })
})

describe('B46 repeated and interrupted calls', () => {
  const key = 'broadcast'
  const broadcast = () =>
    send(
      ids.map((connectionId, index) => ({
        connectionId,
        idempotencyKey: key,
        ref: 'all',
        ...(index === 0 ? { body: 'for all' } : {}),
      })),
    )

  it('B46 repeated under the same keys: the same numbers, one message each, nothing stored again', async () => {
    await connect(3)
    const first = await broadcast()
    expect(await broadcast()).toEqual(first)
    for (const index of ids.keys()) expect(await received(index)).toEqual(['for all'])
    alice = await world.start('alice', { store: { open: alice.crash() } })
    expect(await broadcast()).toEqual(first)
    await world.clock.advance(60_000)
    expect(await alice.store.count(sndMessages)).toBe(3)
    expect(await bodies()).toEqual([])
    expect(bob.events.filter(({ type }) => type === 'MSG' || type === 'ERR')).toHaveLength(3)
  })

  it('B46 what could not be sent the first time is sent by the repeated call, with the body that is known already', async () => {
    await connect(2)
    const { connectionId, confirmationId } = await world.invite(alice)
    ids.push(connectionId)
    const first = await broadcast()
    expect(first[2]).toMatchObject({ error: { code: 'CMD_PROHIBITED' } })
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await alice.next('CON', connectionId)
    const second = await broadcast()
    expect(second).toEqual([...first.slice(0, 2), { connectionId, messageId: expect.any(Number), pqEncryption: false }])
    await alice.next('SENT', connectionId)
    expect(await bodies()).toEqual([])
  })

  it('B46 many keys, each of its own connection, and one key twice in a call', async () => {
    await connect(4)
    const items = ids.map((connectionId, index) => ({ connectionId, body: `${index}`, idempotencyKey: `k${index}` }))
    const first = await send(items)
    expect(await send(items.toReversed())).toEqual(first.toReversed())
    const twice = { connectionId: idAt(0), body: 'once', idempotencyKey: 'twice' }
    const [one, two] = await send([twice, { ...twice, body: 'other' }])
    expect(one).toEqual({ connectionId: idAt(0), messageId: 3, pqEncryption: true })
    expect(two).toEqual(one)
    expect(await received(0, 2)).toEqual(['0', 'once'])
  })

  it('B46 items without a key are messages of their own, whatever the keys of others are', async () => {
    await connect(1)
    const connectionId = idAt(0)
    const items = [
      { connectionId, body: 'a' },
      { connectionId, body: 'b', idempotencyKey: 'undefined' },
      { connectionId, body: 'c' },
    ]
    expect(await send(items)).toMatchObject([{ messageId: 2 }, { messageId: 3 }, { messageId: 4 }])
    expect(await received(0, 3)).toEqual(['a', 'b', 'c'])
  })

  it.each(['call', 'answer'] as const)(
    'B46 B21 as a stored call without keys, killed behind the commit of its %s: one message each, one OK with the results',
    async where => {
      await connect(3)
      let rows: MemoryStore | undefined
      afterCommits(alice.store, changes => {
        const isIt = where === 'call' ? touches(changes, sndMessages, 'insert') : touches(changes, commands, 'remove')
        if (rows === undefined && isIt) rows = alice.crash()
      })
      const items = ids.map(connectionId => ({ connectionId, ref: 'all' }))
      await alice.agent.sendMessagesAsync({
        items: [{ connectionId: 'nobody', body: 'for all', ref: 'all' }, ...items],
        correlationId: 'c',
      })
      await world.until(() => rows !== undefined, 'the kill')
      alice = await world.start('alice', { store: { open: rows as MemoryStore } })
      const { call, result } = await alice.next('OK')
      expect(call).toBe('sendMessages')
      const results = [{ error: { code: 'CONN_NOT_FOUND' } }, ...ids.map(() => ({ messageId: 2 }))]
      expect(result).toMatchObject({ results })
      for (const index of ids.keys()) expect(await received(index)).toEqual(['for all'])
      await world.clock.advance(60_000)
      expect(alice.events.filter(({ type }) => type === 'OK')).toHaveLength(1)
      expect(bob.events.filter(({ type }) => type === 'MSG' || type === 'ERR')).toHaveLength(3)
      expect(await bodies()).toEqual([])
    },
  )

  it.each([
    ['before', beforeCommits],
    ['behind', afterCommits],
  ])(
    'B46 killed %s its commit: all of it or nothing, and one message each after the repeated call',
    async (_, kill) => {
      await connect(3)
      let rows: MemoryStore | undefined
      kill(alice.store, changes => {
        if (rows === undefined && touches(changes, sndMessages, 'insert')) rows = alice.crash()
      })
      broadcast().catch(() => {})
      await world.until(() => rows !== undefined, 'the kill')
      const store = rows as MemoryStore
      expect([0, 3]).toContain(await store.count(sndMessages))
      expect(await bodies(store)).toHaveLength((await store.count(sndMessages)) / 3)
      alice = await world.start('alice', { store: { open: store } })
      await broadcast()
      for (const index of ids.keys()) expect(await received(index)).toEqual(['for all'])
      await world.clock.advance(60_000)
      expect(bob.events.filter(({ type }) => type === 'MSG' || type === 'ERR')).toHaveLength(3)
      expect(await bodies()).toEqual([])
    },
  )

  it('B46 a commit that the disk refuses changes nothing; the call fails as a whole', async () => {
    await connect(2)
    let broken = true
    beforeCommits(alice.store, changes => {
      if (broken && touches(changes, sndMessages, 'insert')) throw brokenDisk()
    })
    const before = await alice.store.find(connections, {})
    await expect(broadcast()).rejects.toMatchObject({ code: 'STORE_WRITE' })
    expect(await alice.store.find(connections, {})).toEqual(before)
    expect(await bodies()).toEqual([])
    broken = false
    await broadcast()
    for (const index of ids.keys()) expect(await received(index)).toEqual(['for all'])
  })

  it('B46 the answer comes when everything is stored, and one commit holds it', async () => {
    await connect(3)
    const gate = commitGate(alice.store)
    const commits = recordCommits(alice.store)
    gate.close()
    let answered = false
    const calling = broadcast().finally(() => {
      answered = true
    })
    await world.clock.settle()
    expect(answered).toBe(false)
    gate.open()
    await calling
    const stored = commits.filter(changes => touches(changes, sndMessages, 'insert'))
    expect(stored).toHaveLength(1)
    expect(stored[0]?.filter(({ op, table }) => op === 'insert' && table.name === 'snd_messages')).toHaveLength(3)
    expect(stored[0]?.filter(({ op, table }) => op === 'insert' && table.name === 'snd_bodies')).toHaveLength(1)
  })

  it('B46 a large call gives the event loop its turn between ratchets, and stays one unit of work', async () => {
    await connect(1)
    loseSends()
    const commits = recordCommits(alice.store)
    const turnsOf = async (count: number): Promise<number> => {
      let turns = 0
      let counting = true
      const turn = (): void => {
        turns++
        if (counting) setImmediate(turn)
      }
      setImmediate(turn)
      await send(Array.from({ length: count }, (_, n) => ({ connectionId: idAt(0), body: `${n}` })))
      counting = false
      return turns
    }
    const few = await turnsOf(1)
    expect(await turnsOf(500)).toBeGreaterThanOrEqual(few + 9)
    expect(commits.filter(changes => touches(changes, sndMessages, 'insert'))).toHaveLength(2)
  })
})

describe('shared bodies in memory', () => {
  it('are few, and one that could not be read is asked for again', async () => {
    const { store } = alice
    let fails = true
    const asked: string[] = []
    const find = store.find.bind(store)
    store.find = async (table, query) => {
      if (table.name !== 'snd_bodies') return find(table, query)
      const { bodyId } = query.where as unknown as { bodyId: string }
      asked.push(bodyId)
      if (fails) throw brokenDisk()
      return [{ bodyId, body: Buffer.from(bodyId), createdAt: 0 }] as never
    }
    const shared = new SharedBodies(store)
    await expect(shared.read(['a'])).rejects.toMatchObject({ code: 'STORE_WRITE' })
    fails = false
    expect([...(await shared.read(['a', 'b', 'a']))].map(([id, body]) => [id, textOf(body)])).toEqual([
      ['a', 'a'],
      ['b', 'b'],
    ])
    await shared.read(Array.from({ length: 63 }, (_, index) => `n${index}`))
    const before = asked.length
    await shared.read(['b'])
    expect(asked).toHaveLength(before)
    await shared.read(['a'])
    expect(asked).toHaveLength(before + 1)
  })
})
