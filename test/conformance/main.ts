/** `npm run conformance [-- --json] [-- --check]`: the conformance of the last test run. */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { conformance, conformancePage, type ConformanceRow, type TestReport } from './table.js'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/dist\/?$/, '')
const resultsFile = `${root}/test/results/vitest.json`
const pageFile = `${root}/docs/CONFORMANCE.md`

const lastRun = async (): Promise<TestReport> => {
  try {
    return JSON.parse(await readFile(resultsFile, 'utf8')) as TestReport
  } catch {
    console.error(`There is no test run to read (${resultsFile}): run \`npm test\` first.`)
    process.exit(2)
  }
}

const shortTable = (rows: readonly ConformanceRow[]): string =>
  rows
    .map(({ id, starred, state, owner, tests, title }) =>
      [id, starred ? '★' : ' ', state.padEnd(6), owner.padEnd(17), `${tests.length}`.padStart(3), title].join('  '),
    )
    .join('\n')

const rows = conformance(await lastRun())
if (process.argv.includes('--json')) {
  const told = rows.map(({ id, title, owner, tests, state }) => ({ id, title, owner, tests, state }))
  console.log(JSON.stringify({ rows: told }))
} else {
  await writeFile(pageFile, conformancePage(rows))
  console.log(shortTable(rows))
  const open = rows.filter(({ state }) => state === 'open').map(({ id }) => id)
  console.log(`\n${rows.length - open.length} of ${rows.length} rows proven; docs/CONFORMANCE.md is written.`)
  if (open.length > 0) console.log(`Open: ${open.join(' ')}`)
}
