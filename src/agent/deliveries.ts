import { fromPromise } from 'xstate'
import { type DeliveryOutcome, type DeliveryRun, sndQueueDeliveryMachine } from '../../machines/sndQueueDelivery.js'
import { asDuologueError, StoreError } from '../errors.js'
import { Workers } from '../runtime/workers.js'
import { sndQueues } from '../store/agent/connections.js'
import { deliveries } from '../store/agent/messages.js'
import type { ErrorFact } from './api/events.js'
import type { Where } from '../store/index.js'
import { type LiveActor, workerTrace } from './actors.js'
import type { AgentContext } from './context.js'
import { attemptEvent, expiryOf, needsRecipient, sendRequest } from './deliverMessage.js'
import { errorFact } from './events.js'
import { conversation } from './failedMessages.js'
import type { QueuedDelivery } from './outgoing.js'
import type { SndQueueRow } from './rows.js'
import { type AttemptResult, settleDelivery } from './settleDelivery.js'
import { SharedBodies } from './sharedBodies.js'
import { readWaiting } from './waitingMessages.js'

/** Waiting messages of a queue that are held in memory at once. */
const pageLength = 64
/** The same before anything of it was delivered: after a restart many queues may be full. */
const firstPageLength = 4
/** Connections that one query looks for. */
const idsPerQuery = 500
const memoryLength = 256
/** Messages that a worker sends in one turn of its machine. */
const messagesPerTurn = 64
/** Queues whose (empty) memory is kept while they are idle. */
const idleQueues = 10_000

/** What the first message of a send queue waits for, after an attempt has failed. Times in ms since 1970. */
export interface WaitingDelivery {
  readonly messageId: number
  readonly messageType: string
  readonly queuedAt: number
  /** Failed attempts in this process. */
  readonly attempts: number
  readonly lastAttemptAt: number
  readonly lastError: ErrorFact
  /** When it is tried again; absent while an attempt is under way. */
  readonly nextAttemptAt?: number
  /** From when on an attempt that fails in the same way is the last one. */
  readonly expiresAt: number
}

/** What the worker of one send queue has in memory; the rows are the truth. */
interface QueueMemory {
  queue: SndQueueRow | undefined
  items: QueuedDelivery[]
  /** Whether every waiting row is in `items` or on its way to completion. */
  complete: boolean
  /** A message came that `items` has no room for, or while rows were being read. */
  missed: boolean
  /** Whether its last attempt was a success. */
  delivers: boolean
  lastMessageId: number
  /** How the last turn ended, after messages that it sent. */
  deferred: DeliveryOutcome | undefined
  /** The failed attempts of the first message; the wait began when the last of them was over. */
  failed: (Omit<WaitingDelivery, 'nextAttemptAt'> & { readonly waitsSince: number }) | undefined
  /** Completions of sent messages that are on their way to the disk. */
  readonly completing: Set<Promise<void>>
}

/** The delivery workers: one sndQueueDelivery machine for each send queue that has something to send. */
export class Deliveries {
  readonly #context: AgentContext
  readonly #memories = new Map<string, QueueMemory>()
  readonly #workers: Workers<typeof sndQueueDeliveryMachine>
  readonly #bodies: SharedBodies
  #closed = false

