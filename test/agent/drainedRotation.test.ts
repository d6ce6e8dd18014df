/** What the old queue of a rotation still has: it is read before that queue goes, whatever its router and the sessions with it do (B78). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/crypto/index.js'
import type { Response } from '../../src/smp/protocol/responses.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { rcvQueues } from '../../src/store/agent/connections.js'
import { events } from '../../src/store/eventLog.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import {
  errorAnswer,
  type ScriptedQueue,
  type ScriptedRouter,
  scriptedRouter,
  type SeenCommand,
} from '../support/scriptedRouter.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

const minute = 60_000
const hour = 60 * minute

let world: ScriptedWorld
let first: ScriptedRouter
let second: ScriptedRouter
let alice: TestAgent
let friend: Invited
/** The replacement of `friend.queue`, which the other party has agreed to use. */
let fresh: ScriptedQueue
let secret: Buffer

beforeEach(async () => {
  world = await scriptedWorld()
  first = world.router
  second = await scriptedRouter({ clock: world.clock, network: world.network, host: 'second' })
  alice = await world.start('alice')
  friend = await world.befriend(alice)
  await world.clock.settle()
  await alice.agent.switchConnection({ connectionId: friend.connectionId, router: second.address })
  await world.clock.settle()
  fresh = second.queues[0] as ScriptedQueue
  const keys = generateKeyPair('ed25519')
  const { publicKey: dhKey } = generateKeyPair('x25519')
  const address = { router: parseRouterAddress(second.address), senderId: fresh.senderId, dhKey }
  const key = { algorithm: 'ed25519', raw: keys.publicKey } as const
  await friend.peer.say({ type: 'QKEY', queues: [{ queue: { clientVersion: 4, address }, key }] })
  await world.until(() => phases().includes('secured'), 'QUSE')
  const rows = await alice.store.find(rcvQueues, {})
  secret = Buffer.from(rows.find(({ replaces }) => replaces !== null)?.e2eSecret ?? [])
})
afterEach(() => world.close())

const phases = () => alice.events.flatMap(event => (event.type === 'SWITCH' ? [event.phase] : []))
const errors = () => alice.events.flatMap(event => (event.type === 'ERR' && event.temporary !== true ? [event] : []))
const received = () => alice.events.filter(event => event.type === 'MSG')
const got = () => received().map(({ body }) => textOf(body))
const integrities = () => received().map(({ integrity }) => integrity.result)
const deletions = () => first.all('DEL').length
const asked = () => first.all('QUE').length
/** Sends the next message of the peer; what is put into a queue comes as its router delivers it. */
const onOld = (text: string) => first.put(friend.queue, friend.peer.seal(friend.peer.message(text)))
const onNew = (text: string) => second.put(fresh, friend.peer.seal(friend.peer.message(text), { secret }))
const acknowledge = async (index: number): Promise<void> => {
  const { connectionId, messageId } = received()[index] as ReturnType<typeof received>[number]
  await alice.agent.ackMessage({ connectionId, messageId })
  await world.clock.settle()
}
const completed = () => world.until(() => phases().at(-1) === 'completed', 'the end of the switch')
/** Each command of a kind, from now on, is not heard by the router of the old queue. */
const losing = (...types: ReadonlyArray<SeenCommand['command']['type']>) => {
  first.react = ({ command }) => (types.includes(command.type) ? 'lose' : undefined)
}
/** The session of alice with the router of the old queue is dead, which nobody knows. */
const halt = ({ place }: ScriptedRouter = first): void => {
  for (const link of world.network.links({ from: 'alice', place })) link.halt('both')
}
const unreachable = (): void => {
  world.network.setReachable(first.place, 'refuses')
  for (const link of world.network.links({ from: 'alice', place: first.place })) link.cut()
}
const reachable = (): void => world.network.setReachable(first.place, 'answers')

