/** Short links at the router: NEW with link data, LSET, LDEL, LKEY, LGET. */
import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { boxSecret, generateKeyPair, x25519 } from '../../src/crypto/index.js'
import type { Bytes } from '../../src/encoding/index.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import type { Command } from '../../src/smp/protocol/commands.js'
import type { LinkData } from '../../src/smp/protocol/fields.js'
import type { QueueRequest } from '../../src/smp/protocol/newQueue.js'
import { openRecipientMessage } from '../../src/smp/protocol/recipientMessage.js'
import type { QueueIds, Response } from '../../src/smp/protocol/responses.js'
import { linkSenderId } from '../../src/smp/protocol/shortLinkKeys.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { routerLinks, routerQueues } from '../../src/store/router/tables.js'
import {
  authKey,
  type AuthKey,
  bodyText,
  errorOf,
  newQueue,
  publicOf,
  send,
  type TestClient,
} from '../support/router/client.js'
import { type RouterWorld, routerWorld } from '../support/router/world.js'

let world: RouterWorld
afterEach(() => world?.close())

const dataOf = (user = 'user data', fixed = 'fixed data'): LinkData => ({
  fixedData: Buffer.from(fixed),
  userData: Buffer.from(user),
})

interface NewLink {
  readonly mode: 'messaging' | 'contact'
  readonly data?: LinkData
  readonly linkId?: Bytes
  readonly senderId?: Bytes
  readonly corrId?: Bytes
  readonly key?: AuthKey
  readonly dhKey?: Bytes
}

/** NEW with link data: the answer as it is. */
const create = async (client: TestClient, options: NewLink): Promise<Response> => {
  const { mode, data = dataOf(), corrId = randomBytes(24), key = authKey() } = options
  const { senderId = linkSenderId(corrId), linkId = randomBytes(24) } = options
  const request: QueueRequest =
    mode === 'messaging' ? { mode, link: { senderId, data } } : { mode, link: { senderId, linkId, data } }
  const { dhKey = generateKeyPair('x25519').publicKey } = options
  const command = { type: 'NEW', authKey: publicOf(key), dhKey, subscribe: true, request } as const
  const [answer] = await client.ask({ command, key, corrId })
  return answer as Response
}

interface Linked {
  readonly ids: QueueIds
  readonly linkId: Bytes
  readonly key: AuthKey
}

const created = async (client: TestClient, options: NewLink): Promise<Linked> => {
  const key = options.key ?? authKey()
  const answer = await create(client, { ...options, key })
  if (answer.type !== 'IDS' || answer.linkId === undefined) throw Object.assign(new Error('no link'), { answer })
  return { ids: answer, linkId: answer.linkId, key }
}

const lget = (client: TestClient, linkId: Bytes): Promise<Response> => client.one({ type: 'LGET' }, linkId)
const lkey = (client: TestClient, linkId: Bytes, key: AuthKey, signer = key): Promise<Response> =>
  client.one({ type: 'LKEY', key: publicOf(key) }, linkId, signer)
const lset = ({ ids, linkId, key }: Linked, client: TestClient, data: LinkData, id = linkId): Promise<Response> =>
  client.one({ type: 'LSET', linkId: id, data }, ids.recipientId, key)
const ldel = ({ ids, key }: Linked, client: TestClient): Promise<Response> =>
  client.one({ type: 'LDEL' }, ids.recipientId, key)

/** What LGET and LKEY told, or the error. */
const told = (response: Response): string =>
  response.type === 'LNK'
    ? `${Buffer.from(response.data.fixedData)} | ${Buffer.from(response.data.userData)}`
    : errorOf(response)

