import { sndQueueMachine } from '../../machines/sndQueue.js'
import type { CommandOutcome } from '../../machines/commandWorker.js'
import { publicKeyOf } from '../crypto/index.js'
import { fromBase64url } from '../encoding/index.js'
import { InternalError, RouterError } from '../errors.js'
import { decide } from '../runtime/decide.js'
import { follow } from '../runtime/follow.js'
import type { UnitState } from '../runtime/unit.js'
import { isTemporaryOrHostError, type RouterSession } from '../smp/client.js'
import type { QueueIds } from '../smp/protocol/responses.js'
import { rcvQueues, sndQueues } from '../store/agent/connections.js'
import { rcvMessages } from '../store/agent/messages.js'
import { type Change, patch, remove } from '../store/index.js'
import { type CommandRow, dropCommand, endCommand, moveCommand, storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection, statusChange } from './decideConnection.js'
import { finishDeletion, queueGone } from './finishDeletion.js'
import { decodeJoin } from './joinConnection.js'
import { enqueueConfirmation } from './outgoing.js'
import { abandonQueue, createdQueue, newQueueCommand, queueCreated, queueInfoOf } from './queues.js'
import { findConnection, findRcvQueue, findSndQueue, isDeleted, type RcvQueueRow, type SndQueueRow } from './rows.js'
import { runCall } from './runCall.js'

/** What a command names in its row. */
interface Arguments {
  readonly sndQueueId?: string
  readonly replyQueueId?: string
  readonly queueId?: string
  readonly brokerId?: string
  readonly messageId?: number
}

/**
 * Runs a stored command: one step on the network, then one commit that leaves the step’s result and takes the command away. Every step
 * can be repeated after a kill with the same keys (B15). Rejects with the router’s or the network’s error.
 */
export const runCommand = (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  switch (command.type) {
    case 'secureSend':
      return secureSend(context, command)
    case 'createReply':
      return createReply(context, command)
    case 'allowSecure':
      return allowSecure(context, command)
    case 'deleteQueue':
      return deleteQueue(context, command)
    case 'finishDeletion':
      return finishDeletion(context, command)
    case 'ack':
    case 'ackDelete':
      return ack(context, command)
    case 'call':
      return runCall(context, command)
    default:
      return dropCommand(context, command)
  }
}

const argumentsOf = (command: CommandRow): Arguments => command.argument as Arguments

// Joiner: the router accepts only our signed messages; then the reply queue is made at its own router.
const secureSend = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const { sndQueueId, replyQueueId } = argumentsOf(command)
  const queue = await readSndQueue(context, sndQueueId)
  if (queue === undefined) return dropCommand(context, command)
  await secure(context, queue)
  return endCommand<CommandOutcome>(context, command, {
    name: 'secureSend',
    gone: 'done',
    compute: state => {
      const { connectionId, userId } = command
      const reply = findRcvQueue(state, connectionId, replyQueueId ?? '')
      if (!isLive(state, connectionId) || reply === undefined) return { result: 'done' }
      const next = storedCommand(context, {
        connectionId,
        userId,
        router: reply.router,
        type: 'createReply',
        argument: { sndQueueId: queue.queueId, replyQueueId: reply.queueId },
        ...(command.secret === null ? {} : { secret: command.secret }),
        now: state.now,
      })
      const changes = [...secured(state, connectionId, queue.queueId), ...next.changes]
      return { result: 'done', changes, wakes: [next.wake] }
    },
  })
}

// Joiner: the reply queue is made, and the confirmation that names it waits for its delivery.
const createReply = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const { sndQueueId, replyQueueId } = argumentsOf(command)
  const queue = await readRcvQueue(context, replyQueueId)
  if (queue === undefined || command.secret === null) return dropCommand(context, command)
  const { ids, session } = await makeQueue(context, queue)
  const { params, info } = decodeJoin(command.secret)
  const created = queueCreated(queue, ids)
  const made = { ...queue, ...created }
  context.sessions.created(createdQueue(made), session)
  const stored = await endCommand<boolean>(context, command, {
    name: 'createReply',
    gone: false,
    compute: state => {
      const { connectionId } = command
      const connection = findConnection(state, connectionId)
      const sndQueue = findSndQueue(state, connectionId, sndQueueId ?? '')
      if (connection === undefined || sndQueue === undefined || !isLive(state, connectionId)) return { result: false }
      const decision = decideConnection(state, connection, { type: 'reply.created' })
      const message = {
        type: 'connInfoReply',
        queues: [queueInfoOf(made, sndQueue.clientVersion)],
        info,
      } as const
      const { changes, wakes } = follow(decision, {
        enqueueReplyConfirmation: () => {
          const { changes, wake } = enqueueConfirmation(connection, sndQueue, message, params, state.now)
          return { changes: [patch(rcvQueues, { queueId: queue.queueId }, created), ...changes], wakes: [wake] }
        },
      })
      return {
        result: true,
        changes: [...statusChange(connectionId, decision), ...changes],
        wakes,
      }
    },
  })
  if (!stored) abandonQueue(context, made)
  return 'done'
}

