/**
 * `npm run test:mutation [-- --mutate machines/sndQueue.ts,…] [--tests test/agent/quota.test.ts,…] [--titles 'B42|B44'] [--concurrency 2] [--force] [--score]`
 *
 * Runs Stryker over the parts of plan.mjs, all or those of some files, and prints what survived and the score by folder. Results are kept
 * (test/results/mutation): what a run does not touch is told from the last one, what was killed is tried again only if its source or the
 * test that killed it has changed, and what survived is tried again always. `--tests` and `--titles` narrow the tests, for work on one file; `--force`
 * forgets all results; `--score` only prints.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { parts, root } from './plan.mjs'
import { scores, survivors } from './score.mjs'

/** @typedef {import('./plan.mjs').Part} Part */
/** @typedef {import('./score.mjs').Report} Report */

const results = `${root}/test/results/mutation`
const rerun = new Set(['Survived', 'NoCoverage', 'Timeout', 'RuntimeError'])

/** @param {Part} part */
const reportFile = ({ name }) => `${results}/${name}.json`

/** @param {Part} part @returns {Report | undefined} */
const lastReport = part =>
  existsSync(reportFile(part)) ? JSON.parse(readFileSync(reportFile(part), 'utf8')) : undefined

/**
 * A new test may kill what survived, and Stryker does not see that of mutants that exist from the loading of a file on: they go from the
 * results that it takes over.
 * @param {Part} part
 */
const forgetSurvivors = part => {
  const report = lastReport(part)
  if (report === undefined) return
  for (const file of part.mutate) {
    const result = report.files[file]
    if (result !== undefined) result.mutants = result.mutants.filter(({ status }) => !rerun.has(status))
  }
  writeFileSync(reportFile(part), JSON.stringify(report))
}

/** @param {Part} part @param {{ concurrency: string, titles: string }} how @returns {Promise<void>} */
const run = (part, { concurrency, titles }) =>
  new Promise((resolve, reject) => {
    const stryker = `${root}/node_modules/@stryker-mutator/core/bin/stryker.js`
    const options = [
      '--incrementalFile',
      reportFile(part),
      '--mutate',
      part.mutate.join(','),
      '--concurrency',
      concurrency,
    ]
    spawn(process.execPath, [stryker, 'run', ...options], {
      cwd: root,
      stdio: 'inherit',
      env: {
        ...process.env,
        MUTATION_TESTS: part.tests.join(','),
        MUTATION_TITLES: titles,
        MUTATION_EXCLUDED: (part.excluded ?? []).join(','),
        MUTATION_IGNORE_STATIC: part.ignoreStatic === true ? '1' : '0',
        MUTATION_COMPILED: part.compiled === true ? '1' : '0',
      },
    }).on('exit', code => (code === 0 ? resolve() : reject(new Error(`Stryker ended with ${code} in ${part.name}`))))
  })

const { values } = parseArgs({
  options: {
    mutate: { type: 'string' },
    tests: { type: 'string' },
    titles: { type: 'string', default: '' },
    concurrency: { type: 'string', default: '2' },
    force: { type: 'boolean', default: false },
    score: { type: 'boolean', default: false },
  },
})
const wanted = values.mutate?.split(',')
const tests = values.tests?.split(',')
const all = parts()
const unknown = (wanted ?? []).filter(file => !all.some(({ mutate }) => mutate.includes(file)))
if (unknown.length > 0) throw new Error(`not among the files that are mutated (test/mutation/plan.mjs): ${unknown}`)

mkdirSync(results, { recursive: true })
const chosen = all
  .map(part => ({
    ...part,
    mutate: part.mutate.filter(file => wanted?.includes(file) ?? true),
    tests: tests ?? part.tests.filter(file => existsSync(`${root}/${file}`)),
  }))
  .filter(({ mutate }) => mutate.length > 0 && !values.score)

for (const [index, part] of chosen.entries()) {
  console.log(`\n${index + 1} of ${chosen.length}: ${part.name}`)
  if (values.force) rmSync(reportFile(part), { force: true })
  forgetSurvivors(part)
  await run(part, values)
  console.log(survivors([{ ...part, report: lastReport(part) }]))
}

const known = all.map(part => ({ ...part, report: lastReport(part) }))
if (values.score) {
  console.log(
    survivors(known.map(part => ({ ...part, mutate: part.mutate.filter(file => wanted?.includes(file) ?? true) }))),
  )
}
console.log(scores(known))