describe('B10 NEW with link data', () => {
  it('B10 has the sender id of its correlation id and answers with the link id', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const corrId = randomBytes(24)
    const invitation = await created(alice, { mode: 'messaging', corrId })
    expect(invitation.ids).toMatchObject({ mode: 'messaging', senderId: Buffer.from(linkSenderId(corrId)) })
    expect(invitation.linkId.length).toBe(24)
    const linkId = randomBytes(24)
    const contact = await created(alice, { mode: 'contact', linkId })
    expect(contact.ids.mode).toBe('contact')
    expect(Buffer.compare(contact.linkId, linkId)).toBe(0)
  })

  it('B10 with any other sender id is prohibited, so that nobody can ask for ids that may be taken', async () => {
    world = await routerWorld()
    const alice = await world.client()
    for (const mode of ['messaging', 'contact'] as const) {
      expect(errorOf(await create(alice, { mode, senderId: randomBytes(24) }))).toBe('CMD PROHIBITED')
      expect(errorOf(await create(alice, { mode, senderId: Buffer.alloc(0) }))).toBe('CMD PROHIBITED')
    }
    expect(world.router.stats().queuesCreated).toBe(0)
  })

  it('B10 with a sender id or a link id that is taken is AUTH, and nothing of it is kept', async () => {
    const store = openMemoryStore()
    world = await routerWorld({ queues: store })
    const alice = await world.client()
    const corrId = randomBytes(24)
    const linkId = randomBytes(24)
    await created(alice, { mode: 'contact', corrId, linkId })
    expect(errorOf(await create(alice, { mode: 'contact', corrId }))).toBe('AUTH')
    expect(errorOf(await create(alice, { mode: 'messaging', corrId }))).toBe('AUTH')
    expect(errorOf(await create(alice, { mode: 'contact', linkId, data: dataOf('stolen') }))).toBe('AUTH')
    expect(told(await lget(alice, linkId))).toBe('fixed data | user data')
    expect([await store.count(routerQueues), await store.count(routerLinks)]).toEqual([1, 1])
  })

  it('B10 repeated by the owner of a contact address gives the same ids: its answer was lost, and its link must not be', async () => {
    const store = openMemoryStore()
    world = await routerWorld({ queues: store })
    const dh = generateKeyPair('x25519')
    const [corrId, linkId, key] = [randomBytes(24), randomBytes(24), authKey()]
    const asked = { mode: 'contact', corrId, linkId, key, dhKey: dh.publicKey } as const
    const first = await created(await world.client(), asked)
    const alice = await world.client()
    const again = await created(alice, { ...asked, data: dataOf('newer data') })
    expect([again.ids.recipientId, again.ids.senderId, again.linkId]).toEqual([
      first.ids.recipientId,
      first.ids.senderId,
      first.linkId,
    ])
    // Other keys for bodies, as each NEW has its own; the newest hold, and it is the later session that is subscribed.
    expect(Buffer.compare(again.ids.dhKey, first.ids.dhKey)).not.toBe(0)
    expect(told(await lget(alice, linkId))).toBe('fixed data | newer data')
    const bob = await world.client()
    await bob.one(send('hello'), again.ids.senderId)
    const { response } = await alice.event()
    if (response.type !== 'MSG') throw new Error('no message')
    const secret = boxSecret(x25519(dh.privateKey, again.ids.dhKey))
    expect(bodyText(openRecipientMessage(secret, response.messageId, response.body))).toBe('hello')
    for (const other of [
      { ...asked, key: authKey() },
      { ...asked, linkId: randomBytes(24) },
      { ...asked, data: dataOf('user data', 'other fixed data') },
      { ...asked, mode: 'messaging' as const },
    ]) {
      expect(errorOf(await create(bob, other))).toBe('AUTH')
    }
    expect([await store.count(routerQueues), await store.count(routerLinks)]).toEqual([1, 1])
  })

  it('B10 with more data than an answer takes is LARGE_MSG; what agents send fits', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const sized = (fixed: number, user: number): LinkData => ({
      fixedData: Buffer.alloc(fixed, 1),
      userData: Buffer.alloc(user, 2),
    })
    const key = authKey('ed448')
    const link = await created(alice, { mode: 'contact', data: sized(2_048, 13_824), key })
    expect((await lget(alice, link.linkId)).type).toBe('LNK')
    expect(errorOf(await create(alice, { mode: 'contact', data: sized(2_048, 13_953) }))).toBe('LARGE_MSG')
    expect(errorOf(await lset(link, alice, sized(2_048, 13_953)))).toBe('LARGE_MSG')
    expect(errorOf(await create(alice, { mode: 'contact', data: sized(0, 16_000) }))).toBe('IDS')
  })

  it('B10 with an empty link id is prohibited', async () => {
    world = await routerWorld()
    const alice = await world.client()
    expect(errorOf(await create(alice, { mode: 'contact', linkId: Buffer.alloc(0) }))).toBe('CMD PROHIBITED')
    const queue = await newQueue(alice, { mode: 'contact' })
    const lset = { type: 'LSET', linkId: Buffer.alloc(0), data: dataOf() } as const
    expect(errorOf(await alice.one(lset, queue.rcvId, queue.key))).toBe('CMD PROHIBITED')
  })

  it('B23 needs the password like every NEW', async () => {
    world = await routerWorld({ settings: { password: 'secret' } })
    expect(errorOf(await create(await world.client(), { mode: 'messaging' }))).toBe('AUTH')
  })
})

