import { describe, expect, it } from 'vitest'
import { conformance, conformancePage, rowsOf, type TestReport } from './table.js'

const report = (...tests: Array<[title: string, status: string, ...ancestors: string[]]>): TestReport => ({
  testResults: [
    {
      name: '/project/test/a.test.ts',
      assertionResults: tests.map(([title, status, ...ancestorTitles]) => ({ title, status, ancestorTitles })),
    },
  ],
})
const row = (of: TestReport, id: string) => conformance(of).find(found => found.id === id)

describe('conformance', () => {
  it('reads the ids at the start of a title, and no others', () => {
    expect(rowsOf('B04 B06 gradual: SUSPENDED comes (see B05)')).toEqual(['B04', 'B06'])
    expect(rowsOf('S16 a trace')).toEqual(['S16'])
    expect(rowsOf('B4 is no row')).toEqual([])
    expect(rowsOf('a title without rows')).toEqual([])
  })

  it('a row is proven when tests name it and all of them passed; otherwise it is open', () => {
    const run = report(
      ['B41 full', 'passed'],
      ['B42 AUTH', 'passed'],
      ['B42 B43 hosts', 'failed'],
      ['B45 later', 'todo'],
      ['by its describe', 'passed', 'B46 batches'],
    )
    expect(['B40', 'B41', 'B42', 'B43', 'B45', 'B46'].map(id => row(run, id)?.state)).toEqual([
      'open',
      'proven',
      'open',
      'open',
      'open',
      'proven',
    ])
    expect(row(run, 'B46')?.tests).toEqual(['test/a.test.ts › by its describe'])
    expect(row(run, 'B42')?.tests).toEqual(['test/a.test.ts › B42 AUTH'])
  })

  it('the page has a line for each row and counts the proven ones', () => {
    const rows = conformance(report(['B41 a|b', 'passed']))
    const page = conformancePage(rows)
    expect(page).toContain(`1 of ${rows.length} rows are proven.`)
    expect(page.match(/^\| [BS]\d\d/gm)).toHaveLength(rows.length)
    expect(page).toContain('test/a.test.ts › B41 a\\|b')
  })
})
