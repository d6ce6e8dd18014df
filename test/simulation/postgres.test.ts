/** The same worlds with the rows of their agents in Postgres: what happens does not depend on where the rows are. */
import { describe, expect, it } from 'vitest'
import { noPostgres } from '../store/postgres.js'
import { shortPlan } from './draw.js'
import { PostgresDisks } from './postgresDisk.js'
import { run } from './run.js'

const missing = await noPostgres()
const seeds = Number(process.env['POSTGRES_SEEDS'] ?? 3)
const first = Number(process.env['SIMULATION_SEED'] ?? Date.now() % 1_000_000_000)

describe.skipIf(missing !== undefined)('on Postgres', { timeout: 600_000 }, () => {
  it.each(Array.from({ length: seeds }, (_, index) => first + index))(
    'seed %i: every message ends as it does with the rows in memory',
    async seed => {
      const plan = shortPlan(seed)
      const inMemory = await run(plan)
      const disks = new PostgresDisks()
      try {
        expect(await run(plan, disks)).toEqual(inMemory)
      } finally {
        await disks.close()
      }
      expect(inMemory.wrong).toEqual([])
    },
  )
})
