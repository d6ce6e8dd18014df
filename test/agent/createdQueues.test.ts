/** Queues that a router makes in a session that does not last. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import { barePeer } from '../support/barePeer.js'
import type { TestAgent } from '../support/agentWorld.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

it.each([0, 1, 2, 3, 5, 8])(
  'B61 a queue whose session ends %d turns after it was made is subscribed in the next one',
  async turns => {
    world.router.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    const creating = alice.agent.createConnection({ idempotencyKey: 'once' })
    creating.catch(() => {})
    await world.clock.settle()
    world.router.react = () => undefined
    const [held] = world.router.all('NEW')
    if (held !== undefined) world.router.release(held)
    for (let turn = 0; turn < turns; turn++) await Promise.resolve()
    world.cut('alice')
    // The answer may have been lost with the session: then the call is repeated.
    await creating.catch(() => {})
    await world.clock.advance(10_000)
    const { link } = await alice.agent.createConnection({ idempotencyKey: 'once' })
    await world.clock.advance(10_000)
    const peer = await barePeer({ ...world, router: world.router.address, link })
    await peer.join()
    await alice.next('CONF')
    peer.close()
  },
)
