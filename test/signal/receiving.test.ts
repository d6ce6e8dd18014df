import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { signalIdentities, signalPreKeys, signalRecipients, signalSessions } from '../../src/store/signal/account.js'
import { signalMessages, signalOutbox, signalSeen } from '../../src/store/signal/messages.js'
import { encode } from '../../src/signal/wire/codec.js'
import { envelope } from '../../src/signal/wire/messages.js'
import { serviceIdBytes } from '../../src/signal/wire/serviceId.js'
import { beforeCommits, touches } from '../support/storeFaults.js'
import type { Primary } from '../support/signal/mock.js'
import type { RawDevice } from '../support/signal/rawDevice.js'
import { type Bot, eventually, signalWorld, type SignalWorld } from '../support/signal/world.js'

interface Person {
  readonly primary: Primary
  readonly devices: RawDevice[]
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

const textOf = (event: { readonly body: Uint8Array }): string => Buffer.from(event.body).toString()
const toBot = () => ({ serviceId: bot.account.aci, deviceId: bot.account.deviceId })
/** Every device of the bot’s account that the server wants a message for. */
const others = { others: [1] }
/** A device never uses a timestamp twice: it names the message, and a second one is taken for a repeat (S12). */
let lastTimestamp = 0
const nextTimestamp = (): number => (lastTimestamp = Math.max(Date.now(), lastTimestamp + 1))
const say = (device: RawDevice, text: string, timestamp = nextTimestamp()) =>
  device.send(toBot(), { dataMessage: { body: text, timestamp } }, { timestamp, ...others })
const message = (text: string) => bot.next('MSG', event => textOf(event) === text)

const meet = async (devices = 1): Promise<Person & { recipientId: string }> => {
  const person = await world.person('Bob', devices)
  await bot.signal.setRecipient({ aci: person.primary.aci, profileKey: person.primary.profileKey })
  const { recipientId } = await bot.signal.send({ to: person.primary.aci, text: 'hello' })
  await bot.next('SENT', event => event.connectionId === recipientId)
  for (const device of person.devices) expect(await device.nextText()).toBe('hello')
  return { ...person, recipientId }
}

describe('receiving', () => {
  it('S18 a message is an event of its recipient, with sender, device, timestamps and text', async () => {
    const bob = await meet()
    const timestamp = nextTimestamp()
    await say(bob.devices[0] as RawDevice, 'hi', timestamp)
    expect(await message('hi')).toMatchObject({
      network: 'signal',
      connectionId: bob.recipientId,
      kind: 'text',
      timestamp,
      sender: bob.primary.aci,
      device: bob.devices[0]?.deviceId,
      sealed: false,
      addressedTo: 'aci',
    })
  })

  it('S18 a sealed message of the primary: the certificate names the sender and teaches the number', async () => {
    const carol = await world.person('Carol', 0)
    await world.mock.call('sendText', {
      from: carol.primary.aci,
      to: bot.account.aci,
      deviceId: bot.account.deviceId,
      text: 'sealed hi',
      sealed: true,
    })
    const event = await message('sealed hi')
    expect(event).toMatchObject({ sealed: true, sender: carol.primary.aci })
    const [row] = await bot.store.find(signalRecipients, { where: { recipientId: event.connectionId } })
    expect(row).toMatchObject({ aci: carol.primary.aci, e164: carol.primary.e164 })
    // The number resolves to the same recipient, without having been told by anybody else.
    const answer = await bot.signal.send({ to: carol.primary.e164, text: 'to your number' })
    expect(answer.recipientId).toBe(event.connectionId)
    await bot.next('SENT', sent => sent.connectionId === event.connectionId)
  })

  it('S18 reply and reaction, both ways', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const asked = await bot.signal.send({ to: bob.primary.aci, text: 'a question' })
    expect(await device.nextText()).toBe('a question')
    const author = bot.account.aci
    await device.send(
      toBot(),
      {
        dataMessage: {
          body: 'an answer',
          timestamp: Date.now(),
          quote: { id: asked.timestamp, authorAciBinary: serviceIdBytes(author), text: 'a question' },
        },
      },
      others,
    )
    const reply = await message('an answer')
    expect(reply).toMatchObject({ kind: 'reply', quote: { author, timestamp: asked.timestamp, text: 'a question' } })
    await device.send(
      toBot(),
      {
        dataMessage: {
          timestamp: Date.now(),
          reaction: {
            emoji: '👍',
            targetAuthorAciBinary: serviceIdBytes(author),
            targetSentTimestamp: asked.timestamp,
          },
        },
      },
      others,
    )
    expect(await bot.next('MSG', event => event.kind === 'reaction')).toMatchObject({
      reaction: { emoji: '👍', author, timestamp: asked.timestamp, remove: false },
    })
    const theirs = { author: bob.primary.aci, timestamp: reply.timestamp }
    await bot.signal.send({ to: bob.primary.aci, text: 'thanks', quote: { ...theirs, text: 'an answer' } })
    const quoted = await device.next(({ content }) => content?.dataMessage?.quote !== undefined)
    expect(quoted.content?.dataMessage).toMatchObject({
      body: 'thanks',
      quote: { id: reply.timestamp, authorAci: bob.primary.aci },
    })
    await bot.signal.send({ to: bob.primary.aci, reaction: { ...theirs, emoji: '❤️' } })
    const reacted = await device.next(({ content }) => content?.dataMessage?.reaction !== undefined)
    expect(reacted.content?.dataMessage?.reaction).toMatchObject({ emoji: '❤️', targetSentTimestamp: reply.timestamp })
  })

  it('S18 an attachment goes up encrypted, and comes back as the same bytes', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const bytes = Buffer.from('a picture of nothing '.repeat(500))
    const pointer = await bot.signal.uploadAttachment({ bytes, contentType: 'image/png', fileName: 'nothing.png' })
    await bot.signal.send({ to: bob.primary.aci, text: 'look', attachments: [pointer] })
    const got = await device.next(({ content }) => (content?.dataMessage?.attachments ?? []).length > 0)
    const [received] = got.content?.dataMessage?.attachments ?? []
    expect(received).toMatchObject({
      contentType: 'image/png',
      fileName: 'nothing.png',
      size: bytes.length,
      cdnNumber: 3,
    })
    // The same pointer, sent back.
    await device.send(
      toBot(),
      { dataMessage: { body: 'back', timestamp: Date.now(), attachments: [received ?? {}] } },
      others,
    )
    const event = await message('back')
    expect(event).toMatchObject({
      kind: 'attachment',
      attachments: [{ position: 0, contentType: 'image/png', size: bytes.length }],
    })
    expect(JSON.stringify(event)).not.toContain(Buffer.from(received?.key ?? []).toString('base64'))
    const { connectionId: recipientId, messageId } = event
    expect(Buffer.from(await bot.signal.downloadAttachment({ recipientId, messageId, position: 0 }))).toEqual(bytes)
    await expect(bot.signal.downloadAttachment({ recipientId, messageId, position: 1 })).rejects.toMatchObject({
      code: 'SIGNAL_ATTACHMENT_UNKNOWN',
    })
  })

