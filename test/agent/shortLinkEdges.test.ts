/** B10: short links at the edges: repeated and deleted in the middle, at their limits, read in the wrong way, and answered wrongly. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { formatShortLink, parseShortLink } from '../../src/smp/protocol/shortLink.js'
import { connections, rcvQueues } from '../../src/store/agent/connections.js'
import { invitationLinks, shortLinks } from '../../src/store/agent/links.js'
import type { TestAgent } from '../support/agentWorld.js'
import type { SeenCommand } from '../support/scriptedRouter.js'
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

const linkData = { userData: 'who I am' }
const newLink = async (mode: 'invitation' | 'contact') => {
  const { connectionId, shortLink } = await alice.agent.createConnection({ mode, linkData })
  if (shortLink === undefined) throw new Error('no short link')
  return { connectionId, shortLink }
}
/** The key of a sender that a command brings. */
const senderKeys = ({ command, session }: SeenCommand): string[] =>
  (command.type === 'LKEY' || command.type === 'SKEY') && session.channel.remoteAddress === 'bob'
    ? [Buffer.from(command.key.raw).toString('hex')]
    : []
/** Keeps the first command of a type unanswered, until it is released. */
const hold = (type: string): (() => Promise<SeenCommand>) => {
  world.router.react = ({ command }) => (command.type === type ? 'hold' : undefined)
  const before = world.router.all(type as 'NEW').length
  return async () => {
    await world.until(() => world.router.all(type as 'NEW').length > before, type)
    const held = world.router.all(type as 'NEW').at(-1)
    if (held === undefined) throw new Error(`no ${type}`)
    return held
  }
}

describe('B10 calls on short links, repeated and in the way of each other', () => {
  it.each(['an invitation', 'a contact address'] as const)(
    'B10 joining by the short link of %s is one join under its key, also when it is asked for at once',
    async what => {
      const { shortLink } = await newLink(what === 'an invitation' ? 'invitation' : 'contact')
      const join = { link: shortLink, idempotencyKey: 'join' }
      const joined = await Promise.all([0, 1, 2].map(() => bob.agent.joinConnection(join)))
      expect(new Set(joined.map(({ connectionId }) => connectionId)).size).toBe(1)
      expect(await bob.agent.joinConnection(join)).toEqual(joined[0])
      expect(await bob.store.count(connections)).toBe(1)
    },
  )

  it('B10 B90 the keys of a link go when its connection is deleted, though its router is away', async () => {
    const { connectionId } = await newLink('contact')
    world.router.react = ({ command }) => (command.type === 'DEL' ? 'lose' : undefined)
    await alice.agent.deleteConnection({ connectionId })
    expect(await alice.store.find(connections, {})).toMatchObject([{ status: 'deleted', link: null, shortLink: null }])
    expect(await alice.store.count(shortLinks)).toBe(0)
  })

  it.each([
    ['LSET', (connectionId: string) => alice.agent.setShortLink({ connectionId, linkData })],
    ['LDEL', (connectionId: string) => alice.agent.deleteShortLink({ connectionId })],
  ] as const)('B10 B90 a connection that is deleted during %s is gone for good', async (type, change) => {
    const { connectionId } = await newLink('contact')
    const held = hold(type)
    const refused = expect(change(connectionId)).rejects.toMatchObject({ code: 'AUTH' })
    const command = await held()
    await alice.agent.deleteConnection({ connectionId })
    await alice.next('DEL_CONN', connectionId)
    world.router.release(command)
    await refused
    expect(await alice.store.count(shortLinks)).toBe(0)
    expect(await alice.store.count(connections)).toBe(0)
  })

  it('B10 B90 a prepared link that is deleted while its address is made: the router keeps nothing of it', async () => {
    const { connectionId } = await alice.agent.prepareConnectionLink({})
    const held = hold('NEW')
    const refused = expect(alice.agent.createConnectionForLink({ connectionId, linkData })).rejects.toMatchObject({
      code: 'CONN_NOT_FOUND',
    })
    const command = await held()
    await alice.agent.deleteConnection({ connectionId })
    world.router.release(command)
    await refused
    await world.until(() => world.router.queues.length === 0, 'DEL')
    expect(await alice.store.count(shortLinks)).toBe(0)
    expect(await alice.store.count(rcvQueues)).toBe(0)
  })

  it('B10 B22 no key is left of a user that is deleted while it reads a link', async () => {
    const { shortLink } = await newLink('invitation')
    const { userId } = await bob.agent.createUser({})
    const { store } = bob
    const find = store.find.bind(store)
    store.find = async (table, query) => {
      const rows = await find(table, query)
      if ((table as unknown) === invitationLinks) await bob.agent.deleteUser({ userId })
      return rows
    }
    await expect(bob.agent.getShortLink({ userId, link: shortLink })).rejects.toMatchObject({ code: 'USER_NOT_FOUND' })
    store.find = find
    expect(await store.count(invitationLinks)).toBe(0)
    expect(world.router.all('LKEY')).toEqual([])
  })
})

