import type { ActorOptions, AnyActor, AnyStateMachine, InspectionEvent, StateValue } from 'xstate'
import { stateName } from './decide.js'

/** Hears of an event that an actor has got, and of its states before and after. */
export type Traced = (event: string, from: string, to: string) => void

/** Options of an actor that tell of each of its steps; none when nobody hears. An actor that starts has no state before. */
export const tracing = <M extends AnyStateMachine>(
  actor: () => AnyActor,
  traced: Traced | undefined,
): Pick<ActorOptions<M>, 'inspect'> => {
  if (traced === undefined) return {}
  let state = ''
  return {
    inspect: (inspection: InspectionEvent) => {
      if (inspection.type !== '@xstate.snapshot' || inspection.actorRef !== actor()) return
      const from = state
      state = stateName((inspection.snapshot as unknown as { value: StateValue }).value)
      traced(inspection.event.type, from, state)
    },
  }
}