  it('S18 ACI, PNI and number of one person resolve to one recipient, whatever was known first', async () => {
    const { primary } = await world.person('Dora', 0)
    const byPni = await bot.signal.setRecipient({ pni: primary.pni })
    const byAci = await bot.signal.setRecipient({ aci: primary.aci })
    expect(byPni.recipientId).not.toBe(byAci.recipientId)
    const joined = await bot.signal.setRecipient({ aci: primary.aci, pni: primary.pni, e164: primary.e164 })
    expect(joined.recipientId).toBe(byAci.recipientId)
    expect(await bot.next('RECIPIENT_MERGED')).toMatchObject({
      connectionId: byAci.recipientId,
      mergedRecipientId: byPni.recipientId,
    })
    for (const to of [primary.aci, primary.pni, primary.e164, byPni.recipientId]) {
      expect((await bot.signal.send({ to, text: 'same' })).recipientId).toBe(byAci.recipientId)
    }
  })

  it('S18 a PNI signature joins the recipient that was written to by PNI with the one that answers', async () => {
    const { primary } = await world.person('Eve', 0)
    const first = await bot.signal.send({ to: primary.pni, text: 'to your number' })
    await bot.next('SENT', event => event.connectionId === first.recipientId)
    expect(await world.mock.call('nextMessage', { aci: primary.aci })).toMatchObject({ body: 'to your number' })
    const sendText = { from: primary.aci, to: bot.account.aci, deviceId: bot.account.deviceId }
    await world.mock.call('sendText', { ...sendText, text: 'it is me', pniSignature: true })
    const answer = await message('it is me')
    await eventually('both are one', async () => {
      const again = await bot.signal.send({ to: primary.pni, text: 'again' })
      return again.recipientId === answer.connectionId
    })
  })

