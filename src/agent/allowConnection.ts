import { connectionMachine } from '../../machines/connection.js'
import { decodeAll, Reader } from '../encoding/index.js'
import { CallError, InternalError } from '../errors.js'
import { decide } from '../runtime/decide.js'
import { type QueueInfo, readQueueInfo } from '../smp/protocol/queueInfo.js'
import { confirmations, connections, sndQueues } from '../store/agent/connections.js'
import { insert, patch } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { checkInfoLength } from './outgoing.js'
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
      const decision = decide(connectionMachine, connection.status, {}, { type: 'connection.allow' })
      state.traced('connection', connectionId, 'connection.allow', decision)
      refuseIfTold(decision.intents, connectionId)
      const confirmation = state.rows(confirmations, connectionId).find(row => row.confirmationId === confirmationId)
      // Once the connection is complete its confirmation is gone, and any repeated call is one of it.
      if (confirmation === undefined && connection.status === 'connected') return { result: {} }
      if (confirmation === undefined) {
        throw new CallError('CONFIRMATION_NOT_FOUND', 'there is no such confirmation', {
          field: 'confirmationId',
          hint: 'take the confirmationId of the CONF event',
        })
      }
      if (decision.from === decision.to) return { result: {} }
      const queue = newSndQueue(context.random, connection, firstReplyQueue(confirmation.replyQueues), state.now)
      const command = storedCommand(context, {
        connectionId,
        userId: connection.userId,
        router: queue.router,
        type: 'allowSecure',
        argument: { sndQueueId: queue.queueId },
        secret: info,
        now: state.now,
      })
      return {
        result: {},
        changes: [
          patch(connections, { connectionId }, { status: decision.to }),
          patch(confirmations, { confirmationId }, { ownInfo: info }),
          insert(sndQueues, queue),
          ...command.changes,
        ],
        wakes: [command.wake],
      }
    },
  })
}

/** Turns a machine's refusal into the error of the call. Throws CallError `CMD_PROHIBITED`. */
export const refuseIfTold = (
  intents: ReadonlyArray<{ readonly type: string; readonly params: Readonly<Record<string, unknown>> }>,
  connectionId: string,
): void => {
  const refusal = intents.find(intent => intent.type === 'refuse')
  if (refusal === undefined) return
  throw new CallError('CMD_PROHIBITED', String(refusal.params['reason']), { field: connectionId })
}

const firstReplyQueue = (bytes: Uint8Array): QueueInfo => {
  const [queue] = decodeAll(bytes, 'replyQueues', (reader: Reader) => reader.nonEmptyList(readQueueInfo, 'queues'))
  if (queue === undefined) throw new InternalError('confirmation without a reply queue')
  return queue
}
