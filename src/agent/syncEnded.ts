import type { RatchetState } from '../ratchet/index.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { UnitState } from '../runtime/unit.js'
import { connections } from '../store/agent/connections.js'
import type { Change } from '../store/index.js'
import type { AgentContext } from './context.js'
import { encodeContent, enqueueMessage } from './outgoing.js'
import { decideSync, syncChange, syncEvent } from './ratchetSync.js'
import { decideRcvSwitch, rcvSwitchOf } from './rcvSwitch.js'
import { type ConnectionRow, sndQueuesOf, usedSndQueue } from './rows.js'
import { decideSndSwitch, sndSwitchOf } from './sndSwitch.js'

/** Effects, and the connection as they leave it: the next message must be enqueued on that one. */
interface Followed {
  readonly connection: ConnectionRow
  readonly effects: Required<Effects>
}

const nothing: Required<Effects> = { changes: [], events: [], wakes: [] }

/**
 * A message was decrypted (B37): the ratchetSync machine says whether that ends a state in which the two ratchets did not fit, which RSYNC
 * tells. `connection` is as the message has left it, `before` the ratchet as it was until then.
 */
export const ratchetWorks = (
  context: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  before: Pick<RatchetState, 'snd'>,
): Followed => {
  // Asked for every message, and in step nearly always: the machine ignores it there.
  if (connection.ratchetSync === 'ok') return { connection, effects: nothing }
  const decision = decideSync(state, connection, { type: 'message.decrypted' })
  const told = follow(decision, { notifySync: () => ({ events: [syncEvent(connection, decision.to)] }) })
  const effects = { ...told, changes: [...syncChange(connection, decision), ...told.changes] }
  const after = { ...connection, ratchetSync: decision.to }
  if (decision.to !== 'ok') return { connection: after, effects }
  const ready = before.snd === undefined ? sayReady(state, after, connection.lastExternalId - 1) : { changes: [] }
  return next(next({ connection: after, effects }, ready), row => syncEnded(context, state, row))
}

/** EREADY tells the other party that its messages can be decrypted, and the last one that could be (B83). */
export const sayReady = (state: UnitState, connection: ConnectionRow, lastDecryptedId: number): Effects => {
  const content = encodeContent({ type: 'EREADY', lastDecryptedId: Math.max(lastDecryptedId, 0) })
  const queue = usedSndQueue(state, connection.connectionId)
  const { changes, wake } = enqueueMessage(connection, queue, content, { now: state.now, notify: true })
  return { changes, wakes: [wake] }
}

/**
 * The synchronisation has ended well, so this side may speak again (B76): rotations say the last message of their phase once more, since it
 * may have been unreadable or was held back, and what waits for a queue is tried at once.
 */
const syncEnded = (context: AgentContext, state: UnitState, connection: ConnectionRow): Required<Effects> => {
  const event = { type: 'sync.ended' } as const
  const rcv = rcvSwitchOf(state, connection)
  const receiving = rcv === undefined ? {} : decideRcvSwitch(context, state, rcv, event)
  const { effects } = next(next({ connection, effects: nothing }, receiving), row => {
    const snd = sndSwitchOf(state, row)
    return snd === undefined ? {} : decideSndSwitch(state, snd, event)
  })
  const woken = sndQueuesOf(state, connection.connectionId).map(({ queueId }) => ({ worker: 'continue', key: queueId }))
  return { ...effects, wakes: [...effects.wakes, ...woken] }
}

const next = (before: Followed, more: Effects | ((connection: ConnectionRow) => Effects)): Followed => {
  const { changes = [], events = [], wakes = [] } = typeof more === 'function' ? more(before.connection) : more
  return {
    connection: connectionAfter(before.connection, changes),
    effects: {
      changes: [...before.effects.changes, ...changes],
      events: [...before.effects.events, ...events],
      wakes: [...before.effects.wakes, ...wakes],
    },
  }
}

/** A connection’s row as changes leave it. */
export const connectionAfter = (connection: ConnectionRow, changes: readonly Change[]): ConnectionRow =>
  Object.assign(
    { ...connection },
    ...changes.map(change => (change.op === 'patch' && change.table.name === connections.name ? change.set : {})),
  ) as ConnectionRow
