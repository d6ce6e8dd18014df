import { sha256 } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { InternalError } from '../errors.js'
import { follow } from '../runtime/follow.js'
import type { MessageContent } from '../smp/protocol/agentMessage.js'
import { formatRouterAddress } from '../smp/protocol/routerAddress.js'
import { rcvMessages } from '../store/agent/messages.js'
import { type Change, insert, type Json } from '../store/index.js'
import type { MessageIntegrity } from './api/events.js'
import { acknowledged, type Arrival, brokerIdOf, patchConnection, type Step } from './arrival.js'
import { complete, decideConnection, statusChange } from './decideConnection.js'
import type { DecryptedMessage } from './decryptMessage.js'
import { errorFact } from './events.js'
import { enqueueHello } from './outgoing.js'
import { undecryptable } from './ratchetSync.js'
import { receiveQkey } from './rcvSwitch.js'
import { receiptEffects } from './receipts.js'
import { type ConnectionRow, eventOf, usedSndQueue, sndQueuesOf } from './rows.js'
import { receiveQadd, receiveQuse } from './sndSwitch.js'
import { ratchetWorks } from './syncEnded.js'

/** A message of the double ratchet: decrypted, numbered, checked and stored in one commit (B32). */
export const receiveMessage = (arrival: Arrival): Step => {
  const { state, connection, decrypted } = arrival
  if (decrypted === undefined) throw new InternalError('the message was not decrypted')
  const { encryptedHash, ratchet, ratchetChanges } = decrypted
  switch (decrypted.type) {
    case 'suspect':
      return { ...acknowledged(), received: { type: 'suspect', encryptedHash, error: decrypted.error } }
    // A protocol failure is a result: what the ratchet has learned is kept, the error is told, the message acknowledged.
    case 'undecrypted': {
      const { changes, events } = undecryptable(state, connection, decrypted.error)
      return acknowledged({
        changes: [...ratchetChanges, patchConnection(connection, { ratchet }), ...changes],
        events,
      })
    }
    case 'unreadable': {
      const { agentVersion, error } = decrypted
      return acknowledged({
        changes: [...ratchetChanges, patchConnection(connection, { ratchet, agentVersion })],
        events: [eventOf(connection, 'ERR', { error: errorFact(error) })],
      })
    }
    case 'message':
      return numberedStep(arrival, decrypted)
  }
}

/** A message that was decrypted and read. */
type ReadMessage = Extract<DecryptedMessage, { type: 'message' }>

const numberedStep = (arrival: Arrival, decrypted: ReadMessage): Step => {
  const { context, state, connection, queue, message } = arrival
  const { id, content } = decrypted.message
  const messageId = connection.lastMessageId + 1
  const internalHash = sha256(decrypted.plaintext)
  const next = {
    ratchet: decrypted.ratchet,
    agentVersion: decrypted.agentVersion,
    lastMessageId: messageId,
    lastReceiveId: connection.lastReceiveId + 1,
    lastExternalId: id,
    lastReceiveHash: internalHash,
  }
  const { connection: after, effects: sync } = ratchetWorks(
    context,
    state,
    { ...connection, ...next },
    decrypted.before,
  )
  const step =
    content.type === 'HELLO'
      ? helloStep(arrival, after, decrypted.pqEncryption)
      : (rotationStep(arrival, after, content) ?? contentStep(arrival, decrypted, messageId))
  const kept = step.received.type === 'keep'
  const changes: Change[] = [
    ...decrypted.ratchetChanges,
    patchConnection(connection, next),
    insert(rcvMessages, {
      connectionId: connection.connectionId,
      messageId,
      queueId: queue.queueId,
      brokerId: Buffer.from(message.messageId),
      encryptedHash: decrypted.encryptedHash,
      internalHash,
      senderMessageId: id,
      type: content.type,
      state: kept ? 'received' : 'acknowledged',
      attempts: 0,
      createdAt: state.now,
    }),
  ]
  return {
    ...step,
    changes: [...changes, ...sync.changes, ...step.changes],
    events: [...sync.events, ...step.events],
    wakes: [...sync.wakes, ...step.wakes],
  }
}