describe('B78 what the new queue brings while others are missing', () => {
  it('B78 waits while the session of the old queue is dead and not known to be: all come in their order', async () => {
    halt()
    onOld('one')
    onNew('two')
    await world.clock.advance(10 * minute)
    expect(got()).toEqual([])
    expect(deletions()).toBe(0)
    await world.until(() => got().length === 2, 'the end of the dead session')
    expect(got()).toEqual(['one', 'two'])
    expect(integrities()).toEqual(['ok', 'ok'])
    await completed()
    expect(errors()).toEqual([])
  })

  it('B78 waits on the old queue while the session of the new one is dead and not known to be', async () => {
    halt(second)
    onNew('one')
    onOld('two')
    await world.clock.advance(10 * minute)
    expect(got()).toEqual([])
    await world.until(() => got().length > 0, 'the end of the dead session')
    expect(got()).toEqual(['one', 'two'])
    expect(integrities()).toEqual(['ok', 'ok'])
  })

  it('B78 waits on the old queue for half a minute when the router of the new one has nothing', async () => {
    friend.peer.message('lost')
    onOld('after a gap')
    await world.clock.advance(29_000)
    expect(got()).toEqual([])
    await world.clock.advance(2_000)
    expect(got()).toEqual(['after a gap'])
  })

  it('B78 waits while the router of the old queue says that it has more, as when an ACK was lost', async () => {
    onOld('one')
    await world.clock.settle()
    onOld('two')
    losing('ACK')
    await acknowledge(0)
    onNew('three')
    await world.clock.advance(20_000)
    expect(got()).toEqual(['one'])
    first.react = () => undefined
    await world.until(() => got().length === 3, 'the others')
    expect(got()).toEqual(['one', 'two', 'three'])
    expect(integrities()).toEqual(['ok', 'ok', 'ok'])
    await completed()
  })

  it('B78 waits for a whole hour after the last message that the old queue gave', async () => {
    unreachable()
    onOld('one')
    onOld('two')
    onNew('three')
    await world.clock.advance(56 * minute)
    reachable()
    await world.until(() => got().length === 1, 'the first one')
    losing('ACK', 'QUE')
    await acknowledge(0)
    await world.clock.advance(30 * minute)
    expect(got()).toEqual(['one'])
    first.react = () => undefined
    await world.until(() => got().length === 3, 'the others')
    expect(got()).toEqual(['one', 'two', 'three'])
    expect(integrities()).toEqual(['ok', 'ok', 'ok'])
  })

  it('B22 B78 is not taken while its user is hidden, whose router is not asked', async () => {
    unreachable()
    onOld('one')
    onNew('two')
    await world.clock.advance(minute)
    const [{ userId } = { userId: 0 }] = (await alice.agent.listUsers({})).users
    await alice.agent.createUser({ routers: [{ address: second.address }] })
    await alice.agent.setUserHidden({ userId, hidden: true })
    reachable()
    await world.clock.advance(2 * hour)
    expect([got(), asked()]).toEqual([[], 0])
    await alice.agent.setUserHidden({ userId, hidden: false })
    await world.until(() => got().length === 2, 'both')
    expect(got()).toEqual(['one', 'two'])
  })

  it('B78 is not taken while the event log is full, which holds the ACKs of the old queue back', async () => {
    const unread = await alice.store.count(events)
    alice = await world.start('alice', {
      store: { open: alice.crash() },
      config: { maxUnreadEvents: unread },
    })
    await alice.agent.subscribe({})
    onOld('one')
    await world.until(() => got().length === 1, 'the first one')
    onOld('two')
    await acknowledge(0)
    onNew('three')
    await world.clock.advance(2 * hour)
    expect(got()).toEqual(['one'])
    await alice.agent.ackEvents({ upTo: 1_000 })
    await world.until(() => got().length === 3, 'the others')
    expect(got()).toEqual(['one', 'two', 'three'])
  })

  it('B78 is taken after half a minute of silence where the router of the old queue knows no QUE', async () => {
    first.react = ({ command }) =>
      command.type === 'QUE' ? { type: 'ERR', error: { type: 'CMD', error: 'UNKNOWN' } } : undefined
    friend.peer.message('lost')
    onNew('after a gap')
    await world.clock.advance(29_000)
    expect(got()).toEqual([])
    await world.clock.advance(2_000)
    expect(got()).toEqual(['after a gap'])
    await completed()
    expect(deletions()).toBe(1)
  })

  it.each<[string, () => Promise<unknown>, () => Promise<unknown>]>([
    ['offline', () => alice.agent.setNetwork({ online: false }), () => alice.agent.setNetwork({ online: true })],
    ['suspended', () => alice.agent.suspendAgent({ maxDelayMs: 0 }), () => alice.agent.foregroundAgent({})],
  ])('B04 B78 is not taken while the agent is %s, however long that is', async (_, begin, end) => {
    unreachable()
    onOld('one')
    onNew('two')
    await world.clock.advance(minute)
    await begin()
    await world.clock.advance(8 * hour)
    await end()
    await world.clock.advance(minute)
    expect(got()).toEqual([])
    reachable()
    await world.until(() => got().length === 2, 'both')
    expect(got()).toEqual(['one', 'two'])
    await completed()
  })

  it('B78 waits as long as the application takes for the messages of the old queue', async () => {
    onOld('one')
    await world.clock.settle()
    onOld('two')
    onNew('three')
    await world.clock.advance(8 * hour)
    expect([got(), first.all('SUB')]).toEqual([['one'], []])
    await acknowledge(0)
    await world.until(() => got().length === 3, 'the others')
    expect(got()).toEqual(['one', 'two', 'three'])
  })
})

