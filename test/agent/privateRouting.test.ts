/** Private routing by its settings: who sees whom, counted at the connections of the network. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SmpError } from '../../src/smp/protocol/routerErrors.js'
import { formatRouterAddress, parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import type { TestAgent } from '../support/agentWorld.js'
import type { DurableRouter } from '../support/durableRouter.js'
import { fakeRouter } from '../support/fakeRouter.js'
import {
  countsAt,
  forwards,
  hear,
  type PrivateWorld,
  privateWorld,
  proxiesOf,
  proxying,
  type RouterSetting,
  say,
  storing,
  told,
} from '../support/privateWorld.js'

let world: PrivateWorld
let home: DurableRouter
let proxy: DurableRouter
let relay: DurableRouter
beforeEach(async () => {
  world = await privateWorld()
  ;({ home, proxy, relay } = world)
})
afterEach(() => world.close())

/** Connects, sends three messages and gets one back. */
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
    const alice = await world.startAlice({ proxyMode }, which === 'known' ? known() : undefined)
    const bob = await world.startBob()
    await converse(alice, bob)
    expect(proxiesOf(alice)).toEqual(Array.from({ length: 3 }, () => (isProxied ? proxy.address : undefined)))
    // SKEY, the confirmation and three messages; what the proxy gets besides is its handshake and PRXY.
    expect(forwards(proxy)).toBe(isProxied ? 5 : 0)
    expect(world.blocksTo(proxy)).toBe(isProxied ? 7 : undefined)
    expect(world.blocksTo(relay)).toBe(isProxied ? undefined : 6)
    expect(await countsAt(alice, relay)).toEqual(
      isProxied ? { 'SKEY proxied': 1, 'SEND proxied': 4 } : { connect: 1, SKEY: 1, SEND: 4 },
    )
    expect(await countsAt(alice, proxy)).toEqual(isProxied ? { connect: 1, PRXY: 1, PFWD: 5 } : {})
    expect(told(alice, 'ERR', 'MERR', 'MWARN')).toEqual([])
  })

  it('B10 B49 holds for reading short links, of invitations and addresses, and for joining by them', async () => {
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await world.startBob()
    for (const mode of ['invitation', 'contact'] as const) {
      const { shortLink = '' } = await bob.agent.createConnection({ mode, linkData: { userData: mode } })
      expect(await alice.agent.getShortLink({ link: shortLink })).toMatchObject({ userData: Buffer.from(mode) })
      await alice.agent.joinConnection({ link: shortLink })
      await bob.next(mode === 'contact' ? 'REQ' : 'CONF')
    }
    expect(world.blocksTo(relay)).toBeUndefined()
    expect(await countsAt(alice, relay)).toMatchObject({ 'LKEY proxied': 2, 'LGET proxied': 2, 'SKEY proxied': 1 })
  })

  it.each(['alice', 'bob'] as const)('B49 holds for the whole handshake when %s begins it', async initiator => {
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    await converse(alice, await world.startBob(), initiator)
    expect(world.blocksTo(relay)).toBeUndefined()
    expect(forwards(proxy)).toBe(5)
  })

  it('B49 holds for invitations to contact addresses', async () => {
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await world.startBob()
    const { link } = await bob.agent.createConnection({ mode: 'contact' })
    const { connectionId } = await alice.agent.joinConnection({ link })
    const { invitationId } = await bob.next('REQ')
    await bob.agent.acceptContact({ invitationId })
    const { confirmationId } = await alice.next('CONF', connectionId)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await alice.next('CON', connectionId)
    expect(world.blocksTo(relay)).toBeUndefined()
    expect(await countsAt(alice, relay)).toMatchObject({ 'SEND proxied': 2, 'SKEY proxied': 1 })
  })

  it('B49 holds while the other party moves its queue to another router', async () => {
    const settings = [storing(home), proxying(proxy)]
    const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' }, settings)
    const second = await world.newRouter()
    await bob.agent.setRouters({ routers: [storing(second)] })
    await say(alice, atAlice, 'one')
    await bob.agent.switchConnection({ connectionId: atBob })
    await say(alice, atAlice, 'two')
    expect(await hear(bob, atBob, 2)).toEqual(['one', 'two'])
    await world.until(() => told(bob, 'SWITCH').some(({ phase }) => phase === 'completed'), 'the switch')
    await say(alice, atAlice, 'three')
    expect(await hear(bob, atBob, 1)).toEqual(['three'])
    expect([world.blocksTo(relay), world.blocksTo(second)]).toEqual([undefined, undefined])
    expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address, proxy.address])
    expect(await countsAt(alice, second)).toHaveProperty('SEND proxied')
  })

  it('B49 many connections share one session to the proxy and one PRXY', async () => {
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await world.startBob()
    const ids: Array<{ initiatorId: string; joinerId: string }> = []
    for (let index = 0; index < 12; index++) ids.push(await world.connect(alice, bob))
    const bodies = Array.from({ length: 6 }, (_, index) => `message ${index}`)
    await Promise.all(ids.map(({ initiatorId }) => say(alice, initiatorId, ...bodies)))
    for (const { joinerId } of ids) expect(await hear(bob, joinerId, 6)).toEqual(bodies)
    expect(await countsAt(alice, proxy)).toEqual({ connect: 1, PRXY: 1, PFWD: 12 * 8 })
    expect(proxy.current.stats().proxy).toMatchObject({ relays: 1, relayRequests: 1 })
  })

  it('B49 is never by default, and a wrong word is refused', async () => {
    const alice = await world.startAlice({})
    expect(await alice.agent.setNetworkConfig({})).toMatchObject({ proxyMode: 'never', proxyFallback: 'allow' })
    for (const field of ['proxyMode', 'proxyFallback'] as const) {
      const wrong = { [field]: 'sometimes' } as never
      await expect(alice.agent.setNetworkConfig(wrong)).rejects.toMatchObject({ code: 'CMD_PARAMS', field })
      await expect(world.startAlice(wrong)).rejects.toMatchObject({ code: 'CONFIG_INVALID', field: `network.${field}` })
    }
  })

  it('B49 changes between two messages without a new session, and order is kept', async () => {
    const alice = await world.startAlice({})
    const bob = await world.startBob()
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
    const alice = await world.startAlice({ proxyMode: 'always' }, [storing(home), sameRelay])
    const bob = await world.startBob()
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    await say(alice, initiatorId, 'no proxy but the relay itself')
    await hear(bob, joinerId, 1)
    await alice.agent.setRouters({ routers: [storing(home), sameRelay, proxying(proxy)] })
    await alice.agent.setNetworkConfig({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    await say(alice, initiatorId, 'to a router that is known')
    await hear(bob, joinerId, 1)
    await world.until(() => told(alice, 'SENT').length === 2, 'SENT')
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
    expect(world.blocksTo(proxy)).toBeUndefined()
  })

  it('B49 users have sessions of their own to a proxy, and in session mode entity so have connections', async () => {
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' })
    const bob = await world.startBob()
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
    expect(world.blocksTo(relay)).toBeUndefined()
  })
})

