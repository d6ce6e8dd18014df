/** The legacy handshake: KEY where a queue’s sender cannot secure it, HELLO where the joiner’s reply queue is such a one. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentOptions } from '../../src/index.js'
import { commands, connections, rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { formatConnectionRequest, parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { barePeer } from '../support/barePeer.js'
import { handshakeKinds, legacyLink, type LegacyQueues } from '../support/legacyLink.js'
import { errorAnswer, type ScriptedRouter, scriptedRouter } from '../support/scriptedRouter.js'

let world: AgentWorld
let router: ScriptedRouter
beforeEach(async () => {
  world = agentWorld()
  router = await scriptedRouter({ clock: world.clock, network: world.network })
})
afterEach(() => world.close())

const start = (name: string, options: Partial<AgentOptions> = {}): Promise<TestAgent> =>
  world.startAgent(name, [], { routers: [router.address], ...options })
const restart = (agent: TestAgent): Promise<TestAgent> => start(agent.name, { store: { open: agent.crash() } })

const typesOf = (agent: TestAgent): string[] => agent.events.map(event => event.type)
const seen = (): string[] => router.seen.map(({ command }) => command.type)
const count = (type: string): number => seen().filter(known => known === type).length

/** alice invites, bob joins by a link of a legacy form; alice has CONF. */
const joined = async (alice: TestAgent, bob: TestAgent, kind?: LegacyQueues) => {
  const { connectionId: aliceId, link } = await alice.agent.createConnection({})
  const { connectionId: bobId } = await bob.agent.joinConnection({ link: legacyLink(link, kind), info: 'bob' })
  const { confirmationId } = await alice.next('CONF', aliceId)
  return { aliceId, bobId, allow: { connectionId: aliceId, confirmationId, info: 'alice' } }
}
/** Both can send and are heard; `first` is the number that the application sees of each side's first message. */
const converse = async (alice: TestAgent, aliceId: string, bob: TestAgent, bobId: string, first: number) => {
  const fromAlice = await alice.agent.sendMessage({ connectionId: aliceId, body: 'from alice' })
  expect(fromAlice.messageId).toBe(first)
  const atBob = await bob.next('MSG', bobId)
  expect([textOf(atBob.body), atBob.integrity.result]).toEqual(['from alice', 'ok'])
  const fromBob = await bob.agent.sendMessage({ connectionId: bobId, body: 'from bob' })
  expect(fromBob.messageId).toBe(first + 1)
  const atAlice = await alice.next('MSG', aliceId)
  expect([textOf(atAlice.body), atAlice.integrity.result]).toEqual(['from bob', 'ok'])
  return [atBob.senderMessageId, atAlice.senderMessageId]
}
const statusOf = async ({ store }: TestAgent) => ({
  connection: (await store.find(connections, {}))[0]?.status,
  rcv: (await store.find(rcvQueues, {}))[0]?.status,
  snd: (await store.find(sndQueues, {}))[0]?.status,
})

