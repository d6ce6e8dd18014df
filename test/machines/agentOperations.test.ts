import { describe, expect, it } from 'vitest'
import { agentOperationsMachine, type Operation, operations } from '../../machines/index.js'
import { startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const start = () => {
  const did: string[] = []
  const machine = agentOperationsMachine.provide({
    actions: {
      stopOperation: (_, { operation }) => did.push(`stop ${operation}`),
      resumeOperation: (_, { operation }) => did.push(`resume ${operation}`),
      notifySuspended: () => did.push('SUSPENDED'),
    },
  })
  const worker = startWorker(machine)
  const inProgress: Record<Operation, number> = { receiving: 0, delivery: 0, sending: 0, database: 0 }
  const began = (operation: Operation) => {
    inProgress[operation]++
    worker.send({ type: 'operation.began', operation })
  }
  const ended = (operation: Operation) => {
    inProgress[operation]--
    worker.send({ type: 'operation.ended', operation })
  }
  const suspend = (maxDelay: number) => worker.send({ type: 'agent.suspend', maxDelay, inProgress: { ...inProgress } })
  const foreground = () => worker.send({ type: 'agent.foreground' })
  return { ...worker, did, began, ended, suspend, foreground }
}

describe('agentOperations', () => {
  it('B04 gradual: receiving, delivery, sending, database, each when nothing of the kind before is under way; then SUSPENDED', () => {
    const { did, began, ended, suspend, state } = start()
    for (const operation of operations) began(operation)
    suspend(10_000)
    for (const [index, operation] of operations.entries()) {
      expect(state()).toMatch(new RegExp(`\\b${operation}$`))
      expect(did).toEqual(operations.slice(0, index + 1).map(name => `stop ${name}`))
      ended(operation)
    }
    expect(state()).toBe('suspended')
    expect(did.filter(name => name === 'SUSPENDED')).toHaveLength(1)
  })

  it('B04 with nothing under way a gradual suspension is over at once, and told', () => {
    const { did, suspend, state, clock } = start()
    suspend(10_000)
    expect(state()).toBe('suspended')
    expect(did).toContain('SUSPENDED')
    expect(clock.pendingTimers).toBe(0)
  })

  it('B04 a second gradual suspension changes nothing about the one under way', async () => {
    const { did, began, ended, suspend, state, clock } = start()
    began('receiving')
    suspend(10_000)
    await clock.advance(4000)
    suspend(20_000)
    expect(state()).toMatch(/\breceiving$/)
    expect(did).toEqual(['stop receiving'])
    await clock.advance(6000)
    expect(state()).toBe('suspended')
    expect(did.filter(name => name === 'SUSPENDED')).toHaveLength(1)
    ended('receiving')
    expect(state()).toBe('suspended')
  })

  it('B04 starts with nothing counted and nothing waited for', () => {
    const { context, state, clock } = start()
    expect(state()).toBe('foreground')
    expect(context()).toEqual({ inProgress: { receiving: 0, delivery: 0, sending: 0, database: 0 }, maxDelay: 0 })
    expect(clock.pendingTimers).toBe(0)
  })

  it('B04 immediate: everything is stopped without waiting, and SUSPENDED is not told', () => {
    const { did, began, suspend, state } = start()
    for (const operation of operations) began(operation)
    suspend(0)
    expect(state()).toBe('suspended')
    expect(did).toEqual(operations.map(operation => `stop ${operation}`))
  })

  it('B04 an immediate suspension overtakes a gradual one, silently', () => {
    const { did, began, suspend, state, clock } = start()
    began('receiving')
    suspend(10_000)
    suspend(0)
    expect(state()).toBe('suspended')
    expect(did).not.toContain('SUSPENDED')
    expect(clock.pendingTimers).toBe(0)
  })

  it('B04 the timeout forces sending and database: receiving and delivery are not waited for any longer, but a commit still is', async () => {
    const { did, began, ended, suspend, state, clock } = start()
    began('receiving')
    began('delivery')
    began('database')
    suspend(5000)
    await clock.advance(4999)
    expect(state()).toMatch(/\breceiving$/)
    await clock.advance(1)
    expect(state()).toMatch(/\bdatabase$/)
    expect(did).not.toContain('SUSPENDED')
    ended('database')
    expect(state()).toBe('suspended')
    expect(did.filter(name => name === 'SUSPENDED')).toHaveLength(1)
    for (const operation of operations) expect(did).toContain(`stop ${operation}`)
  })

  it('B04 the timeout does not go back when sending or database are being waited for', async () => {
    const { began, ended, suspend, state, clock } = start()
    began('sending')
    began('database')
    suspend(5000)
    expect(state()).toMatch(/\bsending$/)
    await clock.advance(5000)
    expect(state()).toMatch(/\bsending$/)
    ended('sending')
    await clock.advance(60_000)
    expect(state()).toMatch(/\bdatabase$/)
    ended('database')
    expect(state()).toBe('suspended')
    expect(clock.pendingTimers).toBe(0)
  })

  it('B04 resumes in the reverse order, from suspended and from every step before', () => {
    const reverse = [...operations].reverse().map(operation => `resume ${operation}`)
    for (const holding of [undefined, ...operations]) {
      const { did, began, suspend, foreground, state, clock } = start()
      if (holding !== undefined) began(holding)
      suspend(10_000)
      did.length = 0
      foreground()
      expect(state()).toBe('foreground')
      expect(did).toEqual(reverse)
      expect(clock.pendingTimers).toBe(0)
    }
  })

  it('B05 a delivery that was counted before the suspension holds it up, also when its worker has not started', () => {
    const { began, ended, suspend, state, did } = start()
    began('delivery')
    began('delivery')
    suspend(10_000)
    ended('delivery')
    expect(state()).toMatch(/\bdelivery$/)
    expect(did).not.toContain('SUSPENDED')
    ended('delivery')
    expect(state()).toBe('suspended')
  })

  it('B06 work that ends and begins around a retry lets SUSPENDED out in between', () => {
    const { began, ended, suspend, state, did } = start()
    began('sending')
    suspend(10_000)
    ended('sending')
    expect(state()).toBe('suspended')
    expect(did).toContain('SUSPENDED')
    began('sending')
    expect(state()).toBe('suspended')
  })

  it('B04 work that begins while a suspension is under way is counted, and waited for in its turn', () => {
    const { began, ended, suspend, state } = start()
    began('sending')
    suspend(10_000)
    began('database')
    ended('sending')
    expect(state()).toMatch(/\bdatabase$/)
    ended('database')
    expect(state()).toBe('suspended')
  })
})

takesEveryTransition(agentOperationsMachine)
