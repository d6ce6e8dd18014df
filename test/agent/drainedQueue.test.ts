/** The router’s marker that a queue was full: what this side says when it has read everything up to it. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { boxSecret } from '../../src/crypto/index.js'
import { sealRecipientMessage } from '../../src/smp/protocol/recipientMessage.js'
import { sndMessages } from '../../src/store/agent/messages.js'
import type { Change } from '../../src/store/index.js'
import type { TestAgent } from '../support/agentWorld.js'
import type { ScriptedQueue } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { recordCommits } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
let commits: ReadonlyArray<readonly Change[]>
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  commits = recordCommits(alice.store)
})
afterEach(() => world.close())

const drain = async (queue: ScriptedQueue): Promise<void> => {
  await world.clock.settle()
  const id = randomBytes(24)
  const marker = { type: 'quota', timestamp: Math.floor(world.clock.now() / 1000) } as const
  queue.messages.push({ id, body: sealRecipientMessage(boxSecret(queue.dhSecret), id, marker) })
  world.router.deliverAgain(queue, queue.messages.at(-1))
  queue.delivered = true
  await world.clock.settle()
  // It is acknowledged, whatever is said of it.
  expect(queue.messages).toEqual([])
}
const said = (): number =>
  commits
    .flat()
    .filter(change => change.op === 'insert' && change.table.name === sndMessages.name)
    .filter(change => 'row' in change && (change.row as { type?: string }).type === 'A_QCONT').length
const errors = () => alice.events.filter(({ type }) => type === 'ERR')

describe('B41 B45 a queue that was full is read empty', () => {
  it('B45 A_QCONT tells the other party, once', async () => {
    const { queue } = await world.befriend(alice)
    await drain(queue)
    expect(said()).toBe(1)
    expect(errors()).toEqual([])
    // It wakes no device.
    expect(world.router.all('SEND').at(-1)?.command).toMatchObject({ flags: { notification: false } })
  })

  it('B45 before the connection is complete nobody can be told: nothing is said, and no error', async () => {
    await alice.agent.createConnection({})
    const [fresh] = world.router.queues
    if (fresh === undefined) throw new Error('no queue')
    await drain(fresh)
    const { queue, connectionId, confirmationId } = await world.invite(alice)
    await drain(queue)
    world.router.react = ({ command }) => (command.type === 'SKEY' ? 'lose' : undefined)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await drain(queue)
    expect(said()).toBe(0)
    expect(errors()).toEqual([])
  })

  it('B45 B76 while the ratchet is being synchronised nothing is said', async () => {
    const { queue, connectionId } = await world.befriend(alice)
    await alice.agent.synchronizeRatchet({ connectionId, force: true })
    await drain(queue)
    expect(said()).toBe(0)
    expect(errors()).toEqual([])
  })
})
