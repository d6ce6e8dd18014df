/**
 * A router that lies in every way a router can: about ids, sessions, types and order, with bytes that are cut, changed or nonsense. The
 * agent tells the truth about it, delivers nothing twice and nothing forged, acknowledges nothing that it has not told of, and its
 * connections at other routers go on.
 */
import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AgentEvent } from '../../src/index.js'
import type { Response } from '../../src/smp/protocol/responses.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import type { FakeSession } from '../support/fakeRouter.js'
import { fuzzRuns } from '../support/fuzzRuns.js'
import { errorAnswer, type Reaction, type ScriptedQueue, type SeenCommand } from '../support/scriptedRouter.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

const nobody = Buffer.alloc(24, 0xee)
const nothing = Buffer.alloc(0)

/** What a router does of itself, to the session that is subscribed to a queue. */
interface Stage {
  readonly world: ScriptedWorld
  readonly friend: Invited
  readonly queue: ScriptedQueue
  readonly session: FakeSession | undefined
  readonly old: readonly SeenCommand[]
  /** Ids of messages whose bytes the router has changed: what it gets for them is its own fault. */
  readonly spoiled: Set<string>
}

const idText = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const message = (messageId: Uint8Array, body: Uint8Array): Response => ({ type: 'MSG', messageId, body })

/** Unasked for. */
const acts: Readonly<Record<string, (stage: Stage, n: number) => void>> = {
  'delivers the same once more': ({ world, queue }) => world.router.deliverAgain(queue),
  'delivers the same under another id': ({ world, queue }) => {
    const [first] = queue.messages
    if (first !== undefined) world.router.deliverAgain(queue, { id: randomBytes(24), body: first.body })
  },
  'delivers everything that waits, at once': ({ session, queue }) => {
    for (const { id, body } of queue.messages)
      session?.send({ entityId: queue.recipientId, response: message(id, body) })
  },
  'changes the order': ({ queue }) => {
    // The first one is on its way.
    const [first, ...rest] = queue.messages.splice(0)
    queue.messages.push(...(first === undefined ? [] : [first]), ...rest.reverse())
  },
  'cuts a message': ({ world, queue, spoiled }, n) => {
    const [first] = queue.messages
    if (first === undefined) return
    spoiled.add(idText(first.id))
    world.router.deliverAgain(queue, { id: first.id, body: first.body.subarray(0, n % first.body.length) })
  },
  'changes a message': ({ world, queue, spoiled }, n) => {
    const [first] = queue.messages
    if (first === undefined) return
    spoiled.add(idText(first.id))
    const body = Buffer.from(first.body)
    body[n % body.length] = (body[n % body.length] ?? 0) ^ 1
    world.router.deliverAgain(queue, { id: first.id, body })
  },
  'invents a message': ({ session, queue }, n) =>
    session?.send({ entityId: queue.recipientId, response: message(randomBytes(24), randomBytes(n % 16_200)) }),
  'puts bytes of its own into the queue': ({ world, queue }, n) => world.router.put(queue, randomBytes(n % 16_000)),
  'delivers for a queue that is not there': ({ session, queue }) =>
    session?.send({ entityId: nobody, response: message(randomBytes(24), queue.messages[0]?.body ?? nothing) }),
  'delivers for a queue of somebody else': ({ world, session, queue }) => {
    const other = world.router.queues.find(one => one !== queue)
    const [first] = queue.messages
    if (other !== undefined && first !== undefined) {
      session?.send({ entityId: other.recipientId, response: message(first.id, first.body) })
    }
  },
  'ends a subscription': ({ session, queue }) =>
    session?.send({ entityId: queue.recipientId, response: { type: 'END' } }),
  'ends what is not subscribed': ({ session }) => {
    session?.send({ entityId: nobody, response: { type: 'END' } }, { entityId: nobody, response: { type: 'DELD' } })
    session?.send({ entityId: nothing, response: { type: 'END' } })
  },
  'answers what nobody asked': ({ session, queue }) => {
    session?.send({ corrId: randomBytes(24), entityId: queue.recipientId, response: { type: 'OK' } })
    session?.send({ corrId: randomBytes(24), response: errorAnswer('AUTH') })
    session?.send({ response: { type: 'PONG' } }, { response: { type: 'OK' } }, { response: errorAnswer('EXPIRED') })
  },
  'answers commands of before, and of sessions that are gone': ({ session, old }, n) => {
    for (const one of old.slice(-(n % 20)))
      session?.send({ to: one, response: n % 2 === 0 ? { type: 'OK' } : errorAnswer('AUTH') })
  },
  'says what is no response': ({ session, queue }, n) => {
    session?.send(
      { raw: randomBytes(n % 100) },
      { raw: Buffer.from('MSG') },
      { raw: Buffer.from('IDS \xff\xff', 'latin1') },
    )
    session?.send({ entityId: queue.recipientId, raw: Buffer.from('LATER and more') })
  },
  'sends a block that is no batch': ({ session }, n) => session?.sendContent(randomBytes(n % 16_000)),
  'sends a block that does not decrypt': ({ session }) => void session?.channel.send(randomBytes(16_384)),
  'breaks the connection': ({ world }) => world.cut('alice'),
}

