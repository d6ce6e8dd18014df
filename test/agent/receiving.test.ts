/** What becomes of each message that a router delivers, with a peer that says anything. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { randomBytes } from 'node:crypto'
import { confirmations, connections, rcvQueues, skippedKeys } from '../../src/store/agent/connections.js'
import { rcvMessages } from '../../src/store/agent/messages.js'
import { events } from '../../src/store/eventLog.js'
import { insert, patch } from '../../src/store/index.js'
import { StoreError } from '../../src/errors.js'
import { encodeAgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { beforeCommits, brokenDisk, touches } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

const acks = (): number => world.router.all('ACK').length
const rowsOf = async (store: MemoryStore): Promise<unknown> => ({
  connections: await store.find(connections, { orderBy: ['connectionId'] }),
  queues: await store.find(rcvQueues, { orderBy: ['queueId'] }),
  messages: await store.find(rcvMessages, { orderBy: ['connectionId', 'messageId'] }),
  events: await store.find(events, { orderBy: ['cursor'] }),
})
const takeMessage = async ({ connectionId }: Invited, expected: string) => {
  const message = await alice.next('MSG', connectionId)
  expect(textOf(message.body)).toBe(expected)
  await alice.agent.ackMessage({ connectionId, messageId: message.messageId })
  return message
}

describe('B30 the four states of a queue’s secret and the message’s key', () => {
  it('B30 neither secret nor key: an error, acknowledged, and the queue still takes its confirmation', async () => {
    const { link, connectionId } = await alice.agent.createConnection({})
    const { barePeer } = await import('../support/barePeer.js')
    const peer = await barePeer({ ...world, router: world.router.address, link })
    await peer.secure()
    await peer.send(
      peer.seal(encodeAgentEnvelope({ type: 'message', agentVersion: 7, encryptedMessage: randomBytes(9) })),
    )
    const { error } = await alice.next('ERR', connectionId)
    expect(error).toMatchObject({ code: 'AGENT_PROHIBITED', message: 'no keys' })
    expect(acks()).toBe(1)
    await peer.send(peer.seal(await peer.confirmation(), { withKey: true }))
    await alice.next('CONF', connectionId)
    peer.close()
  })

  it('B30 handshake (key, no secret): only a confirmation is taken; anything else is an error and changes no row', async () => {
    const { link, connectionId } = await alice.agent.createConnection({})
    const { barePeer } = await import('../support/barePeer.js')
    const peer = await barePeer({ ...world, router: world.router.address, link })
    await peer.secure()
    const before = await rowsOf(alice.store)
    const message = encodeAgentEnvelope({ type: 'message', agentVersion: 7, encryptedMessage: randomBytes(9) })
    await peer.send(peer.seal(message, { withKey: true }))
    const { error } = await alice.next('ERR', connectionId)
    expect(error).toMatchObject({ code: 'AGENT_PROHIBITED', message: 'handshake: incorrect state' })
    expect(acks()).toBe(1)
    const after = (await rowsOf(alice.store)) as object
    expect({ ...after, events: [] }).toEqual(before)
    peer.close()
  })

  it('B30 established (secret, no key): messages are taken, a confirmation without a key is an error', async () => {
    const friend = await world.befriend(alice)
    await friend.peer.say('hello')
    await takeMessage(friend, 'hello')
    await world.clock.settle()
    const before = acks()
    await friend.peer.send(friend.peer.seal(await friend.peer.confirmation()))
    const { error } = await alice.next('ERR', friend.connectionId)
    expect(error).toMatchObject({ code: 'AGENT_PROHIBITED', message: 'message: bad client message' })
    await world.clock.settle()
    expect(acks()).toBe(before + 1)
  })

  it('B30 a message that shows its key although the secret is known is refused', async () => {
    const { peer, connectionId, queue } = await world.befriend(alice)
    const [before] = await alice.store.find(connections, { where: { connectionId } })
    const back = peer.remember()
    world.router.put(queue, peer.seal(peer.message('with key'), { withKey: true, padding: 16_000 }))
    const { error } = await alice.next('ERR', connectionId)
    expect(error).toMatchObject({ message: 'message: public header' })
    await world.clock.settle()
    expect(queue.messages).toEqual([])
    expect(await alice.store.find(connections, { where: { connectionId } })).toEqual([before])
    back()
    await peer.say('without')
    expect(textOf((await alice.next('MSG')).body)).toBe('without')
  })

  it('B30 a repeated confirmation (secret and key) is only acknowledged again', async () => {
    const { link, connectionId } = await alice.agent.createConnection({})
    const { barePeer } = await import('../support/barePeer.js')
    const peer = await barePeer({ ...world, router: world.router.address, link })
    await peer.secure()
    const confirmation = peer.seal(await peer.confirmation(), { withKey: true })
    await peer.send(confirmation)
    await alice.next('CONF', connectionId)
    await world.clock.settle()
    const before = await rowsOf(alice.store)
    expect(acks()).toBe(1)
    await peer.send(confirmation)
    await world.clock.settle()
    expect(acks()).toBe(2)
    expect(world.router.queues[0]?.messages).toEqual([])
    expect(await rowsOf(alice.store)).toEqual(before)
    peer.close()
  })
})

describe('B31 who acknowledges to the router', () => {
  it('B31 a message is acknowledged by the user only, and the next one waits for that', async () => {
    const friend = await world.befriend(alice)
    const before = acks()
    await friend.peer.say('one')
    await friend.peer.say('two')
    const one = await alice.next('MSG')
    await world.clock.advance(3_600_000)
    expect(acks()).toBe(before)
    expect(alice.events.filter(({ type }) => type === 'MSG')).toHaveLength(1)
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: one.messageId })
    await takeMessage(friend, 'two')
    await world.clock.settle()
    expect(acks()).toBe(before + 2)
  })

  it('B31 a message that waits for its acknowledgement does so whatever becomes of other connections', async () => {
    const gone = await world.befriend(alice)
    const friend = await world.befriend(alice)
    await gone.peer.say('unread')
    await alice.next('MSG', gone.connectionId)
    await friend.peer.say('one')
    const one = await alice.next('MSG', friend.connectionId)
    await alice.agent.deleteConnection({ connectionId: gone.connectionId })
    await alice.next('DEL_CONN')
    const before = acks()
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId: one.messageId })
    await world.clock.settle()
    expect(acks()).toBe(before + 1)
    expect(friend.queue.messages).toEqual([])
  })

  it.each([
    ['HELLO', () => ({ type: 'HELLO' }) as const],
    ['EREADY', () => ({ type: 'EREADY', lastDecryptedId: 1 }) as const],
    [
      'A_QCONT',
      () =>
        ({
          type: 'A_QCONT',
          queue: {
            router: parseRouterAddress(world.router.address),
            senderId: world.router.queues[1]?.senderId ?? Buffer.of(),
          },
        }) as const,
    ],
  ])('B31 a control message (%s) is acknowledged by the agent, and no MSG is told', async (_, content) => {
    const friend = await world.befriend(alice)
    const before = acks()
    await friend.peer.say(content())
    await friend.peer.say('after it')
    const { integrity } = await takeMessage(friend, 'after it')
    expect(integrity).toEqual({ result: 'ok' })
    await world.clock.settle()
    expect(acks()).toBe(before + 2)
  })

  it('B31 A_QCONT for the queue that this side sends to is told as QCONT', async () => {
    const friend = await world.befriend(alice)
    const senderId = world.router.queues[1]?.senderId ?? Buffer.of()
    await friend.peer.say({ type: 'A_QCONT', queue: { router: parseRouterAddress(world.router.address), senderId } })
    await alice.next('QCONT', friend.connectionId)
  })

  const envelope = (bytes: Uint8Array) =>
    encodeAgentEnvelope({ type: 'message', agentVersion: 7, encryptedMessage: bytes })
  it.each<[string, (friend: Invited) => Uint8Array]>([
    ['an empty body', () => Buffer.alloc(0)],
    ['random bytes', () => randomBytes(200)],
    ['a box under another secret', ({ peer }) => peer.seal(envelope(randomBytes(50)), { secret: randomBytes(32) })],
    ['an envelope of no kind', ({ peer }) => peer.seal(Buffer.from('\0\x07Xabc', 'latin1'))],
    ['an empty envelope', ({ peer }) => peer.seal(Buffer.alloc(0))],
    ['a ratchet message of random bytes', ({ peer }) => peer.seal(envelope(randomBytes(300)))],
    ['a decrypted text that is no agent message', ({ peer }) => peer.seal(peer.encrypted(Buffer.from('?!')))],
    [
      'connection info as a message',
      ({ peer }) => peer.seal(peer.encrypted(peer.plain({ type: 'connInfo', info: Buffer.of(1) }))),
    ],
    ['an invitation in the clear', ({ peer }) => peer.seal(Buffer.from('\0\x07I\0\x01x', 'latin1'))],
  ])('B31 %s is reported and acknowledged, and the next message arrives', async (_, bodyOf) => {
    const friend = await world.befriend(alice)
    const before = acks()
    await friend.peer.send(bodyOf(friend))
    const { error } = await alice.next('ERR', friend.connectionId)
    expect(error.code).toMatch(/^(DECODE_|CRYPTO_|AGENT_)/)
    await world.clock.settle()
    expect(acks()).toBe(before + 1)
    await friend.peer.say('fine')
    expect(textOf((await alice.next('MSG')).body)).toBe('fine')
  })

  it('B31 B36 a truncated ratchet message is reported and acknowledged, and the next message arrives', async () => {
    const friend = await world.befriend(alice)
    const before = acks()
    await friend.peer.send(friend.peer.seal(friend.peer.message('cut').subarray(0, 200)))
    const { state, error } = await alice.next('RSYNC', friend.connectionId)
    expect([state, error?.code]).toEqual(['allowed', 'CRYPTO_AES'])
    await world.clock.settle()
    expect(acks()).toBe(before + 1)
    await friend.peer.say('fine')
    expect(textOf((await alice.next('MSG')).body)).toBe('fine')
    expect((await alice.next('RSYNC', friend.connectionId)).state).toBe('ok')
    // The ratchet has gone past it: no key is kept that would wait for it.
    expect(await alice.store.find(skippedKeys, {})).toEqual([])
  })

  it('B31 a body that the router itself sealed wrongly is reported and acknowledged too', async () => {
    const friend = await world.befriend(alice)
    const before = acks()
    friend.queue.messages.push({ id: randomBytes(24), body: randomBytes(16_122) })
    await friend.peer.say('fine')
    const { error } = await alice.next('ERR', friend.connectionId)
    expect(error.code).toBe('CRYPTO_BOX')
    await takeMessage(friend, 'fine')
    await world.clock.settle()
    expect(acks()).toBe(before + 2)
  })
})

describe('B36 the keys of messages that were skipped', () => {
  const most = 2048
  // Behind every other one in the order of the rows.
  const old = Buffer.alloc(32, 0xff)
  const kept = async (connectionId: string): Promise<readonly [old: number[], fresh: number[]]> => {
    const rows = await alice.store.find(skippedKeys, { where: { connectionId } })
    const numbers = (ofOld: boolean) =>
      rows
        .filter(({ headerKey }) => (Buffer.compare(headerKey, old) === 0) === ofOld)
        .map(({ messageNumber }) => messageNumber)
        .sort((a, b) => a - b)
    return [numbers(true), numbers(false)]
  }
  const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, n) => from + n)

  it('B36 2,048 are kept for a connection; those of older chains go first, the oldest of them at the head', async () => {
    const { peer, connectionId } = await world.befriend(alice)
    await world.clock.settle()
    const rows = alice.crash()
    const key = { connectionId, headerKey: old, messageKey: randomBytes(32), messageIv: randomBytes(16) }
    await rows.commit(range(0, most - 5).map(messageNumber => insert(skippedKeys, { ...key, messageNumber })))
    alice = await world.start('alice', { store: { open: rows } })
    await alice.agent.subscribe({})
    const skip = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n++) peer.message('lost')
      await peer.say({ type: 'EREADY', lastDecryptedId: 1 })
      await world.clock.settle()
    }
    await skip(2)
    await skip(3)
    expect(await kept(connectionId)).toEqual([range(0, most - 5), [1, 2, 4, 5, 6]])
    await skip(3)
    expect(await kept(connectionId)).toEqual([range(3, most - 8), [1, 2, 4, 5, 6, 8, 9, 10]])
  })
})

describe('B32 decrypt, parse, check and store are one transaction', () => {
  const receiving = (changes: Parameters<typeof touches>[0]) => touches(changes, rcvMessages, 'insert')

  it('B32 one commit holds the ratchet, the message, its number and its event', async () => {
    const friend = await world.befriend(alice)
    const commits: string[][] = []
    beforeCommits(alice.store, changes => {
      if (receiving(changes)) commits.push(changes.map(({ op, table }) => `${op} ${table.name}`))
    })
    await friend.peer.say('hello')
    await alice.next('MSG')
    expect(commits).toHaveLength(1)
    expect(commits[0]).toEqual(
      expect.arrayContaining(['patch connections', 'insert rcv_messages', 'patch rcv_queues', 'insert events']),
    )
  })

  it('B32 killed at the commit: no row has changed, and after the restart the message comes once', async () => {
    const friend = await world.befriend(alice)
    await world.clock.settle()
    const before = await rowsOf(alice.store)
    const ackedBefore = acks()
    let rows: MemoryStore | undefined
    beforeCommits(alice.store, changes => {
      if (receiving(changes)) rows = alice.crash()
    })
    await friend.peer.say('one')
    await friend.peer.say('two')
    await world.until(() => rows !== undefined, 'the crash')
    await world.clock.advance(5_000)
    expect(await rowsOf(rows as MemoryStore)).toEqual(before)
    expect(acks()).toBe(ackedBefore)
    alice = await world.start('alice', { store: { open: rows as MemoryStore } })
    await alice.agent.subscribe({})
    const one = await takeMessage(friend, 'one')
    expect(one.integrity).toEqual({ result: 'ok' })
    const two = await takeMessage(friend, 'two')
    expect(two.integrity).toEqual({ result: 'ok' })
    expect(alice.events.filter(({ type }) => type === 'MSG')).toHaveLength(2)
  })

  it('B32 killed right after the commit: the message is there once, and its redelivery adds nothing', async () => {
    const friend = await world.befriend(alice)
    let rows: MemoryStore | undefined
    const commit = alice.store.commit.bind(alice.store)
    alice.store.commit = async changes => {
      await commit(changes)
      if (receiving(changes)) rows = alice.crash()
    }
    await friend.peer.say('one')
    await friend.peer.say('two')
    await world.until(() => rows !== undefined, 'the crash')
    alice = await world.start('alice', { store: { open: rows as MemoryStore } })
    await alice.agent.subscribe({})
    await world.clock.advance(5_000)
    expect(alice.events.filter(({ type }) => type === 'MSG')).toHaveLength(1)
    await takeMessage(friend, 'one')
    const two = await takeMessage(friend, 'two')
    expect(two.integrity).toEqual({ result: 'ok' })
    expect(alice.events.filter(({ type }) => type === 'ERR')).toEqual([])
  })

  it('B32 a commit that the disk refuses changes nothing and acknowledges nothing; the message is processed when the disk is back', async () => {
    const friend = await world.befriend(alice)
    await world.clock.settle()
    const before = await rowsOf(alice.store)
    const ackedBefore = acks()
    let broken = true
    beforeCommits(alice.store, changes => {
      if (broken && receiving(changes)) throw brokenDisk()
    })
    await friend.peer.say('one')
    await world.clock.advance(1_000)
    expect(await rowsOf(alice.store)).toEqual(before)
    expect(acks()).toBe(ackedBefore)
    broken = false
    await takeMessage(friend, 'one')
    await friend.peer.say('two')
    expect((await takeMessage(friend, 'two')).integrity).toEqual({ result: 'ok' })
  })

  it('B32 a commit that happened although its answer was lost is not made twice', async () => {
    const friend = await world.befriend(alice)
    await world.clock.settle()
    const commit = alice.store.commit.bind(alice.store)
    let failures = 1
    alice.store.commit = async changes => {
      await commit(changes)
      if (receiving(changes) && failures-- > 0) throw new StoreError('STORE_UNAVAILABLE', 'the answer was lost')
    }
    await friend.peer.say('one')
    await takeMessage(friend, 'one')
    await friend.peer.say('two')
    expect((await takeMessage(friend, 'two')).integrity).toEqual({ result: 'ok' })
    expect(alice.events.filter(({ type }) => type === 'MSG' || type === 'ERR')).toHaveLength(2)
  })
})

it('B32 an event whose commit got no answer is told although nothing else is ever committed', async () => {
  const commit = alice.store.commit.bind(alice.store)
  let failures = 1
  alice.store.commit = async changes => {
    await commit(changes)
    if (touches(changes, confirmations, 'insert') && failures-- > 0) throw new StoreError('STORE_UNAVAILABLE', 'lost')
  }
  await world.invite(alice)
  await world.clock.advance(60_000)
  expect(alice.events.map(({ type }) => type)).toEqual(['CONF'])
})

describe('B33 the first message on a queue that is not active', () => {
  const statuses = async () => (await alice.store.find(rcvQueues, {})).map(({ status }) => status)
  const patches = () => {
    let count = 0
    beforeCommits(alice.store, changes => {
      if (touches(changes, rcvQueues, 'patch')) count++
    })
    return () => count
  }

  it('B33 activates it, also before the connection is complete, and the second one changes nothing of it', async () => {
    const invited = await world.invite(alice)
    expect(await statuses()).toEqual(['confirmed'])
    await invited.peer.say('early')
    await takeMessage(invited, 'early')
    expect(await statuses()).toEqual(['active'])
    const patched = patches()
    await invited.peer.say('second')
    await takeMessage(invited, 'second')
    expect(patched()).toBe(0)
  })

  it('B33 activates it whatever its content, or when it cannot be decrypted: it comes from who has the keys', async () => {
    const first = await world.invite(alice)
    await first.peer.say({ type: 'EREADY', lastDecryptedId: 1 })
    await world.clock.settle()
    expect(await statuses()).toEqual(['active'])
    const second = await world.invite(alice)
    const message = encodeAgentEnvelope({ type: 'message', agentVersion: 7, encryptedMessage: randomBytes(300) })
    await second.peer.send(second.peer.seal(message))
    await alice.next('ERR', second.connectionId)
    expect(await statuses()).toEqual(['active', 'active'])
  })

  it('B33 does not activate it when it is none: bytes that the queue’s keys do not open', async () => {
    const invited = await world.invite(alice)
    await invited.peer.send(randomBytes(16_000))
    await alice.next('ERR', invited.connectionId)
    expect(await statuses()).toEqual(['confirmed'])
  })
})

describe('B37 a message that decrypts', () => {
  const outOfStep = async (friend: Invited, ratchetSync: string) => {
    const rows = alice.crash()
    await rows.commit([patch(connections, { connectionId: friend.connectionId }, { ratchetSync })])
    alice = await world.start('alice', { store: { open: rows } })
    await alice.agent.subscribe({})
  }
  const syncOf = async ({ connectionId }: Invited) =>
    (await alice.store.find(connections, { where: { connectionId } }))[0]?.ratchetSync

  it.each(['allowed', 'required', 'agreed'])(
    'B37 ends the state %s: RSYNC ok, once, before the message',
    async state => {
      const friend = await world.befriend(alice)
      await outOfStep(friend, state)
      await friend.peer.say('one')
      await takeMessage(friend, 'one')
      expect(await syncOf(friend)).toBe('ok')
      await friend.peer.say('two')
      await takeMessage(friend, 'two')
      const types = alice.events.map(({ type }) => type).filter(type => type === 'RSYNC' || type === 'MSG')
      expect(types).toEqual(['RSYNC', 'MSG', 'MSG'])
      expect((await alice.next('RSYNC', friend.connectionId)).state).toBe('ok')
    },
  )

  it('B37 does not end a synchronisation that this side has started, and one that does not decrypt ends nothing', async () => {
    const friend = await world.befriend(alice)
    await outOfStep(friend, 'started')
    await friend.peer.say('one')
    await takeMessage(friend, 'one')
    expect(await syncOf(friend)).toBe('started')
    await outOfStep(friend, 'required')
    const message = encodeAgentEnvelope({ type: 'message', agentVersion: 7, encryptedMessage: randomBytes(300) })
    await friend.peer.send(friend.peer.seal(message))
    await alice.next('ERR', friend.connectionId)
    expect(await syncOf(friend)).toBe('required')
    expect(alice.events.filter(({ type }) => type === 'RSYNC')).toEqual([])
  })
})

describe('B35 number and hash chain', () => {
  it('B35 every kind of break is told with its message and blocks nothing', async () => {
    const friend = await world.befriend(alice)
    const { peer } = friend
    const integrityAfter = async (body: string, forged?: Parameters<typeof peer.say>[1]) => {
      await peer.say(body, forged)
      return (await takeMessage(friend, body)).integrity
    }
    expect(await integrityAfter('ok')).toEqual({ result: 'ok' })
    expect(await integrityAfter('3 and 4 are missing', { id: 5 })).toEqual({ result: 'skipped', from: 3, to: 4 })
    expect(await integrityAfter('5 once more', { id: 5 })).toEqual({ result: 'duplicate' })
    expect(await integrityAfter('from the past', { id: 2 })).toEqual({ result: 'badId', previousId: 5 })
    expect(await integrityAfter('wrong hash', { previousHash: randomBytes(32) })).toEqual({ result: 'badHash' })
    expect(await integrityAfter('empty hash', { previousHash: Buffer.alloc(0) })).toEqual({ result: 'badHash' })
    expect(await integrityAfter('ok again')).toEqual({ result: 'ok' })
    expect(alice.events.filter(({ type }) => type === 'ERR')).toEqual([])
  })

  it('B35 the application sees each message whole, under its sender’s number and the next of its own, with the break beside it', async () => {
    const friend = await world.befriend(alice)
    const forged = [
      { body: 'ok' },
      { body: 'a gap', id: 7 },
      { body: 'the same number', id: 7 },
      { body: 'an old number', id: 3 },
      { body: 'another history', id: 4, previousHash: randomBytes(32) },
    ]
    const seen: unknown[] = []
    for (const { body, ...how } of forged) {
      await friend.peer.say(body, how)
      const { messageId, senderMessageId, integrity } = await takeMessage(friend, body)
      seen.push([messageId, senderMessageId, integrity])
    }
    const first = (seen[0] as [number])[0]
    expect(seen).toEqual([
      [first, 2, { result: 'ok' }],
      [first + 1, 7, { result: 'skipped', from: 3, to: 6 }],
      [first + 2, 7, { result: 'duplicate' }],
      [first + 3, 3, { result: 'badId', previousId: 7 }],
      [first + 4, 4, { result: 'badHash' }],
    ])
  })

  it('B35 the chain begins with the confirmation: number 2 with its hash is the first good message', async () => {
    const friend = await world.befriend(alice)
    const back = friend.peer.remember()
    expect(friend.peer.lastId).toBe(1)
    await friend.peer.say('wrong start', { previousHash: randomBytes(32) })
    expect((await takeMessage(friend, 'wrong start')).integrity).toEqual({ result: 'badHash' })
    back()
    const other = await world.befriend(alice)
    await other.peer.say('right start')
    expect((await takeMessage(other, 'right start')).integrity).toEqual({ result: 'ok' })
  })
})
