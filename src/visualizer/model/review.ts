/** A review of all machines: what `duologue review` prints and puts into the page. */
import { behaviours } from '../../../machines/behaviours.js'
import { type Coverage, type MachineReview, reviewOf } from './analysis.js'
import { type Chart, chartOf } from './chart.js'
import type { NamedMachine } from './machines.js'

export interface ChartPair {
  readonly name: string
  readonly before: Chart | null
  readonly after: Chart | null
}

/** What a page with a review holds. */
export interface ReviewData {
  readonly coverage: Coverage | undefined
  readonly diff: { readonly from: string; readonly to: string; readonly charts: readonly ChartPair[] } | undefined
}

export interface Review {
  readonly machines: readonly MachineReview[]
  /** Ids that states name and the list of behaviours does not. */
  readonly unknown: readonly string[]
  /** Behaviours whose owner is one of the machines and that no state names. */
  readonly unserved: readonly string[]
}

export const reviewAll = (machines: readonly NamedMachine[], coverage?: Coverage): Review => {
  const reviews = machines.map(named => reviewOf(named, chartOf(named.machine), coverage))
  const served = new Set(reviews.flatMap(({ spec }) => spec))
  const names = new Set(machines.map(({ name }) => name))
  return {
    machines: reviews,
    unknown: [...served].filter(id => !behaviours.some(behaviour => behaviour.id === id)).sort(),
    unserved: behaviours.filter(({ id, owner }) => names.has(owner) && !served.has(id)).map(({ id }) => id),
  }
}

const shareText = (coverage: MachineReview['coverage']): string => {
  if (coverage === undefined) return '–'
  const all = coverage.taken + coverage.untaken.length
  return `${coverage.taken}/${all} (${all === 0 ? 100 : Math.floor((100 * coverage.taken) / all)} %)`
}

/** The review as a table and the findings below it. */
export const reviewText = ({ machines, unknown, unserved }: Review): string => {
  const head = ['machine', 'kind', 'states', 'events', 'transitions', 'taken by tests', 'unreachable', 'not total']
  const rows = machines.map(one => [
    one.name,
    one.kind,
    String(one.states),
    String(one.events),
    String(one.transitions),
    shareText(one.coverage),
    String(one.unreachable.length),
    String(one.silent.length),
  ])
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map(row => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  const findings = [
    ...machines.flatMap(({ name, unreachable }) => unreachable.map(state => `${name}: ${state} cannot be reached`)),
    ...machines.flatMap(({ name, silent }) =>
      silent.map(({ state, event }) => `${name}: ${state} neither handles ${event} nor says why`),
    ),
    ...machines.flatMap(({ name, coverage }) =>
      (coverage?.untaken ?? []).map(id => `${name}: no test takes ${id.replaceAll(' | ', ' × ')}`),
    ),
    ...unknown.map(id => `${id} is named by a state and is no behaviour`),
    ...(unserved.length === 0 ? [] : [`served by no state of their machine: ${unserved.join(' ')}`]),
  ]
  return `${[line(head), ...rows.map(line), ...(findings.length === 0 ? [] : ['', ...findings])].join('\n')}\n`
}
