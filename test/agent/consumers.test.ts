/** Several readers of the event log: one that is slow, one that is given up, and what the others pay for them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentEvent } from '../../src/agent/index.js'
import { eventAcks, eventConsumers, events } from '../../src/store/eventLog.js'
import type { TestAgent } from '../support/agentWorld.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { afterCommits, beforeCommits, brokenDisk, touches } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
let friend: Invited
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  friend = await world.befriend(alice)
  await alice.agent.ackEvents({ upTo: 1_000 })
})
afterEach(() => world.close())

/** Events that need neither a connection nor cryptography: answers of stored calls. */
const makeEvents = async (count: number): Promise<void> => {
  const told = () => alice.events.filter(({ correlationId }) => correlationId === 'event').length
  const before = told()
  for (let index = 0; index < count; index++)
    void alice.agent.rejectContactAsync({ invitationId: 'nobody', correlationId: 'event' })
  await world.until(() => told() === before + count, 'every answer')
}
const lastCursor = () => alice.events.at(-1)?.cursor ?? 0
/** How often the log is read in the store until `run` is done. */
const readsOf = async (run: () => Promise<unknown>): Promise<number> => {
  const { find } = alice.store
  let reads = 0
  alice.store.find = (table, query) => {
    if (table.name === events.name || table.name === eventAcks.name) reads++
    return find.call(alice.store, table, query) as never
  }
  await run()
  alice.store.find = find
  return reads
}

describe('a consumer that lags behind', () => {
  it('costs another one that acknowledges everything up to a cursor nothing more for each event that it has left', async () => {
    await alice.agent.registerConsumer({ consumer: 'slow' })
    await makeEvents(401)
    await alice.agent.ackEvents({ upTo: lastCursor() })
    await makeEvents(1)
    const reads = await readsOf(() => alice.agent.ackEvents({ upTo: lastCursor() }))
    expect(reads).toBeLessThanOrEqual(2)
    expect(await alice.store.count(events, {})).toBe(402)
    expect(await alice.store.count(eventAcks, {})).toBe(402)
  })

  it('costs another one that reads from the beginning no pages that it is done with, however it acknowledged them', async () => {
    await alice.agent.registerConsumer({ consumer: 'slow' })
    await makeEvents(401)
    for (const { cursor } of (await alice.agent.readEvents({ limit: 1_000 })).events as AgentEvent[])
      await alice.agent.ackEvents({ cursor })
    await alice.agent.readEvents({})
    await makeEvents(1)
    let read: unknown[] = []
    const reads = await readsOf(async () => {
      read = (await alice.agent.readEvents({})).events
    })
    expect(read).toMatchObject([{ correlationId: 'event', cursor: lastCursor() }])
    expect(reads).toBeLessThanOrEqual(2)
    expect((await alice.agent.readEvents({ consumer: 'slow', limit: 1_000 })).events).toHaveLength(402)
  })

  it('is listed with what it has not acknowledged', async () => {
    await alice.agent.registerConsumer({ consumer: 'slow' })
    await makeEvents(3)
    await alice.agent.ackEvents({ cursor: lastCursor() - 1 })
    expect((await alice.agent.listConsumers({})).consumers).toEqual([
      { consumer: 'default', from: 0, unread: 2 },
      { consumer: 'slow', from: 0, unread: 3 },
    ])
  })
})

