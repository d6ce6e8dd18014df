import { connectionMachine } from '../../machines/connection.js'
import { sndQueueMachine, type SndQueueEvent } from '../../machines/sndQueue.js'
import type { DeliveryOutcome } from '../../machines/sndQueueDelivery.js'
import { decide, type Intent } from '../runtime/decide.js'
import type { NewEvent, Outcome, UnitState } from '../runtime/unit.js'
import { confirmations, connections, sndQueues } from '../store/agent/connections.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import { type Change, patch, remove, removeWhere } from '../store/index.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import type { DeliveryRow, QueuedDelivery } from './outgoing.js'
import { isSecurable } from './queues.js'
import { type ConnectionRow, eventOf, findConnection, findSndQueue, type SndQueueRow } from './rows.js'

/**
 * What an attempt means, decided on the rows as they are now (B41–B44, B48): the sndQueue machine says what becomes of the message, the
 * connection machine what a confirmation means for the connection.
 */
export const settleDelivery = (
  context: AgentContext,
  item: QueuedDelivery,
  event: SndQueueEvent,
  error: unknown,
): Promise<DeliveryOutcome> => {
  const { connectionId, queueId } = item.delivery
  const expired = 'expired' in event && event.expired
  return context.runtime.run({
    name: 'deliver',
    internal: true,
    locks: [connectionId],
    load: async read => {
      if (!expired) return []
      const timeout =
        event.type === 'message.overQuota' ? context.config.quotaTimeoutMs : context.config.messageTimeoutMs
      return read(deliveries, {
        where: { queueId, createdAt: { lt: context.clock.now() - timeout } },
        orderBy: ['messageId'],
      })
    },
    compute: (state, expiredRows): Outcome<DeliveryOutcome> => {
      const connection = findConnection(state, connectionId)
      const queue = findSndQueue(state, connectionId, queueId)
      if (connection === undefined || queue === undefined || connection.status === 'deleted')
        return { result: 'dropped' }
      const decision = decide(sndQueueMachine, queue.status, {}, event)
      state.traced('sndQueue', queueId, event.type, decision)
      const settled = new Settlement(state, connection, queue, item, error, expiredRows)
      for (const intent of decision.intents) settled.follow(intent)
      if (decision.from !== decision.to) settled.changes.push(patch(sndQueues, { queueId }, { status: decision.to }))
      return { result: settled.outcome, changes: settled.changes, events: settled.events }
    },
  })
}

/** Collects what the intents of one decision change. */
class Settlement {
  readonly changes: Change[] = []
  readonly events: NewEvent[] = []
  outcome: DeliveryOutcome = 'sent'
  readonly #state: UnitState
  readonly #connection: ConnectionRow
  readonly #queue: SndQueueRow
  readonly #item: QueuedDelivery
  readonly #error: unknown
  readonly #expired: readonly DeliveryRow[]

  constructor(
    state: UnitState,
    connection: ConnectionRow,
    queue: SndQueueRow,
    item: QueuedDelivery,
    error: unknown,
    expired: readonly DeliveryRow[],
  ) {
    this.#state = state
    this.#connection = connection
    this.#queue = queue
    this.#item = item
    this.#error = error
    this.#expired = expired
  }

  follow({ type }: Intent): void {
    switch (type) {
      case 'dropMessage':
        this.outcome = 'dropped'
        return this.#finish(this.#item.message.type === 'A_MSG')
      case 'keepForReceipt':
        return this.#finish(true)
      case 'notifySent':
        return this.#notify('SENT', {})
      case 'notifyFailed':
        return this.#item.message.type === 'A_MSG'
          ? this.#notify('MERR', this.#fact())
          : this.#notify('ERR', this.#fact())
      case 'warn':
        return this.#notify('MWARN', this.#fact())
      case 'dropExpired':
        return this.#dropExpired()
      case 'retryFast':
      case 'retrySlow':
        this.outcome = type
        return
      case 'confirmSent':
        return this.#tellConnection({ type: 'confirmation.sent', secured: isSecurable(this.#queue) })
      case 'refuseConfirmation':
        return this.#tellConnection({ type: 'confirmation.refused' })
      default:
        return
    }
  }

  // A user’s message keeps its row for the receipt and for repeated calls under its idempotency key; its body is not needed any more.
  #finish(keepRow: boolean): void {
    const { connectionId, messageId, queueId } = this.#item.delivery
    this.changes.push(remove(deliveries, { queueId, messageId }))
    this.changes.push(
      keepRow
        ? patch(sndMessages, { connectionId, messageId }, { body: null, header: null })
        : remove(sndMessages, { connectionId, messageId }),
    )
  }

  #dropExpired(): void {
    const { connectionId } = this.#connection
    const behind = this.#expired.filter(row => row.messageId !== this.#item.delivery.messageId)
    for (const { queueId, messageId } of behind) {
      this.changes.push(remove(deliveries, { queueId, messageId }))
      this.changes.push(patch(sndMessages, { connectionId, messageId }, { body: null, header: null }))
    }
    if (behind.length === 0) return
    const messageIds = behind.map(row => row.messageId)
    this.events.push(eventOf(this.#connection, 'MERRS', { messageIds, ...this.#fact() }))
  }

  #tellConnection(event: Parameters<typeof decide<typeof connectionMachine>>[3]): void {
    const { connectionId } = this.#connection
    const decision = decide(connectionMachine, this.#connection.status, {}, event)
    this.#state.traced('connection', connectionId, event.type, decision)
    if (decision.from !== decision.to) this.changes.push(patch(connections, { connectionId }, { status: decision.to }))
    for (const { type } of decision.intents) {
      if (type === 'notifyCon') {
        this.events.push(eventOf(this.#connection, 'CON', {}))
        this.changes.push(removeWhere(confirmations, { connectionId }))
      } else if (type === 'notifyNotAvailable') {
        const error = { code: 'CONN_NOT_AVAILABLE', message: 'the other party’s queue is gone', field: connectionId }
        this.events.push(eventOf(this.#connection, 'ERR', { error }))
      }
    }
  }

  #notify(type: string, payload: { readonly error?: ReturnType<typeof errorFact> }): void {
    const { messageId } = this.#item.delivery
    this.events.push(eventOf(this.#connection, type, payload, { messageId }))
  }

  #fact(): { readonly error: ReturnType<typeof errorFact> } {
    return { error: errorFact(this.#error) }
  }
}
