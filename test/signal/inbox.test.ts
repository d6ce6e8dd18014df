/** The order in which messages are stored and acknowledged, and "caught up" is told. */
import { afterEach, describe, expect, it } from 'vitest'
import { signalSeen } from '../../src/store/signal/messages.js'
import { beforeCommits, brokenDisk, touches } from '../support/storeFaults.js'
import { type MemoryWorld, memoryWorld } from '../support/signal/memoryWorld.js'

let world: MemoryWorld
afterEach(async () => {
  await world.close()
})

/** Somebody whom the channel knows: their messages are stored side by side. */
const known = async () => {
  const bob = world.person()
  const say = async (body: string, timestamp: number) =>
    bob.device(1).envelope(world.service, world.account, { dataMessage: { body, timestamp } }, timestamp)
  world.service.queue(await say('known', 1))
  await world.until('the first is taken', () => world.service.queued === 0)
  return say
}
const order = () =>
  world.events.flatMap(event =>
    event.type === 'MSG' ? [Buffer.from(event.body).toString()] : event.type === 'CAUGHT_UP' ? ['CAUGHT_UP'] : [],
  )

describe('caught up', () => {
  it('S14 is told when everything before it is stored, also where the server says it before the acknowledgements', async () => {
    world = await memoryWorld()
    const say = await known()
    let release = (): void => {}
    const held = new Promise<void>(resolve => (release = resolve))
    beforeCommits(world.store, changes => (touches(changes, signalSeen) ? held : undefined))
    world.service.queue(await say('still being stored', 2))
    let acknowledged = false
    const empty = world.service.push('/api/v1/queue/empty').then(status => {
      acknowledged = true
      return status
    })
    await world.clock.settle()
    expect([order(), acknowledged, world.signal.health().caughtUp]).toEqual([['known'], false, false])
    release()
    expect(await empty).toBe(200)
    await world.until('it is told', () => order().length === 3)
    expect(order()).toEqual(['known', 'still being stored', 'CAUGHT_UP'])
    expect(world.signal.health().caughtUp).toBe(true)
  })

  it('S11 S14 a message that the store does not take is tried again before anything behind it is called complete', async () => {
    world = await memoryWorld()
    const say = await known()
    let failures = 0
    beforeCommits(world.store, changes => {
      if (!touches(changes, signalSeen) || failures === 2) return
      failures += 1
      throw brokenDisk()
    })
    world.service.queue(await say('third time lucky', 2))
    const empty = world.service.push('/api/v1/queue/empty')
    await world.clock.settle()
    expect([order(), world.service.queued]).toEqual([['known'], 1])
    await world.clock.advance(10_000)
    expect(await empty).toBe(200)
    expect(failures).toBe(2)
    await world.until('all is told', () => order().length === 3)
    expect(order()).toEqual(['known', 'third time lucky', 'CAUGHT_UP'])
    expect(world.service.queued).toBe(0)
  })

  it('S14 word of a session that has ended says nothing of the next one', async () => {
    world = await memoryWorld()
    const say = await known()
    let release = (): void => {}
    const held = new Promise<void>(resolve => (release = resolve))
    beforeCommits(world.store, changes => (touches(changes, signalSeen) ? held : undefined))
    world.service.queue(await say('over two sessions', 2))
    void world.service.push('/api/v1/queue/empty')
    await world.clock.settle()
    world.service.close('identified', 1006)
    await world.clock.advance(1_000)
    release()
    await world.until('it is taken', () => world.service.queued === 0)
    expect(world.signal.health().caughtUp).toBe(false)
    expect(order()).toEqual(['known', 'over two sessions'])
    expect(await world.service.push('/api/v1/queue/empty')).toBe(200)
    expect(world.signal.health().caughtUp).toBe(true)
  })

  it('S14 closed while a message waits for the store, it ends, and the message comes again', async () => {
    world = await memoryWorld()
    const say = await known()
    let broken = true
    beforeCommits(world.store, changes => {
      if (broken && touches(changes, signalSeen)) throw brokenDisk()
    })
    world.service.queue(await say('comes again', 2))
    await world.clock.settle()
    expect(world.service.queued).toBe(1)
    broken = false
    await world.signal.close()
    world.kill()
    await world.start()
    await world.until('it is taken', () => world.service.queued === 0)
    expect(order()).toContain('comes again')
  })
})

describe('more than can be stored', () => {
  it('S11 past the bound the socket is dropped; everything is delivered again, told once and acknowledged', async () => {
    world = await memoryWorld({ config: { maxUnstored: 5 } })
    const say = await known()
    let release = (): void => {}
    const held = new Promise<void>(resolve => (release = resolve))
    beforeCommits(world.store, changes => (touches(changes, signalSeen) ? held : undefined))
    const texts = Array.from({ length: 20 }, (_, index) => `many ${index}`)
    for (const [index, text] of texts.entries()) world.service.queue(await say(text, 10 + index))
    await world.until('it was dropped', () => world.signal.health().sockets.identified === 'backingOff')
    // The service keeps to its window, which is below the bound.
    world.service.window = 4
    release()
    await world.clock.advance(1_000)
    await world.until('all are taken', () => world.service.queued === 0)
    expect(world.service.queued).toBe(0)
    await world.until('all are told', () => order().length >= 21)
    expect(
      order()
        .filter(text => text.startsWith('many '))
        .toSorted(),
    ).toEqual(texts.toSorted())
  })
})
