/** Offers of a new queue as only a wrong or a forgetful party makes them: by hand, to an agent. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/crypto/index.js'
import type { AddedQueue } from '../../src/smp/protocol/agentMessage.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { sndQueues } from '../../src/store/agent/connections.js'
import type { TestAgent } from '../support/agentWorld.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
let friend: Invited
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  friend = await world.befriend(alice)
})
afterEach(() => world.close())

const rows = () => alice.store.find(sndQueues, {})
const usedQueue = async () => {
  const [row] = await rows()
  if (row === undefined) throw new Error('no queue')
  return { router: parseRouterAddress(row.router), senderId: row.sndId }
}
const newQueue = (senderId: Uint8Array = randomBytes(24), max = 4): AddedQueue['queue'] => ({
  clientVersions: { min: max, max },
  address: {
    router: parseRouterAddress(world.router.address),
    senderId,
    dhKey: generateKeyPair('x25519').publicKey,
    mode: 'messaging',
  },
})
const offer = (added: AddedQueue): Promise<void> => friend.peer.say({ type: 'QADD', queues: [added] })
const errors = (): string[] => alice.events.flatMap(event => (event.type === 'ERR' ? [event.error.code] : []))
const offered = () => world.until(() => alice.events.some(({ type }) => type === 'SWITCH'), 'QKEY')

describe('B71 ★ QADD', () => {
  it('B71 must name the queue that it replaces, and a new one of a version that is spoken: else it is a queue error', async () => {
    const used = await usedQueue()
    const wrong: AddedQueue[] = [
      { queue: newQueue() },
      { queue: newQueue(), replaced: { ...used, senderId: randomBytes(24) } },
      { queue: newQueue(used.senderId), replaced: used },
      { queue: newQueue(undefined, 90), replaced: used },
    ]
    for (const [index, added] of wrong.entries()) {
      await offer(added)
      await world.until(() => errors().length > index, `an error for offer ${index}`)
    }
    expect(errors()).toEqual(wrong.map(() => 'AGENT_QUEUE'))
    expect(await rows()).toHaveLength(1)
    expect(alice.events.map(({ type }) => type)).not.toContain('SWITCH')
    // The queue in use is not touched by it.
    const { messageId } = await alice.agent.sendMessage({ connectionId: friend.connectionId, body: 'still here' })
    expect((await alice.next('SENT')).messageId).toBe(messageId)
  })

  it('B71 repeated with another queue it replaces the pending one: only the latest survives', async () => {
    const replaced = await usedQueue()
    const latest = randomBytes(24)
    for (const senderId of [randomBytes(24), randomBytes(24), latest]) {
      await offer({ queue: newQueue(senderId), replaced })
      await world.until(() => offersOf() > 0, 'QKEY')
      await world.clock.advance(1000)
    }
    expect((await rows()).filter(({ replaces }) => replaces !== null)).toMatchObject([{ sndId: latest }])
    expect(await rows()).toHaveLength(2)
    expect(errors()).toEqual([])
  })

  it('B71 the same one again is answered again, with the same keys', async () => {
    const replaced = await usedQueue()
    const queue = newQueue()
    await offer({ queue, replaced })
    await offered()
    await world.clock.advance(1000)
    const [before, sent] = [await rows(), world.router.all('SEND').length]
    await offer({ queue, replaced })
    await world.until(() => world.router.all('SEND').length > sent + 1, 'QKEY once more')
    const keysOf = (all: typeof before) => all.map(({ sndId, sndPrivateKey }) => [sndId, sndPrivateKey])
    expect(keysOf(await rows())).toEqual(keysOf(before))
    expect(errors()).toEqual([])
  })
})

const offersOf = (): number => alice.events.filter(({ type }) => type === 'SWITCH').length
