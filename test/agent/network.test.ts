/** The device goes offline and comes back, and the session mode changes while connections are in use. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultNetworkConfig, Network } from '../../src/agent/network.js'
import type { Router } from '../../src/router/router.js'
import type { Dialer } from '../../src/smp/transport/port.js'
import { commands } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { afterCommits } from '../support/storeFaults.js'

let world: AgentWorld
let router: Router
let alice: TestAgent
let bob: TestAgent
/** When alice tried to connect, in ms since the last `watch`. */
let dials: number[]
let watchedAt: number

const watch = (): void => {
  dials = []
  watchedAt = world.clock.now()
}
const watched = (dialer: Dialer): Dialer => ({
  dial: (address, how) => {
    dials.push(world.clock.now() - watchedAt)
    return dialer.dial(address, how)
  },
})
const start = (options: Parameters<AgentWorld['startAgent']>[2] = {}): Promise<TestAgent> =>
  world.startAgent('alice', [router], { dialer: watched(world.network.dialer('alice')), ...options })
const cut = (name: string): void => {
  for (const link of world.network.links({ from: name })) link.cut()
}
const told = (agent: TestAgent, ...types: string[]) => agent.events.filter(({ type }) => types.includes(type))
const place = (): string => `localhost:${new URL(router.address.replace('smp:', 'http:')).port}`
const minutes = (count: number): number => count * 60_000

beforeEach(async () => {
  world = agentWorld()
  router = await world.startRouter()
  watch()
  alice = await start()
  bob = await world.startAgent('bob', [router])
})
afterEach(() => world.close())

const say = async (from: TestAgent, connectionId: string, to: TestAgent, body: string): Promise<void> => {
  await from.agent.sendMessage({ connectionId, body })
  const message = await to.next('MSG')
  expect(textOf(message.body)).toBe(body)
  expect(message.integrity).toEqual({ result: 'ok' })
  await to.agent.ackMessage({ connectionId: message.connectionId, messageId: message.messageId })
  await from.next('SENT', connectionId)
}