describe('B10 short links that are not what is wanted', () => {
  it('B10 B16 a connection that was not prepared to be joined does not read the link', async () => {
    const { shortLink } = await newLink('invitation')
    const { connectionId } = await bob.agent.prepareConnectionLink({})
    await expect(bob.agent.joinConnection({ connectionId, link: shortLink })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: connectionId,
    })
    expect(world.router.all('LKEY')).toEqual([])
    expect(await bob.store.count(invitationLinks)).toBe(0)
  })

  it('B10 a link that was not copied to its end is refused before it is used up', async () => {
    for (const mode of ['invitation', 'contact'] as const) {
      const { shortLink } = await newLink(mode)
      const seen = world.router.seen.length
      const parsed = parseShortLink(shortLink)
      const cut = formatShortLink({ ...parsed, linkKey: parsed.linkKey.subarray(0, 30) })
      for (const call of [bob.agent.getShortLink({ link: cut }), bob.agent.joinConnection({ link: cut })])
        await expect(call).rejects.toMatchObject({ code: 'CMD_PARAMS', field: 'link' })
      expect(world.router.seen).toHaveLength(seen)
    }
    expect(await bob.store.count(invitationLinks)).toBe(0)
  })

  it('B10 a router that is named by host and port alone is the one at that port', async () => {
    const { shortLink } = await newLink('contact')
    const { hosts, keyHash, port } = parseRouterAddress(world.router.address)
    const other = `smp://${Buffer.alloc(32, 1).toString('base64url')}@${hosts[0]}:7777`
    await bob.agent.setRouters({ userId: 1, routers: [{ address: other }, { address: world.router.address }] })
    expect([port, keyHash.length]).toEqual(['', 32])
    const bare = shortLink.replace(/\?.*$/, '')
    expect(await bob.agent.getShortLink({ link: `${bare}?p=5223` })).toMatchObject({ mode: 'contact' })
    await expect(bob.agent.getShortLink({ link: `${bare}?p=5224` })).rejects.toMatchObject({ code: 'CMD_PARAMS' })
  })

  it('B10 an invitation that was read is the same link in every spelling, and is joined by in each', async () => {
    const { connectionId, shortLink } = await newLink('invitation')
    const parsed = parseShortLink(shortLink)
    const spelling = (scheme: 'https' | 'simplex', port: string): string =>
      formatShortLink({ ...parsed, scheme, router: { ...parsed.router, port } })
    await bob.agent.getShortLink({ link: spelling('https', '5223') })
    for (const link of [shortLink, spelling('simplex', ''), `${shortLink}&utm=1`, shortLink.replace(/\?.*$/, '')])
      expect(await bob.agent.getShortLink({ link })).toMatchObject({ mode: 'invitation' })
    expect(await bob.store.count(invitationLinks)).toBe(1)
    const { link } = await bob.agent.getShortLink({ link: shortLink })
    await bob.agent.joinConnection({ link: link.replace('scripted', 'scripted%3A5223') })
    await alice.next('CONF', connectionId)
    expect(new Set(world.router.seen.flatMap(senderKeys)).size).toBe(1)
  })

  it('B10 ★ a router that answers with something else is to blame', async () => {
    const { connectionId, shortLink: link } = await newLink('contact')
    const invitation = await newLink('invitation')
    const data = { fixedData: Buffer.alloc(0), userData: Buffer.alloc(0) }
    world.router.react = ({ command: { type } }) => {
      if (type === 'NEW') return { type: 'PONG' }
      if (type === 'LGET' || type === 'LKEY') return { type: 'OK' }
      return ['LSET', 'LDEL'].includes(type) ? { type: 'LNK', senderId: Buffer.alloc(24), data } : undefined
    }
    const calls = {
      create: () => alice.agent.createConnection({ linkData }),
      set: () => alice.agent.setShortLink({ connectionId, linkData }),
      delete: () => alice.agent.deleteShortLink({ connectionId }),
      read: () => bob.agent.getShortLink({ link }),
      join: () => bob.agent.joinConnection({ link: invitation.shortLink }),
    }
    for (const call of Object.values(calls)) await expect(call()).rejects.toMatchObject({ code: 'SMP_UNEXPECTED' })
    // Its link is what it was.
    expect(await alice.store.find(connections, { where: { connectionId } })).toMatchObject([{ shortLink: link }])
    expect(await alice.store.count(shortLinks)).toBe(2)
  })
})