// HELLO of the legacy handshake (B12): the initiator answers it with its own, and at the joiner, whose send queue it finds active or whose
// HELLO it proves to have arrived, it completes the connection. `connection` is as the message has left it.
const helloStep = ({ state }: Arrival, connection: ConnectionRow, pqEncryption: boolean): Step => {
  const { connectionId } = connection
  const decision = decideConnection(state, connection, { type: 'hello.received' })
  const effects = follow(decision, {
    enqueueHello: () => enqueueHello(connection, usedSndQueue(state, connectionId), state.now),
    notifyCon: () => complete(connection, pqEncryption),
    refuse: ({ reason }) => ({
      events: [errorEvent(connection, 'AGENT_PROHIBITED', String(reason))],
    }),
  })
  return acknowledged({ ...effects, changes: [...statusChange(connectionId, decision), ...effects.changes] })
}

// Rotation (B70): the machines of both parties answer. `connection` is as the message has left it.
const rotationStep = (arrival: Arrival, connection: ConnectionRow, content: MessageContent): Step | undefined => {
  const { context, state, waiting } = arrival
  switch (content.type) {
    case 'QADD':
      return acknowledged(receiveQadd(context, state, connection, content.queues))
    case 'QKEY':
      return acknowledged(receiveQkey(context, state, connection, content.queues))
    case 'QUSE':
      return acknowledged(receiveQuse(state, connection, content.queues, waiting))
    // Any message on the new queue ends the old one: QTEST is there so that there is one.
    case 'QTEST':
      return acknowledged()
    default:
      return undefined
  }
}

// ACK is the user’s for a message and for a receipt with news, automatic for everything else that the agents say to each other (B31).
const contentStep = (arrival: Arrival, decrypted: ReadMessage, messageId: number): Step => {
  const { connection } = arrival
  const { content } = decrypted.message
  switch (content.type) {
    case 'A_MSG': {
      const decision = decideConnection(arrival.state, connection, { type: 'message.received' })
      if (!decision.intents.some(intent => intent.type === 'deliverMessage')) return acknowledged()
      const payload = { ...messageFacts(arrival, decrypted), notify: arrival.notify }
      const body = Buffer.from(content.body)
      return keptStep(messageId, [eventOf(connection, 'MSG', payload, { messageId, body })])
    }
    case 'A_RCVD': {
      const { receipts, changes, events } = receiptEffects(arrival, content.receipts)
      if (receipts.length === 0) return acknowledged({ changes, events })
      const payload = { receipts, ...messageFacts(arrival, decrypted) }
      const told = eventOf(connection, 'RCVD', payload, { messageId })
      return { ...keptStep(messageId, [...events, told]), changes }
    }
    case 'A_QCONT': {
      const router = formatRouterAddress(content.queue.router)
      const queue = sndQueuesOf(arrival.state, connection.connectionId).find(
        row => row.router === router && Buffer.compare(row.sndId, content.queue.senderId) === 0,
      )
      if (queue === undefined) {
        return acknowledged({
          events: [errorEvent(connection, 'AGENT_QUEUE', 'A_QCONT names a queue that is not there')],
        })
      }
      return acknowledged({
        events: [eventOf(connection, 'QCONT', {})],
        wakes: [{ worker: 'continue', key: queue.queueId }],
      })
    }
    // What it says is known by then: it was decrypted with the new ratchet.
    case 'EREADY':
      return acknowledged()
    default:
      return acknowledged({
        events: [errorEvent(connection, 'AGENT_UNSUPPORTED', `the other party sent ${content.type}`)],
      })
  }
}

const keptStep = (messageId: number, events: Step['events']): Step => ({
  received: { type: 'keep', messageId },
  changes: [],
  events,
  wakes: [],
})

/** What events tell of a numbered message beside its content. */
const messageFacts = (
  { connection, message, brokerAt }: Arrival,
  { message: { id, previousHash }, pqEncryption }: ReadMessage,
): { readonly [key: string]: Json } => ({
  integrity: integrityOf(connection, id, previousHash),
  brokerId: brokerIdOf(message),
  brokerAt,
  senderMessageId: id,
  pqEncryption,
})

const errorEvent = (connection: ConnectionRow, code: string, message: string) =>
  eventOf(connection, 'ERR', { error: { code, message, field: connection.connectionId } })

/** The check of number and hash chain (B35): its result is told and never blocks. */
export const integrityOf = (
  connection: Pick<ConnectionRow, 'lastExternalId' | 'lastReceiveHash'>,
  id: number,
  previousHash: Bytes,
): MessageIntegrity & { readonly [key: string]: string | number } => {
  const last = connection.lastExternalId
  if (id < last) return { result: 'badId', previousId: last }
  if (id === last) return { result: 'duplicate' }
  if (id > last + 1) return { result: 'skipped', from: last + 1, to: id - 1 }
  return Buffer.compare(previousHash, connection.lastReceiveHash) === 0 ? { result: 'ok' } : { result: 'badHash' }
}