/** Instead of the answer to a command. */
const lies: Readonly<Record<string, (seen: SeenCommand, n: number) => Reaction | ReadonlyArray<object>>> = {
  lose: () => 'lose',
  loseAnswer: () => 'loseAnswer',
  OK: () => ({ type: 'OK' }),
  PONG: () => ({ type: 'PONG' }),
  SOK: () => ({ type: 'SOK' }),
  'ids of a queue that exists': () => ({
    type: 'IDS',
    recipientId: nobody,
    senderId: nobody,
    dhKey: Buffer.alloc(32, 9),
  }),
  'a message': (_seen, n) => message(randomBytes(24), randomBytes(n % 500)),
  refused: (_seen, n) =>
    errorAnswer((['AUTH', 'EXPIRED', 'QUOTA', 'CRYPTO', 'NO_MSG', 'LARGE_MSG', 'BLOCK'] as const)[n % 7] ?? 'AUTH'),
  'for another entity': seen => [{ corrId: seen.corrId, entityId: nobody, response: { type: 'OK' } }],
  'twice, with different words': seen => [
    { to: seen, response: errorAnswer('EXPIRED') },
    { to: seen, response: { type: 'OK' } },
  ],
  'under another correlation id': seen => [
    { corrId: randomBytes(24), entityId: seen.entityId, response: { type: 'OK' } },
  ],
  'as nonsense': (seen, n) => [{ to: seen, raw: randomBytes(n % 60) }],
}

type Step =
  | { readonly act: string; readonly n: number }
  | { readonly lie: string; readonly n: number }
  | { readonly say: 'peer' | 'agent' }
const n = fc.nat(100_000)
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ act: fc.constantFrom(...Object.keys(acts)), n }) },
    { weight: 2, arbitrary: fc.record({ lie: fc.constantFrom(...Object.keys(lies)), n }) },
    { weight: 3, arbitrary: fc.record({ say: fc.constantFrom('peer', 'peer', 'agent') }) },
  ) as fc.Arbitrary<Step>,
  { minLength: 15, maxLength: 30 },
)

/** An application that acknowledges whatever it is told. */
const application = (alice: TestAgent) => {
  const acknowledged = new Set<number>()
  return async (): Promise<void> => {
    for (const event of alice.events) {
      if (event.type !== 'MSG' || acknowledged.has(event.cursor)) continue
      acknowledged.add(event.cursor)
      await alice.agent.ackMessage({ connectionId: event.connectionId, messageId: event.messageId })
    }
  }
}

const told = (alice: TestAgent, connectionId: string): string[] =>
  alice.events.flatMap(event =>
    event.type === 'MSG' && event.connectionId === connectionId ? [textOf(event.body)] : [],
  )

