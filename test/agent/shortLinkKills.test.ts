/** B10, B15: whoever makes, changes, reads or joins by a short link, killed at each commit; each command to the router lost once. */
import { afterEach, describe, expect, it } from 'vitest'
import { connections } from '../../src/store/agent/connections.js'
import { invitationLinks, shortLinks } from '../../src/store/agent/links.js'
import { type AgentWorld, agentWorld } from '../support/agentWorld.js'
import { CarefulSide } from '../support/carefulSide.js'
import { durableRouter } from '../support/durableRouter.js'
import { type ScriptedRouter, scriptedRouter, type SeenCommand } from '../support/scriptedRouter.js'
import { afterCommits, beforeCommits } from '../support/storeFaults.js'
import { killed, lost, openSides, type Trouble } from '../support/trouble.js'

let world: AgentWorld
afterEach(() => world.close())

type Kind = 'invitation' | 'prepared to join' | 'address'
interface Created {
  readonly connectionId: string
  readonly shortLink: string
}

const linkData = { userData: 'who I am' }
const keyOf = ({ command }: SeenCommand): string =>
  command.type === 'LKEY' || command.type === 'SKEY' ? Buffer.from(command.key.raw).toString('hex') : ''

/** Alice makes a short link and sets its data, Bob reads it and joins by it. Answers whether the trouble came to pass. */
const play = async (kind: Kind, name: string, trouble: Trouble): Promise<boolean> => {
  world = agentWorld()
  const router = await scriptedRouter({ clock: world.clock, network: world.network })
  const sides = await openSides(world, router)
  const { alice, bob } = sides
  const all = [alice, bob]
  const happened = trouble(sides, router)
  const until = (done: () => boolean, what: string): Promise<void> =>
    world.until(
      () => {
        for (const side of all) void side.goOn()
        return done()
      },
      `${what} (${kind}, ${name}; ${alice.told.join()}; ${bob.told.join()}; ${JSON.stringify([...alice.errors, ...bob.errors])})`,
    )
  const answer = async <T>(side: CarefulSide, key: string): Promise<T> => {
    await until(() => side.answer(key) !== undefined, key)
    return side.answer<T>(key) as T
  }

  const mode = kind === 'address' ? 'contact' : 'invitation'
  const data = kind === 'address' ? {} : { linkData }
  alice.ask('create', agent => agent.createConnection({ mode, ...data, idempotencyKey: 'create' }))
  const created = await answer<Created>(alice, 'create')
  const { connectionId } = created
  alice.ask('set', agent => agent.setShortLink({ connectionId, linkData: { userData: 'first' } }))
  const first = await answer<Created>(alice, 'set')
  if (kind === 'address') {
    alice.ask('delete', agent => agent.deleteShortLink({ connectionId }))
    await answer(alice, 'delete')
  } else expect(first.shortLink).toBe(created.shortLink)
  alice.ask('set again', agent => agent.setShortLink({ connectionId, linkData: { userData: 'set' } }))
  const { shortLink } = await answer<Created>(alice, 'set again')
  bob.ask('read', agent => agent.getShortLink({ link: shortLink }))
  expect(await answer(bob, 'read')).toMatchObject({ mode, userData: Buffer.from('set') })
  if (kind === 'prepared to join') {
    bob.ask('prepare', agent => agent.prepareConnectionToJoin({ link: shortLink, idempotencyKey: 'join' }))
    const prepared = await answer<Created>(bob, 'prepare')
    bob.ask('join', agent => agent.joinConnection({ link: shortLink, connectionId: prepared.connectionId }))
  } else bob.ask('join', agent => agent.joinConnection({ link: shortLink, idempotencyKey: 'join' }))
  await until(() => all.every(side => side.complete.length === 1 && side.alive), 'CON on both sides')

  expect([...alice.errors, ...bob.errors]).toEqual([])
  expect(new Set([...router.all('LKEY'), ...bobsSkeys(router)].map(keyOf)).size).toBe(1)
  expect(await alice.agent.store.count(shortLinks)).toBe(mode === 'contact' ? 1 : 0)
  expect(await bob.agent.store.count(invitationLinks)).toBe(mode === 'contact' ? 0 : 1)
  expect(await bob.agent.store.count(connections)).toBe(1)
  await world.close()
  return happened()
}

