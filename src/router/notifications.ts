/**
 * Notifications (NSUB, NMSG): that a message with the notification flag came, told to the queue's notifier. They are hints
 * and live in memory; each notifier keeps its newest ones until it subscribes.
 */
import { boxSecret, type Random } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import type { Clock } from '../runtime/clock.js'
import { sealNotificationMeta } from '../smp/protocol/recipientMessage.js'
import type { Response } from '../smp/protocol/responses.js'
import { idOf, keyOf, type MessageEntry } from './messageLog.js'
import type { Notifier } from './queue.js'
import type { Subscriber } from './subscriptions.js'

export interface Notifications {
  /** Subscribes a session to a notifier; another session that was gets END. False: the session has too many. */
  subscribe(session: Subscriber, notifierId: Bytes): boolean
  /** Tells of a stored message. */
  notify(notifier: Notifier, entry: MessageEntry): void
  /** The notifier is gone: another session that was subscribed gets DELD. */
  removed(notifierId: Bytes, by: Subscriber): void
  closed(session: Subscriber): void
  readonly pending: number
}

export interface NotificationsOptions {
  readonly clock: Clock
  readonly random: Random
  readonly ttlSeconds: number
  readonly maxPending: number
  readonly maxPerSession: number
}

interface Pending {
  readonly at: number
  readonly response: Response
}

/** Newest notifications kept for one notifier that is not subscribed. */
const keptPerNotifier = 16
const noCorrId = new Uint8Array(0)

export const createNotifications = (options: NotificationsOptions): Notifications => {
  const { clock, random, ttlSeconds, maxPending, maxPerSession } = options
  const subscribers = new Map<string, Subscriber>()
  const waiting = new Map<string, Pending[]>()
  let pending = 0

  const take = (key: string): Pending[] => {
    const kept = waiting.get(key) ?? []
    waiting.delete(key)
    pending -= kept.length
    return kept
  }

  const keep = (key: string, response: Response): void => {
    const kept = take(key)
    kept.push({ at: clock.now(), response })
    if (kept.length > keptPerNotifier) kept.shift()
    waiting.set(key, kept)
    pending += kept.length
    for (const oldest of waiting.keys()) {
      if (pending <= maxPending) break
      take(oldest)
    }
  }

  return {
    subscribe: (session, notifierId) => {
      const key = keyOf(notifierId)
      const before = subscribers.get(key)
      if (before !== session) {
        if (session.notifiers.size >= maxPerSession) return false
        before?.notifiers.delete(key)
        before?.send(noCorrId, notifierId, { type: 'END' })
        subscribers.set(key, session)
        session.notifiers.add(key)
      }
      const oldest = clock.now() - ttlSeconds * 1000
      for (const { at, response } of take(key)) if (at >= oldest) session.send(noCorrId, notifierId, response)
      return true
    },
    notify: ({ notifierId, dhSecret }, { id, timestamp }) => {
      const nonce = random(24)
      const metadata = sealNotificationMeta(boxSecret(dhSecret), nonce, { messageId: idOf(id), timestamp })
      const response: Response = { type: 'NMSG', nonce, metadata }
      const key = keyOf(notifierId)
      const session = subscribers.get(key)
      if (session === undefined || session.congested) keep(key, response)
      else session.send(noCorrId, notifierId, response)
    },
    removed: (notifierId, by) => {
      const key = keyOf(notifierId)
      take(key)
      const session = subscribers.get(key)
      subscribers.delete(key)
      session?.notifiers.delete(key)
      if (session !== by) session?.send(noCorrId, notifierId, { type: 'DELD' })
    },
    closed: session => {
      for (const key of session.notifiers) if (subscribers.get(key) === session) subscribers.delete(key)
      session.notifiers.clear()
    },
    get pending() {
      return pending
    },
  }
}
