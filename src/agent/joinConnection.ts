import { type Bytes, concat, intersect, large, Reader } from '../encoding/index.js'
import { CallError } from '../errors.js'
import {
  encodeE2eParams,
  encodeRatchetState,
  type E2eParams,
  generateE2eParams,
  generateX448,
  initSndRatchet,
  readE2eParams,
  x3dhJoiner,
} from '../ratchet/index.js'
import { follow } from '../runtime/follow.js'
import { type InvitationRequest, parseConnectionRequest } from '../smp/protocol/connectionRequest.js'
import { e2eParamsAt } from '../smp/protocol/e2eParams.js'
import { connections, rcvQueues, sndQueues } from '../store/agent/connections.js'
import { insert } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { storedCommand } from './commandRows.js'
import type { AgentConfig } from './config.js'
import type { AgentContext, Calling } from './context.js'
import { decideConnection } from './decideConnection.js'
import { checkInfoLength } from './limits.js'
import { connectionByKey, isCreated, keyOfAnotherCall, newConnection, onceByKey } from './newConnection.js'
import { compatibleQueue, newId, newRcvQueue, newSndQueue } from './queues.js'
import { type ConnectionRow, isDeleted } from './rows.js'

/**
 * joinConnection: ratchet, both queues’ keys and the command to go on are stored in one commit; the command worker then secures the
 * send queue (SKEY), makes the reply queue (NEW) and sends the confirmation, each step repeatable with the same keys (B11, B15, B16).
 */
export const joinConnection = async (
  context: AgentContext,
  { userId, link, info = Buffer.alloc(0), idempotencyKey }: ParsedParamsOf<'joinConnection'>,
  { connectionId = newId(context.random) }: Calling,
): Promise<ResultOf<'joinConnection'>> => {
  const { config } = context
  context.users.require(userId)
  checkInfoLength(info.length)
  const known = await connectionByKey(context, userId, idempotencyKey)
  if (known !== undefined) return joinedBefore(known)
  const invitation = parseInvitation(link)
  const peer = compatibleVersions(invitation, config)
  const join = () => storeJoin(context, { connectionId, userId, idempotencyKey, info, invitation, peer })
  return onceByKey(context, userId, idempotencyKey, join, joinedBefore)
}

const joinedBefore = (connection: ConnectionRow): ResultOf<'joinConnection'> => {
  if (isCreated(connection) || isDeleted(connection)) throw keyOfAnotherCall()
  return { connectionId: connection.connectionId }
}

interface Join {
  readonly connectionId: string
  readonly userId: number
  readonly idempotencyKey: string | undefined
  readonly info: Bytes
  readonly invitation: InvitationRequest
  readonly peer: ReturnType<typeof compatibleVersions>
}

const storeJoin = (
  context: AgentContext,
  { connectionId, userId, idempotencyKey, info, invitation, peer }: Join,
): Promise<ResultOf<'joinConnection'>> => {
  const { config, random } = context
  return context.runtime.run({
    name: 'joinConnection',
    locks: [connectionId],
    compute: state => {
      const decision = decideConnection(state, { connectionId, status: 'new' }, { type: 'connection.join' })
      const { ratchet, params } = joinerRatchet(invitation, peer.e2eVersion, config)
      const owner = { connectionId, userId }
      const sndQueue = newSndQueue(random, owner, peer.queue, state.now)
      const replyRouter = context.routers.pick(userId, random, sndQueue.router)
      const replyQueue = newRcvQueue(random, owner, replyRouter, peer.queue.clientVersion, state.now)
      const connection = newConnection({
        ...owner,
        status: decision.to,
        agentVersion: peer.agentVersion,
        ratchet,
        idempotencyKey,
        now: state.now,
      })
      const { changes, wakes } = follow(decision, {
        commandJoin: () => {
          const { changes, wake } = storedCommand(context, {
            ...owner,
            router: sndQueue.router,
            type: 'secureSend',
            argument: { sndQueueId: sndQueue.queueId, replyQueueId: replyQueue.queueId },
            secret: encodeJoin(params, info),
            now: state.now,
          })
          return { changes: [insert(sndQueues, sndQueue), insert(rcvQueues, replyQueue), ...changes], wakes: [wake] }
        },
      })
      return { result: { connectionId }, changes: [insert(connections, connection), ...changes], wakes }
    },
  })
}

/** What the confirmation needs and no row holds: own X3DH parameters and the user’s info. */
export const encodeJoin = (params: E2eParams, info: Bytes): Bytes => concat(large(encodeE2eParams(params)), info)

export const decodeJoin = (bytes: Bytes): { params: E2eParams; info: Bytes } => {
  const reader = new Reader(bytes, 'join')
  return { params: readE2eParams(new Reader(reader.large('params'), 'join.params')), info: reader.rest() }
}

const parseInvitation = (link: string): InvitationRequest => {
  const request = parseConnectionRequest(link)
  if (request.mode === 'invitation') return request
  throw new CallError('LINK_NOT_INVITATION', 'the link is a contact address, not an invitation', {
    field: 'link',
    hint: 'ask the other party for a one-time invitation link',
  })
}

// The highest versions that both sides speak. Throws CallError `AGENT_VERSION`.
const compatibleVersions = (invitation: InvitationRequest, config: AgentConfig) => {
  const agent = intersect(invitation.agentVersions, config.agentVersions)
  const e2e = intersect(invitation.e2e.versionRange, config.e2eVersions)
  const [uri] = invitation.queues
  if (agent === undefined || e2e === undefined || uri === undefined) {
    const { min, max } = agent === undefined ? invitation.agentVersions : invitation.e2e.versionRange
    throw new CallError('AGENT_VERSION', 'the other party speaks other versions of the protocol', {
      field: 'link',
      facts: { min, max },
      hint: 'one of the two parties must be updated',
    })
  }
  return { agentVersion: agent.max, e2eVersion: e2e.max, queue: compatibleQueue(uri, config) }
}

const joinerRatchet = (
  invitation: InvitationRequest,
  version: number,
  config: AgentConfig,
): { ratchet: Bytes; params: E2eParams } => {
  const offer = e2eParamsAt(invitation.e2e, version)
  const { privateKeys, params } = generateE2eParams(version)
  const secrets = x3dhJoiner(privateKeys, offer)
  const versions = { current: version, maxSupported: config.e2eVersions.max }
  return { ratchet: encodeRatchetState(initSndRatchet(versions, offer.key2, generateX448(), secrets)), params }
}
