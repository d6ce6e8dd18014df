/** Stored commands: who waits for whom, and what becomes of those that fail. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { randomBytes } from 'node:crypto'
import { TransportError } from '../../src/errors.js'
import { commands, rcvQueues } from '../../src/store/agent/connections.js'
import { insert } from '../../src/store/index.js'
import { type TestAgent } from '../support/agentWorld.js'
import { type ScriptedRouter, scriptedRouter } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

const told = (agent: TestAgent, ...types: string[]) => agent.events.filter(({ type }) => types.includes(type))
const secondRouter = (): Promise<ScriptedRouter> =>
  scriptedRouter({ clock: world.clock, network: world.network, host: 'second' })
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

  it('B53 a command that no version knows is deleted', async () => {
    const first = await world.start('alice')
    const { connectionId } = await first.agent.createConnection({})
    const rows = first.crash()
    await rows.commit([
      insert(commands, {
        commandId: 1,
        connectionId,
        userId: 1,
        router: world.router.address,
        type: 'fromLongAgo',
        argument: {},
        secret: null,
        correlationId: null,
        createdAt: 0,
      }),
    ])
    const alice = await world.start('alice', { store: { open: rows } })
    await world.clock.advance(1_000)
    expect(await rows.find(commands, {})).toEqual([])
    expect(told(alice, 'ERR')).toEqual([])
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
})
