import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { agentOperationsMachine, type Operation, operations } from '../../machines/index.js'
import { startWorker } from './worker.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const start = () => {
  const told: string[] = []
  const machine = agentOperationsMachine.provide({
    actions: {
      stopOperation: (_, { operation }) => told.push(`stop ${operation}`),
      resumeOperation: (_, { operation }) => told.push(`resume ${operation}`),
      notifySuspended: () => told.push('SUSPENDED'),
    },
  })
  const worker = startWorker(machine)
  const counts: Record<Operation, number> = { receiving: 0, delivery: 0, sending: 0, database: 0 }
  const began = (operation: Operation) => {
    counts[operation]++
    worker.send({ type: 'operation.began', operation })
  }
  const ended = (operation: Operation) => {
    if (counts[operation] === 0) return
    counts[operation]--
    worker.send({ type: 'operation.ended', operation })
  }
  const suspend = (maxDelay: number) => worker.send({ type: 'agent.suspend', maxDelay, inProgress: { ...counts } })
  const foreground = () => worker.send({ type: 'agent.foreground' })
  return { ...worker, told, counts, began, ended, suspend, foreground }
}

type Agent = ReturnType<typeof start>
const steps = fc.array(
  fc.oneof(
    fc.constantFrom(...operations).map(operation => (agent: Agent) => agent.began(operation)),
    fc.constantFrom(...operations).map(operation => (agent: Agent) => agent.ended(operation)),
    fc.constantFrom(0, 1000).map(maxDelay => (agent: Agent) => agent.suspend(maxDelay)),
    fc.constant((agent: Agent) => agent.foreground()),
  ),
  { maxLength: 60 },
)

describe('agentOperations', () => {
  it('B04 counts are right after any mix of work, suspensions and resumes', () => {
    fc.assert(
      fc.property(steps, mix => {
        const agent = start()
        for (const step of mix) {
          step(agent)
          if (agent.state().startsWith('suspending')) expect(agent.context()['inProgress']).toEqual(agent.counts)
        }
        agent.stop()
      }),
      fuzzRuns(60),
    )
  })

  it('B04 suspended is reached from anywhere: at once, or when what is under way has ended, and told once', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), fc.shuffledSubarray([...operations], { minLength: 4 }), (mix, atOnce, order) => {
        const agent = start()
        for (const step of mix) step(agent)
        agent.foreground()
        agent.told.length = 0
        agent.suspend(atOnce ? 0 : 1000)
        for (const operation of order) while (agent.counts[operation] > 0) agent.ended(operation)
        expect(agent.state()).toBe('suspended')
        expect(agent.told.filter(word => word === 'SUSPENDED')).toHaveLength(atOnce ? 0 : 1)
        for (const operation of operations) expect(agent.told).toContain(`stop ${operation}`)
        expect(agent.clock.pendingTimers).toBe(0)
        agent.stop()
      }),
      fuzzRuns(60),
    )
  })

  it('B04 back in the foreground, everything that was stopped is resumed', () => {
    fc.assert(
      fc.property(steps, mix => {
        const agent = start()
        for (const step of mix) step(agent)
        agent.foreground()
        expect(agent.state()).toBe('foreground')
        for (const operation of operations) {
          const words = agent.told.filter(word => word.endsWith(` ${operation}`))
          if (words.length > 0) expect(words.at(-1)).toBe(`resume ${operation}`)
        }
        agent.stop()
      }),
      fuzzRuns(40),
    )
  })
})
