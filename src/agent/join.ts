import type { Bytes } from '../encoding/index.js'
import { CallError, InternalError } from '../errors.js'
import {
  encodeE2eParams,
  encodeRatchetState,
  type E2eParams,
  generateKemE2eParams,
  initSndRatchet,
  replyKem,
  x3dhJoiner,
} from '../ratchet/index.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { Read, UnitState } from '../runtime/unit.js'
import { versionsAllowKem } from '../smp/protocol/agentEnvelope.js'
import { encodeQueueInfo } from '../smp/protocol/queueInfo.js'
import { formatRouterAddress } from '../smp/protocol/routerAddress.js'
import { commands, connections, handshakes, rcvQueues, sndQueues } from '../store/agent/connections.js'
import { invitationLinks } from '../store/agent/links.js'
import { type Change, insert, patch, put, type Row } from '../store/index.js'
import type { AgentContext } from './context.js'
import { decideConnection, refusal } from './decideConnection.js'
import { createQueueStep, isStopped, secureReceiveStep, secureSendStep, sendInvitationStep } from './handshakeSteps.js'
import { newX3dhKeys } from './invitation.js'
import type { ContactTarget, InvitationTarget, JoinTarget } from './joinTarget.js'
import { checkInfoLength } from './limits.js'
import { newConnection, type Origin } from './newConnection.js'
import { newRcvQueue, newSndQueue } from './queues.js'
import type { InvitationLinkRow } from './readLink.js'
import { type ConnectionRow, usedSndQueue, rcvQueuesOf, requireConnection } from './rows.js'

