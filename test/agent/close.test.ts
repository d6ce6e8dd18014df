/** close() in the middle of everything: nothing of the agent is left, and whoever waits for it is told. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CallName, calls } from '../../src/agent/api/calls.js'
import type { Clock } from '../../src/runtime/clock.js'
import { rcvQueues } from '../../src/store/agent/connections.js'
import { rcvMessages } from '../../src/store/agent/messages.js'
import { DuologueError } from '../../src/errors.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { errorAnswer } from '../support/scriptedRouter.js'
import { type Invited, type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'
import { beforeCommits, brokenDisk, commitGate, touches } from '../support/storeFaults.js'

let world: ScriptedWorld
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

/** The world's clock, with a count of the timers that this agent has set. */
const countedClock = (): Clock & { readonly pending: number } => {
  const handles = new Set<object | number>()
  return {
    now: () => world.clock.now(),
    elapsed: () => world.clock.elapsed(),
    setTimeout: (run, ms) => {
      const handle = world.clock.setTimeout(() => {
        handles.delete(handle)
        run()
      }, ms)
      handles.add(handle)
      return handle
    },
    clearTimeout: handle => {
      handles.delete(handle)
      world.clock.clearTimeout(handle)
    },
    get pending() {
      return handles.size
    },
  }
}

interface Scene {
  readonly agent: TestAgent
  readonly clock: ReturnType<typeof countedClock>
  /** Calls that nobody has answered when the agent is closed. */
  readonly calls: Array<Promise<unknown>>
  readonly friend: Invited
}

const start = async (): Promise<Scene> => {
  const clock = countedClock()
  const agent = await world.start('alice', { clock })
  const friend = await world.befriend(agent)
  return { agent, clock, calls: [], friend }
}

const unreachable = (how: 'refuses' | 'silent'): void => {
  world.network.setReachable(world.router.place, how)
  world.cut('alice')
}
const holdAll = (type: string): void => {
  world.router.react = ({ command }) => (command.type === type ? 'hold' : undefined)
}

