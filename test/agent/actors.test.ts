/** Who is in which state, and the trace that tells of every transition. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TraceRecord } from '../../src/runtime/ports.js'
import { type AgentWorld, agentWorld, type TestAgent } from '../support/agentWorld.js'

let world: AgentWorld
beforeEach(() => {
  world = agentWorld()
})
afterEach(() => world.close())

const countsOf = async ({ agent }: TestAgent): Promise<Record<string, number>> =>
  Object.fromEntries(
    (await agent.countActors({})).counts.map(({ machine, state, count }) => [`${machine} ${state}`, count]),
  )

describe('actors', () => {
  it('are counted by machine and state: connections and queues by their rows, workers and sessions as they run', async () => {
    const router = await world.startRouter()
    const alice = await world.startAgent('alice', [router])
    const bob = await world.startAgent('bob', [router])
    expect(await countsOf(alice)).toEqual({ 'agentOperations foreground': 1, 'cleanup waiting': 1 })
    await world.connect(alice, bob)
    await alice.agent.createConnection({})
    expect(await countsOf(alice)).toMatchObject({
      'agentOperations foreground': 1,
      'connection connected': 1,
      'connection rcv': 1,
      'rcvQueue new': 1,
      'sndQueue active': 1,
      'rcvQueueSwitch idle': 2,
      'sndQueueSwitch idle': 1,
      'ratchetSync ok': 2,
      'routerSession open.watched': 1,
      'subscription active': 2,
    })
  })

  it('are listed by machine, page by page, and of one connection', async () => {
    const router = await world.startRouter()
    const alice = await world.startAgent('alice', [router])
    const ids: string[] = []
    for (let n = 0; n < 3; n++) ids.push((await alice.agent.createConnection({})).connectionId)
    ids.sort()
    const [first = '', second = ''] = ids
    const listed = async (params: Parameters<TestAgent['agent']['listActors']>[0]) =>
      (await alice.agent.listActors(params)).actors
    expect((await listed({ machine: 'connection' })).map(({ id }) => id)).toEqual(ids)
    expect((await listed({ machine: 'connection', after: first, limit: 1 })).map(({ id }) => id)).toEqual([second])
    expect(await listed({ machine: 'connection', connectionId: second })).toEqual([
      { id: second, connectionId: second, state: 'rcv' },
    ])
    expect(await listed({ machine: 'connection', connectionId: second, after: second })).toEqual([])
    expect(await listed({ machine: 'rcvQueue', connectionId: second })).toMatchObject([
      { connectionId: second, state: 'new' },
    ])
    expect(await listed({ machine: 'subscription', connectionId: second })).toMatchObject([
      { connectionId: second, state: 'active' },
    ])
    expect(await listed({ machine: 'connection', state: 'rcv', after: second })).toHaveLength(1)
    expect(await listed({ machine: 'connection', state: 'connected' })).toEqual([])
    expect(await listed({ machine: 'subscription', state: 'active' })).toHaveLength(3)
    expect(await listed({ machine: 'subscription', state: 'pending' })).toEqual([])
    expect(await listed({ machine: 'routerSession' })).toMatchObject([{ state: 'open.watched' }])
    expect(await listed({ machine: 'sndQueue' })).toEqual([])
    expect(await listed({ machine: 'nobody' })).toEqual([])
  })

  it('of a rotation and of a synchronisation are found by the rows that say so', async () => {
    const [first, second] = [await world.startRouter(), await world.startRouter()]
    const alice = await world.startAgent('alice', [first])
    const bob = await world.startAgent('bob', [first])
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    await alice.agent.createConnection({})
    await alice.agent.switchConnection({ connectionId, router: second.address })
    await alice.agent.synchronizeRatchet({ connectionId, force: true })
    expect(await countsOf(alice)).toMatchObject({
      'rcvQueueSwitch idle': 2,
      'rcvQueueSwitch started': 1,
      'ratchetSync ok': 1,
      'ratchetSync started': 1,
    })
    const one = async (params: Parameters<TestAgent['agent']['listActors']>[0]) => {
      const { actors } = await alice.agent.listActors(params)
      expect(actors).toHaveLength(1)
      return actors[0]
    }
    const state = 'started'
    expect(await one({ machine: 'rcvQueueSwitch', state })).toMatchObject({ connectionId, state })
    expect((await alice.agent.listActors({ machine: 'rcvQueueSwitch', state: 'idle' })).actors).toHaveLength(2)
    expect(await one({ machine: 'sndQueueSwitch', connectionId })).toMatchObject({ connectionId, state: 'idle' })
    expect(await one({ machine: 'ratchetSync', state: 'started' })).toEqual({
      id: connectionId,
      connectionId,
      state: 'started',
    })
  })
})

describe('the trace', () => {
  it('tells of every machine that runs, with its states before and after and the connection that it belongs to', async () => {
    const records: TraceRecord[] = []
    const router = await world.startRouter()
    const alice = await world.startAgent('alice', [router], { trace: record => records.push(record) })
    const bob = await world.startAgent('bob', [router])
    const { initiatorId } = await world.connect(alice, bob)
    await alice.agent.sendMessage({ connectionId: initiatorId, body: 'hi' })
    await alice.next('SENT')
    const machines = new Set(records.map(({ machine }) => machine))
    expect([...machines]).toEqual(
      expect.arrayContaining([
        'connection',
        'rcvQueue',
        'sndQueue',
        'subscription',
        'routerSession',
        'sndQueueDelivery',
        'commandWorker',
      ]),
    )
    const session = records.filter(({ machine }) => machine === 'routerSession')
    expect(session.map(({ from, to }) => `${from}→${to}`).slice(0, 3)).toEqual([
      '→closed',
      'closed→connecting',
      'connecting→open.watched',
    ])
    const suspending = records.length
    await alice.agent.suspendAgent({ maxDelayMs: 0 })
    expect(records.slice(suspending).filter(({ id }) => id === 'agent')).toMatchObject([
      { machine: 'agentOperations', event: 'agent.suspend', from: 'foreground', to: 'suspended' },
      { machine: 'cleanup', event: 'cleanup.suspended', from: 'waiting', to: 'suspended' },
    ])
    const command = records.find(({ machine }) => machine === 'commandWorker')
    expect(command).toMatchObject({ event: 'xstate.init', from: '', to: 'running', aggregates: [initiatorId] })
    const delivered = records.find(({ unit, durations }) => unit === 'sendMessage' && durations !== undefined)
    expect(delivered).toMatchObject({ aggregates: [initiatorId], wakes: ['delivery'] })
    // Every state that an actor leaves is the one that it was in.
    const states = new Map<string, string>()
    for (const { machine, id, from, to } of records) {
      if (machine === undefined || from === undefined) continue
      const key = `${machine} ${id}`
      // A worker that starts anew has no state before.
      if (from !== '') expect(from).toBe(states.get(key) ?? from)
      states.set(key, to ?? '')
    }
  })
})