/** Messages are called, and what they wait for is told once. */
const waiting = async (alice: TestAgent, connectionId: string, code: string): Promise<void> => {
  await say(alice, connectionId, 'waits 1', 'waits 2')
  expect((await alice.next('MWARN', connectionId)).error.code).toBe(code)
  await world.clock.advance(600_000)
  expect(told(alice, 'SENT', 'MERR', 'MERRS')).toEqual([])
  expect(world.blocksTo(relay)).toBeUndefined()
}

/** What stands in the way of private routing for good. */
const obstacles: Record<string, { readonly code: string; readonly settings: () => Promise<RouterSetting[]> }> = {
  'no proxy': { code: 'PROXY_NONE', settings: async () => [storing(home)] },
  'a proxy that forwards to other domains only': {
    code: 'PROXY_BROKER_HOST',
    settings: async () => [storing(home), proxying(await world.newRouter({ proxy: { onlyDomains: ['example.org'] } }))],
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
    const { alice, bob, atAlice, atBob } = await world.connected()
    await alice.agent.setRouters({ routers: await settings() })
    await say(alice, atAlice, 'one', 'two')
    expect(await hear(bob, atBob, 2)).toEqual(['one', 'two'])
    await world.until(() => told(alice, 'SENT').length === 2, 'SENT')
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
    expect(world.blocksTo(relay)).toBeGreaterThan(0)
    expect(told(alice, 'MWARN', 'ERR', 'MERR')).toEqual([])
  })

  it.each(['allowProtected', 'prohibit'] as const)(
    'B49 %s: messages wait until there is a way',
    async proxyFallback => {
      const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback })
      await alice.agent.setRouters({ routers: await settings() })
      await waiting(alice, atAlice, code)
      const { sndQueues } = await alice.agent.inspectConnection({ connectionId: atAlice })
      expect(sndQueues[0]).toMatchObject({ waiting: 2, lastError: { code } })
      await alice.agent.setRouters({ routers: [storing(home), proxying(proxy)] })
      expect(await hear(bob, atBob, 2)).toEqual(['waits 1', 'waits 2'])
      expect(proxiesOf(alice)).toEqual([proxy.address, proxy.address])
      expect(world.blocksTo(relay)).toBeUndefined()
      expect(told(alice, 'MWARN')).toHaveLength(1)
    },
  )

  it('B49 prohibit: the steps of a handshake wait too, and ERR tells why', async () => {
    const alice = await world.startAlice({ proxyMode: 'unknown', proxyFallback: 'prohibit' }, await settings())
    const bob = await world.startBob()
    const { connectionId: atBob, link } = await bob.agent.createConnection({})
    const { connectionId } = await alice.agent.joinConnection({ link })
    expect(await alice.next('ERR', connectionId)).toMatchObject({ temporary: true, error: { code } })
    expect(world.blocksTo(relay)).toBeUndefined()
    await alice.agent.setRouters({ routers: [storing(home), proxying(proxy)] })
    const { confirmationId } = await bob.next('CONF', atBob)
    await bob.agent.allowConnection({ connectionId: atBob, confirmationId })
    await alice.next('CON', connectionId)
    expect(world.blocksTo(relay)).toBeUndefined()
  })

  it('B49 prohibit: what waits goes directly as soon as it may', async () => {
    const { alice, bob, atAlice, atBob } = await world.connected({ proxyFallback: 'prohibit' })
    await alice.agent.setRouters({ routers: await settings() })
    await waiting(alice, atAlice, code)
    const before = world.clock.now()
    await alice.agent.setNetworkConfig({ proxyFallback: 'allow' })
    expect(await hear(bob, atBob, 2)).toEqual(['waits 1', 'waits 2'])
    expect(world.clock.now() - before).toBeLessThan(1_000)
    expect(proxiesOf(alice)).toEqual([undefined, undefined])
  })
})
