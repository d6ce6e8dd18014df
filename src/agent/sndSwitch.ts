import { type SndQueueSwitchEvent, sndQueueSwitchMachine } from '../../machines/queueSwitch.js'
import { sndQueueMachine } from '../../machines/sndQueue.js'
import { publicKeyOf } from '../crypto/index.js'
import { intersect } from '../encoding/index.js'
import { decide } from '../runtime/decide.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { UnitState, Wake } from '../runtime/unit.js'
import type { AddedQueue, QueueUse } from '../smp/protocol/agentMessage.js'
import { queueInfoAt, type SenderQueue } from '../smp/protocol/queueInfo.js'
import { parseRouterAddress } from '../smp/protocol/routerAddress.js'
import { sndQueues } from '../store/agent/connections.js'
import { deliveries } from '../store/agent/messages.js'
import { type Change, insert, patch, put, remove, removeWhere } from '../store/index.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import type { DeliveryRow } from './outgoing.js'
import { newSndQueue } from './queues.js'
import { queueError } from './rcvSwitch.js'
import {
  named,
  sayRotation,
  senderQueueOf,
  switchChange,
  switchEvent,
  type SwitchPhase,
  switchState,
} from './rotation.js'
import { type ConnectionRow, type SndQueueRow, sndQueuesOf } from './rows.js'

/** The two queues of a rotation at the party that sends: the one that is replaced, and its replacement. */
export interface SndSwitch {
  readonly connection: ConnectionRow
  readonly old: SndQueueRow
  readonly fresh: SndQueueRow
  /** What waits for the old queue, when the new one is to take it over, and for the new one when it is given up. */
  readonly waiting?: readonly DeliveryRow[]
  /** Why the switch fails, where it does. */
  readonly error?: unknown
}

export const sndSwitchTo = (state: UnitState, connection: ConnectionRow, fresh: SndQueueRow): SndSwitch | undefined => {
  const old = sndQueuesOf(state, connection.connectionId).find(row => row.queueId === fresh.replaces)
  return old === undefined ? undefined : { connection, old, fresh }
}

/** The rotation of a connection that is under way, if there is one. */
export const sndSwitchOf = (state: UnitState, connection: ConnectionRow): SndSwitch | undefined => {
  const fresh = sndQueuesOf(state, connection.connectionId).find(row => row.replaces !== null)
  return fresh === undefined ? undefined : sndSwitchTo(state, connection, fresh)
}

/** Drops the worker and the memory of a queue that is gone, after the commit. */
const goneWake = ({ queueId }: SndQueueRow): Wake => ({ worker: 'deliveryGone', key: queueId })
const deliverWake = ({ queueId }: SndQueueRow): Wake => ({ worker: 'delivery', key: queueId })

/** What an event means for a rotation at the sending party (B70–B78): the sndQueueSwitch machine decides. */
export const decideSndSwitch = (state: UnitState, rotation: SndSwitch, event: SndQueueSwitchEvent): Effects => {
  const { connection, old, fresh, waiting = [], error } = rotation
  const decision = decide(sndQueueSwitchMachine, switchState(old), {}, event)
  state.traced('sndQueueSwitch', old.queueId, event.type, decision)
  const effects = follow(decision, {
    storeQueue: () => {
      const before = sndQueuesOf(state, connection.connectionId).filter(row => row.replaces === old.queueId)
      return {
        changes: [...before.flatMap(queueRemoved), insert(sndQueues, fresh)],
        wakes: before.map(goneWake),
      }
    },
    sendQKEY: () =>
      sayRotation(state, connection, {
        type: 'QKEY',
        queues: [
          {
            queue: {
              clientVersion: fresh.clientVersion,
              address: {
                router: parseRouterAddress(fresh.router),
                senderId: fresh.sndId,
                dhKey: fresh.e2ePublicKey,
                ...(fresh.queueMode === null ? {} : { mode: fresh.queueMode as 'messaging' | 'contact' }),
              },
            },
            key: { algorithm: 'ed25519', raw: publicKeyOf('ed25519', fresh.sndPrivateKey) },
          },
        ],
      }),
    drainToNew: () => ({
      changes: [
        ...secured(state, fresh),
        ...waiting.map(row => insert(deliveries, { ...row, queueId: fresh.queueId, warned: null })),
      ],
      wakes: [deliverWake(fresh)],
    }),
    sendQTEST: () => sayRotation(state, connection, { type: 'QTEST', queues: [senderQueueOf(fresh)] }, fresh),
    removeOld: () => ({
      changes: [...queueRemoved(old), patch(sndQueues, { queueId: fresh.queueId }, { primary: true, replaces: null })],
      wakes: [goneWake(old)],
    }),
    // What only the new queue was to take goes to the old one, which is still there.
    dropNewQueue: () => ({
      changes: [
        ...queueRemoved(fresh),
        ...waiting.map(row => put(deliveries, { ...row, queueId: old.queueId, warned: null })),
      ],
      wakes: [goneWake(fresh), deliverWake(old)],
    }),
    notifySwitch: ({ phase }) => ({ events: [switchEvent(connection, 'snd', phase as SwitchPhase, fresh.router)] }),
    notifyLost: () => ({
      events: [switchEvent(connection, 'snd', 'failed', fresh.router, { error: errorFact(error) })],
    }),
    queueError: ({ reason }) => ({ events: [queueError(connection, String(reason))] }),
  })
  const changed = switchChange(decision, switchStatus => patch(sndQueues, { queueId: old.queueId }, { switchStatus }))
  return { ...effects, changes: [...changed, ...effects.changes] }
}

