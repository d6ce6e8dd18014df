/** B10: short links of own connections and of others, on a scripted router that keeps them as the reference does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import { parseShortLink } from '../../src/smp/protocol/shortLink.js'
import { connections, rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { invitationLinks, shortLinks } from '../../src/store/agent/links.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer, type SeenCommand } from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
let bob: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
  bob = await world.start('bob')
})
afterEach(() => world.close())

const types = (): string[] => world.router.seen.map(({ command }) => command.type)
const newLink = async (params: Parameters<TestAgent['agent']['createConnection']>[0] = {}) => {
  const created = await alice.agent.createConnection({ linkData: { userData: 'who I am' }, ...params })
  const { shortLink } = created
  if (shortLink === undefined) throw new Error('no short link')
  return { ...created, shortLink }
}
const keyOf = ({ command }: SeenCommand): string =>
  'key' in command && typeof command.key === 'object' && 'raw' in command.key
    ? Buffer.from(command.key.raw).toString('hex')
    : ''
const refuse = (type: string, error: Parameters<typeof errorAnswer>[0] = 'AUTH'): void => {
  world.router.react = ({ command }) => (command.type === type ? errorAnswer(error) : undefined)
}
const obey = (): void => {
  world.router.react = () => undefined
}
/** Bob has joined; both tell CON, and a message goes each way. */
const complete = async (aliceId: string, bobId: string): Promise<boolean> => {
  const { confirmationId } = await alice.next('CONF', aliceId)
  await alice.agent.allowConnection({ connectionId: aliceId, confirmationId, info: 'alice' })
  const { pqEncryption } = await alice.next('CON', aliceId)
  await bob.next('CON', bobId)
  await alice.agent.sendMessage({ connectionId: aliceId, body: 'from alice' })
  await bob.agent.sendMessage({ connectionId: bobId, body: 'from bob' })
  expect(textOf((await bob.next('MSG', bobId)).body)).toBe('from alice')
  expect(textOf((await alice.next('MSG', aliceId)).body)).toBe('from bob')
  return pqEncryption
}
/** Alice accepts who has asked at her address. */
const accept = async (contactId: string, bobId: string): Promise<void> => {
  const { invitationId } = await alice.next('REQ', contactId)
  const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
  const { confirmationId } = await bob.next('CONF', bobId)
  await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
  await alice.next('CON', aliceId)
  await bob.next('CON', bobId)
}

