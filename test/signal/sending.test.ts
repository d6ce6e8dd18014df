import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { recipientDevices, signalSessions } from '../../src/store/signal/account.js'
import { signalOutbox, signalSyncItems } from '../../src/store/signal/messages.js'
import type { Primary, SeenRequest } from '../support/signal/mock.js'
import type { RawDevice } from '../support/signal/rawDevice.js'
import type { SignalEvent } from '../../src/signal/index.js'
import { type Bot, eventually, signalWorld, type SignalWorld } from '../support/signal/world.js'

interface Person {
  readonly primary: Primary
  readonly devices: RawDevice[]
  readonly recipientId: string
}

let world: SignalWorld
let bot: Bot
beforeAll(async () => {
  world = await signalWorld()
  bot = await world.startBot()
})
afterEach(async () => {
  await world.mock.setRules()
})
afterAll(() => world.close())

/** A person whom the bot knows and has written to. */
const acquaint = async (devices = 2, known = true): Promise<Person> => {
  const person = await world.person('Bob', devices)
  if (known) await bot.signal.setRecipient({ aci: person.primary.aci, profileKey: person.primary.profileKey })
  const { recipientId } = await bot.signal.send({ to: person.primary.aci, text: 'hello' })
  await next({ recipientId }, 'SENT')
  for (const device of person.devices) expect(await device.nextText()).toBe('hello')
  await world.mock.call('nextMessage', { aci: person.primary.aci })
  await eventually('the transcript is out', async () => (await bot.store.find(signalSyncItems, {})).length === 0)
  await world.mock.clearRequests()
  return { ...person, recipientId }
}

/** The next event of somebody: others may still be told of. */
const next = <T extends SignalEvent['type']>({ recipientId }: Pick<Person, 'recipientId'>, type: T) =>
  bot.next(type, event => event.connectionId === recipientId)
const say = (to: Pick<Person, 'primary'>, text: string) => bot.signal.send({ to: to.primary.aci, text })
const requestsTo = async ({ primary }: Pick<Person, 'primary'>): Promise<SeenRequest[]> =>
  (await world.mock.requests()).filter(({ path }) => path.includes(primary.aci))
const statuses = async (to: Person): Promise<number[]> => (await requestsTo(to)).map(({ status }) => status)
const outboxOf = async ({ primary }: Person) => {
  const { recipientId } = await bot.signal.setRecipient({ aci: primary.aci })
  return bot.store.find(signalOutbox, { where: { recipientId } })
}
const pathOf = (to: Person): string => `/v1/messages/${to.primary.aci}`