describe('B78 a router that cannot tell what the old queue has', () => {
  const answers: ReadonlyArray<[string, Response]> = [
    ['INTERNAL', errorAnswer('INTERNAL')],
    ['STORE', { type: 'ERR', error: { type: 'STORE', text: 'away' } }],
    ['an answer that is none', { type: 'OK' }],
  ]

  it.each(answers)('B78 by %s: nothing is read past it', async (_, answer) => {
    onOld('one')
    await world.clock.settle()
    onOld('two')
    losing('ACK')
    await acknowledge(0)
    onNew('three')
    first.react = ({ command }) => (command.type === 'ACK' ? 'lose' : command.type === 'QUE' ? answer : undefined)
    await world.clock.advance(10 * minute)
    expect([got(), deletions()]).toEqual([['one'], 0])
    first.react = () => undefined
    await world.until(() => got().length === 3, 'the others')
    expect(got()).toEqual(['one', 'two', 'three'])
    await completed()
  })

  it.each(answers)('B74 B78 by %s: it is not deleted unread, however long that takes', async (_, answer) => {
    await readPast('one', 'two')
    alice = await world.start('alice', { store: { open: alice.crash() } })
    first.react = ({ command }) => (command.type === 'QUE' ? answer : undefined)
    reachable()
    const before = alice.events.length
    await world.clock.advance(24 * hour)
    expect([deletions(), phases().includes('completed')]).toEqual([0, false])
    const told = alice.events.slice(before).filter(event => event.type === 'ERR' && event.temporary === true)
    expect(told.at(-1)).toMatchObject({ error: { code: 'AGENT_QUEUE_UNREAD' } })
    expect(errors()).toEqual([])
    const { commands } = await alice.agent.inspectConnection({ connectionId: friend.connectionId })
    expect(commands).toMatchObject([{ type: 'switchDelete', lastError: { code: 'AGENT_QUEUE_UNREAD' } }])
    first.react = () => undefined
    await world.until(() => got().includes('one'), 'the first one')
    await acknowledge(got().indexOf('one'))
    await world.until(() => got().includes('two'), 'the second one')
    await acknowledge(got().indexOf('two'))
    await completed()
  })

  it('B78 by words of a version to come: its size counts', async () => {
    await readPast('one')
    first.react = ({ command }) =>
      command.type === 'QUE' && deletions() === 0 && friend.queue.messages.length > 0
        ? {
            type: 'INFO',
            status: {
              qiSub: { qSubThread: 'somethingNew' as never },
              qiMsg: { msgId: 'x', msgTs: 'now', msgType: 'somethingNew' as never },
              qiSnd: true,
              qiNtf: false,
              qiSize: friend.queue.messages.length,
            },
          }
        : undefined
    alice = await world.start('alice', { store: { open: alice.crash() } })
    await alice.agent.subscribe({})
    onNew('newer')
    await world.clock.settle()
    reachable()
    await world.until(() => got().length === 2, 'the message')
    expect(got()).toEqual(['newer', 'one'])
    await completed()
  })
})

/** The router of the old queue was away for more than the hour that it is waited for. */
const readPast = async (...left: readonly string[]): Promise<void> => {
  unreachable()
  for (const text of left) onOld(text)
  onNew('new')
  await world.clock.advance(hour + minute)
  expect(got()).toEqual(['new'])
  expect(integrities()).toEqual(['skipped'])
  expect(phases()).not.toContain('completed')
  await acknowledge(0)
}

