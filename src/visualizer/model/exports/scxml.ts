import type { Chart, ChartState, ChartTransition, Named } from '../chart.js'

/**
 * The chart as SCXML (W3C). Guards are conditions by name, actions are elements of the namespace `urn:duologue`: their
 * meaning is the runtime's.
 */
export const scxmlOf = (chart: Chart): string => {
  const root = chart.states.find(({ path }) => path === '')
  const lines = ['<?xml version="1.0" encoding="UTF-8"?>']
  const initial = root?.initial === undefined ? '' : ` initial="${escapeXml(root.initial)}"`
  lines.push(
    `<scxml xmlns="http://www.w3.org/2005/07/scxml" xmlns:duo="urn:duologue" version="1.0" datamodel="null" name="${escapeXml(chart.name)}"${initial}>`,
  )
  // SCXML has no transitions of the document itself: what holds everywhere is written into a state around all.
  const everywhere = chart.transitions.some(({ source }) => source === '')
  if (everywhere) lines.push(`  <state id="${escapeXml(chart.name)}"${initial}>`)
  const indent = everywhere ? '    ' : '  '
  if (everywhere) lines.push(...transitionsAt(chart, '', indent))
  for (const child of root?.children ?? []) lines.push(...stateLines(chart, child, indent))
  if (everywhere) lines.push('  </state>')
  lines.push('</scxml>')
  return `${lines.join('\n')}\n`
}

const stateLines = (chart: Chart, path: string, indent: string): string[] => {
  const state = chart.states.find(state => state.path === path)
  if (state === undefined) return []
  const element = state.kind === 'parallel' || state.kind === 'final' ? state.kind : 'state'
  const initial = state.initial === undefined ? '' : ` initial="${escapeXml(state.initial)}"`
  const inner = `${indent}  `
  const timers = chart.transitions.filter(({ source, kind }) => source === path && kind === 'after')
  return [
    `${indent}<${element} id="${escapeXml(path)}"${initial}>`,
    `${inner}<duo:description>${escapeXml(state.description)}</duo:description>`,
    ...(state.spec.length === 0 ? [] : [`${inner}<duo:behaviours ids="${state.spec.join(' ')}"/>`]),
    ...executable('onentry', [...state.entry.map(actionXml), ...timers.map(timerXml)], inner),
    ...executable('onexit', [...state.exit.map(actionXml), ...timers.map(cancelXml)], inner),
    ...state.invokes.map(src => `${inner}<invoke src="${escapeXml(src)}"/>`),
    ...transitionsAt(chart, path, inner),
    ...ignoredXml(state, inner),
    ...state.children.flatMap(child => stateLines(chart, child, inner)),
    `${indent}</${element}>`,
  ]
}

const transitionsAt = (chart: Chart, path: string, indent: string): string[] =>
  chart.transitions
    .filter(({ source }) => source === path)
    .flatMap(({ event, kind, guard, target, actions, reenter }) => {
      const attributes = [
        ...(kind === 'always' ? [] : [`event="${escapeXml(event)}"`]),
        ...(guard === undefined ? [] : [`cond="${escapeXml(guardText(guard))}"`]),
        ...(target === undefined ? [] : [`target="${escapeXml(target)}"`]),
        ...(target === undefined || reenter ? [] : ['type="internal"']),
      ].join(' ')
      return actions.length === 0
        ? [`${indent}<transition ${attributes}/>`]
        : [
            `${indent}<transition ${attributes}>`,
            ...actions.map(action => `${indent}  ${actionXml(action)}`),
            `${indent}</transition>`,
          ]
    })

const executable = (element: string, content: readonly string[], indent: string): string[] =>
  content.length === 0
    ? []
    : [`${indent}<${element}>`, ...content.map(line => `${indent}  ${line}`), `${indent}</${element}>`]

const guardText = ({ name, params }: Named): string =>
  params === undefined ? name : `${name}(${JSON.stringify(params)})`

const actionXml = ({ name, params }: Named): string =>
  `<duo:action name="${escapeXml(name)}"${params === undefined ? '' : ` params="${escapeXml(JSON.stringify(params))}"`}/>`

const timerXml = ({ event, label }: ChartTransition): string =>
  `<send event="${escapeXml(event)}" id="${escapeXml(event)}" delayexpr="${escapeXml(label.replace(/^after /, ''))}"/>`

const cancelXml = ({ event }: ChartTransition): string => `<cancel sendid="${escapeXml(event)}"/>`

const ignoredXml = ({ ignores }: ChartState, indent: string): string[] =>
  Object.entries(ignores).map(
    ([event, reason]) => `${indent}<duo:ignores event="${escapeXml(event)}" reason="${escapeXml(reason)}"/>`,
  )

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
