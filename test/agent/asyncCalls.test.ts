/** Asynchronous variants of calls: stored, answered at once, run once in effect, and told of under the caller's correlation id. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentEvent } from '../../src/agent/api/events.js'
import { directNameOf } from '../../src/agent/api/asyncCalls.js'
import { calls, type DirectCallName, directCalls } from '../../src/agent/api/calls.js'
import { commands, connections, rcvQueues } from '../../src/store/agent/connections.js'
import { events } from '../../src/store/eventLog.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import type { Change } from '../../src/store/index.js'
import type { MemoryStore } from '../../src/store/memory.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer } from '../support/scriptedRouter.js'
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
/** Events that answer an asynchronous call. */
const answers = (correlationId: string, agent = alice) =>
  agent.events.filter(event => event.correlationId === correlationId)
const answered = async (correlationId: string, agent = alice) => {
  await world.until(() => answers(correlationId, agent).length > 0, `an answer to ${correlationId}`)
  const [event] = answers(correlationId, agent)
  if (event === undefined) throw new Error('no answer')
  return event
}
const resultOf = async <T>(correlationId: string, agent = alice): Promise<T> => {
  const event = await answered(correlationId, agent)
  if (event.type !== 'OK') throw new Error(`${correlationId}: ${JSON.stringify(event)}`)
  return event.result as T
}
const storedCalls = () => alice.store.count(commands, { type: 'call' })

describe('B21 the list of asynchronous calls', () => {
  /** Calls without a variant, and why. */
  const without: Partial<Record<DirectCallName, string>> = {
    getMessages: 'asks now: what it finds comes as events',
    setNetwork: 'about this run of the agent: nothing is stored',
    setNetworkConfig: 'about this run of the agent: nothing is stored',
    prepareConnectionToJoin: 'its answer is the id that is wanted at once, and needs no network',
    prepareConnectionToAccept: 'its answer is the id that is wanted at once, and needs no network',
    prepareConnectionLink: 'its answer is the link that is wanted at once, and needs no network',
    inspectConnection: 'reads',
    countActors: 'reads',
    listActors: 'reads',
    listConnections: 'reads',
    registerConsumer: 'changes nothing but the log of this agent',
    unregisterConsumer: 'changes nothing but the log of this agent',
    listConsumers: 'reads',
    readEvents: 'reads',
    createUser: 'changes no connection',
    listUsers: 'reads',
    setUserHidden: 'changes no connection, and lasts only as long as a commit',
    setRouters: 'changes no connection',
    suspendAgent: 'the agent as a whole: nothing stored is run meanwhile',
    foregroundAgent: 'the agent as a whole',
    getStatistics: 'reads',
    resetStatistics: 'changes no connection',
    ackEvents: 'its own answer would be an event to acknowledge; for a message there is ackMessage',
  }

  it('B21 every call that needs the network or changes a connection has a variant, made from the same entry', () => {
    for (const [name, call] of Object.entries(directCalls)) {
      const variant = (calls as Record<string, (typeof calls)[keyof typeof calls] | undefined>)[`${name}Async`]
      expect([name, variant !== undefined]).toEqual([name, without[name as DirectCallName] === undefined])
      if (variant === undefined) continue
      expect(directNameOf(`${name}Async`)).toBe(name)
      expect(Object.keys(variant.params.shape)).toEqual([...Object.keys(call.params.shape), 'correlationId'])
    }
  })

  it('B21 needs a correlation id and the parameters of the call', async () => {
    await expect(alice.agent.createConnectionAsync({} as never)).rejects.toMatchObject({
      code: 'CMD_PARAMS',
      field: 'correlationId',
    })
    await expect(
      alice.agent.sendMessageAsync({ correlationId: '1', connectionId: 'c' } as never),
    ).rejects.toMatchObject({ code: 'CMD_PARAMS', field: 'body' })
    await expect(
      alice.agent.sendMessageAsync({ correlationId: '1', connectionId: 'c', body: Buffer.alloc(1_000_000) }),
    ).rejects.toMatchObject({ code: 'LARGE_MSG' })
    expect(await storedCalls()).toBe(0)
  })
})

