/** The messages of a rotation as a peer may say them: wrong ones, repeated ones, late ones. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateKeyPair, type KeyPair, publicKeyOf } from '../../src/crypto/index.js'
import {
  type AddedQueue,
  encodeMessageContent,
  type MessageContent,
  type QueueKey,
} from '../../src/smp/protocol/agentMessage.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import type { Change } from '../../src/store/index.js'
import { commands, rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import {
  errorAnswer,
  type Reaction,
  type ScriptedRouter,
  scriptedRouter,
  type SeenCommand,
} from '../support/scriptedRouter.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { recordCommits } from '../support/storeFaults.js'

let world: ScriptedWorld
let second: ScriptedRouter
let alice: TestAgent
let friend: Invited
beforeEach(async () => {
  world = await scriptedWorld()
  second = await scriptedRouter({ clock: world.clock, network: world.network, host: 'second' })
  alice = await world.start('alice')
  friend = await world.befriend(alice)
  await world.clock.settle()
})
afterEach(() => world.close())

const routerOf = ({ address }: ScriptedRouter) => parseRouterAddress(address)
const inUse = () => {
  const reply = world.router.queues.find(queue => queue !== friend.queue)
  if (reply === undefined) throw new Error('no reply queue')
  return { router: routerOf(world.router), senderId: reply.senderId }
}
const { publicKey: dhKey } = generateKeyPair('x25519')
const queueAt = (senderId: Uint8Array, router = routerOf(second)): AddedQueue['queue'] => ({
  clientVersions: { min: 1, max: 4 },
  address: { router, senderId, dhKey },
})
const id = (n: number) => Buffer.alloc(24, n)
const errors = () => alice.events.flatMap(event => (event.type === 'ERR' ? [event.error] : []))
const switches = () => alice.events.flatMap(event => (event.type === 'SWITCH' ? [event.phase] : []))
const sndRows = () => alice.store.find(sndQueues, { orderBy: ['createdAt'] })
const sent = async (type: string): Promise<number> => (await alice.store.find(sndMessages, { where: { type } })).length
/** What was said of a rotation, as its content goes into the message. */
const saidIn = (commits: ReadonlyArray<readonly Change[]>, type: string): Uint8Array[] =>
  commits.flat().flatMap(change => {
    if (change.op !== 'insert' || change.table.name !== sndMessages.name || !('row' in change)) return []
    const row = change.row as { readonly type: string; readonly body: Uint8Array | null }
    return row.type === type && row.body !== null ? [row.body] : []
  })
const isSaid = (said: Uint8Array | undefined, content: MessageContent): void =>
  expect(Buffer.from(said ?? [])).toEqual(Buffer.from(encodeMessageContent(content)))
/** The last message of alice at the first router wakes no device of the other party. */
const wakesNobody = (): void =>
  expect(
    world.router.all('SEND').findLast(({ session }) => session.channel.remoteAddress === 'alice')?.command,
  ).toMatchObject({
    flags: { notification: false },
  })
const stillTalks = async (): Promise<void> => {
  await friend.peer.say('still here')
  const { body, messageId } = await alice.next('MSG', friend.connectionId)
  expect(textOf(body)).toBe('still here')
  await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId })
}