describe('B12 each queue is secured as its own form says', () => {
  it.each(handshakeKinds)(
    'B12 invitation queue legacy: $invitation, reply queue legacy: $reply: KEY or SKEY for each, HELLO for a legacy reply queue, CON once',
    async kind => {
      const [alice, bob] = [await start('alice'), await start('bob')]
      const { aliceId, bobId, allow } = await joined(alice, bob, kind)
      await alice.agent.allowConnection(allow)
      await alice.next('CON', aliceId)
      await bob.next('CON', bobId)
      await world.clock.settle()
      expect(typesOf(alice)).toEqual(['CONF', 'CON'])
      expect(typesOf(bob)).toEqual(['INFO', 'CON'])
      expect(seen().filter(type => type !== 'ACK')).toEqual([
        'NEW',
        ...(kind.invitation ? [] : ['SKEY']),
        'NEW',
        'SEND',
        ...(kind.invitation ? ['KEY'] : []),
        ...(kind.reply ? [] : ['SKEY']),
        'SEND',
        ...(kind.reply ? ['KEY', 'SEND', 'SEND'] : []),
      ])
      // Each of them asks for a notification: the other party must act.
      for (const { command } of router.all('SEND')) expect(command).toMatchObject({ flags: { notification: true } })
      for (const agent of [alice, bob]) {
        expect(await agent.store.find(commands, {})).toEqual([])
        expect(await agent.store.find(deliveries, {})).toEqual([])
        expect(await agent.store.find(sndMessages, {})).toEqual([])
      }
      // Confirmations take number 1, HELLO number 2 of each side; the application counts the HELLO that came, too.
      const [first, wire] = kind.reply ? [4, 3] : [2, 2]
      expect(await converse(alice, aliceId, bob, bobId, first)).toEqual([wire, wire])
    },
  )

  it('B12 a router that knows nothing of sender-secured queues: both own queues are legacy, and the link says so', async () => {
    router.modeOf = () => undefined
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    expect(parseConnectionRequest(link).queues[0]?.address).not.toHaveProperty('mode')
    const { connectionId: bobId } = await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    expect([count('SKEY'), count('KEY')]).toEqual([0, 2])
    await converse(alice, aliceId, bob, bobId, 4)
    expect(await statusOf(alice)).toEqual({ connection: 'connected', rcv: 'active', snd: 'active' })
    expect(await statusOf(bob)).toEqual({ connection: 'connected', rcv: 'active', snd: 'active' })
  })

  it('B12 B13 the link’s word k=s of clients before version 4 means that the sender secures the queue, and so may send early', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const request = parseConnectionRequest(link)
    const queues = request.queues.map(queue => ({ ...queue, clientVersions: { min: 1, max: 3 } }))
    const old = formatConnectionRequest({ ...request, queues }).replaceAll(/q%3Dm%26/g, '')
    expect(old).toContain('k%3Ds')
    expect(old).not.toContain('q%3Dm')
    const { connectionId: bobId } = await bob.agent.joinConnection({ link: old })
    const { confirmationId } = await alice.next('CONF', aliceId)
    await bob.agent.sendMessage({ connectionId: bobId, body: 'early' })
    expect(textOf((await alice.next('MSG', aliceId)).body)).toBe('early')
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    // Client version 3 tells it of the reply queue too.
    expect([count('SKEY'), count('KEY')]).toEqual([2, 0])
  })

  it('B12 on the bundled router, whose signatures count, in both roles', async () => {
    const bundled = await world.startRouter()
    const alice = await world.startAgent('alice', [bundled])
    const bob = await world.startAgent('bob', [bundled])
    for (const kind of handshakeKinds) {
      const { aliceId, bobId, allow } = await joined(alice, bob, kind)
      await alice.agent.allowConnection(allow)
      await alice.next('CON', aliceId)
      await bob.next('CON', bobId)
      await converse(alice, aliceId, bob, bobId, kind.reply ? 4 : 2)
    }
    expect(typesOf(alice).filter(type => type === 'CON')).toHaveLength(4)
    expect(typesOf(bob).filter(type => type === 'CON')).toHaveLength(4)
    expect([...alice.events, ...bob.events].filter(({ type }) => type === 'ERR')).toEqual([])
  })
})

