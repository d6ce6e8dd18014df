import { follow } from '../runtime/follow.js'
import type { Outcome, UnitState } from '../runtime/unit.js'
import { CLIENT_VERSION_SENDER_SECURE } from '../smp/protocol/versions.js'
import { sndMessages } from '../store/agent/messages.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { versionRatchetOnConfirmation } from './config.js'
import type { AgentContext } from './context.js'
import { decideConnection, refusal } from './decideConnection.js'
import { checkMessageLength } from './limits.js'
import {
  encodeContent,
  type EncodedContent,
  type EnqueueOptions,
  type Enqueued,
  encryptionWith,
  enqueueMessage,
} from './outgoing.js'
import { isSecurable } from './queues.js'
import { isSynchronized } from './ratchetSync.js'
import { type ConnectionRow, usedSndQueue, rcvQueuesOf, requireConnection, sndQueuesOf } from './rows.js'

/**
 * sendMessage: the ratchet advances and message and delivery are stored (B40); answered when they are durable. Oversized bodies are
 * refused before anything is spent (B47). A wish for the KEM (`pq`) makes the room that its keys need at once, and the turns of the ratchet follow
 * it (B19). A repeated call under the same idempotency key answers with the first message.
 */
export const sendMessage = (
  context: AgentContext,
  { connectionId, body, notify, pq, idempotencyKey }: ParsedParamsOf<'sendMessage'>,
): Promise<ResultOf<'sendMessage'>> => {
  return context.runtime.run({
    name: 'sendMessage',
    locks: [connectionId],
    load: async read => {
      if (idempotencyKey === undefined) return undefined
      const [known] = await read(sndMessages, { where: { connectionId, idempotencyKey } })
      return known === undefined ? undefined : { messageId: known.messageId, pqEncryption: known.pqEncryption }
    },
    compute: (state, known): Outcome<ResultOf<'sendMessage'>> => {
      const connection = requireConnection(state, connectionId)
      if (known !== undefined) return { result: known }
      const options = { now: state.now, notify, idempotencyKey, pq, e2eVersion: context.config.e2eVersions.max }
      checkMessageLength(body.length, encryptionWith(connection, options))
      checkCanSend(state, connection)
      const enqueued = enqueueOn(state, connection, encodeContent({ type: 'A_MSG', body }), options)
      const { messageId, pqEncryption } = enqueued
      return { result: { messageId, pqEncryption }, changes: enqueued.changes, wakes: [enqueued.wake] }
    },
  })
}

/** Whether the connection machine accepts a message of the user. Throws CallError `CMD_PROHIBITED`. */
export const checkCanSend = (state: UnitState, connection: ConnectionRow): void => {
  const early = sendsEarly(state, connection)
  const synchronized = isSynchronized(connection)
  follow(decideConnection(state, connection, { type: 'message.send', early, synchronized }), {
    acceptMessage: () => ({}),
    ...refusal(connection.connectionId),
  })
}

/** Enqueues a message of the user on the connection’s send queue. */
export const enqueueOn = (
  state: UnitState,
  connection: ConnectionRow,
  content: EncodedContent,
  options: EnqueueOptions,
): Enqueued => enqueueMessage(connection, usedSndQueue(state, connection.connectionId), content, options)

// The initiator takes messages from its confirmation on (B13), if neither queue needs the legacy handshake, in which HELLO comes first.
const sendsEarly = (state: UnitState, { connectionId, agentVersion }: ConnectionRow): boolean => {
  const [snd] = sndQueuesOf(state, connectionId)
  const [reply] = rcvQueuesOf(state, connectionId)
  if (agentVersion < versionRatchetOnConfirmation || snd === undefined || reply === undefined) return false
  return isSecurable(snd) && isSecurable(reply) && snd.clientVersion >= CLIENT_VERSION_SENDER_SECURE
}