  it('S18 an unexpected service id for a known number is an event, and the number moves', async () => {
    const { primary } = await world.person('Fay', 0)
    const before = await bot.signal.setRecipient({ aci: '99999999-2222-4333-8444-555555555555', e164: primary.e164 })
    await world.mock.call('sendText', {
      from: primary.aci,
      to: bot.account.aci,
      deviceId: bot.account.deviceId,
      text: 'new here',
      sealed: true,
    })
    const event = await message('new here')
    expect(await bot.next('UNEXPECTED_SERVICE_ID')).toMatchObject({
      connectionId: event.connectionId,
      number: primary.e164,
      expected: '99999999-2222-4333-8444-555555555555',
      actual: primary.aci,
      previousRecipientId: before.recipientId,
    })
    expect((await bot.signal.send({ to: primary.e164, text: 'x' })).recipientId).toBe(event.connectionId)
  })

  it('S18 text that no database keeps, and bytes that are no message, change nothing for what follows', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const timestamp = nextTimestamp()
    await device.send(
      toBot(),
      {
        dataMessage: {
          body: 'a\0b',
          timestamp,
          reaction: { emoji: '\0', targetSentTimestamp: 1, targetAuthorAci: '\0' },
        },
      },
      { timestamp, ...others },
    )
    expect(await bot.next('MSG', event => event.timestamp === timestamp)).toMatchObject({ kind: 'reaction' })
    await world.mock.call('sendRawEnvelope', {
      to: bot.account.aci,
      deviceId: bot.account.deviceId,
      bytes: Buffer.from('junk'),
    })
    await world.mock.call('sendRawEnvelope', {
      to: bot.account.aci,
      deviceId: bot.account.deviceId,
      bytes: Buffer.from(encode(envelope, { type: 6, content: Buffer.from('no seal'), clientTimestamp: 1 })),
    })
    expect(await bot.next('DROPPED')).toMatchObject({ code: expect.any(String) })
    await say(device, 'after the junk')
    await message('after the junk')
    await eventually('the queue is empty', async () => (await world.mock.call<number>('queued', bot.account)) === 0)
  })

  it('S18 a sealed message under a certificate of another root is dropped', async () => {
    const strict = await world.startBot({
      server: { url: `https://127.0.0.1:${world.mock.port}`, ca: world.mock.ca, trustRoots: [otherRoot] },
    })
    const carol = await world.person('Carol', 0)
    const to = { from: carol.primary.aci, to: strict.account.aci, deviceId: strict.account.deviceId }
    await world.mock.call('sendText', { ...to, text: 'believe me', sealed: true })
    expect(await strict.next('DROPPED')).toMatchObject({ code: 'CRYPTO_CERTIFICATE' })
    await strict.close()
    await world.mock.call('removeDevice', strict.account)
  })
})

const otherRoot = 'BXu6QIKVz5MA8gstzfOgRQGqyLqOwNKHL6INkv3IHWMF'

describe('receipts', () => {
  it('S14 a message is answered with a delivery receipt; read receipts go out when the application says so', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const timestamp = nextTimestamp()
    await say(device, 'receipt me', timestamp)
    await message('receipt me')
    const delivered = await device.next(({ content }) => content?.receiptMessage !== undefined)
    expect(delivered.content?.receiptMessage).toEqual({ type: 0, timestamp: [timestamp] })
    await bot.signal.markRead({ to: bob.recipientId, timestamps: [timestamp] })
    const read = await device.next(({ content }) => content?.receiptMessage !== undefined)
    expect(read.content?.receiptMessage).toEqual({ type: 1, timestamp: [timestamp] })
  })

  it('S14 receipts of the other side are events', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const { timestamp } = await bot.signal.send({ to: bob.primary.aci, text: 'did you read?' })
    expect(await device.nextText()).toBe('did you read?')
    for (const [type, kind] of [
      [0, 'delivery'],
      [1, 'read'],
      [2, 'viewed'],
    ] as const) {
      await device.send(toBot(), { receiptMessage: { type, timestamp: [timestamp] } }, others)
      expect(await bot.next('RECEIPT', event => event.kind === kind)).toMatchObject({
        connectionId: bob.recipientId,
        timestamps: [timestamp],
        device: device.deviceId,
      })
    }
  })

  it('S14 queue-empty marks "caught up" after everything that waited has been told', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const rows = bot.store
    await bot.close()
    for (let index = 0; index < 10; index++) await say(device, `waiting ${index}`)
    bot = await world.startBot({ open: rows.reopen() })
    await bot.next('CAUGHT_UP')
    const order = bot.events.filter(({ type }) => type === 'MSG' || type === 'CAUGHT_UP')
    expect(order.map(event => (event.type === 'MSG' ? textOf(event) : event.type))).toEqual([
      ...Array.from({ length: 10 }, (_, index) => `waiting ${index}`),
      'CAUGHT_UP',
    ])
    expect(bot.signal.health().caughtUp).toBe(true)
  })
})

