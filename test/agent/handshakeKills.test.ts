/** B15: each side of each handshake killed at each of its commits, before and after it took effect; each command to a router lost once. */
import { afterEach, describe, expect, it } from 'vitest'
import { type AgentWorld, agentWorld } from '../support/agentWorld.js'
import { legacyLink } from '../support/legacyLink.js'
import { type ScriptedRouter, scriptedRouter, type SeenCommand } from '../support/scriptedRouter.js'
import { afterCommits, beforeCommits } from '../support/storeFaults.js'
import { killed, lost, openSides, type Trouble } from '../support/trouble.js'

let world: AgentWorld
afterEach(() => world.close())

type Kind = 'fast' | 'legacy' | 'contact'
interface Link {
  readonly link: string
}

const keyOf = ({ command, entityId }: SeenCommand): string =>
  command.type === 'SKEY' || command.type === 'KEY'
    ? `${Buffer.from(entityId).toString('hex')} ${Buffer.from(command.key.raw).toString('hex')}`
    : ''
const authKeyOf = ({ command }: SeenCommand): string =>
  command.type === 'NEW' ? Buffer.from(command.authKey.raw).toString('hex') : ''

/** A whole handshake with one trouble in it. Answers whether that came to pass. */
const play = async (kind: Kind, name: string, trouble: Trouble): Promise<boolean> => {
  world = agentWorld()
  const router: ScriptedRouter = await scriptedRouter({ clock: world.clock, network: world.network })
  const sides = await openSides(world, router)
  const { alice, bob } = sides
  const all = [alice, bob]
  const happened = trouble(sides, router)
  const until = (done: () => boolean, what: string): Promise<void> =>
    world.until(() => {
      for (const side of all) void side.goOn()
      return done()
    }, `${what} (${kind}, ${name}; ${alice.told.join()}; ${bob.told.join()})`)

  const mode = kind === 'contact' ? 'contact' : 'invitation'
  alice.ask('create', agent => agent.createConnection({ mode, idempotencyKey: 'create' }))
  await until(() => alice.answer<Link>('create') !== undefined, 'a link')
  const { link } = alice.answer<Link>('create') as Link
  const given = kind === 'legacy' ? legacyLink(link) : link
  bob.ask('join', agent => agent.joinConnection({ link: given, info: 'joined', idempotencyKey: 'join' }))
  await until(() => all.every(side => side.complete.length === 1), 'CON on both sides')
  for (const side of all) {
    const connectionId = side.complete[0] as string
    side.ask('send', agent => agent.sendMessage({ connectionId, body: side.agent.name, idempotencyKey: 'send' }))
  }
  await until(() => all.every(side => side.messages.length === 1), 'a message each')
  await world.clock.advance(200_000)
  await until(() => all.every(side => side.told.at(-1) !== undefined), 'the rest')

  const handshake = (told: readonly string[]): string[] => told.filter(type => type !== 'MSG' && type !== 'SENT')
  expect(handshake(alice.told)).toEqual(kind === 'contact' ? ['REQ', 'INFO', 'CON'] : ['CONF', 'CON'])
  expect(handshake(bob.told)).toEqual(kind === 'contact' ? ['CONF', 'CON'] : ['INFO', 'CON'])
  expect([alice.messages, bob.messages]).toEqual([['bob'], ['alice']])
  expect([...alice.errors, ...bob.errors]).toEqual([])
  // The same keys, however often a step was done: one for each queue that was secured, one of each queue that was made.
  const secured = [...router.all('SKEY'), ...router.all('KEY')]
  expect(new Set(secured.map(keyOf)).size).toBe(
    new Set(secured.map(({ entityId }) => Buffer.from(entityId).toString('hex'))).size,
  )
  expect(new Set(router.all('NEW').map(authKeyOf)).size).toBe(kind === 'contact' ? 3 : 2)
  await world.close()
  return happened()
}

describe('B15 ★ a kill at any commit of a handshake', () => {
  const cases = (['fast', 'legacy', 'contact'] as const).flatMap(kind =>
    (['alice', 'bob'] as const).flatMap(victim =>
      (
        [
          ['before', beforeCommits],
          ['after', afterCommits],
        ] as const
      ).map(([name, when]) => ({ kind, victim, name, when })),
    ),
  )
  it.each(cases)(
    'B15 $kind, $victim killed $name each of its commits: the same keys, each event once, and both can talk',
    async ({ kind, victim, when }) => {
      let at = 0
      // The last run comes to its end without a kill.
      while (await play(kind, `${victim} killed at ${at}`, killed(victim, when, at))) at++
      expect(at).toBeGreaterThan(4)
    },
    60_000,
  )
})

describe('B15 ★ a command to a router that gets no answer', () => {
  it.each(
    (['fast', 'legacy', 'contact'] as const).flatMap(kind =>
      (['lose', 'loseAnswer'] as const).map(how => ({ kind, how })),
    ),
  )(
    'B15 $kind, $how at each command in turn: it is repeated with the same keys, and each event comes once',
    async ({ kind, how }) => {
      // Those that follow CON (ACKs and messages) are lost in turn as well.
      for (let at = 0; at < 20; at++) await play(kind, `${how} at ${at}`, lost(how, at))
    },
    60_000,
  )
})
