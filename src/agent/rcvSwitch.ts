import { type RcvQueueSwitchEvent, rcvQueueSwitchMachine } from '../../machines/queueSwitch.js'
import { rcvQueueMachine } from '../../machines/rcvQueue.js'
import { encodePublicKey, x25519 } from '../crypto/index.js'
import { CallError } from '../errors.js'
import { decide } from '../runtime/decide.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { UnitState } from '../runtime/unit.js'
import type { QueueKey } from '../smp/protocol/agentMessage.js'
import { rcvQueues } from '../store/agent/connections.js'
import { insert, patch, remove } from '../store/index.js'
import { type CommandType, storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { queueInfoOf } from './queues.js'
import {
  named,
  sayRotation,
  senderQueueOf,
  switchChange,
  switchEvent,
  type SwitchPhase,
  switchState,
} from './rotation.js'
import { type ConnectionRow, eventOf, type RcvQueueRow, rcvQueuesOf } from './rows.js'

/** The two queues of a rotation at the party that receives: the one in use and its replacement. */
export interface RcvSwitch {
  readonly connection: ConnectionRow
  readonly old: RcvQueueRow
  readonly fresh: RcvQueueRow
  /** Why the switch fails, where it does. */
  readonly error?: unknown
}

/** The rotation that a queue is the replacement in, if there is one. */
export const rcvSwitchTo = (state: UnitState, connection: ConnectionRow, fresh: RcvQueueRow): RcvSwitch | undefined => {
  const old = rcvQueuesOf(state, connection.connectionId).find(row => row.queueId === fresh.replaces)
  return old === undefined ? undefined : { connection, old, fresh }
}

/** The rotation of a connection that is under way, if there is one. */
export const rcvSwitchOf = (state: UnitState, connection: ConnectionRow): RcvSwitch | undefined => {
  const fresh = rcvQueuesOf(state, connection.connectionId).find(row => row.replaces !== null)
  return fresh === undefined ? undefined : rcvSwitchTo(state, connection, fresh)
}

/** Takes a queue that is not read any more out of the sessions, after the commit. */
export const droppedWake = (queue: RcvQueueRow) => ({ worker: 'queueDropped', key: queue.queueId, hint: queue })

/**
 * What an event means for a rotation at the receiving party (B70–B78): the rcvQueueSwitch machine decides, by the status of the queue that is
 * replaced. Its refusals are thrown as CallError `CMD_PROHIBITED`. `key` is what QKEY brought.
 */
export const decideRcvSwitch = (
  context: AgentContext,
  state: UnitState,
  rotation: RcvSwitch,
  event: RcvQueueSwitchEvent,
  key?: QueueKey,
): Effects => {
  const { connection, old, fresh, error } = rotation
  const { connectionId, userId } = connection
  const decision = decide(rcvQueueSwitchMachine, switchState(old), {}, event)
  state.traced('rcvQueueSwitch', old.queueId, event.type, decision)
  const command = (type: CommandType, queue: RcvQueueRow): Effects => {
    const argument = { queueId: queue.queueId }
    const stored = storedCommand(context, {
      connectionId,
      userId,
      router: queue.router,
      type,
      argument,
      now: state.now,
    })
    return { changes: stored.changes, wakes: [stored.wake] }
  }
  const effects = follow(decision, {
    createQueue: () => {
      const { changes = [], wakes = [] } = command('switchQueue', fresh)
      return { changes: [insert(rcvQueues, fresh), ...changes], wakes }
    },
    notifySwitch: ({ phase }) => ({ events: [switchEvent(connection, 'rcv', phase as SwitchPhase, fresh.router)] }),
    notifyLost: () => ({
      events: [switchEvent(connection, 'rcv', 'failed', fresh.router, { error: errorFact(error) })],
    }),
    sendQADD: () =>
      sayRotation(state, connection, {
        type: 'QADD',
        queues: [
          {
            queue: {
              clientVersions: context.config.clientVersions,
              address: queueInfoOf(fresh, fresh.clientVersion).address,
            },
            replaced: senderQueueOf(old),
          },
        ],
      }),
    storeKey: () => storeKey(state, fresh, key, command('switchSecure', fresh)),
    sendQUSE: () =>
      sayRotation(state, connection, { type: 'QUSE', queues: [{ queue: senderQueueOf(fresh), primary: true }] }),
    dropNewQueue: () => {
      const { queueId } = fresh
      if (fresh.rcvId === null) return { changes: [remove(rcvQueues, { queueId })], wakes: [droppedWake(fresh)] }
      const { changes = [], wakes = [] } = command('dropQueue', fresh)
      const disabled = { status: 'disabled', replaces: null }
      return { changes: [patch(rcvQueues, { queueId }, disabled), ...changes], wakes: [...wakes, droppedWake(fresh)] }
    },
    commandDeleteOld: () => {
      const { changes = [], wakes = [] } = command('switchDelete', old)
      return {
        changes: [
          patch(rcvQueues, { queueId: fresh.queueId }, { primary: true }),
          patch(rcvQueues, { queueId: old.queueId }, { primary: false }),
          ...changes,
        ],
        wakes,
      }
    },
    removeOld: () => ({
      changes: [
        remove(rcvQueues, { queueId: old.queueId }),
        patch(rcvQueues, { queueId: fresh.queueId }, { replaces: null }),
      ],
      wakes: [droppedWake(old)],
    }),
    queueError: ({ reason }) => ({ events: [queueError(connection, String(reason))] }),
    refuse: ({ reason }) => {
      throw new CallError('CMD_PROHIBITED', String(reason), { field: connectionId })
    },
  })
  const changed = switchChange(decision, switchStatus => patch(rcvQueues, { queueId: old.queueId }, { switchStatus }))
  return { ...effects, changes: [...changed, ...effects.changes] }
}

// The secret with the other party, and the key that its messages will be signed with: the router is told of it next.
const storeKey = (state: UnitState, fresh: RcvQueueRow, key: QueueKey | undefined, secure: Effects): Effects => {
  if (key === undefined) return {}
  const { clientVersion, address } = key.queue
  const decision = decide(
    rcvQueueMachine,
    fresh.status,
    { secret: false, securable: false },
    { type: 'queue.confirmed' },
  )
  state.traced('rcvQueue', fresh.queueId, 'queue.confirmed', decision)
  const confirmed = {
    status: decision.to,
    e2eSecret: x25519(fresh.e2ePrivateKey, address.dhKey),
    senderKey: encodeSenderKey(key),
    clientVersion: Math.min(fresh.clientVersion, clientVersion),
  }
  return { ...secure, changes: [patch(rcvQueues, { queueId: fresh.queueId }, confirmed), ...(secure.changes ?? [])] }
}

const encodeSenderKey = ({ key }: QueueKey): Uint8Array => encodePublicKey(key.algorithm, key.raw)

/** QKEY: the other party’s key for the new queue (B72). `connection` is as the message has left it. */
export const receiveQkey = (
  context: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  queues: readonly QueueKey[],
): Effects => {
  const [key] = queues
  const fresh =
    key === undefined
      ? undefined
      : named(rcvQueuesOf(state, connection.connectionId), { ...key.queue.address, router: key.queue.address.router })
  if (key === undefined || fresh === undefined) {
    return { events: [queueError(connection, 'QKEY names a queue that is not there')] }
  }
  const rotation = rcvSwitchTo(state, connection, fresh)
  if (rotation === undefined) return { events: [queueError(connection, 'QKEY for a queue that is not used')] }
  const known = fresh.senderKey !== null && Buffer.compare(fresh.senderKey, encodeSenderKey(key)) === 0
  return decideRcvSwitch(context, state, rotation, { type: 'key.received', known }, key)
}

/** A message of the other party that its rotation does not allow: told, and acknowledged. */
export const queueError = (connection: ConnectionRow, reason: string) =>
  eventOf(connection, 'ERR', { error: { code: 'AGENT_QUEUE', message: reason, field: connection.connectionId } })
