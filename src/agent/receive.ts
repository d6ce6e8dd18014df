import { rcvQueueMachine, type RcvQueueEvent } from '../../machines/rcvQueue.js'
import { CallError, StoreError } from '../errors.js'
import { decide, type Decision } from '../runtime/decide.js'
import type { NewEvent, Outcome, UnitState } from '../runtime/unit.js'
import { parseRouterAddress } from '../smp/protocol/routerAddress.js'
import { rcvQueues } from '../store/agent/connections.js'
import { rcvMessages } from '../store/agent/messages.js'
import { patch, type Row } from '../store/index.js'
import { acknowledged, type Arrival, keptWake, type Received, type Step } from './arrival.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { openDelivered, openSent } from './incoming.js'
import { enqueueMessage } from './outgoing.js'
import { receiveConfirmation } from './receiveConfirmation.js'
import { receiveMessage } from './receiveMessage.js'
import {
  type ConnectionRow,
  eventOf,
  findConnection,
  findRcvQueue,
  isDeleted,
  type RcvQueueRow,
  sndQueuesOf,
} from './rows.js'
import type { DeliveredMessage } from './sessions.js'

type RcvMessageRow = Row<typeof rcvMessages>

/**
 * Processes one message of a router: decrypt, parse, check and store are one unit of work (B32). An error while processing is
 * reported and the message is acknowledged all the same, so that it cannot come back for ever (B31).
 */
export const receive = async (context: AgentContext, message: DeliveredMessage): Promise<Received> => {
  const { connectionId } = message.queue
  const received = await context.runtime.run<void, Received>({
    name: 'receive',
    internal: true,
    locks: [connectionId],
    compute: state => arrived(context, state, message),
  })
  return received.type === 'suspect' ? settleSuspect(context, message, received) : received
}

const arrived = (context: AgentContext, state: UnitState, message: DeliveredMessage): Outcome<Received> => {
  const { connectionId, queueId } = message.queue
  const connection = findConnection(state, connectionId)
  const queue = findRcvQueue(state, connectionId, queueId)
  // Nobody waits for what comes to a deleted connection.
  if (connection === undefined || queue === undefined || isDeleted(connection))
    return { result: { type: 'acknowledge' } }
  try {
    const { received, changes, events, wakes } = process(context, state, connection, queue, message)
    const kept = received.type === 'keep' ? [keptWake(message, received.messageId)] : []
    return { result: received, changes, events, wakes: [...wakes, ...kept] }
  } catch (error) {
    if (error instanceof StoreError) throw error
    return { result: { type: 'acknowledge' }, events: [eventOf(connection, 'ERR', { error: errorFact(error) })] }
  }
}

const process = (
  context: AgentContext,
  state: UnitState,
  connection: ConnectionRow,
  queue: RcvQueueRow,
  message: DeliveredMessage,
): Step => {
  const delivered = openDelivered(queue, message.messageId, message.body)
  if (delivered.type === 'quota') return queueDrained(state, connection, queue)
  const opened = openSent(queue, context.config, delivered.body)
  const event: RcvQueueEvent = {
    type: 'message.arrived',
    key: opened.senderDhKey !== undefined,
    envelope: opened.content?.envelope.type ?? 'sealed',
  }
  const decision = decide(rcvQueueMachine, queue.status, { secret: queue.e2eSecret !== null }, event)
  state.traced('rcvQueue', queue.queueId, event.type, decision)
  const { brokerAt, notify } = delivered
  return follow({ context, state, connection, queue, message, brokerAt, notify, opened }, decision)
}

