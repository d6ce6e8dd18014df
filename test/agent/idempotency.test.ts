/** Calls that are repeated under their idempotency key: one effect, one answer, however they were interrupted. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connections } from '../../src/store/agent/connections.js'
import { sndMessages } from '../../src/store/agent/messages.js'
import { StoreError } from '../../src/errors.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { afterCommits, beforeCommits, brokenDisk, commitGate, touches } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

const restart = async (rows: MemoryStore = alice.crash()): Promise<void> => {
  alice = await world.start('alice', { store: { open: rows } })
}
const countConnections = () => alice.store.count(connections)
const idempotencyKey = 'the key'

/** The connection works: somebody joins by its link and a message comes. */
const expectUsable = async (link: string, connectionId: string): Promise<void> => {
  const bob = await world.start('bob')
  const { connectionId: bobId } = await bob.agent.joinConnection({ link })
  const { confirmationId } = await alice.next('CONF', connectionId)
  await alice.agent.allowConnection({ connectionId, confirmationId })
  await bob.next('CON')
  await bob.agent.sendMessage({ connectionId: bobId, body: 'it works' })
  expect(textOf((await alice.next('MSG', connectionId)).body)).toBe('it works')
}

describe('createConnection', () => {
  it('repeated: the same connection and link, one queue at the router', async () => {
    const first = await alice.agent.createConnection({ idempotencyKey })
    expect(await alice.agent.createConnection({ idempotencyKey })).toEqual(first)
    await restart()
    expect(await alice.agent.createConnection({ idempotencyKey })).toEqual(first)
    expect(world.router.all('NEW')).toHaveLength(1)
    expect(await countConnections()).toBe(1)
  })

  it('made several times at once: one connection that works', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => alice.agent.createConnection({ idempotencyKey })))
    expect(new Set(answers.map(answer => JSON.stringify(answer))).size).toBe(1)
    expect(world.router.all('NEW')).toHaveLength(1)
    expect(await countConnections()).toBe(1)
    await expectUsable(answers[0]?.link ?? '', answers[0]?.connectionId ?? '')
  })

  it('repeated while the first waits for the router: both get the answer', async () => {
    world.router.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    const first = alice.agent.createConnection({ idempotencyKey })
    await world.until(() => world.router.all('NEW').length === 1, 'NEW')
    const second = alice.agent.createConnection({ idempotencyKey })
    await world.clock.settle()
    const [held] = world.router.all('NEW')
    if (held !== undefined) world.router.release(held)
    expect(await second).toEqual(await first)
    expect(world.router.all('NEW')).toHaveLength(1)
    world.router.react = () => undefined
    await expectUsable((await first).link, (await first).connectionId)
  })

  it('B15 repeated while the router answers and another commit holds the connection: one queue, one answer', async () => {
    world.router.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    const first = alice.agent.createConnection({ idempotencyKey })
    await world.until(() => world.router.all('NEW').length === 1, 'NEW')
    const { connectionId } = (await alice.agent.listConnections({})).connections[0] ?? { connectionId: '' }
    const gate = commitGate(alice.store)
    gate.close()
    const other = alice.agent.abortSwitchAsync({ connectionId, correlationId: '1' })
    await world.clock.settle()
    expect(gate.waiting).toBe(1)
    const second = alice.agent.createConnection({ idempotencyKey })
    await world.clock.settle()
    const [held] = world.router.all('NEW')
    if (held !== undefined) world.router.release(held)
    await world.clock.settle()
    world.router.react = () => undefined
    gate.open()
    await other
    expect(await second).toEqual(await first)
    expect(world.router.all('NEW')).toHaveLength(1)
    await expectUsable((await first).link, connectionId)
  })

  it.each(['lose', 'loseAnswer'] as const)(
    'NEW without an answer (%s), then repeated: the same keys, a connection that works',
    async reaction => {
      world.router.react = ({ command }) => (command.type === 'NEW' ? reaction : undefined)
      const first = alice.agent.createConnection({ idempotencyKey }).catch((error: unknown) => error)
      await world.clock.advance(20_000)
      expect(await first).toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
      world.router.react = () => undefined
      const { link, connectionId } = await alice.agent.createConnection({ idempotencyKey })
      const keys = world.router
        .all('NEW')
        .map(({ command }) => (command.type === 'NEW' ? textOf(command.authKey.raw) : ''))
      expect(keys).toHaveLength(2)
      expect(keys[0]).toBe(keys[1])
      expect(await countConnections()).toBe(1)
      await expectUsable(link, connectionId)
    },
  )

  it('killed at each of its commits, then repeated: one connection that works', async () => {
    for (const [index, kill] of [beforeCommits, afterCommits, beforeCommits, afterCommits].entries()) {
      let rows: MemoryStore | undefined
      const step = index < 2 ? 'insert' : 'patch'
      kill(alice.store, changes => {
        if (rows === undefined && touches(changes, connections, step)) rows = alice.crash()
      })
      const key = `kill ${index}`
      alice.agent.createConnection({ idempotencyKey: key }).catch(() => {})
      await world.until(() => rows !== undefined, `the kill ${index}`)
      await restart(rows)
      const { connectionId, link } = await alice.agent.createConnection({ idempotencyKey: key })
      expect(await countConnections()).toBe(index + 1)
      await alice.agent.subscribe({})
      await expectUsable(link, connectionId)
    }
  })

  it('a commit whose answer is lost, then repeated: the connection receives', async () => {
    let failures = 1
    const commit = alice.store.commit.bind(alice.store)
    alice.store.commit = async changes => {
      await commit(changes)
      if (touches(changes, connections, 'patch') && failures-- > 0) throw new StoreError('STORE_UNAVAILABLE', 'lost')
    }
    await expect(alice.agent.createConnection({ idempotencyKey })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    const { connectionId, link } = await alice.agent.createConnection({ idempotencyKey })
    expect(await countConnections()).toBe(1)
    await expectUsable(link, connectionId)
  })

  it('without a key, a call that fails leaves nothing behind', async () => {
    world.network.setReachable(world.router.place, 'refuses')
    await expect(alice.agent.createConnection({})).rejects.toMatchObject({ code: 'TRANSPORT_CONNECT' })
    world.network.setReachable(world.router.place, 'answers')
    await world.clock.advance(3_000)
    world.router.react = () => ({ type: 'ERR', error: { type: 'AUTH' } })
    await expect(alice.agent.createConnection({})).rejects.toMatchObject({ code: 'AUTH' })
    expect(await countConnections()).toBe(0)
    expect(await alice.agent.listConnections({})).toEqual({ connections: [] })
  })

  it('the same key of two users means two connections', async () => {
    const one = await alice.agent.createConnection({ idempotencyKey })
    const { userId } = await alice.agent.createUser({})
    const two = await alice.agent.createConnection({ idempotencyKey, userId })
    expect(one.connectionId).not.toBe(two.connectionId)
  })
})

