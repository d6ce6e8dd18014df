/**
 * The delivery promise under kill -9 (B12, B15, B16, B18, B32, B34, B40, B53; design.md "The delivery promise"). KILL_SEED repeats the
 * choices of a run (not the timing of its processes), KILLS and KILL_MESSAGES change its size, KILL_TRACES=<dir> keeps traces.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { asyncRound } from './asyncCalls.js'
import { Conversation } from './conversation.js'
import { connectAgents, type HandshakeKind, toldBy } from './handshake.js'
import { type EventLine, seededRandom } from './harness.js'
import { Inbox } from './inbox.js'
import { Killer, pause } from './killer.js'
import { startWorld, type StoreKind, type World } from './world.js'

const kills = Number(process.env['KILLS'] ?? 50)
const messages = Number(process.env['KILL_MESSAGES'] ?? 1000) / 2
const rounds = Number(process.env['KILL_ROUNDS'] ?? 9)
/** Messages each way in a round of asynchronous calls. */
const asyncMessages = 5
const seed = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const minute = 60_000

let world: World | undefined
afterEach(async () => {
  await world?.remove()
  world = undefined
}, minute)

describe('kill -9 of agents and router at random moments', () => {
  it(
    `loses nothing and delivers nothing twice in ${2 * messages} messages with ${kills} kills`,
    async () => {
      const { startedAt, inboxes, killer, crashed } = await start(['pglite', 'postgres'], {
        kills,
        spreadMs: 600,
        hasty: 0.3,
      })
      const { ids } = await connectAgents(inboxes, 0)
      const sides = [new Conversation(inboxes[0], ids[0], size), new Conversation(inboxes[1], ids[1], size)] as const
      for (const [index, side] of sides.entries()) side.arrived = () => sides[1 - index]?.received.size ?? 0

      await Promise.race([exchangeUnderKills(sides, killer), crashed])
      await Promise.all(inboxes.map(inbox => inbox.settled()))

      report('messages', startedAt, {
        'answered/received': sides.map(side => `${side.answered.size}/${side.received.size}`).join(' '),
        redelivered: inboxes.map(inbox => inbox.redelivered).join(' '),
      })
      for (const [index, side] of sides.entries()) {
        const other = sides[1 - index] as Conversation
        expect(lost(side, other)).toEqual([])
        expect([side.doubled, side.reordered, side.unexpected]).toEqual([[], [], []])
        expect([side.answered.size, other.received.size + side.failedIds.size]).toEqual([messages, messages])
        expect(side.sentIds.size + side.failedIds.size).toBe(messages)
      }
      expect(killer.kills).toBe(kills)
      await expectAllAcknowledged(inboxes)
    },
    8 * minute,
  )

  it(
    `B12 B15 B18 completes each of ${rounds} handshakes once (fast, legacy, by a contact address), whatever is killed meanwhile`,
    async () => {
      const { startedAt, inboxes, killer, crashed } = await start(['postgres', 'postgres'], {
        kills: 2 * rounds,
        spreadMs: 1500,
        hasty: 1,
      })
      for (let round = 0; round < rounds; round++) {
        const kind = kinds[round % kinds.length] as HandshakeKind
        const connecting = connectAgents(inboxes, round, kind)
        const killing = killer.killOne().then(() => killer.killOne())
        const [{ ids, told }] = await Promise.race([Promise.all([connecting, killing]), crashed])
        expect(told).toEqual(toldBy[kind])
        const sides = [new Conversation(inboxes[0], ids[0], size), new Conversation(inboxes[1], ids[1], size)] as const
        await Promise.all(sides.map(side => side.send(0, 1)))
        await until(() => sides.every(side => side.received.size === 1 && side.sentIds.size === 1))
        await Promise.all(inboxes.map(inbox => inbox.settled()))
        for (const side of sides) {
          expect([side.received.size, side.sentIds.size]).toEqual([1, 1])
          expect([side.doubled, side.unexpected]).toEqual([[], []])
        }
      }
      report('handshakes', startedAt, { rounds })
      for (const { agent } of inboxes) {
        const { connections } = await agent.call('listConnections', {})
        const made = connections.filter(({ status }) => status !== 'contact')
        expect(made.map(({ ready }) => ready)).toEqual(Array.from({ length: rounds }, () => true))
      }
      await expectAllAcknowledged(inboxes)
    },
    5 * minute,
  )

  it(
    `B21 does what asynchronous calls ask once and answers each, in ${rounds} rounds, whatever is killed meanwhile`,
    async () => {
      const { startedAt, inboxes, killer, crashed } = await start(['postgres', 'postgres'], {
        kills: 3 * rounds,
        spreadMs: 1000,
        hasty: 1,
      })
      for (let round = 0; round < rounds; round++) {
        const working = asyncRound(inboxes, round, asyncMessages)
        const killing = killer
          .killOne()
          .then(() => killer.killOne())
          .then(() => killer.killOne())
        const [{ callers, ids }] = await Promise.race([Promise.all([working, killing]), crashed])
        await until(() => callers.every(({ received }) => received.length >= asyncMessages))
        // Deleted the same way: what is under way is delivered first.
        const [caller] = callers
        const correlationId = `delete-${round}`
        await caller.ask('deleteConnectionAsync', { connectionId: ids[0], waitDelivery: true, correlationId })
        await caller.result(correlationId)
        await caller.event('DEL_CONN')
        await Promise.all(inboxes.map(inbox => inbox.settled()))
        const bodies = Array.from({ length: asyncMessages }, (_, n) => `${n}`)
        for (const { received, wrong, types } of callers) {
          expect([received, wrong]).toEqual([bodies, []])
          expect(types.filter(type => type === 'CON' || type === 'CONF')).toHaveLength(types.includes('CONF') ? 2 : 1)
        }
        expect(caller.types.filter(type => type === 'DEL_CONN')).toHaveLength(1)
      }
      report('asynchronous calls', startedAt, { rounds, kills: killer.kills })
      const [alice, bob] = inboxes
      expect((await alice.agent.call('listConnections', {})).connections).toEqual([])
      expect((await bob.agent.call('listConnections', {})).connections).toHaveLength(rounds)
      await expectAllAcknowledged(inboxes)
    },
    5 * minute,
  )
})

