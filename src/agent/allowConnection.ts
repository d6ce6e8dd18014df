import { decodeAll, Reader } from '../encoding/index.js'
import { CallError, InternalError } from '../errors.js'
import { follow } from '../runtime/follow.js'
import { type QueueInfo, readQueueInfo } from '../smp/protocol/queueInfo.js'
import { confirmations, sndQueues } from '../store/agent/connections.js'
import { insert, patch, type Row } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection, refusal, statusChange } from './decideConnection.js'
import { checkInfoLength } from './limits.js'
import { newSndQueue } from './queues.js'
import { requireConnection } from './rows.js'

/**
 * allowConnection: the keys of the send queue and the command to secure it are stored; the command worker secures the other
 * party’s queue (SKEY) and sends the own confirmation (B11). A repeated call changes nothing.
 */
export const allowConnection = (
  context: AgentContext,
  { connectionId, confirmationId, info = Buffer.alloc(0) }: ParsedParamsOf<'allowConnection'>,
): Promise<ResultOf<'allowConnection'>> => {
  checkInfoLength(info.length)
  return context.runtime.run({
    name: 'allowConnection',
    locks: [connectionId],
    compute: state => {
      const connection = requireConnection(state, connectionId)
      const decision = decideConnection(state, connection, { type: 'connection.allow' })
      const confirmation = state.rows(confirmations, connectionId).find(row => row.confirmationId === confirmationId)
      const { changes, wakes } = follow(decision, {
        acceptConfirmation: () => {
          requireConfirmation(confirmation)
          return { changes: [patch(confirmations, { confirmationId }, { ownInfo: info })] }
        },
        commandAllowSecure: () => {
          const { replyQueues } = requireConfirmation(confirmation)
          const queue = newSndQueue(context.random, connection, firstReplyQueue(replyQueues), state.now)
          const { changes, wake } = storedCommand(context, {
            connectionId,
            userId: connection.userId,
            router: queue.router,
            type: 'allowSecure',
            argument: { sndQueueId: queue.queueId },
            secret: info,
            now: state.now,
          })
          return { changes: [insert(sndQueues, queue), ...changes], wakes: [wake] }
        },
        ...refusal(connectionId),
      })
      // A repeated call names the confirmation too, as long as it is there: it goes when the connection is complete.
      if (connection.status === 'allowed') requireConfirmation(confirmation)
      return { result: {}, changes: [...statusChange(connectionId, decision), ...changes], wakes }
    },
  })
}

const requireConfirmation = (row: Row<typeof confirmations> | undefined): Row<typeof confirmations> => {
  if (row !== undefined) return row
  throw new CallError('CONFIRMATION_NOT_FOUND', 'there is no such confirmation', {
    field: 'confirmationId',
    hint: 'take the confirmationId of the CONF event',
  })
}

const firstReplyQueue = (bytes: Uint8Array): QueueInfo => {
  const [queue] = decodeAll(bytes, 'replyQueues', (reader: Reader) => reader.nonEmptyList(readQueueInfo, 'queues'))
  if (queue === undefined) throw new InternalError('confirmation without a reply queue')
  return queue
}
