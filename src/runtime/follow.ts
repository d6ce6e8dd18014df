import { InternalError } from '../errors.js'
import type { Change } from '../store/index.js'
import type { Decision, Intent } from './decide.js'
import type { NewEvent, Wake } from './unit.js'

/** What an intent becomes: rows, events and wake-ups. */
export interface Effects {
  readonly changes?: readonly Change[]
  readonly events?: readonly NewEvent[]
  readonly wakes?: readonly Wake[]
}

/** How a unit of work turns the intents of a machine into effects: one entry for each that its event can lead to. */
export type Doings = Readonly<Record<string, (params: Intent['params']) => Effects>>

/**
 * The effects of a decision, in the order of its intents: the machine says what is done, the unit says how. Throws InternalError
 * for an intent that the unit does not know, so that no intent is ever passed over.
 */
export const follow = ({ intents }: Pick<Decision, 'intents'>, doings: Doings): Required<Effects> => {
  const changes: Change[] = []
  const events: NewEvent[] = []
  const wakes: Wake[] = []
  for (const { type, params } of intents) {
    const effects = doings[type]?.(params)
    if (effects === undefined) throw new InternalError(`nobody follows the intent ${type}`, { field: type })
    changes.push(...(effects.changes ?? []))
    events.push(...(effects.events ?? []))
    wakes.push(...(effects.wakes ?? []))
  }
  return { changes, events, wakes }
}