describe('B12 what HELLO means is decided by how far the send queue is', () => {
  /** Holds SENDs of an agent back; gives a way to let them go. */
  const holdSends = (name: string): (() => void) => {
    router.react = ({ command, session }) =>
      command.type === 'SEND' && session.channel.remoteAddress === name ? 'hold' : undefined
    return () => {
      const held = router.seen.filter(command => router.react(command) === 'hold')
      router.react = () => undefined
      for (const one of held) router.release(one)
    }
  }

  it('B12 B44 confirmed: HELLO is answered with HELLO; active: CON. The statuses of both queues at each step', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { allow } = await joined(alice, bob)
    await world.clock.settle()
    expect(await statusOf(alice)).toEqual({ connection: 'confirmed', rcv: 'confirmed', snd: undefined })
    expect(await statusOf(bob)).toEqual({ connection: 'joined', rcv: 'new', snd: 'confirmed' })

    const release = holdSends('bob')
    await alice.agent.allowConnection(allow)
    await bob.next('INFO')
    await world.clock.settle()
    expect(await statusOf(alice)).toEqual({ connection: 'answered', rcv: 'secured', snd: 'confirmed' })
    expect(await statusOf(bob)).toEqual({ connection: 'greeting', rcv: 'secured', snd: 'confirmed' })

    release()
    const releaseAlice = holdSends('alice')
    await world.clock.settle()
    expect(await statusOf(alice)).toEqual({ connection: 'replying', rcv: 'active', snd: 'confirmed' })
    expect(await statusOf(bob)).toEqual({ connection: 'greeting', rcv: 'secured', snd: 'active' })
    expect([...typesOf(alice), ...typesOf(bob)]).not.toContain('CON')

    releaseAlice()
    await alice.next('CON')
    await bob.next('CON')
    expect(await statusOf(alice)).toEqual({ connection: 'connected', rcv: 'active', snd: 'active' })
    expect(await statusOf(bob)).toEqual({ connection: 'connected', rcv: 'active', snd: 'active' })
  })

  it('B12 ★ HELLO overtakes the router’s answer to this side’s own last message: one HELLO from each side, one CON', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, bobId, allow } = await joined(alice, bob)
    const before = count('SEND')
    // Both confirmation and HELLOs arrive, and no answer to their first attempts comes.
    const sends = { unsigned: 0, alice: 0, bob: 0 }
    router.react = ({ command, authorization, session }) => {
      if (command.type !== 'SEND') return undefined
      if (authorization.length === 0) return ++sends.unsigned === 1 ? 'loseAnswer' : undefined
      if (session.channel.remoteAddress === 'bob') return ++sends.bob === 1 ? 'loseAnswer' : undefined
      // Her first signed one is the confirmation once more.
      return ++sends.alice === 2 ? 'loseAnswer' : undefined
    }
    await alice.agent.allowConnection(allow)
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    await world.clock.advance(120_000)
    // Two HELLOs twice each; the confirmation unsigned twice, the second time in vain, then signed.
    expect(count('SEND') - before).toBe(7)
    expect(sends).toEqual({ unsigned: 2, alice: 3, bob: 2 })
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
    expect(typesOf(bob)).toEqual(['INFO', 'CON'])
    await converse(alice, aliceId, bob, bobId, 4)
  })

  it('B12 HELLO of nobody who was asked for it is refused, and does no harm', async () => {
    const alice = await start('alice')
    const { connectionId, link } = await alice.agent.createConnection({})
    const peer = await barePeer({ ...world, router: router.address, link })
    await peer.join()
    const { confirmationId } = await alice.next('CONF', connectionId)
    await peer.say({ type: 'HELLO' })
    expect((await alice.next('ERR', connectionId)).error).toMatchObject({ code: 'AGENT_PROHIBITED' })
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await alice.next('CON', connectionId)
    await peer.say({ type: 'HELLO' })
    expect((await alice.next('ERR', connectionId)).error).toMatchObject({ code: 'AGENT_PROHIBITED' })
    await peer.say('hi')
    expect(textOf((await alice.next('MSG')).body)).toBe('hi')
    expect(typesOf(alice)).toEqual(['CONF', 'ERR', 'CON', 'ERR', 'MSG'])
    peer.close()
  })

  it('B12 a HELLO that is delivered again is known and changes nothing', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, bobId, allow } = await joined(alice, bob)
    router.react = ({ command }) => (command.type === 'ACK' ? 'loseAnswer' : undefined)
    const redeliver = (): void => {
      for (const queue of router.queues) if (queue.delivered) router.deliverAgain(queue)
    }
    await alice.agent.allowConnection(allow)
    for (let step = 0; step < 20; step++) {
      await world.clock.advance(500)
      redeliver()
    }
    router.react = () => undefined
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
    expect(typesOf(bob)).toEqual(['INFO', 'CON'])
    await converse(alice, aliceId, bob, bobId, 4)
  })
})