describe('B68 offline', () => {
  it('B68 a lost session is not tried again while the device is offline; online, it is back at once', async () => {
    const { initiatorId } = await world.connect(alice, bob)
    expect(await alice.agent.setNetwork({ online: false })).toEqual({ online: false })
    cut('alice')
    watch()
    await world.clock.advance(minutes(29))
    expect(dials).toEqual([])
    expect(await alice.agent.setNetwork({ online: true })).toEqual({ online: true })
    await world.clock.advance(100)
    expect(dials).toEqual([minutes(29)])
    expect((await alice.next('UP')).connectionIds).toEqual([initiatorId])
    expect(told(alice, 'DOWN')).toHaveLength(1)
  })

  it('B68 what the device says may be wrong: once in half an hour an attempt is made all the same', async () => {
    await world.connect(alice, bob)
    world.network.setReachable(place(), 'refuses')
    await alice.agent.setNetwork({ online: false })
    cut('alice')
    watch()
    await world.clock.advance(minutes(95))
    expect(dials).toHaveLength(3)
    expect(dials.map(at => Math.floor(at / minutes(30)))).toEqual([1, 2, 3])
  })

  it('B68 deliveries wait: no attempt is made and no time runs out; online, they go out in order', async () => {
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    await alice.agent.setNetwork({ online: false })
    cut('alice')
    watch()
    for (const body of ['one', 'two', 'three']) await alice.agent.sendMessage({ connectionId: initiatorId, body })
    await world.clock.advance(minutes(20))
    expect(dials).toEqual([])
    expect(await alice.store.count(deliveries)).toBe(3)
    const { online, sndQueues } = await alice.agent.inspectConnection({ connectionId: initiatorId })
    expect([online, sndQueues.map(({ waiting, attempts }) => [waiting, attempts])]).toEqual([false, [[3, 0]]])
    expect(told(alice, 'MWARN', 'MERR', 'SENT')).toEqual([])
    await alice.agent.setNetwork({ online: true })
    for (const body of ['one', 'two', 'three']) {
      const message = await bob.next('MSG', joinerId)
      expect(textOf(message.body)).toBe(body)
      await bob.agent.ackMessage({ connectionId: joinerId, messageId: message.messageId })
    }
    await world.until(() => told(alice, 'SENT').length === 3, 'every SENT')
    expect(world.clock.now() - watchedAt - minutes(20)).toBeLessThan(5_000)
  })

  it('B68 commands wait: a join and a deletion go on when the device is online', async () => {
    const { initiatorId } = await world.connect(alice, bob)
    const { link } = await bob.agent.createConnection({})
    await alice.agent.setNetwork({ online: false })
    cut('alice')
    watch()
    const { connectionId } = await alice.agent.joinConnection({ link })
    await alice.agent.deleteConnection({ connectionId: initiatorId })
    await world.clock.advance(minutes(20))
    expect(dials).toEqual([])
    expect(await alice.store.count(commands)).toBe(2)
    await alice.agent.setNetwork({ online: true })
    const onlineAt = world.clock.now()
    await alice.next('DEL_CONN', initiatorId)
    const conf = await bob.next('CONF')
    // At once, not when the time for one attempt has come anyway.
    expect(world.clock.now() - onlineAt).toBeLessThan(1_000)
    await world.clock.settle()
    await bob.agent.allowConnection({ connectionId: conf.connectionId, confirmationId: conf.confirmationId })
    await alice.next('CON', connectionId)
  })

  it('B68 stored calls are tried once; those that need the network wait for it then', async () => {
    const { initiatorId } = await world.connect(alice, bob)
    await alice.agent.setNetwork({ online: false })
    cut('alice')
    world.network.setReachable(place(), 'refuses')
    watch()
    await alice.agent.sendMessageAsync({ connectionId: initiatorId, body: 'later', correlationId: 'message' })
    expect((await alice.next('OK')).correlationId).toBe('message')
    expect(world.clock.now() - watchedAt).toBeLessThan(1_000)
    await alice.agent.createConnectionAsync({ correlationId: 'connection' })
    await world.clock.advance(minutes(20))
    expect(dials).toHaveLength(1)
    world.network.setReachable(place(), 'answers')
    await alice.agent.setNetwork({ online: true })
    const onlineAt = world.clock.now()
    expect((await alice.next('OK')).correlationId).toBe('connection')
    expect(world.clock.now() - onlineAt).toBeLessThan(1_000)
    await alice.next('SENT', initiatorId)
  })

  it('B68 calls that wait for their router are tried whatever the device says', async () => {
    await alice.agent.setNetwork({ online: false })
    const { connectionId } = await alice.agent.createConnection({})
    expect(dials).toHaveLength(1)
    cut('alice')
    expect((await alice.next('DOWN')).connectionIds).toEqual([connectionId])
  })

  it('B68 offline within 2 s after online is a flicker and ignored; later it counts', async () => {
    await world.connect(alice, bob)
    expect(await alice.agent.setNetwork({ online: true })).toEqual({ online: true })
    await world.clock.advance(2_000)
    expect(await alice.agent.setNetwork({ online: false })).toEqual({ online: true })
    cut('alice')
    await alice.next('UP')
    expect(await alice.agent.setNetwork({ online: false })).toEqual({ online: false })
    // Online counts at once, however short the other was.
    expect(await alice.agent.setNetwork({ online: true })).toEqual({ online: true })
    expect(await alice.agent.setNetwork({ online: false })).toEqual({ online: true })
    await world.clock.advance(2_001)
    expect(await alice.agent.setNetwork({ online: false })).toEqual({ online: false })
    cut('alice')
    watch()
    await world.clock.advance(minutes(10))
    expect(dials).toEqual([])
  })

  it('B04 B66 suspended, a lost session does not come back; in the foreground, it does at once', async () => {
    const { initiatorId } = await world.connect(alice, bob)
    await alice.agent.suspendAgent({ maxDelayMs: 1_000 })
    await world.clock.advance(2_000)
    cut('alice')
    watch()
    await world.clock.advance(minutes(120))
    expect(dials).toEqual([])
    await alice.agent.foregroundAgent({})
    await world.clock.advance(100)
    expect(dials).toEqual([minutes(120)])
    expect((await alice.next('UP')).connectionIds).toEqual([initiatorId])
  })

  it('B05 B68 an agent that is offline, with messages and commands that wait, is suspended as fast as one without', async () => {
    const { initiatorId } = await world.connect(alice, bob)
    const { link } = await bob.agent.createConnection({})
    await alice.agent.setNetwork({ online: false })
    cut('alice')
    await alice.agent.sendMessage({ connectionId: initiatorId, body: 'later' })
    await alice.agent.joinConnection({ link })
    await world.clock.advance(minutes(1))
    const before = world.clock.now()
    await alice.agent.suspendAgent({ maxDelayMs: 60_000 })
    await alice.next('SUSPENDED')
    expect(world.clock.now() - before).toBeLessThan(1_000)
    await alice.agent.setNetwork({ online: true })
    await alice.agent.foregroundAgent({})
    await alice.next('SENT', initiatorId)
    await bob.next('CONF')
  })

  it('B68 an agent that is offline closes at once, with everything that waits', async () => {
    const { initiatorId } = await world.connect(alice, bob)
    await alice.agent.setNetwork({ online: false })
    cut('alice')
    await alice.agent.sendMessage({ connectionId: initiatorId, body: 'later' })
    await world.clock.advance(minutes(1))
    watch()
    await alice.agent.close()
    await world.clock.advance(minutes(60))
    expect(dials).toEqual([])
    expect(await alice.store.reopen().count(deliveries)).toBe(1)
  })
})