/** Joining by a link, or accepting who did: what a call gives to the connection machine. */
export interface Join {
  readonly connectionId: string
  /** The connection to make; none where it exists. */
  readonly made?: { readonly userId: number; readonly origin: Origin; readonly idempotencyKey: string | undefined }
  /** Undefined for a connection that is under way: it goes on with what is stored. */
  readonly target: JoinTarget | undefined
  readonly info: Bytes
  /** The one-time link that was read to come here: it has secured the queue. */
  readonly link?: InvitationLinkRow | undefined
  /** Whether this side wants post-quantum encryption; a connection that is under way keeps what it has. */
  readonly pq: boolean
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
 * `CMD_PROHIBITED`, EncodeError `LARGE_MSG`, KemError.
 */
export const joinEffects = async (
  context: AgentContext,
  state: UnitState,
  join: Join,
  progress: Progress,
): Promise<Effects> => {
  const { connectionId, made, target, info } = join
  const agentVersion = target?.agentVersion ?? context.config.agentVersions.max
  const base =
    made === undefined
      ? requireConnection(state, connectionId)
      : newConnection({ connectionId, ...made, agentVersion, now: state.now })
  const { stopped, handshake } = progress
  const decision = decideConnection(state, base, { type: 'connection.join', by: target?.mode ?? 'invitation', stopped })
  const isNew = base.status === 'new' && target !== undefined
  const pqSupport = isNew ? join.pq && allowsKem(target) : base.pqSupport
  if (isNew) checkUnused(join)
  checkInfoLength(info.length, { agentVersion: isNew ? agentVersion : base.agentVersion, pqSupport })
  const keys = isNew ? await newKeys(context, target, pqSupport) : undefined
  // The user may have been deleted meanwhile: nothing would ever take the connection away.
  if (made !== undefined) context.users.require(made.userId)
  const begun = (set: Partial<ConnectionRow>): Change => {
    const after = { ...set, agentVersion, pqSupport, status: decision.to }
    return made === undefined ? patch(connections, { connectionId }, after) : insert(connections, { ...base, ...after })
  }
  const newInfo = patch(handshakes, { connectionId }, { info })
  const [rcvQueue] = rcvQueuesOf(state, connectionId)
  return follow(decision, {
    commandJoin: () => {
      if (keys?.mode === 'invitation') return newJoiner(context, state, base, keys, join, begun)
      if (rcvQueue === undefined) throw new InternalError('a joiner has no reply queue', { field: connectionId })
      return added(secureSendStep(context, state, usedSndQueue(state, connectionId), rcvQueue), newInfo)
    },
    commandCreateQueue: () => {
      if (keys?.mode === 'contact') return newRequester(context, state, base, keys, info, begun)
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

const allowsKem = (target: JoinTarget): boolean =>
  versionsAllowKem(target.agentVersion, target.mode === 'invitation' ? target.offer.version : undefined)

/** The keys that a new connection begins with, and where its link leads. */
type NewKeys = JoinerKeys | RequesterKeys

interface JoinerKeys {
  readonly mode: 'invitation'
  readonly target: InvitationTarget
  readonly ratchet: Bytes
  readonly params: E2eParams
}

interface RequesterKeys {
  readonly mode: 'contact'
  readonly target: ContactTarget
  readonly x3dhKeys: Bytes
}

// By an invitation the ratchet is made at once, from both halves of X3DH; by a contact address the offer is made, with a KEM key if that
// may be used: it goes into the invitation (B19).
const newKeys = async (context: AgentContext, target: JoinTarget, pqSupport: boolean): Promise<NewKeys> => {
  if (target.mode === 'contact') return { mode: 'contact', target, x3dhKeys: await newX3dhKeys(context, pqSupport) }
  return { mode: 'invitation', target, ...(await joinerRatchet(context, target.offer, pqSupport)) }
}

const joinerRatchet = async (
  { config, ratchetPorts }: AgentContext,
  offer: E2eParams,
  pqSupport: boolean,
): Promise<{ ratchet: Bytes; params: E2eParams }> => {
  const reply = replyKem(offer.version, offer.kem, pqSupport)
  const { privateKeys, params } = await generateKemE2eParams(offer.version, reply, ratchetPorts)
  const secrets = x3dhJoiner(privateKeys, offer)
  const versions = { current: offer.version, maxSupported: config.e2eVersions.max }
  return { ratchet: encodeRatchetState(initSndRatchet(versions, offer.key2, ratchetPorts.generate(), secrets)), params }
}

type Begun = (set: Partial<ConnectionRow>) => Change

const newJoiner = (
  context: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  { target: { queue }, ratchet, params }: JoinerKeys,
  { info, link }: Join,
  begun: Begun,
): Effects => {
  const { random, routers } = context
  const snd = newSndQueue(random, connection, queue, state.now, link?.sndPrivateKey)
  const router = routers.pick(connection.userId, random, snd.router)
  const reply = newRcvQueue(random, connection, router, queue.clientVersion, state.now)
  const { connectionId } = connection
  const row = { connectionId, e2eParams: encodeE2eParams(params), contactQueue: null, info }
  const { changes = [], wakes = [] } = secureSendStep(context, state, snd, reply)
  return {
    changes: [
      begun({ ratchet }),
      insert(sndQueues, snd),
      insert(rcvQueues, reply),
      put(handshakes, row),
      ...(link === undefined ? [] : [joinedBy(link, connectionId)]),
      ...changes,
    ],
    wakes,
  }
}

const joinedBy = ({ userId, router, linkId }: InvitationLinkRow, connectionId: string): Change =>
  patch(invitationLinks, { userId, router, linkId }, { connectionId })

// A second connection would have the same key for the same queue, and the other party would see one peer confirm twice.
const checkUnused = ({ connectionId, link }: Join): void => {
  if (link === undefined || link.connectionId === null || link.connectionId === connectionId) return
  throw new CallError('CMD_PROHIBITED', 'another connection has joined by this link', { field: link.connectionId })
}

// By a contact address: this side offers X3DH keys and a queue in an invitation of its own, and is the initiator from then on.
const newRequester = (
  context: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  { target: { queue: contactQueue }, x3dhKeys }: RequesterKeys,
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
    changes: [begun({ x3dhKeys }), insert(rcvQueues, queue), put(handshakes, row), ...changes],
    wakes,
  }
}
