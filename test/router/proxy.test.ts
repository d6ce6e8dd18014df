/** The router as a proxy: PRXY, PFWD, and what clients and relays may cost it. */
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { boxSecret, generateKeyPair } from '../../src/crypto/index.js'
import type { RouterOptions } from '../../src/router/router.js'
import { openForwardedTransmission, sealForwardedResponse } from '../../src/smp/protocol/proxy.js'
import type { Response } from '../../src/smp/protocol/responses.js'
import type { RouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { formatSmpError } from '../../src/smp/protocol/routerErrors.js'
import { hex, type TestClient } from '../support/router/client.js'
import { type ProxyWorld, proxyWorld } from '../support/router/proxyWorld.js'
import { type FakeRouterOptions, type FakeSession, fakeRouter, type ReceivedCommand } from '../support/fakeRouter.js'

let world: ProxyWorld
afterEach(() => world?.close())

const start = async (settings: RouterOptions['settings'] = {}): Promise<TestClient> => {
  world = await proxyWorld(settings)
  return client()
}

const client = (from = 'client'): Promise<TestClient> => world.bare(world.proxyAddress, from)

/** A relay that answers as the test says, at a host of its own. */
const relayAt = async (host: string, options: Partial<FakeRouterOptions> = {}) =>
  fakeRouter({ clock: world.clock, network: world.network, host, ...options })

const prxy = (to: TestClient, router: RouterAddress, basicAuth?: string): Promise<Response> =>
  to.one({ type: 'PRXY', router, basicAuth })

/** PFWD with a body that only looks like one. */
const pfwd = (to: TestClient, sessionId: Uint8Array): Promise<Response> => {
  const answer = to.one({ type: 'PFWD', version: 17, key: ownKey, transmission: Buffer.alloc(16_242, 1) }, sessionId)
  // Tests end while relays still owe answers.
  answer.catch(() => undefined)
  return answer
}
const ownKey = generateKeyPair('x25519').publicKey

const told = (response: Response): string => (response.type === 'ERR' ? formatSmpError(response.error) : response.type)

const sessionOf = (response: Response): Uint8Array => {
  if (response.type !== 'PKEY') throw Object.assign(new Error('no PKEY'), { response })
  return response.sessionId
}

/** The relay's honest answer. */
const answerTo = (session: FakeSession, { command, corrId }: ReceivedCommand): Response => {
  if (command.type === 'PING') return { type: 'PONG' }
  if (command.type !== 'RFWD') throw new Error('no RFWD')
  const key = boxSecret(session.secret)
  const forwarded = openForwardedTransmission(key, corrId, command.transmission)
  const response = Buffer.concat([Buffer.from('answer to '), forwarded.corrId])
  return { type: 'RRES', response: sealForwardedResponse(key, corrId, { corrId: forwarded.corrId, response }) }
}

const answering = (session: FakeSession): void => {
  session.onCommand = received => session.send({ to: received, response: answerTo(session, received) })
}

describe('B49 PRXY', () => {
  it('B49 is answered with the session, the versions and the proof of the relay', async () => {
    const alice = await start()
    const relay = await relayAt('relay', { versionRange: { min: 6, max: 18 } })
    const answer = await prxy(alice, relay.address)
    const [atRelay] = relay.sessions
    expect(answer).toMatchObject({ type: 'PKEY', versionRange: { min: 8, max: 17 } })
    expect(Buffer.compare(sessionOf(answer), atRelay!.channel.sessionId)).toBe(0)
    expect(atRelay!.hello).toMatchObject({ proxy: true, version: 18 })
    expect(answer.type === 'PKEY' && answer.routerKey.certificates.map(hex)).toEqual(relay.chain.certificates.map(hex))
  })

  it('B49 of several clients is served by one session', async () => {
    const alice = await start()
    const relay = await relayAt('relay')
    const answers = [prxy(alice, relay.address), prxy(await client('bob'), relay.address), prxy(alice, relay.address)]
    const ids = (await Promise.all(answers)).map(answer => Buffer.from(sessionOf(answer)).toString('hex'))
    expect(new Set(ids).size).toBe(1)
    expect(relay.sessions).toHaveLength(1)
    // The default port may be written or left out.
    expect(told(await prxy(alice, { ...relay.address, port: '5223' }))).toBe('PKEY')
    expect(relay.sessions).toHaveLength(1)
  })

  it.each([
    [
      { min: 14, max: 18 },
      { min: 14, max: 17 },
    ],
    [
      { min: 6, max: 21 },
      { min: 8, max: 17 },
    ],
    [
      { min: 15, max: 16 },
      { min: 15, max: 16 },
    ],
  ])('B49 of a relay with versions %o lets clients use %o', async (versionRange, expected) => {
    const alice = await start()
    const relay = await relayAt('relay', { versionRange })
    expect(await prxy(alice, relay.address)).toMatchObject({ type: 'PKEY', versionRange: expected })
  })

  it.each([
    { min: 6, max: 13 },
    { min: 18, max: 21 },
    { min: 19, max: 21 },
  ])('B49 of a relay with versions %o is answered TRANSPORT VERSION', async versionRange => {
    const alice = await start()
    const relay = await relayAt('relay', { versionRange })
    expect(told(await prxy(alice, relay.address))).toBe('PROXY BROKER TRANSPORT VERSION')
  })

  it('B49 is refused without the password, when it is switched off, and when the router has no way out', async () => {
    const alice = await start({ password: 'correct' })
    const relay = await relayAt('relay')
    expect(told(await prxy(alice, relay.address))).toBe('PROXY BASIC_AUTH')
    expect(told(await prxy(alice, relay.address, 'wrong'))).toBe('PROXY BASIC_AUTH')
    expect(told(await prxy(alice, relay.address, 'correct'))).toBe('PKEY')
    await world.close()
    const bob = await start({ proxy: { enabled: false } })
    expect(told(await prxy(bob, relay.address))).toBe('PROXY BASIC_AUTH')
    expect(world.relayLinks()).toEqual([])
  })

  it('B49 is served although nobody may create queues', async () => {
    const alice = await start({ newQueues: false })
    expect(told(await prxy(alice, (await relayAt('relay')).address))).toBe('PKEY')
  })

  it('B49 is for the domains that the operator names only, and never for onion hosts', async () => {
    const alice = await start({ proxy: { onlyDomains: ['example.com'] } })
    const relay = await relayAt('smp.example.com')
    const at = (...hosts: string[]): Promise<Response> => prxy(alice, { ...relay.address, hosts })
    expect(told(await at('smp.example.com'))).toBe('PKEY')
    expect(told(await at('SMP.Example.com'))).toBe('PROXY BROKER NETWORK')
    expect(told(await at('elsewhere.org', 'smp.example.com'))).toBe('PKEY')
    for (const host of ['elsewhere.org', 'notexample.com', 'example.com.org', 'abcdef.onion']) {
      expect(told(await at(host))).toBe('PROXY BROKER HOST')
    }
    await world.close()
    const bob = await start()
    const onion = await relayAt('abcdefg.onion')
    expect(told(await prxy(bob, onion.address))).toBe('PROXY BROKER HOST')
    expect(onion.sessions).toEqual([])
  })

  it('B49 of a relay that refuses is answered NETWORK, and the relay is not dialled again for 30 s', async () => {
    const alice = await start()
    const relay = await relayAt('relay')
    world.network.setReachable('relay:5223', 'refuses')
    expect(told(await prxy(alice, relay.address))).toBe('PROXY BROKER NETWORK')
    world.network.setReachable('relay:5223', 'answers')
    await world.clock.advance(29_000)
    expect(told(await prxy(await client('bob'), relay.address))).toBe('PROXY BROKER NETWORK')
    expect(relay.sessions).toEqual([])
    await world.clock.advance(1_001)
    expect(told(await prxy(alice, relay.address))).toBe('PKEY')
  })

  it('B49 of a relay that is silent is answered NETWORK after 45 s', async () => {
    const alice = await start()
    const relay = await relayAt('relay')
    world.network.setReachable('relay:5223', 'silent')
    let answer: Response | undefined
    void prxy(alice, relay.address).then(response => (answer = response))
    await world.clock.advance(44_999)
    expect(answer).toBeUndefined()
    await world.clock.advance(2)
    expect(answer === undefined || told(answer)).toBe('PROXY BROKER NETWORK')
  })

  it('B49 of a relay with another identity or a wrong hello is answered with what is wrong', async () => {
    const alice = await start()
    const relay = await relayAt('relay')
    const stranger = { ...relay.address, keyHash: randomBytes(32) }
    expect(told(await prxy(alice, stranger))).toBe('PROXY BROKER NETWORK')
    const other = await relayAt('other', { hello: hello => ({ ...hello, sessionId: Buffer.alloc(32) }) })
    expect(told(await prxy(alice, other.address))).toBe('PROXY BROKER TRANSPORT SESSION')
    const rubbish = await relayAt('rubbish', { hello: () => Buffer.from('rubbish') })
    expect(told(await prxy(alice, rubbish.address))).toBe('PROXY BROKER TRANSPORT HANDSHAKE PARSE')
  })

  it('B49 of a relay whose certificates fit no answer is answered all the same', async () => {
    const alice = await start()
    const relay = await relayAt('relay', {
      hello: hello => {
        const { certificates, signedKey } = hello.routerKey!
        const ca = certificates[1]!
        const leaf = Buffer.alloc(16_300 - ca.length - signedKey.length)
        return { ...hello, routerKey: { certificates: [leaf, ca], signedKey } }
      },
    })
    expect(told(await prxy(alice, relay.address))).toBe('LARGE_MSG')
  })
})

describe('B49 PFWD', () => {
  it('B49 is forwarded, and the answer of the relay handed back', async () => {
    const alice = await start()
    const relay = await relayAt('relay', { onSession: answering })
    const answer = await pfwd(alice, sessionOf(await prxy(alice, relay.address)))
    expect(answer.type === 'PRES' && Buffer.from(answer.response).toString('latin1')).toMatch(/^answer to /)
    expect(world.proxy.current.stats().proxy).toMatchObject({ relays: 1, forwards: 1, forwardFailures: 0 })
  })

  it('B49 for a session that is none, or has ended, is answered NO_SESSION', async () => {
    const alice = await start()
    const relay = await relayAt('relay', { onSession: answering })
    expect(told(await pfwd(alice, randomBytes(32)))).toBe('PROXY NO_SESSION')
    const sessionId = sessionOf(await prxy(alice, relay.address))
    expect(told(await pfwd(alice, sessionId))).toBe('PRES')
    relay.sessions[0]?.channel.close()
    await world.clock.settle()
    expect(told(await pfwd(alice, sessionId))).toBe('PROXY NO_SESSION')
    expect(world.proxy.current.stats().proxy.relays).toBe(0)
    expect(told(await pfwd(alice, sessionOf(await prxy(alice, relay.address))))).toBe('PRES')
  })

  it('B49 that the relay does not answer is answered TIMEOUT after 30 s', async () => {
    const alice = await start()
    const relay = await relayAt('relay')
    const sessionId = sessionOf(await prxy(alice, relay.address))
    let answer: Response | undefined
    void pfwd(alice, sessionId).then(response => (answer = response))
    await world.clock.advance(29_999)
    expect(answer).toBeUndefined()
    await world.clock.advance(1)
    expect(answer === undefined || told(answer)).toBe('PROXY BROKER TIMEOUT')
  })

  it('B49 under way when the relay goes is answered NETWORK', async () => {
    const alice = await start()
    const relay = await relayAt('relay', {
      onSession: session => {
        session.onCommand = () => session.channel.destroy()
      },
    })
    expect(told(await pfwd(alice, sessionOf(await prxy(alice, relay.address))))).toBe('PROXY BROKER NETWORK')
  })

  const answers: [what: string, send: (session: FakeSession, received: ReceivedCommand) => void, expected: string][] = [
    [
      'an error',
      (session, to) => session.send({ to, response: { type: 'ERR', error: { type: 'CRYPTO' } } }),
      'PROXY PROTOCOL CRYPTO',
    ],
    [
      'something else',
      (session, to) => session.send({ to, response: { type: 'PONG' } }),
      'PROXY BROKER UNEXPECTED the relay answered RFWD with PONG',
    ],
    [
      'no response',
      (session, to) => session.send({ to, raw: Buffer.from('WHAT') }),
      'PROXY BROKER RESPONSE the router sent a response that cannot be read',
    ],
    [
      'a box that does not open',
      (session, to) => session.send({ to, response: { type: 'RRES', response: Buffer.alloc(100) } }),
      'CRYPTO',
    ],
    [
      'a box with nothing in it',
      (session, to) => {
        const response = sealForwardedResponse(boxSecret(session.secret), to.corrId, {
          corrId: Buffer.alloc(0),
          response: Buffer.alloc(0),
        })
        session.send({ to, response: { type: 'RRES', response } })
      },
      'PRES',
    ],
  ]

  it.each(answers)('B49 that the relay answers with %s', async (_, send, expected) => {
    const alice = await start()
    const onSession = (session: FakeSession): void => {
      session.onCommand = received => send(session, received)
    }
    const relay = await relayAt('relay', { onSession })
    expect(told(await pfwd(alice, sessionOf(await prxy(alice, relay.address))))).toBe(expected)
  })
})

describe('B49 what a proxy bounds', () => {
  it('B49 commands of one client for relays: more are read when some are answered, others do not wait', async () => {
    const alice = await start({ limits: { forwardsPerSession: 3 } })
    const relay = await relayAt('relay')
    const sessionId = sessionOf(await prxy(alice, relay.address))
    const [atRelay] = relay.sessions
    const all = Array.from({ length: 5 }, () => pfwd(alice, sessionId))
    await world.clock.settle()
    expect(atRelay!.received).toHaveLength(3)
    const bob = await client('bob')
    void pfwd(bob, sessionId)
    await world.clock.settle()
    expect(atRelay!.received).toHaveLength(4)
    answering(atRelay!)
    for (const received of atRelay!.received.slice())
      atRelay!.send({ to: received, response: answerTo(atRelay!, received) })
    expect((await Promise.all(all)).map(told)).toEqual(all.map(() => 'PRES'))
  })

  it('B49 commands for one relay, and in all: more are answered TIMEOUT at once', async () => {
    const alice = await start({ limits: { forwardsPerRelay: 2, forwards: 3 } })
    const [one, two] = [await relayAt('one'), await relayAt('two')]
    const [first, second] = [sessionOf(await prxy(alice, one.address)), sessionOf(await prxy(alice, two.address))]
    for (const sessionId of [first, first]) void pfwd(alice, sessionId)
    await world.clock.settle()
    expect(told(await pfwd(alice, first))).toBe('PROXY BROKER TIMEOUT')
    void pfwd(alice, second)
    await world.clock.settle()
    expect(told(await pfwd(alice, second))).toBe('PROXY BROKER TIMEOUT')
    expect([one, two].map(({ sessions }) => sessions[0]!.received.length)).toEqual([2, 1])
  })

  it('B49 relays: a failed one, or the one idle for longest, makes room; none when all are busy', async () => {
    const alice = await start({ limits: { relays: 2 } })
    const [one, two, three] = [await relayAt('one'), await relayAt('two'), await relayAt('three')]
    const dead = { ...one.address, hosts: ['dead'] }
    const ids = [sessionOf(await prxy(alice, one.address))]
    expect(told(await prxy(alice, dead))).toBe('PROXY BROKER NETWORK')
    // The failed one goes.
    ids.push(sessionOf(await prxy(alice, two.address)))
    expect(world.relayLinks()).toHaveLength(2)
    // `one` was used last, so `two` goes.
    void pfwd(alice, ids[0]!)
    await world.clock.settle()
    ids.push(sessionOf(await prxy(alice, three.address)))
    expect(told(await pfwd(alice, ids[1]!))).toBe('PROXY NO_SESSION')
    void pfwd(alice, ids[2]!)
    await world.clock.settle()
    expect(told(await prxy(alice, two.address))).toBe('PROXY BROKER TIMEOUT')
    expect(world.proxy.current.stats().proxy.relays).toBe(2)
  })

  it('B49 silence: a relay that nothing is asked of is let go, one that is used or owes an answer stays', async () => {
    const alice = await start({ proxy: { idleSeconds: 600, requestSeconds: 1_200 } })
    const [idle, used, owing] = [
      await relayAt('idle', { onSession: answering }),
      await relayAt('used', { onSession: answering }),
      await relayAt('owing'),
    ]
    const ids = await Promise.all([idle, used, owing].map(async ({ address }) => sessionOf(await prxy(alice, address))))
    void pfwd(alice, ids[2]!)
    for (let minutes = 0; minutes < 15; minutes += 5) {
      expect(told(await pfwd(alice, ids[1]!))).toBe('PRES')
      await world.clock.advance(5 * 60_000)
    }
    expect([idle, used, owing].map(({ sessions }) => sessions[0]!.channel.closed)).toEqual([true, false, false])
    expect(told(await pfwd(alice, ids[0]!))).toBe('PROXY NO_SESSION')
  })

  it('B49 nothing is left when the router closes, also while it connects', async () => {
    const alice = await start()
    const relay = await relayAt('relay')
    await relayAt('silent', { hello: () => undefined })
    await prxy(alice, relay.address)
    void prxy(alice, { ...relay.address, hosts: ['silent'] }).catch(() => undefined)
    await world.clock.settle()
    expect(world.relayLinks()).toHaveLength(2)
    await world.close()
    await world.clock.settle()
    expect(world.network.links()).toEqual([])
    expect(world.clock.pendingTimers).toBe(0)
  })
})
