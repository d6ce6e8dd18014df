import type { EventEnvelope } from '../../agent/api/events.js'

/** An error as an event tells it. */
interface Fact {
  readonly code: string
  readonly message: string
  readonly field?: string
  readonly hint?: string
}

/** Who wrote a message, and its timestamp: how messages name each other. */
interface Reference {
  readonly author: string
  readonly timestamp: number
}

interface MessageFacts {
  readonly kind: 'text' | 'attachment' | 'reply' | 'reaction'
  readonly attachments?: ReadonlyArray<{
    readonly position: number
    readonly contentType: string
    readonly fileName: string | null
    readonly size: number
  }>
  readonly quote?: Reference & { readonly text: string }
  readonly reaction?: Reference & { readonly emoji: string; readonly remove: boolean }
}

/** Events of the Signal channel; `connectionId` is the recipientId, or empty. */
export type SignalEventPayload =
  /** A message: `body` is its text. */
  | ({
      readonly type: 'MSG'
      readonly messageId: number
      readonly body: Uint8Array
      readonly timestamp: number
      readonly serverTimestamp: number
      readonly sender: string
      readonly device: number
      readonly sealed: boolean
      /** Which of the account’s service ids it was sent to. */
      readonly addressedTo: 'aci' | 'pni'
      /** The timestamp of the message that it replaces. */
      readonly edits?: number
    } & MessageFacts)
  /** The server has the message for all listed devices. */
  | {
      readonly type: 'SENT'
      readonly messageId: number
      readonly timestamp: number
      readonly sealed: boolean
      readonly devices: readonly number[]
    }
  /** A message waits, why and for how long. A challenge names what answerChallenge needs. */
  | {
      readonly type: 'MWARN'
      readonly messageId: number
      readonly timestamp: number
      readonly waitMs: number
      readonly error: Fact
      readonly token?: string | null
      readonly options?: readonly string[]
    }
  /** The message failed for good. */
  | {
      readonly type: 'MERR'
      readonly messageId: number
      readonly timestamp: number
      readonly error: Fact
      readonly status?: number
    }
  | {
      readonly type: 'RECEIPT'
      readonly kind: 'delivery' | 'read' | 'viewed' | 'other'
      readonly timestamps: readonly number[]
      readonly sender: string
      readonly device: number
      readonly timestamp: number
    }
  /** Everything that waited at the server has arrived. */
  | { readonly type: 'CAUGHT_UP' }
  | {
      readonly type: 'HEALTH'
      readonly state: 'healthy' | 'degraded' | 'unhealthy' | 'loggedOut'
      readonly reasons: readonly string[]
    }
  /** A message could not be opened; its sender is asked to send it again. */
  | {
      readonly type: 'DECRYPTION_FAILED'
      readonly sender: string
      readonly device: number
      readonly timestamp: number
      readonly code: string
    }
  /** The other side could not open a message. */
  | {
      readonly type: 'RETRY_REQUESTED'
      readonly messageId?: number
      readonly sender: string
      readonly device: number
      readonly timestamp: number
      readonly archived: boolean
      readonly resent: boolean
    }
  /** Something arrived that has no sender who can be believed. */
  | { readonly type: 'DROPPED'; readonly code: string }
  | { readonly type: 'IDENTITY_CHANGED'; readonly serviceId: string }
  /** Two recipients have turned out to be one person. */
  | { readonly type: 'RECIPIENT_MERGED'; readonly mergedRecipientId: string }
  /** A known number now belongs to another service id. */
  | {
      readonly type: 'UNEXPECTED_SERVICE_ID'
      readonly number: string | null
      readonly expected: string
      readonly actual: string
      readonly previousRecipientId: string
    }
  /** Another device of the account has sent a message. */
  | ({
      readonly type: 'SENT_ELSEWHERE'
      readonly text: string
      readonly timestamp: number
      readonly to: string | null
      readonly number: string | null
      readonly device: number
    } & MessageFacts)
  | {
      readonly type: 'READ_ELSEWHERE'
      readonly messages: ReadonlyArray<{ readonly sender: string; readonly timestamp: number }>
      readonly device: number
    }

export type SignalEvent = EventEnvelope & { readonly network: 'signal' } & SignalEventPayload

/** Tells events of this channel from those of SimpleX in one log. */
export const isSignalEvent = (event: EventEnvelope): event is SignalEvent => event.network === 'signal'
