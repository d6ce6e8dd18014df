/** Private routing of the agent: who sees whom, counted at the connections of the network, and that nothing is lost, repeated or swapped. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent, AgentEvent, AgentOptions } from '../../src/index.js'
import { systemRandom } from '../../src/crypto/index.js'
import type { ParamsOf } from '../../src/agent/api/calls.js'
import type { NetworkConfig } from '../../src/agent/network.js'
import { generateCertificates, identityOf } from '../../src/router/certificates.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import { type RouterOptions, startRouter } from '../../src/router/router.js'
import type { SmpError } from '../../src/smp/protocol/routerErrors.js'
import { formatRouterAddress, parseRouterAddress, portOf } from '../../src/smp/protocol/routerAddress.js'
import type { Dialer } from '../../src/smp/transport/port.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { virtualEpoch } from '../../src/testing/virtualClock.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { type DurableRouter, durableRouter } from '../support/durableRouter.js'
import { fakeRouter } from '../support/fakeRouter.js'

let world: AgentWorld
/** Alice's own queues are at `home`, she sends through `proxy`, and Bob's queues are at `relay`. */
let home: DurableRouter
let proxy: DurableRouter
let relay: DurableRouter
let routers: DurableRouter[]
/** Blocks that an agent has sent to a router, as `name host:port`; a connection counts even if nothing was sent. */
let blocks: Map<string, number>

beforeEach(async () => {
  world = agentWorld()
  routers = []
  blocks = new Map()
  home = await newRouter()
  proxy = await newRouter()
  relay = await newRouter()
})
afterEach(async () => {
  await world.close()
  for (const router of routers) await router.stop()
})

const newRouter = async (settings?: RouterOptions['settings']): Promise<DurableRouter> => {
  const router = await durableRouter(world, settings)
  routers.push(router)
  return router
}

const countingDialer = (name: string): Dialer => {
  const dialer = world.network.dialer(name)
  return {
    dial: async (router, how) => {
      const key = `${name} localhost:${portOf(router)}`
      const count = (more: number): void => void blocks.set(key, (blocks.get(key) ?? 0) + more)
      count(0)
      const channel = await dialer.dial(router, how)
      const { send } = channel
      return Object.assign(channel, {
        send: (block: never): void => {
          count(1)
          send.call(channel, block)
        },
      })
    },
  }
}
/** Undefined: never dialled. */
const blocksTo = (name: string, { place }: DurableRouter): number | undefined => blocks.get(`${name} ${place}`)

type RouterSetting = ParamsOf<'setRouters'>['routers'][number]
const storing = ({ address }: DurableRouter): RouterSetting => ({ address, proxy: false })
const proxying = ({ address }: DurableRouter): RouterSetting => ({ address, storage: false })

const startAlice = async (
  network: Partial<NetworkConfig>,
  settings: readonly RouterSetting[] = [storing(home), proxying(proxy)],
  options: Partial<AgentOptions> = {},
): Promise<TestAgent> => {
  const alice = await world.startAgent('alice', [home.router], { dialer: countingDialer('alice'), network, ...options })
  await alice.agent.setRouters({ routers: [...settings] })
  return alice
}
const startBob = (options: Partial<AgentOptions> = {}): Promise<TestAgent> =>
  world.startAgent('bob', [relay.router], options)

const say = async ({ agent }: TestAgent, connectionId: string, ...bodies: string[]): Promise<void> => {
  for (const body of bodies) await agent.sendMessage({ connectionId, body })
}
const hear = async (party: TestAgent, connectionId: string, count: number): Promise<string[]> => {
  const bodies: string[] = []
  while (bodies.length < count) {
    const message = await party.next('MSG', connectionId)
    expect(message.integrity).toEqual({ result: 'ok' })
    bodies.push(textOf(message.body))
    await party.agent.ackMessage({ connectionId, messageId: message.messageId })
  }
  return bodies
}
const told = <T extends AgentEvent['type']>({ events }: TestAgent, ...types: T[]) =>
  events.filter((event): event is Extract<AgentEvent, { type: T }> => (types as string[]).includes(event.type))
