import { writeFileSync } from 'node:fs'
import { shortPlan, weekPlan } from './draw.js'
import type { Plan } from './plan.js'
import { run } from './run.js'
import { shrink } from './shrink.js'

const [mode = 'short', from = '1', count = '10', budget = '60'] = process.argv.slice(2)
const draw = mode === 'week' ? weekPlan : shortPlan
const wrongOf = async (plan: Plan) => (await run(plan)).wrong
if (mode === 'plan') {
  const plan = JSON.parse((await import('node:fs')).readFileSync(from, 'utf8')) as Plan
  const lines: string[] = []
  console.log(await run(plan, { line: line => lines.push(line) }))
  writeFileSync(count === '10' ? '/tmp/simulation-trace.jsonl' : count, lines.join('\n'))
} else
  for (let seed = Number(from); seed < Number(from) + Number(count); seed++) {
    const cpu = process.cpuUsage()
    const { wrong, delivered } = await run(draw(seed))
    const used = process.cpuUsage(cpu)
    console.log(seed, Math.round((used.user + used.system) / 1000), 'ms', delivered, 'delivered', wrong.slice(0, 5))
    if (wrong.length === 0 || Number(budget) === 0) continue
    const small = await shrink(draw(seed), wrongOf, Number(budget) * 1_000)
    writeFileSync(`/tmp/simulation-plan-${mode}-${seed}.json`, JSON.stringify(small, null, 1))
    console.log(JSON.stringify(small), (await wrongOf(small)).slice(0, 5))
  }