describe('B78 an old queue that was read past', () => {
  it('B78 goes when all that it still has was read, once and in its order', async () => {
    await readPast('one', 'two', 'three')
    reachable()
    for (const [index, text] of ['one', 'two', 'three'].entries()) {
      await world.until(() => got().length === index + 2, text)
      expect(got().at(-1)).toBe(text)
      expect(deletions()).toBe(0)
      await acknowledge(index + 1)
    }
    await completed()
    expect(got()).toHaveLength(4)
    expect([deletions(), first.queues.includes(friend.queue)]).toEqual([1, false])
    expect(errors()).toEqual([])
  })

  it('B78 is read after a restart, too, though the application has not subscribed it', async () => {
    await readPast('one', 'two')
    const waiting = async () => {
      const { commands } = await alice.agent.inspectConnection({ connectionId: friend.connectionId })
      return commands.map(({ type, lastError }) => `${type} ${lastError?.code}`)
    }
    expect(await waiting()).toEqual(['switchDelete TRANSPORT_CONNECT'])
    alice = await world.start('alice', { store: { open: alice.crash() } })
    reachable()
    await world.until(() => got().includes('one'), 'the first one')
    await acknowledge(got().indexOf('one'))
    await world.until(() => got().includes('two'), 'the second one')
    expect(deletions()).toBe(0)
    await acknowledge(got().indexOf('two'))
    await completed()
    expect(deletions()).toBe(1)
  })

  it('B78 waits as long as the application takes for a message that others stand behind; the last one may go', async () => {
    await readPast('one', 'two')
    reachable()
    await world.until(() => got().length === 2, 'the first one')
    const before = alice.events.length
    await world.clock.advance(48 * hour)
    expect([deletions(), got().length]).toEqual([0, 2])
    expect(alice.events.slice(before)).toEqual([])
    await acknowledge(1)
    await completed()
    expect(got()).toEqual(['new', 'one', 'two'])
    await acknowledge(2)
    await world.clock.advance(minute)
    expect(errors()).toEqual([])
  })

  it('B51 B78 whose ACKs are lost is asked to deliver once more: nothing waits for the next session', async () => {
    await readPast('one', 'two')
    reachable()
    await world.until(() => got().length === 2, 'the first one')
    losing('ACK')
    await acknowledge(1)
    await world.clock.advance(10 * minute)
    expect(deletions()).toBe(0)
    first.react = () => undefined
    await world.until(() => got().length === 3, 'the second one')
    await acknowledge(2)
    await completed()
    expect(got()).toEqual(['new', 'one', 'two'])
  })

  it('B69 B78 is asked message by message in a session in which it cannot be subscribed', async () => {
    alice = await world.start('alice', { store: { open: alice.crash() } })
    const { connectionId } = friend
    expect(await alice.agent.getMessages({ connectionIds: [connectionId] })).toMatchObject({ results: [{ ok: true }] })
    await alice.agent.subscribe({})
    for (const text of ['one', 'two']) onOld(text)
    onNew('new')
    losing('QUE')
    await world.clock.advance(hour + minute)
    expect(got()).toEqual(['new'])
    first.react = () => undefined
    await world.until(() => got().length === 2, 'the first one')
    await world.clock.advance(48 * hour)
    expect([got(), deletions()]).toEqual([['new', 'one'], 0])
    await acknowledge(1)
    await world.until(() => got().length === 3, 'the second one')
    expect([deletions(), first.all('SUB').length]).toEqual([0, 0])
    await acknowledge(2)
    await completed()
    expect(got()).toEqual(['new', 'one', 'two'])
  })

  it('B63 B78 is asked to deliver again without a word: no UP, no ERR, however often it is and whatever its router says', async () => {
    await readPast('one', 'two')
    reachable()
    await world.until(() => got().length === 2, 'the first one')
    const told = () => alice.events.filter(({ type }) => type === 'UP' || type === 'DOWN' || type === 'ERR').length
    const before = told()
    losing('ACK')
    await acknowledge(1)
    await world.clock.advance(20 * minute)
    expect(first.all('SUB').length).toBeGreaterThan(3)
    first.react = ({ command }) =>
      command.type === 'ACK' ? 'lose' : command.type === 'SUB' ? errorAnswer('INTERNAL') : undefined
    await world.clock.advance(20 * minute)
    expect(told()).toBe(before)
    first.react = () => undefined
    await world.until(() => got().length === 3, 'the second one')
    await acknowledge(2)
    await completed()
  })

  it('B78 is not asked to deliver again what is here and waits for another message', async () => {
    const one = friend.peer.seal(friend.peer.message('one'), { secret })
    friend.peer.message('lost')
    onOld('late')
    await world.clock.settle()
    second.put(fresh, one)
    await world.clock.advance(6 * hour)
    expect(asked()).toBeGreaterThan(10)
    expect(first.all('SUB')).toEqual([])
    expect([got(), deletions()]).toEqual([['one'], 0])
    await acknowledge(0)
    await world.until(() => got().length === 2, 'the late one')
    await completed()
    expect(got()).toEqual(['one', 'late'])
  })

  it('B78 whose first message has expired at its router, unacknowledged here, is read on', async () => {
    await readPast('one', 'two')
    reachable()
    await world.until(() => got().length === 2, 'the first one')
    friend.queue.messages.shift()
    await world.until(() => got().length === 3, 'the second one')
    expect([got(), deletions()]).toEqual([['new', 'one', 'two'], 0])
    await acknowledge(2)
    await completed()
  })

  it.each<[string, () => Promise<unknown>]>([
    ['is deleted', () => alice.agent.deleteConnection({ connectionId: friend.connectionId })],
    ['loses its router', () => alice.agent.abandonRouter({ address: first.address })],
  ])('B77 B90 is not subscribed for a connection that %s while its router is asked', async (_, end) => {
    await readPast('one')
    first.react = ({ command }) => (command.type === 'QUE' ? 'hold' : undefined)
    reachable()
    await world.until(() => asked() > 0, 'QUE')
    const subs = first.all('SUB').length
    await end()
    const [held] = first.all('QUE')
    if (held !== undefined) first.release(held)
    await world.clock.advance(6 * hour)
    expect(first.all('SUB')).toHaveLength(subs)
    expect(errors().filter(({ error }) => error.code === 'AUTH')).toEqual([])
  })

  it('B54 B78 is not asked while the event log is full', async () => {
    await readPast('one')
    const unread = await alice.store.count(events)
    alice = await world.start('alice', { store: { open: alice.crash() }, config: { maxUnreadEvents: unread } })
    reachable()
    await world.clock.advance(hour)
    expect([asked(), deletions()]).toEqual([0, 0])
    await alice.agent.ackEvents({ upTo: 1_000 })
    await world.until(() => got().includes('one'), 'the message')
    await completed()
  })

  it('B74 whose deletion was done and not answered is not subscribed in the next session, which would be refused', async () => {
    first.react = ({ command }) => (command.type === 'DEL' ? 'loseAnswer' : undefined)
    onNew('new')
    await world.until(() => deletions() === 1, 'DEL')
    world.cut('alice')
    first.react = () => undefined
    await completed()
    expect(first.all('SUB').filter(({ entityId }) => Buffer.compare(entityId, friend.queue.recipientId) === 0)).toEqual(
      [],
    )
    expect(errors()).toEqual([])
  })

  it('B69 B74 is asked message by message also when its deletion was not answered in such a session', async () => {
    alice = await world.start('alice', { store: { open: alice.crash() } })
    await alice.agent.getMessages({ connectionIds: [friend.connectionId] })
    await alice.agent.subscribe({})
    losing('DEL')
    onNew('new')
    await world.until(() => deletions() === 1, 'DEL')
    onOld('late')
    const prohibited = { type: 'ERR', error: { type: 'CMD', error: 'PROHIBITED' } } as const
    first.react = ({ command }) => (command.type === 'SUB' ? prohibited : undefined)
    await world.until(() => got().length === 2, 'the late one')
    await acknowledge(1)
    await completed()
    expect(got()).toEqual(['new', 'late'])
    expect(errors()).toEqual([])
  })

  it('B22 B78 is not read while its user is hidden, and does not go', async () => {
    await readPast('one')
    const [{ userId } = { userId: 0 }] = (await alice.agent.listUsers({})).users
    await alice.agent.createUser({ routers: [{ address: second.address }] })
    await alice.agent.setUserHidden({ userId, hidden: true })
    reachable()
    await world.clock.advance(hour)
    expect([got(), deletions(), first.all('SUB').length, asked()]).toEqual([['new'], 0, 0, 0])
    await alice.agent.setUserHidden({ userId, hidden: false })
    await world.until(() => got().length === 2, 'the first one')
    await acknowledge(1)
    await completed()
  })

  it('B74 B77 goes unread where its router has no such queue, or is given up', async () => {
    await readPast('one')
    first.react = ({ command }) => (['QUE', 'SUB', 'DEL'].includes(command.type) ? errorAnswer('AUTH') : undefined)
    reachable()
    await completed()
    expect(await alice.store.find(rcvQueues, {})).toMatchObject([{ router: second.address, primary: true }])
    expect(asked()).toBeGreaterThan(0)
  })
})
