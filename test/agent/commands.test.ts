/** Stored commands: who waits for whom, and what becomes of those that fail. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { randomBytes } from 'node:crypto'
import { TransportError } from '../../src/errors.js'
import { commands, rcvQueues } from '../../src/store/agent/connections.js'
import { rcvMessages, sndMessages } from '../../src/store/agent/messages.js'
import { type Change, insert, patch, remove } from '../../src/store/index.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer, type ScriptedRouter, scriptedRouter } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { afterCommits } from '../support/storeFaults.js'

let world: ScriptedWorld
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

const told = (agent: TestAgent, ...types: string[]) => agent.events.filter(({ type }) => types.includes(type))
const secondRouter = (): Promise<ScriptedRouter> =>
  scriptedRouter({ clock: world.clock, network: world.network, host: 'second' })
/** A stored command as a row. */
const seeded = (commandId: number, row: Partial<Parameters<typeof insert<typeof commands>>[1]>): Change =>
  insert(commands, {
    commandId,
    connectionId: '',
    userId: 1,
    router: world.router.address,
    type: '',
    argument: {},
    secret: null,
    correlationId: null,
    createdAt: 0,
    ...row,
  })
const deletions = (router: ScriptedRouter): string[] =>
  router.all('DEL').map(({ entityId }) => Buffer.from(entityId).toString('hex'))
const hexOf = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString('hex')

describe('B50 one command worker for each connection and router', () => {
  it('B50 a router that does not answer holds up its own commands only', async () => {
    const second = await secondRouter()
    let alice = await world.start('alice')
    const { connectionId: here } = await alice.agent.createConnection({})
    alice = await world.start('alice', { store: { open: alice.crash() }, routers: [second.address] })
    const { connectionId: there } = await alice.agent.createConnection({})
    world.router.react = ({ command }) => (command.type === 'DEL' ? 'lose' : undefined)
    await alice.agent.deleteConnection({ connectionId: here })
    await alice.agent.deleteConnection({ connectionId: there })
    const before = world.clock.now()
    await alice.next('DEL_CONN', there)
    expect(world.clock.now() - before).toBeLessThan(1_000)
    expect(told(alice, 'DEL_CONN')).toHaveLength(1)
    world.router.react = () => undefined
    await alice.next('DEL_CONN', here)
  })

  it('B50 commands of different connections at one router run side by side', async () => {
    const alice = await world.start('alice')
    const ids = [await alice.agent.createConnection({}), await alice.agent.createConnection({})]
    world.router.react = ({ command }) => (command.type === 'DEL' ? 'hold' : undefined)
    for (const { connectionId } of ids) await alice.agent.deleteConnection({ connectionId })
    await world.clock.settle()
    expect(world.router.all('DEL')).toHaveLength(2)
    expect(told(alice, 'DEL_CONN')).toEqual([])
    for (const held of world.router.all('DEL').reverse()) world.router.release(held)
    await alice.next('DEL_CONN', ids[1]?.connectionId)
    await alice.next('DEL_CONN', ids[0]?.connectionId)
  })

  it('B50 commands of one connection at one router run one after the other, in the order in which they were stored', async () => {
    const first = await world.start('alice')
    const { connectionId } = await first.agent.createConnection({})
    const rows = first.crash()
    const [queue] = await rows.find(rcvQueues, {})
    if (queue === undefined) throw new Error('no queue')
    // Rows of a connection with three queues that are to be deleted, as a rotation could leave them.
    const queues = ['q1', 'q2', 'q3'].map(queueId => ({ ...queue, queueId, primary: false, rcvId: randomBytes(24) }))
    const command = {
      connectionId,
      userId: 1,
      router: queue.router,
      type: 'deleteQueue',
      secret: null,
      correlationId: null,
      createdAt: world.clock.now(),
    }
    await rows.commit([
      ...queues.map(row => insert(rcvQueues, row)),
      insert(commands, { ...command, commandId: 12, argument: { queueId: 'q2' } }),
      insert(commands, { ...command, commandId: 11, argument: { queueId: 'q3' } }),
      insert(commands, { ...command, commandId: 13, argument: { queueId: 'q1' } }),
    ])
    world.router.react = ({ command: { type } }) => (type === 'DEL' ? 'hold' : undefined)
    const alice = await world.start('alice', { store: { open: rows } })
    const expected = ['q3', 'q2', 'q1'].map(id => hexOf(queues.find(({ queueId }) => queueId === id)?.rcvId))
    for (let done = 0; done < 3; done++) {
      await world.until(() => world.router.all('DEL').length > done, 'the next DEL')
      await world.clock.advance(1_000)
      expect(deletions(world.router)).toEqual(expected.slice(0, done + 1))
      const held = world.router.all('DEL')[done]
      if (held !== undefined) world.router.release(held)
    }
    await world.until(() => told(alice, 'DEL_RCVQ').length === 3, 'three DEL_RCVQ')
    expect(await rows.find(commands, {})).toEqual([])
    expect(told(alice, 'DEL_CONN')).toEqual([])
  })

  it('B50 the steps of a join go on at the reply queue’s router while the peer’s router is gone', async () => {
    const second = await secondRouter()
    const alice = await world.start('alice')
    const bob = await world.start('bob', { routers: [second.address] })
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    await bob.agent.joinConnection({ link })
    second.react = () => {
      world.network.setReachable(world.router.place, 'refuses')
      for (const link of world.network.links({ from: 'bob', place: world.router.place })) link.cut()
      return undefined
    }
    await world.until(() => second.all('NEW').length === 1, 'NEW at the second router')
    await world.clock.advance(5_000)
    expect(await bob.store.find(commands, {})).toEqual([])
    second.react = () => undefined
    world.network.setReachable(world.router.place, 'answers')
    await alice.next('CONF', aliceId)
  })
})

