/** Queues and SUBs where a session ends, a disk fails or a connection is deleted at the wrong moment. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { rcvQueues } from '../../src/store/agent/connections.js'
import { barePeer } from '../support/barePeer.js'
import type { TestAgent } from '../support/agentWorld.js'
import type { SeenCommand } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { beforeCommits, brokenDisk, touches } from '../support/storeFaults.js'

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

/** A connection whose queue was made twice, since the disk failed behind the first NEW. */
const createdTwice = async (): Promise<{ connectionId: string; link: string }> => {
  let failures = 1
  beforeCommits(alice.store, changes => {
    if (touches(changes, rcvQueues, 'patch') && failures-- > 0) throw brokenDisk()
  })
  const call = { idempotencyKey: 'once' }
  await expect(alice.agent.createConnection(call)).rejects.toMatchObject({ code: 'STORE_WRITE' })
  const created = await alice.agent.createConnection(call)
  expect(world.router.all('NEW')).toHaveLength(2)
  return created
}

it('B61 of a queue that NEW was repeated for, what comes to the second one is heard', async () => {
  const { link, connectionId } = await createdTwice()
  const peer = await barePeer({ ...world, router: world.router.address, link })
  await peer.join()
  await alice.next('CONF', connectionId)
  peer.close()
})

it('B61 B69 a queue that NEW was repeated for counts once: deleted, it keeps no session open', async () => {
  const { connectionId } = await createdTwice()
  await alice.agent.deleteConnection({ connectionId })
  await alice.next('DEL_CONN')
  expect(world.router.sessions.at(-1)?.channel.closed).toBe(false)
  await world.clock.advance(2 * defaultConfig.idleSessionMs)
  expect(world.router.sessions.at(-1)?.channel.closed).toBe(true)
})

it('B61 a SUB that was not answered is not sent again for a queue that was deleted since', async () => {
  await alice.agent.createConnection({})
  const { connectionId } = await alice.agent.createConnection({})
  const [row] = await alice.store.find(rcvQueues, { where: { connectionId } })
  const isIts = ({ entityId }: SeenCommand) => Buffer.compare(entityId, row?.rcvId ?? Buffer.alloc(0)) === 0
  alice = await world.start('alice', { store: { open: alice.crash() } })
  world.router.react = seen =>
    (seen.command.type === 'SUB' && isIts(seen)) || seen.command.type === 'DEL' ? 'lose' : undefined
  const subs = () => world.router.all('SUB').filter(isIts)
  void alice.agent.subscribe({})
  await world.clock.advance(defaultConfig.backgroundCommandMs + defaultConfig.reconnect.initial / 2)
  expect(subs()).toHaveLength(1)
  await alice.agent.deleteConnection({ connectionId })
  await world.clock.advance(10_000)
  expect(subs()).toHaveLength(1)
})
