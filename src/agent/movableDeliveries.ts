import type { Effects } from '../runtime/follow.js'
import type { Read, UnitState } from '../runtime/unit.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import { put } from '../store/index.js'
import type { DeliveryRow } from './outgoing.js'
import type { ConnectionRow } from './rows.js'
import { sndSwitchOf } from './sndSwitch.js'

/** What waits for a queue and could be delivered by another one of the connection: all but what is about this queue itself. */
export const readMovable = async (read: Read, queueId: string): Promise<readonly DeliveryRow[]> => {
  const rows = await readWaiting(read, queueId)
  const [first] = rows
  if (first === undefined) return []
  const messages = await read(sndMessages, {
    where: { connectionId: first.connectionId, messageId: { in: rows.map(row => row.messageId) }, type: 'QTEST' },
  })
  const tests = new Set(messages.map(({ messageId }) => messageId))
  return rows.filter(row => !tests.has(row.messageId))
}

/**
 * A ratchet key goes to both queues at the end of a rotation, and nothing that was encrypted before it can be read behind it: so what waits
 * for the new queue goes to the old one too, ahead of the key (B76, B78). QTEST as well, whose number would be missing: there
 * it says nothing.
 */
export const readBeforeKey = async (read: Read, state: UnitState, connection: ConnectionRow): Promise<Effects> => {
  const { old, fresh } = sndSwitchOf(state, connection) ?? {}
  if (old?.switchStatus !== 'sendingQTEST' || fresh === undefined) return {}
  const rows = await readWaiting(read, fresh.queueId)
  return {
    changes: rows.map(row => put(deliveries, { ...row, queueId: old.queueId, warned: null })),
    wakes: [{ worker: 'delivery', key: old.queueId }],
  }
}

const readWaiting = async (read: Read, queueId: string): Promise<readonly DeliveryRow[]> =>
  (await read(deliveries, { where: { queueId }, orderBy: ['messageId'] })).filter(row => !row.sent)