const proxiesOf = (party: TestAgent): Array<string | undefined> => told(party, 'SENT').map(({ proxy }) => proxy)
const forwards = ({ current }: DurableRouter): number => current.stats().proxy.forwards
const countsAt = async ({ agent }: { agent: Agent }, { address }: DurableRouter): Promise<Record<string, number>> => {
  const { statistics } = await agent.getStatistics({})
  return statistics.find(({ router }) => router === address)?.counts ?? {}
}

/** Connects and sends three messages one after the other, and one back. */
const converse = async (alice: TestAgent, bob: TestAgent, initiator: 'alice' | 'bob' = 'alice'): Promise<string> => {
  const [first, second] = initiator === 'alice' ? [alice, bob] : [bob, alice]
  const { initiatorId, joinerId } = await world.connect(first, second)
  const [atAlice, atBob] = initiator === 'alice' ? [initiatorId, joinerId] : [joinerId, initiatorId]
  await say(alice, atAlice, 'one', 'two', 'three')
  expect(await hear(bob, atBob, 3)).toEqual(['one', 'two', 'three'])
  await say(bob, atBob, 'back')
  expect(await hear(alice, atAlice, 1)).toEqual(['back'])
  await world.until(() => told(alice, 'SENT').length === 3, 'SENT')
  return atAlice
}

const known = (): RouterSetting[] => [storing(home), proxying(proxy), { ...storing(relay), storage: false }]

