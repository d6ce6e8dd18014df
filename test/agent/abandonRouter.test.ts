/** abandonRouter: what waits for a router that does not come back ends with an error, and nothing else does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { commands, connections, rcvQueues } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type ScriptedRouter, scriptedRouter } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { afterCommits } from '../support/storeFaults.js'

let world: ScriptedWorld
/** The router that goes away; alice makes her queues on the other one. */
let dead: ScriptedRouter
let alice: TestAgent
let bob: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  dead = await scriptedRouter({ clock: world.clock, network: world.network, host: 'dead' })
  alice = await world.start('alice')
  bob = await world.start('bob', { routers: [dead.address] })
})
afterEach(() => world.close())

const away = (): void => {
  world.network.setReachable(dead.place, 'refuses')
  for (const link of world.network.links({ place: dead.place })) link.cut()
}
const back = (): void => world.network.setReachable(dead.place, 'answers')
const abandon = (agent = alice) => agent.agent.abandonRouter({ address: dead.address })
const told = (agent: TestAgent, ...types: string[]) => agent.events.filter(({ type }) => types.includes(type))
const code = 'SMP_ABANDONED'

describe('queues to be deleted', () => {
  it('B90 count as deleted: DEL_RCVQ with the error, DEL_CONN, at once; the others of the agent are left alone', async () => {
    const { connectionId: gone } = await bob.agent.createConnection({})
    const { connectionId: kept } = await bob.agent.createConnection({})
    away()
    await bob.agent.deleteConnection({ connectionId: gone })
    await world.clock.advance(5_000)
    expect(told(bob, 'DEL_RCVQ')).toEqual([])
    expect(await abandon(bob)).toEqual({ commands: 1, messages: 0 })
    await world.clock.settle()
    expect(told(bob, 'DEL_RCVQ', 'DEL_CONN')).toMatchObject([
      { type: 'DEL_RCVQ', connectionId: gone, router: dead.address, error: { code, field: dead.address } },
      { type: 'DEL_CONN', connectionId: gone },
    ])
    expect(await bob.store.find(rcvQueues, {})).toMatchObject([{ connectionId: kept }])
    expect(await abandon(bob)).toEqual({ commands: 0, messages: 0 })
    await world.clock.advance(600_000)
    expect(told(bob, 'DEL_RCVQ', 'DEL_CONN', 'ERR')).toHaveLength(2)
    expect(dead.all('DEL')).toEqual([])
  })

  it('B90 a deletion whose DEL is on its way when it is given up is told of once', async () => {
    const { connectionId } = await bob.agent.createConnection({})
    dead.react = ({ command }) => (command.type === 'DEL' ? 'hold' : undefined)
    await bob.agent.deleteConnection({ connectionId })
    await world.clock.settle()
    await abandon(bob)
    const [held] = dead.all('DEL')
    if (held !== undefined) dead.release(held)
    await world.clock.advance(60_000)
    expect(told(bob, 'DEL_RCVQ', 'DEL_CONN').map(({ type }) => type)).toEqual(['DEL_RCVQ', 'DEL_CONN'])
  })
})