describe('B71 QADD', () => {
  it.each<[string, () => AddedQueue]>([
    ['names no queue that it replaces', () => ({ queue: queueAt(id(1)) })],
    [
      'replaces a queue that is not there',
      () => ({ queue: queueAt(id(1)), replaced: { ...inUse(), senderId: id(9) } }),
    ],
    [
      'names a queue that is used already',
      () => ({ queue: queueAt(inUse().senderId, inUse().router), replaced: inUse() }),
    ],
    [
      'names a queue of a version that is not spoken here',
      () => ({ queue: { ...queueAt(id(1)), clientVersions: { min: 90, max: 99 } }, replaced: inUse() }),
    ],
  ])('B71 that %s is a queue error and changes nothing', async (reason, added) => {
    const before = await sndRows()
    await friend.peer.say({ type: 'QADD', queues: [added()] })
    await world.clock.settle()
    expect(errors()).toMatchObject([{ code: 'AGENT_QUEUE', message: `QADD ${reason}` }])
    expect(await sndRows()).toEqual(before)
    expect(switches()).toEqual([])
    await stillTalks()
  })

  it('B71 said again with another queue: the last one counts, and nothing of the one before is left', async () => {
    await friend.peer.say({ type: 'QADD', queues: [{ queue: queueAt(id(1)), replaced: inUse() }] })
    await world.clock.settle()
    await friend.peer.say({ type: 'QADD', queues: [{ queue: queueAt(id(2)), replaced: inUse() }] })
    await world.clock.settle()
    const rows = await sndRows()
    expect(rows.filter(({ replaces }) => replaces !== null)).toMatchObject([{ sndId: id(2) }])
    expect(rows).toHaveLength(2)
    expect(switches()).toEqual(['started', 'confirmed', 'started', 'confirmed'])
    // QUSE of the first one comes too late.
    await friend.peer.say({
      type: 'QUSE',
      queues: [{ queue: { router: routerOf(second), senderId: id(1) }, primary: true }],
    })
    await world.clock.settle()
    expect(errors()).toMatchObject([{ code: 'AGENT_QUEUE', message: 'QUSE names a queue that is not being added' }])
    expect(switches()).not.toContain('secured')
  })

  it.each(['messaging', undefined] as const)(
    'B71 B73 of a queue of mode %s is answered with that queue, as it was named, and with the key for it',
    async mode => {
      const commits = recordCommits(alice.store)
      const { address, clientVersions } = queueAt(id(1))
      const queue = { clientVersions, address: { ...address, ...(mode === undefined ? {} : { mode }) } }
      await friend.peer.say({ type: 'QADD', queues: [{ queue, replaced: inUse() }] })
      await world.clock.settle()
      const fresh = (await sndRows()).find(({ replaces }) => replaces !== null)
      if (fresh === undefined) throw new Error('no new queue')
      isSaid(saidIn(commits, 'QKEY')[0], {
        type: 'QKEY',
        queues: [
          {
            queue: { clientVersion: 4, address: { ...queue.address, dhKey: fresh.e2ePublicKey } },
            key: { algorithm: 'ed25519', raw: publicKeyOf('ed25519', fresh.sndPrivateKey) },
          },
        ],
      })
      wakesNobody()
    },
  )

  it('B71 B76 said again with the same queue: QKEY is said again, with the same keys', async () => {
    world.router.react = ({ command, session }) =>
      command.type === 'SEND' && session.channel.remoteAddress === 'alice' ? 'lose' : undefined
    const added = { queue: queueAt(id(1)), replaced: inUse() }
    await friend.peer.say({ type: 'QADD', queues: [added] })
    await world.clock.settle()
    const before = await sndRows()
    await friend.peer.say({ type: 'QADD', queues: [added] })
    await world.clock.settle()
    expect(await sndRows()).toEqual(before)
    expect(await sent('QKEY')).toBe(2)
    expect(switches()).toEqual(['started'])
    expect(errors()).toEqual([])
  })

  it('B71 that names the queue in use while another one is being added is a queue error too', async () => {
    await friend.peer.say({ type: 'QADD', queues: [{ queue: queueAt(id(1)), replaced: inUse() }] })
    await world.clock.settle()
    const { senderId, router } = inUse()
    await friend.peer.say({ type: 'QADD', queues: [{ queue: queueAt(senderId, router), replaced: inUse() }] })
    await world.clock.settle()
    expect(errors()).toMatchObject([{ code: 'AGENT_QUEUE', message: 'QADD names a queue that is used already' }])
    expect(switches()).toEqual(['started', 'confirmed'])
    expect(await sndRows()).toHaveLength(2)
  })
})

