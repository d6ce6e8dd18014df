import { ratchetSyncMachine } from '../../machines/ratchetSync.js'
import { decide } from '../runtime/decide.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { UnitState } from '../runtime/unit.js'
import { patchConnection } from './arrival.js'
import { type ConnectionRow, eventOf } from './rows.js'

/**
 * A message was decrypted (B37): the ratchetSync machine says whether that ends a state in which the two ratchets did not fit, which RSYNC
 * tells.
 */
export const ratchetWorks = (state: UnitState, connection: ConnectionRow): Effects => {
  // Asked for every message, and in step nearly always: the machine ignores it there.
  if (connection.ratchetSync === 'ok') return {}
  const event = { type: 'message.decrypted' } as const
  const decision = decide(ratchetSyncMachine, connection.ratchetSync, {}, event)
  state.traced('ratchetSync', connection.connectionId, event.type, decision)
  const { changes, events } = follow(decision, {
    notifySync: () => ({ events: [eventOf(connection, 'RSYNC', { state: decision.to })] }),
  })
  const changed = decision.from === decision.to ? [] : [patchConnection(connection, { ratchetSync: decision.to })]
  return { changes: [...changed, ...changes], events }
}