describe('B21 every call, asynchronously', () => {
  it('B21 a connection from createConnectionAsync to deleteConnectionAsync: one OK for each call, with its result', async () => {
    const bob = await world.start('bob')
    expect(await alice.agent.createConnectionAsync({ correlationId: '1' })).toEqual({})
    const { connectionId, link } = await resultOf<{ connectionId: string; link: string }>('1')
    expect(answers('1')).toMatchObject([{ type: 'OK', call: 'createConnection', connectionId }])
    await bob.agent.joinConnectionAsync({ link, info: Buffer.from([0, 255, 7]), correlationId: '2' })
    const joined = await resultOf<{ connectionId: string }>('2', bob)
    const conf = await alice.next('CONF', connectionId)
    expect([...conf.info]).toEqual([0, 255, 7])
    const { confirmationId } = conf
    await alice.agent.allowConnectionAsync({ connectionId, confirmationId, info: 'alice', correlationId: '3' })
    expect(await resultOf('3')).toEqual({})
    expect(textOf((await bob.next('INFO')).info)).toBe('alice')
    await bob.next('CON', joined.connectionId)
    await alice.next('CON', connectionId)
    await alice.agent.sendMessageAsync({ connectionId, body: 'hello', correlationId: '4' })
    const { messageId } = await resultOf<{ messageId: number }>('4')
    expect((await alice.next('SENT')).messageId).toBe(messageId)
    const message = await bob.next('MSG')
    expect(textOf(message.body)).toBe('hello')
    const ack = { connectionId: joined.connectionId, messageId: message.messageId }
    await bob.agent.ackMessageAsync({ ...ack, correlationId: '5' })
    expect(await resultOf('5', bob)).toEqual({})
    expect(await bob.store.count(events, { type: 'MSG' })).toBe(0)
    await alice.agent.subscribeAsync({ connectionIds: [connectionId, 'nobody'], correlationId: '6' })
    expect(await resultOf('6')).toMatchObject({
      results: [
        { connectionId, ok: true },
        { connectionId: 'nobody', ok: false },
      ],
    })
    expect(answers('6')).toMatchObject([{ connectionId: '' }])
    await alice.agent.suspendConnectionAsync({ connectionId, correlationId: '7' })
    expect(await resultOf('7')).toEqual({})
    await alice.agent.abandonRouterAsync({ address: world.router.address, correlationId: '8' })
    expect(await resultOf('8')).toEqual({ commands: 0, messages: 0 })
    await alice.agent.deleteConnectionAsync({ connectionId, correlationId: '9' })
    expect(await resultOf('9')).toEqual({})
    await alice.next('DEL_CONN', connectionId)
    await bob.agent.deleteConnectionsAsync({ connectionIds: [joined.connectionId], correlationId: '10' })
    expect(await resultOf('10', bob)).toEqual({ results: [{ connectionId: joined.connectionId, ok: true }] })
    await bob.next('DEL_CONN')
    await world.clock.advance(60_000)
    for (const id of ['1', '3', '4', '6', '7', '8', '9']) expect(answers(id)).toHaveLength(1)
    for (const id of ['2', '5', '10']) expect(answers(id, bob)).toHaveLength(1)
    expect(await storedCalls()).toBe(0)
  })

  it('B21 is answered before anything is done, with the call on the disk', async () => {
    const gate = commitGate(alice.store)
    gate.close()
    let stored = false
    const storing = alice.agent.createConnectionAsync({ correlationId: '1' }).then(() => {
      stored = true
    })
    await world.clock.settle()
    expect([stored, gate.waiting]).toEqual([false, 1])
    gate.step()
    await storing
    expect(await storedCalls()).toBe(1)
    expect(await alice.store.count(connections)).toBe(0)
    expect(world.router.all('NEW')).toEqual([])
    gate.open()
    await resultOf('1')
  })

  it('B21 calls of one connection take effect in the order in which they were stored', async () => {
    const { connectionId } = await world.befriend(alice)
    const bodies = Array.from({ length: 20 }, (_, index) => `${index}`)
    await Promise.all(
      bodies.map(body => alice.agent.sendMessageAsync({ connectionId, body, correlationId: `c${body}` })),
    )
    await answered('c19')
    const ids = await Promise.all(bodies.map(body => resultOf<{ messageId: number }>(`c${body}`)))
    const numbers = ids.map(({ messageId }) => messageId)
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index))
    const told = alice.events.flatMap(({ correlationId }) => correlationId ?? [])
    expect(told).toEqual(bodies.map(body => `c${body}`))
  })

  it('B21 calls that name no connection do not wait for each other', async () => {
    world.router.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    for (const correlationId of ['1', '2', '3']) await alice.agent.createConnectionAsync({ correlationId })
    await world.until(() => world.router.all('NEW').length === 3, 'three NEW')
    const [, , third] = world.router.all('NEW')
    if (third !== undefined) world.router.release(third)
    await world.until(() => alice.events.some(({ type }) => type === 'OK'), 'an OK')
    expect(alice.events.filter(({ type }) => type === 'OK')).toHaveLength(1)
    world.router.react = () => undefined
    await Promise.all(['1', '2', '3'].map(id => resultOf(id)))
  })
})

