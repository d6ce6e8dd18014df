/** Whole worlds under seeds: whatever breaks, nothing is lost, nothing comes twice, and everything comes to its end. */
import { expect, it } from 'vitest'
import { shortPlan } from './draw.js'
import { failureReport } from './report.js'
import { run } from './run.js'

const seeds = Number(process.env['SIMULATION_SEEDS'] ?? 50)
// New ones each time; the name of the test says which.
const first = Number(process.env['SIMULATION_SEED'] ?? Date.now() % 1_000_000_000)

it('one seed, one run: the same trace and the same outcome each time', { timeout: 300_000 }, async () => {
  const once = await run(shortPlan(1), { hash: true })
  const again = await run(shortPlan(1), { hash: true })
  expect(again).toEqual(once)
  expect(once.delivered).toBeGreaterThan(0)
  const other = await run(shortPlan(2), { hash: true })
  expect(other.traceHash).not.toBe(once.traceHash)
})

it(`nothing lost, nothing twice, all at its end: ${seeds} worlds from seed ${first}`, {
  timeout: 1_800_000,
}, async () => {
  for (let seed = first; seed < first + seeds; seed++) {
    const plan = shortPlan(seed)
    const { wrong } = await run(plan)
    if (wrong.length > 0) throw new Error(await failureReport(`seed ${seed}`, plan))
  }
})