describe('B10 the link of a one-time invitation', () => {
  it('B10 is read by LKEY, which secures the queue: again with the same key, never with another one', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const link = await created(alice, { mode: 'messaging' })
    expect(told(await lget(bob, link.linkId))).toBe('AUTH')
    expect(errorOf(await lset(link, alice, dataOf('updated')))).toBe('OK')
    const [key, other] = [authKey(), authKey()]
    expect(errorOf(await bob.one({ type: 'LKEY', key: publicOf(key) }, link.linkId))).toBe('CMD NO_AUTH')
    expect(told(await lkey(bob, link.linkId, key, other))).toBe('AUTH')
    expect(told(await lkey(bob, link.ids.recipientId, key))).toBe('AUTH')
    const answer = await lkey(bob, link.linkId, key)
    expect(told(answer)).toBe('fixed data | updated')
    expect(answer.type === 'LNK' && Buffer.compare(answer.senderId, link.ids.senderId)).toBe(0)
    expect(told(await lkey(bob, link.linkId, other))).toBe('AUTH')
    expect(told(await lkey(bob, link.linkId, key))).toBe('fixed data | updated')
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, link.ids.senderId, key))).toBe('OK')
    // Secured: the owner cannot exchange what the sender has read, but may delete it.
    expect(errorOf(await lset(link, alice, dataOf('late')))).toBe('AUTH')
    expect(errorOf(await ldel(link, alice))).toBe('OK')
    expect(told(await lkey(bob, link.linkId, key))).toBe('AUTH')
  })

  it('B10 is gone with the first message of its sender', async () => {
    const store = openMemoryStore()
    world = await routerWorld({ queues: store })
    const [alice, bob] = [await world.client(), await world.client()]
    const link = await created(alice, { mode: 'messaging' })
    const key = authKey()
    expect(told(await lkey(bob, link.linkId, key))).toBe('fixed data | user data')
    const answers = await bob.ask(
      ...['first', 'second', 'third'].map(text => ({ command: send(text), entityId: link.ids.senderId, key })),
    )
    expect(answers.map(errorOf)).toEqual(['OK', 'OK', 'OK'])
    await world.settle()
    expect(told(await lkey(bob, link.linkId, key))).toBe('AUTH')
    expect([await store.count(routerQueues), await store.count(routerLinks)]).toEqual([1, 0])
  })

  it('B10 stays while messages come that nobody has signed', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const link = await created(alice, { mode: 'messaging' })
    expect(errorOf(await bob.one(send('unsigned'), link.ids.senderId))).toBe('OK')
    await world.settle()
    expect(told(await lkey(bob, link.linkId, authKey()))).toBe('fixed data | user data')
  })

  it('B10 keeps the order of messages when it goes', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const queue = await newQueue(alice)
    const linkId = randomBytes(24)
    const set = { type: 'LSET', linkId, data: dataOf() } as const
    expect(errorOf(await alice.one(set, queue.rcvId, queue.key))).toBe('OK')
    const key = authKey()
    expect(told(await lkey(bob, linkId, key))).toBe('fixed data | user data')
    const texts = Array.from({ length: 20 }, (_, n) => `message ${n}`)
    await bob.ask(...texts.map(text => ({ command: send(text), entityId: queue.sndId, key })))
    const received: string[] = []
    let answer = (await alice.event()).response
    while (answer.type === 'MSG') {
      const message = queue.open(answer)
      received.push(bodyText(message))
      answer = await alice.one({ type: 'ACK', messageId: message.messageId }, queue.rcvId, queue.key)
    }
    expect(received).toEqual(texts)
  })
})

