/** Three routers for private routing: Alice's own queues are at `home`, she sends through `proxy`, and Bob's queues are at `relay`. */
import type { ParamsOf } from '../../src/agent/api/calls.js'
import type { NetworkConfig } from '../../src/agent/network.js'
import type { AgentEvent, AgentOptions } from '../../src/index.js'
import type { RouterOptions } from '../../src/router/router.js'
import { portOf } from '../../src/smp/protocol/routerAddress.js'
import type { Dialer } from '../../src/smp/transport/port.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from './agentWorld.js'
import { type DurableRouter, durableRouter } from './durableRouter.js'

export type RouterSetting = ParamsOf<'setRouters'>['routers'][number]

export interface PrivateWorld extends AgentWorld {
  readonly home: DurableRouter
  readonly proxy: DurableRouter
  relay: DurableRouter
  newRouter(settings?: RouterOptions['settings']): Promise<DurableRouter>
  /** By default with a proxy that has no other role. */
  startAlice(
    network: Partial<NetworkConfig>,
    settings?: readonly RouterSetting[],
    options?: Partial<AgentOptions>,
  ): Promise<TestAgent>
  startBob(options?: Partial<AgentOptions>): Promise<TestAgent>
  /** A connection that is made while Alice sends to unknown routers through her proxies. */
  connected(
    network?: Partial<NetworkConfig>,
    settings?: readonly RouterSetting[],
  ): Promise<{ alice: TestAgent; bob: TestAgent; atAlice: string; atBob: string }>
  /** Blocks that Alice has sent to a router herself; undefined when she has never dialled it. */
  blocksTo(router: DurableRouter): number | undefined
}

export const privateWorld = async (): Promise<PrivateWorld> => {
  const world = agentWorld()
  const routers: DurableRouter[] = []
  const blocks = new Map<string, number>()

  const newRouter = async (settings?: RouterOptions['settings']): Promise<DurableRouter> => {
    const router = await durableRouter(world, settings)
    routers.push(router)
    return router
  }
  const [home, proxy, relay] = [await newRouter(), await newRouter(), await newRouter()]

  const countingDialer = (): Dialer => {
    const dialer = world.network.dialer('alice')
    return {
      dial: async (router, how) => {
        const place = `localhost:${portOf(router)}`
        const count = (more: number): void => void blocks.set(place, (blocks.get(place) ?? 0) + more)
        count(0)
        const channel = await dialer.dial(router, how)
        const send = channel.send.bind(channel)
        return Object.assign(channel, {
          send: (block: Parameters<typeof send>[0]): ReturnType<typeof send> => {
            count(1)
            return send(block)
          },
        })
      },
    }
  }

  const own: PrivateWorld = {
    ...world,
    home,
    proxy,
    relay,
    newRouter,
    startAlice: async (network, settings = [storing(home), proxying(proxy)], options = {}) => {
      const alice = await world.startAgent('alice', [home.router], { dialer: countingDialer(), network, ...options })
      await alice.agent.setRouters({ routers: [...settings] })
      return alice
    },
    startBob: (options = {}) => world.startAgent('bob', [own.relay.router], options),
    connected: async (network = {}, settings) => {
      const alice = await own.startAlice({ proxyMode: 'unknown', ...network }, settings)
      const bob = await own.startBob()
      const { initiatorId, joinerId } = await world.connect(alice, bob)
      return { alice, bob, atAlice: initiatorId, atBob: joinerId }
    },
    blocksTo: ({ place }) => blocks.get(place),
    close: async () => {
      await world.close()
      for (const router of routers) await router.stop()
    },
  }
  return own
}

export const storing = ({ address }: DurableRouter): RouterSetting => ({ address, proxy: false })
export const proxying = ({ address }: DurableRouter): RouterSetting => ({ address, storage: false })

export const say = async ({ agent }: TestAgent, connectionId: string, ...bodies: string[]): Promise<void> => {
  for (const body of bodies) await agent.sendMessage({ connectionId, body })
}

/** The bodies of the next messages, each of them whole and in order, acknowledged. */
export const hear = async (party: TestAgent, connectionId: string, count: number): Promise<string[]> => {
  const bodies: string[] = []
  while (bodies.length < count) {
    const message = await party.next('MSG', connectionId)
    if (message.integrity.result !== 'ok') throw new Error(`a message came with ${message.integrity.result}`)
    bodies.push(textOf(message.body))
    await party.agent.ackMessage({ connectionId, messageId: message.messageId })
  }
  return bodies
}

export const told = <T extends AgentEvent['type']>({ events }: TestAgent, ...types: T[]) =>
  events.filter((event): event is Extract<AgentEvent, { type: T }> => (types as string[]).includes(event.type))

/** What each SENT names as proxy. */
export const proxiesOf = (party: TestAgent): Array<string | undefined> => told(party, 'SENT').map(({ proxy }) => proxy)

/** Commands that a router has forwarded for others. */
export const forwards = ({ current }: DurableRouter): number => current.stats().proxy.forwards

export const countsAt = async ({ agent }: TestAgent, { address }: DurableRouter): Promise<Record<string, number>> => {
  const { statistics } = await agent.getStatistics({})
  return statistics.find(({ router }) => router === address)?.counts ?? {}
}
