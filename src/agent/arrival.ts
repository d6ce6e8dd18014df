import { sha256 } from '../crypto/index.js'
import { type Bytes, toBase64url } from '../encoding/index.js'
import { asDuologueError, type DuologueError } from '../errors.js'
import type { Effects } from '../runtime/follow.js'
import type { NewEvent, UnitState, Wake } from '../runtime/unit.js'
import type { InvitationRequest } from '../smp/protocol/connectionRequest.js'
import { connections } from '../store/agent/connections.js'
import { type Change, patch } from '../store/index.js'
import type { AgentContext } from './context.js'
import type { DecryptedMessage } from './decryptMessage.js'
import type { OpenedEnvelope } from './incoming.js'
import type { DeliveryRow, SndMessageRow } from './outgoing.js'
import type { ConnectionRow, RcvQueueRow } from './rows.js'
import type { DeliveredMessage } from './sessions.js'

/** What becomes of the router’s message. */
export type Received =
  /** It is acknowledged to the router now. */
  | { readonly type: 'acknowledge' }
  /** The application acknowledges it. */
  | { readonly type: 'keep'; readonly messageId: number }
  /** A message of a rotation that comes before others which the other queue still has: it is looked at again later. */
  | { readonly type: 'hold'; readonly number: number | undefined }
  /** An invitation: look whether it came before. */
  | { readonly type: 'invitation'; readonly request: InvitationRequest; readonly info: Bytes }
  /** The ratchet says that it was received before: look which one it was. */
  | { readonly type: 'suspect'; readonly encryptedHash: Bytes; readonly error: DuologueError }

/** What a step of receiving changes, collected until the unit ends. */
export interface Step {
  readonly received: Received
  readonly changes: readonly Change[]
  readonly events: readonly NewEvent[]
  readonly wakes: readonly Wake[]
}

/** Everything a step looks at. */
export interface Arrival {
  readonly context: AgentContext
  readonly state: UnitState
  readonly connection: ConnectionRow
  readonly queue: RcvQueueRow
  readonly message: DeliveredMessage
  readonly brokerAt: number
  readonly notify: boolean
  readonly opened: OpenedEnvelope
  /** The message inside, where the rcvQueue machine took it for one of the ratchet. */
  readonly decrypted?: DecryptedMessage
  /** Whether the ratchet key that it brings was processed before; undefined when it brings none. */
  readonly keyKnown?: boolean | undefined
  /** The sent messages that its receipts are about. */
  readonly receipted: readonly SndMessageRow[]
  /** What waits for the queue that its QUSE replaces. */
  readonly waiting: readonly DeliveryRow[]
  /** What must be queued ahead of this side’s own key, when the message brings the other party’s. */
  readonly beforeKey: Effects
}

/** A step that only acknowledges. */
export const acknowledged = (more: Partial<Omit<Step, 'received'>> = {}): Step => ({
  received: { type: 'acknowledge' },
  changes: [],
  events: [],
  wakes: [],
  ...more,
})

/** What tells the inbox of a message that the application must acknowledge. */
export interface KeptMessage {
  readonly message: DeliveredMessage
  readonly messageId: number
}

/** A wake-up, since those come before anybody can learn of the commit: an acknowledgement must find the message. */
export const keptWake = (message: DeliveredMessage, messageId: number): Wake => {
  const hint: KeptMessage = { message, messageId }
  return { worker: 'kept', key: message.queue.connectionId, hint }
}

/** The router’s id of a message, as events show it. */
export const brokerIdOf = (message: DeliveredMessage): string => toBase64url(message.messageId)

/** SHA-256 of a ratchet message: how a redelivered one is known again. */
export const encryptedHashOf = (encryptedMessage: Bytes): Bytes => sha256(encryptedMessage)

export const isRatchetDuplicate = (error: unknown): boolean => {
  const { code } = asDuologueError(error)
  return code === 'CRYPTO_DUPLICATE' || code === 'CRYPTO_EARLIER' || code === 'CRYPTO_HEADER'
}

/** Status and other columns of the connection after a step. */
export const patchConnection = (connection: ConnectionRow, set: Partial<Omit<ConnectionRow, 'connectionId'>>): Change =>
  patch(connections, { connectionId: connection.connectionId }, set)
