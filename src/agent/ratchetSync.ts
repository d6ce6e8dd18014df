import type { Effects } from '../runtime/follow.js'
import { patchConnection } from './arrival.js'
import { type ConnectionRow, eventOf } from './rows.js'

/**
 * A message was decrypted (B37): the two ratchets fit, so a connection that was out of step is so no more. Not one that has started a
 * synchronisation: the other party’s answer ends that.
 */
export const ratchetWorks = (connection: ConnectionRow): Required<Omit<Effects, 'wakes'>> => {
  if (connection.ratchetSync === 'ok' || connection.ratchetSync === 'started') return { changes: [], events: [] }
  return {
    changes: [patchConnection(connection, { ratchetSync: 'ok' })],
    events: [eventOf(connection, 'RSYNC', { state: 'ok' })],
  }
}