const play = async (sequence: readonly Step[]): Promise<void> => {
  const world = await scriptedWorld()
  try {
    const broken: unknown[] = []
    const note = (facts: object): void => void ((facts as { code?: string }).code === 'INTERNAL' && broken.push(facts))
    const logger = { debug: note, info: note, warn: note, error: note }
    const alice = await world.start('alice', { logger })
    const acknowledge = application(alice)
    const honest = await world.startRouter()
    const { userId } = await alice.agent.createUser({ routers: [{ address: honest.address }] })
    const bob = await world.startAgent('bob', [honest])
    const there = await alice.agent.createConnection({ userId, pq: false })
    const { connectionId: bobsId } = await bob.agent.joinConnection({ link: there.link, pq: false })
    const { confirmationId } = await alice.next('CONF', there.connectionId)
    await alice.agent.allowConnection({ connectionId: there.connectionId, confirmationId })
    await bob.next('CON')
    const friend = await world.befriend(alice)
    const { router } = world
    const peers = router.all('SKEY').at(0)?.session
    const begun = router.seen.length
    const shown = new Set<string>()
    const spoiled = new Set<string>()
    const bodies = new Map<string, string>()
    const lying: Array<readonly [string, number]> = []
    const watched = new WeakSet<FakeSession>()
    const watch = (session: FakeSession): void => {
      if (watched.has(session)) return
      watched.add(session)
      const { send } = session
      session.send = (...items) => {
        for (const { response } of items) if (response?.type === 'MSG') shown.add(idText(response.messageId))
        send(...items)
      }
    }
    for (const session of router.sessions) watch(session)
    router.react = seen => {
      watch(seen.session)
      if (seen.session === peers) return undefined
      const [lie, value] = lying.shift() ?? []
      if (lie === undefined) return undefined
      const answer = lies[lie]?.(seen, value ?? 0)
      if (!Array.isArray(answer)) return answer as Reaction
      for (const item of answer as object[]) seen.session.send(item)
      return 'lose'
    }

    let count = 0
    const peerSays = async (): Promise<void> => {
      const text = `from the peer ${++count}`
      const before = new Set(friend.queue.messages)
      await friend.peer.say(text)
      for (const one of friend.queue.messages) if (!before.has(one)) bodies.set(idText(one.id), text)
    }
    for (const step of sequence) {
      if ('say' in step) {
        if (step.say === 'peer') await peerSays()
        else
          await alice.agent
            .sendMessage({ connectionId: friend.connectionId, body: `from alice ${++count}` })
            .catch(refusal)
      } else if ('lie' in step) lying.push([step.lie, step.n])
      else {
        const session = router.sessions.findLast(one => one !== peers && !one.channel.closed)
        acts[step.act]?.({ world, friend, queue: friend.queue, session, old: router.seen, spoiled }, step.n)
      }
      await world.clock.advance(500)
      await acknowledge()
      // Elsewhere everything goes on meanwhile, within a minute.
      const body = `elsewhere ${++count}`
      const from = world.clock.now()
      await bob.agent.sendMessage({ connectionId: bobsId, body })
      await world.until(() => told(alice, there.connectionId).includes(body), 'the message of the other router')
      expect(world.clock.now() - from).toBeLessThan(60_000)
      await acknowledge()
    }

    // From now on it tells the truth, and what the peer says comes through.
    router.react = seen => {
      watch(seen.session)
      return undefined
    }
    world.cut('alice')
    await world.clock.advance(60_000)
    await alice.agent.subscribe({}).catch(refusal)
    await friend.peer.say('the truth')
    const here = () => told(alice, friend.connectionId)
    for (let minute = 0; minute < 60 && !here().includes('the truth'); minute++) {
      await world.clock.advance(60_000)
      await acknowledge()
    }
    expect(here()).toContain('the truth')
    await world.clock.advance(60_000)

    expect(broken).toEqual([])
    expect(here().length).toBe(new Set(here()).size)
    for (const body of here()) expect(body).toMatch(/^(from the peer \d+|the truth)$/)
    expect(told(alice, there.connectionId).filter(body => !body.startsWith('elsewhere '))).toEqual([])
    for (const event of alice.events) for (const code of codesOf(event)) expect(code).toMatch(/^(?!INTERNAL)[A-Z_]+$/)
    for (const { command, session } of router.seen.slice(begun)) {
      if (command.type !== 'ACK' || session === peers) continue
      const id = idText(command.messageId)
      expect(shown).toContain(id)
      // What was sent in truth is acknowledged only after it was told of.
      if (bodies.has(id) && !spoiled.has(id)) expect(here()).toContain(bodies.get(id))
    }
  } finally {
    await world.close()
  }
}

const codesOf = (event: AgentEvent): string[] =>
  'error' in event && event.error !== undefined ? [event.error.code] : []

/** Calls may be refused for a reason (a ratchet that must be synchronised), never by a bug. */
const refusal = (error: unknown): void => {
  expect((error as { code?: string }).code).toMatch(/^(?!INTERNAL)[A-Z_]+$/)
}

describe('a hostile router', () => {
  it('cannot make the agent lose its word: nothing twice, nothing forged, nothing acknowledged wrongly, others served', {
    timeout: 300_000,
  }, async () => {
    await fc.assert(fc.asyncProperty(steps, play), { ...fuzzRuns(4), endOnFailure: true })
  })

  it.each(Object.keys(acts))('that %s', async act => {
    const say = { say: 'peer' } as const
    await play([say, say, { act, n: 77 }, say, { act, n: 16_001 }])
  })

  it.each(Object.keys(lies))('whose answer is: %s', async lie => {
    const say = { say: 'peer' } as const
    await play([{ lie, n: 3 }, say, { say: 'agent' }, { lie, n: 12 }, say])
  })
})
