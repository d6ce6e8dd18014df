import type { Bytes } from '../encoding/index.js'
import { InternalError } from '../errors.js'
import { decodeE2ePrivateKeys, e2eParamsOf, encodeE2ePrivateKeys, generateKemE2eParams } from '../ratchet/index.js'
import type { ConnectionRequest, InvitationRequest } from '../smp/protocol/connectionRequest.js'
import { e2eParamsForLink } from '../smp/protocol/e2eParams.js'
import type { AgentConfig } from './config.js'
import type { AgentContext } from './context.js'
import { queueInfoOf } from './queues.js'
import type { ConnectionRow, RcvQueueRow } from './rows.js'

/**
 * The initiator’s private half of X3DH for a row, until the other party has confirmed; with a KEM key to propose if `withKem` and this
 * agent’s versions have one. Throws KemError.
 */
export const newX3dhKeys = async (
  { config, ratchetPorts }: Pick<AgentContext, 'config' | 'ratchetPorts'>,
  withKem: boolean,
): Promise<Bytes> => {
  const use = withKem ? ({ kind: 'propose' } as const) : undefined
  const { privateKeys } = await generateKemE2eParams(config.e2eVersions.max, use, ratchetPorts)
  return encodeE2ePrivateKeys(privateKeys)
}

/** What a link says of an own queue, once the router has made it. */
export const namedQueue = (config: AgentConfig, queue: RcvQueueRow): Omit<InvitationRequest, 'mode' | 'e2e'> => ({
  agentVersions: config.agentVersions,
  queues: [{ clientVersions: config.clientVersions, address: queueInfoOf(queue, queue.clientVersion).address }],
})

/** The invitation of an initiator, the same each time: as its link, or in the envelope to a contact address. */
export const invitationOf = (
  config: AgentConfig,
  { connectionId, x3dhKeys }: ConnectionRow,
  queue: RcvQueueRow,
): InvitationRequest => {
  if (x3dhKeys === null) throw new InternalError('an initiator has no X3DH keys', { field: connectionId })
  const e2e = e2eParamsOf(config.e2eVersions.max, decodeE2ePrivateKeys(x3dhKeys))
  return { mode: 'invitation', ...namedQueue(config, queue), e2e: e2eParamsForLink(e2e, config.e2eVersions) }
}

/** What the links of a connection that this side has created say. */
export const requestOf = (config: AgentConfig, connection: ConnectionRow, queue: RcvQueueRow): ConnectionRequest =>
  connection.origin === 'contact'
    ? { mode: 'contact', ...namedQueue(config, queue) }
    : invitationOf(config, connection, queue)

/** The same without the KEM key, which makes a long link four times as long. */
export const withoutKem = (request: ConnectionRequest): ConnectionRequest => {
  if (request.mode === 'contact') return request
  const { kem: _, ...e2e } = request.e2e
  return { ...request, e2e }
}
