/** Every way through every machine, as XState generates it: from the start, by every event in every variant. */
import { type AnyStateMachine, initialTransition, type StateValue, transition } from 'xstate'
import { getAdjacencyMap, getShortestPaths } from 'xstate/graph'
import { describe, expect, it } from 'vitest'
import { type Walk, walks } from '../../machines/walks.js'
import { decide } from '../../src/runtime/decide.js'
import { shareOf } from '../transitions/taken.js'

interface Node {
  readonly value: StateValue
  readonly context: object
}

const limit = 50_000

// Counters grow without end: whether they are 0, 1 or more is enough; how long a delay is decides nothing.
const coarse = (state: unknown): string => {
  const { value, context } = state as Node
  return JSON.stringify([value, context], (key, part: unknown) =>
    /delay|elapsed|waitMs/i.test(key) ? undefined : typeof part === 'number' ? Math.min(part, 2) : part,
  )
}

const eventsOf = ({ events, internal }: Walk): readonly object[] => [...Object.values(events).flat(), ...internal]

interface Start {
  readonly machine: AnyStateMachine
  readonly fromState: unknown
}

/** The machines of a walk, each from each of its starts. */
const startsOf = (walk: Walk): Start[] =>
  walk.machines.flatMap((machine): Start[] =>
    walk.contexts.length === 0
      ? [{ machine, fromState: undefined }]
      : walk.contexts.map(context => ({
          machine,
          fromState: machine.resolveState({ value: machine.root.initial.target[0]?.key as string, context }),
        })),
  )

const optionsOf = (walk: Walk, fromState: unknown) => ({
  ...(fromState === undefined ? {} : { fromState: fromState as never }),
  input: walk.input as never,
  events: eventsOf(walk) as never,
  serializeState: coarse,
  limit,
})

const nameOf = (value: StateValue): string =>
  typeof value === 'string'
    ? value
    : Object.entries(value)
        .map(([parent, child]) => `${parent}.${nameOf(child as StateValue)}`)
        .join(',')

/**
 * Where each machine comes to rest, whatever has happened to it. A connection that is not deleted can still be completed, a switch and a
 * synchronisation can still succeed, and every worker can still run out of work.
 */
const rests: Readonly<Record<string, { readonly at: readonly string[]; readonly unless?: readonly string[] }>> = {
  connection: { at: ['connected'], unless: ['contact', 'closing', 'deleted'] },
  rcvQueue: { at: ['disabled'] },
  sndQueue: { at: ['active'], unless: ['disabled'] },
  subscription: { at: ['active'] },
  rcvQueueSwitch: { at: ['completed'] },
  sndQueueSwitch: { at: ['completed'] },
  ratchetSync: { at: ['ok'] },
  sndQueueDelivery: { at: ['idle'] },
  commandWorker: { at: ['idle'] },
  routerSession: { at: ['closed'] },
  agentOperations: { at: ['suspended'] },
  cleanup: { at: ['waiting'] },
  signalSocket: { at: ['stopped'] },
  signalSend: { at: ['idle'] },
  signalSync: { at: ['idle'] },
  signalLinking: { at: ['linked'], unless: ['failed'] },
}

describe.each(walks)('$name', walk => {
  const maps = startsOf(walk).map(({ machine, fromState }) =>
    getAdjacencyMap(machine as never, optionsOf(walk, fromState)),
  )
  const nodes = new Map<string, Node>()
  for (const map of maps) for (const [key, { state }] of Object.entries(map)) nodes.set(key, state as Node)

  it('has no transition that no generated way takes', () => {
    // What the runtime answers, and what a row holds, may be another thing with each event.
    for (const { value, context } of nodes.values()) {
      for (const machine of walk.machines) {
        for (const row of walk.contexts.length > 0 ? walk.contexts : [context]) {
          const state = machine.resolveState({ value, context: row })
          for (const event of eventsOf(walk)) transition(machine, state, event as never)
        }
      }
    }
    const [machine] = walk.machines as [AnyStateMachine]
    expect(shareOf(machine).untaken).toEqual([])
  })

  it('comes to the same decisions along every generated way, by the function that the runtime asks and by XState’s own', () => {
    for (const { machine, fromState } of startsOf(walk)) {
      const paths = getShortestPaths(machine as never, optionsOf(walk, fromState))
      expect(paths.length).toBeGreaterThan(1)
      for (const path of paths) {
        let state = (fromState ?? initialTransition(machine, walk.input as never)[0]) as never
        for (const { event } of path.steps) {
          if ((event as { type: string }).type === 'xstate.init') continue
          const [next, actions] = transition(machine as never, state, event as never)
          const { value, context } = state as Node
          if (walk.contexts.length > 0) {
            const decision = decide(machine, nameOf(value), context as never, event as never)
            expect(decision.to).toBe(nameOf((next as Node).value))
            expect(decision.intents.map(({ type }) => type)).toEqual(
              (actions as Array<{ type: string }>).map(({ type }) => type),
            )
          }
          state = next as never
        }
        expect(coarse(state)).toBe(coarse(path.state))
      }
    }
  })

  it('can come to rest from wherever it can get to', () => {
    const { at, unless = [] } = rests[walk.name] as (typeof rests)[string]
    const before = new Map<string, Set<string>>()
    const names = new Map([...nodes].map(([key, { value }]) => [key, nameOf(value)]))
    for (const map of maps) {
      for (const [from, { transitions }] of Object.entries(map)) {
        for (const next of Object.values(transitions)) {
          const key = coarse((next as { state: unknown }).state)
          before.set(key, (before.get(key) ?? new Set()).add(from))
        }
      }
    }
    const resting = [...names].filter(([, name]) => at.includes(name)).map(([key]) => key)
    expect(new Set(resting.map(key => names.get(key)))).toEqual(new Set(at))
    const reaching = new Set(resting)
    for (const key of reaching) for (const from of before.get(key) ?? []) reaching.add(from)
    const trapped = [...names].filter(([key, name]) => !reaching.has(key) && !unless.includes(name))
    expect(trapped.map(([, name]) => name)).toEqual([])
  })
})
