/** One file of what all test files of a run have taken: `duologue review` reads it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Coverage } from '../../src/visualizer/model/analysis.js'

const results = fileURLToPath(new URL('../results/', import.meta.url))
const parts = `${results}transitions/`

export const setup = (): void => rmSync(parts, { recursive: true, force: true })

export const teardown = (): void => {
  if (!existsSync(parts)) return
  const taken: Record<string, Record<string, number>> = {}
  const files = readdirSync(parts)
  for (const file of files) {
    for (const [key, count] of JSON.parse(readFileSync(parts + file, 'utf8')) as Array<[string, number]>) {
      const [machine = '', id = ''] = key.split('\t')
      const ofMachine = (taken[machine] ??= {})
      ofMachine[id] = (ofMachine[id] ?? 0) + count
    }
  }
  const coverage: Coverage = { at: Date.now(), files: files.length, taken }
  mkdirSync(results, { recursive: true })
  writeFileSync(`${results}transitions.json`, JSON.stringify(coverage))
  rmSync(parts, { recursive: true, force: true })
}
