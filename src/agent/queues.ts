import { generateKeyPair, publicKeyOf, type Random, x25519 } from '../crypto/index.js'
import { intersect } from '../encoding/index.js'
import { asDuologueError, CallError, InternalError } from '../errors.js'
import type { Command } from '../smp/protocol/commands.js'
import type { QueueMode } from '../smp/protocol/fields.js'
import type { QueueRequest } from '../smp/protocol/newQueue.js'
import { type QueueInfo, type QueueUri, queueInfoAt } from '../smp/protocol/queueInfo.js'
import type { QueueIds } from '../smp/protocol/responses.js'
import { formatRouterAddress, parseRouterAddress } from '../smp/protocol/routerAddress.js'
import type { AgentConfig } from './config.js'
import type { AgentContext } from './context.js'
import type { RcvQueueRow, SndQueueRow } from './rows.js'
import type { SubscribedQueue } from './sessions.js'

/** A random id of a row: 24 bytes as lower-case hex would be long, so 18 bytes as base64url. */
export const newId = (random: Random): string => Buffer.from(random(18)).toString('base64url')

export interface NewQueueOwner {
  readonly connectionId: string
  readonly userId: number
}

/** A receive queue with all of its keys, before the router knows of it: stored first, so that NEW can be repeated (B15). */
export const newRcvQueue = (
  random: Random,
  owner: NewQueueOwner,
  router: string,
  clientVersion: number,
  now: number,
  mode: QueueMode = 'messaging',
): RcvQueueRow => ({
  queueId: newId(random),
  connectionId: owner.connectionId,
  userId: owner.userId,
  router,
  rcvId: null,
  sndId: null,
  rcvPrivateKey: generateKeyPair('ed25519', random).privateKey,
  routerDhPrivateKey: generateKeyPair('x25519', random).privateKey,
  routerDhSecret: null,
  e2ePrivateKey: generateKeyPair('x25519', random).privateKey,
  e2eSecret: null,
  senderKey: null,
  status: 'new',
  clientVersion,
  queueMode: mode,
  primary: true,
  replaces: null,
  switchStatus: null,
  suspended: false,
  createdAt: now,
})

/** NEW for a stored queue, with the link that it is to have. */
export const newQueueCommand = (
  queue: RcvQueueRow,
  basicAuth: string | undefined,
  request: QueueRequest = { mode: queue.queueMode === 'contact' ? 'contact' : 'messaging' },
): Command => ({
  type: 'NEW',
  authKey: { algorithm: 'ed25519', raw: publicKeyOf('ed25519', queue.rcvPrivateKey) },
  dhKey: publicKeyOf('x25519', queue.routerDhPrivateKey),
  ...(basicAuth === undefined ? {} : { basicAuth }),
  subscribe: true,
  request,
})

/** What the router's IDS adds to a stored queue. One without a mode is of the old form: its sender must not secure it. */
export const queueCreated = (
  queue: RcvQueueRow,
  ids: QueueIds,
): Pick<RcvQueueRow, 'rcvId' | 'sndId' | 'routerDhSecret' | 'queueMode'> => ({
  rcvId: Buffer.from(ids.recipientId),
  sndId: Buffer.from(ids.senderId),
  routerDhSecret: x25519(queue.routerDhPrivateKey, ids.dhKey),
  queueMode: ids.mode ?? (queue.queueMode === 'contact' ? 'contact' : null),
})

/** A queue as the sessions know it; the router has made it. */
export const createdQueue = (queue: RcvQueueRow): SubscribedQueue => {
  if (queue.rcvId === null) throw new InternalError('the router has not made this queue', { field: queue.queueId })
  const { queueId, connectionId, userId, router, rcvId, rcvPrivateKey } = queue
  return { queueId, connectionId, userId, router, rcvId, rcvPrivateKey }
}

/** How others are told of an own queue, once the router has made it. */
export const queueInfoOf = (queue: RcvQueueRow, clientVersion: number): QueueInfo => ({
  clientVersion,
  address: {
    router: parseRouterAddress(queue.router),
    senderId: queue.sndId ?? Buffer.alloc(0),
    dhKey: publicKeyOf('x25519', queue.e2ePrivateKey),
    ...(queue.queueMode === null ? {} : { mode: queue.queueMode as QueueMode }),
  },
})

/** The other party's queue at the highest client version that both speak. Throws CallError `AGENT_VERSION`. */
export const compatibleQueue = (uri: QueueUri, config: AgentConfig): QueueInfo => {
  const versions = intersect(uri.clientVersions, config.clientVersions)
  if (versions !== undefined) return queueInfoAt(uri, versions.max)
  throw new CallError('AGENT_VERSION', 'the other party’s queue needs another SMP client version', {
    field: 'link',
    facts: { min: uri.clientVersions.min, max: uri.clientVersions.max },
    hint: 'one of the two parties must be updated',
  })
}

/** A send queue with its keys. A queue that a link has secured already has its key from there. */
export const newSndQueue = (
  random: Random,
  owner: NewQueueOwner,
  info: QueueInfo,
  now: number,
  sndPrivateKey: Uint8Array = generateKeyPair('ed25519', random).privateKey,
): SndQueueRow => {
  const e2e = generateKeyPair('x25519', random)
  const { address } = info
  return {
    queueId: newId(random),
    connectionId: owner.connectionId,
    userId: owner.userId,
    router: formatRouterAddress(address.router),
    sndId: Buffer.from(address.senderId),
    sndPrivateKey,
    e2ePublicKey: e2e.publicKey,
    e2eSecret: x25519(e2e.privateKey, address.dhKey),
    status: 'new',
    clientVersion: info.clientVersion,
    queueMode: address.mode ?? null,
    primary: true,
    replaces: null,
    switchStatus: null,
    createdAt: now,
  }
}

/**
 * Deletes a queue that the router has just made and nobody needs, because its connection was deleted meanwhile. Tried once: its
 * sender id is known to nobody.
 */
export const abandonQueue = ({ sessions, log }: Pick<AgentContext, 'sessions' | 'log'>, queue: RcvQueueRow): void => {
  const { router, rcvId, rcvPrivateKey } = createdQueue(queue)
  sessions.remove(queue)
  sessions
    .request(queue, {
      command: { type: 'DEL' },
      entityId: rcvId,
      key: { algorithm: 'ed25519', privateKey: rcvPrivateKey },
    })
    .catch((error: unknown) => log.warn({ code: asDuologueError(error).code, router }, 'an unused queue was left'))
}

/** Whether the sender secures the queue itself (SKEY): the fast handshake. */
export const isSecurable = (queue: { readonly queueMode: string | null }): boolean => queue.queueMode === 'messaging'
