/**
 * Which tests prove which row of the behaviour list: a test names the rows that it proves at the start of its title
 * (`B42 B44 AUTH on HELLO …`), or its `describe` does.
 */
import { type Behaviour, behaviours } from '../../machines/behaviours.js'

/** What vitest's JSON reporter writes, as far as it is read here. */
export interface TestReport {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly assertionResults: ReadonlyArray<{
      readonly ancestorTitles: readonly string[]
      readonly title: string
      readonly status: string
    }>
  }>
}

export interface ConformanceRow {
  readonly id: string
  readonly title: string
  readonly owner: string
  readonly starred: boolean
  /** Tests that name the row and passed, as `file › title`. */
  readonly tests: readonly string[]
  /** `proven`: at least one test names the row, and all of those passed. */
  readonly state: 'proven' | 'open'
}

/** The ids at the start of a title. */
export const rowsOf = (title: string): string[] => /^(?:[BS]\d\d ?)+/.exec(title)?.[0].trim().split(' ') ?? []

/** The conformance of a test run: every row of the list, with the tests that name it. */
export const conformance = (report: TestReport): ConformanceRow[] => {
  const named = new Map<string, Array<{ test: string; passed: boolean }>>()
  for (const { name, assertionResults } of report.testResults) {
    // The run may have been that of another checkout.
    const file = name.slice(name.lastIndexOf('/test/') + 1)
    for (const { ancestorTitles, title, status } of assertionResults) {
      for (const id of new Set([...ancestorTitles, title].flatMap(rowsOf))) {
        const tests = named.get(id) ?? []
        tests.push({ test: `${file} › ${title}`, passed: status === 'passed' })
        named.set(id, tests)
      }
    }
  }
  return behaviours.map(behaviour => rowOf(behaviour, named.get(behaviour.id) ?? []))
}

const rowOf = (
  { id, title, owner, starred }: Behaviour,
  named: ReadonlyArray<{ readonly test: string; readonly passed: boolean }>,
): ConformanceRow => ({
  id,
  title,
  owner,
  starred,
  tests: named
    .filter(({ passed }) => passed)
    .map(({ test }) => test)
    .sort(),
  state: named.length > 0 && named.every(({ passed }) => passed) ? 'proven' : 'open',
})

/** The table as docs/CONFORMANCE.md. */
export const conformancePage = (rows: readonly ConformanceRow[]): string => {
  const proven = rows.filter(({ state }) => state === 'proven').length
  const lines = rows.map(({ id, title, owner, starred, tests, state }) => {
    const cell = (text: string): string => text.replaceAll('|', '\\|')
    const names = tests.map(test => cell(test)).join('<br>')
    return `| ${id}${starred ? ' ★' : ''} | ${cell(title)} | ${owner} | ${state} | ${names} |`
  })
  return [
    '# Conformance',
    '',
    'Every promise of the behaviour list (`machines/behaviours.ts`) with the statechart or part that owns it and the tests that prove it. Generated',
    'from the last test run by `npm run conformance`; a row that no test names is open. ★: a row about a race, a crash or the order of two steps.',
    '',
    `${proven} of ${rows.length} rows are proven.`,
    '',
    '| Row | Behaviour | Owner | State | Tests |',
    '|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n')
}