describe('B78 QUSE', () => {
  it('B78 of a queue that nobody has offered is a queue error; of the one in use it says nothing new', async () => {
    await friend.peer.say({
      type: 'QUSE',
      queues: [{ queue: { router: routerOf(second), senderId: id(1) }, primary: true }],
    })
    await world.clock.settle()
    expect(errors()).toMatchObject([{ code: 'AGENT_QUEUE', message: 'QUSE names a queue that is not being added' }])
    await friend.peer.say({ type: 'QUSE', queues: [{ queue: inUse(), primary: true }] })
    await world.clock.settle()
    expect(errors()).toHaveLength(1)
    expect(switches()).toEqual([])
    expect(await alice.store.find(deliveries, {})).toEqual([])
    await stillTalks()
  })
})

it('B76 what waits for either queue is tried at once when the ratchets fit again', async () => {
  const quota = ({ command, session }: SeenCommand): Reaction | undefined =>
    command.type === 'SEND' && session.channel.remoteAddress === 'alice' ? errorAnswer('QUOTA') : undefined
  const attempts = () => [world.router, second].map(router => router.seen.filter(seen => quota(seen)).length)
  await friend.peer.say({ type: 'QADD', queues: [{ queue: queueAt(id(1)), replaced: inUse() }] })
  await world.clock.settle()
  world.router.react = quota
  second.react = quota
  await alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'waits' })
  await world.clock.settle()
  const used = { router: routerOf(second), senderId: id(1) }
  await friend.peer.say({ type: 'QUSE', queues: [{ queue: used, primary: true }] })
  await world.clock.settle()
  await friend.peer.send(friend.peer.seal(friend.peer.message('cut').subarray(0, 200)))
  expect(await alice.next('RSYNC')).toMatchObject({ state: 'allowed' })
  await world.clock.settle()
  const [old = 0, fresh = 0] = attempts()
  expect(fresh).toBe(1)
  await friend.peer.say('whole')
  expect(await alice.next('RSYNC')).toMatchObject({ state: 'ok' })
  await world.clock.settle()
  expect(attempts()).toEqual([old + 1, fresh + 1])
})