const queueRemoved = ({ queueId }: SndQueueRow): Change[] => [
  removeWhere(deliveries, { queueId }),
  remove(sndQueues, { queueId }),
]

const secured = (state: UnitState, { queueId, status }: SndQueueRow): Change[] => {
  const decision = decide(sndQueueMachine, status, {}, { type: 'queue.secured' })
  state.traced('sndQueue', queueId, 'queue.secured', decision)
  return [patch(sndQueues, { queueId }, { status: decision.to })]
}

/** QADD: the other party wants messages on another queue (B71). `connection` is as the message has left it. */
export const receiveQadd = (
  { config, random }: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  queues: readonly AddedQueue[],
): Effects => {
  const [added] = queues
  const own = sndQueuesOf(state, connection.connectionId)
  const error = (reason: string): Effects => ({ events: [queueError(connection, reason)] })
  if (added?.replaced === undefined) return error('QADD names no queue that it replaces')
  const old = named(own, added.replaced)
  if (old === undefined) return error('QADD replaces a queue that is not there')
  const { address } = added.queue
  const known = named(own, { router: address.router, senderId: address.senderId })
  if (known !== undefined) {
    if (known.replaces !== old.queueId) return error('QADD names a queue that is used already')
    return decideSndSwitch(state, { connection, old, fresh: known }, { type: 'queue.offered', queue: 'known' })
  }
  const versions = intersect(added.queue.clientVersions, config.clientVersions)
  if (versions === undefined) return error('QADD names a queue of a version that is not spoken here')
  const info = queueInfoAt(added.queue, versions.max)
  const fresh = { ...newSndQueue(random, connection, info, state.now), primary: false, replaces: old.queueId }
  return decideSndSwitch(state, { connection, old, fresh }, { type: 'queue.offered', queue: 'new' })
}

/** QUSE: the other party uses the new queue (B78). `waiting`: what waits for the old one. */
export const receiveQuse = (
  state: UnitState,
  connection: ConnectionRow,
  queues: readonly QueueUse[],
  waiting: readonly DeliveryRow[],
): Effects => {
  const rotation = usedSwitch(state, connection, queues[0]?.queue)
  if (rotation !== undefined) return decideSndSwitch(state, { ...rotation, waiting }, { type: 'queue.used' })
  // Said again after a synchronisation, to a party that had heard it.
  if (isUsed(state, connection, queues[0]?.queue)) return {}
  return { events: [queueError(connection, 'QUSE names a queue that is not being added')] }
}

const isUsed = (state: UnitState, { connectionId }: ConnectionRow, queue: SenderQueue | undefined): boolean =>
  queue !== undefined && named(sndQueuesOf(state, connectionId), queue)?.primary === true

/** The rotation that a QUSE is about. */
export const usedSwitch = (
  state: UnitState,
  connection: ConnectionRow,
  queue: SenderQueue | undefined,
): SndSwitch | undefined => {
  const fresh = queue === undefined ? undefined : named(sndQueuesOf(state, connection.connectionId), queue)
  return fresh === undefined ? undefined : sndSwitchTo(state, connection, fresh)
}
