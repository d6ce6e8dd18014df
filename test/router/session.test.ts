import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/crypto/index.js'
import { readRequests } from '../../src/router/requests.js'
import { padBlock } from '../../src/smp/protocol/block.js'
import { encodeCommand } from '../../src/smp/protocol/commands.js'
import { decodeServiceAnswer, encodeClientHello } from '../../src/smp/protocol/handshake.js'
import { unpadBlock } from '../../src/smp/protocol/block.js'
import { batchTransmissions, encodeTransmission } from '../../src/smp/protocol/transmission.js'
import type { BlockChannel } from '../../src/smp/transport/port.js'
import type { TransportError } from '../../src/errors.js'
import { bodyText, errorOf, newQueue, send, startClient } from '../support/router/client.js'
import { type RouterWorld, routerWorld } from '../support/router/world.js'

let world: RouterWorld
afterEach(() => world?.close())

const closeOf = (channel: BlockChannel): Promise<TransportError> => new Promise(resolve => channel.onClose(resolve))
const nothing = new Uint8Array(0)

describe('the handshake', () => {
  it('works for proxies and for clients without a session key, whose blocks are not encrypted', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client({ encrypted: false }), await world.client({ proxy: true })]
    const queue = await newQueue(alice)
    expect(errorOf(await bob.one(send('plain blocks'), queue.sndId))).toBe('OK')
    expect(bodyText(queue.open((await alice.event()).response))).toBe('plain blocks')
  })

  it('ends for another identity, a version that is not offered, a malformed hello and a block that is none', async () => {
    world = await routerWorld()
    const { keyHash } = world
    const clientKey = generateKeyPair('x25519').publicKey
    const hello = { version: 18, keyHash, clientKey, proxy: false }
    const blocks = [
      padBlock(encodeClientHello({ ...hello, keyHash: randomBytes(32) })),
      padBlock(encodeClientHello({ ...hello, version: 13 })),
      padBlock(encodeClientHello({ ...hello, version: 19 })),
      padBlock(Buffer.from('rubbish')),
      randomBytes(16_384),
    ]
    for (const block of blocks) {
      const channel = await world.dial()
      channel.onBlock(() => {})
      channel.send(block)
      expect((await closeOf(channel)).code).toMatch(/^TRANSPORT_/)
    }
    expect(world.router.stats().sessions).toBe(0)
  })

  it('refuses services with BAD_SERVICE in the third block', async () => {
    world = await routerWorld()
    const channel = await world.dial()
    const received: Uint8Array[] = []
    channel.onBlock(block => received.push(block))
    const serviceKey = { certificates: [Buffer.from('leaf'), Buffer.from('ca')], signedKey: Buffer.from('key') }
    const service = { role: 'messaging', serviceKey } as const
    channel.send(padBlock(encodeClientHello({ version: 18, keyHash: world.keyHash, proxy: false, service })))
    await closeOf(channel)
    expect(decodeServiceAnswer(unpadBlock(received[1]!))).toEqual({ error: 'HANDSHAKE BAD_SERVICE' })
  })

  it('must be done in time', async () => {
    world = await routerWorld()
    const channel = await world.dial()
    channel.onBlock(() => {})
    await world.clock.advance(29_000)
    expect(channel.closed).toBe(false)
    await world.clock.advance(1_000)
    expect(channel.closed).toBe(true)
  })
})