  constructor(context: AgentContext) {
    this.#context = context
    this.#bodies = new SharedBodies(context.store)
    const machine = sndQueueDeliveryMachine.provide({
      actors: {
        deliverNext: fromPromise<DeliveryOutcome, DeliveryRun>(({ input: { queueId, insist } }) =>
          this.#deliverNext(queueId, insist).catch((error: unknown) => {
            this.#unexpected(queueId, error)
            throw error
          }),
        ),
      },
    }) as typeof sndQueueDeliveryMachine
    const { fastRetry: fast, slowRetry: slow, offlineRetryMs: offlineRetry } = context.config
    this.#workers = new Workers({
      machine,
      clock: context.clock,
      input: queueId => ({ queueId, fast, slow, offlineRetry }),
      workAdded: { type: 'delivery.added' },
      ...workerTrace(context, 'sndQueueDelivery', queueId => this.#memories.get(queueId)?.queue?.connectionId),
      attempts: {
        state: 'sending',
        began: () => context.operations.began('delivery'),
        ended: () => context.operations.ended('delivery'),
      },
      pausing: { paused: { type: 'delivery.suspended' }, resumed: { type: 'delivery.resumed' } },
      crashed: (key, error) => context.supervisor.crashed('sndQueueDelivery', key, error),
      idle: queueId => {
        if (this.#memories.size > idleQueues) this.#memories.delete(queueId)
      },
    })
  }

  /** There is a message to deliver; `hint` saves reading it. */
  wake(queueId: string, hint: QueuedDelivery | undefined): void {
    if (this.#closed) return
    const memory = this.#memoryOf(queueId)
    const { delivery } = hint ?? {}
    const hasRoom = memory.complete && memory.failed === undefined && memory.items.length < memoryLength
    if (hint === undefined || delivery === undefined || !hasRoom) {
      memory.complete = false
      memory.missed = true
    } else if (delivery.messageId > memory.lastMessageId) {
      memory.items.push(hint)
      memory.lastMessageId = delivery.messageId
    }
    this.#workers.wake(queueId)
  }

  /** The other party’s queue takes messages again: a delivery that waits goes on at once (B45). */
  continue(queueId: string): void {
    this.#workers.send(queueId, { type: 'queue.continued' })
  }

  /** Starts the workers of every queue that has waiting rows, or of those of some connections (B67); one that runs goes on as it is. */
  async resume(connectionIds?: readonly string[]): Promise<void> {
    if (connectionIds === undefined) return this.#resume({})
    for (let from = 0; from < connectionIds.length; from += idsPerQuery) {
      await this.#resume({ connectionId: { in: connectionIds.slice(from, from + idsPerQuery) } })
    }
  }

  async #resume(where: Where<typeof deliveries>): Promise<void> {
    let after = ''
    for (;;) {
      const page = await this.#context.store.find(deliveries, {
        where: { ...where, queueId: { gt: after } },
        orderBy: ['queueId', 'messageId'],
        limit: pageLength,
      })
      const last = page.at(-1)
      if (last === undefined) return
      for (const queueId of new Set(page.map(row => row.queueId))) this.wake(queueId, undefined)
      // What is left of the last queue is its worker's.
      after = last.queueId
    }
  }

  /** The device is online again: what waits for that, or for its next attempt, goes on at once. */
  online(): void {
    this.#workers.sendAll({ type: 'network.online' })
  }

  /** Sends no more messages until `unpause`; the one under way is finished (B05). */
  pause(): void {
    this.#workers.pause()
  }

  unpause(): void {
    this.#workers.resume()
  }

  /**
   * Why the first message of a queue waits, or undefined: none waits, or none of its attempts has failed in this process. Not
   * stored: a restarted agent tries at once.
   */
  waiting(queueId: string): WaitingDelivery | undefined {
    const { failed } = this.#memories.get(queueId) ?? {}
    if (failed === undefined) return undefined
    const { waitsSince, ...waiting } = failed
    const { state, context } = this.#workers.snapshotOf(queueId) ?? {}
    const delay =
      state === 'waiting.fast' ? context?.fastDelay : state === 'waiting.slow' ? context?.slowDelay : undefined
    return delay === undefined ? waiting : { ...waiting, nextAttemptAt: waitsSince + delay }
  }

  /** Waiting messages were given up: what is in memory is not to be sent any more, and what is left need not wait. */
  abandoned(queueId: string): void {
    this.#memories.delete(queueId)
    this.continue(queueId)
  }

  /** Forgets a deleted queue; what is on its way finds its rows gone. */
  forget(queueId: string): void {
    this.#memories.delete(queueId)
    this.#context.contestedQueues.delete(queueId)
  }

  /** The workers that run now. */
  *actors(): Iterable<LiveActor> {
    for (const [id, state] of this.#workers.states()) {
      const connectionId = this.#memories.get(id)?.queue?.connectionId
      yield { machine: 'sndQueueDelivery', id, state, ...(connectionId === undefined ? {} : { connectionId }) }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#workers.stop()
    await Promise.all([...this.#memories.values()].flatMap(memory => [...memory.completing]))
  }

  #memoryOf(queueId: string): QueueMemory {
    const known = this.#memories.get(queueId)
    if (known !== undefined) return known
    const memory: QueueMemory = {
      queue: undefined,
      items: [],
      complete: false,
      missed: false,
      delivers: false,
      lastMessageId: 0,
      deferred: undefined,
      failed: undefined,
      completing: new Set(),
    }
    this.#memories.set(queueId, memory)
    return memory
  }

  // The machine tries again, whatever it was; a bug must be told of.
  #unexpected(queueId: string, error: unknown): void {
    if (error instanceof StoreError || this.#closed) return
    this.#context.supervisor.crashed('sndQueueDelivery', queueId, error)
  }

  // A worker’s turn: messages are sent one after the other without asking the machine in between, as long as all goes well.
  async #deliverNext(queueId: string, insist: boolean): Promise<DeliveryOutcome> {
    if (!insist && !this.#context.network.online) return 'offline'
    const memory = this.#memoryOf(queueId)
    const { deferred } = memory
    memory.deferred = undefined
    if (deferred !== undefined) return deferred
    for (let sent = 0; sent < messagesPerTurn; sent++) {
      if (sent > 0 && this.#context.operations.isStopped('delivery')) break
      const outcome = await this.#deliverHead(queueId, memory)
      // Forgotten meanwhile: what it holds is not to be sent any more.
      if (this.#memories.get(queueId) !== memory) return outcome
      if (outcome === 'sent') continue
      if (sent === 0) return outcome
      // The machine hears of the success first: it resets the delays.
      memory.deferred = outcome
      return 'sent'
    }
    return 'sent'
  }

  async #deliverHead(queueId: string, memory: QueueMemory): Promise<DeliveryOutcome> {
    while (memory.items.length === 0 && !memory.complete) await this.#load(queueId, memory)
    const [item] = memory.items
    if (item === undefined || memory.queue === undefined) return 'empty'
    const attempt = await this.#attempt(memory.queue, item)
    const { error } = attempt
    if (this.#closed) return 'empty'
    const { config, clock } = this.#context
    const attemptedAt = clock.now()
    const event = attemptEvent(item, memory.queue, error, config, attemptedAt)
    if (event.type === 'message.sent' && conversation.has(item.message.type)) {
      if (memory.completing.size >= config.deliveriesAhead) await Promise.race(memory.completing)
      memory.items.shift()
      memory.failed = undefined
      memory.delivers = true
      this.#completeLater(queueId, memory, item, event, attempt)
      return 'sent'
    }
    const { outcome, warned } = await settleDelivery(this.#context, item, event, attempt)
    if (outcome === 'retryFast' || outcome === 'retrySlow') {
      this.#keepFirst(memory, { ...item, delivery: { ...item.delivery, warned } })
      this.#noteFailure(memory, item, error, attemptedAt)
      return outcome
    }
    memory.failed = undefined
    memory.delivers = outcome === 'sent'
    // What expired with it is gone too: the rest is read again.
    if ('expired' in event && event.expired) this.#reset(memory)
    else memory.items.shift()
    return outcome
  }

  // Thousands of queues may wait for days: what stands behind the first message is read when its turn comes.
  #keepFirst(memory: QueueMemory, first: QueuedDelivery): void {
    if (memory.items.length > 1) memory.complete = false
    memory.items = [first]
    memory.delivers = false
  }

  #noteFailure(memory: QueueMemory, item: QueuedDelivery, error: unknown, lastAttemptAt: number): void {
    const { config, clock } = this.#context
    const { delivery, message } = item
    memory.failed = {
      messageId: message.messageId,
      messageType: message.type,
      queuedAt: delivery.createdAt,
      attempts: (memory.failed?.attempts ?? 0) + 1,
      lastAttemptAt,
      lastError: errorFact(error),
      expiresAt: expiryOf(item, error, config),
      waitsSince: clock.now(),
    }
  }

  async #attempt(queue: SndQueueRow, item: QueuedDelivery): Promise<AttemptResult> {
    const { message } = item
    const { privateRouting, log } = this.#context
    try {
      const { proxy } = await privateRouting.send(queue, sendRequest(queue, item, this.#context))
      return { proxy }
    } catch (error) {
      const { code } = asDuologueError(error)
      log.debug({ code, connectionId: queue.connectionId, messageId: message.messageId }, 'not delivered')
      return code === 'AUTH' && needsRecipient(queue, message) ? this.#attemptSigned(queue, item) : { error }
    }
  }

  // An earlier attempt may have arrived without an answer, and its recipient have secured the queue since: signed, it is taken once more,
  // and known as a repeated one (B15).
  async #attemptSigned(queue: SndQueueRow, item: QueuedDelivery): Promise<AttemptResult> {
    try {
      const { proxy } = await this.#context.privateRouting.send(queue, sendRequest(queue, item, this.#context, true))
      return { proxy }
    } catch (error) {
      return { error }
    }
  }

  // The next message does not wait for this one’s commit: after a crash the row is sent again, and the other party knows it.
  #completeLater(
    queueId: string,
    memory: QueueMemory,
    item: QueuedDelivery,
    event: ReturnType<typeof attemptEvent>,
    attempt: AttemptResult,
  ): void {
    const completion = settleDelivery(this.#context, item, event, attempt)
      .then(() => {})
      .catch((error: unknown) => {
        const { code } = asDuologueError(error)
        this.#context.log.error({ code, connectionId: item.delivery.connectionId }, 'a delivery could not be completed')
        this.#context.clock.setTimeout(() => this.wake(queueId, undefined), this.#context.config.fastRetry.initial)
      })
      .finally(() => memory.completing.delete(completion))
    memory.completing.add(completion)
  }

  #reset(memory: QueueMemory): void {
    memory.items = []
    memory.complete = false
  }

  // Rows of messages whose completion is on its way are still there, so those are waited for first. What comes while the rows are read
  // is noted only: it may be among them, or not.
  async #load(queueId: string, memory: QueueMemory): Promise<void> {
    const { store } = this.#context
    await Promise.all(memory.completing)
    memory.queue ??= (await store.find(sndQueues, { where: { queueId } }))[0]
    memory.missed = false
    const length = memory.delivers ? pageLength : firstPageLength
    const { items, lastMessageId, more } = await readWaiting(store, this.#bodies, queueId, length)
    memory.items = items
    memory.lastMessageId = lastMessageId
    memory.complete = !more && !memory.missed
  }
}