describe('B10 link data that is not what is wanted', () => {
  it.each([
    'hello',
    'https://relay.example/i#AA/4AkRDmhf64tdRlN406g8lJRg5OCmhD6ynIhi6glOcCM',
    'https://relay.example/r#4AkRDmhf64td',
  ])('B10 a relay %s is refused by its name, whatever is wrong with it', async relay => {
    const refusal = { code: 'CMD_PARAMS', field: 'linkData.relays' }
    const relayed = { userData: '', relays: [relay] }
    await expect(alice.agent.createConnection({ mode: 'contact', linkData: relayed })).rejects.toMatchObject(refusal)
    const { connectionId } = await newLink('contact')
    await expect(alice.agent.setShortLink({ connectionId, linkData: relayed })).rejects.toMatchObject(refusal)
    expect(world.router.seen.map(({ command }) => command.type)).toEqual(['NEW'])
  })
})

describe('B10 the most that a link can hold', () => {
  it.each([
    ['invitation', 13_709],
    ['contact', 13_706],
  ] as const)('B10 data of mode %s: %i bytes, and not one more', async (mode, most) => {
    const create = (length: number) =>
      alice.agent.createConnection({ mode, linkData: { userData: Buffer.alloc(length, 1) } })
    const { shortLink } = await create(most)
    const { userData } = await bob.agent.getShortLink({ link: shortLink ?? '' })
    expect(Buffer.compare(userData, Buffer.alloc(most, 1))).toBe(0)
    await expect(create(most + 1)).rejects.toMatchObject({ code: 'LARGE_MSG', field: 'linkData' })
    expect(await alice.store.count(connections)).toBe(1)
  })

  it('B10 an entity id of 255 bytes, and data of lengths that have another form', async () => {
    const entityId = Buffer.alloc(255, 3)
    const { connectionId, shortLink } = await alice.agent.prepareConnectionLink({ entityId })
    await alice.agent.createConnectionForLink({ connectionId, linkData: { userData: '' } })
    for (const length of [0, 254, 255, 256]) {
      await alice.agent.setShortLink({ connectionId, linkData: { userData: Buffer.alloc(length) } })
      const read = await bob.agent.getShortLink({ link: shortLink })
      expect([read.userData.length, Buffer.compare(read.entityId ?? Buffer.alloc(0), entityId)]).toEqual([length, 0])
    }
  })
})