describe('B13 before the legacy handshake is complete', () => {
  it.each(handshakeKinds)(
    'B13 with the invitation queue legacy: $invitation, the reply queue legacy: $reply, only a joiner that no HELLO waits for sends early',
    async kind => {
      const [alice, bob] = [await start('alice'), await start('bob')]
      const { aliceId, bobId, allow } = await joined(alice, bob, kind)
      const sending = bob.agent.sendMessage({ connectionId: bobId, body: 'early' })
      if (kind.invitation || kind.reply) {
        await expect(sending).rejects.toMatchObject({ code: 'CMD_PROHIBITED', field: bobId })
      } else {
        await sending
        expect(textOf((await alice.next('MSG', aliceId)).body)).toBe('early')
      }
      await alice.agent.allowConnection(allow)
      await bob.next('CON', bobId)
      await alice.next('CON', aliceId)
      expect(typesOf(bob).filter(type => type === 'MERR' || type === 'ERR')).toEqual([])
    },
  )

  it('B13 the same where the joiner’s router knows nothing of sender-secured queues, and the invitation is of this version', async () => {
    const modeOf = router.modeOf
    router.modeOf = seen => (seen.session.channel.remoteAddress === 'bob' ? undefined : modeOf(seen))
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const { connectionId: bobId } = await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    await expect(bob.agent.sendMessage({ connectionId: bobId, body: 'early' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: bobId,
    })
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    await bob.next('CON', bobId)
    await alice.next('CON', aliceId)
  })

  it('B13 several confirmations on one invitation queue: the first is told as CONF, another party’s is an error, the first completes', async () => {
    const alice = await start('alice')
    const { connectionId, link } = await alice.agent.createConnection({})
    const [bob, eve] = [await start('bob'), await start('eve')]
    const old = legacyLink(link)
    await bob.agent.joinConnection({ link: old, info: 'bob' })
    const conf = await alice.next('CONF', connectionId)
    await eve.agent.joinConnection({ link: old, info: 'eve' })
    expect((await alice.next('ERR', connectionId)).error.code).toMatch(/^CRYPTO_/)
    expect(textOf(conf.info)).toBe('bob')
    await alice.agent.allowConnection({ connectionId, confirmationId: conf.confirmationId })
    await alice.next('CON', connectionId)
    await bob.next('CON')
    await world.clock.advance(10_000)
    expect(typesOf(alice)).toEqual(['CONF', 'ERR', 'CON'])
    expect(typesOf(eve)).toEqual([])
    expect(router.queues.flatMap(queue => queue.messages)).toEqual([])
  })

  it('B30 a confirmation without a sender key is refused where this side must secure the queue', async () => {
    router.modeOf = () => undefined
    const alice = await start('alice')
    const { connectionId, link } = await alice.agent.createConnection({})
    const peer = await barePeer({ ...world, router: router.address, link })
    const [queue] = router.queues
    if (queue === undefined) throw new Error('no queue')
    router.put(queue, peer.seal(await peer.confirmation(), { withKey: true }))
    const { error } = await alice.next('ERR', connectionId)
    expect(error).toMatchObject({ code: 'AGENT_PROHIBITED', message: 'handshake: missing sender key' })
    peer.close()
  })
})

describe('B42 confirmation and HELLO that the router refuses', () => {
  const refuseSends = (name: string, from: number): void => {
    let sent = 0
    router.react = ({ command, session }) =>
      command.type === 'SEND' && session.channel.remoteAddress === name && ++sent > from
        ? errorAnswer('AUTH')
        : undefined
  }
  const errorsOf = (agent: TestAgent): string[] =>
    agent.events.flatMap(event => (event.type === 'ERR' ? [event.error.code] : []))

  it('B42 the joiner’s confirmation: NOT_AVAILABLE, once, in both handshakes', async () => {
    for (const link of [(text: string) => text, legacyLink]) {
      const [alice, bob] = [await start(`alice${link.name}`), await start(`bob${link.name}`)]
      refuseSends(bob.name, 0)
      const { link: invitation } = await alice.agent.createConnection({})
      const { connectionId } = await bob.agent.joinConnection({ link: link(invitation) })
      const error = await bob.next('ERR', connectionId)
      expect(error.error).toMatchObject({ code: 'CONN_NOT_AVAILABLE', field: connectionId })
      await world.clock.advance(300_000)
      expect(errorsOf(bob)).toEqual(['CONN_NOT_AVAILABLE'])
      expect(await bob.store.find(deliveries, {})).toEqual([])
      router.react = () => undefined
    }
  })

  it('B42 the initiator’s confirmation: NOT_AVAILABLE', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, allow } = await joined(alice, bob)
    refuseSends('alice', 0)
    await alice.agent.allowConnection(allow)
    expect((await alice.next('ERR', aliceId)).error.code).toBe('CONN_NOT_AVAILABLE')
    await world.clock.advance(300_000)
    expect(typesOf(alice)).toEqual(['CONF', 'ERR'])
  })

  it('B42 HELLO: NOT_ACCEPTED at the joiner', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { bobId, allow } = await joined(alice, bob)
    refuseSends('bob', 0)
    await alice.agent.allowConnection(allow)
    expect((await bob.next('ERR', bobId)).error).toMatchObject({ code: 'CONN_NOT_ACCEPTED', field: bobId })
    await world.clock.advance(300_000)
    expect(typesOf(bob)).toEqual(['INFO', 'ERR'])
    expect(await bob.store.find(deliveries, {})).toEqual([])
  })

  it('B42 HELLO: NOT_AVAILABLE at the initiator', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, allow } = await joined(alice, bob)
    // Its confirmation is taken, its HELLO is not.
    refuseSends('alice', 1)
    await alice.agent.allowConnection(allow)
    expect((await alice.next('ERR', aliceId)).error).toMatchObject({ code: 'CONN_NOT_AVAILABLE', field: aliceId })
    await world.clock.advance(300_000)
    expect(typesOf(alice)).toEqual(['CONF', 'ERR'])
  })

  it('B43 HELLO that cannot be delivered for two days is given up and told, at the next attempt; a day is no reason', async () => {
    const day = 24 * 60 * 60_000
    const alice = await start('alice')
    let bob = await start('bob')
    const { bobId, allow } = await joined(alice, bob)
    router.react = ({ command, session }) =>
      command.type === 'SEND' && session.channel.remoteAddress === 'bob' ? 'lose' : undefined
    await alice.agent.allowConnection(allow)
    await bob.next('INFO', bobId)
    await world.until(() => count('SEND') === 3, 'both confirmations, and HELLO')
    alice.crash()
    // The days pass while nobody runs, so that there is an attempt in minutes of each only.
    for (const [passed, told] of [
      [day, []],
      [day - 60 * 60_000, []],
      [60 * 60_000, ['TRANSPORT_TIMEOUT']],
    ] as const) {
      const rows = bob.crash()
      await world.clock.advance(passed)
      bob = await start('bob', { store: { open: rows } })
      await world.clock.advance(10 * 60_000)
      expect(errorsOf(bob)).toEqual(told)
      expect(await bob.store.find(deliveries, {})).toHaveLength(told.length === 0 ? 1 : 0)
    }
  })
})

