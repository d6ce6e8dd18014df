/**
 * Who receives the messages of which queue. One session at a time is subscribed to a queue, and at most one message of it is
 * delivered and not acknowledged; the next one goes out with the answer to ACK (SMP protocol, SUB, ACK and GET).
 */
import type { Bytes } from '../encoding/index.js'
import { StoreError } from '../errors.js'
import { sealRecipientMessage } from '../smp/protocol/recipientMessage.js'
import type { Response } from '../smp/protocol/responses.js'
import { idOf, keyOf, type MessageEntry, type QueueKey } from './messageLog.js'
import type { Messages } from './messages.js'
import { bodyKeyOf, type QueueRecord } from './queue.js'
import type { Queue } from './queues.js'

/** A session as the receiver of messages. */
export interface Subscriber {
  readonly subscriptions: Map<QueueKey, Subscription>
  /** Notifiers that it is subscribed to. */
  readonly notifiers: Set<string>
  /** Subscriptions whose next message waits until the client has read what was sent. */
  readonly deferred: Set<Subscription>
  /** Too much waits for the client: no more messages now. */
  readonly congested: boolean
  send(corrId: Bytes, entityId: Bytes, response: Response): void
  /** Keeps room for a message that is being read from disk. */
  expect(messages: number): void
  /** The router failed this client: ends the session, so that the client comes back. */
  failed(error: unknown): void
}

export interface Subscription {
  readonly queue: Queue
  readonly session: Subscriber
  /** `get`: the session takes messages one by one with GET and nobody else is told. */
  readonly mode: 'subscribe' | 'get'
  /** Delivered and not acknowledged. */
  delivered: MessageEntry | undefined
}

export interface Subscriptions {
  /** Subscribes a session; another one that was gets END. Subscribing again forgets what was delivered, so it comes again. */
  subscribe(session: Subscriber, queue: Queue): Subscription | 'prohibited' | 'tooMany'
  /** Sends the next message if none is unacknowledged and the client keeps up. */
  deliver(subscription: Subscription): void
  /** A message was stored: delivers it if the queue has a subscriber that waits for one. */
  stored(queue: Queue): void
  /** The answer to GET. */
  get(session: Subscriber, queue: Queue): Answer | 'prohibited' | 'tooMany'
  /** The answer to ACK: the next message, or nothing; `unknown` when this message is not the one delivered. */
  acknowledge(session: Subscriber, queue: Queue, messageId: Bytes): Answer | 'unknown'
  /** The queue is deleted: another session that was subscribed gets DELD. */
  deleted(queue: Queue, by: Subscriber): void
  /** Delivers what waited for the client to read. */
  resume(session: Subscriber): void
  closed(session: Subscriber): void
  readonly count: number
  /** Messages and markers handed to clients so far, repeated ones included. */
  readonly delivered: number
}

/** A message for the answer; undefined when there is none. */
export type Answer = Response | undefined | Promise<Response | undefined>

const noCorrId = new Uint8Array(0)
const noBody = new Uint8Array(0)

