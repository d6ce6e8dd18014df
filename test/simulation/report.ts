import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Plan } from './plan.js'
import { run } from './run.js'
import { shrink } from './shrink.js'

const defaultBudgetMs = 60_000

/**
 * What a failed run tells: its plan, made as small as there is time for, what goes wrong with it, and a trace that the Replay of the
 * visualizer loads.
 */
export const failureReport = async (name: string, plan: Plan, budgetMs = defaultBudgetMs): Promise<string> => {
  const small = await shrink(plan, async smaller => (await run(smaller)).wrong, budgetMs)
  const lines: string[] = []
  const { wrong } = await run(small, { line: line => lines.push(line) })
  const directory = join(tmpdir(), 'duologue-simulation')
  mkdirSync(directory, { recursive: true })
  const file = join(directory, name.replace(/[^\w-]+/gu, '-'))
  writeFileSync(`${file}.jsonl`, lines.map(line => `${line}\n`).join(''))
  writeFileSync(`${file}.json`, JSON.stringify(small))
  return [
    `${name}:`,
    ...wrong,
    `plan: ${JSON.stringify(small)}`,
    `plan file: ${file}.json`,
    `trace: ${file}.jsonl`,
  ].join('\n')
}