describe('B15 the legacy handshake goes on after failures', () => {
  it('B15 ★ KEY whose answer is lost is repeated with the same key, after restarts too, on both sides', async () => {
    let alice = await start('alice')
    let bob = await start('bob')
    const { aliceId, bobId, allow } = await joined(alice, bob)
    router.react = ({ command }) => (command.type === 'KEY' ? 'loseAnswer' : undefined)
    await alice.agent.allowConnection(allow)
    await world.clock.advance(40_000)
    alice = await restart(alice)
    await alice.agent.subscribe({})
    await world.clock.advance(40_000)
    expect(count('KEY')).toBeGreaterThan(2)
    router.react = () => undefined
    await bob.next('INFO', bobId)
    router.react = ({ command }) => (command.type === 'KEY' ? 'loseAnswer' : undefined)
    await world.clock.advance(40_000)
    bob = await restart(bob)
    router.react = () => undefined
    await bob.agent.subscribe({})
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    const keys = router.all('KEY').map(({ command, entityId }) => {
      const key = command.type === 'KEY' ? command.key.raw : Buffer.alloc(0)
      return `${Buffer.from(entityId).toString('hex')} ${Buffer.from(key).toString('hex')}`
    })
    expect(new Set(keys).size).toBe(2)
    await converse(alice, aliceId, bob, bobId, 4)
  })

  it('B15 ★ a confirmation that had arrived without an answer is sent again signed, once its queue is secured; nobody hears of it', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    let sent = 0
    router.react = ({ command }) => (command.type === 'SEND' && ++sent === 1 ? 'loseAnswer' : undefined)
    const { aliceId, bobId, allow } = await joined(alice, bob)
    await alice.agent.allowConnection(allow)
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    await world.clock.advance(60_000)
    const [invitationQueue] = router.queues
    const toAlice = router
      .all('SEND')
      .filter(({ entityId }) => Buffer.compare(entityId, invitationQueue?.senderId ?? Buffer.alloc(0)) === 0)
    // The lost one, the refused one, the signed one, HELLO.
    expect(toAlice.map(({ authorization }) => authorization.length > 0)).toEqual([false, false, true, true])
    expect(typesOf(alice)).toEqual(['CONF', 'CON'])
    expect(typesOf(bob)).toEqual(['INFO', 'CON'])
    await converse(alice, aliceId, bob, bobId, 4)
  })

  it('B15 KEY that the router refuses is told once; allowConnection repeated goes on with the same keys', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, bobId, allow } = await joined(alice, bob)
    router.react = ({ command }) => (command.type === 'KEY' ? errorAnswer('INTERNAL') : undefined)
    await alice.agent.allowConnection(allow)
    expect((await alice.next('ERR', aliceId)).error.code).toBe('INTERNAL')
    await world.clock.advance(300_000)
    expect(count('KEY')).toBe(1)
    expect(await alice.store.find(commands, {})).toEqual([])
    const [queueBefore] = await alice.store.find(sndQueues, {})
    router.react = () => undefined
    await alice.agent.allowConnection({ ...allow, info: 'alice again' })
    await alice.next('CON', aliceId)
    const info = await bob.next('INFO', bobId)
    expect(textOf(info.info)).toBe('alice again')
    await bob.next('CON', bobId)
    const [queue] = await alice.store.find(sndQueues, {})
    expect(queue).toEqual({ ...queueBefore, status: 'active' })
    expect(typesOf(alice)).toEqual(['CONF', 'ERR', 'CON'])
  })

  it('B15 KEY of the joiner that the router refuses is told once; joinConnection repeated goes on', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const join = { link: legacyLink(link), idempotencyKey: 'join' }
    const { connectionId: bobId } = await bob.agent.joinConnection(join)
    const { confirmationId } = await alice.next('CONF', aliceId)
    router.react = ({ command, session }) =>
      command.type === 'KEY' && session.channel.remoteAddress === 'bob' ? errorAnswer('INTERNAL') : undefined
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    expect((await bob.next('ERR', bobId)).error.code).toBe('INTERNAL')
    router.react = () => undefined
    expect(await bob.agent.joinConnection(join)).toEqual({ connectionId: bobId })
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    expect(typesOf(bob)).toEqual(['INFO', 'ERR', 'CON'])
    await converse(alice, aliceId, bob, bobId, 4)
  })

  it('B15 a queue that was secured with another key: AUTH is told, and the call can only be repeated in vain', async () => {
    const [alice, bob] = [await start('alice'), await start('bob')]
    const { aliceId, allow } = await joined(alice, bob)
    const [queue] = router.queues
    if (queue !== undefined) queue.senderKey = Buffer.alloc(32, 1)
    await alice.agent.allowConnection(allow)
    expect((await alice.next('ERR', aliceId)).error.code).toBe('AUTH')
    await alice.agent.allowConnection(allow)
    expect((await alice.next('ERR', aliceId)).error.code).toBe('AUTH')
    await world.clock.advance(300_000)
    expect(count('KEY')).toBe(2)
    expect(typesOf(alice)).toEqual(['CONF', 'ERR', 'ERR'])
  })
})
