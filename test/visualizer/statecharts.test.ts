import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { chartOf } from '../../src/visualizer/model/chart.js'
import { markdownIndex, markdownOf } from '../../src/visualizer/model/exports/markdown.js'
import { machines } from '../../src/visualizer/model/machines.js'

const directory = fileURLToPath(new URL('../../docs/statecharts/', import.meta.url))
const all = machines.map(machine => ({ machine, chart: chartOf(machine.machine) }))
const pages: ReadonlyArray<readonly [string, string]> = [
  ['README.md', markdownIndex(all)],
  ...all.map(({ machine, chart }) => [`${machine.name}.md`, markdownOf(machine, chart)] as const),
]

// `npm run statecharts` writes the pages anew.
if (process.env['WRITE_STATECHARTS'] === '1') {
  mkdirSync(directory, { recursive: true })
  for (const [name, text] of pages) writeFileSync(directory + name, text)
}

describe('docs/statecharts', () => {
  it.each(pages)('%s is fresh: run `npm run statecharts` after a change of a machine', (name, text) => {
    expect(existsSync(directory + name) ? readFileSync(directory + name, 'utf8') : '').toBe(text)
  })

  it('has no page of a machine that is gone', () => {
    expect(readdirSync(directory).sort()).toEqual(pages.map(([name]) => name).sort())
  })
})