describe('B72 QKEY', () => {
  /** Alice switches; the new queue is made and offered. */
  const offered = async () => {
    await alice.agent.switchConnection({ connectionId: friend.connectionId, router: second.address })
    await world.until(() => switches().includes('started'), 'QADD')
    const [queue] = second.queues
    if (queue === undefined) throw new Error('no new queue')
    return queue
  }
  const keyFor = (senderId: Uint8Array, keys: KeyPair, router = routerOf(second)): QueueKey => ({
    queue: { clientVersion: 4, address: { router, senderId, dhKey } },
    key: { algorithm: 'ed25519', raw: keys.publicKey },
  })
  const keys = generateKeyPair('ed25519')
  const others = generateKeyPair('ed25519')
  const say = async (key: QueueKey): Promise<void> => {
    await friend.peer.say({ type: 'QKEY', queues: [key] })
    await world.clock.settle()
  }
  const freshRow = async () => (await alice.store.find(rcvQueues, {})).find(({ replaces }) => replaces !== null)

  it('B72 for a queue that is not there, or one that replaces none, is a queue error, during a switch and without one', async () => {
    const own = friend.queue.senderId
    await say(keyFor(id(1), keys))
    await say(keyFor(own, keys, routerOf(world.router)))
    await offered()
    await say(keyFor(id(1), keys))
    await say(keyFor(own, keys, routerOf(world.router)))
    const [unknown, unused] = ['QKEY names a queue that is not there', 'QKEY for a queue that is not used']
    expect(errors().map(({ message }) => message)).toEqual([unknown, unused, unknown, unused])
    expect(await freshRow()).toMatchObject({ senderKey: null, status: 'new', primary: false })
    expect(second.all('KEY')).toEqual([])
    await stillTalks()
  })

  it('B72 B76 said again with the same key changes nothing, while the queue is being secured and after', async () => {
    const { senderId } = await offered()
    second.react = ({ command }) => (command.type === 'KEY' ? 'hold' : undefined)
    await say(keyFor(senderId, keys))
    const before = await freshRow()
    await say(keyFor(senderId, keys))
    expect(await freshRow()).toEqual(before)
    expect(switches()).toEqual(['started', 'confirmed'])
    second.react = () => undefined
    for (const held of second.all('KEY')) second.release(held)
    await world.until(() => switches().includes('secured'), 'QUSE')
    await say(keyFor(senderId, keys))
    expect(second.all('KEY')).toHaveLength(1)
    expect(switches()).toEqual(['started', 'confirmed', 'secured'])
    expect(errors()).toEqual([])
  })

  it('B72 with another key, once the queue is secured, is a queue error, and the first key stays', async () => {
    const { senderId } = await offered()
    await say(keyFor(senderId, keys))
    await world.until(() => switches().includes('secured'), 'QUSE')
    const before = await freshRow()
    await say(keyFor(senderId, others))
    expect(errors()).toMatchObject([{ code: 'AGENT_QUEUE' }])
    expect(await freshRow()).toEqual(before)
    expect(second.all('KEY')).toHaveLength(1)
  })

  it.each([
    [3, 3],
    [9, 4],
  ])(
    'B72 of client version %i makes the queue speak %i; it is secured then, and QUSE says to use it',
    async (peer, spoken) => {
      const commits = recordCommits(alice.store)
      const { senderId } = await offered()
      const key = keyFor(senderId, keys)
      await say({ ...key, queue: { ...key.queue, clientVersion: peer } })
      await world.until(() => switches().includes('secured'), 'QUSE')
      expect(await freshRow()).toMatchObject({ clientVersion: spoken, status: 'secured' })
      isSaid(saidIn(commits, 'QUSE')[0], {
        type: 'QUSE',
        queues: [{ queue: { router: routerOf(second), senderId }, primary: true }],
      })
      await world.clock.settle()
      wakesNobody()
    },
  )

  it('B72 that names no queue, while its router has not made the new one, is a queue error', async () => {
    second.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    await alice.agent.switchConnection({ connectionId: friend.connectionId, router: second.address })
    await world.clock.settle()
    await say(keyFor(Buffer.alloc(0), keys))
    expect(errors()).toMatchObject([{ code: 'AGENT_QUEUE', message: 'QKEY names a queue that is not there' }])
  })

  it('B78 a message of the new queue that others come before waits half a minute for them, not for the readers of other connections', async () => {
    const other = await world.befriend(alice)
    await other.peer.say('unread')
    await alice.next('MSG', other.connectionId)
    const queue = await offered()
    await say(keyFor(queue.senderId, keys))
    await world.until(() => switches().includes('secured'), 'QUSE')
    const secret = (await freshRow())?.e2eSecret ?? Buffer.alloc(32)
    const { lastId } = friend.peer
    second.put(queue, friend.peer.seal(friend.peer.message('after a gap', { id: lastId + 2 }), { secret }))
    const got = () =>
      alice.events.filter(({ type, connectionId }) => type === 'MSG' && connectionId === friend.connectionId)
    await world.clock.advance(29_000)
    expect(got()).toEqual([])
    await world.clock.advance(2_000)
    expect(got()).toMatchObject([{ integrity: { result: 'skipped', from: lastId + 1, to: lastId + 1 } }])
  })

  it('B33 a message on the new queue that does not decrypt leaves the old one in use; the next one that does ends it', async () => {
    const queue = await offered()
    await say(keyFor(queue.senderId, keys))
    await world.until(() => switches().includes('secured'), 'QUSE')
    const secret = (await freshRow())?.e2eSecret ?? Buffer.alloc(32)
    const put = async (envelope: Uint8Array): Promise<void> => {
      second.put(queue, friend.peer.seal(envelope, { secret }))
      await world.clock.settle()
    }
    const primary = async () => (await alice.store.find(rcvQueues, { where: { primary: true } }))[0]?.router
    await put(friend.peer.message('cut').subarray(0, 200))
    friend.peer.lastId--
    expect(await alice.next('RSYNC')).toMatchObject({ state: 'allowed' })
    expect(await primary()).toBe(world.router.address)
    await put(friend.peer.message('whole'))
    expect(await primary()).toBe(second.address)
    expect(textOf((await alice.next('MSG')).body)).toBe('whole')
  })
})

