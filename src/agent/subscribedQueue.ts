import type { Bytes } from '../encoding/index.js'
import { CallError, type DuologueError, RouterError, TransportError } from '../errors.js'
import type { Decision } from '../runtime/decide.js'
import type { RouterRequest } from '../smp/client.js'
import type { Response } from '../smp/protocol/responses.js'

/** What a subscription needs to know of its receive queue. */
export interface SubscribedQueue {
  readonly queueId: string
  readonly connectionId: string
  readonly userId: number
  readonly router: string
  readonly rcvId: Bytes
  readonly rcvPrivateKey: Bytes
}

/** A message that a router has delivered. It stays the router's until it is acknowledged. */
export interface DeliveredMessage {
  readonly queue: SubscribedQueue
  readonly messageId: Bytes
  readonly body: Bytes
}

/** What the sessions tell the agent. None of them may block. */
export interface SessionsListener {
  message(message: DeliveredMessage): void
  up(userId: number, router: string, connectionIds: readonly string[]): void
  down(userId: number, router: string, connectionIds: readonly string[]): void
  ended(queue: SubscribedQueue): void
  deleted(queue: SubscribedQueue): void
  failed(queue: SubscribedQueue, error: DuologueError): void
  traced(queue: SubscribedQueue, event: string, decision: Decision): void
  /** An event of a session, which has this id here, and its states before and after. */
  sessionTraced(id: string, event: string, from: string, to: string): void
}

/** How SUB was answered. */
export type SubscribeAnswer = DuologueError | undefined

/** SUB. The key is a copy: what signing derives from a key stays as long as the key does, and most queues are only subscribed. */
export const subRequest = (queue: SubscribedQueue): RouterRequest => ({
  command: { type: 'SUB' },
  entityId: queue.rcvId,
  key: { algorithm: 'ed25519', privateKey: Buffer.from(queue.rcvPrivateKey) },
})

/** An answer that came after its deadline. */
export const late = (value: Response): PromiseSettledResult<Response> => ({ status: 'fulfilled', value })

/** The error of an answer to SUB that is none. Routers of all versions: OK, SOK, or the message itself. */
export const unexpected = (response: Response): DuologueError | undefined =>
  response.type === 'OK' || response.type === 'SOK' || response.type === 'MSG'
    ? undefined
    : new RouterError('SMP_UNEXPECTED', `SUB was answered with ${response.type}`, { field: 'SUB' })

/** Answers who subscribes a queue that is not there any more. */
export const subscriptionEnded = (router: string): RouterError =>
  new RouterError('SMP_SUBSCRIPTION_ENDED', 'the queue was taken over or deleted while it was being subscribed', {
    field: router,
  })

/** Answers who subscribes in a session that ended meanwhile. */
export const replaced = (router: string): TransportError =>
  new TransportError('TRANSPORT_BROKEN', 'the session was replaced; the queue is subscribed in the next one', {
    field: router,
  })

/** What the subscription machine prohibits. */
export const refused = (
  { connectionId }: SubscribedQueue,
  { reason }: Decision['intents'][number]['params'],
): CallError =>
  new CallError('CMD_PROHIBITED', `the connection cannot be used so now: ${String(reason)}`, {
    field: connectionId,
    hint: 'a router takes either SUB or GET for a queue within one session',
  })