describe('B21 errors of asynchronous calls', () => {
  it('B21 a refusal comes as ERR under the correlation id, with the code that the call has', async () => {
    const { connectionId } = await alice.agent.createConnection({})
    await alice.agent.sendMessageAsync({ connectionId, body: 'x', correlationId: 'early' })
    await alice.agent.allowConnectionAsync({ connectionId, confirmationId: 'x', correlationId: 'nothing' })
    await alice.agent.ackMessageAsync({ connectionId, messageId: 5, correlationId: 'no message' })
    await alice.agent.joinConnectionAsync({ link: 'nonsense', correlationId: 'no link' })
    await alice.agent.sendMessageAsync({ connectionId: 'nobody', body: 'x', correlationId: 'nobody' })
    expect(await answered('early')).toMatchObject({ type: 'ERR', connectionId, error: { code: 'CMD_PROHIBITED' } })
    expect(await answered('nothing')).toMatchObject({ type: 'ERR', error: { code: 'CMD_PROHIBITED' } })
    expect(await answered('no message')).toMatchObject({ type: 'ERR', error: { code: 'MESSAGE_NOT_FOUND' } })
    expect(await answered('no link')).toMatchObject({ type: 'ERR', connectionId: '', error: { code: /^DECODE_/ } })
    expect(await answered('nobody')).toMatchObject({
      type: 'ERR',
      connectionId: 'nobody',
      error: { code: 'CONN_NOT_FOUND' },
    })
    for (const id of ['early', 'nothing', 'no message', 'no link', 'nobody']) {
      expect(answers(id)[0]).not.toHaveProperty('temporary')
    }
    expect(await storedCalls()).toBe(0)
  })

  it('B53 a router that cannot be reached is tried again until it answers; ERR says so once, and OK is still to come', async () => {
    world.network.setReachable(world.router.place, 'refuses')
    await alice.agent.createConnectionAsync({ correlationId: '1' })
    expect(await answered('1')).toMatchObject({ type: 'ERR', temporary: true, error: { code: 'TRANSPORT_CONNECT' } })
    await world.clock.advance(600_000)
    expect(answers('1')).toHaveLength(1)
    expect(await alice.store.count(connections)).toBe(1)
    world.network.setReachable(world.router.place, 'answers')
    await world.until(() => answers('1').length === 2, 'the answer')
    expect(answers('1')[1]).toMatchObject({ type: 'OK' })
    expect(world.router.all('NEW')).toHaveLength(1)
    expect(await alice.store.count(connections)).toBe(1)
  })

  it('B53 a router that refuses for good: ERR once, and nothing is left of the connection', async () => {
    world.router.react = ({ command }) => (command.type === 'NEW' ? errorAnswer('AUTH') : undefined)
    await alice.agent.createConnectionAsync({ correlationId: '1' })
    expect(await answered('1')).toMatchObject({ type: 'ERR', error: { code: 'AUTH' } })
    await world.clock.advance(600_000)
    expect(answers('1')).toHaveLength(1)
    expect(world.router.all('NEW')).toHaveLength(1)
    expect(await alice.store.count(connections)).toBe(0)
    expect(await storedCalls()).toBe(0)
  })

  it('B51 a stored call that this version does not know, or whose parameters it does not take, is answered with ERR and deleted', async () => {
    const { connectionId } = await world.befriend(alice)
    const rows = alice.crash()
    const call = { call: 'fromLongAgo', key: 'k', of: connectionId }
    const row = { connectionId, userId: 1, router: '', type: 'call', createdAt: 0 }
    const command = (commandId: number, argument: object, secret: string) => ({
      op: 'insert' as const,
      table: commands,
      row: { ...row, commandId, argument, secret: Buffer.from(secret), correlationId: `c${commandId}` },
    })
    await rows.commit([
      command(101, call, '{}') as unknown as Change,
      command(102, { ...call, call: 'sendMessage' }, '{"connectionId":5}') as unknown as Change,
      command(103, { ...call, call: 'suspendConnection' }, JSON.stringify({ connectionId })) as unknown as Change,
    ])
    await restart(rows)
    expect(await answered('c101')).toMatchObject({ type: 'ERR', connectionId, error: { code: 'CMD_UNKNOWN' } })
    expect(await answered('c102')).toMatchObject({ type: 'ERR', connectionId, error: { code: 'CMD_PARAMS' } })
    expect(await resultOf('c103')).toEqual({})
    expect(await storedCalls()).toBe(0)
  })
})

