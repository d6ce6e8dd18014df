/** "Why is it waiting?": what inspectConnection tells in each kind of waiting. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ResultOf } from '../../src/agent/api/calls.js'
import { calls } from '../../src/agent/api/calls.js'
import type { TestAgent } from '../support/agentWorld.js'
import { errorAnswer, type ScriptedRouter, scriptedRouter } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let second: ScriptedRouter
let alice: TestAgent
let bob: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  // Alice receives at one router and sends to the other.
  second = await scriptedRouter({ clock: world.clock, network: world.network, host: 'second' })
  alice = await world.start('alice')
  bob = await world.start('bob', { routers: [second.address] })
})
afterEach(() => world.close())

const inspect = async (connectionId: string, limit?: number): Promise<ResultOf<'inspectConnection'>> => {
  const params = { connectionId, ...(limit === undefined ? {} : { limit }) }
  const result = await alice.agent.inspectConnection(params)
  expect(calls.inspectConnection.result.safeParse(result).error).toBeUndefined()
  return result
}
const away = (router: { readonly place: string }): void => {
  world.network.setReachable(router.place, 'refuses')
  for (const link of world.network.links({ place: router.place })) link.cut()
}
const back = (router: { readonly place: string }): void => world.network.setReachable(router.place, 'answers')
const day = 24 * 3_600_000

describe('inspectConnection', () => {
  it('nothing waits: queues with their routers, status and subscription, and nothing else', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    const [own] = (await inspect(connectionId)).rcvQueues
    expect(await inspect(connectionId)).toEqual({
      connectionId,
      userId: 1,
      status: 'connected',
      ready: true,
      ratchetSync: 'ok',
      online: true,
      rcvQueues: [
        {
          queueId: own?.queueId,
          router: world.router.address,
          status: expect.any(String),
          primary: true,
          subscription: 'active',
          suspended: false,
        },
      ],
      sndQueues: [
        {
          queueId: expect.any(String),
          router: second.address,
          status: 'active',
          primary: true,
          waiting: 0,
          messages: [],
          attempts: 0,
        },
      ],
      commands: [],
    })
  })

  it('B43 a router that is away: which messages wait since when, the error, the next attempt, when they are given up', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    away(second)
    const since = world.clock.now()
    const ids: number[] = []
    for (const body of ['a', 'b', 'c']) ids.push((await alice.agent.sendMessage({ connectionId, body })).messageId)
    await world.clock.advance(3_000)
    const [queue] = (await inspect(connectionId, 2)).sndQueues
    expect(queue).toMatchObject({ waiting: 3, attempts: 2, lastError: { code: 'TRANSPORT_CONNECT' } })
    expect(queue?.messages).toEqual(
      ids.slice(0, 2).map(messageId => ({ messageId, type: 'A_MSG', since, expiresAt: since + 2 * day })),
    )
    const next = queue?.nextAttemptAt ?? 0
    expect(next).toBeGreaterThan(world.clock.now())
    back(second)
    await world.clock.advance(next - world.clock.now())
    await world.clock.settle()
    expect((await inspect(connectionId)).sndQueues).toMatchObject([{ waiting: 0, messages: [], attempts: 0 }])
  })

  it('B41 a full queue: the longer delay and the longer expiry', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    second.react = ({ command }) => (command.type === 'SEND' ? errorAnswer('QUOTA') : undefined)
    const since = world.clock.now()
    await alice.agent.sendMessage({ connectionId, body: 'a' })
    await alice.next('MWARN')
    const [queue] = (await inspect(connectionId)).sndQueues
    expect(queue).toMatchObject({
      lastError: { code: 'QUOTA' },
      nextAttemptAt: since + 300_000,
      messages: [{ expiresAt: since + 7 * day }],
    })
  })

  it('B53 a command that is tried again: its kind, its router, its last error and its next attempt', async () => {
    const { link } = await bob.agent.createConnection({})
    away(second)
    const since = world.clock.now()
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.clock.settle()
    const [command] = (await inspect(connectionId)).commands
    expect(command).toMatchObject({ type: 'secureSend', router: second.address, since, attempts: 1 })
    expect(command?.lastError?.code).toBe('TRANSPORT_CONNECT')
    expect(command?.nextAttemptAt).toBe(since + 2_000)
    await world.clock.advance(60_000)
    const [later] = (await inspect(connectionId)).commands
    expect(later?.attempts).toBeGreaterThan(5)
    expect(later?.nextAttemptAt).toBeGreaterThan(world.clock.now())
    expect((await inspect(connectionId)).rcvQueues).toMatchObject([{ status: 'new', subscription: 'removed' }])
    back(second)
    await bob.next('CONF')
    await world.clock.settle()
    expect(await inspect(connectionId)).toMatchObject({ status: 'joined', commands: [] })
  })

  it('B21 stored calls by their names and correlation ids, in their order; only the first of a worker has had attempts', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    world.router.react = ({ command }) => (command.type === 'OFF' ? 'lose' : undefined)
    await alice.agent.suspendConnectionAsync({ connectionId, correlationId: 'off' })
    await alice.agent.sendMessageAsync({ connectionId, body: 'x', correlationId: 'send' })
    await world.clock.settle()
    const running = { type: 'suspendConnection', router: '', correlationId: 'off', attempts: 0 }
    const waiting = { type: 'sendMessage', router: '', correlationId: 'send', attempts: 0 }
    expect((await inspect(connectionId)).commands).toMatchObject([running, waiting])
    await world.clock.advance(31_000)
    const { commands } = await inspect(connectionId)
    expect(commands).toMatchObject([{ ...running, attempts: 1, lastError: { code: 'TRANSPORT_TIMEOUT' } }, waiting])
    expect(commands[0]?.nextAttemptAt).toBeDefined()
    expect((await inspect(connectionId, 1)).commands).toHaveLength(1)
    await world.clock.advance(1_000)
    // An attempt is under way: what was last stays told, when the next one comes is open.
    expect((await inspect(connectionId)).commands[0]).toMatchObject({ attempts: 1 })
    expect((await inspect(connectionId)).commands[0]).not.toHaveProperty('nextAttemptAt')
  })

  it('B90 a deletion that waits for its messages', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    away(second)
    await alice.agent.sendMessage({ connectionId, body: 'x' })
    await alice.agent.deleteConnection({ connectionId, waitDelivery: true })
    await alice.next('DEL_RCVQ')
    expect(await inspect(connectionId)).toMatchObject({
      status: 'closing',
      rcvQueues: [],
      sndQueues: [{ waiting: 1, attempts: 1 }],
      commands: [{ type: 'finishDeletion', router: second.address, attempts: 0 }],
    })
  })

  it('a router that is away shows in the subscription', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    away(world.router)
    await alice.next('DOWN')
    expect((await inspect(connectionId)).rcvQueues).toMatchObject([{ subscription: 'pending' }])
  })

  it('after a restart attempts are counted anew, from what the rows say', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    away(second)
    const since = world.clock.now()
    await alice.agent.sendMessage({ connectionId, body: 'x' })
    await world.clock.advance(600_000)
    alice = await world.start('alice', { store: { open: alice.crash() } })
    await world.clock.settle()
    expect((await inspect(connectionId)).sndQueues).toMatchObject([
      { waiting: 1, attempts: 1, messages: [{ since, expiresAt: since + 2 * day }] },
    ])
  })

  it('an unknown connection is CONN_NOT_FOUND', async () => {
    await expect(alice.agent.inspectConnection({ connectionId: 'nobody' })).rejects.toMatchObject({
      code: 'CONN_NOT_FOUND',
    })
  })
})