describe('commands', () => {
  it('B53 a join that waits for the peer’s router fails with a typed error; the connection can be deleted', async () => {
    const { link } = await bob.agent.createConnection({})
    away()
    const { connectionId } = await alice.agent.joinConnection({ link })
    await world.clock.advance(1_000)
    expect(await abandon()).toEqual({ commands: 1, messages: 0 })
    const { error, ...event } = await alice.next('ERR', connectionId)
    expect(error).toMatchObject({ code, field: dead.address })
    expect(event).not.toHaveProperty('temporary')
    expect(await alice.store.find(commands, {})).toEqual([])
    await world.clock.advance(600_000)
    expect(told(alice, 'ERR')).toHaveLength(1)
    await alice.agent.deleteConnection({ connectionId })
    await alice.next('DEL_CONN')
  })

  it('B53 a command that succeeds after it was given up does nothing any more', async () => {
    const { link } = await bob.agent.createConnection({})
    dead.react = ({ command }) => (command.type === 'SKEY' ? 'hold' : undefined)
    await alice.agent.joinConnection({ link })
    await world.clock.settle()
    await abandon()
    const [held] = dead.all('SKEY')
    if (held !== undefined) dead.release(held)
    await world.clock.advance(60_000)
    expect(world.router.all('NEW')).toEqual([])
    expect(told(alice, 'ERR')).toHaveLength(1)
  })

  it('B53 the worker that waited for its next attempt takes what comes later at once', async () => {
    const carol = await world.start('carol', { routers: [dead.address] })
    const { connectionId, link } = await bob.agent.createConnection({})
    await carol.agent.joinConnection({ link })
    const { confirmationId } = await bob.next('CONF')
    dead.react = ({ command }) => (command.type === 'SKEY' ? 'lose' : undefined)
    const lastAt = () => dead.all('SKEY').at(-1)?.at ?? 0
    await bob.agent.allowConnection({ connectionId, confirmationId })
    await world.clock.advance(3_600_000)
    await world.until(() => world.clock.now() - lastAt() >= 40_000, 'a wait')
    expect(await abandon(bob)).toEqual({ commands: 1, messages: 0 })
    await world.clock.settle()
    await bob.agent.deleteConnection({ connectionId })
    await world.clock.settle()
    expect(told(bob, 'DEL_CONN')).toHaveLength(1)
  })

  it('B21 asynchronous calls that wait for it are answered with the error, others go on', async () => {
    const [one] = [await bob.agent.createConnection({})]
    away()
    await bob.agent.createConnectionAsync({ correlationId: 'create' })
    await bob.agent.createConnectionAsync({ correlationId: 'create under a key', idempotencyKey: 'mine' })
    await bob.agent.suspendConnectionAsync({ connectionId: one.connectionId, correlationId: 'suspend' })
    const elsewhere = await world.start('carol', { routers: [dead.address, world.router.address] })
    await world.clock.advance(3_000)
    expect(await abandon(bob)).toEqual({ commands: 3, messages: 0 })
    for (const id of ['create', 'create under a key', 'suspend']) {
      const answers = bob.events.filter(event => event.correlationId === id && event.type === 'ERR')
      expect(answers.map(event => event.type === 'ERR' && event.error.code).filter(c => c === code)).toEqual([code])
    }
    expect(await bob.store.count(commands)).toBe(0)
    // Under a key of its own the caller may come back.
    const left = await bob.store.find(connections, {})
    expect(left.map(({ idempotencyKey }) => idempotencyKey).toSorted()).toEqual(['mine', null])
    back()
    await world.clock.advance(3_000)
    await bob.agent.createConnection({ idempotencyKey: 'mine' })
    expect(await abandon(elsewhere)).toEqual({ commands: 0, messages: 0 })
  })
})