describe('B10 the short link of an invitation', () => {
  it('B10 is made with the queue, in one command, and read with what its owner has said', async () => {
    const { link, shortLink } = await newLink()
    expect(types()).toEqual(['NEW'])
    expect(shortLink).toMatch(/^https:\/\/scripted\/i#[A-Za-z0-9_-]{32}\/[A-Za-z0-9_-]{43}\?c=/)
    expect(parseShortLink(shortLink).mode).toBe('invitation')
    const read = await bob.agent.getShortLink({ link: ` ${shortLink}\n` })
    expect({ ...read, userData: textOf(read.userData) }).toEqual({
      mode: 'invitation',
      link: expect.any(String),
      userData: 'who I am',
    })
    // The same queue and X3DH keys; only the short link has room for the KEM key.
    const [long, read_] = [parseConnectionRequest(link), parseConnectionRequest(read.link)]
    expect(read_.queues).toEqual(long.queues)
    expect([long, read_].map(request => request.mode === 'invitation' && request.e2e.kem?.kind)).toEqual([
      undefined,
      'proposed',
    ])
    expect(link.length).toBeLessThan(read.link.length / 2)
  })

  it('B10 joining by it: the queue is secured by reading, with the key that is used from then on', async () => {
    const { connectionId: aliceId, shortLink } = await newLink()
    const { connectionId: bobId } = await bob.agent.joinConnection({ link: shortLink, info: 'bob' })
    expect(await complete(aliceId, bobId)).toBe(true)
    const keys = [...world.router.all('LKEY'), ...world.router.all('SKEY').filter(seen => isOf(seen, 'bob'))].map(keyOf)
    expect(keys).toHaveLength(2)
    expect(new Set(keys).size).toBe(1)
    expect(await alice.store.count(shortLinks)).toBe(0)
    await expect(bob.agent.getShortLink({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
  })

  it('B10 reading first and joining by the long link that was read is the same', async () => {
    const { connectionId: aliceId, shortLink } = await newLink()
    const { link } = await bob.agent.getShortLink({ link: shortLink })
    await bob.agent.getShortLink({ link: shortLink })
    const { connectionId: bobId } = await bob.agent.joinConnection({ link })
    expect(await complete(aliceId, bobId)).toBe(true)
    expect(new Set(world.router.all('LKEY').map(keyOf)).size).toBe(1)
  })

  it('B10 whoever has only the long link can join by it as ever', async () => {
    const { connectionId: aliceId, link } = await newLink()
    const { connectionId: bobId } = await bob.agent.joinConnection({ link })
    await complete(aliceId, bobId)
  })

  it('B10 nobody else can read it: not another agent, not another user of the same one', async () => {
    const { shortLink } = await newLink()
    await bob.agent.getShortLink({ link: shortLink })
    const carol = await world.start('carol')
    await expect(carol.agent.getShortLink({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    await expect(carol.agent.joinConnection({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    const { userId } = await bob.agent.createUser({})
    await expect(bob.agent.getShortLink({ userId, link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    // Nothing is left of what led nowhere.
    expect(await carol.store.count(invitationLinks)).toBe(0)
    expect(await bob.store.count(invitationLinks)).toBe(1)
    expect(await carol.store.count(connections)).toBe(0)
  })

  it('B10 one connection is made by it: another one of the same user is refused, at the same moment too', async () => {
    const { connectionId: aliceId, shortLink } = await newLink()
    const outcomes = await Promise.allSettled([0, 1].map(() => bob.agent.joinConnection({ link: shortLink })))
    const [done] = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    await expect(bob.agent.joinConnection({ link: shortLink })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: done?.connectionId,
    })
    expect(await bob.store.count(connections)).toBe(1)
    await complete(aliceId, done?.connectionId ?? '')
  })

  it('B10 its data can be set until it is read, and its link deleted; the keys of it go with the connection', async () => {
    const { connectionId, shortLink } = await newLink()
    expect(await alice.agent.setShortLink({ connectionId, linkData: { userData: 'new data' } })).toEqual({ shortLink })
    expect(textOf((await bob.agent.getShortLink({ link: shortLink })).userData)).toBe('new data')
    await expect(alice.agent.setShortLink({ connectionId, linkData: { userData: 'too late' } })).rejects.toMatchObject({
      code: 'AUTH',
    })
    await alice.agent.deleteShortLink({ connectionId })
    await alice.agent.deleteShortLink({ connectionId })
    expect(world.router.all('LDEL')).toHaveLength(1)
    await expect(bob.agent.getShortLink({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    // An invitation gets its link when it is made, or never.
    await expect(alice.agent.setShortLink({ connectionId, linkData: { userData: 'again' } })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
    })
    const other = await newLink()
    expect(await alice.store.count(shortLinks)).toBe(1)
    await alice.agent.deleteConnection({ connectionId: other.connectionId })
    await alice.next('DEL_CONN', other.connectionId)
    expect(await alice.store.count(shortLinks)).toBe(0)
  })

  it('B10 the key that it was read with goes with the connection, and with the user', async () => {
    const { shortLink } = await newLink()
    const { connectionId } = await bob.agent.joinConnection({ link: shortLink })
    await bob.agent.deleteConnection({ connectionId })
    await bob.next('DEL_CONN', connectionId)
    expect(await bob.store.count(invitationLinks)).toBe(0)
    const { userId } = await bob.agent.createUser({})
    await bob.agent.getShortLink({ userId, link: (await newLink()).shortLink })
    expect(await bob.store.count(invitationLinks)).toBe(1)
    await bob.agent.deleteUser({ userId })
    await bob.next('DEL_USER')
    expect(await bob.store.count(invitationLinks)).toBe(0)
  })
})

const isOf = ({ session }: SeenCommand, name: string): boolean => session.channel.remoteAddress === name

describe('B10 the short link of a contact address', () => {
  const linkData = {
    userData: 'the shop',
    direct: true,
    relays: [
      'https://relay.example/r#4AkRDmhf64tdRlN406g8lJRg5OCmhD6ynIhi6glOcCM?c=LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI',
    ],
  }

  it('B10 is read by everybody, again and again, and joined by', async () => {
    const { connectionId, link, shortLink } = await newLink({ mode: 'contact', linkData })
    expect(shortLink).toMatch(/^https:\/\/scripted\/a#[A-Za-z0-9_-]{43}\?c=/)
    const carol = await world.start('carol')
    for (const reader of [bob, carol, bob]) {
      const read = await reader.agent.getShortLink({ link: shortLink })
      expect({ ...read, userData: textOf(read.userData) }).toEqual({ ...linkData, mode: 'contact', link, owners: [] })
    }
    for (const joiner of [bob, carol]) {
      const { connectionId: joinerId } = await joiner.agent.joinConnection({ link: shortLink, info: joiner.name })
      const { invitationId, info } = await alice.next('REQ', connectionId)
      expect(textOf(info)).toBe(joiner.name)
      await alice.agent.acceptContact({ invitationId })
      const { confirmationId } = await joiner.next('CONF', joinerId)
      await joiner.agent.allowConnection({ connectionId: joinerId, confirmationId })
      await joiner.next('CON', joinerId)
    }
  })

  it('B10 gets other data under the same link, which outlives a restart', async () => {
    const { connectionId, shortLink } = await newLink({ mode: 'contact' })
    alice = await world.start('alice', { store: { open: alice.crash() } })
    const set = { connectionId, linkData: { userData: 'moved', direct: false } }
    for (let i = 0; i < 2; i++) expect(await alice.agent.setShortLink(set)).toEqual({ shortLink })
    expect(await bob.agent.getShortLink({ link: shortLink })).toMatchObject({ direct: false, relays: [] })
    // Who takes requests through relays only is not asked directly.
    await expect(bob.agent.joinConnection({ link: shortLink })).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
  })

  it('B10 is given to an address that has none; deleted, it never comes back, and the long link works on', async () => {
    const { connectionId, link } = await alice.agent.createConnection({ mode: 'contact' })
    const { shortLink } = await alice.agent.setShortLink({ connectionId, linkData })
    expect((await bob.agent.getShortLink({ link: shortLink })).link).toBe(link)
    await alice.agent.deleteShortLink({ connectionId })
    await expect(bob.agent.getShortLink({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    const another = await alice.agent.setShortLink({ connectionId, linkData })
    expect(another.shortLink).not.toBe(shortLink)
    await expect(bob.agent.getShortLink({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    const { connectionId: bobId } = await bob.agent.joinConnection({ link: another.shortLink })
    await accept(connectionId, bobId)
  })

  it('B10 changes that are asked for at once are made one after the other: the last one holds', async () => {
    const { connectionId, shortLink } = await newLink({ mode: 'contact' })
    world.router.react = ({ command }) => (command.type === 'LDEL' ? 'hold' : undefined)
    const deleted = alice.agent.deleteShortLink({ connectionId })
    await world.until(() => world.router.all('LDEL').length === 1, 'LDEL')
    const set = alice.agent.setShortLink({ connectionId, linkData })
    await world.clock.advance(1000)
    expect(world.router.all('LSET')).toEqual([])
    world.router.release(world.router.all('LDEL')[0]!)
    await deleted
    expect((await set).shortLink).not.toBe(shortLink)
    expect(await bob.agent.getShortLink(await set.then(({ shortLink: link }) => ({ link })))).toMatchObject({
      relays: linkData.relays,
    })
  })

  it('B10 the data is refused where it fits nothing: too long, of another kind, in another state', async () => {
    const { connectionId } = await alice.agent.createConnection({ mode: 'contact' })
    const tooLong = { userData: Buffer.alloc(14_000) }
    await expect(alice.agent.setShortLink({ connectionId, linkData: tooLong })).rejects.toMatchObject({
      code: 'LARGE_MSG',
    })
    await expect(alice.agent.createConnection({ linkData: tooLong, idempotencyKey: 'k' })).rejects.toMatchObject({
      code: 'LARGE_MSG',
    })
    await expect(alice.agent.createConnection({ linkData })).rejects.toMatchObject({ code: 'CMD_PARAMS' })
    await expect(
      alice.agent.setShortLink({ connectionId, linkData: { userData: '', relays: ['https://relay.example/i#AA/AA'] } }),
    ).rejects.toMatchObject({ code: 'CMD_PARAMS', field: 'linkData.relays' })
    const { initiatorId } = await world.connect(alice, bob)
    await expect(
      alice.agent.setShortLink({ connectionId: initiatorId, linkData: { userData: '' } }),
    ).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    await expect(alice.agent.deleteShortLink({ connectionId: initiatorId })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
    })
    expect(await alice.store.count(connections)).toBe(2)
    expect(await alice.store.count(shortLinks)).toBe(0)
  })
})

describe('B10 a prepared link', () => {
  const linkData = { userData: 'the group' }

  it('B10 is there before any router is asked, and leads to the address that is made of it', async () => {
    const prepared = await alice.agent.prepareConnectionLink({ entityId: 'group 7' })
    await world.clock.advance(60_000)
    expect(world.router.seen).toEqual([])
    await expect(bob.agent.getShortLink({ link: prepared.shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    const { connectionId } = prepared
    expect(await alice.agent.createConnectionForLink({ connectionId, linkData })).toEqual(prepared)
    const read = await bob.agent.getShortLink({ link: prepared.shortLink })
    expect({ link: read.link, entity: textOf(read.entityId ?? Buffer.alloc(0)), data: textOf(read.userData) }).toEqual({
      link: prepared.link,
      entity: 'group 7',
      data: 'the group',
    })
    const { connectionId: bobId } = await bob.agent.joinConnection({ link: prepared.shortLink })
    await accept(connectionId, bobId)
    await alice.agent.setShortLink({ connectionId, linkData: { userData: 'renamed' } })
    expect(textOf((await bob.agent.getShortLink({ link: prepared.shortLink })).userData)).toBe('renamed')
  })

  it('B10 outlives a restart and is one under its key; the address is made once, however often it is asked for', async () => {
    const prepare = { idempotencyKey: 'link' }
    const answers = await Promise.all([0, 1, 2].map(() => alice.agent.prepareConnectionLink(prepare)))
    expect(new Set(answers.map(({ shortLink }) => shortLink)).size).toBe(1)
    alice = await world.start('alice', { store: { open: alice.crash() } })
    const prepared = await alice.agent.prepareConnectionLink(prepare)
    expect(prepared).toEqual(answers[0])
    const { connectionId } = prepared
    const made = await Promise.all([0, 1, 2].map(() => alice.agent.createConnectionForLink({ connectionId, linkData })))
    expect(made).toEqual([prepared, prepared, prepared])
    expect(await alice.agent.createConnectionForLink({ connectionId, linkData })).toEqual(prepared)
    expect(await alice.agent.prepareConnectionLink(prepare)).toEqual(prepared)
    expect(world.router.all('NEW')).toHaveLength(1)
    expect(await alice.store.count(rcvQueues)).toBe(1)
  })

  it('B10 ★ a router that makes another queue than the link names is refused, and its queue deleted', async () => {
    const { connectionId, shortLink } = await alice.agent.prepareConnectionLink({})
    const before = world.router.release
    world.router.react = seen => {
      if (seen.command.type !== 'NEW') return undefined
      const { request } = seen.command
      if (request?.mode !== 'contact' || request.link === undefined) throw new Error('no link')
      const link = { ...request.link, senderId: Buffer.alloc(24, 7) }
      before({ ...seen, command: { ...seen.command, request: { mode: 'contact', link } } })
      return 'hold'
    }
    await expect(alice.agent.createConnectionForLink({ connectionId, linkData })).rejects.toMatchObject({
      code: 'SMP_UNEXPECTED',
    })
    await world.until(() => world.router.all('DEL').length === 1, 'DEL')
    expect(world.router.queues).toEqual([])
    expect((await alice.agent.listConnections({})).connections).toMatchObject([{ connectionId, status: 'new' }])
    // Honest again, it makes the queue of the link.
    obey()
    expect(await alice.agent.createConnectionForLink({ connectionId, linkData })).toMatchObject({ shortLink })
    expect(await bob.agent.getShortLink({ link: shortLink })).toMatchObject({ mode: 'contact' })
  })

  it('B10 takes no keys of a KEM, and only connections that were prepared so', async () => {
    const { connectionId } = await alice.agent.prepareConnectionLink({ idempotencyKey: 'link' })
    await expect(
      alice.agent.createConnectionForLink({ connectionId, linkData, pq: 'invitation' }),
    ).rejects.toMatchObject({ code: 'CMD_PROHIBITED', field: 'pq' })
    const other = await alice.agent.createConnection({ mode: 'contact', linkData, idempotencyKey: 'address' })
    await expect(
      alice.agent.createConnectionForLink({ connectionId: other.connectionId, linkData }),
    ).rejects.toMatchObject({ code: 'CMD_PROHIBITED', field: 'connectionId' })
    for (const call of [
      alice.agent.createConnection({ mode: 'contact', idempotencyKey: 'link' }),
      alice.agent.prepareConnectionLink({ idempotencyKey: 'address' }),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'CMD_PROHIBITED', field: 'idempotencyKey' })
    }
    await expect(alice.agent.setShortLink({ connectionId, linkData })).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    await alice.agent.deleteConnection({ connectionId })
    await expect(alice.agent.createConnectionForLink({ connectionId, linkData })).rejects.toMatchObject({
      code: 'CONN_NOT_FOUND',
    })
    expect(await alice.store.count(shortLinks)).toBe(1)
  })

  it('B10 a router that refuses leaves the link as it is, for another attempt', async () => {
    const { connectionId, shortLink } = await alice.agent.prepareConnectionLink({})
    refuse('NEW', 'INTERNAL')
    await expect(alice.agent.createConnectionForLink({ connectionId, linkData })).rejects.toMatchObject({
      code: 'INTERNAL',
    })
    obey()
    expect(await alice.agent.createConnectionForLink({ connectionId, linkData })).toMatchObject({ shortLink })
    const keys = world.router
      .all('NEW')
      .map(({ command, corrId }) => [
        command.type === 'NEW' && Buffer.from(command.authKey.raw).toString('hex'),
        Buffer.from(corrId).toString('hex'),
      ])
    expect(keys[1]).toEqual(keys[0])
  })
})

describe('B10 a router that answers something else', () => {
  it('B10 ★ a link whose queue is another one is not handed out, whichever id differs', async () => {
    for (const wrong of [
      { senderId: Buffer.alloc(24, 1) },
      { linkId: Buffer.alloc(24, 2) },
      { mode: 'messaging' as const },
      { linkId: undefined },
    ]) {
      world.router.react = seen => {
        if (seen.command.type !== 'NEW') return undefined
        const { request } = seen.command
        if (request?.mode !== 'contact' || request.link === undefined) throw new Error('no link')
        const { senderId, linkId } = request.link
        const dhKey = seen.command.dhKey
        return { type: 'IDS', recipientId: Buffer.alloc(24), senderId, linkId, dhKey, mode: 'contact', ...wrong }
      }
      await expect(alice.agent.createConnection({ mode: 'contact', linkData: { userData: '' } })).rejects.toMatchObject(
        { code: 'SMP_UNEXPECTED' },
      )
    }
    expect(await alice.store.count(connections)).toBe(0)
    expect(await alice.store.count(shortLinks)).toBe(0)
  })

  it('B10 ★ data that is not the link’s is refused, and so is a queue that the data does not name', async () => {
    const [one, two] = [await newLink({ mode: 'contact' }), await newLink({ mode: 'contact' })]
    const [first, second] = world.router.queues
    if (first?.link === undefined || second?.link === undefined) throw new Error('no queues')
    const honest = first.link
    first.link = { ...honest, data: second.link.data }
    await expect(bob.agent.getShortLink({ link: one.shortLink })).rejects.toMatchObject({ code: 'CRYPTO_BOX' })
    first.link = { ...honest, data: { ...honest.data, fixedData: Buffer.alloc(2048) } }
    await expect(bob.agent.joinConnection({ link: one.shortLink })).rejects.toMatchObject({ code: 'CRYPTO_BOX' })
    world.router.react = ({ command }) =>
      command.type === 'LGET' ? { type: 'LNK', senderId: second.senderId, data: honest.data } : undefined
    await expect(bob.agent.getShortLink({ link: one.shortLink })).rejects.toMatchObject({ code: 'CRYPTO_LINK_ADDRESS' })
    obey()
    expect(await bob.agent.getShortLink({ link: two.shortLink })).toMatchObject({ mode: 'contact' })
    expect(await bob.store.count(connections)).toBe(0)
  })

  it('B10 ★ a router that names another queue once does no harm: the key that the link was read with still fits', async () => {
    const { connectionId: aliceId, shortLink } = await newLink()
    world.router.react = seen => {
      const { command } = seen
      const [queue] = world.router.queues
      if (command.type !== 'LKEY' || queue?.link === undefined) return undefined
      queue.senderKey = command.key.raw
      return { type: 'LNK', senderId: Buffer.alloc(24, 3), data: queue.link.data }
    }
    await expect(bob.agent.joinConnection({ link: shortLink })).rejects.toMatchObject({ code: 'CRYPTO_LINK_ADDRESS' })
    obey()
    const { connectionId: bobId } = await bob.agent.joinConnection({ link: shortLink })
    await complete(aliceId, bobId)
    expect(new Set(world.router.all('LKEY').map(keyOf)).size).toBe(1)
  })

  it('B10 a link that no agent reads, or whose router nobody knows, is refused before the network', async () => {
    const { shortLink } = await newLink({ mode: 'contact' })
    const seen = world.router.seen.length
    for (const link of ['hello', 'https://scripted/x#AAAA', 'https://scripted/i#AAAA']) {
      await expect(bob.agent.getShortLink({ link })).rejects.toMatchObject({ code: 'DECODE_INVALID' })
      await expect(bob.agent.joinConnection({ link })).rejects.toMatchObject({ code: 'DECODE_INVALID' })
    }
    const bare = shortLink.replace(/\?.*$/, '')
    await expect(bob.agent.getShortLink({ link: bare.replace('scripted', 'elsewhere') })).rejects.toMatchObject({
      code: 'CMD_PARAMS',
      field: 'link',
    })
    expect(world.router.seen).toHaveLength(seen)
    // One of the user's own may be named by its host alone.
    expect(await bob.agent.getShortLink({ link: bare })).toMatchObject({ mode: 'contact' })
  })
})

describe('B10 routers of versions before short links', () => {
  it('B10 connections are made without a short link; what needs one is refused', async () => {
    await world.close()
    world = await scriptedWorld({ versionRange: { min: 6, max: 14 } })
    alice = await world.start('alice')
    bob = await world.start('bob')
    const { connectionId, link, ...rest } = await alice.agent.createConnection({ linkData: { userData: 'unheard' } })
    expect(rest).toEqual({})
    expect(await alice.store.count(shortLinks)).toBe(0)
    const address = await alice.agent.createConnection({ mode: 'contact' })
    await expect(
      alice.agent.setShortLink({ connectionId: address.connectionId, linkData: { userData: '' } }),
    ).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    expect(world.router.all('LSET')).toEqual([])
    const prepared = await alice.agent.prepareConnectionLink({})
    await expect(
      alice.agent.createConnectionForLink({ connectionId: prepared.connectionId, linkData: { userData: '' } }),
    ).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    await world.until(() => world.router.all('DEL').length === 1, 'DEL')
    const { connectionId: bobId } = await bob.agent.joinConnection({ link })
    await complete(connectionId, bobId)
  })
})

describe('B21 short links, asynchronously', () => {
  const resultOf = async (agent: TestAgent, correlationId: string): Promise<Record<string, unknown>> => {
    const event = await agent.next('OK')
    expect(event.correlationId).toBe(correlationId)
    return event.result as Record<string, unknown>
  }

  it('B21 each call has one answer with its result, bytes as base64, also when its router comes back later', async () => {
    await alice.agent.createConnectionAsync({ mode: 'contact', correlationId: '1' })
    const { connectionId } = (await resultOf(alice, '1')) as { connectionId: string }
    const linkData = { userData: Buffer.from([0, 255]) }
    await alice.agent.setShortLinkAsync({ connectionId, linkData, correlationId: '2' })
    const { shortLink: link } = (await resultOf(alice, '2')) as { shortLink: string }
    world.router.react = ({ command }) => (command.type === 'LGET' ? 'lose' : undefined)
    await bob.agent.getShortLinkAsync({ link, correlationId: '3' })
    await world.until(() => world.router.all('LGET').length > 1, 'another attempt')
    obey()
    bob = await world.start('bob', { store: { open: bob.crash() } })
    expect(await resultOf(bob, '3')).toMatchObject({ mode: 'contact', userData: { base64: 'AP8=' } })
    await bob.agent.joinConnectionAsync({ link, correlationId: '4' })
    await accept(connectionId, ((await resultOf(bob, '4')) as { connectionId: string }).connectionId)
    await alice.agent.deleteShortLinkAsync({ connectionId, correlationId: '5' })
    await world.until(() => alice.events.some(event => event.correlationId === '5'), 'the answer')
    await bob.agent.getShortLinkAsync({ link, correlationId: '6' })
    await world.until(() => bob.events.some(event => event.correlationId === '6'), 'the answer')
    expect(bob.events.find(event => event.correlationId === '6')).toMatchObject({
      type: 'ERR',
      error: { code: 'AUTH' },
    })
  })
})

describe('B16 a prepared connection and short links', () => {
  it('B16 its id is there before the link is read, and joining by it may be repeated', async () => {
    const { connectionId: aliceId, shortLink } = await newLink()
    const seen = world.router.seen.length
    const { connectionId } = await bob.agent.prepareConnectionToJoin({ link: shortLink })
    expect(world.router.seen).toHaveLength(seen)
    const join = { connectionId, link: shortLink, info: 'bob' }
    expect(await Promise.all([0, 1].map(() => bob.agent.joinConnection(join)))).toEqual([
      { connectionId },
      { connectionId },
    ])
    await complete(aliceId, connectionId)
    expect(await bob.agent.joinConnection(join)).toEqual({ connectionId })
    expect(await bob.store.count(sndQueues)).toBe(1)
    await expect(bob.agent.joinConnection({ ...join, connectionId: 'nobody' })).rejects.toMatchObject({
      code: 'CONN_NOT_FOUND',
    })
  })

  it('B16 of an address: the requests of it come under that id', async () => {
    const { connectionId: contactId, shortLink } = await newLink({ mode: 'contact' })
    const { connectionId } = await bob.agent.prepareConnectionToJoin({ link: shortLink })
    await bob.agent.joinConnection({ connectionId, link: shortLink })
    await accept(contactId, connectionId)
  })
})