const kinds: readonly HandshakeKind[] = ['fast', 'legacy', 'contact']

/** Bodies of mixed sizes; every tenth may be nearly as large as a message can be. */
const size = (n: number): number => (n * 7919) % (n % 10 === 0 ? 13_000 : 500)

/** A new world with a caller for each agent and somebody who kills. */
const start = async (stores: [StoreKind, StoreKind], plan: { kills: number; spreadMs: number; hasty: number }) => {
  const startedAt = Date.now()
  world = await startWorld(stores)
  const { router, agents, crashed } = world
  const targets = [
    { process: router, share: 4 },
    // Starting PGlite takes seconds, so that agent is killed less often.
    ...agents.map((agent, index) => ({ process: agent.process, share: world?.stores[index] === 'pglite' ? 1.5 : 4 })),
  ]
  const killer = new Killer({ targets, random: seededRandom(seed), stuckMs: minute, ...plan })
  const inboxes = [new Inbox(agents[0]), new Inbox(agents[1])] as const
  for (const inbox of inboxes) {
    inbox.onProgress = () => killer.progress()
    // A started agent receives once it is told to; one that is killed before its answer is followed by one that is told again.
    inbox.agent.onStart = () => {
      inbox.agent.call('subscribe', {}).catch(() => {})
    }
  }
  return { startedAt, inboxes, killer, crashed }
}

const exchangeUnderKills = async (sides: readonly [Conversation, Conversation], killer: Killer): Promise<void> => {
  // Each kill has its share of the messages, so that there are always some on their way.
  const share = (kill: number): number => Math.round((messages * (kill + 1)) / (kills + 1))
  const sendShare = (kill: number): Promise<unknown> =>
    Promise.all(sides.map(side => side.send(kill === 0 ? 0 : share(kill - 1), share(kill))))
  let sending = sendShare(0)
  for (let kill = 1; kill <= kills; kill++) {
    await killer.killOne()
    sending = sending.then(() => sendShare(kill))
  }
  await sending
  await until(() =>
    sides.every((side, index) => {
      const other = sides[1 - index] as Conversation
      const failed = side.failedIds.size
      return other.received.size + failed >= messages && side.sentIds.size + failed >= messages
    }),
  )
}

/** Waits, but not for ever: what is missing then shows in the ledgers. */
const until = async (condition: () => boolean): Promise<void> => {
  const deadline = Date.now() + minute
  while (!condition() && Date.now() < deadline) await pause(50)
}

/** Answered OK and neither delivered nor reported failed. */
const lost = (from: Conversation, to: Conversation): number[] =>
  [...from.answered].flatMap(([n, id]) => (to.received.has(n) || from.failedIds.has(id) ? [] : [n]))

/** Nothing came twice, all three end in order, and what was acknowledged stays so at the next start. */
const expectAllAcknowledged = async (inboxes: readonly [Inbox, Inbox]): Promise<void> => {
  for (const { agent, twice, failures } of inboxes) {
    expect([twice, failures]).toEqual([[], []])
    expect(await agent.process.end('input')).toBe(0)
    agent.onStart = () => {}
    agent.process.start()
    const { events } = await agent.call('readEvents', {})
    const told = (events as EventLine[]).filter(({ type }) => type !== 'UP' && type !== 'DOWN')
    expect(told).toEqual([])
    expect(await agent.process.end('input')).toBe(0)
    expect(twice).toEqual([])
  }
  expect(await world?.router.end('SIGTERM')).toBe(0)
}

const report = (what: string, startedAt: number, facts: object): void => {
  if (world === undefined) return
  const { router, agents, stores } = world
  const counts = {
    seconds: Math.round((Date.now() - startedAt) / 100) / 10,
    stores: stores.join(' '),
    kills: [router, ...agents.map(agent => agent.process)].map(({ name, kills }) => `${name} ${kills}`).join(', '),
    repeats: agents.map(agent => agent.repeats).join(' '),
    ...facts,
  }
  console.log(`kill test (${what}): KILL_SEED=${seed} ${JSON.stringify(counts)}`)
}
