/** `duologue review`: the machines as a reviewer asks about them, and what has changed between two revisions. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { ConfigError } from '../errors.js'
import { readPage } from '../service/visualizerHost.js'
import type { Coverage } from '../visualizer/model/analysis.js'
import type { Chart } from '../visualizer/model/chart.js'
import { withReview } from '../visualizer/model/embedded.js'
import type { ReviewData } from '../visualizer/model/review.js'
import { machinesAt } from './review/revision.js'

interface Options {
  readonly coverage: string
  readonly from?: string
  readonly to?: string
  readonly out?: string
  readonly json?: boolean
}

const defaultCoverage = 'test/results/transitions.json'

export const reviewCommand = (): Command =>
  new Command('review')
    .description('Review the statecharts: reachability, totality, which transitions the tests take, what has changed.')
    .option('--coverage <file>', 'transitions that the last test run has taken', defaultCoverage)
    .option('--from <revision>', 'compare with the machines of this git revision (in a checkout, after npm ci)')
    .option('--to <revision>', 'the other side of the comparison; default: the machines of this build')
    .option('--out <dir>', 'also write a page that shows the review painted on the charts')
    .option('--json', 'print the review as JSON, and an error too')
    .action((options: Options, command: Command) => {
      if (options.to !== undefined && options.from === undefined) command.error('error: --to goes with --from')
      return review(options)
    })

const review = async (options: Options): Promise<void> => {
  const [{ machines }, { chartOf }, { reviewAll, reviewText }, { diffCharts }] = await Promise.all([
    import('../visualizer/model/machines.js'),
    import('../visualizer/model/chart.js'),
    import('../visualizer/model/review.js'),
    import('../visualizer/model/diff.js'),
  ])
  const coverage = await coverageFrom(options.coverage)
  const built = machines.map(({ machine }) => chartOf(machine))
  const diff = options.from === undefined ? undefined : await diffOf(options.from, options.to, built)
  const result = reviewAll(machines, coverage)
  const changes = (diff?.charts ?? []).map(({ name, before, after }) => {
    const { states, transitions } = diffCharts(before ?? undefined, after ?? undefined)
    return { name, states: Object.fromEntries(states), transitions: Object.fromEntries(transitions) }
  })
  if (options.out !== undefined) await writeReviewPage(options.out, { coverage, diff })
  if (options.json === true) {
    console.log(JSON.stringify({ ...result, ...(diff === undefined ? {} : { changes }) }))
    return
  }
  process.stdout.write(reviewText(result))
  if (coverage === undefined) console.log(`\nno test run has left ${options.coverage}: npm test writes it`)
  if (diff !== undefined) console.log(`\nchanges from ${diff.from} to ${diff.to}`)
  for (const { name, states, transitions } of changes) {
    for (const [what, mark] of [...Object.entries(states), ...Object.entries(transitions)]) {
      console.log(`${name}: ${mark} ${(what || 'the machine').replace(/^was /, '').replaceAll(' | ', ' × ')}`)
    }
  }
}

// Without a test run the rest of the review is as good.
const coverageFrom = async (path: string): Promise<Coverage | undefined> => {
  const { readCoverage } = await import('../visualizer/model/analysis.js')
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (path === defaultCoverage) return undefined
    throw new ConfigError('CONFIG_FILE', 'the coverage cannot be read', { field: path, cause })
  }
  const coverage = readCoverage(text)
  if (coverage === undefined) {
    throw new ConfigError('CONFIG_FILE', 'this is no coverage of transitions', { field: path, hint: 'npm test' })
  }
  return coverage
}

const diffOf = async (
  from: string,
  to: string | undefined,
  built: readonly Chart[],
): Promise<NonNullable<ReviewData['diff']>> => {
  const before = await machinesAt(from)
  const after = to === undefined ? built : await machinesAt(to)
  const names = [...new Set([...after, ...before].map(({ name }) => name))]
  return {
    from,
    to: to ?? 'this build',
    charts: names.map(name => ({
      name,
      before: before.find(chart => chart.name === name) ?? null,
      after: after.find(chart => chart.name === name) ?? null,
    })),
  }
}

const writeReviewPage = async (directory: string, data: ReviewData): Promise<void> => {
  const { html } = await readPage()
  try {
    await mkdir(directory, { recursive: true })
    await writeFile(join(directory, 'index.html'), withReview(html, data))
  } catch (cause) {
    throw new ConfigError('CONFIG_FILE', 'the page cannot be written', { field: directory, cause })
  }
}