describe('waiting messages', () => {
  let aliceId: string
  let bobId: string
  beforeEach(async () => {
    ;({ initiatorId: aliceId, joinerId: bobId } = await world.connect(alice, bob))
  })
  const send = async (...bodies: string[]): Promise<number[]> => {
    const ids: number[] = []
    for (const body of bodies) ids.push((await alice.agent.sendMessage({ connectionId: aliceId, body })).messageId)
    return ids
  }

  it('B43 fail at once: MERR for the first, MERRS for the rest; what is sent later waits as before and is delivered', async () => {
    away()
    const [first, ...rest] = await send('one', 'two', 'three')
    await world.clock.advance(10_000)
    expect(await abandon()).toEqual({ commands: 0, messages: 3 })
    await world.clock.settle()
    expect(told(alice, 'MERR', 'MERRS')).toMatchObject([
      { type: 'MERR', connectionId: aliceId, messageId: first, error: { code } },
      { type: 'MERRS', connectionId: aliceId, messageIds: rest, error: { code } },
    ])
    expect(await alice.store.count(deliveries)).toBe(0)
    const [later] = await send('four')
    back()
    expect((await alice.next('SENT')).messageId).toBe(later)
    await bob.agent.subscribe({})
    const message = await bob.next('MSG', bobId)
    expect([textOf(message.body), message.integrity.result]).toEqual(['four', 'skipped'])
    expect(told(alice, 'SENT')).toHaveLength(1)
  })

  it.each([
    ['it was delivered', 'release'],
    ['its answer is an error', 'AUTH'],
  ])(
    'B42 B44 an attempt is under way when they are given up, and %s: nothing more is told of them, nothing more is sent',
    async (_, end) => {
      dead.react = ({ command }) => (command.type === 'SEND' ? 'hold' : undefined)
      await send('one', 'two', 'three')
      await world.clock.settle()
      const sent = dead.all('SEND')
      await abandon()
      dead.react = () => undefined
      const held = sent.at(-1)
      if (held !== undefined && end === 'release') dead.release(held)
      else held?.session.send({ to: held, response: { type: 'ERR', error: { type: 'AUTH' } } })
      await world.clock.advance(600_000)
      expect(told(alice, 'MERR', 'MERRS', 'SENT').map(({ type }) => type)).toEqual(['MERR', 'MERRS'])
      expect(dead.all('SEND')).toHaveLength(sent.length)
      // The queue itself works.
      const [later] = await send('four')
      expect((await alice.next('SENT')).messageId).toBe(later)
    },
  )

  it('B48 those whose delivery is on its way to the disk are delivered', async () => {
    const ids = await send('one', 'two')
    await Promise.all([abandon(), world.clock.settle()])
    await world.clock.advance(60_000)
    const sent = told(alice, 'SENT').flatMap(event => (event.type === 'SENT' ? [event.messageId] : []))
    const failed = alice.events.flatMap(event =>
      event.type === 'MERR' ? [event.messageId] : event.type === 'MERRS' ? event.messageIds : [],
    )
    expect([...sent, ...failed].toSorted((a, b) => a - b)).toEqual(ids)
  })

  it('B90 a deletion that waits for them comes to its end', async () => {
    away()
    const ids = await send('one', 'two')
    await alice.agent.deleteConnection({ connectionId: aliceId, waitDelivery: true })
    await alice.next('DEL_RCVQ')
    expect(await abandon()).toEqual({ commands: 0, messages: 2 })
    await world.clock.settle()
    expect(told(alice, 'MERR', 'MERRS', 'DEL_CONN')).toMatchObject([
      { type: 'MERR', messageId: ids[0] },
      { type: 'MERRS', messageIds: [ids[1]] },
      { type: 'DEL_CONN' },
    ])
    expect(await alice.store.count(connections)).toBe(0)
  })

  it('many queues; killed in the middle, a repeated call does the rest, each message is told of once', async () => {
    const others: string[] = []
    for (let index = 0; index < 4; index++) others.push((await world.connect(alice, bob)).initiatorId)
    away()
    for (const connectionId of others) {
      for (const body of ['one', 'two']) await alice.agent.sendMessage({ connectionId, body })
    }
    await world.clock.advance(5_000)
    let rows: MemoryStore | undefined
    let left = 2
    afterCommits(alice.store, () => {
      if (rows === undefined && --left === 0) rows = alice.crash()
    })
    abandon().catch(() => {})
    await world.until(() => rows !== undefined, 'the kill')
    alice = await world.start('alice', { store: { open: rows as MemoryStore } })
    expect(await abandon()).toEqual({ commands: 0, messages: 4 })
    await world.clock.settle()
    expect(
      told(alice, 'MERR')
        .map(({ connectionId }) => connectionId)
        .toSorted(),
    ).toEqual(others.toSorted())
    expect(
      told(alice, 'MERRS')
        .map(({ connectionId }) => connectionId)
        .toSorted(),
    ).toEqual(others.toSorted())
  })
})

describe('which router', () => {
  it('a password in the address does not matter; what cannot be read is refused', async () => {
    const { connectionId } = await bob.agent.createConnection({})
    away()
    await bob.agent.deleteConnection({ connectionId })
    const withPassword = dead.address.replace('@', ':secret@')
    expect(await bob.agent.abandonRouter({ address: withPassword })).toEqual({ commands: 1, messages: 0 })
    await expect(bob.agent.abandonRouter({ address: 'nonsense' })).rejects.toMatchObject({ code: /^DECODE_/ })
  })

  it('B22 only one user’s, if the call names one', async () => {
    await bob.agent.createUser({})
    for (const userId of [1, 2]) await bob.agent.createConnection({ userId })
    const made = await bob.store.find(connections, { orderBy: ['userId'] })
    away()
    for (const { connectionId } of made) await bob.agent.deleteConnection({ connectionId })
    expect(await bob.agent.abandonRouter({ address: dead.address, userId: 2 })).toEqual({ commands: 1, messages: 0 })
    await bob.next('DEL_CONN', made[1]?.connectionId)
    expect(told(bob, 'DEL_CONN')).toHaveLength(1)
    expect(await bob.agent.abandonRouter({ address: dead.address })).toEqual({ commands: 1, messages: 0 })
    await bob.next('DEL_CONN', made[0]?.connectionId)
  })

  it('another router’s work is not touched', async () => {
    away()
    world.router.react = ({ command }) => (command.type === 'DEL' ? 'hold' : undefined)
    const { connectionId } = await alice.agent.createConnection({})
    await alice.agent.deleteConnection({ connectionId })
    expect(await abandon()).toEqual({ commands: 0, messages: 0 })
    expect(await alice.store.count(commands)).toBe(1)
  })
})
