/**
 * npm run soak -- [--minutes N] [--seed S] [--weeks] [--json] [--plan FILE]
 *
 * Plays short seeds, one after the other, and a week after every hundredth, until the time is over. Ends with 1 and a plan that replays
 * at the first that goes wrong.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { shortPlan, weekPlan } from './draw.js'
import type { Plan } from './plan.js'
import { failureReport } from './report.js'
import { run } from './run.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    weeks: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    plan: { type: 'string' },
  },
})

const shortSeedsPerWeek = 100
const first = Number(values.seed ?? Date.now() % 1_000_000_000)
const deadline = performance.now() + Number(values.minutes) * 60_000

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
const play = async (name: string, plan: Plan): Promise<boolean> => {
  const began = performance.now()
  const { wrong, delivered } = await run(plan)
  tell({ run: name, delivered, ms: Math.round(performance.now() - began), wrong: wrong.length })
  if (wrong.length > 0) console.error(await failureReport(name, plan))
  return wrong.length === 0
}

const soak = async (): Promise<boolean> => {
  let seed = first
  for (; performance.now() < deadline; seed++) {
    const isWeek = values.weeks || (seed - first) % shortSeedsPerWeek === shortSeedsPerWeek - 1
    const plan = isWeek ? weekPlan(seed) : shortPlan(seed)
    if (!(await play(`${isWeek ? 'week' : 'short'} ${seed}`, plan))) return false
  }
  tell({ seeds: seed - first, from: first })
  return true
}

const ok =
  values.plan === undefined ? await soak() : await play('plan', JSON.parse(readFileSync(values.plan, 'utf8')) as Plan)
process.exitCode = ok ? 0 : 1