describe('what is stored before the acknowledgement', () => {
  it('S11 ratchet, plaintext and dedupe hash are one commit, before the ack', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const order: string[] = []
    let release = (): void => {}
    const held = new Promise<void>(resolve => {
      release = resolve
    })
    beforeCommits(bot.store, async changes => {
      if (!touches(changes, signalSeen)) return
      const sessions = changes.filter(change => change.table.name === signalSessions.name)
      order.push(`ratchet ${sessions.length > 0}, event ${changes.some(change => change.table.name === 'events')}`)
      await held
    })
    await say(device, 'held back')
    await eventually('the commit has begun', () => order.length === 1)
    expect(order).toEqual(['ratchet true, event true'])
    // Not on disk, so not acknowledged.
    expect(await world.mock.call('queued', bot.account)).toBe(1)
    release()
    await message('held back')
    await eventually('it was acknowledged', async () => (await world.mock.call<number>('queued', bot.account)) === 0)
  })

  it('S11 killed between commit and ack: delivered again, known, told once', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    // The socket goes the moment that the message is on disk.
    beforeCommits(bot.store, changes => {
      if (touches(changes, signalSeen)) world.identified.mode = 'mute'
    })
    await say(device, 'killed')
    await message('killed')
    expect(await world.mock.call('queued', bot.account)).toBe(1)
    const rows = bot.crash()
    world.identified.mode = 'pass'
    world.identified.reset()
    bot = await world.startBot({ open: rows })
    await bot.next('CAUGHT_UP')
    expect(await world.mock.call('queued', bot.account)).toBe(0)
    expect(bot.events.filter(event => event.type === 'MSG' && textOf(event) === 'killed')).toEqual([])
    expect(bot.events.filter(({ type }) => type === 'DECRYPTION_FAILED')).toEqual([])
  })

  it('S11 killed before the commit: nothing has changed, and the message is taken when it comes again', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    let begun = false
    beforeCommits(bot.store, changes => {
      if (!touches(changes, signalSeen)) return undefined
      begun = true
      return new Promise<void>(() => {})
    })
    await say(device, 'not yet')
    await eventually('the commit has begun', () => begun)
    expect(bot.events.filter(event => event.type === 'MSG' && textOf(event) === 'not yet')).toEqual([])
    const rows = bot.crash()
    world.identified.reset()
    bot = await world.startBot({ open: rows })
    await message('not yet')
  })

  it('S12 the same message under the same timestamp, encrypted anew, is told once', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const timestamp = nextTimestamp()
    await say(device, 'twice', timestamp)
    await say(device, 'twice', timestamp)
    await say(device, 'end')
    await message('end')
    expect(bot.events.filter(event => event.type === 'MSG' && event.timestamp === timestamp)).toHaveLength(1)
  })

  it('S11 a full event log stops receiving: nothing is acknowledged until there is room, and nothing is lost', async () => {
    const bob = await meet()
    const [device] = bob.devices as [RawDevice]
    const rows = bot.store
    await bot.close()
    const { openSignal } = await import('../../src/signal/index.js')
    const { quickConfig } = await import('../support/signal/world.js')
    const full = await openSignal({
      server: { url: `https://127.0.0.1:${world.mock.port}`, ca: world.mock.ca, trustRoots: [world.mock.trustRoot] },
      dialer: world.dialer,
      store: { open: rows.reopen() },
      config: quickConfig,
      agent: { maxUnreadEvents: 5 },
    })
    await full.registerConsumer({ consumer: 'reader', from: 'start' })
    for (let index = 0; index < 6; index++) await say(device, `flood ${index}`)
    await eventually(
      'the log is full',
      async () => (await full.readEvents({ consumer: 'reader', limit: 5 })).events.length === 5,
    )
    for (let index = 6; index < 10; index++) await say(device, `flood ${index}`)
    expect(await world.mock.call<number>('queued', bot.account)).toBeGreaterThanOrEqual(4)
    const texts: string[] = []
    for (let turn = 0; turn < 40 && texts.length < 10; turn++) {
      const { events } = await full.readEvents({ consumer: 'reader', limit: 3, waitMs: 1_000 })
      for (const event of events as Array<{ type: string; cursor: number; body: Uint8Array }>) {
        if (event.type === 'MSG') texts.push(textOf(event))
        await full.ackEvents({ consumer: 'reader', cursor: event.cursor })
        await full.ackEvents({ consumer: 'default', cursor: event.cursor }).catch(() => {})
      }
    }
    expect(texts).toEqual(Array.from({ length: 10 }, (_, index) => `flood ${index}`))
    await full.close()
    bot = await world.startBot({ open: (rows.reopen() as never as { reopen(): never }).reopen() })
  })
})

