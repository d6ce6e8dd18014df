import { type Bytes, decodeAll } from '../encoding/index.js'
import { InternalError } from '../errors.js'
import type { Effects } from '../runtime/follow.js'
import type { UnitState } from '../runtime/unit.js'
import { type QueueInfo, readQueueInfo } from '../smp/protocol/queueInfo.js'
import { formatRouterAddress } from '../smp/protocol/routerAddress.js'
import { type CommandRow, type CommandType, storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import type { NewQueueOwner } from './queues.js'
import { type RcvQueueRow, rcvQueuesOf, type SndQueueRow } from './rows.js'

/** The steps of a handshake are stored commands, each for one router, and can all be run again with the same keys (B15). */
const handshakeSteps: readonly string[] = [
  'secureSend',
  'createReply',
  'createQueue',
  'sendInvitation',
  'secureReceive',
  'allowSecure',
] satisfies readonly CommandType[]

export const isHandshakeStep = ({ type }: CommandRow): boolean => handshakeSteps.includes(type)

/** Whether no step of a connection’s handshake is under way, so that a repeated call must go on where a router has refused one. */
export const isStopped = (commands: readonly CommandRow[]): boolean => !commands.some(isHandshakeStep)

/** Joiner: SKEY for the send queue, if its sender secures it; then the reply queue is made. */
export const secureSendStep = (
  context: AgentContext,
  state: UnitState,
  snd: SndQueueRow,
  reply: RcvQueueRow,
): Effects => step(context, state, snd, 'secureSend', { sndQueueId: snd.queueId, replyQueueId: reply.queueId })

/** Joiner: NEW for the reply queue; then the confirmation waits for its delivery. */
export const createReplyStep = (
  context: AgentContext,
  state: UnitState,
  snd: SndQueueRow,
  reply: RcvQueueRow,
): Effects => step(context, state, reply, 'createReply', { sndQueueId: snd.queueId, replyQueueId: reply.queueId })

/** By a contact address: NEW for the queue that the invitation names. */
export const createQueueStep = (context: AgentContext, state: UnitState, queue: RcvQueueRow): Effects =>
  step(context, state, queue, 'createQueue', { queueId: queue.queueId })

/** By a contact address: SEND of the invitation that names an own queue. */
export const sendInvitationStep = (
  context: AgentContext,
  state: UnitState,
  queue: RcvQueueRow,
  contactQueue: Bytes,
): Effects => {
  const router = formatRouterAddress(decodeContactQueue(contactQueue).address.router)
  return step(context, state, { ...queue, router }, 'sendInvitation', { queueId: queue.queueId })
}

/** KEY for an own queue, with the key of the other party’s confirmation (legacy handshake). */
export const secureReceiveStep = (context: AgentContext, state: UnitState, connectionId: string): Effects => {
  const queue = rcvQueuesOf(state, connectionId).find(row => row.primary)
  if (queue === undefined) throw new InternalError('connection has no receive queue', { field: connectionId })
  return step(context, state, queue, 'secureReceive', { queueId: queue.queueId })
}

/** Initiator: SKEY for the reply queue, if its sender secures it; then the own confirmation waits for its delivery. */
export const allowSecureStep = (context: AgentContext, state: UnitState, snd: SndQueueRow): Effects =>
  step(context, state, snd, 'allowSecure', { sndQueueId: snd.queueId })

/** The queue of a contact address, as the handshake’s row has it. */
export const decodeContactQueue = (bytes: Bytes): QueueInfo => decodeAll(bytes, 'contactQueue', readQueueInfo)

const step = (
  context: AgentContext,
  state: UnitState,
  { connectionId, userId, router }: NewQueueOwner & { readonly router: string },
  type: CommandType,
  argument: Readonly<Record<string, string>>,
): Effects => {
  const { changes, wake } = storedCommand(context, { connectionId, userId, router, type, argument, now: state.now })
  return { changes, wakes: [wake] }
}