describe('B49 the proxy mode', () => {
  it.each([
    ['never', 'unknown', false],
    ['unknown', 'unknown', true],
    ['unprotected', 'unknown', true],
    ['always', 'unknown', true],
    ['never', 'known', false],
    ['unknown', 'known', false],
    ['unprotected', 'known', false],
    ['always', 'known', true],
  ] as const)('B49 %s, to an %s router: proxied %s', async (proxyMode, which, isProxied) => {
    const alice = await startAlice({ proxyMode }, which === 'known' ? known() : undefined)
    const bob = await startBob()
    await converse(alice, bob)
    expect(proxiesOf(alice)).toEqual(Array.from({ length: 3 }, () => (isProxied ? proxy.address : undefined)))
    // SKEY, the confirmation and three messages; what the proxy gets besides is its handshake and PRXY.
    expect(forwards(proxy)).toBe(isProxied ? 5 : 0)
    expect(blocksTo('alice', proxy)).toBe(isProxied ? 7 : undefined)
    expect(blocksTo('alice', relay)).toBe(isProxied ? undefined : 6)
    expect(await countsAt(alice, relay)).toEqual(
      isProxied ? { 'SKEY proxied': 1, 'SEND proxied': 4 } : { connect: 1, SKEY: 1, SEND: 4 },
    )
    expect(await countsAt(alice, proxy)).toEqual(isProxied ? { connect: 1, PRXY: 1, PFWD: 5 } : {})
    expect(told(alice, 'ERR', 'MERR', 'MWARN')).toEqual([])
  })

  it.each(['alice', 'bob'] as const)('B49 holds for the whole handshake when %s begins it', async initiator => {
    const alice = await startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    await converse(alice, await startBob(), initiator)
    expect(blocksTo('alice', relay)).toBeUndefined()
    expect(forwards(proxy)).toBe(5)
  })

  it('B49 holds for invitations to contact addresses', async () => {
    const alice = await startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await startBob()
    const { link } = await bob.agent.createConnection({ mode: 'contact' })
    const { connectionId } = await alice.agent.joinConnection({ link })
    const { invitationId } = await bob.next('REQ')
    await bob.agent.acceptContact({ invitationId })
    const { confirmationId } = await alice.next('CONF', connectionId)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await alice.next('CON', connectionId)
    expect(blocksTo('alice', relay)).toBeUndefined()
    expect(await countsAt(alice, relay)).toMatchObject({ 'SEND proxied': 2, 'SKEY proxied': 1 })
  })

  it('B49 is never by default, and a wrong word is refused', async () => {
    const alice = await startAlice({})
    expect(await alice.agent.setNetworkConfig({})).toMatchObject({ proxyMode: 'never', proxyFallback: 'allow' })
    for (const field of ['proxyMode', 'proxyFallback'] as const) {
      const wrong = { [field]: 'sometimes' } as never
      await expect(alice.agent.setNetworkConfig(wrong)).rejects.toMatchObject({ code: 'CMD_PARAMS', field })
      await expect(startAlice(wrong)).rejects.toMatchObject({ code: 'CONFIG_INVALID', field: `network.${field}` })
    }
  })

  it('B49 changes between two messages without a new session, and order is kept', async () => {
    const alice = await startAlice({})
    const bob = await startBob()
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    const modes = ['always', 'never', 'unknown', 'never', 'always', 'never'] as const
    const sent: string[] = []
    for (const [index, proxyMode] of modes.entries()) {
      for (const part of ['a', 'b', 'c']) {
        sent.push(`${index}${part}`)
        await say(alice, initiatorId, `${index}${part}`)
      }
      // Now and then after a round trip or two, so that some of them are on their way.
      if (index % 2 === 0) await world.clock.settle()
      await alice.agent.setNetworkConfig({ proxyMode })
    }
    expect(await hear(bob, joinerId, sent.length)).toEqual(sent)
    await world.until(() => told(alice, 'SENT').length === sent.length, 'SENT')
    expect(new Set(proxiesOf(alice))).toEqual(new Set([undefined, proxy.address]))
    expect(told(alice, 'DOWN', 'UP', 'ERR', 'MWARN', 'MERR')).toEqual([])
  })

  it('B49 routers are known by any of their hosts, and none is its own proxy', async () => {
    const { port, keyHash } = parseRouterAddress(relay.address)
    const twoHosts = formatRouterAddress({ keyHash, port, hosts: ['elsewhere', 'localhost'] })
    const sameRelay: RouterSetting = { address: twoHosts, storage: false }
    const alice = await startAlice({ proxyMode: 'always' }, [storing(home), sameRelay])
    const bob = await startBob()
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    await say(alice, initiatorId, 'no proxy but the relay itself')
    await hear(bob, joinerId, 1)
    await alice.agent.setRouters({ routers: [storing(home), sameRelay, proxying(proxy)] })
    await alice.agent.setNetworkConfig({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    await say(alice, initiatorId, 'to a router that is known')
    await hear(bob, joinerId, 1)
    await world.until(() => told(alice, 'SENT').length === 2, 'SENT')
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
    expect(blocksTo('alice', proxy)).toBeUndefined()
  })

  it('B49 users have sessions of their own to a proxy, and in session mode entity so have connections', async () => {
    const alice = await startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await startBob()
    const toProxy = (): number => world.network.links({ from: 'alice', place: proxy.place }).length
    await world.connect(alice, bob)
    await world.connect(alice, bob)
    expect(toProxy()).toBe(1)
    const { userId } = await alice.agent.createUser({ routers: [storing(home), proxying(proxy)] })
    const { link } = await bob.agent.createConnection({})
    await alice.agent.joinConnection({ userId, link })
    await bob.next('CONF')
    expect(toProxy()).toBe(2)
    await alice.agent.setNetworkConfig({ sessionMode: 'entity' })
    const first = await world.connect(alice, bob)
    const second = await world.connect(alice, bob)
    await say(alice, first.initiatorId, 'first')
    await say(alice, second.initiatorId, 'second')
    await hear(bob, first.joinerId, 1)
    await hear(bob, second.joinerId, 1)
    expect(toProxy()).toBe(2)
    expect(blocksTo('alice', relay)).toBeUndefined()
  })
})

/** Messages are called, and what they wait for is told once. */
const waiting = async (alice: TestAgent, connectionId: string, code: string): Promise<void> => {
  await say(alice, connectionId, 'waits 1', 'waits 2')
  expect((await alice.next('MWARN', connectionId)).error.code).toBe(code)
  await world.clock.advance(600_000)
  expect(told(alice, 'SENT', 'MERR', 'MERRS')).toEqual([])
  expect(blocksTo('alice', relay)).toBeUndefined()
}

/** A connection that was made while Alice sent through `proxy`. */
const connected = async (network: Partial<NetworkConfig> = {}, settings?: readonly RouterSetting[]) => {
  const alice = await startAlice({ proxyMode: 'unknown', ...network }, settings)
  const bob = await startBob()
  const { initiatorId, joinerId } = await world.connect(alice, bob)
  return { alice, bob, atAlice: initiatorId, atBob: joinerId }
}

/** What stands in the way of private routing for good. */
const obstacles: Record<string, { readonly code: string; readonly settings: () => Promise<RouterSetting[]> }> = {
  'no proxy': { code: 'PROXY_NONE', settings: async () => [storing(home)] },
  'a proxy that forwards to other domains only': {
    code: 'PROXY_BROKER_HOST',
    settings: async () => [storing(home), proxying(await newRouter({ proxy: { onlyDomains: ['example.org'] } }))],
  },
  'a proxy that is too old': {
    code: 'TRANSPORT_VERSION',
    settings: async () => [storing(home), await fakeProxy({ min: 6, max: 13 })],
  },
  'a relay that is too old for the proxy': {
    code: 'PROXY_BROKER_TRANSPORT_VERSION',
    settings: async () => [storing(home), await answeringProxy(brokerError({ type: 'TRANSPORT', error: 'VERSION' }))],
  },
}

const fakeProxy = async (versionRange: { min: number; max: number }, error?: SmpError): Promise<RouterSetting> => {
  const { address } = await fakeRouter({
    clock: world.clock,
    network: world.network,
    host: 'old',
    versionRange,
    onSession: session => {
      session.onCommand = to =>
        session.send({ to, response: error === undefined ? { type: 'PONG' } : { type: 'ERR', error } })
    },
  })
  return { address: formatRouterAddress(address), storage: false }
}
const answeringProxy = (error: SmpError): Promise<RouterSetting> => fakeProxy({ min: 6, max: 18 }, error)
const brokerError = (broker: unknown): SmpError =>
  ({ type: 'PROXY', error: { type: 'BROKER', error: broker } }) as never

describe.each(Object.entries(obstacles))('B49 the fallback, with %s', (_, { code, settings }) => {
  it('B49 allow: messages go directly, and SENT says so', async () => {
    const { alice, bob, atAlice, atBob } = await connected()
    await alice.agent.setRouters({ routers: await settings() })
    await say(alice, atAlice, 'one', 'two')
    expect(await hear(bob, atBob, 2)).toEqual(['one', 'two'])
    await world.until(() => told(alice, 'SENT').length === 2, 'SENT')
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
    expect(blocksTo('alice', relay)).toBeGreaterThan(0)
    expect(told(alice, 'MWARN', 'ERR', 'MERR')).toEqual([])
  })

  it.each(['allowProtected', 'prohibit'] as const)(
    'B49 %s: messages wait until there is a way',
    async proxyFallback => {
      const { alice, bob, atAlice, atBob } = await connected({ proxyFallback })
      await alice.agent.setRouters({ routers: await settings() })
      await waiting(alice, atAlice, code)
      const { sndQueues } = await alice.agent.inspectConnection({ connectionId: atAlice })
      expect(sndQueues[0]).toMatchObject({ waiting: 2, lastError: { code } })
      await alice.agent.setRouters({ routers: [storing(home), proxying(proxy)] })
      expect(await hear(bob, atBob, 2)).toEqual(['waits 1', 'waits 2'])
      expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address])
      expect(blocksTo('alice', relay)).toBeUndefined()
      expect(told(alice, 'MWARN')).toHaveLength(1)
    },
  )

  it('B49 prohibit: what waits goes directly as soon as it may', async () => {
    const { alice, bob, atAlice, atBob } = await connected({ proxyFallback: 'prohibit' })
    await alice.agent.setRouters({ routers: await settings() })
    await waiting(alice, atAlice, code)
    const before = world.clock.now()
    await alice.agent.setNetworkConfig({ proxyFallback: 'allow' })
    expect(await hear(bob, atBob, 2)).toEqual(['waits 1', 'waits 2'])
    expect(world.clock.now() - before).toBeLessThan(1_000)
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
  })
})

