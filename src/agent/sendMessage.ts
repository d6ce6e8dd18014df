import { follow } from '../runtime/follow.js'
import type { Outcome } from '../runtime/unit.js'
import { sndMessages } from '../store/agent/messages.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { versionRatchetOnConfirmation } from './config.js'
import type { AgentContext } from './context.js'
import { decideConnection, refusal } from './decideConnection.js'
import { checkMessageLength } from './limits.js'
import { enqueueMessage } from './outgoing.js'
import { primarySndQueue, requireConnection } from './rows.js'

/**
 * sendMessage: the ratchet advances and message and delivery are stored (B40); answered when they are durable. Oversized bodies are
 * refused before anything is spent (B47). A repeated call under the same idempotency key answers with the first message.
 */
export const sendMessage = (
  context: AgentContext,
  { connectionId, body, notify, idempotencyKey }: ParsedParamsOf<'sendMessage'>,
): Promise<ResultOf<'sendMessage'>> => {
  checkMessageLength(body.length)
  return context.runtime.run({
    name: 'sendMessage',
    locks: [connectionId],
    load: async read => {
      if (idempotencyKey === undefined) return undefined
      const [known] = await read(sndMessages, { where: { connectionId, idempotencyKey } })
      return known?.messageId
    },
    compute: (state, knownId): Outcome<ResultOf<'sendMessage'>> => {
      const connection = requireConnection(state, connectionId)
      if (knownId !== undefined) return { result: { messageId: knownId } }
      checkMessageLength(body.length, connection)
      const early = connection.agentVersion >= versionRatchetOnConfirmation
      let messageId = 0
      const { changes, wakes } = follow(decideConnection(state, connection, { type: 'message.send', early }), {
        acceptMessage: () => {
          const queue = primarySndQueue(state, connectionId)
          const options = { now: state.now, notify, idempotencyKey }
          const enqueued = enqueueMessage(connection, queue, { type: 'A_MSG', body }, options)
          messageId = enqueued.messageId
          return { changes: enqueued.changes, wakes: [enqueued.wake] }
        },
        ...refusal(connectionId),
      })
      return { result: { messageId }, changes, wakes }
    },
  })
}