describe('the cache of devices', () => {
  it('S06 starts with the primary, learns the devices from 409, and needs one request from then on', async () => {
    const bob = await world.person('Bob', 2)
    const { aci, profileKey } = bob.primary
    const { recipientId } = await bot.signal.setRecipient({ aci, profileKey })
    expect(await bot.signal.getDevices({ aci })).toEqual([1])
    await world.mock.clearRequests()
    await say(bob, 'one')
    expect(await next({ recipientId }, 'SENT')).toMatchObject({ sealed: true, devices: [1, 2, 3] })
    for (const device of bob.devices) expect(await device.nextText()).toBe('one')
    expect(await world.mock.call('nextMessage', { aci })).toMatchObject({ body: 'one' })
    const sends = (await requestsTo(bob)).filter(({ verb }) => verb === 'PUT')
    expect(sends.map(({ status }) => status)).toEqual([409, 200])
    expect(await bot.signal.getDevices({ aci })).toEqual([1, 2, 3])
    await world.mock.clearRequests()
    await say(bob, 'two')
    await next({ recipientId }, 'SENT')
    for (const device of bob.devices) expect(await device.nextText()).toBe('two')
    expect(await requestsTo(bob)).toMatchObject([{ verb: 'PUT', status: 200, identified: false }])
  })

  it('S06 get, set, add and remove, with the primary where nothing is cached', async () => {
    const aci = '11111111-2222-4333-8444-555555555555'
    expect(await bot.signal.getDevices({ aci })).toEqual([1])
    await bot.signal.addDevice({ aci, deviceId: 5 })
    expect(await bot.signal.getDevices({ aci })).toEqual([1, 5])
    await bot.signal.setDevices({ aci, deviceIds: [1, 4, 2] })
    expect(await bot.signal.getDevices({ aci })).toEqual([1, 2, 4])
    await bot.signal.addDevice({ aci, deviceId: 3 })
    await bot.signal.addDevice({ aci, deviceId: 3 })
    await bot.signal.removeDevice({ aci, deviceId: 1 })
    expect(await bot.signal.getDevices({ aci })).toEqual([2, 3, 4])
    await bot.signal.setDevices({ aci, deviceIds: [] })
    expect(await bot.signal.getDevices({ aci })).toEqual([1])
    await expect(bot.signal.addDevice({ aci, deviceId: 200 })).rejects.toMatchObject({
      code: 'CMD_PARAMS',
      field: 'deviceId',
    })
  })

  it('S07 409: an extra device leaves the list and its session is archived; a missing one is added and gets the message', async () => {
    const bob = await acquaint(2)
    const { aci } = bob.primary
    const late = await linkAnother(aci)
    await world.mock.call('removeDevice', { aci, deviceId: 2 })
    await say(bob, 'again')
    expect(await next(bob, 'SENT')).toMatchObject({ devices: [1, 3, late.deviceId] })
    expect(await late.nextText()).toBe('again')
    expect(await bob.devices[1]?.nextText()).toBe('again')
    expect(await bot.signal.getDevices({ aci })).toEqual([1, 3, late.deviceId])
    const sends = (await requestsTo(bob)).filter(({ verb }) => verb === 'PUT')
    expect(sends.map(({ status }) => status)).toEqual([409, 200])
  })

  it('S07 the list of a 409 is stored at once: it is there although the send never ends', async () => {
    const bob = await acquaint(1)
    const { aci } = bob.primary
    await linkAnother(aci)
    // Keys of the new device are not given: the send cannot go on after the 409.
    await world.mock.setRules({
      verb: 'GET',
      path: `/v2/keys/${aci}`,
      answer: { status: 429, headers: { 'retry-after': '3600' } },
    })
    await say(bob, 'stuck')
    await next(bob, 'MWARN')
    expect(await bot.signal.getDevices({ aci })).toEqual([1, 2, 3])
    const rows = await bot.store.find(recipientDevices, { where: { aci }, orderBy: ['deviceId'] })
    expect(rows.map(({ deviceId }) => deviceId)).toEqual([1, 2, 3])
  })

  it('S07 410: the session is archived, the list stays, and the message arrives under new keys', async () => {
    const bob = await acquaint(2)
    const { aci } = bob.primary
    await world.mock.setRules({
      path: pathOf(bob),
      times: 1,
      answer: { status: 410, json: { staleDevices: [2] } },
    })
    await say(bob, 'fresh')
    await next(bob, 'SENT')
    expect(await bob.devices[0]?.nextText()).toBe('fresh')
    expect(await bob.devices[1]?.nextText()).toBe('fresh')
    expect(await bot.signal.getDevices({ aci })).toEqual([1, 2, 3])
    const seen = await requestsTo(bob)
    expect(seen.map(({ verb, status }) => [verb, status])).toEqual([
      ['PUT', 410],
      ['GET', 200],
      ['PUT', 200],
    ])
    expect(seen[1]?.path).toBe(`/v2/keys/${aci}/2`)
  })

  it('S07 404: unregistered, reported failed', async () => {
    const bob = await acquaint(1)
    await world.mock.call('unregister', { aci: bob.primary.aci })
    const { messageId } = await say(bob, 'nobody there')
    expect(await next(bob, 'MERR')).toMatchObject({ messageId, error: { code: 'SIGNAL_UNREGISTERED' }, status: 404 })
  })

  it.each([
    ['409', { status: 409, json: { missingDevices: [], extraDevices: [99] } }],
    ['410', { status: 410, json: { staleDevices: [2] } }],
  ])('S07 an endless %s ends after five rounds: reported failed, nothing left behind', async (_, answer) => {
    const bob = await acquaint(1)
    await world.mock.setRules({ path: pathOf(bob), answer })
    const { messageId } = await say(bob, 'for ever')
    expect(await next(bob, 'MERR')).toMatchObject({ messageId, error: { code: 'SIGNAL_DEVICES_UNSETTLED' } })
    expect((await statuses(bob)).filter(status => status === answer.status)).toHaveLength(5)
    expect(await outboxOf(bob)).toEqual([])
  })
})

const linkAnother = async (aci: string): Promise<RawDevice> => {
  const { RawDevice } = await import('../support/signal/rawDevice.js')
  return RawDevice.link(world.mock, aci)
}

