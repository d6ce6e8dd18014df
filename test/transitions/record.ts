/**
 * Notes which transitions of which machines a test file takes, through whatever runs them: the runtime, live actors or a test by
 * itself. XState tells each step of a machine to its system; here that word is listened to.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, expect } from 'vitest'
import { type AnyTransitionDefinition, createMachine } from 'xstate'
import { transitionId } from '../../src/visualizer/model/chart.js'
import { keyOf, required, taken } from './taken.js'

/** Where each test file leaves what it took; the end of the run makes one file of them. */
export const directory = new URL('../results/transitions/', import.meta.url)

interface Scope {
  readonly system: { _sendInspectionEvent(event: unknown): void }
}
type Transition = (this: { readonly id: string }, snapshot: unknown, event: unknown, scope: Scope) => unknown

const listening = new WeakMap<Scope, Scope>()

const note = (machine: string, inspection: unknown): void => {
  const { type, _transitions: transitions = [] } = inspection as {
    type: string
    _transitions?: readonly AnyTransitionDefinition[]
  }
  if (type !== '@xstate.microstep') return
  for (const transition of transitions) {
    const key = keyOf(machine, transitionId(transition))
    taken.set(key, (taken.get(key) ?? 0) + 1)
  }
}

// The scope as it is, with a system that tells twice.
const listeningScope = (machine: string, scope: Scope): Scope => {
  const known = listening.get(scope)
  if (known !== undefined) return known
  const { system } = scope
  const heard = Object.create(system, {
    _sendInspectionEvent: {
      value: (inspection: unknown) => {
        note(machine, inspection)
        system._sendInspectionEvent(inspection)
      },
    },
  }) as Scope['system']
  const listener = Object.create(scope, { system: { value: heard } }) as Scope
  listening.set(scope, listener)
  return listener
}

const prototype = Object.getPrototypeOf(createMachine({})) as { transition: Transition }
const { transition } = prototype
prototype.transition = function listened(snapshot, event, scope) {
  return transition.call(this, snapshot, event, listeningScope(this.id, scope))
}

// Generated walks that take everything by design would say that all is tested.
const walksAll = /test\/(visualizer\/|machines\/(totality|.*\.property)\.test)/

afterAll(() => {
  const path = expect.getState().testPath ?? 'test'
  if (taken.size === 0 || walksAll.test(path)) return
  mkdirSync(directory, { recursive: true })
  const name = `${basename(path)}.${process.pid}.json`
  writeFileSync(join(directory.pathname, name), JSON.stringify({ taken: [...taken], required: [...required] }))
})