describe('B21 one effect, however often it is run', () => {
  /** Each kind of call with what it must have done once. */
  const scenes: Record<
    string,
    () => Promise<{ call: () => Promise<unknown>; effects: () => Promise<unknown>; done: unknown }>
  > = {
    createConnection: async () => ({
      call: () => alice.agent.createConnectionAsync({ correlationId: 'x' }),
      effects: () => alice.store.count(connections),
      done: 1,
    }),
    joinConnection: async () => {
      const bob = await world.start('bob')
      const { link } = await bob.agent.createConnection({})
      return {
        call: () => alice.agent.joinConnectionAsync({ link, correlationId: 'x' }),
        effects: async () => {
          await bob.next('CONF')
          return alice.store.count(connections)
        },
        done: 1,
      }
    },
    allowConnection: async () => {
      const { connectionId, confirmationId, peer } = await world.invite(alice)
      return {
        call: () => alice.agent.allowConnectionAsync({ connectionId, confirmationId, correlationId: 'x' }),
        effects: async () => {
          await alice.next('CON', connectionId)
          await peer.say('hi')
          await alice.next('MSG', connectionId)
          return alice.events.filter(({ type }) => type === 'CON').length
        },
        done: 1,
      }
    },
    sendMessage: async () => {
      const { connectionId } = await world.befriend(alice)
      const before = world.router.all('SEND').length
      return {
        call: () => alice.agent.sendMessageAsync({ connectionId, body: 'once', correlationId: 'x' }),
        effects: async () => {
          await alice.next('SENT')
          return [await alice.store.count(sndMessages), world.router.all('SEND').length > before]
        },
        done: [1, true],
      }
    },
    ackMessage: async () => {
      const { connectionId, peer } = await world.befriend(alice)
      await peer.say('hi')
      const { messageId } = await alice.next('MSG')
      return {
        call: () => alice.agent.ackMessageAsync({ connectionId, messageId, correlationId: 'x' }),
        effects: () => alice.store.count(events, { type: 'MSG' }),
        done: 0,
      }
    },
    deleteConnection: async () => {
      const { connectionId } = await world.befriend(alice)
      return {
        call: () => alice.agent.deleteConnectionAsync({ connectionId, correlationId: 'x' }),
        effects: async () => {
          await alice.next('DEL_CONN')
          await world.clock.advance(60_000)
          return alice.events.filter(({ type }) => type === 'DEL_CONN' || type === 'DEL_RCVQ').length
        },
        done: 2,
      }
    },
    suspendConnection: async () => {
      const { connectionId } = await world.befriend(alice)
      return {
        call: () => alice.agent.suspendConnectionAsync({ connectionId, correlationId: 'x' }),
        effects: () => alice.store.count(rcvQueues, { suspended: true }),
        done: 1,
      }
    },
  }
  const isAnswer = (changes: readonly Change[]): boolean =>
    changes.some(change => change.op === 'insert' && change.row['type'] === 'OK')

  it.each(Object.keys(scenes))(
    'B21 %s: killed behind each of its commits, it is done once and answered once',
    async name => {
      let kill = 0
      for (let commits = 1; commits > 0; kill++) {
        await world.close()
        world = await scriptedWorld()
        alice = await world.start('alice')
        const scene = await scenes[name]?.()
        await world.clock.settle()
        if (scene === undefined) throw new Error('no scene')
        let rows: MemoryStore | undefined
        let left = kill
        let answeredIn = false
        afterCommits(alice.store, changes => {
          answeredIn ||= isAnswer(changes)
          if (rows === undefined && left-- === 0) rows = alice.crash()
        })
        scene.call().catch(() => {})
        await world.until(() => rows !== undefined || answeredIn, 'the kill or the answer')
        left = -1
        if (rows === undefined) commits = 0
        else {
          await restart(rows)
          await alice.agent.subscribe({})
        }
        await answered('x')
        expect([kill, await scene.effects()]).toEqual([kill, scene.done])
        await world.clock.advance(60_000)
        expect(answers('x')).toMatchObject([{ type: 'OK', call: name }])
        expect(await storedCalls()).toBe(0)
      }
      expect(kill).toBeGreaterThan(1)
    },
  )

  it('B21 killed, or the disk failing, between the effect and the answer: run again under the same key', async () => {
    const { connectionId } = await world.befriend(alice)
    let failures = 3
    beforeCommits(alice.store, changes => {
      if (isAnswer(changes) && failures-- > 0) throw brokenDisk()
    })
    await alice.agent.sendMessageAsync({ connectionId, body: 'once', correlationId: 'x' })
    const { messageId } = await resultOf<{ messageId: number }>('x')
    expect(failures).toBeLessThanOrEqual(0)
    expect((await alice.next('SENT')).messageId).toBe(messageId)
    await world.clock.advance(60_000)
    expect(await alice.store.count(sndMessages, { type: 'A_MSG' })).toBe(1)
    expect(answers('x')).toHaveLength(1)
  })

  it('B21 the keys of stored calls differ, also across restarts, when the commands before are all done', async () => {
    const ids = new Set<string>()
    for (let round = 0; round < 3; round++) {
      await alice.agent.createConnectionAsync({ correlationId: `${round}` })
      ids.add((await resultOf<{ connectionId: string }>(`${round}`)).connectionId)
      await restart()
    }
    expect(ids.size).toBe(3)
  })

  it('B21 repeated under an idempotency key, by itself and mixed with the call: one effect, the same answer', async () => {
    const idempotencyKey = 'mine'
    await alice.agent.createConnectionAsync({ idempotencyKey, correlationId: '1' })
    await alice.agent.createConnectionAsync({ idempotencyKey, correlationId: '2' })
    const direct = await alice.agent.createConnection({ idempotencyKey })
    expect(await resultOf('1')).toEqual(direct)
    expect(await resultOf('2')).toEqual(direct)
    expect(world.router.all('NEW')).toHaveLength(1)
    expect(await alice.store.count(connections)).toBe(1)
  })

  it('B21 closed while it runs: nothing is told, and the next agent on the rows finishes it', async () => {
    const { connectionId } = await world.befriend(alice)
    await restart()
    world.router.react = ({ command }) => (command.type === 'NEW' || command.type === 'SUB' ? 'hold' : undefined)
    await alice.agent.createConnectionAsync({ correlationId: '1' })
    await alice.agent.subscribeAsync({ connectionIds: [connectionId], correlationId: '2' })
    await world.until(() => world.router.all('NEW').length === 3, 'NEW')
    await alice.agent.close()
    world.router.react = () => undefined
    await restart(alice.store.reopen())
    await resultOf('1')
    expect(await resultOf('2')).toEqual({ results: [{ connectionId, ok: true }] })
    for (const id of ['1', '2']) expect(answers(id)).toHaveLength(1)
  })

  it('B21 closed while it runs and a commit is slow: what the closing has refused is no answer', async () => {
    const { connectionId } = await world.befriend(alice)
    await restart()
    world.router.react = ({ command }) => (command.type === 'SUB' ? 'hold' : undefined)
    await alice.agent.subscribeAsync({ connectionIds: [connectionId], correlationId: '1' })
    await world.until(() => world.router.all('SUB').length === 1, 'SUB')
    await alice.agent.sendMessage({ connectionId, body: 'x' })
    const gate = commitGate(alice.store)
    gate.close()
    await world.clock.settle()
    const closing = alice.agent.close()
    await world.clock.settle()
    gate.open()
    await closing
    world.router.react = () => undefined
    await restart(alice.store.reopen())
    expect(await resultOf('1')).toEqual({ results: [{ connectionId, ok: true }] })
    expect(answers('1')).toHaveLength(1)
  })
})

