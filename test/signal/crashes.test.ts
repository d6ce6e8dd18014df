/** kill -9 before and behind every commit of a send, its transcript, and a received message; on a virtual clock. */
import { describe, expect, it } from 'vitest'
import { signalOutbox, signalSyncItems } from '../../src/store/signal/messages.js'
import { afterCommits, beforeCommits } from '../support/storeFaults.js'
import type { MemoryPerson } from '../support/signal/memoryPerson.js'
import { type MemoryWorld, memoryWorld } from '../support/signal/memoryWorld.js'

type Moment = 'before' | 'behind'

interface Kill {
  readonly struck: () => boolean
  /** What still runs comes to its end. */
  readonly disarm: () => void
}

/** Kills the channel at its `nth` commit from now on; what the commit was to change is durable only `behind` it. */
const killAt = (world: MemoryWorld, nth: number, moment: Moment): Kill => {
  let commits = 0
  let armed = true
  let struck = false
  const strike = (): void => {
    struck = true
    world.kill()
  }
  if (moment === 'behind') {
    afterCommits(world.store, () => {
      if (armed && ++commits === nth) strike()
    })
  } else {
    beforeCommits(world.store, () => {
      if (!armed || ++commits !== nth) return undefined
      strike()
      return new Promise<void>(() => {})
    })
  }
  return { struck: () => struck, disarm: () => void (armed = false) }
}

/** Plays a scene again and again, killed at its first commit, its second … until it comes to its end unharmed. */
const atEveryCommit = async (
  moment: Moment,
  scene: (world: MemoryWorld, arm: () => Kill) => Promise<void>,
): Promise<number> => {
  for (let nth = 1; ; nth++) {
    const world = await memoryWorld()
    let kill: Kill | undefined
    await scene(world, () => (kill = killAt(world, nth, moment)))
    kill?.disarm()
    await world.close()
    if (kill?.struck() !== true) return nth - 1
  }
}

const texts = async (person: MemoryPerson, deviceId: number): Promise<string[]> => {
  const opened = await person.device(deviceId).open()
  return opened.map(one => (typeof one === 'string' ? 'refused' : (one.dataMessage?.body ?? 'other')))
}
const transcripts = async (world: MemoryWorld): Promise<string[]> => {
  const opened = await world.own.device(1).open()
  return opened.map(one => (typeof one === 'string' ? 'refused' : (one.syncMessage?.sent?.message?.body ?? 'other')))
}
const once = (text: string, list: readonly string[]): void => {
  expect(list.filter(one => one !== 'refused')).toEqual([text])
}

describe.each(['before', 'behind'] as const)('killed %s any commit', moment => {
  it('S10 S11 S12 of a send: one message under one timestamp to every device, one SENT, one transcript', async () => {
    const commits = await atEveryCommit(moment, async (world, arm) => {
      const bob = world.person(2)
      const { struck } = arm()
      const options = { to: bob.aci, text: 'hello', idempotencyKey: 'one' }
      let accepted = await Promise.race([
        world.signal.send(options),
        world.until('accepted or killed', struck).then(() => undefined),
      ]).catch(() => undefined)
      const sent = () => world.events.filter(event => event.type === 'SENT')
      const atRest = async () =>
        sent().length > 0 &&
        (await world.store.find(signalOutbox, {})).length + (await world.store.find(signalSyncItems, {})).length === 0
      await world.until('it is done or killed', async () => struck() || (await atRest()))
      if (struck()) {
        await world.start()
        // Whoever got no answer asks again under the same key.
        accepted ??= await world.signal.send(options)
      }
      await world.until('everything is out', atRest)
      const requests = world.service.messagesTo(bob.aci)
      expect(new Set(requests.map(({ json }) => json['timestamp']))).toEqual(new Set([accepted?.timestamp]))
      for (const { deviceId } of bob.devices) once('hello', await texts(bob, deviceId))
      once('hello', await transcripts(world))
      // A reader that was killed before its acknowledgement reads the same event again, under the same cursor.
      expect(new Set(sent().map(({ cursor }) => cursor)).size).toBe(1)
    })
    expect(commits).toBeGreaterThanOrEqual(5)
  })

  it('S11 S12 S14 of a received message: told once, acknowledged only when it is stored, answered with a receipt', async () => {
    const commits = await atEveryCommit(moment, async (world, arm) => {
      const bob = world.person(1)
      const timestamp = world.clock.now()
      const content = { dataMessage: { body: 'hi', timestamp } }
      const envelope = await bob.device(1).envelope(world.service, world.account, content, timestamp)
      const { struck } = arm()
      world.service.queue(envelope)
      const told = () => world.events.filter(event => event.type === 'MSG')
      const receipts = () => world.service.messagesTo(bob.aci)
      const atRest = async () =>
        told().length > 0 &&
        receipts().length > 0 &&
        world.service.queued === 0 &&
        (await world.store.find(signalOutbox, {})).length === 0
      await world.until('it is done or killed', async () => struck() || (await atRest()))
      if (struck()) {
        // What is gone from the queue is on disk: an acknowledged message can never be lost.
        await world.start()
      }
      await world.until('everything is done', atRest)
      const bodies = told().map(event => ('body' in event ? Buffer.from(event.body).toString() : ''))
      // A reader that was killed before its acknowledgement reads the same event again, under the same cursor.
      expect(new Set(told().map(({ cursor }) => cursor)).size).toBe(1)
      expect(new Set(bodies)).toEqual(new Set(['hi']))
      const opened = (await bob.device(1).open()).filter(one => typeof one !== 'string')
      expect(opened).toMatchObject([{ receiptMessage: { type: 0, timestamp: [timestamp] } }])
    })
    expect(commits).toBeGreaterThanOrEqual(3)
  })
})