describe('sealed sender', () => {
  it('S05 sealed first, under a certificate that receivers can check; 401 goes identified, and is not tried again', async () => {
    const bob = await acquaint(1)
    await say(bob, 'sealed')
    const sealed = await (bob.devices[0] as RawDevice).next()
    expect(sealed).toMatchObject({
      sealed: true,
      certificate: { e164: world.botPrimary.e164, deviceId: bot.account.deviceId, valid: true },
    })
    await next(bob, 'SENT')
    await world.mock.setRules({ path: pathOf(bob), identified: false, answer: { status: 401 } })
    await world.mock.clearRequests()
    await say(bob, 'identified')
    expect(await next(bob, 'SENT')).toMatchObject({ sealed: false })
    expect(await (bob.devices[0] as RawDevice).next()).toMatchObject({ sealed: false, source: bot.account.aci })
    expect((await requestsTo(bob)).map(({ identified, status }) => [identified, status])).toEqual([
      [false, 401],
      [true, 200],
    ])
    await world.mock.clearRequests()
    await say(bob, 'still identified')
    await next(bob, 'SENT')
    expect((await requestsTo(bob)).map(({ identified }) => identified)).toEqual([true])
    // A new profile key is a new right.
    await bot.signal.setRecipient({ aci: bob.primary.aci, profileKey: Buffer.alloc(32, 7) })
    await world.mock.setRules()
    await bot.signal.setRecipient({ aci: bob.primary.aci, profileKey: bob.primary.profileKey })
    await say(bob, 'sealed again')
    expect(await next(bob, 'SENT')).toMatchObject({ sealed: true })
  })

  it.each([
    ['no answer in time', { drop: true }],
    ['an answer that is lost', { loseAnswer: true }],
    ['a socket that closes', { closeAfter: 1001 }],
  ])('S05 falls back to identified on %s; every device has the message once', async (_, fault) => {
    const bob = await acquaint(2)
    await world.mock.setRules({ path: pathOf(bob), identified: false, times: 1, ...fault })
    const { timestamp } = await say(bob, 'through')
    expect(await next(bob, 'SENT')).toMatchObject({ sealed: false, timestamp })
    for (const device of bob.devices) expect(await device.nextText()).toBe('through')
    const seen = await requestsTo(bob)
    expect(seen.filter(({ identified }) => identified).map(({ status }) => status)).toEqual([200])
    const step = bot.trace.find(({ event, facts }) => event === 'fallback' && facts?.['messageId'] !== undefined)
    expect(step?.facts).toMatchObject({ to: 'identified' })
  })

  it('S05 without the right to sealed sender it goes identified at once', async () => {
    const bob = await acquaint(1, false)
    await say(bob, 'plain')
    expect(await next(bob, 'SENT')).toMatchObject({ sealed: false })
    expect((await requestsTo(bob)).map(({ identified }) => identified)).toEqual([true])
  })
})

describe('waits and refusals', () => {
  it('S08 429 with Retry-After is a wait with a reason; the message goes out when it is over', async () => {
    const bob = await acquaint(1)
    await world.mock.setRules({ path: pathOf(bob), times: 1, answer: { status: 429, headers: { 'retry-after': '1' } } })
    const before = Date.now()
    const { messageId } = await say(bob, 'later')
    expect(await next(bob, 'MWARN')).toMatchObject({ messageId, waitMs: 1_000, error: { code: 'SIGNAL_RATE_LIMITED' } })
    await next(bob, 'SENT')
    expect(Date.now() - before).toBeGreaterThanOrEqual(1_000)
    expect(await bob.devices[0]?.nextText()).toBe('later')
  })

  it('S08 428 waits for an answer to the challenge, and goes on at once when it is given', async () => {
    const bob = await acquaint(1)
    await world.mock.call('rateLimit', { source: bot.account.aci, target: bob.primary.aci })
    await world.mock.setRules({ path: pathOf(bob), identified: false, answer: { status: 401 } })
    await say(bob, 'challenged')
    const warning = await next(bob, 'MWARN')
    expect(warning).toMatchObject({ error: { code: 'SIGNAL_CHALLENGE' }, token: 'token', options: ['captcha'] })
    await world.mock.call('stopRateLimit', { source: bot.account.aci, target: bob.primary.aci })
    await bot.signal.answerChallenge({ token: warning.token ?? '', captcha: 'solved' })
    await next(bob, 'SENT')
    expect(await bob.devices[0]?.nextText()).toBe('challenged')
  })

  it('S08 a wait survives a restart: nothing is sent before its time', async () => {
    const bob = await acquaint(1)
    await world.mock.setRules({ path: pathOf(bob), times: 1, answer: { status: 429, headers: { 'retry-after': '2' } } })
    await say(bob, 'after the restart')
    await next(bob, 'MWARN')
    bot = await world.startBot({ open: bot.crash() })
    await next(bob, 'SENT')
    const [limited, taken] = await requestsTo(bob)
    expect([limited?.status, taken?.status]).toEqual([429, 200])
    expect((taken?.at ?? 0) - (limited?.at ?? 0)).toBeGreaterThanOrEqual(2_000)
    expect(await bob.devices[0]?.nextText()).toBe('after the restart')
  })

  it.each([
    [413, 'SIGNAL_TOO_LARGE'],
    [422, 'SIGNAL_INVALID'],
  ])('S08 %d is a permanent error with its cause; the next message is not held up', async (status, code) => {
    const bob = await acquaint(1)
    await world.mock.setRules({ path: pathOf(bob), times: 1, answer: { status } })
    const first = await say(bob, 'refused')
    const second = await say(bob, 'taken')
    expect(await next(bob, 'MERR')).toMatchObject({ messageId: first.messageId, status, error: { code } })
    expect(await next(bob, 'SENT')).toMatchObject({ messageId: second.messageId })
    expect(await bob.devices[0]?.nextText()).toBe('taken')
  })
})

