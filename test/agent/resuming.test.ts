/** B67: deliveries that wait in rows go on when the agent starts, and when their connections are subscribed. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestAgent } from '../support/agentWorld.js'
import { errorAnswer } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { storeWaiting } from '../support/storedMessages.js'

let world: ScriptedWorld
let alice: TestAgent
let ids: string[]
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  ids = []
  for (let count = 0; count < 3; count++) ids.push((await world.befriend(alice)).connectionId)
  await world.clock.settle()
})
afterEach(() => world.close())

const sends = () => world.router.all('SEND').length
const sent = () => alice.events.filter(({ type }) => type === 'SENT').map(({ connectionId }) => connectionId)
/** Messages in the rows that no worker has been told of. */
const storeUntold = async (perConnection = 1) => {
  for (const id of ids) {
    for (let count = 0; count < perConnection; count++) {
      await storeWaiting(alice.store, id, 'A_MSG', world.clock.now())
    }
  }
  await world.clock.advance(60_000)
  expect(sent()).toEqual([])
}

describe('B67 deliveries that wait', () => {
  it('B67 go on at the start, without subscribe, whatever number of queues and messages there are', async () => {
    const rows = alice.crash()
    for (const id of ids)
      for (let count = 0; count < 100; count++) await storeWaiting(rows, id, 'A_MSG', world.clock.now())
    alice = await world.start('alice', { store: { open: rows } })
    await world.until(() => sent().length === 300, 'all SENT')
    for (const id of ids) expect(sent().filter(sentId => sentId === id)).toHaveLength(100)
  })

  it('B67 go on with the subscription of their connection, and only those', async () => {
    await storeUntold(2)
    await alice.agent.subscribe({ connectionIds: ids.slice(1) })
    await world.clock.advance(10_000)
    expect(new Set(sent())).toEqual(new Set(ids.slice(1)))
    expect(sent()).toHaveLength(4)
  })

  it('B67 go on with the subscription of all', async () => {
    await storeUntold()
    await alice.agent.subscribe({})
    await world.clock.advance(10_000)
    expect(sent().toSorted()).toEqual(ids.toSorted())
  })

  it('B67 B40 a message that comes while the rows of its queue are read goes out behind them', async () => {
    const rows = alice.crash()
    const connectionId = ids[0] ?? ''
    await storeWaiting(rows, connectionId, 'A_MSG', world.clock.now())
    const held: Array<() => void> = []
    let holds = true
    const find = rows.find.bind(rows)
    rows.find = async (table, query) => {
      const found = await find(table, query)
      if (holds && table.name === 'snd_messages') await new Promise<void>(resolve => held.push(resolve))
      return found
    }
    alice = await world.start('alice', { store: { open: rows } })
    await world.until(() => held.length > 0, 'the rows are read')
    await alice.agent.sendMessage({ connectionId, body: 'behind it' })
    holds = false
    for (const release of held) release()
    await world.until(() => sent().length === 2, 'both SENT')
  })

  it('B67 B41 a worker that waits is not pushed, and no second one starts', async () => {
    world.router.react = ({ command }) => (command.type === 'SEND' ? errorAnswer('QUOTA') : undefined)
    await alice.agent.sendMessage({ connectionId: ids[0] ?? '', body: 'one' })
    await world.clock.settle()
    const before = sends()
    await alice.agent.subscribe({})
    await alice.agent.subscribe({ connectionIds: ids })
    await world.clock.advance(60_000)
    expect(sends()).toBe(before)
    world.router.react = () => undefined
    await alice.next('SENT')
    await world.clock.advance(60_000)
    expect(sends()).toBe(before + 1)
  })
})