describe('B21 asynchronous calls of a connection that is deleted', () => {
  it('B21 those that wait are answered with ERR in the commit of the deletion, the deleting one with OK', async () => {
    const { connectionId } = await world.befriend(alice)
    world.router.react = ({ command }) => (command.type === 'OFF' ? 'lose' : undefined)
    await alice.agent.suspendConnectionAsync({ connectionId, correlationId: 'running' })
    await alice.agent.sendMessageAsync({ connectionId, body: 'x', correlationId: 'waiting' })
    await world.until(() => world.router.all('OFF').length === 1, 'OFF')
    await alice.agent.deleteConnection({ connectionId })
    await world.clock.settle()
    for (const id of ['running', 'waiting']) {
      expect(answers(id)).toMatchObject([{ type: 'ERR', connectionId, error: { code: 'CMD_PROHIBITED' } }])
    }
    await alice.next('DEL_CONN')
    await world.clock.advance(120_000)
    for (const id of ['running', 'waiting']) expect(answers(id)).toHaveLength(1)
    expect(await alice.store.find(commands, {})).toEqual([])
  })

  it('B21 stored behind an asynchronous deletion they are refused, in any case each has one answer', async () => {
    const { connectionId } = await world.befriend(alice)
    const send = (correlationId: string) =>
      alice.agent.sendMessageAsync({ connectionId, body: correlationId, correlationId })
    await Promise.all([
      send('before'),
      alice.agent.deleteConnectionAsync({ connectionId, correlationId: 'delete' }),
      send('after'),
      alice.agent.deleteConnectionAsync({ connectionId, correlationId: 'again' }),
    ])
    await alice.next('DEL_CONN')
    await world.clock.advance(10_000)
    expect(answers('before')).toMatchObject([{ type: 'OK' }])
    expect(answers('delete')).toMatchObject([{ type: 'OK' }])
    expect(answers('after')).toMatchObject([{ type: 'ERR', error: { code: 'CMD_PROHIBITED' } }])
    expect(answers('again')).toMatchObject([{ type: 'OK' }])
    expect(await alice.store.find(commands, {})).toEqual([])
  })

  it('B21 a creation that waits for its router can be found, inspected and deleted, which answers it', async () => {
    world.network.setReachable(world.router.place, 'refuses')
    await alice.agent.createConnectionAsync({ correlationId: '1' })
    const { connectionId } = await answered('1')
    expect(await alice.agent.listConnections({})).toMatchObject({ connections: [{ connectionId, status: 'new' }] })
    expect(await alice.agent.inspectConnection({ connectionId })).toMatchObject({
      rcvQueues: [{ router: world.router.address, status: 'new' }],
      commands: [{ type: 'createConnection', correlationId: '1', lastError: { code: 'TRANSPORT_CONNECT' } }],
    })
    await alice.agent.deleteConnection({ connectionId })
    await world.clock.advance(600_000)
    expect(answers('1').map(event => [event.type, 'temporary' in event])).toEqual([
      ['ERR', true],
      ['ERR', false],
    ])
    expect(await alice.store.count(connections)).toBe(0)
    expect(await alice.store.find(commands, {})).toEqual([])
    world.network.setReachable(world.router.place, 'answers')
    await world.clock.advance(600_000)
    expect(world.router.all('NEW')).toEqual([])
  })

  it('B21 a creation whose connection is deleted meanwhile is answered with ERR, and makes no other one', async () => {
    world.router.react = ({ command }) => (command.type === 'NEW' ? 'hold' : undefined)
    await alice.agent.createConnectionAsync({ correlationId: '1' })
    await world.until(() => world.router.all('NEW').length === 1, 'NEW')
    const [row] = await alice.store.find(connections, {})
    await alice.agent.deleteConnection({ connectionId: row?.connectionId ?? '' })
    world.router.react = () => undefined
    const [held] = world.router.all('NEW')
    if (held !== undefined) world.router.release(held)
    expect(await answered('1')).toMatchObject({ type: 'ERR', error: { code: 'CMD_PROHIBITED' } })
    await world.clock.advance(60_000)
    expect(await alice.store.count(connections)).toBe(0)
    expect(world.router.queues).toEqual([])
    expect(answers('1')).toHaveLength(1)
  })

  it('B21 ★ deleteConnectionAsync may wait for delivery: OK when it is stored, DEL_CONN when all is delivered', async () => {
    const { connectionId } = await world.befriend(alice)
    world.router.react = ({ command }) => (command.type === 'SEND' ? 'lose' : undefined)
    await alice.agent.sendMessageAsync({ connectionId, body: 'last words', correlationId: 'send' })
    await alice.agent.deleteConnectionAsync({ connectionId, waitDelivery: true, correlationId: 'delete' })
    expect(await resultOf('delete')).toEqual({})
    await alice.next('DEL_RCVQ')
    await world.clock.advance(60_000)
    expect(alice.events.some(({ type }) => type === 'DEL_CONN')).toBe(false)
    await restart()
    world.router.react = () => undefined
    await alice.next('SENT')
    await alice.next('DEL_CONN')
    expect(await alice.store.find(deliveries, {})).toEqual([])
    expect(answers('delete')).toHaveLength(1)
  })
})

