import type { ConnectionEvent } from '../../machines/connection.js'
import type { CommandOutcome } from '../../machines/commandWorker.js'
import { rcvQueueMachine } from '../../machines/rcvQueue.js'
import { sndQueueMachine } from '../../machines/sndQueue.js'
import { boxSecret, decodePublicKey, generateKeyPair, publicKeyOf, x25519 } from '../crypto/index.js'
import { decodeAll } from '../encoding/index.js'
import { InternalError, RouterError } from '../errors.js'
import { readE2eParams } from '../ratchet/index.js'
import { decide } from '../runtime/decide.js'
import { type Doings, type Effects, follow } from '../runtime/follow.js'
import type { Outcome, UnitState } from '../runtime/unit.js'
import { isTemporaryOrHostError } from '../smp/client.js'
import { encodeAgentEnvelope } from '../smp/protocol/agentEnvelope.js'
import { CONFIRMATION_PADDING, sealEnvelope } from '../smp/protocol/clientMessage.js'
import { confirmations, connections, handshakes, rcvQueues, sndQueues } from '../store/agent/connections.js'
import { type Change, patch, remove, type Row } from '../store/index.js'
import { type CommandRow, dropCommand, endCommand, moveCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection, statusChange } from './decideConnection.js'
import { allowSecureStep, createReplyStep, decodeContactQueue, sendInvitationStep } from './handshakeSteps.js'
import { invitationOf } from './invitation.js'
import { enqueueConfirmation, enqueueHello } from './outgoing.js'
import { abandonQueue, createdQueue, isSecurable, newQueueCommand, queueCreated, queueInfoOf } from './queues.js'
import {
  type ConnectionRow,
  findConnection,
  findRcvQueue,
  findSndQueue,
  isDeleted,
  usedSndQueue,
  type RcvQueueRow,
  type SndQueueRow,
} from './rows.js'

type HandshakeRow = Row<typeof handshakes>

/** What a step names in its command’s row. */
interface Arguments {
  readonly sndQueueId?: string
  readonly replyQueueId?: string
  readonly queueId?: string
}

/**
 * Runs a step of a handshake: one command to a router, then one commit that leaves its result and the next step. Every step can be repeated
 * after a kill with the same keys (B15). Rejects with the router’s or the network’s error.
 */
export const runHandshakeStep = (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const names = command.argument as Arguments
  switch (command.type) {
    case 'secureSend':
      return secureSend(context, command, names)
    case 'createReply':
      return createReply(context, command, names)
    case 'createQueue':
      return createQueue(context, command, names)
    case 'sendInvitation':
      return sendInvitation(context, command, names)
    case 'secureReceive':
      return secureReceive(context, command, names)
    case 'allowSecure':
      return allowSecure(context, command, names)
    default:
      throw new InternalError(`${command.type} is no step of a handshake`)
  }
}

// Joiner: the router accepts only our signed messages; then the reply queue is made at its own router.
const secureSend = async (
  context: AgentContext,
  command: CommandRow,
  { sndQueueId = '', replyQueueId = '' }: Arguments,
): Promise<CommandOutcome> => {
  const queue = await readSndQueue(context, sndQueueId)
  if (queue === undefined) return dropCommand(context, command)
  await secure(context, queue)
  return endStep<CommandOutcome>(context, command, {
    gone: 'done',
    compute: (state, { connectionId }) => {
      const reply = findRcvQueue(state, connectionId, replyQueueId)
      if (reply === undefined) return { result: 'done' }
      const { changes = [], wakes = [] } = createReplyStep(context, state, queue, reply)
      return { result: 'done', changes: [...secured(state, connectionId, sndQueueId), ...changes], wakes }
    },
  })
}

// Joiner: the reply queue is made, and the confirmation that names it waits for its delivery.
const createReply = async (
  context: AgentContext,
  command: CommandRow,
  { sndQueueId = '', replyQueueId = '' }: Arguments,
): Promise<CommandOutcome> => {
  const queue = await readRcvQueue(context, replyQueueId)
  if (queue === undefined) return dropCommand(context, command)
  const made = await makeQueue(context, queue)
  const isStored = await endStep(context, command, {
    gone: false,
    compute: (state, connection, handshake) => {
      const { connectionId } = connection
      const sndQueue = findSndQueue(state, connectionId, sndQueueId)
      if (sndQueue === undefined || handshake === undefined || handshake.e2eParams === null) return { result: false }
      const params = decodeAll(handshake.e2eParams, 'e2eParams', readE2eParams)
      const queues = [queueInfoOf(made, sndQueue.clientVersion)]
      const message = { type: 'connInfoReply', queues, info: handshake.info } as const
      const effects = decided(
        state,
        connection,
        { type: 'reply.created' },
        {
          enqueueReplyConfirmation: () => {
            const { changes, wake } = enqueueConfirmation(connection, sndQueue, message, params, state.now)
            return { changes, wakes: [wake] }
          },
        },
      )
      const changes = [...effects.changes, queueMade(made), remove(handshakes, { connectionId })]
      return { ...effects, changes, result: true }
    },
  })
  if (!isStored) abandonQueue(context, made)
  return 'done'
}

