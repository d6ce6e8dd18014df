/** What only time, or an unusual moment, decides, on a virtual clock: retries, certificates, attributes, logging out, repetitions. */
import { randomUUID } from 'node:crypto'
import { PrivateKey } from '@signalapp/libsignal-client'
import { afterEach, describe, expect, it } from 'vitest'
import { openSignal, type SignalEvent } from '../../src/signal/index.js'
import { encode } from '../../src/signal/wire/codec.js'
import { provisioningAddress } from '../../src/signal/wire/messages.js'
import { insert, put, remove } from '../../src/store/index.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { signalPreKeys, signalSessions } from '../../src/store/signal/account.js'
import { signalMessages, signalOutbox, signalSyncItems } from '../../src/store/signal/messages.js'
import { MemoryPerson } from '../support/signal/memoryPerson.js'
import { type MemoryWorld, memoryWorld } from '../support/signal/memoryWorld.js'
import type { Reply } from '../support/signal/service.js'

let world: MemoryWorld
afterEach(async () => {
  await world.close()
})

const second = 1_000
const minute = 60 * second
const told = <T extends SignalEvent['type']>(type: T) =>
  world.events.filter((event): event is Extract<SignalEvent, { type: T }> => event.type === type)
const isTold = (type: SignalEvent['type'], times = 1) =>
  world.until(`${times} × ${type}`, () => told(type).length >= times)
const profileKey = Buffer.alloc(32, 1)

describe('before a send', () => {
  it('S04 H1 both sockets are probed where nothing was received for 5 s, each by its own keepalive, and not otherwise', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const probed = async (count: number) => {
      const before = world.service.asked.length
      await world.signal.send({ to: bob.aci, text: 'hi' })
      await isTold('SENT', count)
      const asked = world.service.asked.slice(before)
      const sent = asked.findIndex(({ path }) => path === `/v1/messages/${bob.aci}`)
      return asked.slice(0, sent).flatMap(({ path, socket }) => (path === '/v1/keepalive' ? [socket] : []))
    }
    await world.clock.advance(6 * second)
    expect((await probed(1)).sort()).toEqual(['identified', 'unidentified'])
    expect(await probed(2)).toEqual([])
  })
})

describe('an attempt that failed', () => {
  it('S12 is repeated after 2 s, 4 s … 2 min: keepalives that are answered do not hurry it', async () => {
    world = await memoryWorld()
    const bob = world.person()
    world.service.script = ({ path }) => (path === `/v1/messages/${bob.aci}` ? { status: 503 } : undefined)
    await world.signal.send({ to: bob.aci, text: 'hi' })
    const attempts = () => world.service.messagesTo(bob.aci).length
    await world.until('the first attempt', () => attempts() === 1)
    const waits: number[] = []
    let since = world.clock.now()
    while (waits.length < 8) {
      const before = attempts()
      await world.clock.settle()
      await world.clock.next()
      if (attempts() === before) continue
      waits.push((world.clock.now() - since) / second)
      since = world.clock.now()
    }
    expect(waits).toEqual([2, 4, 8, 16, 32, 64, 120, 120])
  })

  it('S12 S16 whose cause is in here, not at the server, is logged with its step: nothing else would tell', async () => {
    world = await memoryWorld()
    const bob = world.person()
    await world.signal.send({ to: bob.aci, text: 'hi' })
    await isTold('SENT')
    await world.until('the transcript is out', async () => (await world.store.count(signalSyncItems)) === 0)
    const sessions = await world.store.find(signalSessions, {})
    expect(sessions).toHaveLength(2)
    world.kill()
    await world.store.commit(sessions.map(row => put(signalSessions, { ...row, record: Buffer.from('none') })))
    await world.start()
    await world.signal.send({ to: bob.aci, text: 'again' })
    const steps = (machine: string) => world.warned.filter(facts => 'machine' in facts && facts.machine === machine)
    await world.until('it is logged', () => steps('signalSend').length > 0)
    expect(steps('signalSend')).toEqual([{ machine: 'signalSend', step: 'encrypt', code: 'INTERNAL' }])
    // The same for a transcript.
    world.kill()
    const session = sessions.find(({ peer }) => peer.includes(bob.aci))
    if (session === undefined) throw new Error('there is no session with the recipient')
    await world.store.commit([put(signalSessions, session)])
    await world.start()
    await isTold('SENT', 2)
    await world.until('it is logged', () => steps('signalSync').length > 0)
    expect(steps('signalSync')).toEqual([{ machine: 'signalSync', step: 'syncNext', code: 'INTERNAL' }])
  })

  it('S16 every transition of the workers is a line of the trace', async () => {
    world = await memoryWorld()
    const bob = world.person()
    await world.signal.send({ to: bob.aci, text: 'hi' })
    await isTold('SENT')
    await world.until('the transcript is out', async () => (await world.store.count(signalSyncItems)) === 0)
    const states = (machine: string) => world.trace.filter(one => one.machine === machine).map(one => one.to)
    expect(states('signalSend')).toEqual(
      expect.arrayContaining(['probing', 'keying', 'encrypting', 'sending.identified', 'settling.sent', 'idle']),
    )
    expect(states('signalSync')).toEqual(expect.arrayContaining(['syncing', 'idle']))
    expect(states('signalSocket')).toEqual(expect.arrayContaining(['connecting', 'open.quiet']))
  })
})

