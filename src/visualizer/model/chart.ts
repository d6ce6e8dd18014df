/** A machine as data: what is drawn, exported, compared and reported. */
import type { AnyStateMachine, AnyStateNode, AnyTransitionDefinition } from 'xstate'
import type { StateMeta } from '../../../machines/stub.js'

/** An action or guard as it is written down: its name and, if it has some, its parameters. */
export interface Named {
  readonly name: string
  readonly params?: Readonly<Record<string, unknown>>
}

export type StateKind = 'atomic' | 'compound' | 'parallel' | 'final' | 'history'
export type TransitionKind = 'event' | 'always' | 'after' | 'done' | 'error'

export interface ChartState {
  /** Path from the root, dotted: `waiting.slow`; empty for the machine itself. */
  readonly path: string
  readonly key: string
  readonly kind: StateKind
  readonly parent: string | undefined
  readonly children: readonly string[]
  /** Path of the state that is entered first. */
  readonly initial: string | undefined
  readonly description: string
  readonly spec: readonly string[]
  /** Events that mean nothing here, with the reason. */
  readonly ignores: Readonly<Record<string, string>>
  readonly entry: readonly Named[]
  readonly exit: readonly Named[]
  /** Names of the work that runs while the state is entered. */
  readonly invokes: readonly string[]
}

export interface ChartTransition {
  /** Stable name: source, event and place among the source's transitions for it. */
  readonly id: string
  readonly source: string
  /** Path of the target; undefined when the state is not left. */
  readonly target: string | undefined
  /** The event's type as the machine knows it. */
  readonly event: string
  /** The event as it is read: `after slow`, `runNext done`. */
  readonly label: string
  readonly kind: TransitionKind
  readonly guard: Named | undefined
  readonly actions: readonly Named[]
  /** The state is left and entered again although it is its own target. */
  readonly reenter: boolean
}

export interface Chart {
  readonly name: string
  readonly description: string
  readonly states: readonly ChartState[]
  readonly transitions: readonly ChartTransition[]
  /** Types of the events that the machine handles, without those of timers and invoked work. */
  readonly events: readonly string[]
}

const pathOf = (node: AnyStateNode): string => node.path.join('.')

const childrenOf = (node: AnyStateNode): AnyStateNode[] => Object.values(node.states) as AnyStateNode[]

const nodesOf = (node: AnyStateNode): AnyStateNode[] => [node, ...childrenOf(node).flatMap(nodesOf)]

/** The name under which a transition definition is known in coverage, diffs and links. */
export const transitionId = (definition: AnyTransitionDefinition): string => {
  const node = definition.source as AnyStateNode
  const isAlways = node.always?.includes(definition) ?? false
  const list = isAlways ? (node.always ?? []) : (node.transitions.get(definition.eventType) ?? [])
  return idOf(pathOf(node), isAlways ? 'always' : definition.eventType, list.indexOf(definition))
}

const idOf = (source: string, event: string, index: number): string => `${source || '(any)'} | ${event} | ${index}`

/** The chart of a machine. */
export const chartOf = (machine: AnyStateMachine): Chart => {
  const nodes = nodesOf(machine.root as AnyStateNode)
  return {
    name: machine.id,
    description: machine.root.description ?? '',
    states: nodes.map(stateOf),
    transitions: nodes.flatMap(transitionsOf),
    events: [...new Set(nodes.flatMap(node => [...node.transitions.keys()]))]
      .filter(type => !type.startsWith('xstate.'))
      .sort(),
  }
}

const stateOf = (node: AnyStateNode): ChartState => {
  const meta = node.meta as StateMeta | undefined
  return {
    path: pathOf(node),
    key: node.key,
    kind: node.type,
    parent: node.parent === undefined ? undefined : pathOf(node.parent as AnyStateNode),
    children: childrenOf(node).map(pathOf),
    initial: initialOf(node),
    description: node.description ?? '',
    spec: meta?.spec ?? [],
    ignores: meta?.ignores ?? {},
    entry: namesOf(node.entry.filter(isDrawn)),
    exit: namesOf(node.exit.filter(isDrawn)),
    invokes: node.invoke.map(({ src }) => (typeof src === 'string' ? src : 'invoked work')),
  }
}