const scenes: Record<string, (scene: Scene) => Promise<void> | void> = {
  'at rest': () => {},
  'in createConnection, NEW unanswered': ({ agent, calls }) => {
    holdAll('NEW')
    calls.push(agent.agent.createConnection({ idempotencyKey: 'k' }))
  },
  'in createConnection, the router refuses connections': ({ agent, calls }) => {
    unreachable('refuses')
    calls.push(agent.agent.createConnection({}))
  },
  'in createConnection, the router’s host is silent': ({ agent, calls }) => {
    unreachable('silent')
    calls.push(agent.agent.createConnection({}))
  },
  'joining, SKEY unanswered': async ({ agent }) => {
    const other = await world.start('other')
    const { link } = await other.agent.createConnection({})
    holdAll('SKEY')
    await agent.agent.joinConnection({ link })
  },
  'joining, waiting for the next attempt': async ({ agent }) => {
    const other = await world.start('other')
    const { link } = await other.agent.createConnection({})
    unreachable('refuses')
    await agent.agent.joinConnection({ link })
    await world.clock.advance(7_000)
  },
  'joining, NEW of the reply queue unanswered': async ({ agent }) => {
    const other = await world.start('other')
    const { link } = await other.agent.createConnection({})
    holdAll('NEW')
    await agent.agent.joinConnection({ link })
  },
  'subscribing, SUB unanswered': async ({ agent, calls }) => {
    world.cut('alice')
    holdAll('SUB')
    await world.until(() => world.router.all('SUB').length > 0, 'SUB')
    calls.push(agent.agent.subscribe({}))
  },
  'subscribing, waiting for the next session': async ({ agent, calls }) => {
    unreachable('refuses')
    await world.clock.advance(20_000)
    calls.push(agent.agent.subscribe({}))
  },
  'subscribing, the router’s host is silent': async ({ agent, calls }) => {
    unreachable('silent')
    await world.clock.advance(3_000)
    calls.push(agent.agent.subscribe({}))
  },
  'SUB timed out, to be sent again': async () => {
    world.cut('alice')
    holdAll('SUB')
    await world.until(() => world.router.all('SUB').length > 0, 'SUB')
    await world.clock.advance(31_000)
  },
  'SEND unanswered': async ({ agent, friend: { connectionId } }) => {
    holdAll('SEND')
    for (const body of ['one', 'two']) await agent.agent.sendMessage({ connectionId, body })
  },
  'a message waits for a router that is away': async ({ agent, friend: { connectionId } }) => {
    unreachable('refuses')
    await agent.agent.sendMessage({ connectionId, body: 'one' })
    await world.clock.advance(30_000)
  },
  'a message waits for a full queue': async ({ agent, friend: { connectionId } }) => {
    world.router.react = ({ command }) => (command.type === 'SEND' ? errorAnswer('QUOTA') : undefined)
    await agent.agent.sendMessage({ connectionId, body: 'one' })
    await agent.next('MWARN', connectionId)
  },
  'a delivery is being completed': async ({ agent, friend: { connectionId } }) => {
    const gate = commitGate(agent.store)
    await agent.agent.sendMessage({ connectionId, body: 'one' })
    gate.close()
    await world.clock.settle()
    queueMicrotask(() => gate.open())
  },
  'calls wait for a commit': async ({ agent, calls, friend: { connectionId } }) => {
    const gate = commitGate(agent.store)
    gate.close()
    for (const body of ['one', 'two']) calls.push(agent.agent.sendMessage({ connectionId, body }))
    calls.push(agent.agent.deleteConnection({ connectionId }))
    await world.clock.settle()
    queueMicrotask(() => gate.open())
  },
  'a message waits for the application': async ({ agent, friend }) => {
    await friend.peer.say('one')
    await agent.next('MSG')
  },
  'a message waits for the disk': async ({ agent, friend }) => {
    beforeCommits(agent.store, changes => {
      if (touches(changes, rcvMessages, 'insert')) throw brokenDisk()
    })
    await friend.peer.say('one')
    await world.clock.settle()
  },
  'a completion waits for the disk': async ({ agent, friend: { connectionId } }) => {
    let broken = false
    beforeCommits(agent.store, () => {
      if (broken) throw brokenDisk()
    })
    world.router.react = ({ command }) => {
      if (command.type === 'SEND') broken = true
      return undefined
    }
    await agent.agent.sendMessage({ connectionId, body: 'one' })
    await world.clock.settle()
  },
  'ACK unanswered': async ({ agent, friend }) => {
    holdAll('ACK')
    await friend.peer.say('one')
    const { messageId } = await agent.next('MSG')
    await agent.agent.ackMessage({ connectionId: friend.connectionId, messageId })
  },
  'ACK to be repeated': async ({ agent, friend }) => {
    holdAll('ACK')
    await friend.peer.say('one')
    const { messageId } = await agent.next('MSG')
    await agent.agent.ackMessage({ connectionId: friend.connectionId, messageId })
    await world.clock.advance(30_500)
  },
  'in suspendConnection, OFF unanswered': ({ agent, calls, friend: { connectionId } }) => {
    holdAll('OFF')
    calls.push(agent.agent.suspendConnection({ connectionId }))
  },
  'asynchronous calls, unanswered and waiting for their next attempt': async ({ agent, friend: { connectionId } }) => {
    holdAll('OFF')
    await agent.agent.suspendConnectionAsync({ connectionId, correlationId: '1' })
    await agent.agent.sendMessageAsync({ connectionId, body: 'x', correlationId: '2' })
    await world.clock.advance(31_000)
    await agent.agent.createConnectionAsync({ correlationId: '3' })
  },
  'an asynchronous call is being stored': ({ agent, calls }) => {
    calls.push(agent.agent.createConnectionAsync({ correlationId: '1' }))
  },
  'a deletion waits for its messages': async ({ agent, friend: { connectionId } }) => {
    holdAll('SEND')
    await agent.agent.sendMessage({ connectionId, body: 'one' })
    await agent.agent.deleteConnection({ connectionId, waitDelivery: true })
    await agent.next('DEL_RCVQ', connectionId)
  },
  'a router is being given up': ({ agent, calls, friend: { connectionId } }) => {
    holdAll('SEND')
    calls.push(agent.agent.sendMessage({ connectionId, body: 'one' }))
    calls.push(agent.agent.abandonRouter({ address: world.router.address }))
  },
  'a queue is being deleted': async ({ agent, friend: { connectionId } }) => {
    holdAll('DEL')
    await agent.agent.deleteConnection({ connectionId })
  },
  'a reader waits': async ({ agent, calls }) => {
    calls.push(agent.agent.readEvents({ after: 1_000, waitMs: 60_000 }))
    await world.clock.settle()
  },
  'the session breaks in the same moment': ({ agent, calls, friend: { connectionId } }) => {
    calls.push(agent.agent.sendMessage({ connectionId, body: 'one' }))
    calls.push(agent.agent.createConnection({}))
    world.cut('alice')
  },
}