describe('retry receipts', () => {
  it('S13 a message that does not open is told and asked for again: the raw device gets the request', async () => {
    const bob = await meet(2)
    const [device] = bob.devices as [RawDevice, RawDevice]
    await say(device, 'before')
    await message('before')
    // The bot loses its sessions, as from a restored database.
    const peer = `signal-peer:1/${bob.primary.aci}`
    const rows = bot.store
    await bot.close()
    const reopened = rows.reopen()
    const { removeWhere } = await import('../../src/store/index.js')
    await reopened.commit([removeWhere(signalSessions, { peer })])
    bot = await world.startBot({ open: reopened })
    const timestamp = nextTimestamp()
    await say(device, 'unreadable', timestamp)
    expect(await bot.next('DECRYPTION_FAILED')).toMatchObject({
      sender: bob.primary.aci,
      device: device.deviceId,
      timestamp,
    })
    const request = await device.next(({ retry }) => retry !== undefined)
    expect(request.retry).toEqual({ timestamp, deviceId: device.deviceId })
    // Sent again under a new session and the same timestamp, it is taken.
    device.forgetSessions()
    await say(device, 'unreadable', timestamp)
    expect(await message('unreadable')).toMatchObject({ timestamp })
  })

  it('S13 a retry receipt archives the session whose key it names, and the message is sent again under its timestamp', async () => {
    const bob = await meet(2)
    const [first, second] = bob.devices as [RawDevice, RawDevice]
    const restore = first.snapshot()
    for (const text of ['one', 'two']) await bot.signal.send({ to: bob.primary.aci, text })
    expect([await first.nextText(), await first.nextText()]).toEqual(['one', 'two'])
    // An answer turns the ratchet, and then the device goes back to its backup.
    await say(first, 'turn')
    await message('turn')
    await first.next(({ content }) => content?.receiptMessage !== undefined)
    restore()
    first.forgetSessions()
    const { timestamp } = await bot.signal.send({ to: bob.primary.aci, text: 'lost on one device' })
    const failed = await first.next(({ error }) => error !== undefined)
    expect(failed.timestamp).toBe(timestamp)
    const counts = await registrationIds()
    await first.sendRetryReceipt({ ...toBot(), registrationId: counts.bot }, failed, [
      { deviceId: 1, registrationId: counts.primary },
    ])
    expect(await bot.next('RETRY_REQUESTED')).toMatchObject({
      timestamp,
      archived: true,
      resent: true,
      device: first.deviceId,
    })
    const again = await first.next(({ content }) => content?.dataMessage?.body === 'lost on one device')
    expect(again.timestamp).toBe(timestamp)
    // The other device knows it already: it is under the same timestamp.
    await eventually(
      'the other device has both',
      () => second.received.filter(message => message.timestamp === timestamp).length >= 2,
    )
    expect((await bot.store.find(signalMessages, { where: { timestamp } }))[0]).toMatchObject({
      resends: 1,
      state: 'sent',
    })
    expect(bot.events.filter(event => event.type === 'SENT' && event.timestamp === timestamp)).toHaveLength(1)
    await bot.signal.send({ to: bob.primary.aci, text: 'and on' })
    expect(await first.nextText()).toBe('and on')
  })
})

/** Registration ids of the bot’s account: of the channel and of the primary. */
const registrationIds = async (): Promise<{ bot: number; primary: number }> => {
  const { signalAccounts } = await import('../../src/store/signal/account.js')
  const [account] = await bot.store.find(signalAccounts, {})
  const asker = await world.person('Asker', 1)
  const { json } = await (asker.devices[0] as RawDevice).request('GET', `/v2/keys/${bot.account.aci}/1`)
  const [device] = json['devices'] as Array<{ registrationId: number }>
  return { bot: account?.registrationId ?? 0, primary: device?.registrationId ?? 0 }
}

describe('keys', () => {
  it('S01 a one-time key that was used is gone, in the commit of the message that used it', async () => {
    const before = await bot.store.count(signalPreKeys, { kind: 'ec', own: 'aci' })
    const { devices } = await world.person('Gil', 1)
    await say(devices[0] as RawDevice, 'first contact')
    await message('first contact')
    expect(await bot.store.count(signalPreKeys, { kind: 'ec', own: 'aci' })).toBe(before - 1)
    expect(await bot.store.find(signalIdentities, {})).not.toHaveLength(0)
    await eventually('the receipt is out', async () => (await bot.store.find(signalOutbox, {})).length === 0)
  })
})
