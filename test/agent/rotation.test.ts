import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Router } from '../../src/router/router.js'
import { rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'

let world: AgentWorld
let first: Router
let second: Router
let alice: TestAgent
let bob: TestAgent
/** Alice receives from `ids.initiatorId`'s queue, and switches it. */
let ids: { initiatorId: string; joinerId: string }

beforeEach(async () => {
  world = agentWorld()
  first = await world.startRouter()
  second = await world.startRouter()
  alice = await world.startAgent('alice', [first])
  bob = await world.startAgent('bob', [first])
  ids = await world.connect(alice, bob)
})
afterEach(() => {
  world.network.setLatency(0)
  return world.close()
})

const place = ({ address }: Router): string => address.slice(address.indexOf('@') + 1)
const switches = ({ events }: TestAgent, direction: 'rcv' | 'snd') =>
  events.flatMap(event => (event.type === 'SWITCH' && event.direction === direction ? [event.phase] : []))
const whole = ['started', 'confirmed', 'secured', 'completed']
const rcvRows = (side: TestAgent) => side.store.find(rcvQueues, {})
const sndRows = (side: TestAgent) => side.store.find(sndQueues, {})
const connectionOf = (side: TestAgent): string => (side === alice ? ids.initiatorId : ids.joinerId)

/** Reads and acknowledges everything that comes to one side, in the order in which it came. */
const reading = (side: TestAgent): string[] => {
  const got: string[] = []
  void (async () => {
    for await (const event of side.agent.events()) {
      if (event.type !== 'MSG') continue
      got.push(textOf(event.body))
      await side.agent.ackMessage({ connectionId: event.connectionId, messageId: event.messageId }).catch(() => {})
    }
  })()
  return got
}

const startSwitch = (side: TestAgent = alice, to: Router = second) =>
  side.agent.switchConnection({ connectionId: connectionOf(side), router: to.address })

const say = (side: TestAgent, body: string) => side.agent.sendMessage({ connectionId: connectionOf(side), body })

/** Everything of a switch but the deletion of the old queue: its router cannot be reached from QUSE on. */
const switchWithOldRouterAway = async (): Promise<void> => {
  await startSwitch()
  await world.until(() => switches(alice, 'rcv').includes('secured'), 'QUSE')
  world.network.setReachable(place(first), 'refuses')
  for (const link of world.network.links({ from: 'alice' })) if (link.place === place(first)) link.cut()
  await world.until(() => switches(bob, 'snd').includes('completed'), 'QTEST')
}

const completed = async (): Promise<void> => {
  await world.until(
    () => switches(alice, 'rcv').at(-1) === 'completed' && switches(bob, 'snd').at(-1) === 'completed',
    `the switch (rcv ${switches(alice, 'rcv').join()}, snd ${switches(bob, 'snd').join()})`,
  )
}

describe('queue rotation', () => {
  it('B70 QADD, QKEY, KEY, QUSE, QTEST: both sides tell of started, confirmed, secured and completed, and the old queue is gone', async () => {
    const got = reading(alice)
    expect(await startSwitch()).toEqual({ router: second.address })
    await completed()
    expect(switches(alice, 'rcv')).toEqual(whole)
    expect(switches(bob, 'snd')).toEqual(whole)
    expect(await rcvRows(alice)).toMatchObject([
      { router: second.address, primary: true, replaces: null, switchStatus: null, status: 'active' },
    ])
    expect(await sndRows(bob)).toMatchObject([
      { router: second.address, primary: true, replaces: null, switchStatus: null, status: 'active' },
    ])
    await say(bob, 'on the new queue')
    await world.until(() => got.length === 1, 'the message')
    expect(got).toEqual(['on the new queue'])
    const { rcvQueues: queues } = await alice.agent.inspectConnection({ connectionId: ids.initiatorId })
    expect(queues).toMatchObject([{ router: second.address, subscription: 'active' }])
  })

  it('B70 a router of the user that the connection does not use is taken when none is named', async () => {
    await alice.agent.setRouters({ routers: [{ address: first.address }, { address: second.address }] })
    expect(await alice.agent.switchConnection({ connectionId: ids.initiatorId })).toEqual({ router: second.address })
    await completed()
  })

  it('B33 a message that comes before QTEST makes the new queue the primary one, and the old one is deleted', async () => {
    const got = reading(alice)
    await startSwitch()
    await world.until(() => switches(bob, 'snd').includes('confirmed'), 'QKEY')
    for (let n = 0; n < 5; n++) await say(bob, String(n))
    await completed()
    await world.until(() => got.length === 5, 'the messages')
    expect(got).toEqual(['0', '1', '2', '3', '4'])
  })

  it('B73 QTEST goes to the new queue only', async () => {
    const before = (await alice.agent.getStatistics({})).statistics
    await startSwitch()
    await completed()
    const at = async (router: Router): Promise<number> =>
      (await bob.agent.getStatistics({})).statistics.find(row => row.router === router.address)?.counts['SEND'] ?? 0
    expect(before).toBeDefined()
    // QTEST and nothing else.
    expect(await at(second)).toBe(1)
  })

  it('B72 B75 an abort while sending QADD drops the new queue; a late QKEY after it is a queue error; the old queue goes on', async () => {
    const got = reading(alice)
    world.network.setLatency(200)
    await startSwitch()
    await world.until(() => switches(alice, 'rcv').includes('started'), 'QADD')
    await alice.agent.abortSwitch({ connectionId: ids.initiatorId })
    await world.until(() => alice.events.some(event => event.type === 'ERR'), 'the late QKEY')
    world.network.setLatency(0)
    expect(alice.events.filter(event => event.type === 'ERR')).toMatchObject([{ error: { code: 'AGENT_QUEUE' } }])
    await say(bob, 'as before')
    await world.until(() => got.includes('as before'), 'the message')
    expect(await rcvRows(alice)).toMatchObject([{ router: first.address, switchStatus: null, primary: true }])
    await startSwitch()
    await completed()
  })

  it('B75 an abort is refused when the other party may have given up the old queue, and when there is no switch', async () => {
    const refused = { code: 'CMD_PROHIBITED' }
    await expect(alice.agent.abortSwitch({ connectionId: ids.initiatorId })).rejects.toMatchObject(refused)
    await startSwitch()
    await expect(startSwitch()).rejects.toMatchObject(refused)
    await world.until(() => switches(alice, 'rcv').includes('secured'), 'QUSE')
    await expect(alice.agent.abortSwitch({ connectionId: ids.initiatorId })).rejects.toMatchObject(refused)
    await completed()
    await expect(alice.agent.abortSwitch({ connectionId: ids.initiatorId })).rejects.toMatchObject(refused)
  })

  it('B71 two switches one after the other leave one queue: only the latest replacement survives', async () => {
    const third = await world.startRouter()
    const got = reading(alice)
    await startSwitch(alice, second)
    await world.until(() => switches(alice, 'rcv').includes('started'), 'QADD')
    await alice.agent.abortSwitch({ connectionId: ids.initiatorId }).catch(() => {})
    await startSwitch(alice, third).catch(() => {})
    await completed()
    await say(bob, 'to the latest')
    await world.until(() => got.length === 1, 'the message')
    expect(await rcvRows(alice)).toHaveLength(1)
    expect(await sndRows(bob)).toHaveLength(1)
    expect((await rcvRows(alice))[0]?.router).toBe((await sndRows(bob))[0]?.router)
  })

  it('B74 the switch completes when the router has no such queue any more, and waits while it cannot be reached', async () => {
    await switchWithOldRouterAway()
    await world.clock.advance(600_000)
    expect(switches(alice, 'rcv')).not.toContain('completed')
    world.network.setReachable(place(first), 'answers')
    await completed()
  })

  it('B70 B77 none is started while the old queue of the last one waits for its deletion, which would be forgotten', async () => {
    const third = await world.startRouter()
    await switchWithOldRouterAway()
    await world.clock.advance(60_000)
    await expect(startSwitch(alice, third)).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    world.network.setReachable(place(first), 'answers')
    await completed()
    await startSwitch(alice, third)
    await world.until(
      () => switches(alice, 'rcv').filter(phase => phase === 'completed').length === 2,
      'the second one',
    )
    expect(await rcvRows(alice)).toMatchObject([{ router: third.address, primary: true, switchStatus: null }])
  })

  it('B74 an old queue that waits for its deletion is not subscribed anew after a restart: nothing fails when its router is back', async () => {
    await switchWithOldRouterAway()
    await world.clock.advance(60_000)
    const subscriptions = async () => {
      const { rcvQueues: queues } = await alice.agent.inspectConnection({ connectionId: ids.initiatorId })
      return Object.fromEntries(queues.map(({ router, subscription }) => [router, subscription]))
    }
    expect(await subscriptions()).toEqual({ [first.address]: 'pending', [second.address]: 'active' })
    const onlyNew = { [first.address]: 'removed', [second.address]: 'active' }
    alice = await world.startAgent('alice', [first], { store: { open: alice.crash() } })
    const { results } = await alice.agent.subscribe({})
    expect(results).toEqual([{ connectionId: ids.initiatorId, ok: true }])
    await alice.agent.subscribe({ connectionIds: [ids.initiatorId] })
    expect(await subscriptions()).toEqual(onlyNew)
    world.network.setReachable(place(first), 'answers')
    await completed()
    // That the deletion is tried again is told.
    expect(alice.events.filter(event => event.type === 'ERR' && event.temporary !== true)).toEqual([])
  })

  it('B77 both parties switch at once', async () => {
    const third = await world.startRouter()
    const atAlice = reading(alice)
    const atBob = reading(bob)
    await Promise.all([startSwitch(alice, second), startSwitch(bob, third)])
    for (let n = 0; n < 10; n++) await Promise.all([say(alice, `a${n}`), say(bob, `b${n}`)])
    await world.until(
      () =>
        [alice, bob].every(
          side => switches(side, 'rcv').includes('completed') && switches(side, 'snd').includes('completed'),
        ),
      'both switches',
    )
    await world.until(() => atAlice.length === 10 && atBob.length === 10, 'all messages')
    expect(atAlice).toEqual(Array.from({ length: 10 }, (_, n) => `b${n}`))
    expect(atBob).toEqual(Array.from({ length: 10 }, (_, n) => `a${n}`))
  })

  it('B77 a connection that is deleted in the middle of a switch goes with both of its queues', async () => {
    for (const phase of ['started', 'confirmed', 'secured']) {
      const pair = await world.connect(alice, bob)
      await alice.agent.switchConnection({ connectionId: pair.initiatorId, router: second.address })
      const seen = () =>
        alice.events.some(
          event => event.type === 'SWITCH' && event.connectionId === pair.initiatorId && event.phase === phase,
        )
      await world.until(seen, phase)
      await alice.agent.deleteConnection({ connectionId: pair.initiatorId })
      await alice.next('DEL_CONN', pair.initiatorId)
      expect(await alice.store.find(rcvQueues, { where: { connectionId: pair.initiatorId } })).toEqual([])
    }
  })

  it('B78 what waits for the old queue goes to the new one too, ahead of QTEST and in its order: nothing is lost, twice or out of order', async () => {
    // A reader that is stalled: the queue at the first router fills up, and Bob’s messages wait.
    await world.close()
    world = agentWorld()
    first = await world.startRouter({ messageQuota: 4 })
    second = await world.startRouter({ messageQuota: 64 })
    alice = await world.startAgent('alice', [first])
    bob = await world.startAgent('bob', [first])
    ids = await world.connect(alice, bob)
    world.network.setLatency(200)
    await startSwitch()
    await world.until(() => switches(bob, 'snd').includes('confirmed'), 'QKEY')
    const sent = Array.from({ length: 20 }, (_, n) => `m${n}`)
    for (const body of sent) await say(bob, body)
    expect(switches(bob, 'snd')).not.toContain('secured')
    await world.clock.advance(3_600_000)
    expect(switches(bob, 'snd').at(-1)).toBe('completed')
    // One message of each queue is with the application, in their order; the others wait at the second router.
    const waiting = alice.events.flatMap(event => (event.type === 'MSG' ? [textOf(event.body)] : []))
    expect(waiting).toEqual(sent.slice(0, waiting.length))
    expect(waiting.length).toBeLessThanOrEqual(2)
    world.network.setLatency(0)
    const got = reading(alice)
    await completed()
    await world.until(() => got.length >= sent.length, `all messages (${got.join()})`)
    await world.clock.advance(600_000)
    expect(got).toEqual(sent)
    const told = bob.events.filter(event => event.type === 'SENT')
    expect(new Set(told.map(event => (event as { messageId: number }).messageId)).size).toBe(told.length)
    expect(told).toHaveLength(sent.length)
    expect(bob.events.map(event => event.type)).not.toContain('MERR')
    expect(await bob.store.find(deliveries, {})).toEqual([])
  })

  it('B77 a dead new router is given up: the old queue stays in use', async () => {
    const got = reading(alice)
    world.network.setReachable(place(second), 'refuses')
    await startSwitch()
    await world.clock.advance(60_000)
    expect(switches(alice, 'rcv')).toEqual([])
    await alice.agent.abandonRouter({ address: second.address })
    await world.until(() => switches(alice, 'rcv').includes('failed'), 'the end of the switch')
    const failed = alice.events.find(event => event.type === 'SWITCH' && event.phase === 'failed')
    expect(failed).toMatchObject({ direction: 'rcv', router: second.address, error: { code: expect.any(String) } })
    await say(bob, 'still here')
    await world.until(() => got.length === 1, 'the message')
    expect(await rcvRows(alice)).toMatchObject([{ router: first.address, switchStatus: null, primary: true }])
  })

  it('B77 a dead old router is given up: the switch completes', async () => {
    await switchWithOldRouterAway()
    await world.clock.advance(60_000)
    await alice.agent.abandonRouter({ address: first.address })
    await completed()
    expect(await rcvRows(alice)).toMatchObject([{ router: second.address, primary: true }])
  })

  it('B70 a kill of either side at any commit of a switch: it goes on with the same keys and completes, and messages come once and in order', {
    timeout: 180_000,
  }, async () => {
    for (let at = 0; at < 12; at++) {
      for (const side of ['alice', 'bob'] as const) await killedSwitch(side, at)
    }
  })
})

// Kills one side after so many commits of the switch, starts it again, and lets both go on.
const killedSwitch = async (victim: 'alice' | 'bob', commits: number): Promise<void> => {
  const other = agentWorld()
  try {
    const routers = [await other.startRouter(), await other.startRouter()] as const
    let commitsLeft = Number.POSITIVE_INFINITY
    const sides = {
      alice: await other.startAgent('alice', [routers[0]], { trace: () => commitsLeft-- }),
      bob: await other.startAgent('bob', [routers[0]], { trace: () => commitsLeft-- }),
    }
    const pair = await other.connect(sides.alice, sides.bob)
    const connectionOf = { alice: pair.initiatorId, bob: pair.joinerId }
    commitsLeft = commits * 3
    await sides.alice.agent.switchConnection({ connectionId: pair.initiatorId, router: routers[1].address })
    const sent: string[] = []
    const trySend = async (body: string): Promise<void> => {
      const idempotencyKey = body
      await sides.bob.agent.sendMessage({ connectionId: pair.joinerId, body, idempotencyKey })
      sent.push(body)
    }
    await trySend('one')
    for (let step = 0; step < 200 && commitsLeft > 0; step++) await other.clock.advance(20)
    const rows = sides[victim].crash()
    const again = await other.startAgent(`${victim} again`, [routers[0]], { store: { open: rows } })
    sides[victim] = again
    await again.agent.subscribe({})
    await trySend('two')
    const got: string[] = []
    const acked = new Set<number>()
    const complete = async (): Promise<boolean> => {
      for (const event of sides.alice.events) {
        if (event.type !== 'MSG' || acked.has(event.messageId)) continue
        acked.add(event.messageId)
        got.push(textOf(event.body))
        await sides.alice.agent.ackMessage({ connectionId: connectionOf.alice, messageId: event.messageId })
      }
      const [queues, used] = [await sides.alice.store.find(rcvQueues, {}), await sides.bob.store.find(sndQueues, {})]
      return (
        got.length === sent.length &&
        queues.length === 1 &&
        used.length === 1 &&
        queues[0]?.router === routers[1].address &&
        used[0]?.router === routers[1].address
      )
    }
    let done = false
    for (let step = 0; step < 4_000 && !done; step++) {
      await other.clock.advance(500)
      done = await complete()
    }
    expect({ victim, commits, done, got }).toEqual({ victim, commits, done: true, got: sent })
  } finally {
    await other.close()
  }
}