describe('B49 what is only away is waited for, whatever the fallback', () => {
  it('B49 the one proxy is down: messages wait and arrive once, in order', async () => {
    const { alice, bob, atAlice, atBob } = await connected()
    await proxy.stop()
    await say(alice, atAlice, 'one', 'two')
    await world.clock.advance(60_000)
    await proxy.start()
    await say(alice, atAlice, 'three')
    expect(await hear(bob, atBob, 3)).toEqual(['one', 'two', 'three'])
    expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address, proxy.address])
    expect(blocksTo('alice', relay)).toBeUndefined()
    expect(told(alice, 'MERR', 'ERR')).toEqual([])
  })

  it('B49 of two proxies one is down: the next attempt goes through the other', async () => {
    const other = await newRouter()
    const settings = [storing(home), proxying(proxy), proxying(other)]
    const { alice, bob, atAlice, atBob } = await connected({ proxyFallback: 'prohibit' }, settings)
    await say(alice, atAlice, 'zero')
    expect(await hear(bob, atBob, 1)).toEqual(['zero'])
    const [used] = proxiesOf(alice)
    const [down, up] = used === proxy.address ? [proxy, other] : [other, proxy]
    await down.stop()
    world.network.setReachable(down.place, 'refuses')
    const before = world.clock.now()
    await say(alice, atAlice, 'one', 'two')
    expect(await hear(bob, atBob, 2)).toEqual(['one', 'two'])
    expect(world.clock.now() - before).toBeLessThan(5_000)
    expect(proxiesOf(alice)).toEqual([down.address, up.address, up.address])
    expect(blocksTo('alice', relay)).toBeUndefined()
  })

  it('B49 the relay is down: messages wait and arrive once, in order, through the proxy', async () => {
    const { alice, bob, atAlice, atBob } = await connected()
    await relay.stop()
    await say(alice, atAlice, 'one', 'two')
    await world.clock.advance(120_000)
    await relay.start()
    await say(alice, atAlice, 'three')
    expect(await hear(bob, atBob, 3)).toEqual(['one', 'two', 'three'])
    expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address, proxy.address])
    expect(blocksTo('alice', relay)).toBeUndefined()
    expect(told(alice, 'MERR', 'ERR')).toEqual([])
  })

  it('B49 the relay has restarted: the proxy has no session, and the same attempt makes a new one', async () => {
    const { alice, bob, atAlice, atBob } = await connected()
    await relay.stop()
    await relay.start()
    await world.clock.settle()
    const before = world.clock.now()
    await say(alice, atAlice, 'one')
    await world.until(() => told(alice, 'SENT').length === 1, 'SENT')
    expect(world.clock.now() - before).toBeLessThan(1_000)
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(await countsAt(alice, proxy)).toMatchObject({ PRXY: 2, 'PFWD PROXY_NO_SESSION': 1 })
  })

  it('B49 another router shows its certificate in place of the relay: nothing goes there, nor directly', async () => {
    const { alice, bob, atAlice, atBob } = await connected()
    await relay.stop()
    const port = Number(relay.place.split(':')[1])
    const identity = identityOf(await generateCertificates({ host: 'localhost', now: virtualEpoch }))
    const impostor = await startRouter({
      identity,
      listeners: [{ listen: world.network.listen, host: 'localhost', port }],
      queues: openMemoryStore(),
      messages: memoryLog(),
      dialer: world.network.dialer('impostor'),
      clock: world.clock,
    })
    await say(alice, atAlice, 'one')
    await world.clock.advance(300_000)
    expect(impostor.stats().forwardsReceived).toBe(0)
    expect(told(alice, 'SENT', 'MERR')).toEqual([])
    expect(blocksTo('alice', relay)).toBeUndefined()
    await impostor.close()
    await relay.start()
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(proxiesOf(alice)).toEqual([proxy.address])
  })

  it('B49 an answer that does not come in time leaves the message waiting; it is not delivered twice', async () => {
    const { alice, bob, atAlice, atBob } = await connected()
    for (const link of world.network.links({ from: 'alice', place: proxy.place })) link.halt('toClient')
    await say(alice, atAlice, 'one')
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(told(alice, 'SENT')).toEqual([])
    await alice.agent.setNetworkConfig({ proxyMode: 'never' })
    await say(alice, atAlice, 'two')
    expect(await hear(bob, atBob, 1)).toEqual(['two'])
    await world.until(() => told(alice, 'SENT').length === 2, 'SENT')
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
    expect(told(bob, 'MSG')).toHaveLength(2)
  })
})

