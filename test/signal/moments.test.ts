/** What happens just between two steps of something else, on a virtual clock: nothing of it is lost or done twice. */
import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import type { SignalEvent } from '../../src/signal/index.js'
import { signalOutbox } from '../../src/store/signal/messages.js'
import { MemoryPerson } from '../support/signal/memoryPerson.js'
import { type MemoryWorld, memoryWorld } from '../support/signal/memoryWorld.js'
import type { Asked, Reply } from '../support/signal/service.js'

let world: MemoryWorld
afterEach(async () => {
  await world.close()
})

const told = <T extends SignalEvent['type']>(type: T) =>
  world.events.filter((event): event is Extract<SignalEvent, { type: T }> => event.type === type)
const isTold = (type: SignalEvent['type'], times = 1) =>
  world.until(`${times} × ${type}`, () => told(type).length >= times)

/** Holds the answers to some requests until they are released. */
const hold = (which: (asked: Asked) => boolean) => {
  const waiting: Array<() => void> = []
  world.service.script = (asked, take) =>
    which(asked) ? new Promise<Reply>(resolve => waiting.push(() => resolve(take()))) : undefined
  return {
    held: () => waiting.length,
    release: () => {
      world.service.script = undefined
      for (const go of waiting.splice(0)) go()
    },
  }
}

describe('what the channel has not', () => {
  it('S18 a message in a group is not told as one to this account: whoever answers it would answer its sender alone', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const content = { dataMessage: { body: 'to all', timestamp: 1, groupV2: { revision: 3 } } }
    world.service.queue(await bob.device(1).envelope(world.service, world.account, content, 1))
    await isTold('DROPPED')
    await world.until('it is acknowledged', () => world.service.queued === 0)
    expect(told('DROPPED')).toMatchObject([{ code: 'SIGNAL_GROUP', connectionId: expect.stringMatching(/^signal:/) }])
    expect(told('MSG')).toEqual([])
    expect(await world.store.count(signalOutbox)).toBe(0)
  })
})

/** A service id that is not yet known to be that of the person with the ACI. */
const personByNumber = () => {
  const pni = `PNI:${randomUUID()}`
  const byPni = new MemoryPerson(pni, [1])
  world.service.people.set(pni, byPni)
  return { pni, byPni, bob: world.person() }
}

describe('between two steps', () => {
  it('S14 messages that arrive while the receipt of the first waits to be encrypted are acknowledged in the same receipt', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const arrive = async (timestamp: number) => {
      const content = { dataMessage: { body: `at ${timestamp}`, timestamp } }
      world.service.queue(await bob.device(1).envelope(world.service, world.account, content, timestamp))
    }
    // Nothing was received for a while, so that a send probes first.
    await world.clock.advance(10_000)
    const probes = hold(({ path }) => path.includes('keepalive'))
    await arrive(1)
    await world.until('the receipt of the first waits for its probe', () => probes.held() > 0)
    await arrive(2)
    await arrive(3)
    await isTold('MSG', 3)
    probes.release()
    await world.until('nothing waits', async () => (await world.store.count(signalOutbox)) === 0)
    expect(await bob.device(1).open()).toMatchObject([{ receiptMessage: { type: 0, timestamp: [1, 2, 3] } }])
  })

  it('S12 S18 a call that is repeated under its idempotency key after two recipients became one is the first message', async () => {
    world = await memoryWorld()
    const { pni, bob } = personByNumber()
    await world.signal.setRecipient({ aci: bob.aci })
    const first = await world.signal.send({ to: pni, text: 'once', idempotencyKey: 'key' })
    await isTold('SENT')
    await world.signal.setRecipient({ aci: bob.aci, pni })
    expect(await world.signal.send({ to: pni, text: 'once', idempotencyKey: 'key' })).toEqual(first)
    expect(await world.signal.send({ to: bob.aci, text: 'once', idempotencyKey: 'key' })).toEqual(first)
    expect(world.service.messagesTo(bob.aci)).toEqual([])
  })

  it('S13 S18 a message to the PNI is sent again when it is asked for by the ACI that the PNI turned out to be', async () => {
    world = await memoryWorld()
    const { pni, byPni, bob } = personByNumber()
    await world.signal.setRecipient({ aci: bob.aci })
    const { messageId } = await world.signal.send({ to: pni, text: 'to the number' })
    await isTold('SENT')
    const [sent] = byPni.device(1).mailbox
    if (sent === undefined) throw new Error('nothing was sent')
    await world.signal.setRecipient({ aci: bob.aci, pni })
    world.service.queue(bob.device(1).retryReceipt(world.account, sent, world.clock.now()))
    await isTold('RETRY_REQUESTED')
    expect(told('RETRY_REQUESTED')).toMatchObject([{ resent: true, messageId }])
    await world.until('it is sent again', () => bob.device(1).mailbox.length > 0)
    expect(await bob.device(1).open()).toMatchObject([{ dataMessage: { body: 'to the number' } }])
    await world.until('nothing waits', async () => (await world.store.count(signalOutbox)) === 0)
  })

  it('S18 a message that waits for a PNI goes out although the PNI has meanwhile become that of another recipient', async () => {
    world = await memoryWorld()
    const { pni, byPni } = personByNumber()
    await world.signal.setRecipient({ e164: '+15550000001' })
    await world.signal.setRecipient({ pni, e164: '+15550000002' })
    const keys = hold(({ path }) => path.startsWith('/v2/keys/'))
    await world.signal.send({ to: pni, text: 'waits' })
    await world.until('it waits', () => keys.held() > 0)
    await world.signal.send({ to: pni, text: 'waits behind' })
    await world.signal.setRecipient({ pni, e164: '+15550000001' })
    keys.release()
    await isTold('SENT', 2)
    expect((await byPni.device(1).open()).length).toBe(2)
  })
})
