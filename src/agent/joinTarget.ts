import { intersect, type VersionRange } from '../encoding/index.js'
import { CallError } from '../errors.js'
import type { E2eParams } from '../ratchet/index.js'
import { type ConnectionRequest, parseConnectionRequest } from '../smp/protocol/connectionRequest.js'
import { e2eParamsAt } from '../smp/protocol/e2eParams.js'
import type { QueueInfo } from '../smp/protocol/queueInfo.js'
import type { AgentConfig } from './config.js'
import { compatibleQueue } from './queues.js'

/** Whom a link leads to, at the highest versions that both sides speak. */
export type JoinTarget = InvitationTarget | ContactTarget

export interface InvitationTarget {
  readonly mode: 'invitation'
  readonly agentVersion: number
  readonly queue: QueueInfo
  /** The other party's half of X3DH. */
  readonly offer: E2eParams
}

export interface ContactTarget {
  readonly mode: 'contact'
  readonly agentVersion: number
  readonly queue: QueueInfo
}

/** Reads a long link. Throws DecodeError for what is no link, CallError `AGENT_VERSION` for versions that this agent does not speak. */
export const joinTarget = (link: string, config: AgentConfig): JoinTarget =>
  targetOf(parseConnectionRequest(link), config)

/** The same for a link that was read. Of several queues the first is used, as in the reference. */
export const targetOf = (request: ConnectionRequest, config: AgentConfig): JoinTarget => {
  const agentVersion = highestCommon(request.agentVersions, config.agentVersions)
  const [uri] = request.queues
  if (uri === undefined) throw new CallError('AGENT_VERSION', 'the link names no queue', { field: 'link' })
  const queue = compatibleQueue(uri, config)
  if (request.mode === 'contact') return { mode: 'contact', agentVersion, queue }
  const e2eVersion = highestCommon(request.e2e.versionRange, config.e2eVersions)
  return { mode: 'invitation', agentVersion, queue, offer: e2eParamsAt(request.e2e, e2eVersion) }
}

const highestCommon = (theirs: VersionRange, own: VersionRange): number => {
  const common = intersect(theirs, own)
  if (common !== undefined) return common.max
  throw new CallError('AGENT_VERSION', 'the other party speaks other versions of the protocol', {
    field: 'link',
    facts: { min: theirs.min, max: theirs.max },
    hint: 'one of the two parties must be updated',
  })
}