describe('B10 the link of a contact address', () => {
  it('B10 is read by everybody with LGET, and cannot be secured', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const link = await created(alice, { mode: 'contact' })
    expect(told(await lkey(bob, link.linkId, authKey()))).toBe('AUTH')
    expect(errorOf(await bob.one({ type: 'LGET' }, link.linkId, authKey()))).toBe('CMD HAS_AUTH')
    expect(told(await lget(bob, link.ids.recipientId))).toBe('AUTH')
    const answer = await lget(bob, link.linkId)
    expect(told(answer)).toBe('fixed data | user data')
    expect(answer.type === 'LNK' && Buffer.compare(answer.senderId, link.ids.senderId)).toBe(0)
    expect(told(await lget(bob, link.linkId))).toBe('fixed data | user data')
    expect(errorOf(await bob.one(send('hello'), link.ids.senderId))).toBe('OK')
    expect(told(await lget(bob, link.linkId))).toBe('fixed data | user data')
  })

  it('B10 gets other user data with LSET, but neither another id nor other fixed data', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const link = await created(alice, { mode: 'contact' })
    expect(errorOf(await lset(link, alice, dataOf('updated')))).toBe('OK')
    expect(told(await lget(alice, link.linkId))).toBe('fixed data | updated')
    expect(errorOf(await lset(link, alice, dataOf('again'), randomBytes(24)))).toBe('AUTH')
    expect(errorOf(await lset(link, alice, dataOf('again', 'other fixed data')))).toBe('AUTH')
    expect(told(await lget(alice, link.linkId))).toBe('fixed data | updated')
    const stranger = { ...link, key: authKey() }
    expect(errorOf(await lset(stranger, alice, dataOf('stranger')))).toBe('AUTH')
  })

  it('B10 is deleted with LDEL, twice if need be, and may be made anew', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const link = await created(alice, { mode: 'contact' })
    expect([errorOf(await ldel(link, alice)), errorOf(await ldel(link, alice))]).toEqual(['OK', 'OK'])
    expect(told(await lget(alice, link.linkId))).toBe('AUTH')
    const linkId = randomBytes(24)
    expect(errorOf(await lset(link, alice, dataOf('new', 'other fixed data'), linkId))).toBe('OK')
    expect(told(await lget(alice, linkId))).toBe('other fixed data | new')
  })

  it('B10 can be given to a queue that had none, under an id that is free', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const taken = await created(alice, { mode: 'contact' })
    for (const mode of ['contact', 'messaging', undefined] as const) {
      const key = authKey()
      const dhKey = generateKeyPair('x25519').publicKey
      const request = mode === undefined ? undefined : ({ mode } as const)
      const command = { type: 'NEW', authKey: publicOf(key), dhKey, subscribe: false, request } as const
      const ids = (await alice.one(command, undefined, key)) as QueueIds
      expect(ids.mode).toBe(mode)
      const set = (linkId: Bytes) => alice.one({ type: 'LSET', linkId, data: dataOf() }, ids.recipientId, key)
      expect(errorOf(await set(taken.linkId))).toBe('AUTH')
      const linkId = randomBytes(24)
      expect(errorOf(await set(linkId))).toBe('OK')
      expect(told(await lget(alice, linkId))).toBe(mode === 'messaging' ? 'AUTH' : 'fixed data | user data')
    }
    expect(told(await lget(alice, taken.linkId))).toBe('fixed data | user data')
  })

  it('B10 is seen changed by the next command of the same block', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const { ids, linkId, key } = await created(alice, { mode: 'contact' })
    const own = { entityId: ids.recipientId, key }
    const answers = await alice.ask(
      { command: { type: 'LSET', linkId, data: dataOf('first') }, ...own },
      { command: { type: 'LGET' }, entityId: linkId },
      { command: { type: 'LSET', linkId, data: dataOf('second') }, ...own },
      { command: { type: 'LGET' }, entityId: linkId },
      { command: { type: 'LDEL' }, ...own },
      { command: { type: 'LGET' }, entityId: linkId },
    )
    const expected = ['OK', 'fixed data | first', 'OK', 'fixed data | second', 'OK', 'AUTH']
    expect(answers.map(told)).toEqual(expected)
  })
})

describe('B10 links', () => {
  it('B10 are there after a restart, with the data that was set last', async () => {
    const store = openMemoryStore()
    world = await routerWorld({ queues: store })
    const alice = await world.client()
    const [contact, invitation] = [
      await created(alice, { mode: 'contact' }),
      await created(alice, { mode: 'messaging', data: dataOf('for one') }),
    ]
    await lset(contact, alice, dataOf('set last'))
    await world.close()
    world = await routerWorld({ queues: store.reopen(), messages: memoryLog() })
    const bob = await world.client()
    expect(told(await lget(bob, contact.linkId))).toBe('fixed data | set last')
    expect(told(await lkey(bob, invitation.linkId, authKey()))).toBe('fixed data | for one')
    // The hash of the fixed data is known again, too.
    expect(errorOf(await lset(contact, bob, dataOf('x', 'other fixed data')))).toBe('AUTH')
    expect(errorOf(await lset(contact, bob, dataOf('x')))).toBe('OK')
  })

  it('B10 go with their queue', async () => {
    const store = openMemoryStore()
    world = await routerWorld({ queues: store })
    const alice = await world.client()
    const link = await created(alice, { mode: 'contact' })
    expect(errorOf(await alice.one({ type: 'DEL' }, link.ids.recipientId, link.key))).toBe('OK')
    expect(told(await lget(alice, link.linkId))).toBe('AUTH')
    expect(await store.count(routerLinks)).toBe(0)
    const again = await created(alice, { mode: 'contact', linkId: link.linkId })
    expect(told(await lget(alice, again.linkId))).toBe('fixed data | user data')
  })

  it('B10 stay readable when their queue is suspended', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const link = await created(alice, { mode: 'contact' })
    expect(errorOf(await alice.one({ type: 'OFF' }, link.ids.recipientId, link.key))).toBe('OK')
    expect(told(await lget(alice, link.linkId))).toBe('fixed data | user data')
  })

  it('B10 of a notifier: NEW makes both', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const key = authKey()
    const corrId = randomBytes(24)
    const notifier = { authKey: publicOf(authKey()), dhKey: generateKeyPair('x25519').publicKey }
    const link = { senderId: linkSenderId(corrId), data: dataOf() }
    const dhKey = generateKeyPair('x25519').publicKey
    const request = { mode: 'messaging', link } as const
    const command = { type: 'NEW', authKey: publicOf(key), dhKey, subscribe: false, request, notifier } as const
    const [answer] = await alice.ask({ command, key, corrId })
    expect(answer).toMatchObject({ type: 'IDS', linkId: expect.anything(), notifier: expect.anything() })
  })
})