describe('asynchronous calls and suspension', () => {
  it.each([0, 10_000])(
    'B04 B06 suspended (%d ms) while calls run and wait: they are answered after it, as if nothing had been',
    async maxDelayMs => {
      const { connectionId } = await world.befriend(alice)
      world.router.react = ({ command }) => (command.type === 'NEW' || command.type === 'OFF' ? 'hold' : undefined)
      await alice.agent.createConnectionAsync({ correlationId: '1' })
      await alice.agent.suspendConnectionAsync({ connectionId, correlationId: '2' })
      await alice.agent.sendMessageAsync({ connectionId, body: 'x', correlationId: '3' })
      await world.clock.settle()
      await alice.agent.suspendAgent({ maxDelayMs })
      const held = world.router.seen.filter(({ command }) => command.type === 'NEW' || command.type === 'OFF').slice(-2)
      world.router.react = () => undefined
      for (const seen of held) world.router.release(seen)
      await world.clock.advance(60_000)
      expect(answers('3')).toEqual([])
      await alice.agent.foregroundAgent({})
      for (const id of ['1', '2', '3']) await resultOf(id)
      await world.clock.advance(60_000)
      for (const id of ['1', '2', '3']) expect(answers(id)).toHaveLength(1)
      expect(await alice.store.count(connections)).toBe(2)
    },
  )
})