describe('B53 errors of commands', () => {
  it('B53 temporary: tried again after 2 s, growing after 10 s, to 120 s at most; then it succeeds', async () => {
    const alice = await world.start('alice')
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const attempts: number[] = []
    const dialer = world.network.dialer('bob')
    const bob = await world.start('bob', {
      // Every attempt is one on the network, so that its delays show.
      config: { failedConnectMs: 1 },
      dialer: {
        dial: (router, how) => {
          attempts.push(world.clock.now())
          return dialer.dial(router, how)
        },
      },
    })
    world.network.setReachable(world.router.place, 'refuses')
    await bob.agent.joinConnection({ link })
    await world.clock.advance(3_600_000)
    const waits = attempts.slice(1).map((at, index) => at - (attempts[index] ?? 0))
    expect(waits.slice(0, 8)).toEqual([2_000, 2_000, 2_000, 2_000, 2_000, 3_000, 4_500, 6_750])
    expect(Math.max(...waits)).toBe(120_000)
    expect(waits.slice(-5)).toEqual(Array.from({ length: 5 }, () => 120_000))
    expect(told(bob, 'ERR')).toHaveLength(1)
    world.network.setReachable(world.router.place, 'answers')
    await alice.next('CONF', aliceId)
  })

  it.each([
    ['no answer in time', (count: number) => (count < 3 ? ('lose' as const) : undefined)],
    [
      'a session that breaks',
      (count: number) => {
        if (count < 3) queueMicrotask(() => world.cut('bob'))
        return count < 3 ? ('lose' as const) : undefined
      },
    ],
  ])('B53 temporary: %s', async (_, reaction) => {
    const [alice, bob] = [await world.start('alice'), await world.start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    let count = 0
    world.router.react = ({ command }) => (command.type === 'SKEY' ? reaction(count++) : undefined)
    await bob.agent.joinConnection({ link })
    await alice.next('CONF', aliceId)
    expect(world.router.all('SKEY')).toHaveLength(4)
    expect(told(bob, 'ERR')).toHaveLength(1)
  })

  const joining = async (dial?: () => Promise<never>) => {
    const alice = await world.start('alice')
    const { link } = await alice.agent.createConnection({})
    const warned: object[] = []
    const quiet = (): void => {}
    const logger = { debug: quiet, info: quiet, error: quiet, warn: (facts: object) => void warned.push(facts) }
    const bob = await world.start('bob', { logger, ...(dial === undefined ? {} : { dialer: { dial } }) })
    return { alice, bob, link, warned }
  }

  it('B53 temporary: said once, in the log at the first failure and as an event at the third', async () => {
    const { alice, bob, link, warned } = await joining()
    world.network.setReachable(world.router.place, 'refuses')
    const { connectionId } = await bob.agent.joinConnection({ link })
    await world.clock.advance(1_000)
    const { address } = world.router
    const facts = { code: 'TRANSPORT_CONNECT', command: 'secureSend', connectionId, router: address }
    expect([warned, told(bob, 'ERR')]).toEqual([[facts], []])
    const before = world.clock.now()
    const { error } = await bob.next('ERR', connectionId)
    expect(error).toMatchObject({ code: 'TRANSPORT_CONNECT', hint: 'the agent keeps trying' })
    expect(world.clock.now() - before).toBeLessThan(5_000)
    await world.clock.advance(3_600_000)
    expect([warned.length, told(bob, 'ERR').length]).toEqual([1, 1])
    world.network.setReachable(world.router.place, 'answers')
    await alice.next('CONF')
  })

  it.each(['TRANSPORT_IDENTITY', 'TRANSPORT_CERTIFICATE'])('B53 temporary: %s is told at once', async code => {
    const { bob, link, warned } = await joining(() =>
      Promise.reject(new TransportError(code, 'not the router', { hint: 'look at the address' })),
    )
    const { connectionId } = await bob.agent.joinConnection({ link })
    await world.clock.advance(1_000)
    const [event] = told(bob, 'ERR')
    expect(event).toMatchObject({ connectionId, error: { code, hint: 'the agent keeps trying' } })
    await world.clock.advance(600_000)
    expect([warned.length, told(bob, 'ERR').length]).toEqual([1, 1])
    expect(await bob.store.find(commands, {})).toHaveLength(1)
  })

  it('B53 permanent: reported once, with its code, deleted, and tried no more, after a restart neither', async () => {
    const alice = await world.start('alice')
    let bob = await world.start('bob')
    const { link } = await alice.agent.createConnection({})
    world.router.react = ({ command }) =>
      command.type === 'NEW' ? { type: 'ERR', error: { type: 'AUTH' } } : undefined
    const { connectionId } = await bob.agent.joinConnection({ link })
    const { error } = await bob.next('ERR', connectionId)
    expect(error).toMatchObject({ code: 'AUTH' })
    expect(await bob.store.find(commands, {})).toEqual([])
    const asked = world.router.all('NEW').length
    await world.clock.advance(600_000)
    bob = await world.start('bob', { store: { open: bob.crash() } })
    await world.clock.advance(600_000)
    expect(world.router.all('NEW')).toHaveLength(asked)
    expect(told(bob, 'ERR')).toHaveLength(1)
  })

  it('B53 a permanent failure does not hold up what is behind it', async () => {
    const first = await world.start('alice')
    const { connectionId } = await first.agent.createConnection({})
    const rows = first.crash()
    const [queue] = await rows.find(rcvQueues, {})
    if (queue === undefined) throw new Error('no queue')
    const bad = { ...queue, queueId: 'bad', primary: false, rcvId: randomBytes(24) }
    const command = { connectionId, userId: 1, router: queue.router, secret: null, correlationId: 'mine', createdAt: 0 }
    await rows.commit([
      insert(rcvQueues, bad),
      insert(commands, { ...command, commandId: 1, type: 'deleteQueue', argument: { queueId: 'bad' } }),
      insert(commands, { ...command, commandId: 2, type: 'deleteQueue', argument: { queueId: queue.queueId } }),
    ])
    world.router.react = ({ command: { type }, entityId }) =>
      type === 'DEL' && Buffer.compare(entityId, bad.rcvId) === 0
        ? { type: 'ERR', error: { type: 'INTERNAL' } }
        : undefined
    const alice = await world.start('alice', { store: { open: rows } })
    const failed = await alice.next('DEL_RCVQ', connectionId)
    expect(failed.error).toMatchObject({ code: 'INTERNAL' })
    const done = await alice.next('DEL_RCVQ', connectionId)
    expect(done.error).toBeUndefined()
    expect(await rows.find(commands, {})).toEqual([])
  })

  it('B53 the deletion of a queue is given up after 10 attempts, with the error in DEL_RCVQ, and the connection goes', async () => {
    const alice = await world.start('alice')
    const { connectionId } = await alice.agent.createConnection({})
    world.router.react = ({ command }) => (command.type === 'DEL' ? 'lose' : undefined)
    await alice.agent.deleteConnection({ connectionId })
    const { error } = await alice.next('DEL_RCVQ', connectionId)
    expect(error).toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
    await alice.next('DEL_CONN', connectionId)
    expect(world.router.all('DEL')).toHaveLength(10)
    expect(await alice.store.find(rcvQueues, {})).toEqual([])
  })

  it('B53 a deletion does not wait for the next attempt of what it has taken away', async () => {
    const alice = await world.start('alice')
    const { connectionId, confirmationId } = await world.invite(alice)
    world.router.react = ({ command }) => (command.type === 'SKEY' ? 'lose' : undefined)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.clock.advance(3_600_000)
    const attempts = world.router.all('SKEY').map(({ at }) => at)
    expect((attempts.at(-1) ?? 0) - (attempts.at(-2) ?? 0)).toBeGreaterThan(100_000)
    await world.until(() => world.clock.now() - (world.router.all('SKEY').at(-1)?.at ?? 0) >= 40_000, 'a wait')
    await alice.agent.deleteConnection({ connectionId })
    await world.clock.settle()
    expect(world.router.all('DEL')).toHaveLength(1)
    expect(told(alice, 'DEL_RCVQ', 'DEL_CONN').map(({ type }) => type)).toEqual(['DEL_RCVQ', 'DEL_CONN'])
  })

  it('B53 B90 the failed attempts of a command that was taken away do not count for the one that follows', async () => {
    const alice = await world.start('alice')
    const { connectionId, confirmationId } = await world.invite(alice)
    world.network.setReachable(world.router.place, 'refuses')
    world.cut('alice')
    await alice.agent.allowConnection({ connectionId, confirmationId })
    // More than a deletion has.
    await world.clock.advance(3_600_000)
    await alice.agent.deleteConnection({ connectionId })
    await world.clock.advance(10_000)
    expect(alice.events.map(({ type }) => type)).not.toContain('DEL_RCVQ')
    world.network.setReachable(world.router.place, 'answers')
    expect(await alice.next('DEL_RCVQ', connectionId)).not.toHaveProperty('error')
    await alice.next('DEL_CONN', connectionId)
  })

  it('B53 a command that is taken away while it runs fails without a word, and the next one follows at once', async () => {
    const alice = await world.start('alice')
    const { connectionId, confirmationId } = await world.invite(alice)
    world.router.react = ({ command }) => (command.type === 'SKEY' ? 'lose' : undefined)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.until(() => world.router.all('SKEY').length === 3, 'the third attempt')
    await alice.agent.deleteConnection({ connectionId })
    await world.clock.advance(29_000)
    expect(world.router.all('DEL')).toEqual([])
    await world.clock.advance(1_500)
    expect(world.router.all('DEL')).toHaveLength(1)
    await alice.next('DEL_CONN')
    expect(told(alice, 'ERR')).toEqual([])
  })

  it('B53 a command that succeeds after it was taken away changes nothing any more', async () => {
    const alice = await world.start('alice')
    const { connectionId, confirmationId } = await world.invite(alice)
    world.router.react = ({ command }) => (command.type === 'SKEY' ? 'hold' : undefined)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await world.clock.settle()
    const [command] = await alice.store.find(commands, {})
    await alice.store.commit([remove(commands, { commandId: command?.commandId ?? 0 })])
    const sent = world.router.all('SEND').length
    const [, held] = world.router.all('SKEY')
    if (held !== undefined) world.router.release(held)
    await world.clock.advance(60_000)
    expect(world.router.all('SEND')).toHaveLength(sent)
    expect(await alice.store.find(sndMessages, {})).toEqual([])
    expect(told(alice, 'CON', 'ERR')).toEqual([])
  })
})

describe('B51 the commands by name', () => {
  it('B51 secureSend, createReply, allowSecure, deleteQueue, finishDeletion: each is stored before its router hears of it', async () => {
    const second = await secondRouter()
    const alice = await world.start('alice')
    const bob = await world.start('bob', { routers: [second.address] })
    const stored: Array<{ type: string; router: string; seen: number }> = []
    for (const { store } of [alice, bob]) {
      afterCommits(store, changes => {
        for (const change of changes) {
          if (change.op !== 'insert' || change.table.name !== 'commands') continue
          const { type, router } = change.row as { type: string; router: string }
          stored.push({ type, router, seen: world.router.seen.length + second.seen.length })
        }
      })
    }
    const { initiatorId } = await world.connect(alice, bob)
    second.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    await alice.agent.sendMessage({ connectionId: initiatorId, body: 'x' })
    await alice.agent.deleteConnection({ connectionId: initiatorId, waitDelivery: true })
    await alice.next('DEL_RCVQ')
    const { address: here } = world.router
    const { address: there } = second
    expect(stored.map(({ type, router }) => [type, router])).toEqual([
      ['secureSend', here],
      ['createReply', there],
      ['allowSecure', there],
      ['deleteQueue', here],
      ['finishDeletion', there],
    ])
    const all = [...world.router.seen, ...second.seen].toSorted((a, b) => a.at - b.at)
    expect(all.map(({ command }) => command.type)).toEqual(expect.arrayContaining(['SKEY', 'NEW', 'DEL']))
    expect(stored.map(({ seen }) => seen)).toEqual(stored.map(({ seen }) => seen).toSorted((a, b) => a - b))
  })

  it.each([
    ['ack', 1],
    ['ackDelete', 0],
  ])('B51 %s acknowledges a message to its router; %d row of it stays', async (type, left) => {
    const first = await world.start('alice')
    const { connectionId, peer, queue } = await world.befriend(first)
    await peer.say('hi')
    const { messageId } = await first.next('MSG')
    const rows = first.crash()
    const [row] = await rows.find(rcvQueues, {})
    const brokerId = Buffer.from(queue.messages[0]?.id ?? []).toString('base64url')
    const argument = { queueId: row?.queueId ?? '', brokerId, messageId }
    await rows.commit([seeded(1, { connectionId, type, argument }), seeded(2, { connectionId, type, argument })])
    const before = world.router.all('ACK').length
    world.router.react = ({ command }) =>
      command.type === 'ACK' && world.router.all('ACK').length === before + 1 ? 'loseAnswer' : undefined
    queue.delivered = true
    const alice = await world.start('alice', { store: { open: rows } })
    await world.until(() => world.router.all('ACK').length === before + 3, 'both, the first one twice')
    await world.clock.settle()
    expect(queue.messages).toEqual([])
    expect(await rows.find(commands, {})).toEqual([])
    expect(await rows.count(rcvMessages, { messageId })).toBe(left)
    expect(told(alice, 'ERR')).toEqual([])
  })

  it('B51 B53 an ack that its router refuses is told as an error, once, and dropped', async () => {
    const first = await world.start('alice')
    const { connectionId } = await world.befriend(first)
    const rows = first.crash()
    const [row] = await rows.find(rcvQueues, {})
    const argument = { queueId: row?.queueId ?? '', brokerId: 'AAAA' }
    await rows.commit([seeded(1, { connectionId, type: 'ack', argument })])
    world.router.react = ({ command }) => (command.type === 'ACK' ? errorAnswer('AUTH') : undefined)
    const alice = await world.start('alice', { store: { open: rows } })
    expect((await alice.next('ERR')).error.code).toBe('AUTH')
    await world.clock.advance(60_000)
    expect(told(alice, 'ERR')).toHaveLength(1)
    expect(await rows.find(commands, {})).toEqual([])
  })

  it('B51 an ack of a queue that is gone is dropped', async () => {
    const first = await world.start('alice')
    const { connectionId } = await first.agent.createConnection({})
    const rows = first.crash()
    await rows.commit([seeded(1, { connectionId, type: 'ack', argument: { queueId: 'gone', brokerId: 'AAAA' } })])
    const alice = await world.start('alice', { store: { open: rows } })
    await world.clock.advance(1_000)
    expect(await rows.find(commands, {})).toEqual([])
    expect(world.router.all('ACK')).toEqual([])
    expect(told(alice, 'ERR')).toEqual([])
  })

  it('B51 an ACK that the router never answers, in a session that lives on, becomes a command and goes on, also after a restart', async () => {
    let alice = await world.start('alice')
    const { connectionId, peer } = await world.befriend(alice)
    world.router.react = ({ command }) => (command.type === 'ACK' ? 'lose' : undefined)
    await peer.say('one')
    const { messageId } = await alice.next('MSG')
    await alice.agent.ackMessage({ connectionId, messageId })
    await world.until(() => world.router.all('ACK').length >= 5, 'what the session sends by itself')
    expect(await alice.store.find(commands, {})).toEqual([])
    await world.until(() => world.router.all('ACK').length >= 7, 'more ACKs than the session sends by itself')
    expect(await alice.store.find(commands, {})).toMatchObject([{ type: 'ack', connectionId }])
    alice = await world.start('alice', { store: { open: alice.crash() } })
    world.router.react = () => undefined
    await world.clock.advance(1_000)
    expect(await alice.store.find(commands, {})).toEqual([])
    await alice.agent.subscribe({})
    await peer.say('two')
    expect(textOf((await alice.next('MSG')).body)).toBe('two')
  })

  it('B51 a command that no version knows, or no version knows any more, is deleted without a word', async () => {
    const first = await world.start('alice')
    const { connectionId } = await first.agent.createConnection({})
    const rows = first.crash()
    await rows.commit([
      seeded(1, { connectionId, type: 'fromLongAgo' }),
      seeded(2, { connectionId, type: 'deleteConnection', argument: { queueId: 'x' } }),
      seeded(3, { connectionId: 'nobody', type: 'ICDeleteConn' }),
    ])
    const alice = await world.start('alice', { store: { open: rows } })
    await world.clock.advance(1_000)
    expect(await rows.find(commands, {})).toEqual([])
    expect(told(alice, 'ERR')).toEqual([])
  })
})

describe('B06 commands and suspensions', () => {
  it('B04 B06 an answer that comes while the agent is suspended is taken in the foreground: the command is not sent again', async () => {
    const alice = await world.start('alice')
    const bob = await world.start('bob')
    const { link } = await bob.agent.createConnection({})
    world.router.react = ({ command }) => (command.type === 'SKEY' ? 'hold' : undefined)
    await alice.agent.joinConnection({ link })
    await world.clock.settle()
    await alice.agent.suspendAgent({})
    const [held] = world.router.all('SKEY')
    if (held === undefined) throw new Error('nothing is secured')
    world.router.react = () => undefined
    world.router.release(held)
    await world.clock.advance(1_000)
    await alice.agent.foregroundAgent({})
    await bob.next('CONF')
    expect(world.router.all('SKEY')).toHaveLength(1)
  })
})

describe('B52 allow-secure moves to the router that fails', () => {
  it('B52 ★ it leaves the own queue’s router free, waits at the other one, and completes there, also after a restart', async () => {
    const second = await secondRouter()
    let alice = await world.start('alice', { routers: [second.address] })
    const bob = await world.start('bob')
    const { connectionId, link } = await alice.agent.createConnection({})
    await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF')
    world.network.setReachable(world.router.place, 'refuses')
    for (const open of world.network.links({ from: 'alice' })) open.cut()
    await alice.agent.allowConnection({ connectionId, confirmationId })
    // As an agent leaves it that has to secure its own queue first.
    const rows = alice.crash()
    const [queue] = await rows.find(rcvQueues, {})
    const [command] = await rows.find(commands, {})
    const argument = { queueId: queue?.queueId ?? '', brokerId: 'AAAA' }
    await rows.commit([
      patch(commands, { commandId: command?.commandId ?? 0 }, { router: second.address }),
      seeded(100, { connectionId, router: second.address, type: 'ack', argument }),
    ])
    alice = await world.start('alice', { store: { open: rows } })
    await world.clock.advance(1_000)
    expect(await rows.find(commands, {})).toMatchObject([{ type: 'allowSecure', router: world.router.address }])
    expect(second.all('ACK').length).toBeGreaterThan(1)
    await world.clock.advance(60_000)
    alice = await world.start('alice', { store: { open: alice.crash() } })
    world.network.setReachable(world.router.place, 'answers')
    await alice.next('CON', connectionId)
    await bob.next('CON')
    expect(await alice.store.find(commands, {})).toEqual([])
  })

  it('B52 a reply queue that its router refuses is an error where it is', async () => {
    const second = await secondRouter()
    const first = await world.start('alice', { routers: [second.address] })
    const bob = await world.start('bob')
    const { connectionId, link } = await first.agent.createConnection({})
    await bob.agent.joinConnection({ link })
    const { confirmationId } = await first.next('CONF')
    world.router.react = ({ command }) => (command.type === 'SKEY' ? 'lose' : undefined)
    await first.agent.allowConnection({ connectionId, confirmationId })
    const rows = first.crash()
    const [command] = await rows.find(commands, {})
    await rows.commit([patch(commands, { commandId: command?.commandId ?? 0 }, { router: second.address })])
    world.router.react = ({ command }) => (command.type === 'SKEY' ? errorAnswer('AUTH') : undefined)
    const alice = await world.start('alice', { store: { open: rows } })
    expect((await alice.next('ERR')).error).toMatchObject({ code: 'AUTH' })
    expect(await rows.find(commands, {})).toEqual([])
  })
})