describe('close', () => {
  it.each(Object.entries(scenes))('%s: no timer, no connection, no unanswered call is left', async (_, prepare) => {
    const scene = await start()
    await prepare(scene)
    const answers = scene.calls.map(call => call.then(String, (error: unknown) => error))
    await scene.agent.agent.close()
    expect(scene.clock.pending).toBe(0)
    const outcomes = await Promise.race([
      Promise.all(answers),
      world.clock.advance(1).then(() => 'a call was never answered'),
    ])
    expect(outcomes).toBeInstanceOf(Array)
    for (const outcome of outcomes as unknown[]) {
      if (outcome instanceof Error) expect(outcome).toBeInstanceOf(DuologueError)
    }
    const commands = world.router.seen.length
    world.network.setReachable(world.router.place, 'answers')
    world.router.react = () => undefined
    await world.clock.advance(3_600_000)
    expect(scene.clock.pending).toBe(0)
    expect(world.network.links({ from: 'alice' })).toEqual([])
    const later = world.router.seen.slice(commands).filter(({ session }) => session.channel.remoteAddress === 'alice')
    expect(later).toEqual([])
  })

  it('a call after close is refused, close may be repeated', async () => {
    const { agent, friend } = await start()
    await Promise.all([agent.agent.close(), agent.agent.close()])
    await agent.agent.close()
    const { connectionId } = friend
    const made = Object.keys(calls).map(name => {
      const call = agent.agent[name as CallName] as (params: object) => Promise<unknown>
      return call({ connectionId })
    })
    for (const call of made)
      await expect(call).rejects.toMatchObject({ code: 'AGENT_CLOSED', hint: expect.any(String) })
    for await (const event of agent.agent.events({ consumer: 'new' })) throw new Error(`told ${event.type}`)
    await world.clock.advance(60_000)
    expect(world.network.links({ from: 'alice' })).toEqual([])
  })

  it('calls that are made while it is closing are answered and leave nothing', async () => {
    const { agent, friend, clock } = await start()
    const other = await world.start('other')
    const { link } = await other.agent.createConnection({})
    const { connectionId } = friend
    world.cut('alice')
    const closing = agent.agent.close()
    const calls = [
      agent.agent.subscribe({}),
      agent.agent.createConnection({}),
      agent.agent.joinConnection({ link }),
      agent.agent.sendMessage({ connectionId, body: 'x' }),
      agent.agent.deleteConnection({ connectionId }),
    ].map(call =>
      call.then(
        () => 'done',
        (error: unknown) => error,
      ),
    )
    await closing
    const outcomes = await Promise.race([Promise.all(calls), world.clock.advance(1).then(() => 'never answered')])
    expect(outcomes).toBeInstanceOf(Array)
    await world.clock.advance(3_600_000)
    expect(clock.pending).toBe(0)
    expect(world.network.links({ from: 'alice' })).toEqual([])
  })

  it('subscribe() whose rows come when the sessions are ended already makes no new one', async () => {
    const { agent, friend, clock } = await start()
    const gate = commitGate(agent.store)
    const find = agent.store.find.bind(agent.store)
    let letRead: () => void = () => {}
    const mayRead = new Promise<void>(resolve => {
      letRead = resolve
    })
    agent.store.find = async (table, query) => {
      if ((table as { name: string }).name === rcvQueues.name) await mayRead
      return find(table, query)
    }
    // A commit under way keeps the store open while the agent closes.
    gate.close()
    const sending = agent.agent.sendMessage({ connectionId: friend.connectionId, body: 'last' })
    const subscribing = agent.agent.subscribe({})
    await world.clock.settle()
    const closing = agent.agent.close()
    await world.clock.settle()
    letRead()
    const { results } = await subscribing
    gate.open()
    await Promise.all([sending, closing])
    expect(results).toMatchObject([{ ok: false, error: { code: 'AGENT_CLOSED' } }])
    await world.clock.advance(3_600_000)
    expect(clock.pending).toBe(0)
    expect(world.network.links({ from: 'alice' })).toEqual([])
  })

  it('what was under way goes on in the next agent on the same rows', async () => {
    const { agent, friend } = await start()
    holdAll('SEND')
    for (const body of ['one', 'two', 'three'])
      await agent.agent.sendMessage({ connectionId: friend.connectionId, body })
    await agent.agent.close()
    world.router.react = () => undefined
    const again = await world.start('alice', { store: { open: agent.store.reopen() } })
    await world.until(() => again.events.filter(({ type }) => type === 'SENT').length === 3, 'every SENT')
    await again.agent.subscribe({})
    await friend.peer.say('in')
    expect(textOf((await again.next('MSG')).body)).toBe('in')
  })
})
