import { afterEach, describe, expect, it } from 'vitest'
import { randomBytes } from 'node:crypto'
import type { Verify } from '../../src/router/authorize.js'
import { verifyAuthorization } from '../../src/smp/protocol/authorization.js'
import type { Command } from '../../src/smp/protocol/commands.js'
import { authKey, bodyText, errorOf, newQueue, publicOf, send, type TestRequest } from '../support/router/client.js'
import { type RouterWorld, routerWorld } from '../support/router/world.js'

let world: RouterWorld
afterEach(() => world.close())

const algorithms = ['ed25519', 'ed448', 'x25519'] as const

describe.each(algorithms)('authorization with %s', algorithm => {
  it('is verified for recipients and senders', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice, { algorithm })
    const key = authKey(algorithm)
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, queue.sndId, key))).toBe('OK')
    expect(errorOf(await bob.one(send('x'), queue.sndId, key))).toBe('OK')
    const message = queue.open((await alice.event()).response)
    expect(bodyText(message)).toBe('x')
    expect(errorOf(await alice.one({ type: 'QUE' }, queue.rcvId, queue.key))).toBe('INFO')
    for (const other of algorithms) {
      expect(errorOf(await alice.one({ type: 'QUE' }, queue.rcvId, authKey(other)))).toBe('AUTH')
      expect(errorOf(await bob.one(send('x'), queue.sndId, authKey(other)))).toBe('AUTH')
    }
  })

  it('that nobody made is refused', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice, { algorithm })
    const size = { ed25519: 64, ed448: 114, x25519: 80 }[algorithm]
    const request: TestRequest = { command: { type: 'QUE' }, entityId: queue.rcvId }
    expect((await bob.ask({ ...request, key: queue.key })).map(errorOf)).toEqual(['INFO'])
    expect((await bob.ask({ ...request, authorization: randomBytes(size) })).map(errorOf)).toEqual(['AUTH'])
    expect((await bob.ask({ ...request, authorization: Buffer.alloc(size) })).map(errorOf)).toEqual(['AUTH'])
  })
})

describe('AUTH', () => {
  /** What verifying a command cost: which kinds of signature over how many bytes. */
  const watchedWorld = async () => {
    const work: string[] = []
    const verify: Verify = (key, authorization, authorized, session) => {
      work.push(`${authorization.length} over ${authorized.length}`)
      return verifyAuthorization(key, authorization, authorized, session)
    }
    world = await routerWorld({ verify })
    return {
      alice: await world.client(),
      workOf: async (ask: () => Promise<string>) => {
        work.length = 0
        expect(await ask()).toBe('AUTH')
        return [...work]
      },
    }
  }

  it('takes the same work for a wrong key, a wrong kind of key and an unknown queue', async () => {
    const { alice, workOf } = await watchedWorld()
    const queue = await newQueue(alice)
    const key = authKey()
    const secured = await newQueue(alice)
    await alice.one({ type: 'KEY', key: publicOf(key) }, secured.rcvId, secured.key)
    const unknown = randomBytes(24)
    const recipientCommands: Command[] = [
      { type: 'SUB' },
      { type: 'GET' },
      { type: 'OFF' },
      { type: 'DEL' },
      { type: 'QUE' },
      { type: 'NDEL' },
      { type: 'LDEL' },
      { type: 'ACK', messageId: randomBytes(24) },
      { type: 'KEY', key: publicOf(key) },
      { type: 'RKEY', keys: [publicOf(key)] },
    ]
    for (const algorithm of algorithms) {
      for (const command of recipientCommands) {
        const wrong = authKey(algorithm)
        const known = await workOf(async () => errorOf(await alice.one(command, queue.rcvId, wrong)))
        expect(known.length).toBe(1)
        expect(await workOf(async () => errorOf(await alice.one(command, unknown, wrong)))).toEqual(known)
      }
      const wrong = authKey(algorithm)
      const senderCommands: Command[] = [send('x'), { type: 'SKEY', key: publicOf(wrong) }]
      for (const command of senderCommands) {
        const known = await workOf(async () => errorOf(await alice.one(command, secured.sndId, wrong)))
        expect(known.length).toBe(1)
        expect(await workOf(async () => errorOf(await alice.one(command, unknown, wrong)))).toEqual(known)
      }
      const notifier = await workOf(async () => errorOf(await alice.one({ type: 'NSUB' }, unknown, wrong)))
      expect(notifier.length).toBe(1)
    }
  })

  it('B10 takes the same work for a link that is secured, is a contact’s, or is none', async () => {
    const { alice, workOf } = await watchedWorld()
    const data = { fixedData: Buffer.from('fixed'), userData: Buffer.from('user') }
    const linked = async (mode: 'messaging' | 'contact') => {
      const queue = await newQueue(alice, { mode })
      const linkId = randomBytes(24)
      await alice.one({ type: 'LSET', linkId, data }, queue.rcvId, queue.key)
      return linkId
    }
    const [secured, contact] = [await linked('messaging'), await linked('contact')]
    const owner = authKey()
    await alice.one({ type: 'LKEY', key: publicOf(owner) }, secured, owner)
    for (const algorithm of algorithms) {
      const key = authKey(algorithm)
      const lkey: Command = { type: 'LKEY', key: publicOf(key) }
      const work = (linkId: Uint8Array) => workOf(async () => errorOf(await alice.one(lkey, linkId, key)))
      const unknown = await work(randomBytes(24))
      expect(unknown.length).toBe(1)
      expect([await work(secured), await work(contact)]).toEqual([unknown, unknown])
    }
    const lget = (linkId: Uint8Array) => workOf(async () => errorOf(await alice.one({ type: 'LGET' }, linkId)))
    expect(await lget(secured)).toEqual(await lget(randomBytes(24)))
  })

  it('takes no work for an unsigned SEND, secured or unknown alike', async () => {
    const { alice, workOf } = await watchedWorld()
    const secured = await newQueue(alice)
    await alice.one({ type: 'KEY', key: publicOf(authKey()) }, secured.rcvId, secured.key)
    const known = await workOf(async () => errorOf(await alice.one(send('x'), secured.sndId)))
    expect(await workOf(async () => errorOf(await alice.one(send('x'), randomBytes(24))))).toEqual(known)
  })

  it('a signed SEND to a queue that is not secured takes the work of any other signed SEND', async () => {
    const { alice, workOf } = await watchedWorld()
    const queue = await newQueue(alice)
    const work = await workOf(async () => errorOf(await alice.one(send('x'), queue.sndId, authKey())))
    expect(work.length).toBe(1)
  })
})