const bobsSkeys = (router: ScriptedRouter): SeenCommand[] =>
  router.all('SKEY').filter(({ session }) => session.channel.remoteAddress === 'bob')

/** Commits and commands that have to do with the link; what follows them is any handshake (handshakeKills.test.ts). */
const first = 9

describe('B10 short links and kills', () => {
  it.each(
    (
      [
        ['invitation', 'alice'],
        ['invitation', 'bob'],
        ['prepared to join', 'bob'],
        ['address', 'alice'],
      ] as const
    ).flatMap(([kind, victim]) =>
      (
        [
          ['before', beforeCommits],
          ['after', afterCommits],
        ] as const
      ).map(([name, when]) => ({ kind, victim, name, when })),
    ),
  )(
    'B10 B15 $kind, $victim killed $name each of its commits: one connection, with the same keys',
    async ({ kind, victim, when }) => {
      let at = 0
      while (at < first && (await play(kind, `${victim} killed at ${at}`, killed(victim, when, at)))) at++
      expect(at).toBeGreaterThan(5)
    },
    60_000,
  )

  it.each(
    (['invitation', 'address'] as const).flatMap(kind => (['lose', 'loseAnswer'] as const).map(how => ({ kind, how }))),
  )(
    'B10 B15 $kind, $how at each command in turn: it is repeated with the same keys',
    async ({ kind, how }) => {
      let at = 0
      while (at < first && (await play(kind, `${how} at ${at}`, lost(how, at)))) at++
      expect(at).toBeGreaterThan(5)
    },
    60_000,
  )
})

describe('B10 a prepared link and kills', () => {
  /** Prepares a link and makes its address, with a router that keeps what it has. Answers whether the kill came to pass. */
  const prepare = async (when: typeof beforeCommits, at: number): Promise<boolean> => {
    world = agentWorld()
    const own = await durableRouter(world)
    const start = (store?: Parameters<typeof beforeCommits>[0]) =>
      world.startAgent('alice', [own.router], store === undefined ? {} : { store: { open: store } })
    const alice = await CarefulSide.open(start)
    let commits = 0
    when(alice.agent.store, () => {
      if (commits++ === at) alice.kill()
    })
    const answer = async <T>(key: string): Promise<T> => {
      await world.until(
        () => {
          void alice.goOn()
          return alice.answer(key) !== undefined
        },
        `${key}, killed at ${at}: ${JSON.stringify(alice.errors)}`,
      )
      return alice.answer<T>(key) as T
    }
    alice.ask('prepare', agent => agent.prepareConnectionLink({ idempotencyKey: 'link' }))
    const prepared = await answer<Created>('prepare')
    const { connectionId, shortLink } = prepared
    alice.ask('create', agent => agent.createConnectionForLink({ connectionId, linkData }))
    expect(await answer('create')).toEqual(prepared)
    const bob = await world.startAgent('bob', [own.router])
    await bob.agent.joinConnection({ link: shortLink })
    await world.until(() => {
      void alice.goOn()
      return alice.complete.length === 1 || bob.events.some(({ type }) => type === 'CONF')
    }, 'an accepted request')
    expect(alice.told.filter(type => type === 'REQ')).toEqual(['REQ'])
    expect(alice.errors).toEqual([])
    await world.close()
    return alice.kills > 0
  }

  it.each([
    ['before', beforeCommits],
    ['after', afterCommits],
  ] as const)(
    'B10 killed %s each of its commits: the link that was prepared leads to one address',
    async (_name, when) => {
      let at = 0
      while (at < 6 && (await prepare(when, at))) at++
      expect(at).toBe(6)
    },
    60_000,
  )
})
