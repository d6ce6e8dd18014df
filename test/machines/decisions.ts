import type { AnyStateMachine, EventFrom } from 'xstate'
import { decide } from '../../src/runtime/decide.js'

/** What a decision comes to, short: the next state and the names of its intents, with what they tell. */
export const decided = <M extends AnyStateMachine>(
  machine: M,
  state: string,
  event: EventFrom<M>,
  context: Record<string, unknown> = {},
): { to: string; intents: string[] } => {
  const { to, intents } = decide(machine, state, context, event)
  return {
    to,
    intents: intents.map(({ type, params }) => {
      const said = params['phase'] ?? (type === 'prohibited' || type === 'refuse' ? params['reason'] : undefined)
      return said === undefined ? type : `${type}: ${String(said)}`
    }),
  }
}

/** Takes a machine through events; the intents of every step. */
export const story = <M extends AnyStateMachine>(
  machine: M,
  start: string,
  ...events: Array<EventFrom<M>>
): { readonly state: string; readonly steps: Array<{ to: string; intents: string[] }> } => {
  let state = start
  const steps = events.map(event => {
    const step = decided(machine, state, event)
    state = step.to
    return step
  })
  return { state, steps }
}
