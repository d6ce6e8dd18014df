/** What the results of Stryker come to: the mutants that survived, and the score by file and folder. */
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { root } from './plan.mjs'

/**
 * @typedef {object} Mutant
 * @property {'Killed' | 'Timeout' | 'Survived' | 'NoCoverage' | 'Ignored' | 'RuntimeError' | 'CompileError' | 'Pending'} status
 * @property {string} mutatorName
 * @property {string} [replacement]
 * @property {{ start: Place, end: Place }} location
 *
 * @typedef {{ line: number, column: number }} Place
 * @typedef {{ files: Record<string, { source: string, mutants: Mutant[] }> }} Report the part that is used of mutation-testing-report-schema
 * @typedef {import('./plan.mjs').Part & { report: Report | undefined }} Known
 * @typedef {{ name: string, killed: number, timeout: number, survived: number, uncovered: number, refused: number, state: string }} Row
 */

/** @param {readonly Known[]} parts */
const files = parts =>
  parts.flatMap(({ mutate, report }) => mutate.map(name => ({ name, result: report?.files[name] })))

/** @param {string} source @param {Mutant['location']} location */
const textAt = (source, { start, end }) => {
  const lines = source.split('\n').slice(start.line - 1, end.line)
  const last = lines.length - 1
  return lines
    .map((line, index) => line.slice(index === 0 ? start.column - 1 : 0, index === last ? end.column - 1 : undefined))
    .join(' ')
    .replaceAll(/\s+/g, ' ')
}

/** @param {string} text */
const short = text => (text.length > 90 ? `${text.slice(0, 87)}…` : text)

/** The mutants that no test noticed, a line each. @param {readonly Known[]} parts */
export const survivors = parts =>
  files(parts)
    .flatMap(({ name, result }) =>
      (result?.mutants ?? [])
        .filter(({ status }) => status === 'Survived' || status === 'NoCoverage')
        .sort((a, b) => a.location.start.line - b.location.start.line)
        .map(mutant => {
          const { line, column } = mutant.location.start
          const was = short(textAt(result?.source ?? '', mutant.location))
          const is = short((mutant.replacement ?? mutant.mutatorName).replaceAll(/\s+/g, ' '))
          return `${name}:${line}:${column} ${mutant.status === 'Survived' ? '' : '(no test) '}${was} → ${is}`
        }),
    )
    .join('\n')

/** @param {ReturnType<typeof files>[number]} file @returns {Row} */
const row = ({ name, result }) => {
  const mutants = result?.mutants ?? []
  /** @param {Mutant['status']} wanted */
  const count = wanted => mutants.filter(({ status }) => status === wanted).length
  const state =
    result === undefined ? 'not run' : result.source === readFileSync(`${root}/${name}`, 'utf8') ? '' : 'changed since'
  return {
    name,
    killed: count('Killed'),
    timeout: count('Timeout'),
    survived: count('Survived'),
    uncovered: count('NoCoverage'),
    refused: count('CompileError'),
    state,
  }
}

/** @param {string} name @param {readonly Row[]} rows @returns {Row} */
const sum = (name, rows) => ({
  name,
  killed: rows.reduce((all, { killed }) => all + killed, 0),
  timeout: rows.reduce((all, { timeout }) => all + timeout, 0),
  survived: rows.reduce((all, { survived }) => all + survived, 0),
  uncovered: rows.reduce((all, { uncovered }) => all + uncovered, 0),
  refused: rows.reduce((all, { refused }) => all + refused, 0),
  state: ['not run', 'changed since']
    .map(state => ({ state, count: rows.filter(row => row.state === state).length }))
    .filter(({ count }) => count > 0)
    .map(({ state, count }) => `${count} ${state}`)
    .join(', '),
})

/** @param {Row} row */
const line = ({ name, killed, timeout, survived, uncovered, refused, state }) => {
  const noticed = killed + timeout
  const all = noticed + survived + uncovered
  const score = all === 0 ? '' : `${((100 * noticed) / all).toFixed(1)} %`
  const numbers = [killed, timeout, survived, uncovered, refused].map(count => `${count}`.padStart(10))
  return `${name.padEnd(36)}${score.padStart(9)}${numbers.join('')}  ${state}`.trimEnd()
}

/** The table of scores: killed and timed out of all mutants that were tried, which those that the compiler refuses are not. @param {readonly Known[]} parts */
export const scores = parts => {
  const rows = files(parts).map(row)
  const folders = [...new Set(rows.map(({ name }) => dirname(name)))]
  const head = `${''.padEnd(36)}${'score'.padStart(9)}${['killed', 'timeout', 'survived', 'no test', 'refused'].map(word => word.padStart(10)).join('')}`
  return folders
    .map(folder => {
      const inFolder = rows.filter(({ name }) => dirname(name) === folder)
      return ['', head, ...inFolder.map(line), line(sum(`${folder} in all`, inFolder))].join('\n')
    })
    .join('\n')
}