describe('joinConnection', () => {
  let link: string
  let bob: TestAgent
  beforeEach(async () => {
    bob = await world.start('bob')
    link = (await bob.agent.createConnection({})).link
  })

  it('repeated, at once and after a restart: one connection, one confirmation', async () => {
    const params = { link, info: 'alice', idempotencyKey }
    const answers = await Promise.all(Array.from({ length: 5 }, () => alice.agent.joinConnection(params)))
    expect(new Set(answers.map(({ connectionId }) => connectionId)).size).toBe(1)
    const { confirmationId, connectionId } = await bob.next('CONF')
    await restart()
    expect(await alice.agent.joinConnection(params)).toEqual(answers[0])
    await bob.agent.allowConnection({ connectionId, confirmationId })
    await alice.agent.subscribe({})
    await alice.next('CON')
    expect(await alice.agent.joinConnection(params)).toEqual(answers[0])
    await world.clock.advance(60_000)
    expect(bob.events.map(({ type }) => type)).toEqual(['CONF', 'CON'])
    expect(world.router.all('SKEY')).toHaveLength(2)
    expect(await countConnections()).toBe(1)
  })

  it.each([
    ['before', beforeCommits],
    ['behind', afterCommits],
  ])('killed %s the commit of the intent, then repeated: one connection', async (_, kill) => {
    let rows: MemoryStore | undefined
    kill(alice.store, changes => {
      if (rows === undefined && touches(changes, connections, 'insert')) rows = alice.crash()
    })
    alice.agent.joinConnection({ link, idempotencyKey }).catch(() => {})
    await world.until(() => rows !== undefined, 'the kill')
    await restart(rows)
    const { connectionId } = await alice.agent.joinConnection({ link, idempotencyKey })
    const { connectionId: bobId, confirmationId } = await bob.next('CONF')
    await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
    await alice.next('CON', connectionId)
    expect(await countConnections()).toBe(1)
  })

  it('a key of another call is refused, and names the field', async () => {
    await alice.agent.createConnection({ idempotencyKey: 'created' })
    await expect(alice.agent.joinConnection({ link, idempotencyKey: 'created' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'idempotencyKey',
    })
    await alice.agent.joinConnection({ link, idempotencyKey: 'joined' })
    await expect(alice.agent.createConnection({ idempotencyKey: 'joined' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'idempotencyKey',
    })
    expect(await countConnections()).toBe(2)
  })
})

describe('sendMessage', () => {
  let connectionId: string
  let bob: TestAgent
  let bobId: string
  beforeEach(async () => {
    bob = await world.start('bob')
    const ids = await world.connect(alice, bob)
    connectionId = ids.initiatorId
    bobId = ids.joinerId
  })
  const send = (body = 'once', key = idempotencyKey) =>
    alice.agent.sendMessage({ connectionId, body, idempotencyKey: key })
  const expectOnce = async (expected: string[]): Promise<void> => {
    for (const body of expected) {
      const message = await bob.next('MSG', bobId)
      expect([textOf(message.body), message.integrity]).toEqual([body, { result: 'ok' }])
      await bob.agent.ackMessage({ connectionId: bobId, messageId: message.messageId })
    }
    await world.clock.advance(120_000)
    expect(bob.events.filter(({ type }) => type === 'MSG' || type === 'ERR')).toHaveLength(expected.length)
  }

  it('repeated at once, after SENT and after a restart: one message, one number', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => send()))
    expect(new Set(answers.map(({ messageId }) => messageId)).size).toBe(1)
    await alice.next('SENT')
    expect(await send()).toEqual(answers[0])
    await restart()
    expect(await send()).toEqual(answers[0])
    expect(await send('other', 'other')).toMatchObject({ messageId: (answers[0]?.messageId ?? 0) + 1 })
    await expectOnce(['once', 'other'])
    expect(await alice.store.count(sndMessages)).toBe(2)
  })

  it('repeated behind other messages while the first is not committed yet: one message, in its first place', async () => {
    const gate = commitGate(alice.store)
    gate.close()
    const calls = [send('a', 'a'), send(), send('b', 'b'), send(), send('a', 'a')]
    await world.clock.settle()
    gate.open()
    const ids = (await Promise.all(calls)).map(({ messageId }) => messageId)
    expect([ids[3], ids[4]]).toEqual([ids[1], ids[0]])
    await expectOnce(['a', 'once', 'b'])
  })

  it.each([
    ['before', beforeCommits],
    ['behind', afterCommits],
  ])('killed %s its commit, then repeated: one message', async (_, kill) => {
    let rows: MemoryStore | undefined
    kill(alice.store, changes => {
      if (rows === undefined && touches(changes, sndMessages, 'insert')) rows = alice.crash()
    })
    send().catch(() => {})
    await world.until(() => rows !== undefined, 'the kill')
    await restart(rows)
    await send()
    await send('next', 'next')
    await expectOnce(['once', 'next'])
  })

  it('a commit that failed, or whose answer was lost, then repeated: one message', async () => {
    let failures = 0
    const commit = alice.store.commit.bind(alice.store)
    alice.store.commit = async changes => {
      const fails = touches(changes, sndMessages, 'insert') && failures > 0 ? failures-- : 0
      if (fails === 2) throw brokenDisk()
      await commit(changes)
      if (fails === 1) throw new StoreError('STORE_UNAVAILABLE', 'the answer was lost')
    }
    failures = 2
    await expect(send()).rejects.toMatchObject({ code: 'STORE_WRITE' })
    await expect(send()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await send()
    await send('next', 'next')
    await expectOnce(['once', 'next'])
  })

  it('the same key in two connections means two messages', async () => {
    const other = await world.befriend(alice)
    const before = world.router.all('SEND').length
    await send()
    await alice.agent.sendMessage({ connectionId: other.connectionId, body: 'x', idempotencyKey })
    await alice.next('SENT', connectionId)
    await alice.next('SENT', other.connectionId)
    expect(world.router.all('SEND')).toHaveLength(before + 2)
  })
})
