/** A world with one scripted router, an agent `alice` on it and a hand-made peer that has joined alice’s invitation. */
import type { AgentOptions } from '../../src/index.js'
import { type AgentWorld, agentWorld, type TestAgent } from './agentWorld.js'
import { type BarePeer, barePeer, type BarePeerOptions } from './barePeer.js'
import {
  type ScriptedQueue,
  type ScriptedRouter,
  scriptedRouter,
  type ScriptedRouterOptions,
} from './scriptedRouter.js'

export interface ScriptedWorld extends AgentWorld {
  readonly router: ScriptedRouter
  /** An agent that makes its queues on the scripted router. */
  start(name: string, options?: Partial<AgentOptions>): Promise<TestAgent>
  /** Breaks an agent's connections to the router: it reconnects by itself. */
  cut(name: string): void
  /** A peer at the other end of a new connection of `agent`, which has got CONF. */
  invite(agent: TestAgent, how?: Partial<BarePeerOptions>): Promise<Invited>
  /** The same, allowed and complete. */
  befriend(agent: TestAgent): Promise<Invited>
}

export interface Invited {
  readonly peer: BarePeer
  readonly connectionId: string
  readonly confirmationId: string
  /** The queue that the agent receives from. */
  readonly queue: ScriptedQueue
}

export const scriptedWorld = async (options: Partial<ScriptedRouterOptions> = {}): Promise<ScriptedWorld> => {
  const base = agentWorld()
  const { clock, network } = base
  const router = await scriptedRouter({ clock, network, ...options })
  const peers: BarePeer[] = []
  const invite: ScriptedWorld['invite'] = async (agent, how = {}) => {
    const { connectionId, link } = await agent.agent.createConnection({})
    const queue = router.queues.at(-1)
    if (queue === undefined) throw new Error('no queue was made')
    const peer = await barePeer({ clock, network, router: router.address, link, ...how })
    peers.push(peer)
    await peer.join()
    const { confirmationId } = await agent.next('CONF', connectionId)
    return { peer, connectionId, confirmationId, queue }
  }
  return {
    ...base,
    router,
    start: (name, more = {}) => base.startAgent(name, [], { routers: [router.address], ...more }),
    cut: name => {
      for (const link of network.links({ from: name })) link.cut()
    },
    invite,
    befriend: async agent => {
      const invited = await invite(agent)
      const { connectionId, confirmationId } = invited
      await agent.agent.allowConnection({ connectionId, confirmationId })
      await agent.next('CON', connectionId)
      return invited
    },
    close: async () => {
      for (const peer of peers) peer.close()
      await base.close()
    },
  }
}
