import type { ConnectionEvent } from '../../machines/connection.js'
import { sndQueueMachine, type SndQueueEvent } from '../../machines/sndQueue.js'
import type { DeliveryOutcome } from '../../machines/sndQueueDelivery.js'
import { InternalError } from '../errors.js'
import { decide, type Intent } from '../runtime/decide.js'
import { follow } from '../runtime/follow.js'
import type { NewEvent, Outcome, Read, UnitState, Wake } from '../runtime/unit.js'
import { confirmations, sndQueues } from '../store/agent/connections.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import { type Change, patch, remove, removeWhere, type Where } from '../store/index.js'
import { commandsChanged } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection, statusChange } from './decideConnection.js'
import { errorFact } from './events.js'
import { deletionRouter } from './finishDeletion.js'
import type { DeliveryRow, QueuedDelivery } from './outgoing.js'
import { isSecurable } from './queues.js'
import { type ConnectionRow, eventOf, findConnection, findSndQueue, type SndQueueRow } from './rows.js'

/**
 * What an attempt means, decided on the rows as they are now (B41–B44, B48): the sndQueue machine says what becomes of the message, the
 * connection machine what a confirmation means for the connection. `givenUpTo`: the message expires, and all up to this one with it.
 */
export const settleDelivery = (
  context: AgentContext,
  item: QueuedDelivery,
  event: SndQueueEvent,
  error: unknown,
  givenUpTo?: number,
): Promise<DeliveryOutcome> => {
  const { connectionId, queueId, messageId } = item.delivery
  const expired = 'expired' in event && event.expired
  return context.runtime.run({
    name: 'deliver',
    internal: true,
    locks: [connectionId],
    load: async read => {
      if (context.contestedQueues.has(queueId) && !(await isWaiting(read, queueId, messageId))) return undefined
      if (!expired) return []
      if (givenUpTo !== undefined) return readExpired(read, connectionId, { queueId, messageId: { lte: givenUpTo } })
      const { quotaTimeoutMs, messageTimeoutMs } = context.config
      const timeoutMs = event.type === 'message.overQuota' ? quotaTimeoutMs : messageTimeoutMs
      return readExpired(read, connectionId, { queueId, createdAt: { lt: context.clock.now() - timeoutMs } })
    },
    compute: (state, expiredRows): Outcome<DeliveryOutcome> => {
      const connection = findConnection(state, connectionId)
      const queue = findSndQueue(state, connectionId, queueId)
      if (connection === undefined || queue === undefined || connection.status === 'deleted')
        return { result: 'dropped' }
      // Given up while the attempt was under way.
      if (expiredRows === undefined) return { result: 'dropped' }
      const decision = decide(sndQueueMachine, queue.status, {}, event)
      state.traced('sndQueue', queueId, event.type, decision)
      const settled = new Settlement(state, connection, queue, item, error, expiredRows)
      for (const intent of decision.intents) settled.follow(intent)
      if (decision.from !== decision.to) settled.changes.push(patch(sndQueues, { queueId }, { status: decision.to }))
      return {
        result: settled.outcome,
        changes: settled.changes,
        events: settled.events,
        wakes: [
          ...(givenUpTo === undefined ? [] : [{ worker: 'abandoned', key: queueId }]),
          ...(connection.status === 'closing' ? [deletionMayEnd(state, connectionId)] : []),
        ],
      }
    },
  })
}

/** A delivery that has waited as long as the one that expires; `ofUser`: of a message that the application knows. */
interface Expired {
  readonly row: DeliveryRow
  readonly ofUser: boolean
}

const isWaiting = async (read: Read, queueId: string, messageId: number): Promise<boolean> =>
  (await read(deliveries, { where: { queueId, messageId } })).length > 0

const deletionMayEnd = (state: UnitState, connectionId: string): Wake =>
  commandsChanged({ connectionId, router: deletionRouter(state, connectionId) })

const readExpired = async (read: Read, connectionId: string, where: Where<typeof deliveries>): Promise<Expired[]> => {
  const rows = await read(deliveries, { where, orderBy: ['messageId'] })
  const messages = await read(sndMessages, {
    where: { connectionId, type: 'A_MSG', messageId: { in: rows.map(row => row.messageId) } },
  })
  const ofUser = new Set(messages.map(message => message.messageId))
  return rows.map(row => ({ row, ofUser: ofUser.has(row.messageId) }))
}

const deliveryGone = ({ queueId, connectionId, messageId }: DeliveryRow, keepRow: boolean): Change[] => [
  remove(deliveries, { queueId, messageId }),
  keepRow
    ? patch(sndMessages, { connectionId, messageId }, { body: null, header: null })
    : remove(sndMessages, { connectionId, messageId }),
]

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
  readonly #expired: readonly Expired[]

  constructor(
    state: UnitState,
    connection: ConnectionRow,
    queue: SndQueueRow,
    item: QueuedDelivery,
    error: unknown,
    expired: readonly Expired[],
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
        throw new InternalError(`nobody follows the intent ${type}`, { field: type })
    }
  }

  // A user’s message keeps its row for the receipt and for repeated calls under its idempotency key; its body is not needed any more.
  #finish(keepRow: boolean): void {
    this.changes.push(...deliveryGone(this.#item.delivery, keepRow))
  }

  #dropExpired(): void {
    const behind = this.#expired.filter(({ row }) => row.messageId !== this.#item.delivery.messageId)
    for (const { row, ofUser } of behind) this.changes.push(...deliveryGone(row, ofUser))
    const messageIds = behind.filter(({ ofUser }) => ofUser).map(({ row }) => row.messageId)
    if (messageIds.length === 0) return
    this.events.push(eventOf(this.#connection, 'MERRS', { messageIds, ...this.#fact() }))
  }

  #tellConnection(event: ConnectionEvent): void {
    const { connectionId } = this.#connection
    const decision = decideConnection(this.#state, this.#connection, event)
    const effects = follow(decision, {
      notifyCon: () => ({
        changes: [removeWhere(confirmations, { connectionId })],
        events: [eventOf(this.#connection, 'CON', {})],
      }),
      notifyNotAvailable: () => ({
        events: [
          eventOf(this.#connection, 'ERR', {
            error: { code: 'CONN_NOT_AVAILABLE', message: 'the other party’s queue is gone', field: connectionId },
          }),
        ],
      }),
    })
    this.changes.push(...statusChange(connectionId, decision), ...effects.changes)
    this.events.push(...effects.events)
  }

  #notify(type: string, payload: { readonly error?: ReturnType<typeof errorFact> }): void {
    const { messageId } = this.#item.delivery
    this.events.push(eventOf(this.#connection, type, payload, { messageId }))
  }

  #fact(): { readonly error: ReturnType<typeof errorFact> } {
    return { error: errorFact(this.#error) }
  }
}
