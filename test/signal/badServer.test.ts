/** A server, or whoever speaks in its place, that answers what no server should: typed errors, waits with a reason, bounds. */
import { PrivateKey } from '@signalapp/libsignal-client'
import { afterEach, describe, expect, it } from 'vitest'
import type { SignalEvent } from '../../src/signal/index.js'
import { encode } from '../../src/signal/wire/codec.js'
import { envelope, envelopeTypes, frameTypes, webSocketMessage } from '../../src/signal/wire/messages.js'
import { serviceIdBytes } from '../../src/signal/wire/serviceId.js'
import { signalOutbox } from '../../src/store/signal/messages.js'
import type { MemoryPerson } from '../support/signal/memoryPerson.js'
import { type MemoryWorld, memoryWorld } from '../support/signal/memoryWorld.js'

let world: MemoryWorld
afterEach(async () => {
  await world.close()
})

type Of<T extends SignalEvent['type']> = Extract<SignalEvent, { type: T }>
const told = <T extends SignalEvent['type']>(type: T): Array<Of<T>> =>
  world.events.filter((event): event is Of<T> => event.type === type)
const first = async <T extends SignalEvent['type']>(type: T): Promise<Of<T>> => {
  await world.until(`${type} is told`, () => told(type).length > 0)
  return told(type)[0] as Of<T>
}
const minute = 60_000

describe('answers to a message', () => {
  it('S08 a Retry-After without end is a wait no longer than a message may wait', async () => {
    world = await memoryWorld({ config: { messageTimeoutMs: 10 * minute } })
    const bob = world.person()
    world.service.script = ({ path }) =>
      path.startsWith('/v1/messages/') ? { status: 429, headers: { 'retry-after': '99999999999999999999' } } : undefined
    await world.signal.send({ to: bob.aci, text: 'hi' })
    expect(await first('MWARN')).toMatchObject({ waitMs: 10 * minute, error: { code: 'SIGNAL_RATE_LIMITED' } })
    const asked = world.service.messagesTo(bob.aci).length
    await world.clock.advance(9 * minute)
    expect(world.service.messagesTo(bob.aci)).toHaveLength(asked)
    await world.clock.advance(2 * minute)
    expect(await first('MERR')).toMatchObject({ error: { code: 'SIGNAL_EXPIRED' } })
  })

  it.each(['-5', '1e300', 'tomorrow', ''])(
    'S08 a Retry-After of "%s" says nothing: the wait is the default',
    async text => {
      world = await memoryWorld()
      const bob = world.person()
      world.service.script = ({ path }) =>
        path.startsWith('/v1/messages/') ? { status: 429, headers: { 'retry-after': text } } : undefined
      await world.signal.send({ to: bob.aci, text: 'hi' })
      expect(await first('MWARN')).toMatchObject({ waitMs: minute })
    },
  )

  it('S08 what a challenge names is cut and cleaned before it stands in an event', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const json = {
      token: `a\0\uD800${'t'.repeat(10_000)}`,
      options: ['captcha', 7, { x: 1 }, ...Array<string>(100).fill('o'.repeat(500))],
    }
    world.service.script = ({ path }) => (path.startsWith('/v1/messages/') ? { status: 428, json } : undefined)
    await world.signal.send({ to: bob.aci, text: 'hi' })
    const { token = '', options = [] } = await first('MWARN')
    expect(token).toMatch(/^a\uFFFD\uFFFDt+$/)
    expect(token).toHaveLength(2_048)
    expect(options).toHaveLength(16)
    expect(options[0]).toBe('captcha')
    expect(Math.max(...options.map(option => option.length))).toBe(64)
  })

  it.each([0, 100, 302, 408, 425, 503, 999])('S12 %d says nothing of the message: it is tried again', async status => {
    world = await memoryWorld()
    const bob = world.person()
    let answers = 0
    world.service.script = ({ path }) =>
      path === `/v1/messages/${bob.aci}` && ++answers === 1 ? { status } : undefined
    await world.signal.send({ to: bob.aci, text: 'hi' })
    await world.until('it was answered', () => answers === 1)
    await world.clock.advance(minute)
    await first('SENT')
    expect(told('MERR')).toEqual([])
  })

  it.each([400, 403, 418, 508])('S08 %d is a refusal: permanent, with its status', async status => {
    world = await memoryWorld()
    const bob = world.person()
    world.service.script = ({ path }) => (path.startsWith('/v1/messages/') ? { status } : undefined)
    await world.signal.send({ to: bob.aci, text: 'hi' })
    expect(await first('MERR')).toMatchObject({ status, error: { code: 'SIGNAL_INVALID' } })
  })

  it.each([
    ['no lists', {}],
    ['lists that are none', { missingDevices: 'all', extraDevices: { 1: 2 } }],
    ['ids that are none', { missingDevices: [0, -1, 128, 1.5, '2', null, 1e9], extraDevices: [[1]] }],
    ['an array', [1, 2, 3]],
    ['everything at once', { missingDevices: Array.from({ length: 5_000 }, (_, id) => id), extraDevices: [1] }],
  ])('S07 a 409 with %s ends after five rounds, and asks for few keys', async (_, json) => {
    world = await memoryWorld()
    const bob = world.person()
    world.service.script = ({ path }) => (path === `/v1/messages/${bob.aci}` ? { status: 409, json } : undefined)
    await world.signal.send({ to: bob.aci, text: 'hi' })
    await first('MERR')
    expect(world.service.messagesTo(bob.aci).length).toBeLessThanOrEqual(5)
    expect(world.service.asked.filter(({ path }) => path.startsWith('/v2/keys/')).length).toBeLessThan(5 * 128)
    expect(await world.store.find(signalOutbox, {})).toEqual([])
  })

  it('S08 a message that fits into no frame is too large, and is never sent', async () => {
    world = await memoryWorld()
    const bob = world.person(6)
    await world.signal.send({ to: bob.aci, text: 'learn the devices' })
    await first('SENT')
    const before = world.service.messagesTo(bob.aci).length
    await world.signal.send({ to: bob.aci, text: 'x'.repeat(65_536) })
    expect(await first('MERR')).toMatchObject({ error: { code: 'SIGNAL_TOO_LARGE' } })
    expect(world.service.messagesTo(bob.aci)).toHaveLength(before)
    await world.signal.send({ to: bob.aci, text: 'the next one goes' })
    await world.until('it is sent', () => told('SENT').length === 2)
  })
})

