import type { Effects } from '../runtime/follow.js'
import type { UnitState } from '../runtime/unit.js'
import type { MessageContent } from '../smp/protocol/agentMessage.js'
import { parseRouterAddress } from '../smp/protocol/routerAddress.js'
import { sameQueue, type SenderQueue } from '../smp/protocol/queueInfo.js'
import type { Change, Json } from '../store/index.js'
import { encodeContent, enqueueMessage } from './outgoing.js'
import { isSynchronized } from './ratchetSync.js'
import { type ConnectionRow, eventOf, type RcvQueueRow, type SndQueueRow, usedSndQueue } from './rows.js'

/** What both parties of a queue rotation share. */

export type SwitchPhase = 'started' | 'confirmed' | 'secured' | 'completed' | 'failed'

/** The state of a switch machine: the status of the queue that is being replaced, or none. */
export const switchState = ({ switchStatus }: { readonly switchStatus: string | null }): string =>
  switchStatus ?? 'idle'

export const switchStatusOf = (state: string): string | null => (state === 'idle' ? null : state)

export const switchEvent = (
  connection: ConnectionRow,
  direction: 'rcv' | 'snd',
  phase: SwitchPhase,
  router: string,
  more: { readonly [key: string]: Json } = {},
) => eventOf(connection, 'SWITCH', { direction, phase, router, ...more })

/**
 * Enqueues a message of a rotation on the queue in use, or on the one that is named. While the ratchet is being synchronised nothing is
 * said: the phase says it again when that has ended (B76). `connection` is the row afterwards.
 */
export const sayRotation = (
  state: UnitState,
  connection: ConnectionRow,
  content: MessageContent,
  queue: SndQueueRow = usedSndQueue(state, connection.connectionId),
): Effects & { readonly connection: ConnectionRow } => {
  if (!isSynchronized(connection)) return { connection }
  const enqueued = enqueueMessage(connection, queue, encodeContent(content), { now: state.now, notify: false })
  return { connection: enqueued.connection, changes: enqueued.changes, wakes: [enqueued.wake] }
}

/** A queue as its sender names it; of an own queue only once its router has made it. */
export const senderQueueOf = (queue: { readonly router: string; readonly sndId: Uint8Array | null }): SenderQueue => ({
  router: parseRouterAddress(queue.router),
  senderId: queue.sndId ?? Buffer.alloc(0),
})

/** The queue that is named, among those of a connection. */
export const named = <Q extends RcvQueueRow | SndQueueRow>(queues: readonly Q[], queue: SenderQueue): Q | undefined =>
  queues.find(row => row.sndId !== null && sameQueue(senderQueueOf(row), queue))

/** Changes of the row of a switch, if its state has changed. */
export const switchChange = (
  { from, to }: { readonly from: string; readonly to: string },
  change: (switchStatus: string | null) => Change,
): Change[] => (from === to ? [] : [change(switchStatusOf(to))])