describe('B68 the session mode', () => {
  const sessionsOf = (name: string): number => world.network.links({ from: name }).length

  it('B68 a change ends every session: DOWN, then UP; a session for each connection, and back', async () => {
    const first = await world.connect(alice, bob)
    const second = await world.connect(alice, bob)
    await say(alice, first.initiatorId, bob, 'before')
    expect(sessionsOf('alice')).toBe(1)
    expect(await alice.agent.setNetworkConfig({ sessionMode: 'entity' })).toMatchObject({ sessionMode: 'entity' })
    const down = await alice.next('DOWN')
    expect([...down.connectionIds].sort()).toEqual([first.initiatorId, second.initiatorId].sort())
    const ups = [await alice.next('UP'), await alice.next('UP')]
    expect(ups.map(({ connectionIds }) => connectionIds.length)).toEqual([1, 1])
    expect(sessionsOf('alice')).toBe(2)
    for (const { initiatorId, joinerId } of [first, second]) {
      await say(alice, initiatorId, bob, 'in a session of its own')
      await say(bob, joinerId, alice, 'and its answer')
    }
    expect(sessionsOf('alice')).toBe(2)
    await alice.agent.setNetworkConfig({ sessionMode: 'user' })
    await alice.next('DOWN')
    await alice.next('DOWN')
    const up = await alice.next('UP')
    expect([...up.connectionIds].sort()).toEqual([first.initiatorId, second.initiatorId].sort())
    expect(sessionsOf('alice')).toBe(1)
    for (const { initiatorId, joinerId } of [first, second]) {
      await say(alice, initiatorId, bob, 'together again')
      await say(bob, joinerId, alice, 'and its answer')
    }
    expect(told(alice, 'ERR', 'END', 'MERR')).toEqual([])
    expect(told(alice, 'UP', 'DOWN')).toHaveLength(6)
  })

  it('B68 each user has sessions of its own in every mode', async () => {
    await alice.agent.createUser({})
    for (const userId of [1, 2]) {
      await alice.agent.createConnection({ userId })
      await alice.agent.createConnection({ userId })
    }
    for (const [sessionMode, count] of [
      ['entity', 4],
      ['server', 2],
      ['user', 2],
      ['session', 2],
    ] as const) {
      const ups = told(alice, 'UP').length
      await alice.agent.setNetworkConfig({ sessionMode })
      await world.until(() => told(alice, 'UP').length === ups + count, `UP in ${sessionMode}`)
      expect(sessionsOf('alice')).toBe(count)
    }
  })

  it('B68 what is the same already changes nothing', async () => {
    await world.connect(alice, bob)
    expect(await alice.agent.setNetworkConfig({})).toEqual({
      sessionMode: 'session',
      proxyMode: 'never',
      proxyFallback: 'allow',
    })
    await alice.agent.setNetworkConfig({ sessionMode: 'session' })
    await world.clock.advance(minutes(1))
    expect(told(alice, 'DOWN', 'UP')).toEqual([])
    await expect(alice.agent.setNetworkConfig({ sessionMode: 'other' as 'user' })).rejects.toMatchObject({
      code: 'CMD_PARAMS',
      field: 'sessionMode',
    })
  })

  it('B68 the mode that the agent is opened with holds from the start, and its connections are subscribed in sessions of their own', async () => {
    await world.connect(alice, bob)
    await world.connect(alice, bob)
    alice = await start({ store: { open: alice.crash() }, network: { sessionMode: 'entity' } })
    const { results } = await alice.agent.subscribe({})
    expect(results.map(({ ok }) => ok)).toEqual([true, true])
    expect(sessionsOf('alice')).toBe(2)
    expect(await alice.agent.setNetworkConfig({})).toMatchObject({ sessionMode: 'entity' })
  })

  it('B68 the mode changes again and again during a handshake, at both sides: it completes, and both queues are read', async () => {
    let flips = true
    const flip = ({ agent, store }: TestAgent): void => {
      let commits = 0
      afterCommits(store, () => {
        commits++
        if (flips && commits % 3 === 0)
          void agent.setNetworkConfig({ sessionMode: commits % 2 === 0 ? 'entity' : 'user' })
      })
    }
    flip(bob)
    const { connectionId: initiatorId, link } = await alice.agent.createConnection({})
    flip(alice)
    const { connectionId: joinerId } = await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', initiatorId)
    await alice.agent.allowConnection({ connectionId: initiatorId, confirmationId })
    await alice.next('CON', initiatorId)
    await bob.next('CON', joinerId)
    await say(alice, initiatorId, bob, 'there')
    await say(bob, joinerId, alice, 'and back')
    flips = false
    for (const [{ agent }, connectionId] of [
      [alice, initiatorId],
      [bob, joinerId],
    ] as const) {
      const active = async () => (await agent.inspectConnection({ connectionId })).rcvQueues[0]?.subscription
      await world.clock.advance(10_000)
      expect(await active()).toBe('active')
    }
  })

  it('B68 messages that are on their way when the mode changes arrive once and in order', async () => {
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    const modes = ['entity', 'user', 'entity', 'server', 'session'] as const
    const sent: string[] = []
    for (const [index, sessionMode] of modes.entries()) {
      for (const part of ['a', 'b', 'c']) {
        const body = `${index}${part}`
        sent.push(body)
        await alice.agent.sendMessage({ connectionId: initiatorId, body })
      }
      await alice.agent.setNetworkConfig({ sessionMode })
    }
    const received: string[] = []
    while (received.length < sent.length) {
      const message = await bob.next('MSG', joinerId)
      expect(message.integrity).toEqual({ result: 'ok' })
      received.push(textOf(message.body))
      await bob.agent.ackMessage({ connectionId: joinerId, messageId: message.messageId })
    }
    expect(received).toEqual(sent)
    await world.until(() => told(alice, 'SENT').length === sent.length, 'every SENT')
    expect(told(alice, 'MERR', 'ERR')).toEqual([])
  })
})

it('B68 ★ only coming back is told as online, and only what is new as a change', async () => {
  const network = new Network({ clock: world.clock, config: defaultNetworkConfig, offlineDelayMs: 2_000 })
  const heard: string[] = []
  network.listen({ online: () => heard.push('online'), configured: ({ sessionMode }) => heard.push(sessionMode) })
  const said = async (online: boolean): Promise<string[]> => {
    network.setOnline(online)
    await world.clock.advance(minutes(1))
    return heard.splice(0)
  }
  expect(await said(true)).toEqual([])
  expect(await said(false)).toEqual([])
  expect(await said(false)).toEqual([])
  expect(await said(true)).toEqual(['online'])
  expect(await said(true)).toEqual([])
  network.configure({ ...defaultNetworkConfig })
  expect(heard).toEqual([])
  network.configure({ ...defaultNetworkConfig, sessionMode: 'entity' })
  expect(heard).toEqual(['session'])
})
