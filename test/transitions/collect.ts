/** One file of what all test files of a run have taken: `duologue review` reads it. What is required of machines is printed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Coverage } from '../../src/visualizer/model/analysis.js'
import type { Share } from './taken.js'

const results = fileURLToPath(new URL('../results/', import.meta.url))
const parts = `${results}transitions/`

interface Part {
  readonly taken: ReadonlyArray<readonly [string, number]>
  readonly required: ReadonlyArray<readonly [string, Share]>
}

export const setup = (): void => rmSync(parts, { recursive: true, force: true })

export const teardown = (): void => {
  if (!existsSync(parts)) return
  const taken: Record<string, Record<string, number>> = {}
  const shares: Array<readonly [string, Share]> = []
  const files = readdirSync(parts)
  for (const file of files) {
    const part = JSON.parse(readFileSync(parts + file, 'utf8')) as Part
    shares.push(...part.required)
    for (const [key, count] of part.taken) {
      const [machine = '', id = ''] = key.split('\t')
      const ofMachine = (taken[machine] ??= {})
      ofMachine[id] = (ofMachine[id] ?? 0) + count
    }
  }
  const coverage: Coverage = { at: Date.now(), files: files.length, taken }
  mkdirSync(results, { recursive: true })
  writeFileSync(`${results}transitions.json`, JSON.stringify(coverage))
  rmSync(parts, { recursive: true, force: true })
  if (shares.length > 0) console.log(sharesText(shares))
}

const sharesText = (shares: ReadonlyArray<readonly [string, Share]>): string => {
  const taken = shares.reduce((sum, [, share]) => sum + share.taken, 0)
  const of = shares.reduce((sum, [, share]) => sum + share.of, 0)
  const each = shares.map(([machine, share]) => `${machine} ${share.taken}/${share.of}`).sort()
  return `transitions taken by the tests of the machines: ${taken}/${of} (${Math.floor((100 * taken) / of)} %)\n  ${each.join(', ')}`
}