describe('B49 the permission of a proxy', () => {
  const withPassword = ({ address }: DurableRouter, password: string): RouterSetting => ({
    address: address.replace(':secret@', `:${password}@`),
    storage: false,
  })

  it('B49 the password of the address opens it, and SENT does not show it', async () => {
    const guarded = await newRouter({ password: 'secret' })
    const { alice, bob, atAlice, atBob } = await connected({ proxyFallback: 'prohibit' }, [
      storing(home),
      withPassword(guarded, 'secret'),
    ])
    await say(alice, atAlice, 'one')
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(proxiesOf(alice)).toEqual([guarded.address.replace(':secret', '')])
    expect(guarded.current.stats().proxy.forwards).toBe(3)
    expect(JSON.stringify(alice.events)).not.toContain('secret')
  })

  it('B49 a proxy that refuses fails the message for good, also where it might go directly; another password counts at once', async () => {
    const guarded = await newRouter({ password: 'secret' })
    const { alice, bob, atAlice, atBob } = await connected()
    await alice.agent.setRouters({ routers: [storing(home), withPassword(guarded, 'wrong')] })
    await say(alice, atAlice, 'refused')
    expect((await alice.next('MERR')).error.code).toBe('PROXY_BASIC_AUTH')
    expect(blocksTo('alice', relay)).toBeUndefined()
    await alice.agent.setRouters({ routers: [storing(home), withPassword(guarded, 'secret')] })
    await say(alice, atAlice, 'taken')
    const message = await bob.next('MSG', atBob)
    expect(textOf(message.body)).toBe('taken')
    expect(world.network.links({ from: 'alice', place: guarded.place })).toHaveLength(1)
  })

  it('B49 of two proxies one refuses: the other is asked at once', async () => {
    const guarded = await newRouter({ password: 'secret' })
    const settings = [storing(home), withPassword(guarded, 'wrong'), proxying(proxy)]
    // Of several routers always the first one is picked.
    const random = (length: number): Uint8Array => (length === 4 ? Buffer.alloc(4) : systemRandom(length))
    const alice = await startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' }, settings, { random })
    const bob = await startBob()
    const before = world.clock.now()
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    await say(alice, initiatorId, 'one', 'two')
    expect(await hear(bob, joinerId, 2)).toEqual(['one', 'two'])
    expect(world.clock.now() - before).toBeLessThan(5_000)
    expect(guarded.current.stats().proxy.forwards).toBe(0)
    expect(world.network.links({ from: 'alice', place: guarded.place })).toHaveLength(1)
    expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address])
    expect(told(alice, 'ERR', 'MERR', 'MWARN')).toEqual([])
    expect(blocksTo('alice', relay)).toBeUndefined()
  })
})