describe('the trace of a send', () => {
  it('S16 tells every step under the correlation id: devices, way, sockets, answers, fallback', async () => {
    world = await memoryWorld()
    const identity = PrivateKey.generate()
    const aci = randomUUID()
    const devices = (...ids: number[]) => world.service.people.set(aci, new MemoryPerson(aci, ids, identity))
    devices(1, 2)
    await world.signal.setRecipient({ aci, profileKey })
    await world.signal.send({ to: aci, text: 'hello' })
    await isTold('SENT')
    devices(1, 2, 3)
    let dropped = false
    world.service.script = ({ path, socket }) => {
      if (path !== `/v1/messages/${aci}` || socket !== 'unidentified' || dropped) return undefined
      dropped = true
      return 'silence'
    }
    const correlationId = 'corr-1'
    const { messageId } = await world.signal.send({ to: aci, text: 'traced', correlationId })
    await world.until('it is sent, and not answered', () => dropped)
    await world.clock.advance(15 * second)
    await isTold('SENT', 2)
    const traced = () => world.trace.filter(({ traceId, machine }) => traceId === 'corr-1' && machine === 'signalSend')
    // The transcript is an item of its own, which may be done before or after SENT is read.
    await world.until('the transcript is traced', () => traced().some(({ event }) => event === 'sync'))
    const steps = traced().filter(({ event }) => event !== 'sync')
    expect(steps.map(({ event }) => event)).toEqual([
      'queued',
      'probed',
      'path',
      'encrypted',
      'request',
      'answer',
      'fallback',
      'request',
      'answer',
      'devices',
      'keys',
      'encrypted',
      'request',
      'answer',
      'settled',
    ])
    expect(steps.every(({ facts }) => facts?.['messageId'] === messageId)).toBe(true)
    const facts = (event: string) => steps.filter(step => step.event === event).map(step => step.facts)
    expect(facts('path')[0]).toMatchObject({ path: 'sealed' })
    expect(facts('probed')[0]).toMatchObject({
      identified: expect.stringMatching(/^open/),
      unidentified: expect.stringMatching(/^open/),
    })
    expect(facts('answer')).toMatchObject([
      { sealed: true, type: 'unanswered', error: 'SIGNAL_TIMEOUT' },
      { sealed: false, type: 'mismatched', status: 409, missing: [3] },
      { sealed: false, type: 'accepted', status: 200 },
    ])
    expect(facts('encrypted').at(-1)).toMatchObject({ devices: [1, 2, 3], made: 1 })
    // Nothing of the message, no key.
    expect(JSON.stringify(steps)).not.toMatch(/traced|profileKey/)
  })
})

