import { createActor, type AnyStateMachine, type EventFrom, type StateValue } from 'xstate'
import { InternalError } from '../errors.js'

/** What a protocol machine wants done: the name and parameters of an action. It has done nothing yet. */
export interface Intent {
  readonly type: string
  readonly params: Readonly<Record<string, unknown>>
}

export interface Decision {
  readonly from: string
  readonly to: string
  readonly intents: readonly Intent[]
}

type Machine = AnyStateMachine

interface Scope {
  readonly actorScope: Parameters<Machine['transition']>[2]
  readonly intents: Intent[]
}

const scopes = new WeakMap<Machine, Scope>()

// One scope per machine: building an actor for each decision would cost ten times the decision.
const scopeOf = (machine: Machine): Scope => {
  const known = scopes.get(machine)
  if (known !== undefined) return known
  const self = createActor(machine)
  const intents: Intent[] = []
  const actorScope = {
    self,
    system: self.system,
    id: '',
    sessionId: '',
    logger: () => {},
    defer: () => {},
    stopChild: () => {},
    emit: () => {},
    actionExecutor: (action: { type: string; params: unknown }) => {
      intents.push({ type: action.type, params: (action.params ?? {}) as Intent['params'] })
    },
  } as unknown as Scope['actorScope']
  const scope: Scope = { actorScope, intents }
  scopes.set(machine, scope)
  return scope
}

/** A state as one text: `waiting.fast`. */
export const stateName = (value: StateValue): string =>
  typeof value === 'string'
    ? value
    : Object.entries(value)
        .map(([parent, child]) => `${parent}.${stateName(child as StateValue)}`)
        .join(',')

const stateValue = (name: string): StateValue => {
  const dot = name.indexOf('.')
  return dot < 0 ? name : { [name.slice(0, dot)]: stateValue(name.slice(dot + 1)) }
}

/**
 * One decision of a protocol machine: the state of a row and one event give the next state and typed intents. Pure: the
 * context is what the caller reads from its rows, nothing is started and nothing is done. Throws InternalError when the
 * machine does not know the state or one of its guards throws.
 */
export const decide = <M extends Machine>(
  machine: M,
  state: string,
  context: Record<string, unknown>,
  event: EventFrom<M>,
): Decision => {
  const { actorScope, intents } = scopeOf(machine)
  intents.length = 0
  let next: ReturnType<Machine['transition']>
  try {
    const snapshot = machine.resolveState({ value: stateValue(state), context })
    if (stateName(snapshot.value as StateValue) !== state) throw new Error('no such state')
    next = machine.transition(snapshot, event as never, actorScope)
  } catch (cause) {
    const { type } = event as { type: unknown }
    throw new InternalError(`machine ${machine.id} failed in ${state} on ${String(type)}`, { cause })
  }
  return { from: state, to: stateName(next.value as StateValue), intents: intents.slice() }
}
