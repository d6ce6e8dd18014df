import { sha256 } from '../crypto/index.js'
import { concat } from '../encoding/index.js'
import { CallError } from '../errors.js'
import { follow } from '../runtime/follow.js'
import type { Outcome } from '../runtime/unit.js'
import { versionsAllowKem } from '../smp/protocol/agentEnvelope.js'
import { formatConnectionRequest, type InvitationRequest } from '../smp/protocol/connectionRequest.js'
import { formatRouterAddress } from '../smp/protocol/routerAddress.js'
import { invitations } from '../store/agent/connections.js'
import { insert } from '../store/index.js'
import type { Received } from './arrival.js'
import type { AgentConfig } from './config.js'
import type { AgentContext } from './context.js'
import { decideConnection } from './decideConnection.js'
import { errorFact } from './events.js'
import { targetOf } from './joinTarget.js'
import { newId } from './queues.js'
import { eventOf, findConnection } from './rows.js'

/**
 * An invitation that came to a contact address: stored and told as REQ, also one whose versions this agent does not speak (B18). One that
 * is sent again, because its first answer was lost, is known by its keys and tells nothing new.
 */
export const receiveInvitation = (
  context: AgentContext,
  connectionId: string,
  { request, info }: Extract<Received, { type: 'invitation' }>,
): Promise<Received> => {
  const requestHash = sha256(concat(request.e2e.key1, request.e2e.key2))
  return context.runtime.run({
    name: 'receive.invitation',
    internal: true,
    locks: [connectionId],
    load: read => read(invitations, { where: { connectionId, requestHash } }),
    compute: (state, [known]): Outcome<Received> => {
      const connection = findConnection(state, connectionId)
      const result = { type: 'acknowledge' } as const
      if (connection === undefined || known !== undefined) return { result }
      const { userId } = connection
      const invitationId = newId(context.random)
      const routers = request.queues.map(({ address }) => formatRouterAddress(address.router))
      const pqSupport = supportsKem(request, context.config)
      const row = {
        invitationId,
        connectionId,
        userId,
        request: formatConnectionRequest(request),
        requestHash,
        accepted: false,
        acceptedBy: null,
        createdAt: state.now,
      }
      const effects = follow(decideConnection(state, connection, { type: 'invitation.received' }), {
        storeInvitation: () => ({ changes: [insert(invitations, row)] }),
        notifyReq: () => ({
          events: [eventOf(connection, 'REQ', { invitationId, routers, pqSupport }, { body: Buffer.from(info) })],
        }),
        refuse: ({ reason }) => {
          const error = new CallError('AGENT_PROHIBITED', String(reason), { field: connectionId })
          return { events: [eventOf(connection, 'ERR', { error: errorFact(error) })] }
        },
      })
      return { result, ...effects }
    },
  })
}

/** Whether the versions of both sides allow the post-quantum ratchet; not if they have none in common. */
const supportsKem = (request: InvitationRequest, config: AgentConfig): boolean => {
  try {
    const target = targetOf(request, config)
    return target.mode === 'invitation' && versionsAllowKem(target.agentVersion, target.offer.version)
  } catch (error) {
    if (error instanceof CallError && error.code === 'AGENT_VERSION') return false
    throw error
  }
}