describe('the sender certificate', () => {
  const certificates = () => world.service.asked.filter(({ path }) => path.startsWith('/v1/certificate')).length
  const answer = (reply: () => Reply) => {
    world.service.script = ({ path }) => (path.startsWith('/v1/certificate') ? reply() : undefined)
  }
  it.each<[string, () => Reply]>([
    ['refused', () => ({ status: 500 })],
    ['none', () => ({ status: 200, json: { certificate: 'AAAA' } })],
    ['no text', () => ({ status: 200, json: { certificate: 7 } })],
    ['expired', () => certified({ expires: world.clock.now() - second })],
    ['signed by another root', () => certified({ trusted: false })],
    ['that of another device', () => certified({ deviceId: 3 })],
  ])(
    'S05 S15 is %s: messages go identified, health says so, and it is asked for again after a while',
    async (_, reply) => {
      world = await memoryWorld()
      const bob = world.person()
      await world.signal.setRecipient({ aci: bob.aci, profileKey })
      answer(reply)
      for (let sent = 1; sent <= 3; sent++) {
        await world.signal.send({ to: bob.aci, text: 'hi' })
        await isTold('SENT', sent)
      }
      expect(told('SENT').map(({ sealed }) => sealed)).toEqual([false, false, false])
      expect(world.signal.health()).toMatchObject({ state: 'degraded', reasons: ['CERTIFICATE'] })
      expect(certificates()).toBe(1)
      world.service.script = undefined
      await world.clock.advance(minute)
      await world.signal.send({ to: bob.aci, text: 'hi' })
      await isTold('SENT', 4)
      expect(told('SENT').at(-1)).toMatchObject({ sealed: true })
      expect(world.signal.health().state).toBe('healthy')
    },
  )
  const certified = (options: Parameters<MemoryWorld['service']['certificate']>[0]): Reply => ({
    status: 200,
    json: { certificate: world.service.certificate(options) },
  })

  it('S15 that could not be had is asked for again by itself: health does not wait for somebody to send', async () => {
    world = await memoryWorld()
    const bob = world.person()
    await world.signal.setRecipient({ aci: bob.aci, profileKey })
    answer(() => ({ status: 500 }))
    await world.signal.send({ to: bob.aci, text: 'hi' })
    await isTold('SENT')
    expect(world.signal.health().reasons).toEqual(['CERTIFICATE'])
    await world.clock.advance(minute)
    expect(certificates()).toBe(3)
    world.service.script = undefined
    await world.clock.advance(minute)
    expect(world.signal.health().state).toBe('healthy')
    const asked = certificates()
    await world.clock.advance(10 * minute)
    expect(certificates()).toBe(asked)
  })

  it('S05 S15 is not wanting only because the socket that it is asked for over is still connecting', async () => {
    world = await memoryWorld()
    const bob = world.person()
    await world.signal.setRecipient({ aci: bob.aci, profileKey })
    world.kill()
    const { dial } = world.service.dialer
    let connect = (): void => {}
    Object.assign(world.service.dialer, {
      dial: async (...[target, signal]: Parameters<typeof dial>) => {
        if (target.socket === 'identified') await new Promise<void>(resolve => (connect = resolve))
        return dial(target, signal)
      },
    })
    await world.start()
    await world.signal.send({ to: bob.aci, text: 'at once' })
    await world.clock.advance(second)
    expect(world.signal.health().sockets).toEqual({ identified: 'connecting', unidentified: 'open.quiet' })
    connect()
    await isTold('SENT')
    expect(told('SENT')).toMatchObject([{ sealed: true }])
    expect(told('HEALTH').filter(({ reasons }) => reasons.includes('CERTIFICATE'))).toEqual([])
  })

  it('S05 is renewed before it runs out; until then the old one is good', async () => {
    world = await memoryWorld()
    const bob = world.person()
    await world.signal.setRecipient({ aci: bob.aci, profileKey })
    answer(() => certified({ expires: world.clock.now() + 20 * minute }))
    const say = async () => {
      const count = told('SENT').length + 1
      await world.signal.send({ to: bob.aci, text: 'hi' })
      await isTold('SENT', count)
    }
    await say()
    await say()
    expect(certificates()).toBe(1)
    await world.clock.advance(11 * minute)
    answer(() => ({ status: 500 }))
    await say()
    expect([certificates(), told('SENT').at(-1)?.sealed]).toEqual([2, true])
    await world.clock.advance(10 * minute)
    await say()
    expect(told('SENT').at(-1)?.sealed).toBe(false)
  })
})