// Does what the rcvQueue machine decided: one intent for a message.
const follow = (arrival: Arrival, decision: Decision): Step => {
  const [intent] = decision.intents
  switch (intent?.type) {
    case 'acknowledge':
      return acknowledged()
    case 'processConfirmation':
      return receiveConfirmation(arrival)
    case 'processMessage': {
      const step = receiveMessage(arrival)
      if (decision.from === decision.to) return step
      const { queueId } = arrival.queue
      return { ...step, changes: [...step.changes, patch(rcvQueues, { queueId }, { status: decision.to })] }
    }
    case 'processInvitation':
      throw new CallError('AGENT_PROHIBITED', 'an invitation came to a queue that is no contact address', {
        field: arrival.queue.queueId,
      })
    case 'processRatchetKey':
      throw new CallError('AGENT_UNSUPPORTED', 'the other party wants to synchronise the ratchet', {
        field: arrival.connection.connectionId,
        hint: 'ratchet synchronisation comes with a later version',
      })
    default:
      throw new CallError('AGENT_PROHIBITED', String(intent?.params['reason'] ?? 'unexpected message'), {
        field: arrival.queue.queueId,
      })
  }
}

// The queue was full and is empty now: the sender need not wait out its delay (A_QCONT). The other party is there, so a delivery of
// ours that waits, and that A_QCONT would stand behind, is tried at once too: else both sides could wait for each other.
const queueDrained = (state: UnitState, connection: ConnectionRow, queue: RcvQueueRow): Step => {
  const sndQueue = sndQueuesOf(state, connection.connectionId).find(row => row.primary)
  if (sndQueue === undefined || connection.status !== 'connected' || queue.sndId === null) return acknowledged()
  const content = {
    type: 'A_QCONT',
    queue: { router: parseRouterAddress(queue.router), senderId: queue.sndId },
  } as const
  const { changes, wake } = enqueueMessage(connection, sndQueue, content, { now: state.now, notify: false })
  return acknowledged({ changes, wakes: [wake, { worker: 'continue', key: sndQueue.queueId }] })
}

/**
 * A message that the ratchet has seen (B34): one that the application has acknowledged is acknowledged to the router again; one that it
 * has not is in the log still, so nothing is added and no ACK goes out; an unknown one is an error.
 */
const settleSuspect = (
  context: AgentContext,
  message: DeliveredMessage,
  { encryptedHash, error }: Extract<Received, { type: 'suspect' }>,
): Promise<Received> => {
  const { connectionId } = message.queue
  return context.runtime.run({
    name: 'receive.again',
    internal: true,
    locks: [connectionId],
    load: read => read(rcvMessages, { where: { connectionId, encryptedHash } }),
    compute: (state, [known]): Outcome<Received> => {
      if (known === undefined) {
        const connection = findConnection(state, connectionId)
        const events = connection === undefined ? [] : [eventOf(connection, 'ERR', { error: errorFact(error) })]
        return { result: { type: 'acknowledge' }, events }
      }
      // The same message under another id of the router is a copy that the sender sent twice: its first one waits.
      const same = Buffer.compare(known.brokerId, message.messageId) === 0
      if (known.type !== 'A_MSG' || known.state !== 'received' || !same) return { result: { type: 'acknowledge' } }
      const attempts = known.attempts + 1
      const key = { connectionId, messageId: known.messageId }
      if (attempts < dropAttempts || state.now - known.createdAt < dropAfterMs) {
        return {
          result: { type: 'keep', messageId: known.messageId },
          changes: [patch(rcvMessages, key, { attempts })],
          wakes: [keptWake(message, known.messageId)],
        }
      }
      // The router is told to go on; the event stays in the log until somebody reads it.
      return { result: { type: 'acknowledge' }, events: droppedEvent(findConnection(state, connectionId), known) }
    },
  })
}

const dropAttempts = 8
const dropAfterMs = 24 * 60 * 60 * 1000

const droppedEvent = (connection: ConnectionRow | undefined, { messageId, attempts }: RcvMessageRow): NewEvent[] =>
  connection === undefined
    ? []
    : [
        eventOf(
          connection,
          'ERR',
          {
            error: {
              code: 'AGENT_DUPLICATE',
              message: `message ${messageId} was delivered ${attempts + 1} times and acknowledged by nobody; its queue goes on without it`,
              field: connection.connectionId,
              hint: 'acknowledge message events when they are processed',
            },
          },
          { messageId },
        ),
      ]