// Initiator: the reply queue is secured, and the own confirmation waits for its delivery.
const allowSecure = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const queue = await readSndQueue(context, argumentsOf(command).sndQueueId)
  if (queue === undefined) return dropCommand(context, command)
  try {
    await secure(context, queue)
  } catch (error) {
    // It is the reply queue’s router that fails: it must not hold up what waits for this command’s own one (B52).
    if (command.router === queue.router || !isTemporaryOrHostError(error)) throw error
    return moveCommand(context, command, queue.router)
  }
  return endCommand<CommandOutcome>(context, command, {
    name: 'allowSecure',
    gone: 'done',
    compute: state => {
      const { connectionId } = command
      const connection = findConnection(state, connectionId)
      if (connection === undefined || !isLive(state, connectionId)) return { result: 'done' }
      const message = { type: 'connInfo', info: command.secret ?? Buffer.alloc(0) } as const
      const { changes, wake } = enqueueConfirmation(connection, queue, message, undefined, state.now)
      return {
        result: 'done',
        changes: [...secured(state, connectionId, queue.queueId), ...changes],
        wakes: [wake],
      }
    },
  })
}

const deleteQueue = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const queue = await readRcvQueue(context, argumentsOf(command).queueId)
  if (queue === undefined || queue.rcvId === null) return dropCommand(context, command)
  try {
    await context.sessions.request(queue, {
      command: { type: 'DEL' },
      entityId: queue.rcvId,
      key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
    })
  } catch (error) {
    // The queue is gone already: this command was run before.
    if (!(error instanceof RouterError) || error.code !== 'AUTH') throw error
  }
  return queueGone(context, command, queue)
}

// An ACK that could not be sent in its session, again and again; ackDelete takes the message’s row away as well.
const ack = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const { queueId, brokerId = '', messageId } = argumentsOf(command)
  const queue = await readRcvQueue(context, queueId)
  if (queue === undefined || queue.rcvId === null) return dropCommand(context, command)
  await context.inbox.sendAck(createdQueue(queue), fromBase64url(brokerId, 'brokerId'))
  return endCommand<CommandOutcome>(context, command, {
    name: 'ack',
    gone: 'done',
    compute: () => ({
      result: 'done',
      changes:
        command.type === 'ackDelete' && messageId !== undefined
          ? [remove(rcvMessages, { connectionId: command.connectionId, messageId })]
          : [],
    }),
  })
}

// SKEY repeated with the same key succeeds; a queue of the legacy form is secured by its recipient.
const secure = async (context: AgentContext, queue: SndQueueRow): Promise<void> => {
  if (queue.queueMode !== 'messaging' || queue.status !== 'new') return
  const raw = publicKeyOf('ed25519', queue.sndPrivateKey)
  await context.sessions.request(queue, {
    command: { type: 'SKEY', key: { algorithm: 'ed25519', raw } },
    entityId: queue.sndId,
    key: { algorithm: 'ed25519', privateKey: queue.sndPrivateKey },
  })
}

const secured = (state: UnitState, connectionId: string, queueId: string): Change[] => {
  const queue = findSndQueue(state, connectionId, queueId)
  if (queue === undefined || queue.status !== 'new') return []
  const decision = decide(sndQueueMachine, queue.status, {}, { type: 'queue.secured' })
  state.traced('sndQueue', queueId, 'queue.secured', decision)
  return [patch(sndQueues, { queueId }, { status: decision.to })]
}

const makeQueue = async (
  context: AgentContext,
  queue: RcvQueueRow,
): Promise<{ readonly ids: QueueIds; readonly session: RouterSession }> => {
  const { response, session } = await context.sessions.request(queue, {
    command: newQueueCommand(queue, context.routers.passwordOf(queue.userId, queue.router)),
    entityId: Buffer.alloc(0),
    key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
  })
  if (response.type === 'IDS') return { ids: response, session }
  throw new InternalError(`NEW was answered with ${response.type}`, { field: queue.router })
}

const isLive = (state: UnitState, connectionId: string): boolean => {
  const connection = findConnection(state, connectionId)
  return connection !== undefined && !isDeleted(connection)
}

const readSndQueue = async ({ store }: AgentContext, queueId = ''): Promise<SndQueueRow | undefined> =>
  (await store.find(sndQueues, { where: { queueId } }))[0]

const readRcvQueue = async ({ store }: AgentContext, queueId = ''): Promise<RcvQueueRow | undefined> =>
  (await store.find(rcvQueues, { where: { queueId } }))[0]