describe('keys of a device', () => {
  const forged = (bob: MemoryPerson): object => {
    const keys = bob.device(1).keys() as { identityKey: string }
    return { ...keys, identityKey: Buffer.from(PrivateKey.generate().getPublicKey().serialize()).toString('base64') }
  }
  it.each<[string, (bob: MemoryPerson) => unknown]>([
    ['nothing', () => ({})],
    ['a list that is none', () => ({ identityKey: 'AAAA', devices: 7 })],
    ['no devices', bob => ({ ...bob.device(1).keys(), devices: [] })],
    ['another device', bob => bob.device(2).keys()],
    ['devices that are none', bob => ({ ...bob.device(1).keys(), devices: [null, 1, { deviceId: 1 }] })],
    ['keys that another identity has signed', forged],
  ])('S08 %s in place of keys is a wait with a reason; with real ones the message goes out', async (_, answer) => {
    world = await memoryWorld()
    const bob = world.person(2)
    let bad = true
    world.service.script = ({ path }) =>
      bad && path === `/v2/keys/${bob.aci}/1` ? { status: 200, json: answer(bob) } : undefined
    await world.signal.send({ to: bob.aci, text: 'hi' })
    expect(await first('MWARN')).toMatchObject({ waitMs: minute, error: { code: 'SIGNAL_KEYS_UNUSABLE' } })
    const asked = () => world.service.asked.filter(({ path }) => path.startsWith('/v2/keys/')).length
    expect(asked()).toBe(1)
    await world.clock.advance(10 * minute)
    expect(asked()).toBeLessThanOrEqual(12)
    bad = false
    await world.clock.advance(minute)
    await first('SENT')
    expect(await bob.device(1).open()).toMatchObject([{ dataMessage: { body: 'hi' } }])
  })
})