describe('transcripts for the own devices', () => {
  it('S10 another device of the account gets a transcript', async () => {
    const bob = await acquaint(1)
    const own = await linkAnother(bot.account.aci)
    const { timestamp } = await say(bob, 'for all my devices')
    const message = await own.next(({ content }) => content?.syncMessage?.sent !== undefined)
    expect(message.content?.syncMessage?.sent).toMatchObject({
      timestamp,
      destinationServiceId: bob.primary.aci,
      message: { body: 'for all my devices' },
    })
    await next(bob, 'SENT')
    own.disconnect()
  })

  it('S10 a failing sync is never a failed send: SENT stands, the transcript is retried until it is there', async () => {
    const bob = await acquaint(1)
    const own = await linkAnother(bot.account.aci)
    const toSelf = `/v1/messages/${bot.account.aci}`
    await world.mock.setRules({ path: toSelf, answer: { status: 500 } })
    await say(bob, 'sync fails')
    await next(bob, 'SENT')
    expect(await bob.devices[0]?.nextText()).toBe('sync fails')
    await eventually(
      'three attempts',
      async () => (await world.mock.requests()).filter(({ path }) => path === toSelf).length >= 3,
    )
    expect(await bot.store.find(signalSyncItems, {})).toHaveLength(1)
    expect(
      bot.events.filter(({ type }) => type === 'MERR').map(event => ('error' in event ? event.error.code : '')),
    ).not.toContain('SIGNAL_EXPIRED')
    await world.mock.setRules()
    const message = await own.next(({ content }) => content?.syncMessage?.sent?.message?.body === 'sync fails')
    expect(message.content?.syncMessage?.sent?.destinationServiceId).toBe(bob.primary.aci)
    await eventually('nothing is left', async () => (await bot.store.find(signalSyncItems, {})).length === 0)
    own.disconnect()
  })
})

describe('many transcripts', () => {
  it('S10 many that wait go out together, each once, also when the own devices have changed meanwhile', async () => {
    const bob = await acquaint(1)
    const toSelf = `/v1/messages/${bot.account.aci}`
    await world.mock.setRules({ path: toSelf, answer: { status: 500 } })
    const texts = Array.from({ length: 40 }, (_, index) => `transcript ${index}`)
    await Promise.all(texts.map(text => say(bob, text)))
    await eventually('all are sent', () => texts.every(text => bob.devices[0]?.texts.includes(text)))
    const own = await linkAnother(bot.account.aci)
    await world.mock.setRules()
    await eventually('nothing is left', async () => (await bot.store.find(signalSyncItems, {})).length === 0)
    const got = () => own.received.flatMap(({ content }) => content?.syncMessage?.sent?.message?.body ?? [])
    await eventually('all have arrived', () => texts.every(text => got().includes(text)))
    expect(
      got()
        .filter(text => text.startsWith('transcript '))
        .toSorted(),
    ).toEqual(texts.toSorted())
    own.disconnect()
  })
})

