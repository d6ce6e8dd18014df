import { type Bytes, toBase64url } from '../encoding/index.js'
import { asDuologueError, KemError, RouterError, StoreError } from '../errors.js'
import { ownedBytes } from '../runtime/rows.js'
import { isTemporaryError } from '../smp/client.js'
import type { KeptMessage } from './arrival.js'
import { storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { receive } from './receive.js'
import { HeldMessages, type OthersState } from './heldMessages.js'
import { askQueue, otherOfRotation, redeliver } from './drainQueue.js'
import { findRcvQueue } from './rows.js'
import type { DeliveredMessage, SubscribedQueue } from './sessions.js'

/** What an ACK names. */
type Unacknowledged = Pick<DeliveredMessage, 'queue' | 'messageId'>

/** Waits between attempts to acknowledge a message in a session that lives on, in ms. */
const ackRetryMs = [1_000, 3_000, 10_000, 30_000]

/**
 * Messages that routers have delivered: each is processed once, and acknowledged to its router when it may be. A router delivers the
 * next message of a queue after the ACK, so at most one per queue is here. An ACK that is lost comes right by itself: with the
 * next session the router delivers again, and the message is known (B34).
 */
export class Inbox {
  readonly #contextOf: () => AgentContext
  /** By connection and number: messages that the application must acknowledge. */
  readonly #kept = new Map<string, Unacknowledged>()
  /** By queue: ACKs held back while the event log is full: receiving stops before an event is ever dropped. */
  readonly #heldBack = new Map<string, Unacknowledged>()
  /** Messages that came while the agent is suspended: at most one per queue. */
  #arrived: DeliveredMessage[] = []
  /** Messages of a rotation that others come before. */
  #held: HeldMessages | undefined
  #closed = false
  #processing = 0
  readonly #idle: Array<() => void> = []

  /** The context is complete when the first message comes. */
  constructor(contextOf: () => AgentContext) {
    this.#contextOf = contextOf
  }

  get #context(): AgentContext {
    return this.#contextOf()
  }

  /** Processes a message. Never throws and never blocks its caller. */
  accept(message: DeliveredMessage, force = false): void {
    if (this.#closed) return
    const { operations } = this.#context
    if (operations.isStopped('receiving')) {
      this.#arrived.push(message)
      return
    }
    operations.began('receiving')
    this.#processing++
    void this.#process(message, force).finally(() => {
      operations.ended('receiving')
      this.#processing--
      if (this.#processing === 0) for (const resolve of this.#idle.splice(0)) resolve()
    })
  }

  /** Goes on after a suspension: what came meanwhile is processed. */
  resume(): void {
    for (const message of this.#arrived.splice(0)) this.accept(message)
  }

  /** The router’s message waits for the application’s acknowledgement. */
  keep({ message, messageId }: KeptMessage): void {
    if (!this.#closed) this.#kept.set(keptKey(message.queue.connectionId, messageId), unacknowledged(message))
  }

  /** Whether this message of a queue, or any where its router has not named one, waits for the application’s acknowledgement. */
  keeps(queueId: string, brokerId?: Bytes): boolean {
    for (const { queue, messageId } of this.#kept.values()) {
      if (queue.queueId !== queueId) continue
      if (brokerId === undefined || Buffer.compare(brokerId, messageId) === 0) return true
    }
    return false
  }

  /** Whether a message of a queue is here and waits for others. */
  holds(queueId: string): boolean {
    return this.#held?.has(queueId) === true
  }

  /** Whether nothing is received for a user now, for reasons of this agent’s own. */
  isStopped(userId: number): boolean {
    const { operations, network, users, eventLog } = this.#context
    return operations.isStopped('receiving') || !network.online || !users.receives(userId) || eventLog.isFull
  }

  /** The application has acknowledged a message, in a commit: the router may deliver the next one. */
  acknowledge(connectionId: string, messageId: number): void {
    const key = keptKey(connectionId, messageId)
    const message = this.#kept.get(key)
    if (message === undefined) return
    this.#kept.delete(key)
    this.#sendAck(message, 0)
  }

  /**
   * ACK for a message of a queue. Rejects with the router’s or the network’s error; a message that the router does not have any more
   * counts as acknowledged.
   */
  async sendAck(queue: SubscribedQueue, messageId: Bytes): Promise<void> {
    try {
      const { response } = await this.#context.sessions.request(queue, {
        command: { type: 'ACK', messageId },
        entityId: queue.rcvId,
        key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
      })
      // Routers of older versions answer ACK with the next message.
      if (response.type === 'MSG') this.accept({ queue, messageId: response.messageId, body: response.body })
    } catch (error) {
      // NO_MSG: acknowledged before, or expired at the router.
      if (!(error instanceof RouterError) || error.code !== 'NO_MSG') throw error
    }
  }

  /** Sends the ACKs that were held back, when there is room again. */
  release(): void {
    for (const [queueId, message] of this.#heldBack) {
      if (this.#context.eventLog.isFull) return
      this.#heldBack.delete(queueId)
      this.#sendAck(message, 0)
    }
  }

  /** Forgets the messages of a deleted connection. */
  forget(connectionId: string): void {
    for (const messages of [this.#kept, this.#heldBack])
      for (const [key, { queue }] of messages) if (queue.connectionId === connectionId) messages.delete(key)
    this.#held?.forget(connectionId)
  }

  /** Takes no more messages and waits for those being processed. */
  async close(): Promise<void> {
    this.#closed = true
    this.#held?.close()
    if (this.#processing > 0) await new Promise<void>(resolve => this.#idle.push(resolve))
    this.#heldBack.clear()
    this.#kept.clear()
  }

  async #process(message: DeliveredMessage, force: boolean): Promise<void> {
    const { log } = this.#context
    const { connectionId, queueId } = message.queue
    try {
      const received = await receive(this.#context, message, force)
      if (received.type === 'hold') {
        this.#heldMessages().hold(message, received.number)
        return
      }
      if (received.type === 'acknowledge') this.#sendAck(unacknowledged(message), 0)
      this.#held?.taken(queueId)
      this.#held?.progressed(connectionId)
    } catch (error) {
      // Nothing was decided or stored, so nothing is acknowledged: the router delivers it again with the next subscription.
      const { code } = asDuologueError(error)
      log.error({ code, connectionId: message.queue.connectionId }, 'a message could not be processed')
      if (error instanceof StoreError || error instanceof KemError) this.#processLater(message)
    }
  }

  #heldMessages(): HeldMessages {
    const { clock, config } = this.#context
    this.#held ??= new HeldMessages({
      clock,
      silenceMs: config.drainSilenceMs,
      patienceMs: config.drainPatienceMs,
      others: (message, held) => this.#othersOf(message, held),
      again: (message, force) => this.accept(message, force),
    })
    return this.#held
  }

  async #othersOf({ queue }: DeliveredMessage, held: ReadonlySet<string>): Promise<OthersState> {
    const { connectionId, userId } = queue
    if (this.isStopped(userId)) return 'busy'
    // Its own queue has none: a router delivers the next message after the ACK.
    for (const { queue: other } of this.#kept.values()) if (other.connectionId === connectionId) return 'busy'
    try {
      const other = await otherOfRotation(this.#context, queue)
      if (other === undefined || held.has(other.queueId)) return 'empty'
      const { size } = await askQueue(this.#context, other)
      if (size === 0) return 'empty'
      await redeliver(this.#context, other)
    } catch (error) {
      const { code } = asDuologueError(error)
      this.#context.log.debug({ code, connectionId }, 'it is not known what the other queue of a rotation has')
    }
    return 'unread'
  }

  #processLater(message: DeliveredMessage): void {
    this.#context.clock.setTimeout(() => this.accept(message), this.#context.config.fastRetry.initial)
  }

  #sendAck(message: Unacknowledged, attempt: number): void {
    if (this.#closed) return
    if (this.#context.eventLog.isFull) {
      this.#heldBack.set(message.queue.queueId, message)
      return
    }
    void this.#ack(message, attempt)
  }

  async #ack(message: Unacknowledged, attempt: number): Promise<void> {
    const { sessions, clock, log } = this.#context
    const { queue, messageId } = message
    try {
      await this.sendAck(queue, messageId)
    } catch (error) {
      const { code } = asDuologueError(error)
      const delay = ackRetryMs[attempt]
      if (isTemporaryError(error) && delay !== undefined) {
        clock.setTimeout(() => this.#sendAck(message, attempt + 1), delay)
        return
      }
      log.warn({ code, connectionId: queue.connectionId, router: queue.router }, 'ACK failed')
      // No new session will deliver the message again, so nothing else would ever acknowledge it.
      if (isTemporaryError(error) && sessions.stateOf(queue) === 'active') await this.#storeAck(message)
    }
  }

  // The command worker goes on trying (B51).
  async #storeAck({ queue, messageId }: Unacknowledged): Promise<void> {
    const { connectionId, userId, router, queueId } = queue
    const argument = { queueId, brokerId: toBase64url(messageId) }
    try {
      await this.#context.runtime.run({
        name: 'ack.stored',
        internal: true,
        locks: [connectionId],
        compute: state => {
          if (findRcvQueue(state, connectionId, queueId) === undefined) return { result: undefined }
          const command = { connectionId, userId, router, type: 'ack', argument, now: state.now } as const
          const { changes, wake } = storedCommand(this.#context, command)
          return { result: undefined, changes, wakes: [wake] }
        },
      })
    } catch (error) {
      this.#context.log.error({ code: asDuologueError(error).code, connectionId }, 'an ACK could not be stored')
    }
  }
}

// The message itself is a window into a block of 16 KB, which nobody may keep until an application acknowledges it.
const unacknowledged = ({ queue, messageId }: DeliveredMessage): Unacknowledged => ({
  queue,
  messageId: ownedBytes(messageId),
})

const keptKey = (connectionId: string, messageId: number): string => `${connectionId}/${messageId}`
