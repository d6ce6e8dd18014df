/** Two careful sides at one router, and what goes wrong between them once: a kill at a commit, a command or its answer lost. */
import type { AgentWorld } from './agentWorld.js'
import { CarefulSide } from './carefulSide.js'
import type { ScriptedRouter } from './scriptedRouter.js'
import type { beforeCommits } from './storeFaults.js'

export type Sides = Readonly<Record<'alice' | 'bob', CarefulSide>>

/** What goes wrong; answers, at the end, whether it went wrong. */
export type Trouble = (sides: Sides, router: ScriptedRouter) => () => boolean

export const openSides = async (world: AgentWorld, router: ScriptedRouter): Promise<Sides> => {
  const open = (name: string): Promise<CarefulSide> =>
    CarefulSide.open(store =>
      world.startAgent(name, [], {
        routers: [router.address],
        ...(store === undefined ? {} : { store: { open: store } }),
      }),
    )
  return { alice: await open('alice'), bob: await open('bob') }
}

export const killed =
  (victim: 'alice' | 'bob', when: typeof beforeCommits, at: number): Trouble =>
  sides => {
    let commits = 0
    when(sides[victim].agent.store, () => {
      if (commits++ === at) sides[victim].kill()
    })
    return () => sides[victim].kills > 0
  }

export const lost =
  (how: 'lose' | 'loseAnswer', at: number): Trouble =>
  (_, router) => {
    let commands = 0
    router.react = ({ command }) => (command.type !== 'PING' && commands++ === at ? how : undefined)
    return () => commands > at
  }
