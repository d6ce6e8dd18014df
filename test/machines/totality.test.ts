import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type AnyStateMachine, type AnyStateNode, initialTransition, type StateValue } from 'xstate'
import { getAdjacencyMap, getStateNodes } from 'xstate/graph'
import { describe, expect, it } from 'vitest'
import { protocolMachines, type StateMeta, workerMachines } from '../../machines/index.js'
import { type Walk, walks } from '../../machines/walks.js'

const ancestry = (node: AnyStateNode): AnyStateNode[] =>
  node.parent === undefined ? [node] : [node, ...ancestry(node.parent)]

const states = (machine: AnyStateMachine): AnyStateNode[] => getStateNodes(machine.root)
const leaves = (machine: AnyStateMachine): AnyStateNode[] =>
  states(machine).filter(node => Object.keys(node.states).length === 0)

const metaOf = (node: AnyStateNode): StateMeta | undefined => node.meta as StateMeta | undefined

const ignoresOf = (node: AnyStateNode): Record<string, string> =>
  Object.assign({}, ...ancestry(node).map(ancestor => metaOf(ancestor)?.ignores ?? {})) as Record<string, string>

const valueOf = (node: AnyStateNode): StateValue =>
  node.path.reduceRight<StateValue | undefined>(
    (child, key) => (child === undefined ? key : { [key]: child }),
    undefined,
  ) as StateValue

/** A transition that says nothing: neither a target nor actions. It stands for "ignored here" and needs its reason. */
const isEmpty = (transition: { readonly target?: unknown; readonly actions: readonly unknown[] }): boolean =>
  transition.target === undefined && transition.actions.length === 0

const contextsOf = ({ contexts, input }: Walk, machine: AnyStateMachine): readonly object[] =>
  contexts.length > 0 ? contexts : [(initialTransition(machine, input as never)[0] as { context: object }).context]

/** Every state × event variant × context, with the transitions that it enables. */
const enabled = (walk: Walk) =>
  walk.machines.flatMap(machine =>
    leaves(machine).flatMap(node =>
      Object.entries(walk.events).flatMap(([type, variants]) =>
        variants.flatMap(event =>
          contextsOf(walk, machine).map(context => {
            const snapshot = machine.resolveState({ value: valueOf(node), context })
            return { node, type, event, transitions: machine.getTransitionData(snapshot, event) }
          }),
        ),
      ),
    ),
  )

describe('every machine', () => {
  it('is walked by these tests', () => {
    const exported = Object.keys({ ...protocolMachines, ...workerMachines })
    expect(walks.map(walk => walk.name).sort()).toEqual(exported.sort())
    for (const walk of walks) for (const machine of walk.machines) expect(machine.id).toBe(walk.name)
  })

  it('has a file of tests that must take each of its transitions, none of them by luck', () => {
    const folder = new URL('./', import.meta.url)
    const required = readdirSync(folder).flatMap(file => {
      const text = readFileSync(new URL(file, folder), 'utf8')
      const machines = [...text.matchAll(/^takesEveryTransition\((\w+)Machine\)$/gm)].map(([, name]) => name)
      if (machines.length === 0) return []
      expect(text, file).not.toMatch(/fast-check|xstate\/graph/)
      // What holds whatever happens to it stands beside.
      expect(existsSync(new URL(file.replace('.test.', '.property.test.'), folder)), file).toBe(true)
      return machines
    })
    expect(required.sort()).toEqual(walks.map(walk => walk.name).sort())
  })
})

describe.each(walks)('$name', walk => {
  const [machine] = walk.machines as [AnyStateMachine]

  it('knows no event beside those of its type', () => {
    const known = machine.events.filter(type => !type.startsWith('xstate.'))
    expect(known.filter(type => !(type in walk.events))).toEqual([])
  })

  it('says in every state what the state is and which behaviours it serves', () => {
    for (const node of states(machine)) {
      expect(node.description, node.id).toMatch(/\S/)
      expect(metaOf(node)?.spec, node.id).not.toHaveLength(0)
      for (const row of metaOf(node)?.spec ?? []) expect(row, node.id).toMatch(/^[BS]\d\d$/)
    }
  })

  it('handles every event in every variant in every state, or says why it is ignored', () => {
    const silent = enabled(walk)
      .filter(({ transitions }) => transitions.length === 0)
      .filter(({ node, type }) => !/\S/.test(ignoresOf(node)[type] ?? ''))
      .map(({ node, event }) => `${node.id} × ${JSON.stringify(event)}`)
    expect(silent).toEqual([])
  })

  it('lists nothing as ignored that it handles or does not know', () => {
    const wrong = enabled(walk)
      .filter(({ node, type }) => type in ignoresOf(node))
      .filter(({ transitions }) => !transitions.every(isEmpty))
      .map(({ node, event }) => `${node.id} × ${JSON.stringify(event)}`)
    expect(wrong).toEqual([])
    for (const node of states(machine)) {
      for (const type of Object.keys(metaOf(node)?.ignores ?? {})) expect(walk.events, node.id).toHaveProperty([type])
    }
  })

  it('leaves an event alone only where a reason or a guard says so', () => {
    const bare = leaves(machine).flatMap(node =>
      Object.keys(walk.events)
        .filter(type => !(type in ignoresOf(node)))
        .filter(type => {
          const nearest = ancestry(node).find(ancestor => ancestor.transitions.has(type))
          return nearest?.transitions.get(type)?.every(isEmpty) ?? false
        })
        .map(type => `${node.id} × ${type}`),
    )
    expect(bare).toEqual([])
  })

  it('reaches every state, with contexts that are plain JSON', () => {
    const events = [...Object.values(walk.events).flat(), ...walk.internal]
    const reached = new Set<string>()
    const contexts: unknown[] = []
    for (const machine of walk.machines) {
      const starts =
        walk.contexts.length > 0
          ? walk.contexts.map(context =>
              machine.resolveState({ value: machine.root.initial.target[0]?.key as string, context }),
            )
          : [undefined]
      for (const fromState of starts) {
        const map = getAdjacencyMap(machine as never, {
          ...(fromState === undefined ? {} : { fromState: fromState as never }),
          input: walk.input as never,
          events: events as never,
          serializeState: state =>
            JSON.stringify([(state as { value: unknown }).value, bounded((state as { context: unknown }).context)]),
          limit: 50_000,
        })
        for (const { state } of Object.values(map)) {
          const snapshot = state as unknown as { _nodes: AnyStateNode[]; context: unknown; status: string }
          expect(snapshot.status).toBe('active')
          for (const node of snapshot._nodes) reached.add(node.id)
          contexts.push(snapshot.context)
        }
      }
    }
    expect(
      states(machine)
        .map(node => node.id)
        .filter(id => !reached.has(id)),
    ).toEqual([])
    for (const context of contexts) expect(JSON.parse(JSON.stringify(context))).toEqual(context)
  })
})

/** Counters of a context grow without end: for the walk it is enough whether they are 0, 1 or more. */
const bounded = (context: unknown): unknown =>
  JSON.parse(JSON.stringify(context), (_key, value: unknown) =>
    typeof value === 'number' ? Math.min(value, 2) : value,
  )