// XState writes timers down as actions of entry and exit too.
const isDrawn = (action: unknown): boolean =>
  !(typeof action === 'function' && 'type' in action && timerActions.has(String(action.type)))
const timerActions = new Set(['xstate.raise', 'xstate.cancel'])

const initialOf = (node: AnyStateNode): string | undefined => {
  const target = node.type === 'compound' ? (node.initial?.target?.[0] as AnyStateNode | undefined) : undefined
  return target === undefined ? undefined : pathOf(target)
}

const transitionsOf = (node: AnyStateNode): ChartTransition[] => {
  const always = (node.always ?? []).map((definition, index) => transitionOf(node, 'always', definition, index))
  const events = [...node.transitions.entries()].flatMap(([event, definitions]) =>
    definitions.map((definition, index) => transitionOf(node, event, definition, index)),
  )
  return [...always, ...events]
}

const transitionOf = (
  node: AnyStateNode,
  event: string,
  definition: AnyTransitionDefinition,
  index: number,
): ChartTransition => {
  const target = definition.target?.[0] as AnyStateNode | undefined
  return {
    id: idOf(pathOf(node), event, index),
    source: pathOf(node),
    target: target === undefined ? undefined : pathOf(target),
    event,
    ...labelOf(node, event),
    guard: definition.guard === undefined ? undefined : namedOf(definition.guard),
    actions: namesOf(definition.actions),
    reenter: definition.reenter,
  }
}

const labelOf = (node: AnyStateNode, event: string): { label: string; kind: TransitionKind } => {
  if (event === 'always') return { label: 'at once', kind: 'always' }
  const timer = event.startsWith('xstate.after.')
    ? node.after.find(({ eventType }) => eventType === event)?.delay
    : undefined
  if (timer !== undefined) {
    return { label: `after ${typeof timer === 'number' ? `${timer} ms` : String(timer)}`, kind: 'after' }
  }
  const [, kind, id] = /^xstate\.(done|error)\.actor\.(.*)$/.exec(event) ?? []
  if (kind === 'done' || kind === 'error') {
    const src = node.invoke.find(invoke => invoke.id === id)?.src
    return { label: `${typeof src === 'string' ? src : 'work'} ${kind === 'done' ? 'done' : 'failed'}`, kind }
  }
  if (event.startsWith('xstate.done.state.')) return { label: 'done', kind: 'done' }
  return { label: event, kind: 'event' }
}

const namesOf = (actions: unknown): Named[] =>
  (Array.isArray(actions) ? actions : actions === undefined ? [] : [actions]).map(namedOf)

const namedOf = (value: unknown): Named => {
  if (typeof value === 'string') return { name: value }
  if (typeof value === 'function') return { name: combinedName(value as Combined) ?? (value.name || 'inline') }
  const { type, params } = value as { type: string; params?: unknown }
  return typeof params === 'object' && params !== null
    ? { name: type, params: params as Record<string, unknown> }
    : { name: type }
}

interface Combined {
  readonly guards?: readonly unknown[]
  readonly check?: { readonly name: string }
}

// and(), or() and not() of XState are functions that carry their parts.
const combinedName = ({ guards, check }: Combined): string | undefined => {
  if (guards === undefined) return undefined
  const names = guards.map(guard => textOf(namedOf(guard)))
  if (check?.name === 'checkNot') return `not ${names.join()}`
  return names.join(check?.name === 'checkOr' ? ' or ' : ' and ')
}

/** A name with its parameters: `stopOperation(receiving)`. */
export const textOf = ({ name, params }: Named): string => {
  const values = Object.values(params ?? {})
  return values.length === 0
    ? name
    : `${name}(${values.map(value => (typeof value === 'string' ? value : JSON.stringify(value))).join(', ')})`
}

/** The states that are entered together with a state, from the root to it. */
export const ancestry = (path: string): string[] => {
  const keys = path === '' ? [] : path.split('.')
  return ['', ...keys.map((_, index) => keys.slice(0, index + 1).join('.'))]
}

/** The reasons for which a state ignores events, its own and those of the states around it. */
export const ignoresAt = (chart: Chart, path: string): Readonly<Record<string, string>> =>
  Object.assign(
    {},
    ...ancestry(path).map(around => chart.states.find(state => state.path === around)?.ignores ?? {}),
  ) as Record<string, string>
