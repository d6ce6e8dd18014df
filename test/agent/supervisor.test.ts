import { afterEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/agent/context.js'
import { Supervisor } from '../../src/agent/supervisor.js'
import type { NewEvent } from '../../src/runtime/unit.js'
import { type MemoryStore, openMemoryStore } from '../../src/store/memory.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { type AgentWorld, agentWorld } from '../support/agentWorld.js'

const start = () => {
  const clock = virtualClock(0)
  const told: NewEvent[] = []
  const supervisor = new Supervisor({
    clock,
    log: silentLogger,
    maxRestartsPerMinute: 5,
    publish: event => told.push(event),
  })
  const critical = () => told.map(({ payload }) => (payload as { critical: boolean }).critical)
  return { clock, supervisor, told, critical }
}

let world: AgentWorld | undefined
afterEach(() => world?.close())

describe('Supervisor', () => {
  it('B02 a worker that crashes is told of and started again; the sixth time within a minute it is CRITICAL and left alone', async () => {
    const { supervisor, critical, clock } = start()
    const again = Array.from({ length: 7 }, () => supervisor.crashed('worker', 'a', new Error('a bug')))
    expect(again).toEqual([true, true, true, true, true, false, false])
    expect(critical()).toEqual([false, false, false, false, false, true, true])
    expect(supervisor.crashed('worker', 'b', new Error('another'))).toBe(true)
    await clock.advance(60_001)
    expect(supervisor.crashed('worker', 'a', new Error('a bug'))).toBe(true)
  })

  it('B02 a part that is not started again is CRITICAL at once; nothing is told while the agent is disposed', () => {
    const { supervisor, told, critical } = start()
    supervisor.failed('cleanup', new Error('a bug'))
    expect(critical()).toEqual([true])
    supervisor.dispose()
    supervisor.failed('cleanup', new Error('a bug'))
    expect(supervisor.crashed('worker', 'a', new Error('a bug'))).toBe(false)
    expect(told).toHaveLength(1)
  })

  it('B02 an exception inside a delivery worker is told in an ERR event, and the message is delivered when it is over', async () => {
    world = agentWorld()
    const router = await world.startRouter()
    const rows = openMemoryStore()
    let broken = false
    const failing: Pick<MemoryStore, 'find'> = {
      find: (table, query) =>
        broken && table.name === 'deliveries' ? Promise.reject(new TypeError('a bug')) : rows.find(table, query),
    }
    const store = new Proxy(rows, {
      get: (target, name) => {
        const value: unknown = name === 'find' ? failing.find : Reflect.get(target, name, target)
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value
      },
    })
    const alice = await world.startAgent('alice', [router], { store: { open: store } })
    const bob = await world.startAgent('bob', [router])
    const { connectionId, link } = await bob.agent.createConnection({})
    broken = true
    await alice.agent.joinConnection({ link })
    const told = await alice.next('ERR')
    expect(told).toMatchObject({ critical: false, error: { code: 'INTERNAL' } })
    expect(told.error.message).toContain('a bug')
    broken = false
    await bob.next('CONF', connectionId)
  })
})
