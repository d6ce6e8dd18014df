import { behaviours } from '../../../../machines/behaviours.js'
import { type Chart, type ChartTransition, textOf } from '../chart.js'
import type { NamedMachine } from '../machines.js'
import { mermaidOf } from './mermaid.js'

const generated = '<!-- Generated from machines/ by `npm run statecharts`; a test checks that it is fresh. -->'

/** The page of one machine in docs/statecharts. */
export const markdownOf = ({ kind }: Pick<NamedMachine, 'kind'>, chart: Chart): string => {
  const served = [...new Set(chart.states.flatMap(({ spec }) => spec))].sort()
  const leaves = chart.states.filter(({ path }) => path !== '')
  return `${[
    generated,
    `# ${chart.name}`,
    `${chart.description}. ${kindText[kind]}`,
    `\`\`\`mermaid\n${mermaidOf(chart)}\`\`\``,
    '## States',
    table(
      ['State', 'What it is', 'Behaviours'],
      leaves.map(({ path, description, spec }) => [code(path), description, spec.join(' ')]),
    ),
    '## Transitions',
    table(
      ['In', 'Event', 'When', 'Then', 'Does'],
      chart.transitions.map(transition => [
        transition.source === '' ? 'any state' : code(transition.source),
        transition.label,
        transition.guard === undefined ? '' : code(textOf(transition.guard)),
        targetText(transition),
        transition.actions.map(action => code(textOf(action))).join(', '),
      ]),
    ),
    '## Events that mean nothing, and why',
    table(
      ['In', 'Event', 'Because'],
      chart.states.flatMap(({ path, ignores }) =>
        Object.entries(ignores).map(([event, reason]) => [path === '' ? 'any state' : code(path), event, reason]),
      ),
    ),
    '## Behaviours',
    table(
      ['Id', 'Promise'],
      served.map(id => [id, behaviours.find(behaviour => behaviour.id === id)?.title ?? '']),
    ),
  ].join('\n\n')}\n`
}

/** The list of machines in docs/statecharts. */
export const markdownIndex = (all: ReadonlyArray<{ readonly machine: NamedMachine; readonly chart: Chart }>): string =>
  `${[
    generated,
    '# Statecharts',
    'Every machine that runs, as it is in `machines/`. `npm run visualizer` shows them in a browser, to walk and to replay.',
    table(
      ['Machine', 'Kind', 'What it decides', 'States', 'Transitions'],
      all.map(({ machine: { name, kind }, chart }) => [
        `[${name}](${name}.md)`,
        kind,
        chart.description,
        String(chart.states.length - 1),
        String(chart.transitions.length),
      ]),
    ),
  ].join('\n\n')}\n`

const kindText = {
  protocol: 'A protocol machine: one event, one decision; its actions are intents that the unit of work carries out.',
  worker: 'A worker machine: a live actor that starts when there is work and is thrown away when there is none.',
} as const

const targetText = ({ target, source, reenter }: ChartTransition): string => {
  if (target === undefined) return 'stays'
  return target === source && reenter ? `${code(target)} again` : code(target)
}

const code = (text: string): string => `\`${text}\``

const table = (head: readonly string[], rows: ReadonlyArray<readonly string[]>): string =>
  rows.length === 0
    ? 'None.'
    : [head, head.map(() => '---'), ...rows]
        .map(cells => `| ${cells.map(cell => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`)
        .join('\n')
