/**
 * `npm run test:decisions [-- B33 B78 …]`
 *
 * Takes decisions of src/agent away, one after the other, and runs the tests of the row that each belongs to: they must fail. The list
 * (decisions.json) was chosen by reading the code, ★ rows first; it takes minutes, where mutation tests of the whole agent take a night. Works
 * on a copy of the tree. Ends with 1 when the tests of a row do not notice, and when a place is not in the code any more.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { createVitest } from 'vitest/node'
import { root } from './plan.mjs'

/**
 * @typedef {object} Decision
 * @property {string} rows what is promised
 * @property {string} file in src/agent
 * @property {string} from this text, which the file has once, becomes `to`
 * @property {string} to
 * @property {readonly string[]} tests files of test/agent
 * @property {string} titles of the tests that are run; with other characters than letters they are taken as they are
 */

const copy = mkdtempSync(join(tmpdir(), 'duologue-decisions-'))

const copyTree = () => {
  for (const folder of ['machines', 'migrations', 'src', 'test']) {
    cpSync(`${root}/${folder}`, `${copy}/${folder}`, {
      recursive: true,
      filter: source => relative(root, source) !== 'test/results',
    })
  }
  for (const file of ['package.json', 'tsconfig.json']) cpSync(`${root}/${file}`, `${copy}/${file}`)
  symlinkSync(`${root}/node_modules`, `${copy}/node_modules`)
}

/** @param {import('vitest/node').Vitest} vitest @param {Decision} decision @returns {Promise<{ ran: number, failed: number }>} */
const runTests = async (vitest, { tests, titles }) => {
  for (const project of vitest.projects) project.config.testNamePattern = patternOf(titles)
  const wanted = tests.map(name => `test/agent/${name}.test.ts`)
  const specifications = (await vitest.globTestSpecifications(wanted)).filter(({ moduleId }) =>
    wanted.some(name => moduleId.endsWith(`/${name}`)),
  )
  vitest.state.filesMap.clear()
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications, false)
  const states = testModules.flatMap(module => [...module.children.allTests()].map(test => test.result().state))
  const broken = testModules.reduce((all, module) => all + module.errors().length, unhandledErrors.length)
  return {
    ran: states.filter(state => state !== 'skipped').length,
    failed: states.filter(state => state === 'failed').length + broken,
  }
}

/** Titles are patterns where they have alternatives, and the beginning of a title else. @param {string} titles */
const patternOf = titles => new RegExp(titles.includes('|') ? titles : titles.replaceAll(/[.*+?^${}()[\]\\]/g, '\\$&'))

const wanted = process.argv.slice(2)
const list = /** @type {Decision[]} */ (JSON.parse(readFileSync(new URL('decisions.json', import.meta.url), 'utf8')))
const chosen = list.filter(({ rows }) => wanted.length === 0 || rows.split(' ').some(row => wanted.includes(row)))

copyTree()
const vitest = await createVitest('test', {
  root: copy,
  config: false,
  watch: false,
  include: ['test/agent/*.test.ts'],
  pool: 'threads',
  isolate: false,
  fileParallelism: false,
  testTimeout: 60_000,
  hookTimeout: 60_000,
  bail: 1,
  reporters: [{}],
})
let unnoticed = 0
for (const decision of chosen) {
  const { rows, file, from, to } = decision
  const path = `${copy}/src/agent/${file}.ts`
  const source = readFileSync(path, 'utf8')
  const what = `${rows} ${file}: ${from.trim().replaceAll(/\s+/g, ' ')} → ${to.trim()}`
  if (source.split(from).length !== 2) {
    unnoticed++
    console.log(`NOT THERE ${what}`)
    continue
  }
  writeFileSync(
    path,
    source.replace(from, () => to),
  )
  vitest.invalidateFile(path)
  const { ran, failed } = await runTests(vitest, decision)
  writeFileSync(path, source)
  vitest.invalidateFile(path)
  if (failed > 0) console.log(`noticed   ${what}`)
  else {
    unnoticed++
    console.log(`${ran === 0 ? 'NO TEST  ' : 'UNNOTICED'} ${what}`)
  }
}
await vitest.close()
rmSync(copy, { recursive: true, force: true })
console.log(`\n${chosen.length - unnoticed} of ${chosen.length} noticed`)
process.exit(unnoticed === 0 ? 0 : 1)
