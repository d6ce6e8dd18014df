import { rcvQueueMachine, type RcvQueueEvent } from '../../machines/rcvQueue.js'
import { CallError, InternalError, KemError } from '../errors.js'
import { decide, type Decision } from '../runtime/decide.js'
import type { NewEvent, Outcome, Read, UnitState } from '../runtime/unit.js'
import { parseRouterAddress } from '../smp/protocol/routerAddress.js'
import { rcvQueues } from '../store/agent/connections.js'
import { deliveries, rcvMessages } from '../store/agent/messages.js'
import { patch, type Row } from '../store/index.js'
import { acknowledged, type Arrival, keptWake, type Received, type Step } from './arrival.js'
import type { AgentContext } from './context.js'
import { decryptMessage } from './decryptMessage.js'
import { errorFact } from './events.js'
import { openDelivered, openSent } from './incoming.js'
import { readBeforeKey } from './movableDeliveries.js'
import { type DeliveryRow, encodeContent, enqueueMessage } from './outgoing.js'
import { isSecurable } from './queues.js'
import { isSynchronized, undecryptable } from './ratchetSync.js'
import { decideRcvSwitch, rcvSwitchOf, rcvSwitchTo } from './rcvSwitch.js'
import { receiveConfirmation } from './receiveConfirmation.js'
import { receiveInvitation } from './receiveInvitation.js'
import { receiveMessage } from './receiveMessage.js'
import { readKnownKey, receiveRatchetKey } from './receiveRatchetKey.js'
import { readReceipted } from './receipts.js'
import {
  type ConnectionRow,
  eventOf,
  findConnection,
  findRcvQueue,
  isDeleted,
  type RcvQueueRow,
  usedSndQueue,
} from './rows.js'
import type { DeliveredMessage } from './sessions.js'
import { usedSwitch } from './sndSwitch.js'

type RcvMessageRow = Row<typeof rcvMessages>

/**
 * Processes one message of a router: decrypt, parse, check and store are one unit of work (B32). An error while processing is
 * reported and the message is acknowledged all the same, so that it cannot come back for ever (B31). Rejects with StoreError and KemError:
 * then nothing was decided, and the same message must be processed again.
 */
export const receive = async (context: AgentContext, message: DeliveredMessage, force: boolean): Promise<Received> => {
  const { connectionId } = message.queue
  const received = await context.runtime.run<Opened, Received>({
    name: 'receive',
    internal: true,
    locks: [connectionId],
    load: (read, state) => open(context, state, message, { read, force }),
    compute: (_state, opened) => arrived(message, opened),
  })
  if (received.type === 'suspect') return settleSuspect(context, message, received)
  return received.type === 'invitation' ? receiveInvitation(context, connectionId, received) : received
}

/** What a message was found to be, before anything is decided. */
type Opened =
  /** Nobody waits for what comes to a deleted connection. */
  | { readonly type: 'unwanted' }
  | { readonly type: 'failed'; readonly connection: ConnectionRow; readonly error: unknown }
  | {
      readonly type: 'drained'
      readonly state: UnitState
      readonly connection: ConnectionRow
      readonly queue: RcvQueueRow
    }
  /** Others come before it, which the other queue of a rotation has. */
  | { readonly type: 'held'; readonly number: number | undefined }
  | { readonly type: 'arrived'; readonly arrival: Arrival; readonly decision: Decision }

// Opens the message and reads the rows that it is about, which only its content tells.
const open = async (
  context: AgentContext,
  state: UnitState,
  message: DeliveredMessage,
  { read, force }: { readonly read: Read; readonly force: boolean },
): Promise<Opened> => {
  const { connectionId, queueId } = message.queue
  const connection = findConnection(state, connectionId)
  const queue = findRcvQueue(state, connectionId, queueId)
  if (connection === undefined || queue === undefined || isDeleted(connection)) return { type: 'unwanted' }
  let arrival: Arrival
  let decision: Decision
  try {
    const delivered = openDelivered(queue, message.messageId, message.body)
    if (delivered.type === 'quota') return { type: 'drained', state, connection, queue }
    const opened = openSent(queue, context.config, delivered.body)
    const event: RcvQueueEvent = {
      type: 'message.arrived',
      key: opened.senderDhKey !== undefined,
      senderKey: opened.content?.senderKey !== undefined,
      envelope: opened.content?.envelope.type ?? 'sealed',
    }
    const known = { secret: queue.e2eSecret !== null, securable: isSecurable(queue) }
    decision = decide(rcvQueueMachine, queue.status, known, event)
    state.traced('rcvQueue', queue.queueId, event.type, decision)
    const { brokerAt, notify } = delivered
    arrival = {
      context,
      state,
      connection,
      queue,
      message,
      brokerAt,
      notify,
      opened,
      receipted: [],
      waiting: [],
      beforeKey: {},
    }
    if (decision.intents[0]?.type === 'processMessage')
      arrival = { ...arrival, decrypted: await decryptMessage(arrival) }
  } catch (error) {
    if (error instanceof KemError) throw error
    return { type: 'failed', connection, error }
  }
  const keyKnown = await readKnownKey(read, arrival)
  if (!force && comesLater({ ...arrival, keyKnown })) {
    const { decrypted } = arrival
    return { type: 'held', number: decrypted?.type === 'message' ? decrypted.message.id : undefined }
  }
  const receipted = await readReceipted(read, connectionId, arrival.decrypted)
  const waiting = await readWaiting(read, arrival)
  const beforeKey = keyKnown === false ? await readBeforeKey(read, state, connection) : {}
  return { type: 'arrived', arrival: { ...arrival, keyKnown, receipted, waiting, beforeKey }, decision }
}