describe('what is stored when', () => {
  it('S11 sessions, ciphertexts and outbox row are stored before a byte leaves: killed in between, it sends the same bytes', async () => {
    const bob = await acquaint(1)
    // The request never arrives anywhere; when it has left, everything must be on disk.
    await world.mock.setRules({ path: pathOf(bob), drop: true })
    const { messageId } = await say(bob, 'killed')
    await eventually('the request has left', async () => (await requestsTo(bob)).length > 0)
    const rows = bot.crash()
    const [stored] = await rows.find(signalOutbox, { where: { messageId } })
    expect(stored?.encrypted?.length).toBeGreaterThan(0)
    const sessions = await rows.find(signalSessions, {})
    await world.mock.setRules()
    bot = await world.startBot({ open: rows })
    expect(await bob.devices[0]?.nextText()).toBe('killed')
    await next(bob, 'SENT')
    // The ratchet has not moved for this repetition.
    const after = await bot.store.find(signalSessions, {})
    const peer = `signal-peer:1/${bob.primary.aci}`
    expect(after.filter(row => row.peer === peer)).toEqual(sessions.filter(row => row.peer === peer))
    expect(await outboxOf(bob)).toEqual([])
  })

  it('S12 an answer that is lost is repeated under the same timestamp; the receivers know it', async () => {
    const bob = await acquaint(2, false)
    await world.mock.setRules({ path: pathOf(bob), times: 2, loseAnswer: true })
    const { timestamp } = await say(bob, 'ambiguous')
    expect(await next(bob, 'SENT')).toMatchObject({ timestamp })
    expect((await statuses(bob)).length).toBeGreaterThanOrEqual(3)
    for (const device of bob.devices) {
      expect(await device.nextText()).toBe('ambiguous')
      await eventually(
        'the repetitions have arrived',
        () => device.received.filter(message => message.timestamp === timestamp).length >= 3,
      )
      // Every repetition is the same ciphertext, which libsignal refuses as a duplicate.
      const repeated = device.received.filter(message => message.timestamp === timestamp)
      expect(repeated.filter(({ content }) => content !== undefined)).toHaveLength(1)
      for (const { error } of repeated.slice(1)) expect(error).toMatch(/old counter|duplicate/i)
    }
  })

  it('S12 timestamps of one account are unique, in the same millisecond and after a restart', async () => {
    const bob = await acquaint(1)
    const sent = await Promise.all(Array.from({ length: 20 }, (_, index) => say(bob, `${index}`)))
    const again = await world.startBot({ open: bot.crash() })
    bot = again
    sent.push(await say(bob, 'last'))
    expect(new Set(sent.map(({ timestamp }) => timestamp)).size).toBe(21)
    expect(Math.max(...sent.map(({ timestamp }) => timestamp))).toBe(sent.at(-1)?.timestamp)
    await eventually('all have arrived', () => (bob.devices[0]?.texts.length ?? 0) >= 22)
    expect(bob.devices[0]?.texts.slice(1)).toEqual([...Array.from({ length: 20 }, (_, index) => `${index}`), 'last'])
  })

  it('S12 a repeated call under the same idempotency key answers with the first message', async () => {
    const bob = await acquaint(1)
    const options = { to: bob.primary.aci, text: 'once', idempotencyKey: 'key-1' }
    const [first, second] = await Promise.all([bot.signal.send(options), bot.signal.send(options)])
    expect(second).toEqual(first)
    expect(await bot.signal.send(options)).toEqual(first)
    await next(bob, 'SENT')
    expect(await bob.devices[0]?.nextText()).toBe('once')
    await say(bob, 'next')
    expect(await bob.devices[0]?.nextText()).toBe('next')
    await next(bob, 'SENT')
  })
})

describe('calls', () => {
  it('S18 wrong calls are refused with a code and the field', async () => {
    const aci = bot.account.aci
    await expect(bot.signal.send({ to: aci, text: 'x' })).rejects.toMatchObject({ code: 'SIGNAL_SELF', field: 'to' })
    await expect(bot.signal.send({ to: '+15550000001', text: 'x' })).rejects.toMatchObject({
      code: 'SIGNAL_RECIPIENT_UNKNOWN',
    })
    await expect(bot.signal.send({ to: '11111111-2222-4333-8444-555555555555' })).rejects.toMatchObject({
      code: 'SIGNAL_EMPTY',
    })
    await expect(bot.signal.send({ to: '11111111-2222-4333-8444-555555555555', text: '' })).rejects.toMatchObject({
      code: 'SIGNAL_EMPTY',
    })
    await expect(bot.signal.send({ to: '', text: 'x' })).rejects.toMatchObject({ code: 'CMD_PARAMS', field: 'to' })
    await expect(bot.signal.send({ to: 'nobody', text: 'x' })).rejects.toMatchObject({
      code: 'SIGNAL_RECIPIENT_UNKNOWN',
      field: 'to',
    })
  })
})
