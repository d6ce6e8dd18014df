import type { Bytes } from '../encoding/index.js'
import { InternalError } from '../errors.js'
import {
  encodeE2eParams,
  encodeRatchetState,
  type E2eParams,
  generateE2eParams,
  generateX448,
  initSndRatchet,
  x3dhJoiner,
} from '../ratchet/index.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { Read, UnitState } from '../runtime/unit.js'
import { encodeQueueInfo } from '../smp/protocol/queueInfo.js'
import { formatRouterAddress } from '../smp/protocol/routerAddress.js'
import { commands, connections, handshakes, rcvQueues, sndQueues } from '../store/agent/connections.js'
import { type Change, insert, patch, put, type Row } from '../store/index.js'
import type { AgentConfig } from './config.js'
import type { AgentContext } from './context.js'
import { decideConnection, refusal } from './decideConnection.js'
import { createQueueStep, isStopped, secureReceiveStep, secureSendStep, sendInvitationStep } from './handshakeSteps.js'
import { newX3dhKeys } from './invitation.js'
import type { ContactTarget, InvitationTarget, JoinTarget } from './joinTarget.js'
import { newConnection, type Origin } from './newConnection.js'
import { newRcvQueue, newSndQueue } from './queues.js'
import { type ConnectionRow, usedSndQueue, rcvQueuesOf, requireConnection } from './rows.js'

/** Joining by a link, or accepting who did: what a call gives to the connection machine. */
export interface Join {
  readonly connectionId: string
  /** The connection to make; none where it exists. */
  readonly made?: { readonly userId: number; readonly origin: Origin; readonly idempotencyKey: string | undefined }
  /** Undefined for a connection that is under way: it goes on with what is stored. */
  readonly target: JoinTarget | undefined
  readonly info: Bytes
}

/** What the tables outside of the aggregate tell of a handshake. */
export interface Progress {
  /** No step is stored: nothing was asked for yet, all is done, or a router has refused one for good. */
  readonly stopped: boolean
  readonly handshake: Row<typeof handshakes> | undefined
}

export const readProgress = async (read: Read, connectionId: string): Promise<Progress> => {
  const [stored, [handshake]] = await Promise.all([
    read(commands, { where: { connectionId } }),
    read(handshakes, { where: { connectionId } }),
  ])
  return { stopped: isStopped(stored), handshake }
}

/**
 * Everything that a join stores in one commit: keys, ratchet, queues and the first step (B15, B16). For a connection that exists it is
 * what the machine says: a prepared one begins, one that was stopped goes on with its keys, any other is left alone. Throws CallError
 * `CMD_PROHIBITED`.
 */
export const joinEffects = (context: AgentContext, state: UnitState, join: Join, progress: Progress): Effects => {
  const { connectionId, made, target, info } = join
  const agentVersion = target?.agentVersion ?? context.config.agentVersions.max
  const base =
    made === undefined
      ? requireConnection(state, connectionId)
      : newConnection({ connectionId, ...made, agentVersion, now: state.now })
  const { stopped, handshake } = progress
  const decision = decideConnection(state, base, { type: 'connection.join', by: target?.mode ?? 'invitation', stopped })
  const begun = (set: Partial<ConnectionRow>): Change => {
    const after = { ...set, agentVersion, status: decision.to }
    return made === undefined ? patch(connections, { connectionId }, after) : insert(connections, { ...base, ...after })
  }
  const newInfo = patch(handshakes, { connectionId }, { info })
  const [rcvQueue] = rcvQueuesOf(state, connectionId)
  return follow(decision, {
    commandJoin: () => {
      if (base.status === 'new') return newJoiner(context, state, base, targetOfMode(target, 'invitation'), info, begun)
      if (rcvQueue === undefined) throw new InternalError('a joiner has no reply queue', { field: connectionId })
      return added(secureSendStep(context, state, usedSndQueue(state, connectionId), rcvQueue), newInfo)
    },
    commandCreateQueue: () => {
      if (base.status === 'new') return newRequester(context, state, base, targetOfMode(target, 'contact'), info, begun)
      if (rcvQueue === undefined) throw new InternalError('a requester has no queue', { field: connectionId })
      return added(createQueueStep(context, state, rcvQueue), newInfo)
    },
    commandInvite: () => {
      if (rcvQueue === undefined || handshake === undefined || handshake.contactQueue === null)
        throw new InternalError('a request has no contact address', { field: connectionId })
      return added(sendInvitationStep(context, state, rcvQueue, handshake.contactQueue), newInfo)
    },
    commandSecureReceive: () => secureReceiveStep(context, state, connectionId),
    ...refusal(connectionId),
  })
}

const added = ({ changes = [], ...effects }: Effects, change: Change): Effects => ({
  ...effects,
  changes: [...changes, change],
})

const targetOfMode = <M extends JoinTarget['mode']>(
  target: JoinTarget | undefined,
  mode: M,
): Extract<JoinTarget, { mode: M }> => {
  if (target?.mode === mode) return target as Extract<JoinTarget, { mode: M }>
  throw new InternalError('a new connection has no link to join by')
}

type Begun = (set: Partial<ConnectionRow>) => Change

// By an invitation: the ratchet is made at once, from both halves of X3DH.
const newJoiner = (
  context: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  { queue, offer }: InvitationTarget,
  info: Bytes,
  begun: Begun,
): Effects => {
  const { config, random, routers } = context
  const { ratchet, params } = joinerRatchet(offer, config)
  const snd = newSndQueue(random, connection, queue, state.now)
  const router = routers.pick(connection.userId, random, snd.router)
  const reply = newRcvQueue(random, connection, router, queue.clientVersion, state.now)
  const { connectionId } = connection
  const row = { connectionId, e2eParams: encodeE2eParams(params), contactQueue: null, info }
  const { changes = [], wakes = [] } = secureSendStep(context, state, snd, reply)
  return {
    changes: [begun({ ratchet }), insert(sndQueues, snd), insert(rcvQueues, reply), put(handshakes, row), ...changes],
    wakes,
  }
}

const joinerRatchet = (offer: E2eParams, config: AgentConfig): { ratchet: Bytes; params: E2eParams } => {
  const { privateKeys, params } = generateE2eParams(offer.version)
  const secrets = x3dhJoiner(privateKeys, offer)
  const versions = { current: offer.version, maxSupported: config.e2eVersions.max }
  return { ratchet: encodeRatchetState(initSndRatchet(versions, offer.key2, generateX448(), secrets)), params }
}

// By a contact address: this side offers X3DH keys and a queue in an invitation of its own, and is the initiator from then on.
const newRequester = (
  context: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  { queue: contactQueue }: ContactTarget,
  info: Bytes,
  begun: Begun,
): Effects => {
  const { config, random, routers } = context
  const router = routers.pick(connection.userId, random, formatRouterAddress(contactQueue.address.router))
  const queue = newRcvQueue(random, connection, router, config.clientVersions.max, state.now)
  const { connectionId } = connection
  const row = { connectionId, e2eParams: null, contactQueue: encodeQueueInfo(contactQueue), info }
  const { changes = [], wakes = [] } = createQueueStep(context, state, queue)
  return {
    changes: [begun({ x3dhKeys: newX3dhKeys(config) }), insert(rcvQueues, queue), put(handshakes, row), ...changes],
    wakes,
  }
}