// By a contact address: the queue is made that the invitation names.
const createQueue = async (
  context: AgentContext,
  command: CommandRow,
  { queueId = '' }: Arguments,
): Promise<CommandOutcome> => {
  const queue = await readRcvQueue(context, queueId)
  if (queue === undefined) return dropCommand(context, command)
  const made = await makeQueue(context, queue)
  const isStored = await endStep(context, command, {
    gone: false,
    compute: (state, connection, handshake) => {
      const contactQueue = handshake?.contactQueue ?? null
      if (contactQueue === null) return { result: false }
      const effects = decided(
        state,
        connection,
        { type: 'queue.created' },
        {
          commandInvite: () => sendInvitationStep(context, state, made, contactQueue),
        },
      )
      return { ...effects, changes: [...effects.changes, queueMade(made)], result: true }
    },
  })
  if (!isStored) abandonQueue(context, made)
  return 'done'
}

// By a contact address: the invitation goes to it, with a key of its own each time, unsigned. Its owner knows a repeated one by its X3DH keys.
const sendInvitation = async (
  context: AgentContext,
  command: CommandRow,
  { queueId = '' }: Arguments,
): Promise<CommandOutcome> => {
  const { connectionId } = command
  const [connection] = await context.store.find(connections, { where: { connectionId } })
  const [handshake] = await context.store.find(handshakes, { where: { connectionId } })
  const queue = await readRcvQueue(context, queueId)
  const contactQueue = handshake?.contactQueue ?? null
  // The answer to an earlier attempt was lost, and the owner has answered the invitation.
  if (connection === undefined || queue === undefined || handshake === undefined || contactQueue === null)
    return dropCommand(context, command)
  const { clientVersion, address } = decodeContactQueue(contactQueue)
  const { publicKey, privateKey } = generateKeyPair('x25519', context.random)
  const request = invitationOf(context.config, connection, queue)
  const body = encodeAgentEnvelope({
    type: 'invitation',
    agentVersion: connection.agentVersion,
    request,
    info: handshake.info,
  })
  const sealed = sealEnvelope(
    boxSecret(x25519(privateKey, address.dhKey)),
    context.random(24),
    { version: clientVersion, dhKey: publicKey },
    { body },
    CONFIRMATION_PADDING,
  )
  // In a session of this connection, to the owner’s router.
  await context.privateRouting.send(command, {
    command: { type: 'SEND', flags: { notification: true }, body: sealed },
    entityId: address.senderId,
  })
  return endStep<CommandOutcome>(context, command, {
    gone: 'done',
    compute: (state, now) => {
      const effects = decided(state, now, { type: 'invitation.sent' }, {})
      return { ...effects, changes: [...effects.changes, remove(handshakes, { connectionId })], result: 'done' }
    },
  })
}

// Legacy handshake, both roles: the own router learns the other party’s key (KEY); the same key again succeeds.
const secureReceive = async (
  context: AgentContext,
  command: CommandRow,
  { queueId = '' }: Arguments,
): Promise<CommandOutcome> => {
  const queue = await readRcvQueue(context, queueId)
  if (queue === undefined || queue.rcvId === null || queue.senderKey === null) return dropCommand(context, command)
  await context.sessions.request(queue, {
    command: { type: 'KEY', key: decodePublicKey(queue.senderKey, senderKeys, 'senderKey') },
    entityId: queue.rcvId,
    key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
  })
  return endStep<CommandOutcome>(context, command, {
    gone: 'done',
    compute: (state, connection) => {
      const { connectionId } = connection
      const effects = decided(
        state,
        connection,
        { type: 'queue.secured' },
        {
          commandAllowSecure: () => allowSecureStep(context, state, usedSndQueue(state, connectionId)),
          enqueueHello: () => enqueueHello(connection, usedSndQueue(state, connectionId), state.now),
        },
      )
      const now = findRcvQueue(state, connectionId, queueId)
      const status = decide(rcvQueueMachine, now?.status ?? queue.status, {}, { type: 'queue.secured' })
      state.traced('rcvQueue', queueId, 'queue.secured', status)
      return {
        ...effects,
        changes: [...effects.changes, patch(rcvQueues, { queueId }, { status: status.to })],
        result: 'done',
      }
    },
  })
}

/** Kinds of sender keys that a router takes. */
/** Algorithms of a sender’s key. */
export const senderKeys = ['ed25519', 'ed448', 'x25519'] as const

