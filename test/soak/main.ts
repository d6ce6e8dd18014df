/**
 * npm run soak -- [--minutes N] [--seed S] [--only simulation|properties|faults] [--weeks] [--json] [--plan FILE]
 *
 * The tests that draw their cases, for as long as there is time and with new seeds: a hundred simulated worlds and a week, then the
 * properties and the fuzzing, then the real faults, and again. Ends with 1 at the first that goes wrong, which prints its seed and a smaller
 * case that replays it.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { shortPlan, weekPlan } from '../simulation/draw.js'
import type { Plan } from '../simulation/plan.js'
import { failureReport } from '../simulation/report.js'
import { run } from '../simulation/run.js'
import { type Suite, suites, runSuite } from './suites.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    only: { type: 'string' },
    weeks: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    plan: { type: 'string' },
  },
})

const shortSeedsPerWeek = 100
const weekShrinkMs = 600_000
const first = Number(values.seed ?? Date.now() % 1_000_000_000)
const deadline = performance.now() + Number(values.minutes) * 60_000
const kinds = ['simulation', ...suites]
let runs = 0

const tell = (facts: Readonly<Record<string, unknown>>): void => {
  if (values.json) console.log(JSON.stringify(facts))
  else
    console.log(
      Object.entries(facts)
        .map(([name, value]) => `${name} ${String(value)}`)
        .join(', '),
    )
}

/** Plays one plan; false when something is wrong. */
const play = async (name: string, plan: Plan, shrinkMs?: number): Promise<boolean> => {
  const began = performance.now()
  runs++
  const { wrong, delivered } = await run(plan)
  tell({ run: name, delivered, ms: Math.round(performance.now() - began), wrong: wrong.length })
  if (wrong.length === 0) return true
  console.error(wrong.join('\n'))
  console.error('looking for a smaller plan that goes wrong in the same way …')
  console.error(await failureReport(name, plan, shrinkMs))
  return false
}

const playWeek = (seed: number): Promise<boolean> => play(`week ${seed}`, weekPlan(seed), weekShrinkMs)

/** A hundred short worlds and a week, or one week. */
const simulate = async (seed: number): Promise<boolean> => {
  if (values.weeks) return playWeek(seed)
  for (let index = 0; index < shortSeedsPerWeek - 1; index++) {
    if (performance.now() > deadline) return true
    if (!(await play(`short ${seed + index}`, shortPlan(seed + index)))) return false
  }
  return playWeek(seed + shortSeedsPerWeek - 1)
}

const test = async (suite: Suite, seed: number): Promise<boolean> => {
  const began = performance.now()
  runs++
  const ok = await runSuite(suite, seed)
  tell({ run: `${suite} ${seed}`, ms: Math.round(performance.now() - began), wrong: ok ? 0 : 1 })
  return ok
}

const soak = async (): Promise<boolean> => {
  const wanted = values.weeks ? ['simulation'] : kinds.filter(kind => values.only === undefined || kind === values.only)
  if (wanted.length === 0) throw new Error(`--only takes one of ${kinds.join(', ')}`)
  let seed = first
  for (; performance.now() < deadline; seed += values.weeks ? 1 : shortSeedsPerWeek) {
    for (const kind of wanted) {
      if (performance.now() > deadline) break
      const ok = kind === 'simulation' ? await simulate(seed) : await test(kind as Suite, seed)
      if (!ok) return false
    }
  }
  tell({ seed: first, runs, wrong: 0 })
  return true
}

const ok =
  values.plan === undefined ? await soak() : await play('plan', JSON.parse(readFileSync(values.plan, 'utf8')) as Plan)
process.exitCode = ok ? 0 : 1