describe('B75 B77 an aborted switch', () => {
  const start = () => alice.agent.switchConnection({ connectionId: friend.connectionId, router: second.address })
  const abort = () => alice.agent.abortSwitch({ connectionId: friend.connectionId })
  const onlyOldIsLeft = async (): Promise<void> => {
    expect(await alice.store.find(rcvQueues, {})).toMatchObject([{ switchStatus: null, primary: true, replaces: null }])
    expect(await alice.store.find(commands, {})).toEqual([])
    await stillTalks()
  }

  it('B75 while its router is making the new queue: that is deleted as soon as it is known', async () => {
    second.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    await start()
    await world.clock.settle()
    await abort()
    second.react = () => undefined
    for (const held of second.all('NEW')) second.release(held)
    await world.clock.settle()
    expect(second.queues).toEqual([])
    expect(second.all('DEL')).toHaveLength(1)
    await onlyOldIsLeft()
  })

  it('B70 B75 before its connection is complete there is none, and none to abort', async () => {
    const { connectionId } = await world.invite(alice)
    const refused = { code: 'CMD_PROHIBITED', message: expect.stringContaining('not complete') }
    await expect(alice.agent.switchConnection({ connectionId, router: second.address })).rejects.toMatchObject(refused)
    await expect(alice.agent.abortSwitch({ connectionId })).rejects.toMatchObject(refused)
    expect(second.seen).toEqual([])
  })

  it('B75 after the new queue was offered: it is deleted at its router', async () => {
    await start()
    await world.until(() => switches().includes('started'), 'QADD')
    await abort()
    await world.clock.settle()
    expect(second.queues).toEqual([])
    expect(second.all('DEL')).toHaveLength(1)
    expect(errors()).toEqual([])
    await onlyOldIsLeft()
  })

  it('B77 the connection is deleted while the router is making the new queue: that is deleted too', async () => {
    second.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    await start()
    await world.clock.settle()
    await alice.agent.deleteConnection({ connectionId: friend.connectionId })
    await world.clock.settle()
    for (const held of second.all('NEW')) second.release(held)
    await world.clock.settle()
    expect(second.queues).toEqual([])
  })

  it('B75 while its router is away: nothing is left that waits for it', async () => {
    world.network.setReachable(second.place, 'refuses')
    await start()
    await world.clock.advance(10_000)
    await abort()
    await world.clock.advance(600_000)
    await onlyOldIsLeft()
    world.network.setReachable(second.place, 'answers')
    await world.clock.advance(600_000)
    expect(second.seen).toEqual([])
  })

  it.each(['refuses', 'is given up'])(
    'B75 B77 its router %s when the new queue is to be deleted: that is forgotten, and not subscribed any more',
    async how => {
      await start()
      await world.until(() => switches().includes('started'), 'QADD')
      second.react = ({ command }) =>
        command.type === 'DEL' ? (how === 'refuses' ? errorAnswer('LARGE_MSG') : 'lose') : undefined
      await abort()
      await world.clock.settle()
      for (const link of world.network.links({ place: second.place })) link.cut()
      await world.clock.advance(60_000)
      if (how === 'is given up') await alice.agent.abandonRouter({ address: second.address })
      await world.clock.settle()
      await onlyOldIsLeft()
      expect(second.all('SUB')).toEqual([])
      expect(alice.events.filter(({ type }) => type === 'DOWN')).toEqual([])
    },
  )
})

it('B35 B78 a gap in what the old queue brings, while the new one is only offered, waits for nothing', async () => {
  await alice.agent.switchConnection({ connectionId: friend.connectionId, router: second.address })
  await world.until(() => switches().includes('started'), 'QADD')
  const { lastId } = friend.peer
  await friend.peer.say('after a gap', { id: lastId + 3 })
  await world.clock.settle()
  expect(alice.events.filter(({ type }) => type === 'MSG')).toMatchObject([
    { integrity: { result: 'skipped', from: lastId + 1, to: lastId + 2 } },
  ])
})