describe('the account', () => {
  it('S09 S15 attributes that are refused again and again are told once', async () => {
    world = await memoryWorld()
    world.kill()
    world.events.splice(0)
    world.service.script = ({ path }) => (path.startsWith('/v1/accounts/attributes') ? { status: 422 } : undefined)
    await world.start()
    const uploads = () => world.service.asked.filter(({ path }) => path.startsWith('/v1/accounts/attributes')).length
    const before = uploads()
    for (let turn = 0; turn < 20 && uploads() < before + 4; turn++) await world.clock.advance(5 * minute)
    expect(uploads()).toBeGreaterThanOrEqual(before + 4)
    const states = told('HEALTH').map(({ state, reasons }) => [state, ...reasons].join(' '))
    expect(states.filter(words => words === 'degraded ATTRIBUTES_422')).toHaveLength(1)
    expect(states.at(-1)).toBe('degraded ATTRIBUTES_422')
  })

  it('S15 logged out nothing is sent any more, over neither socket, and what is accepted waits', async () => {
    world = await memoryWorld()
    const bob = world.person()
    await world.signal.setRecipient({ aci: bob.aci, profileKey })
    await world.signal.send({ to: bob.aci, text: 'before' })
    await isTold('SENT')
    world.service.close('identified', 4401)
    await world.until('logged out', () => world.signal.health().state === 'loggedOut')
    const sent = world.service.messagesTo(bob.aci).length
    await world.signal.send({ to: bob.aci, text: 'after' })
    await world.clock.advance(10 * minute)
    expect(world.signal.health().sockets).toEqual({ identified: 'closed.invalidated', unidentified: 'stopped' })
    expect(world.service.messagesTo(bob.aci)).toHaveLength(sent)
    expect(await world.store.count(signalOutbox)).toBe(1)
  })

  it('S10 S08 an answered challenge lets transcripts go on as well', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const challenge = { status: 428, json: { token: 'token', options: ['captcha'] } }
    let challenged = true
    world.service.script = ({ path }) =>
      challenged && path === `/v1/messages/${world.account.aci}` ? challenge : undefined
    await world.signal.send({ to: bob.aci, text: 'hi' })
    await isTold('SENT')
    await world.until('it waits', async () => (await world.store.find(signalSyncItems, {}))[0]?.waitUntil !== null)
    challenged = false
    await world.signal.answerChallenge({ token: 'token', captcha: 'solved' })
    await world.until('it is out', async () => (await world.store.count(signalSyncItems)) === 0)
  })
})

describe('prekeys', () => {
  it('S01 an upload that is never answered is repeated with the same keys, however often', async () => {
    world = await memoryWorld({ config: { preKeysCheckMs: minute } })
    const before = await world.store.count(signalPreKeys)
    world.service.preKeys.delete('aci')
    const uploads: string[] = []
    world.service.script = ({ verb, path, json }) => {
      if (verb !== 'PUT' || !path.startsWith('/v2/keys')) return undefined
      uploads.push(JSON.stringify(json))
      return 'silence'
    }
    await world.clock.advance(30 * minute)
    expect(uploads.length).toBeGreaterThan(5)
    expect(new Set(uploads).size).toBe(1)
    // Four of both kinds.
    expect(await world.store.count(signalPreKeys)).toBe(before + 8)
    world.service.script = undefined
    await world.clock.advance(2 * minute)
    expect(JSON.stringify(world.service.preKeys.get('aci'))).toBe(uploads[0])
    // What was answered is not uploaded again.
    world.service.preKeys.delete('aci')
    await world.clock.advance(2 * minute)
    expect(JSON.stringify(world.service.preKeys.get('aci'))).not.toBe(uploads[0])
  })
})