describe('answers and a full event log', () => {
  it('B54 ★ a full log and a reader that needs the connection for every answer: calls, answers and deliveries all go on', async () => {
    alice = await world.start('alice', { store: { open: alice.crash() }, config: { maxUnreadEvents: 1 } })
    const { connectionId } = await world.befriend(alice)
    const count = 30
    for (let index = 0; index < count; index++) {
      await alice.agent.sendMessageAsync({ connectionId, body: `call ${index}`, correlationId: `${index}` })
    }
    await world.clock.advance(1_000)
    const seen: string[] = []
    const reading = (async () => {
      for await (const event of alice.agent.events()) {
        if (event.type === 'OK') {
          await alice.agent.sendMessage({ connectionId, body: 'answered' })
          await alice.agent.suspendConnection({ connectionId })
          seen.push(event.correlationId ?? '')
        }
        await alice.agent.ackEvents({ cursor: event.cursor })
        if (seen.length === count) return
      }
    })()
    await world.until(() => seen.length === count, 'every answer')
    await reading
    await world.until(() => world.router.all('SEND').length >= 2 * count + 1, 'every message')
    expect(seen).toEqual(Array.from({ length: count }, (_, index) => `${index}`))
  })

  it('B55 ★ answers keep the order of what they tell of, while the reader pauses and the log is full', async () => {
    alice = await world.start('alice', { store: { open: alice.crash() }, config: { maxUnreadEvents: 3 } })
    const friends = [await world.befriend(alice), await world.befriend(alice)]
    for (let index = 0; index < 15; index++) {
      for (const [which, { connectionId, peer }] of friends.entries()) {
        await alice.agent.sendMessageAsync({ connectionId, body: 'x', correlationId: `${which} ${index}` })
        await peer.say(`in ${index}`)
      }
    }
    await world.clock.advance(60_000)
    const seen: AgentEvent[] = []
    for (let after = 0; seen.filter(({ type }) => type === 'MSG').length < 30; ) {
      const { events: page } = await alice.agent.readEvents({ after, limit: 2 })
      for (const event of page as AgentEvent[]) {
        seen.push(event)
        after = event.cursor
        await alice.agent.ackEvents({ cursor: event.cursor })
      }
      await world.clock.advance(5_000)
    }
    const cursors = seen.map(({ cursor }) => cursor)
    expect(cursors).toEqual(cursors.toSorted((a, b) => a - b))
    for (const [which, { connectionId }] of friends.entries()) {
      const own = seen.filter(event => event.connectionId === connectionId)
      const ok = own.flatMap(event => (event.type === 'OK' ? [event.correlationId] : []))
      expect(ok).toEqual(Array.from({ length: 15 }, (_, index) => `${which} ${index}`))
      const ids = own.flatMap(event => (event.type === 'OK' ? [Number(event.result['messageId'])] : []))
      expect(ids).toEqual(ids.toSorted((a, b) => a - b))
      for (const [index, id] of ids.entries()) {
        const sent = own.findIndex(event => event.type === 'SENT' && event.messageId === id)
        expect([index, sent]).not.toEqual([index, -1])
      }
    }
  })
})

it('B21 the rows of stored calls show neither link nor body in what is JSON', async () => {
  const bob = await world.start('bob')
  const { link } = await bob.agent.createConnection({})
  const seen: string[] = []
  beforeCommits(alice.store, changes => {
    for (const change of changes) {
      if (change.op === 'insert' && touches([change], commands)) seen.push(JSON.stringify(change.row['argument']))
    }
  })
  await alice.agent.joinConnectionAsync({ link, info: 'a secret', correlationId: '1' })
  await resultOf('1')
  expect(seen.length).toBeGreaterThan(1)
  for (const argument of seen) expect(argument).not.toMatch(/simplex|secret/)
})