const arrived = async (message: DeliveredMessage, opened: Opened): Promise<Outcome<Received>> => {
  if (opened.type === 'unwanted') return { result: { type: 'acknowledge' } }
  if (opened.type === 'held') return { result: { type: 'hold', number: opened.number } }
  if (opened.type === 'failed') return failed(opened.connection, opened.error)
  try {
    const step = opened.type === 'drained' ? queueDrained(opened) : await follow(opened.arrival, opened.decision)
    const { received, changes, events, wakes } = step
    const kept = received.type === 'keep' ? [keptWake(message, received.messageId)] : []
    return { result: received, changes, events, wakes: [...wakes, ...kept] }
  } catch (error) {
    if (error instanceof KemError) throw error
    return failed(opened.type === 'drained' ? opened.connection : opened.arrival.connection, error)
  }
}

const failed = (connection: ConnectionRow, error: unknown): Outcome<Received> => ({
  result: { type: 'acknowledge' },
  events: [eventOf(connection, 'ERR', { error: errorFact(error) })],
})

// Does what the rcvQueue machine decided: one intent for a message.
const follow = (arrival: Arrival, decision: Decision): Step | Promise<Step> => {
  const [intent] = decision.intents
  switch (intent?.type) {
    case 'acknowledge':
      return acknowledged()
    case 'processConfirmation':
      return receiveConfirmation(arrival)
    case 'processMessage': {
      const step = withSwitch(arrival, receiveMessage(arrival))
      if (decision.from === decision.to) return step
      const { queueId } = arrival.queue
      return { ...step, changes: [...step.changes, patch(rcvQueues, { queueId }, { status: decision.to })] }
    }
    case 'processInvitation': {
      const { envelope } = arrival.opened.content ?? {}
      if (envelope?.type !== 'invitation') throw new InternalError('no invitation')
      return { ...acknowledged(), received: envelope }
    }
    case 'processRatchetKey':
      return receiveRatchetKey(arrival)
    default:
      throw new CallError('AGENT_PROHIBITED', String(intent?.params['reason'] ?? 'unexpected message'), {
        field: arrival.queue.queueId,
      })
  }
}

// Both queues of a rotation are read from QUSE on, and each may have messages that the other one has not: the numbers of the sender tell
// which comes next (B78). A ratchet key says no number, and what was encrypted before it can be decrypted only before it: it waits
// until both queues are read as far.
const comesLater = ({ state, connection, queue, decrypted, keyKnown }: Arrival): boolean => {
  const isNext = decrypted?.type !== 'message' || decrypted.message.id <= connection.lastExternalId + 1
  if (isNext && keyKnown !== false) return false
  const { switchStatus, queueId } = rcvSwitchOf(state, connection)?.old ?? {}
  // The new queue has begun, and still has what comes between: this one comes there as well, if the old queue goes with it.
  if (switchStatus === 'receivedMessage') return !isNext && queueId === queue.queueId
  return switchStatus === 'sendingQUSE'
}

// What waits for the queue that a QUSE replaces goes to the new one, too.
const readWaiting = async (read: Read, { state, connection, decrypted }: Arrival): Promise<readonly DeliveryRow[]> => {
  if (decrypted?.type !== 'message' || decrypted.message.content.type !== 'QUSE') return []
  const rotation = usedSwitch(state, connection, decrypted.message.content.queues[0]?.queue)
  if (rotation === undefined) return []
  return read(deliveries, { where: { queueId: rotation.old.queueId }, orderBy: ['messageId'] })
}

// The first message on the new queue with nothing missing before it ends the old one (B33).
const withSwitch = (arrival: Arrival, step: Step): Step => {
  const { context, state, connection, queue, decrypted } = arrival
  if (decrypted?.type !== 'message' && decrypted?.type !== 'suspect') return step
  const rotation = rcvSwitchTo(state, connection, queue)
  if (rotation === undefined) return step
  const { changes = [], wakes = [] } = decideRcvSwitch(context, state, rotation, { type: 'message.received' })
  return { ...step, changes: [...step.changes, ...changes], wakes: [...step.wakes, ...wakes] }
}

// The queue was full and is empty now: the sender need not wait out its delay (A_QCONT). The other party is there, so a delivery of
// ours that waits, and that A_QCONT would stand behind, is tried at once too: else both sides could wait for each other.
const queueDrained = ({ state, connection, queue }: Extract<Opened, { type: 'drained' }>): Step => {
  if (connection.status !== 'connected' || !isSynchronized(connection) || queue.sndId === null) return acknowledged()
  const sndQueue = usedSndQueue(state, connection.connectionId)
  const content = encodeContent({
    type: 'A_QCONT',
    queue: { router: parseRouterAddress(queue.router), senderId: queue.sndId },
  })
  const { changes, wake } = enqueueMessage(connection, sndQueue, content, { now: state.now, notify: false })
  return acknowledged({ changes, wakes: [wake, { worker: 'continue', key: sndQueue.queueId }] })
}

/**
 * A message that the ratchet has seen (B34): one that the application has acknowledged is acknowledged to the router again; one that it
 * has not is in the log still, so nothing is added and no ACK goes out; an unknown one could not be decrypted (B36).
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
        const told = connection === undefined ? {} : undecryptable(state, connection, error)
        return { result: { type: 'acknowledge' }, ...told }
      }
      // The same message under another id of the router is a copy that the sender sent twice: its first one waits.
      const same = Buffer.compare(known.brokerId, message.messageId) === 0
      if (known.state === 'acknowledged' || !same) return { result: { type: 'acknowledge' } }
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
