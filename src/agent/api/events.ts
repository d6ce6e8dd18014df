/**
 * Events for the application: rows of the durable event log, written in the transaction of the change that they tell of.
 * An event stays in the log, and is delivered again after a restart, until every consumer has acknowledged it.
 */
export interface EventEnvelope {
  /** Position in the log: commit order, no gaps that a reader can see. */
  readonly cursor: number
  /** Milliseconds since 1970, of the agent's clock. */
  readonly at: number
  readonly network: 'simplex' | 'signal'
  readonly userId: number
  /** Empty for events of no single connection (UP, DOWN). */
  readonly connectionId: string
  /** The caller's correlation id, where the event answers a call. */
  readonly correlationId?: string
  readonly traceId: string
}

/** Result of the check of id and hash chain (row B35): reported, never blocking. */
export type MessageIntegrity =
  | { readonly result: 'ok' }
  | { readonly result: 'badId'; readonly previousId: number }
  | { readonly result: 'duplicate' }
  | { readonly result: 'skipped'; readonly from: number; readonly to: number }
  | { readonly result: 'badHash' }

/** What the other party says of a message that it got. */
export interface ReceiptResult {
  /** The number that sendMessage gave. */
  readonly messageId: number
  /** `badHash`: it got something else than was sent. */
  readonly result: 'ok' | 'badHash'
  /** What its application added. */
  readonly info: Uint8Array
}

/** Whether the ratchets of a connection fit, may or must be synchronised, or are on the way to it. */
export type RatchetSyncState = 'ok' | 'allowed' | 'required' | 'started' | 'agreed'

export interface ErrorFact {
  readonly code: string
  readonly message: string
  readonly field?: string
  readonly hint?: string
}

/** Where an event is about a message of the agent's own (a receipt: `A_RCVD`): its type. Absent for messages of the application. */
export interface OwnMessage {
  readonly messageType?: string
}

export type EventPayload =
  /** The other party wants to connect: answer with allowConnection. */
  | {
      readonly type: 'CONF'
      readonly confirmationId: string
      /** Whether this side’s wish and the versions of both sides allow post-quantum encryption. */
      readonly pqSupport: boolean
      readonly info: Uint8Array
      readonly routers: readonly string[]
    }
  /** Somebody wants to connect by a contact address: answer with acceptContact or rejectContact. */
  | {
      readonly type: 'REQ'
      readonly invitationId: string
      readonly info: Uint8Array
      readonly routers: readonly string[]
      /** Whether the versions of both sides allow the post-quantum ratchet; false also when they have none in common. */
      readonly pqSupport: boolean
    }
  /** The other party's info, at the joining party. */
  | { readonly type: 'INFO'; readonly info: Uint8Array; readonly pqSupport: boolean }
  /** The connection is complete: messages can be sent. `pqEncryption`: they are encrypted post-quantum, which both sides have wished. */
  | { readonly type: 'CON'; readonly pqEncryption: boolean }
  /** A message: acknowledge it with ackMessage (or ackEvents). */
  | {
      readonly type: 'MSG'
      readonly messageId: number
      readonly body: Uint8Array
      readonly integrity: MessageIntegrity
      /** The router's id and time (ms since 1970) of the message. */
      readonly brokerId: string
      readonly brokerAt: number
      /** The sender's number of the message. */
      readonly senderMessageId: number
      readonly notify: boolean
      /** Whether it was encrypted post-quantum. */
      readonly pqEncryption: boolean
    }
  /** Delivery receipts: acknowledge them as messages, with ackMessage (or ackEvents). */
  | {
      readonly type: 'RCVD'
      readonly messageId: number
      readonly receipts: readonly ReceiptResult[]
      readonly integrity: MessageIntegrity
      readonly brokerId: string
      readonly brokerAt: number
      readonly senderMessageId: number
      readonly pqEncryption: boolean
    }
  /** The router of the other party has the message; `proxy`: it was sent through that router of the user. */
  | { readonly type: 'SENT'; readonly messageId: number; readonly pqEncryption: boolean; readonly proxy?: string }
  /** A message waits longer than usual, and why: once for each kind of error of a message. */
  | ({ readonly type: 'MWARN'; readonly messageId: number; readonly error: ErrorFact } & OwnMessage)
  /** The message failed for good: it was not delivered. */
  | ({ readonly type: 'MERR'; readonly messageId: number; readonly error: ErrorFact } & OwnMessage)
  /** The same for messages that had waited as long behind it. */
  | ({ readonly type: 'MERRS'; readonly messageIds: readonly number[]; readonly error: ErrorFact } & OwnMessage)
  /**
   * A queue of the connection moves to another router: this side's own (`rcv`) or the other party's (`snd`). `router` is the new one;
   * `failed`: the old queue stays in use.
   */
  | {
      readonly type: 'SWITCH'
      readonly direction: 'rcv' | 'snd'
      readonly phase: 'started' | 'confirmed' | 'secured' | 'completed' | 'failed'
      readonly router: string
      readonly error?: ErrorFact
    }
  /** Receiving from these connections works (again). */
  | { readonly type: 'UP'; readonly router: string; readonly connectionIds: readonly string[] }
  /** The router cannot be reached; the agent reconnects by itself. */
  | { readonly type: 'DOWN'; readonly router: string; readonly connectionIds: readonly string[] }
  /** Another client has taken over the queue's subscription. */
  | { readonly type: 'END' }
  /** The queue was deleted at its router. */
  | { readonly type: 'DELD' }
  /** The other party's queue takes messages again. */
  | { readonly type: 'QCONT' }
  /** How the two ratchets fit: `ok` when messages are decrypted again. `error`: what led to `allowed` or `required`. */
  | { readonly type: 'RSYNC'; readonly state: RatchetSyncState; readonly error?: ErrorFact }
  /**
   * The database is a restored backup, or was moved. `sidecar`: this agent had come further than its rows, and every ratchet must be
   * synchronised (RSYNC `required`). `systemId`, `timeline`: it is in another Postgres, or that was recovered.
   */
  | { readonly type: 'RESTORED'; readonly reason: 'sidecar' | 'systemId' | 'timeline' }
  | { readonly type: 'DEL_RCVQ'; readonly router: string; readonly error?: ErrorFact }
  | { readonly type: 'DEL_CONN' }
  /** A deleted user is gone with all of its connections. */
  | { readonly type: 'DEL_USER'; readonly deletedUserId: number }
  /** A gradual suspension has come to its end: nothing runs. */
  | { readonly type: 'SUSPENDED' }
  /** An asynchronous call was done: the name of the call and its result, as the call itself would have answered it. */
  | { readonly type: 'OK'; readonly call: string; readonly result: Readonly<Record<string, unknown>> }
  /**
   * An asynchronous call failed (`correlationId`), or something that no call is there to answer for. `temporary`: it is tried again.
   * `messageId`, `messageType`: it is about that message of the agent's own, of a handshake, a rotation or a synchronisation.
   */
  | {
      readonly type: 'ERR'
      readonly error: ErrorFact
      readonly critical?: boolean
      readonly temporary?: boolean
      readonly messageId?: number
      readonly messageType?: string
    }

export type AgentEvent = EventEnvelope & EventPayload
export type EventType = EventPayload['type']