describe('repetitions for retry receipts', () => {
  it('S13 one that comes before the answer to the message is not forgotten: the device gets it again', async () => {
    world = await memoryWorld()
    const bob = world.person(2)
    await world.signal.send({ to: bob.aci, text: 'hello' })
    await isTold('SENT')
    await bob.device(1).open()
    let answerIt: (reply: Reply) => void = () => {}
    world.service.script = ({ path }, take) => {
      if (path !== `/v1/messages/${bob.aci}`) return undefined
      world.service.script = undefined
      const reply = take()
      return new Promise<Reply>(resolve => (answerIt = () => resolve(reply)))
    }
    const { timestamp, messageId } = await world.signal.send({ to: bob.aci, text: 'not opened' })
    await world.until('the service has it', () => bob.device(1).mailbox.length > 0)
    const [lost] = bob.device(1).mailbox.splice(0)
    world.service.queue(bob.device(1).retryReceipt(world.account, lost as never, world.clock.now()))
    await isTold('RETRY_REQUESTED')
    answerIt({ status: 200 })
    await isTold('SENT', 2)
    await world.until('it comes again', () => bob.device(1).mailbox.length > 0)
    expect(bob.device(1).mailbox[0]?.timestamp).toBe(timestamp)
    bob.device(1).forgetSessions()
    expect(await bob.device(1).open()).toMatchObject([{ dataMessage: { body: 'not opened' } }])
    await world.until('nothing is left', async () => (await world.store.count(signalOutbox)) === 0)
    expect(told('SENT').filter(event => event.messageId === messageId)).toHaveLength(1)
  })

  it('S13 an own device that could not open a transcript gets it again, under a new session', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const phone = world.own.device(1)
    const { timestamp } = await world.signal.send({ to: bob.aci, text: 'for my phone' })
    await world.until('the transcript is out', () => phone.mailbox.length > 0)
    await world.until('it is done', async () => (await world.store.count(signalSyncItems)) === 0)
    const [lost] = phone.mailbox.splice(0)
    world.service.queue(phone.retryReceipt(world.account, lost as never, world.clock.now()))
    await isTold('RETRY_REQUESTED')
    expect(told('RETRY_REQUESTED')[0]).toMatchObject({ timestamp, device: 1, archived: true, resent: true })
    await world.until('it comes again', () => phone.mailbox.length > 0)
    expect(await phone.open()).toMatchObject([
      { syncMessage: { sent: { timestamp, message: { body: 'for my phone' } } } },
    ])
    expect(told('DECRYPTION_FAILED')).toEqual([])
  })

  it('S13 a transcript of an own device that does not open is asked for again', async () => {
    world = await memoryWorld()
    const phone = world.own.device(1)
    const content = { syncMessage: { sent: { timestamp: 7, message: { body: 'from my phone', timestamp: 7 } } } }
    await phone.envelope(world.service, world.account, content, 6)
    // The key that the first one names was used up by it.
    world.service.preKeys.set('aci', { ...world.service.preKeys.get('aci'), preKeys: [] as never })
    const second = await phone.envelope(world.service, world.account, content, 7)
    second.set([1, 2, 3], second.length / 2)
    world.service.queue(second)
    await isTold('DECRYPTION_FAILED')
    await world.until('it is acknowledged', () => world.service.queued === 0)
    await world.until('the phone is asked', () => phone.mailbox.some(({ type }) => type === 8))
    expect(
      await world.signal.send({ to: told('DECRYPTION_FAILED')[0]?.connectionId ?? '', text: 'x' }).catch(e => e),
    ).toMatchObject({ code: 'SIGNAL_SELF' })
  })

  it('S13 one whose message has left the log meanwhile is forgotten, and holds nothing up', async () => {
    world = await memoryWorld()
    const bob = world.person()
    const { recipientId, messageId } = await world.signal.send({ to: bob.aci, text: 'old' })
    await isTold('SENT')
    const [row] = await world.store.find(signalMessages, { where: { recipientId, messageId } })
    expect(row?.state).toBe('sent')
    await world.clock.advance(second)
    world.kill()
    await world.store.commit([
      remove(signalMessages, { recipientId, messageId }),
      insert(signalOutbox, {
        recipientId,
        messageId,
        userId: 1,
        encrypted: null,
        resend: true,
        waitUntil: null,
        waitReason: null,
        createdAt: world.clock.now(),
      }),
    ])
    await world.start()
    await world.signal.send({ to: bob.aci, text: 'new' })
    await isTold('SENT', 2)
    expect(await world.store.count(signalOutbox)).toBe(0)
  })
})