describe('B10 a queue and its link, whatever is done to them', () => {
  type Step = readonly [what: 'LSET' | 'LDEL' | 'LKEY' | 'LGET' | 'KEY' | 'SEND' | 'OFF', which: number]
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.constantFrom('LSET', 'LDEL', 'LKEY', 'LGET', 'KEY', 'SEND', 'OFF'),
    fc.integer({ min: 0, max: 3 }),
  )

  /** What the reference does, step by step. */
  const model = (mode: 'messaging' | 'contact') => {
    let link: { id: number; fixed: number; user: number } | undefined
    let senderKey: number | undefined
    let off = false
    const secure = (key: number): boolean => {
      if (senderKey !== undefined && senderKey !== key) return false
      senderKey = key
      return true
    }
    const read = (id: number): string => (link?.id === id ? `fixed ${link.fixed} | user ${link.user}` : 'AUTH')
    const secured = (): boolean => mode === 'messaging' && senderKey !== undefined
    return ([what, n]: Step, at: number): string => {
      // Two ids and two fixed parts, so that they often meet.
      const [id, fixed, key] = [n & 1, n >> 1, n & 1]
      switch (what) {
        case 'LSET':
          if (secured() || (link !== undefined && (link.id !== id || link.fixed !== fixed))) return 'AUTH'
          link = { id, fixed, user: at }
          return 'OK'
        case 'LDEL':
          link = undefined
          return 'OK'
        case 'LKEY':
          if (mode === 'contact' || link?.id !== id) return 'AUTH'
          return secure(key) ? read(id) : 'AUTH'
        case 'LGET':
          return mode === 'contact' ? read(id) : 'AUTH'
        case 'KEY':
          return secure(key) ? 'OK' : 'AUTH'
        case 'OFF':
          off = true
          return 'OK'
        default:
          if (senderKey !== (n < 2 ? undefined : key) || off) return 'AUTH'
          if (secured()) link = undefined
          return 'OK'
      }
    }
  }

  it('B10 answers as the reference', async () => {
    world = await routerWorld()
    const [alice, bob] = [await world.client(), await world.client()]
    const keys = [authKey(), authKey()] as const
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('messaging' as const, 'contact' as const),
        fc.array(step, { maxLength: 25 }),
        async (mode, steps) => {
          const queue = await newQueue(alice, { mode, subscribe: false })
          const ids = [randomBytes(24), randomBytes(24)] as const
          const expected = model(mode)
          for (const [at, [what, n]] of steps.entries()) {
            const [linkId, key] = [ids[n & 1]!, keys[n & 1]!]
            const data = dataOf(`user ${at}`, `fixed ${n >> 1}`)
            const own = (command: Command) => alice.one(command, queue.rcvId, queue.key)
            const ask: Record<Step[0], () => Promise<Response>> = {
              LSET: () => own({ type: 'LSET', linkId, data }),
              LDEL: () => own({ type: 'LDEL' }),
              OFF: () => own({ type: 'OFF' }),
              KEY: () => own({ type: 'KEY', key: publicOf(key) }),
              LKEY: () => lkey(bob, linkId, key),
              LGET: () => lget(bob, linkId),
              SEND: () => bob.one(send('x'), queue.sndId, n < 2 ? undefined : key),
            }
            expect([what, told(await ask[what]())]).toEqual([what, expected([what, n], at)])
            await world.settle()
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})