describe('B49 what the relay answers through a proxy counts as what it answers', () => {
  it('B49 QUOTA: the message waits for room, and everything arrives in order', async () => {
    await relay.stop()
    relay = await newRouter({ messageQuota: 2 })
    const { alice, bob, atAlice, atBob } = await connected({ proxyFallback: 'prohibit' })
    await say(alice, atAlice, 'one', 'two', 'three', 'four', 'five')
    expect((await alice.next('MWARN')).error.code).toBe('QUOTA')
    expect(await countsAt(alice, relay)).toMatchObject({ 'SEND QUOTA': 1 })
    expect(await hear(bob, atBob, 5)).toEqual(['one', 'two', 'three', 'four', 'five'])
    expect(await alice.next('QCONT')).toBeDefined()
    expect(proxiesOf(alice)).toHaveLength(5)
    expect(blocksTo('alice', relay)).toBeUndefined()
  })

  it('B49 AUTH: the queue is gone, and the message fails at once', async () => {
    const { alice, bob, atAlice, atBob } = await connected()
    await bob.agent.deleteConnection({ connectionId: atBob })
    await bob.next('DEL_CONN')
    await say(alice, atAlice, 'too late')
    expect((await alice.next('MERR')).error.code).toBe('AUTH')
    expect(blocksTo('alice', relay)).toBeUndefined()
    expect(await countsAt(alice, relay)).toMatchObject({ 'SEND AUTH': 1 })
    // The proxy is not to blame, and stays.
    expect(await countsAt(alice, proxy)).toMatchObject({ PRXY: 1 })
  })

  it('B49 AUTH in a handshake ends its step with ERR', async () => {
    const alice = await startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await startBob()
    const { connectionId, link } = await bob.agent.createConnection({})
    await bob.agent.deleteConnection({ connectionId })
    await bob.next('DEL_CONN')
    await alice.agent.joinConnection({ link })
    expect((await alice.next('ERR')).error.code).toBe('AUTH')
    expect(blocksTo('alice', relay)).toBeUndefined()
  })
})

