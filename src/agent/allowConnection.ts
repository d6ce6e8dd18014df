import { decodeAll, Reader } from '../encoding/index.js'
import { CallError, InternalError } from '../errors.js'
import { follow } from '../runtime/follow.js'
import type { Outcome } from '../runtime/unit.js'
import { type QueueInfo, readQueueInfo } from '../smp/protocol/queueInfo.js'
import { confirmations, sndQueues } from '../store/agent/connections.js'
import { insert, patch, type Row } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentConfig } from './config.js'
import type { AgentContext } from './context.js'
import { decideConnection, refusal, statusChange } from './decideConnection.js'
import { allowSecureStep, secureReceiveStep } from './handshakeSteps.js'
import { readProgress } from './join.js'
import { checkInfoLength } from './limits.js'
import { newSndQueue } from './queues.js'
import { rcvQueuesOf, requireConnection, sndQueuesOf } from './rows.js'

/**
 * allowConnection: the keys of the send queue and the first step are stored: the own queue is secured where the other party cannot do that
 * (KEY), then the other party’s (SKEY), and the own confirmation sent (B11, B12). A repeated call changes nothing, unless a router has
 * refused a step for good: then it goes on with the same keys (B15).
 */
export const allowConnection = (
  context: AgentContext,
  { connectionId, confirmationId, info = Buffer.alloc(0) }: ParsedParamsOf<'allowConnection'>,
): Promise<ResultOf<'allowConnection'>> => {
  return context.runtime.run({
    name: 'allowConnection',
    locks: [connectionId],
    load: read => readProgress(read, connectionId),
    compute: (state, progress): Outcome<ResultOf<'allowConnection'>> => {
      const connection = requireConnection(state, connectionId)
      checkInfoLength(info.length, connection)
      const confirmation = state.rows(confirmations, connectionId).find(row => row.confirmationId === confirmationId)
      const rcvQueue = rcvQueuesOf(state, connectionId)[0]
      let sndQueue = sndQueuesOf(state, connectionId)[0]
      const decision = decideConnection(state, connection, {
        type: 'connection.allow',
        unsecured: rcvQueue?.status === 'confirmed' && rcvQueue.senderKey !== null,
        // The own confirmation is the first that is sent.
        stopped: progress.stopped && connection.lastSendId === 0,
      })
      const effects = follow(decision, {
        acceptConfirmation: () => {
          const { replyQueues } = requireConfirmation(confirmation)
          const accepted = patch(confirmations, { confirmationId }, { ownInfo: info })
          if (sndQueue !== undefined) return { changes: [accepted] }
          sndQueue = newSndQueue(context.random, connection, firstReplyQueue(replyQueues, context.config), state.now)
          return { changes: [accepted, insert(sndQueues, sndQueue)] }
        },
        commandSecureReceive: () => secureReceiveStep(context, state, connectionId),
        commandAllowSecure: () => {
          if (sndQueue === undefined) throw new InternalError('an allowed connection has no send queue')
          return allowSecureStep(context, state, sndQueue)
        },
        ...refusal(connectionId),
      })
      // A repeated call names the confirmation too, as long as it is there: it goes when the connection is complete.
      if (connection.status === 'allowed') requireConfirmation(confirmation)
      return { result: {}, ...effects, changes: [...statusChange(connectionId, decision), ...effects.changes] }
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

const firstReplyQueue = (bytes: Uint8Array, { clientVersions: { min, max } }: AgentConfig): QueueInfo => {
  const [queue] = decodeAll(bytes, 'replyQueues', (reader: Reader) => reader.nonEmptyList(readQueueInfo, 'queues'))
  if (queue === undefined) throw new InternalError('confirmation without a reply queue')
  if (queue.clientVersion >= min && queue.clientVersion <= max) return queue
  throw new CallError('AGENT_VERSION', 'the other party’s queue needs another SMP client version', {
    field: 'confirmationId',
    facts: { version: queue.clientVersion, min, max },
  })
}