export const createSubscriptions = (messages: Messages, maxPerSession: number): Subscriptions => {
  const subscribers = new Map<QueueKey, Subscription>()
  let delivered = 0

  const end = (subscription: Subscription): void => {
    const { queue, session } = subscription
    if (session.subscriptions.get(queue.key) !== subscription) return
    session.subscriptions.delete(queue.key)
    session.deferred.delete(subscription)
    if (subscribers.get(queue.key) === subscription) subscribers.delete(queue.key)
    subscription.delivered = undefined
    queue.pins--
  }

  const add = (session: Subscriber, queue: Queue, mode: Subscription['mode']): Subscription | 'tooMany' => {
    if (session.subscriptions.size >= maxPerSession) return 'tooMany'
    const subscription: Subscription = { queue, session, mode, delivered: undefined }
    session.subscriptions.set(queue.key, subscription)
    queue.pins++
    return subscription
  }

  /**
   * The next message of the queue, which becomes the delivered one. A damaged one is skipped; when it cannot be read now, the
   * promise rejects and the message stays.
   */
  const take = (subscription: Subscription): Answer => {
    const { queue, session } = subscription
    const { record } = queue
    const head = record === undefined ? undefined : messages.head(queue.key)
    if (record === undefined || head === undefined) return undefined
    subscription.delivered = head
    const hand = (body: Bytes): Response => {
      delivered++
      return messageOf(record, head, body)
    }
    if (head.kind === 'quota') return hand(noBody)
    const body = messages.read(head)
    if (!(body instanceof Promise)) return hand(body)
    session.expect(1)
    return body
      .finally(() => session.expect(-1))
      .then(
        bytes => (subscription.delivered === head ? hand(bytes) : undefined),
        error => {
          const current = subscription.delivered === head
          if (current) subscription.delivered = undefined
          if (!(error instanceof StoreError) || error.code !== 'STORE_DAMAGED') throw error
          messages.discard(head)
          return current ? take(subscription) : undefined
        },
      )
  }

  const deliver = (subscription: Subscription): void => {
    const { queue, session } = subscription
    if (subscription.delivered !== undefined || subscription.mode === 'get') return
    if (session.congested) {
      session.deferred.add(subscription)
      return
    }
    const send = (response: Response | undefined): void => {
      if (response !== undefined) session.send(noCorrId, idOf(queue.key), response)
    }
    const message = take(subscription)
    if (message instanceof Promise) message.then(send).catch(error => session.failed(error))
    else send(message)
  }

  return {
    subscribe: (session, queue) => {
      const own = session.subscriptions.get(queue.key)
      if (own?.mode === 'get') return 'prohibited'
      if (own !== undefined) {
        own.delivered = undefined
        return own
      }
      const subscription = add(session, queue, 'subscribe')
      if (subscription === 'tooMany') return subscription
      const before = subscribers.get(queue.key)
      if (before !== undefined) {
        end(before)
        before.session.send(noCorrId, idOf(queue.key), { type: 'END' })
      }
      subscribers.set(queue.key, subscription)
      return subscription
    },
    deliver,
    stored: queue => {
      const subscription = subscribers.get(queue.key)
      if (subscription !== undefined) deliver(subscription)
    },
    get: (session, queue) => {
      const own = session.subscriptions.get(queue.key)
      if (own?.mode === 'subscribe') return 'prohibited'
      const subscription = own ?? add(session, queue, 'get')
      if (subscription === 'tooMany') return subscription
      subscription.delivered = undefined
      return take(subscription)
    },
    acknowledge: (session, queue, messageId) => {
      const subscription = session.subscriptions.get(queue.key)
      const entry = subscription?.delivered
      if (subscription === undefined || entry === undefined) return 'unknown'
      if (messageId.length > 0 && keyOf(messageId) !== entry.id) return 'unknown'
      subscription.delivered = undefined
      messages.acknowledge(queue.key, entry.id)
      if (subscription.mode === 'get') return undefined
      if (!session.congested) return take(subscription)
      session.deferred.add(subscription)
      return undefined
    },
    deleted: (queue, by) => {
      const subscription = subscribers.get(queue.key)
      if (subscription !== undefined) {
        end(subscription)
        if (subscription.session !== by) subscription.session.send(noCorrId, idOf(queue.key), { type: 'DELD' })
      }
      const own = by.subscriptions.get(queue.key)
      if (own !== undefined) end(own)
    },
    resume: session => {
      for (const subscription of session.deferred) {
        if (session.congested) return
        session.deferred.delete(subscription)
        deliver(subscription)
      }
    },
    closed: session => {
      for (const subscription of session.subscriptions.values()) end(subscription)
    },
    get count() {
      return subscribers.size
    },
    get delivered() {
      return delivered
    },
  }
}

const messageOf = (record: QueueRecord, entry: MessageEntry, body: Bytes): Response => {
  const messageId = idOf(entry.id)
  const { timestamp } = entry
  const message =
    entry.kind === 'quota'
      ? ({ type: 'quota', timestamp } as const)
      : ({ type: 'message', timestamp, flags: { notification: entry.notification }, body } as const)
  return { type: 'MSG', messageId, body: sealRecipientMessage(bodyKeyOf(record), messageId, message) }
}