// Initiator: the reply queue is secured, and the own confirmation waits for its delivery.
const allowSecure = async (
  context: AgentContext,
  command: CommandRow,
  { sndQueueId = '' }: Arguments,
): Promise<CommandOutcome> => {
  const queue = await readSndQueue(context, sndQueueId)
  if (queue === undefined) return dropCommand(context, command)
  try {
    await secure(context, queue)
  } catch (error) {
    // It is the reply queue’s router that fails: it must not hold up what waits for this command’s own one (B52).
    if (command.router === queue.router || !isTemporaryOrHostError(error)) throw error
    return moveCommand(context, command, queue.router)
  }
  return endStep<CommandOutcome>(context, command, {
    gone: 'done',
    compute: (state, connection) => {
      const { connectionId } = connection
      const [confirmation] = state.rows(confirmations, connectionId)
      const message = { type: 'connInfo', info: confirmation?.ownInfo ?? Buffer.alloc(0) } as const
      const { changes, wake } = enqueueConfirmation(connection, queue, message, undefined, state.now)
      return { result: 'done', changes: [...secured(state, connectionId, sndQueueId), ...changes], wakes: [wake] }
    },
  })
}

/** The commit after the network: the command goes, and what the step leaves is stored if the connection lives. */
const endStep = <Result>(
  context: AgentContext,
  command: CommandRow,
  end: {
    readonly gone: Result
    readonly compute: (
      state: UnitState,
      connection: ConnectionRow,
      handshake: HandshakeRow | undefined,
    ) => Outcome<Result>
  },
): Promise<Result> => {
  const { connectionId, type } = command
  return endCommand(context, command, {
    name: type,
    gone: end.gone,
    load: async read => (await read(handshakes, { where: { connectionId } }))[0],
    compute: (state, handshake): Outcome<Result> => {
      const connection = findConnection(state, connectionId)
      if (connection === undefined || isDeleted(connection)) return { result: end.gone }
      return end.compute(state, connection, handshake)
    },
  })
}

/** Asks the connection machine, and does what it says. */
const decided = (
  state: UnitState,
  connection: ConnectionRow,
  event: ConnectionEvent,
  doings: Doings,
): Required<Effects> => {
  const decision = decideConnection(state, connection, event)
  const effects = follow(decision, doings)
  return { ...effects, changes: [...statusChange(connection.connectionId, decision), ...effects.changes] }
}

// SKEY repeated with the same key succeeds; a queue of the legacy form is secured by its recipient.
const secure = async (context: AgentContext, queue: SndQueueRow): Promise<void> => {
  if (!isSecurable(queue) || queue.status !== 'new') return
  const raw = publicKeyOf('ed25519', queue.sndPrivateKey)
  await context.privateRouting.send(queue, {
    command: { type: 'SKEY', key: { algorithm: 'ed25519', raw } },
    entityId: queue.sndId,
    key: { algorithm: 'ed25519', privateKey: queue.sndPrivateKey },
  })
}

const secured = (state: UnitState, connectionId: string, queueId: string): Change[] => {
  const queue = findSndQueue(state, connectionId, queueId)
  if (queue === undefined || queue.status !== 'new' || !isSecurable(queue)) return []
  const decision = decide(sndQueueMachine, queue.status, {}, { type: 'queue.secured' })
  state.traced('sndQueue', queueId, 'queue.secured', decision)
  return [patch(sndQueues, { queueId }, { status: decision.to })]
}

/** The queue as the router has made it (NEW), subscribed in the session that made it. */
export const makeQueue = async (context: AgentContext, queue: RcvQueueRow): Promise<RcvQueueRow> => {
  const { response, session } = await context.sessions.request(queue, {
    command: newQueueCommand(queue, context.routers.passwordOf(queue.userId, queue.router)),
    entityId: Buffer.alloc(0),
    key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
  })
  if (response.type !== 'IDS')
    throw new RouterError('SMP_UNEXPECTED', `NEW was answered with ${response.type}`, { field: queue.router })
  const made = { ...queue, ...queueCreated(queue, response) }
  context.sessions.created(createdQueue(made), session)
  return made
}

const queueMade = ({ queueId, rcvId, sndId, routerDhSecret, queueMode }: RcvQueueRow): Change =>
  patch(rcvQueues, { queueId }, { rcvId, sndId, routerDhSecret, queueMode })

const readSndQueue = async ({ store }: AgentContext, queueId: string): Promise<SndQueueRow | undefined> =>
  (await store.find(sndQueues, { where: { queueId } }))[0]

const readRcvQueue = async ({ store }: AgentContext, queueId: string): Promise<RcvQueueRow | undefined> =>
  (await store.find(rcvQueues, { where: { queueId } }))[0]