describe('B49 restarts', () => {
  it('B49 of proxy, relay, sender and recipient: every message arrives once, in order, and SENT names the proxy', async () => {
    let { alice, bob, atAlice, atBob } = await connected({ proxyFallback: 'prohibit' })
    const sent: string[] = []
    const heard: string[] = []
    const speak = async (...bodies: string[]): Promise<void> => {
      sent.push(...bodies)
      await say(alice, atAlice, ...bodies)
    }
    await speak('1', '2')
    await proxy.stop()
    await speak('3')
    await proxy.start()
    await speak('4')
    await relay.stop()
    await speak('5', '6')
    await relay.start()
    heard.push(...(await hear(bob, atBob, 6)))
    await world.until(() => told(alice, 'SENT').length === 6, 'SENT')
    await speak('7', '8')
    const named = proxiesOf(alice)
    alice = await startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' }, undefined, {
      store: { open: alice.crash() },
    })
    await alice.agent.subscribe({})
    await speak('9')
    bob = await startBob({ store: { open: bob.crash() } })
    await bob.agent.subscribe({})
    heard.push(...(await hear(bob, atBob, 3)))
    expect(heard).toEqual(sent)
    const ids = (): number => new Set(told(alice, 'SENT').map(({ messageId }) => messageId)).size
    await world.until(() => ids() === 9, 'SENT of all')
    expect(new Set([...named, ...proxiesOf(alice)])).toEqual(new Set([proxy.address]))
    expect(blocksTo('alice', relay)).toBeUndefined()
    expect(told(alice, 'MERR', 'ERR')).toEqual([])
  })

  it('B49 kills of the sender at different moments lose nothing and repeat nothing', async () => {
    let { alice, bob, atAlice, atBob } = await connected({ proxyFallback: 'prohibit' })
    const sent: string[] = []
    for (let round = 0; round < 8; round++) {
      for (let index = 0; index < 4; index++) {
        const body = `${round} ${index}`
        sent.push(body)
        await say(alice, atAlice, body)
      }
      for (let turn = 0; turn < 5 * round; turn++) await new Promise(setImmediate)
      alice = await startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' }, undefined, {
        store: { open: alice.crash() },
      })
    }
    expect(await hear(bob, atBob, sent.length)).toEqual(sent)
    await world.clock.advance(60_000)
    expect(told(bob, 'MSG')).toHaveLength(sent.length)
    expect(blocksTo('alice', relay)).toBeUndefined()
  })

  it('B49 a proxy whose session was idle and closed is connected again', async () => {
    const { alice, bob, atAlice, atBob } = await connected({ proxyFallback: 'prohibit' })
    await world.clock.advance(900_000)
    expect(world.network.links({ from: 'alice', place: proxy.place })).toEqual([])
    await say(alice, atAlice, 'one')
    expect(await hear(bob, atBob, 1)).toEqual(['one'])
    expect(proxiesOf(alice)).toEqual([proxy.address])
  })
})