describe('linking', () => {
  const unlinked = () =>
    openSignal({
      server: { url: 'https://memory', trustRoots: [world.service.trustRoot] },
      dialer: world.service.dialer,
      store: { open: openMemoryStore() },
      clock: world.clock,
    })
  const address = encode(provisioningAddress, { address: '11111111-2222-4333-8444-555555555555' })

  it('S01 S03 the link stays open while nobody scans it: keepalives; after ten minutes it has run out', async () => {
    world = await memoryWorld()
    const signal = await unlinked()
    let shown = ''
    const linking = signal.link({ onLink: link => (shown = link) }).catch((error: unknown) => error)
    await world.clock.settle()
    await world.service.push('/v1/address', address, 'provisioning')
    expect(shown).toContain('sgnl://')
    await world.clock.advance(9 * minute)
    const keepalives = world.service.asked.filter(({ path }) => path === '/v1/keepalive/provisioning')
    expect(keepalives).toHaveLength(18)
    await world.clock.advance(minute)
    expect(await linking).toMatchObject({ code: 'SIGNAL_LINK_FAILED', hint: expect.stringContaining('ten minutes') })
    await signal.close()
  })

  it.each<[string, () => void]>([
    ['is closed', () => world.service.close('provisioning', 1001)],
    [
      'is dead',
      () => {
        world.service.script = ({ path }) => (path.endsWith('/provisioning') ? 'silence' : undefined)
      },
    ],
  ])('S01 a link whose socket %s says so', async (_, fault) => {
    world = await memoryWorld()
    const signal = await unlinked()
    const linking = signal.link({ onLink: () => {} }).catch((error: unknown) => error)
    await world.clock.settle()
    await world.service.push('/v1/address', address, 'provisioning')
    fault()
    await world.clock.advance(minute)
    expect(await linking).toMatchObject({ code: 'SIGNAL_LINK_FAILED', hint: 'ask for a new link and scan it at once' })
    await signal.close()
  })

  it('S01 one link at a time: a second one would take away the keys of the first', async () => {
    world = await memoryWorld()
    const signal = await unlinked()
    const abort = new AbortController()
    const linking = signal.link({ onLink: () => {}, signal: abort.signal }).catch((error: unknown) => error)
    await expect(signal.link({ onLink: () => {} })).rejects.toMatchObject({ code: 'SIGNAL_LINKING' })
    abort.abort()
    expect(await linking).toMatchObject({ code: 'SIGNAL_LINK_FAILED', message: 'the link was broken off' })
    // And then another one.
    await expect(signal.link({ onLink: () => {}, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'SIGNAL_LINK_FAILED',
    })
    await signal.close()
  })

  it('S01 a link that cannot be shown fails its call, and nothing else', async () => {
    world = await memoryWorld()
    const signal = await unlinked()
    const onLink = (): never => {
      throw new Error('no screen')
    }
    const linking = signal.link({ onLink }).catch((error: unknown) => error)
    await world.clock.settle()
    void world.service.push('/v1/address', address, 'provisioning')
    expect(await linking).toMatchObject({ code: 'SIGNAL_LINK_FAILED', cause: new Error('no screen') })
    await signal.close()
  })

  it('S01 a channel that is closed breaks its link off, and leaves no socket behind', async () => {
    world = await memoryWorld()
    const signal = await unlinked()
    const linking = signal.link({ onLink: () => {} }).catch((error: unknown) => error)
    await world.clock.settle()
    await world.service.push('/v1/address', address, 'provisioning')
    await signal.close()
    expect(await linking).toMatchObject({ code: 'SIGNAL_LINK_FAILED', message: 'the link was broken off' })
    await expect(world.service.push('/v1/address', address, 'provisioning')).rejects.toThrow('no provisioning socket')
  })

  it('S01 a link that is broken off while it connects leaves no socket behind', async () => {
    world = await memoryWorld()
    let connect = (): void => {}
    let ended = 0
    const signal = await openSignal({
      server: { url: 'https://memory', trustRoots: [world.service.trustRoot] },
      dialer: {
        ...world.service.dialer,
        dial: async (target, signal) => {
          await new Promise<void>(resolve => (connect = resolve))
          const channel = await world.service.dialer.dial(target, signal)
          return { ...channel, destroy: () => (ended++, channel.destroy()) }
        },
      },
      store: { open: openMemoryStore() },
      clock: world.clock,
    })
    const abort = new AbortController()
    const linking = signal.link({ onLink: () => {}, signal: abort.signal }).catch((error: unknown) => error)
    await world.clock.settle()
    abort.abort()
    expect(await linking).toMatchObject({ code: 'SIGNAL_LINK_FAILED' })
    connect()
    await world.clock.advance(minute)
    expect(ended).toBe(1)
    expect(world.service.asked.filter(({ path }) => path.endsWith('/provisioning'))).toEqual([])
    await signal.close()
  })

  it.each<[string, string, Uint8Array, string]>([
    ['an address that is none', '/v1/address', Buffer.from([0xff, 0xff]), 'DECODE_PROTOBUF'],
    ['no address', '/v1/address', Buffer.alloc(0), 'SIGNAL_ANSWER'],
    ['keys that are none', '/v1/message', Buffer.from([0x0a, 1, 0, 0x12, 1, 0]), 'CRYPTO_PROVISIONING'],
    ['bytes that are no message', '/v1/message', Buffer.from([0xff]), 'DECODE_PROTOBUF'],
  ])('S01 %s ends the link with a code, and nothing else', async (_, path, body, code) => {
    world = await memoryWorld()
    const signal = await unlinked()
    const linking = signal.link({ onLink: () => {} }).catch((error: unknown) => error)
    await world.clock.settle()
    if (path === '/v1/message') await world.service.push('/v1/address', address, 'provisioning')
    expect(await world.service.push(path, body, 'provisioning')).toBe(400)
    expect(await linking).toMatchObject({ code })
    expect(signal.account()).toBeUndefined()
    await signal.close()
  })
})
