/** Any calls of two applications, against a model; and the same with their commits in any order. */
import * as fc from 'fast-check'
import { it } from 'vitest'
import type { MemoryStore } from '../../src/store/memory.js'
import { beforeCommits } from '../support/storeFaults.js'
import { commandArbitraries, settleAndCompare } from './commands.js'
import { newModel } from './model.js'
import { System } from './system.js'

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 12)

it(
  'B54 B55 any calls: what was accepted arrives once and in order, and nothing is left behind',
  { timeout: 600_000 },
  () =>
    fc.assert(
      fc.asyncProperty(fc.commands(commandArbitraries, { maxCommands: 40, size: '+1' }), async commands => {
        const system = await System.open()
        const model = newModel()
        try {
          await fc.asyncModelRun(() => ({ model, real: system }), commands)
          await settleAndCompare(model, system)
        } finally {
          await system.close()
        }
      }),
      { numRuns },
    ),
)

it('B54 the same with the commits of both agents in any order', { timeout: 600_000 }, () =>
  fc.assert(
    fc.asyncProperty(
      fc.commands(commandArbitraries, { maxCommands: 15 }),
      fc.scheduler(),
      async (commands, scheduler) => {
        const race = { on: true }
        const hold = (store: MemoryStore, name: string): void =>
          beforeCommits(store, () => (race.on ? scheduler.schedule(Promise.resolve(), name) : undefined))
        const turns = (async () => {
          while (race.on) {
            if (scheduler.count() > 0) await scheduler.waitOne()
            else await new Promise<void>(resolve => setImmediate(resolve))
          }
        })()
        const system = await System.open(hold)
        const model = newModel()
        try {
          await fc.asyncModelRun(() => ({ model, real: system }), commands)
          await settleAndCompare(model, system)
        } finally {
          await system.close()
          race.on = false
          await turns
        }
      },
    ),
    { numRuns },
  ),
)