describe('what the server sends by itself', () => {
  const from = (bob: MemoryPerson) => ({
    type: envelopeTypes.ratchet,
    clientTimestamp: 1,
    sourceDeviceId: 1,
    sourceServiceIdBinary: serviceIdBytes(bob.aci),
    content: Buffer.from('?'),
  })
  it.each<[string, (bob: MemoryPerson) => Parameters<typeof encode<typeof envelope>>[1]]>([
    ['without a sender', bob => ({ ...from(bob), sourceServiceIdBinary: undefined })],
    ['of a sender that is none', bob => ({ ...from(bob), sourceServiceIdBinary: undefined, sourceServiceId: 'Bob' })],
    ['of a device that is none', bob => ({ ...from(bob), sourceDeviceId: 0 })],
    ['of device 4 billion', bob => ({ ...from(bob), sourceDeviceId: 4_000_000_000 })],
    ['of no type', bob => ({ ...from(bob), type: undefined })],
    [
      'to a PNI that the account has not',
      bob => ({ ...from(bob), destinationServiceIdBinary: serviceIdBytes(`PNI:${bob.aci}`) }),
    ],
    ['sealed by nobody', () => ({ type: envelopeTypes.sealed, content: Buffer.from('no seal'), clientTimestamp: 1 })],
  ])('S11 an envelope %s is told as dropped, and acknowledged', async (_, bytes) => {
    world = await memoryWorld()
    const bob = world.person()
    expect(await world.service.push('/api/v1/message', encode(envelope, bytes(bob)))).toBe(200)
    expect(await first('DROPPED')).toMatchObject({ code: expect.stringMatching(/^[A-Za-z_]+$/) })
    await goesOn()
  })

  it.each([1, 3, 8, 7, 99])(
    'S13 bytes that are no message of type %d are told as not opened, and acknowledged',
    async type => {
      world = await memoryWorld()
      const bob = world.person()
      expect(await world.service.push('/api/v1/message', encode(envelope, { ...from(bob), type }))).toBe(200)
      if (type !== envelopeTypes.plaintext) await first('DECRYPTION_FAILED')
      await goesOn()
    },
  )

  it('S02 a request for what nobody knows is refused, on either socket; the sockets stay open', async () => {
    world = await memoryWorld()
    for (const socket of ['identified', 'unidentified'] as const)
      expect(await world.service.push('/api/v1/elsewhere', new Uint8Array(100), socket)).toBe(400)
    expect(world.signal.health().state).toBe('healthy')
  })

  it.each([
    ['no protobuf', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['a message that is cut off', Buffer.from([0x12, 0x7f, 0x0a])],
    ['an id above 2^53', Buffer.from([0x08, 2, 0x1a, 0x0a, 0x08, ...Array<number>(8).fill(0xff), 0x7f])],
  ])('S02 a frame that is %s ends the socket, which comes back', async (_, frame) => {
    world = await memoryWorld()
    world.service.frame(frame)
    await world.until('it is down', () => world.signal.health().sockets.identified === 'backingOff')
    await world.clock.advance(1_000)
    expect(world.signal.health().state).toBe('healthy')
  })

  it('S02 frames of no kind, and answers that nobody asked for, change nothing', async () => {
    world = await memoryWorld()
    world.service.frame(encode(webSocketMessage, {}))
    world.service.frame(encode(webSocketMessage, { type: 77 }))
    world.service.frame(encode(webSocketMessage, { type: frameTypes.request }))
    world.service.frame(encode(webSocketMessage, { type: frameTypes.response, response: { id: 12_345, status: 200 } }))
    await goesOn()
    expect(world.signal.health().state).toBe('healthy')
  })

  it('S18 of a hundred thousand attachments thirty-two are told', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const attachments = Array.from({ length: 100_000 }, () => ({}))
    const content = { dataMessage: { body: 'look', timestamp: 1, attachments } }
    world.service.queue(await bob.device(1).envelope(world.service, world.account, content, 1))
    expect((await first('MSG')).attachments).toHaveLength(32)
  })

  const goesOn = async (): Promise<void> => {
    const carol = world.person()
    const content = { dataMessage: { body: 'after it', timestamp: 5 } }
    world.service.queue(await carol.device(1).envelope(world.service, world.account, content, 5))
    await world.until('the next message is told', () =>
      told('MSG').some(event => Buffer.from(event.body).toString() === 'after it'),
    )
    await world.until('it is acknowledged', () => world.service.queued === 0)
  }
})