describe('blocks', () => {
  it('that do not decrypt end the session', async () => {
    world = await routerWorld()
    const alice = await world.client()
    alice.channel.send(randomBytes(16_384))
    expect((await closeOf(alice.channel)).code).toMatch(/^TRANSPORT_/)
  })

  it('whose content is no batch, or no transmission, are answered BLOCK, and the session goes on', async () => {
    world = await routerWorld()
    const alice = await world.client()
    for (const content of [nothing, Buffer.of(0), Buffer.of(1, 0, 5, 1), Buffer.of(1, 0, 1, 9), randomBytes(300)]) {
      alice.raw(content)
      const { corrId, entityId, response } = await alice.event()
      expect([corrId, entityId, errorOf(response)]).toEqual(['', '', 'BLOCK'])
    }
    expect(errorOf(await alice.one({ type: 'PING' }))).toBe('PONG')
  })

  it('with wrong commands among good ones: each has its own answer', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const ping = encodeCommand(18, { type: 'PING' })
    const transmissions: Array<[Uint8Array, Uint8Array, string]> = [
      [nothing, Buffer.from('WHAT'), 'CMD UNKNOWN'],
      [nothing, Buffer.from('PING again'), 'CMD SYNTAX'],
      [nothing, Buffer.from('SUB'), 'CMD NO_AUTH'],
      [randomBytes(64), ping, 'CMD HAS_AUTH'],
      [nothing, Buffer.from('SEND T body'), 'CMD NO_ENTITY'],
      [randomBytes(63), ping, 'BLOCK'],
      [nothing, ping, 'PONG'],
    ]
    const corrIds = transmissions.map(() => randomBytes(24))
    const encoded = transmissions.map(([authorization, command], i) =>
      encodeTransmission(18, { authorization, corrId: corrIds[i]!, entityId: nothing, command }),
    )
    const [batch] = batchTransmissions(encoded)
    if (batch === undefined || 'error' in batch) throw new Error('no batch')
    alice.raw(batch.block)
    const answers = new Map<string, string>()
    for (let i = 0; i < transmissions.length; i++) {
      const { corrId, response } = await alice.event()
      answers.set(corrId, errorOf(response))
    }
    expect(corrIds.map(corrId => answers.get(corrId.toString('hex')))).toEqual(
      transmissions.map(([, , expected]) => expected),
    )
  })

  it('with a service signature are answered SERVICE', () => {
    const raw = { corrId: randomBytes(24), entityId: randomBytes(24), command: Buffer.from('SUB') }
    const bytes = encodeTransmission(18, { ...raw, authorization: randomBytes(64), serviceSignature: randomBytes(64) })
    const [batch] = batchTransmissions([bytes])
    if (batch === undefined || 'error' in batch) throw new Error('no batch')
    expect(readRequests(18, batch.block)).toMatchObject([{ error: { type: 'SERVICE' } }])
  })

  it('of random and mutated bytes never do more than be answered', () => {
    const valid = batchTransmissions([
      encodeTransmission(18, {
        authorization: randomBytes(64),
        corrId: randomBytes(24),
        entityId: randomBytes(24),
        command: encodeCommand(18, send('body')),
      }),
      encodeTransmission(18, {
        authorization: nothing,
        corrId: randomBytes(24),
        entityId: nothing,
        command: encodeCommand(18, { type: 'PING' }),
      }),
    ])[0] as { block: Uint8Array }
    fc.assert(
      fc.property(
        fc.integer({ min: 14, max: 18 }),
        fc.oneof(
          fc.uint8Array({ maxLength: 400 }),
          fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }).map(changes => {
            const bytes = Buffer.from(valid.block)
            for (const [at, value] of changes) bytes[at % bytes.length] = value
            return bytes
          }),
        ),
        (version, content) => {
          const requests = readRequests(version, content)
          expect(requests.length).toBeGreaterThan(0)
          expect(requests.length).toBeLessThanOrEqual(255)
          for (const request of requests)
            if ('error' in request) expect(request.error.type).toMatch(/^(BLOCK|CMD|SERVICE)$/)
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('limits', () => {
  it('of connections, in all and from one address', async () => {
    world = await routerWorld({ settings: { limits: { connections: 3, connectionsPerAddress: 2 } } })
    await world.client({ from: 'one' })
    const second = await world.client({ from: 'one' })
    await expect(world.client({ from: 'one' })).rejects.toMatchObject({ code: expect.stringMatching(/^TRANSPORT_/) })
    await world.client({ from: 'two' })
    await expect(world.client({ from: 'three' })).rejects.toMatchObject({ code: expect.stringMatching(/^TRANSPORT_/) })
    second.close()
    await world.settle()
    await world.client({ from: 'one' })
  })

  it('of subscriptions of a session: more are answered QUOTA', async () => {
    world = await routerWorld({ settings: { limits: { subscriptionsPerSession: 2 } } })
    const [alice, owner] = [await world.client(), await world.client()]
    const queues = [await newQueue(owner), await newQueue(owner), await newQueue(alice, { subscribe: false })]
    const subscribe = async (i: number, type: 'SUB' | 'GET' = 'SUB') =>
      errorOf(await alice.one({ type }, queues[i]!.rcvId, queues[i]!.key))
    expect([await subscribe(0), await subscribe(1), await subscribe(2), await subscribe(2, 'GET')]).toEqual([
      'SOK',
      'SOK',
      'QUOTA',
      'QUOTA',
    ])
    expect(await subscribe(0)).toBe('SOK')
    await alice.one({ type: 'DEL' }, queues[0]!.rcvId, queues[0]!.key)
    expect(await subscribe(2)).toBe('SOK')
  })

  it('of silence: a client that sends nothing is closed, one that pings stays', async () => {
    world = await routerWorld({ settings: { limits: { idleSeconds: 3600 } } })
    const [silent, lively] = [await world.client(), await world.client()]
    for (let minutes = 0; minutes < 120; minutes += 20) {
      expect(errorOf(await lively.one({ type: 'PING' }))).toBe('PONG')
      await world.clock.advance(20 * 60_000)
    }
    expect([silent.channel.closed, lively.channel.closed]).toEqual([true, false])
  })

  it('of output: a client that does not read gets no more messages than fit, and all of them once it reads', async () => {
    world = await routerWorld({ settings: { limits: { outputBytesPerSession: 65_536 } } })
    const [alice, bob] = [await world.client(), await world.client()]
    const queues = await Promise.all(Array.from({ length: 60 }, () => newQueue(alice)))
    alice.channel.pause()
    await Promise.all(queues.map(({ sndId }) => bob.one(send('message'), sndId)))
    await world.settle()
    expect(world.router.stats().messagesStored).toBe(60)
    // 16 blocks in the socket's buffer, and 4 that wait for it.
    expect(world.router.stats().messagesDelivered).toBeLessThan(25)
    alice.channel.resume()
    const seen = new Set<string>()
    for (let i = 0; i < queues.length; i++) seen.add((await alice.event()).entityId)
    expect(seen.size).toBe(60)
  })

  it('of answers: a client that sends rubbish and reads no answers is not read any further', async () => {
    world = await routerWorld({ settings: { limits: { outputBytesPerSession: 65_536 } } })
    const alice = await world.client()
    alice.channel.pause()
    const rubbish = Buffer.concat([Buffer.of(255), ...Array.from({ length: 255 }, () => Buffer.of(0, 0))])
    const [link] = world.network.links()
    let blocks = 0
    while (blocks < 400 && link?.client.closed === false) {
      alice.raw(rubbish)
      blocks++
      await world.settle()
      if (!(await Promise.race([alice.channel.drained().then(() => true), world.settle().then(() => false)]))) break
    }
    expect(blocks).toBeLessThan(100)
    alice.channel.destroy()
  })

  it('of patience: a client that reads nothing although something waits is closed', async () => {
    world = await routerWorld({ settings: { limits: { stalledSeconds: 60 } } })
    const [alice, bob] = [await world.client(), await world.client()]
    const queues = await Promise.all(Array.from({ length: 40 }, () => newQueue(alice)))
    alice.channel.pause()
    await Promise.all(queues.map(({ sndId }) => bob.one(send('message'), sndId)))
    await world.clock.advance(50_000)
    expect(world.router.stats().sessions).toBe(2)
    await world.clock.advance(45_000)
    expect(world.router.stats().sessions).toBe(1)
  })

  it('of commands in flight: what is above waits its turn and is answered', async () => {
    world = await routerWorld({ settings: { limits: { inFlightPerSession: 4 } } })
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice, { subscribe: false })
    const answers = await bob.ask(...Array.from({ length: 100 }, () => ({ command: send('x'), entityId: queue.sndId })))
    expect(answers.map(errorOf)).toEqual(answers.map(() => 'OK'))
  })
})

describe('a router', () => {
  it('closes its sessions and leaves no timer', async () => {
    world = await routerWorld()
    const alice = await world.client()
    await world.router.close()
    expect(alice.channel.closed).toBe(true)
    await world.settle()
    expect(world.clock.pendingTimers).toBe(0)
  })

  it('refuses settings that make no sense, with the name of the first', async () => {
    await expect(routerWorld({ settings: { messageQuota: 0 } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      field: 'messageQuota',
    })
    await expect(routerWorld({ settings: { unknown: 1 } as never })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('speaks to a client that verifies its identity by the printed address', async () => {
    world = await routerWorld()
    const channel = await world.dial()
    const client = await startClient(channel, { keyHash: world.keyHash })
    expect(errorOf(await client.one({ type: 'PING' }))).toBe('PONG')
  })
})