describe('a consumer that is not there any more', () => {
  it('unregistered, nothing waits for it: what all others have acknowledged goes, and its messages’ routers go on', async () => {
    await alice.agent.registerConsumer({ consumer: 'gone' })
    await friend.peer.say('one')
    const { cursor, messageId } = await alice.next('MSG')
    await alice.agent.ackMessage({ connectionId: friend.connectionId, messageId })
    await makeEvents(210)
    await alice.agent.ackEvents({ upTo: lastCursor() - 1 })
    const acks = world.router.all('ACK').length
    await alice.agent.unregisterConsumer({ consumer: 'gone' })
    expect(await alice.store.find(events, {})).toMatchObject([{ cursor: lastCursor() }])
    expect(await alice.store.find(eventAcks, {})).toEqual([])
    await world.clock.settle()
    expect(world.router.all('ACK')).toHaveLength(acks + 1)
    expect(cursor).toBeLessThan(lastCursor())
    await friend.peer.say('two')
    await alice.next('MSG')
  })

  it('gives room to a log that its unread events have filled', async () => {
    const full = await world.start('full', { config: { maxUnreadEvents: 10 } })
    const other = await world.befriend(full)
    await full.agent.registerConsumer({ consumer: 'typo' })
    const acknowledge = async (): Promise<void> => full.agent.ackEvents({ upTo: 1_000 }).then(() => {})
    for (let index = 0; index < 12; index++) {
      await other.peer.say(`${index}`)
      await world.clock.advance(100)
      await acknowledge()
    }
    const told = () => full.events.filter(({ type }) => type === 'MSG').length
    expect(told()).toBeLessThan(12)
    await full.agent.unregisterConsumer({ consumer: 'typo' })
    await world.until(() => {
      void acknowledge()
      return told() === 12
    }, 'every message')
  })

  it('its readers end with a typed error; repeated and for one that never was, nothing happens', async () => {
    await alice.agent.registerConsumer({ consumer: 'gone', from: 'now' })
    const reading = alice.agent.readEvents({ consumer: 'gone', after: lastCursor(), waitMs: 60_000 })
    const following = alice.agent.events({ consumer: 'gone' })[Symbol.asyncIterator]().next()
    await world.clock.settle()
    await alice.agent.unregisterConsumer({ consumer: 'gone' })
    await expect(reading).rejects.toMatchObject({ code: 'CONSUMER_UNKNOWN' })
    await expect(following).rejects.toMatchObject({ code: 'CONSUMER_UNKNOWN' })
    await alice.agent.unregisterConsumer({ consumer: 'gone' })
    await alice.agent.unregisterConsumer({ consumer: 'never' })
    expect((await alice.agent.listConsumers({})).consumers).toMatchObject([{ consumer: 'default' }])
  })

  it('the last one leaves what it has not acknowledged to the next', async () => {
    await makeEvents(3)
    await alice.agent.unregisterConsumer({})
    expect(await alice.store.count(events, {})).toBe(3)
    await alice.agent.registerConsumer({ consumer: 'next' })
    expect((await alice.agent.readEvents({ consumer: 'next' })).events).toHaveLength(3)
  })

  it('a disk that fails leaves it registered; killed behind the commit, a repeated call does the rest', async () => {
    await alice.agent.registerConsumer({ consumer: 'gone' })
    await makeEvents(3)
    await alice.agent.ackEvents({ upTo: lastCursor() })
    let fails = true
    beforeCommits(alice.store, changes => {
      if (fails && touches(changes, eventConsumers)) throw brokenDisk()
    })
    await expect(alice.agent.unregisterConsumer({ consumer: 'gone' })).rejects.toMatchObject({ code: 'STORE_WRITE' })
    expect((await alice.agent.readEvents({ consumer: 'gone' })).events).toHaveLength(3)
    fails = false
    let rows: ReturnType<TestAgent['crash']> | undefined
    afterCommits(alice.store, changes => {
      if (touches(changes, eventConsumers)) rows ??= alice.crash()
    })
    void alice.agent.unregisterConsumer({ consumer: 'gone' }).catch(() => {})
    await world.until(() => rows !== undefined, 'the kill')
    const again = await world.start('alice', { store: { open: rows as never } })
    expect(await again.store.count(events, {})).toBe(3)
    await again.agent.unregisterConsumer({ consumer: 'gone' })
    expect(await again.store.count(events, {})).toBe(0)
    expect(await again.store.find(eventAcks, {})).toEqual([])
  })
})

describe('a wall clock that is set back', () => {
  it('does not make a reader wait longer than it asked for', async () => {
    let shiftMs = 0
    const { clock } = world
    const { agent } = await world.start('carol', { clock: { ...clock, now: () => clock.now() - shiftMs } })
    await agent.registerConsumer({})
    let answer: unknown
    void agent.readEvents({ waitMs: 5_000 }).then(read => (answer = read))
    await clock.advance(1_000)
    shiftMs = 3_600_000
    await clock.advance(4_500)
    expect(answer).toEqual({ events: [] })
  })
})
