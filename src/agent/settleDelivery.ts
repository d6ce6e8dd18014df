import type { ConnectionEvent } from '../../machines/connection.js'
import type { SndQueueSwitchEvent } from '../../machines/queueSwitch.js'
import { sndQueueMachine, type SndQueueEvent } from '../../machines/sndQueue.js'
import type { DeliveryOutcome } from '../../machines/sndQueueDelivery.js'
import { asDuologueError, InternalError } from '../errors.js'
import { decide, type Intent } from '../runtime/decide.js'
import { type Effects, follow } from '../runtime/follow.js'
import type { NewEvent, Outcome, Read, UnitState, Wake } from '../runtime/unit.js'
import { sndQueues } from '../store/agent/connections.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import { type Change, type Json, patch, remove } from '../store/index.js'
import { commandsChanged } from './commandRows.js'
import type { AgentContext } from './context.js'
import { complete, decideConnection, ended, notAvailable, statusChange } from './decideConnection.js'
import { errorFact } from './events.js'
import { deletionRouter } from './finishDeletion.js'
import { type Expired, failedEvents, messageTypeFact, readExpired } from './failedMessages.js'
import { readMovable } from './movableDeliveries.js'
import type { DeliveryRow, QueuedDelivery, SndMessageRow } from './outgoing.js'
import { isSecurable } from './queues.js'
import { type ConnectionRow, eventOf, findConnection, findSndQueue, type SndQueueRow, sndQueuesOf } from './rows.js'
import { bodyReleased } from './sharedBodies.js'
import { decideSndSwitch, type SndSwitch, sndSwitchOf, sndSwitchTo } from './sndSwitch.js'

/** How an attempt ended at the router. */
export interface AttemptResult {
  /** Undefined when the router took the message. */
  readonly error?: unknown
  /** The router through which it was sent; undefined: directly. */
  readonly proxy?: string | undefined
}

/** What has become of an attempt. */
export interface Settled {
  readonly outcome: DeliveryOutcome
  /** The errors that the application has been warned of, if the message still waits. */
  readonly warned: string | null
}

/**
 * What an attempt means, decided on the rows as they are now (B41–B44, B48): the sndQueue machine says what becomes of the message, the
 * connection machine what a confirmation means for the connection. `givenUpTo`: the message expires, and all up to this one with it.
 */
export const settleDelivery = (
  context: AgentContext,
  item: QueuedDelivery,
  event: SndQueueEvent,
  { error, proxy }: AttemptResult,
  givenUpTo?: number,
): Promise<Settled> => {
  const { connectionId, queueId, messageId } = item.delivery
  const expired = 'expired' in event && event.expired
  return context.runtime.run({
    name: 'deliver',
    internal: true,
    locks: [connectionId],
    load: async (read, state) => {
      const rotates = sndQueuesOf(state, connectionId).length > 1
      if ((rotates || context.contestedQueues.has(queueId)) && !(await isWaiting(read, queueId, messageId)))
        return undefined
      const { config } = context
      const gone = expired ? await readExpired(read, item.delivery, error, { config, now: state.now, givenUpTo }) : []
      const elsewhere = rotates ? await readElsewhere(read, [item, ...gone]) : nowhere
      return { expired: gone, elsewhere, onNew: rotates ? await readMovable(read, queueId) : [] }
    },
    compute: (state, loaded): Outcome<Settled> => {
      const connection = findConnection(state, connectionId)
      const queue = findSndQueue(state, connectionId, queueId)
      const isGone = connection === undefined || queue === undefined || connection.status === 'deleted'
      // Nothing loaded: it was given up while the attempt was under way.
      if (isGone || loaded === undefined) return { result: { outcome: 'dropped', warned: null } }
      const lost = lostSwitch(state, connection, queue, event, { error, waiting: loaded.onNew })
      if (lost !== undefined) return { result: { outcome: 'dropped', warned: null }, ...lost }
      const decision = decide(sndQueueMachine, queue.status, {}, event)
      state.traced('sndQueue', queueId, event.type, decision)
      const settled = new Settlement(state, connection, queue, { item, error, proxy, ...loaded })
      for (const intent of decision.intents) settled.follow(intent)
      if (decision.from !== decision.to) settled.changes.push(patch(sndQueues, { queueId }, { status: decision.to }))
      return {
        result: settled.result,
        changes: settled.changes,
        events: settled.events,
        wakes: [
          ...settled.wakes,
          ...(givenUpTo === undefined ? [] : [{ worker: 'abandoned', key: queueId }]),
          ...(connection.status === 'closing' ? [deletionMayEnd(state, connectionId)] : []),
        ],
      }
    },
  })
}

const isWaiting = async (read: Read, queueId: string, messageId: number): Promise<boolean> =>
  (await read(deliveries, { where: { queueId, messageId } })).length > 0

const deletionMayEnd = (state: UnitState, connectionId: string): Wake =>
  commandsChanged({ connectionId, router: deletionRouter(state, connectionId) })

/** What the other queue of a rotation has to do with messages of this one. */
interface Elsewhere {
  /** Deliveries of the same messages that wait there, by message. */
  readonly waiting: ReadonlyMap<number, DeliveryRow>
  /** Messages that it has delivered already. */
  readonly sent: ReadonlySet<number>
}

const nowhere: Elsewhere = { waiting: new Map(), sent: new Set() }

const readElsewhere = async (
  read: Read,
  waiting: ReadonlyArray<{ readonly delivery: DeliveryRow }>,
): Promise<Elsewhere> => {
  const { connectionId = '', queueId } = waiting[0]?.delivery ?? {}
  const messageId = { in: waiting.map(({ delivery }) => delivery.messageId) }
  const rows = await read(deliveries, { where: { connectionId, messageId } })
  return {
    waiting: new Map(rows.filter(row => row.queueId !== queueId).map(row => [row.messageId, row])),
    sent: new Set(rows.filter(row => row.queueId === queueId && row.sent).map(row => row.messageId)),
  }
}

// A router that refuses the new queue of a rotation for good: the old queue is still there, and takes what waits (B77).
const lostSwitch = (
  state: UnitState,
  connection: ConnectionRow,
  queue: SndQueueRow,
  { type }: SndQueueEvent,
  { error, waiting }: { readonly error: unknown; readonly waiting: readonly DeliveryRow[] },
): Effects | undefined => {
  if (type !== 'message.unauthorized' && type !== 'message.failed') return undefined
  const rotation = sndSwitchTo(state, connection, queue)
  return rotation && decideSndSwitch(state, { ...rotation, waiting, error }, { type: 'queue.lost' })
}

/** The delivery goes; with the last one of its message all that is not needed any more. */
const deliveryGone = (
  { queueId, connectionId, messageId }: DeliveryRow,
  { bodyId }: Pick<SndMessageRow, 'bodyId'>,
  { keepRow, waitsElsewhere }: { readonly keepRow: boolean; readonly waitsElsewhere: boolean },
): Change[] => {
  if (waitsElsewhere) return [remove(deliveries, { queueId, messageId })]
  const key = { connectionId, messageId }
  const gone = keepRow
    ? patch(sndMessages, key, {
        header: null,
        encrypted: null,
        ...(bodyId === null ? { body: null } : { bodyId: null }),
      })
    : remove(sndMessages, key)
  return [remove(deliveries, { queueId, messageId }), gone, ...(bodyId === null ? [] : [bodyReleased(bodyId)])]
}

// A user’s message keeps its row for the receipt, and any other for repeated calls under its idempotency key.
const keepsRow = ({ type, ...message }: Pick<SndMessageRow, 'type'> & Partial<SndMessageRow>): boolean =>
  type === 'A_MSG' || (message.idempotencyKey ?? null) !== null

interface Attempt extends AttemptResult {
  readonly item: QueuedDelivery
  readonly expired: readonly Expired[]
  readonly elsewhere: Elsewhere
}

/** Collects what the intents of one decision change. */
class Settlement {
  readonly changes: Change[] = []
  readonly events: NewEvent[] = []
  readonly wakes: Wake[] = []
  readonly #state: UnitState
  readonly #connection: ConnectionRow
  readonly #queue: SndQueueRow
  readonly #item: QueuedDelivery
  readonly #error: unknown
  readonly #proxy: string | undefined
  readonly #expired: readonly Expired[]
  readonly #elsewhere: Elsewhere
  #outcome: DeliveryOutcome = 'sent'
  #warned: string | null

  constructor(
    state: UnitState,
    connection: ConnectionRow,
    queue: SndQueueRow,
    { item, error, proxy, expired, elsewhere }: Attempt,
  ) {
    this.#state = state
    this.#connection = connection
    this.#queue = queue
    this.#item = item
    this.#error = error
    this.#proxy = proxy
    this.#expired = expired
    this.#elsewhere = elsewhere
    this.#warned = item.delivery.warned
  }

  get result(): Settled {
    return { outcome: this.#outcome, warned: this.#warned }
  }

  follow({ type }: Intent): void {
    switch (type) {
      case 'dropMessage':
        this.#outcome = this.#error === undefined ? 'sent' : 'dropped'
        return this.#finish(this.#item)
      case 'keepForReceipt':
        return this.#finish(this.#item)
      case 'notifySent':
        if (!this.#elsewhere.sent.has(this.#item.delivery.messageId))
          this.#notify('SENT', {
            pqEncryption: this.#item.message.pqEncryption,
            ...(this.#proxy === undefined ? {} : { proxy: this.#proxy }),
          })
        return
      case 'notifyFailed':
      case 'queueError':
        return this.#failed([this.#item], false)
      case 'notifyNotAvailable':
        if (!this.#isElsewhere(this.#item)) this.events.push(notAvailable(this.#connection))
        return
      case 'warn':
        return this.#warn()
      case 'dropExpired':
        return this.#dropExpired()
      case 'retryFast':
      case 'retrySlow':
        this.#outcome = type
        return
      case 'confirmSent':
        return this.#tellConnection({ type: 'confirmation.sent', secured: isSecurable(this.#queue) })
      case 'refuseConfirmation':
        return this.#tellConnection({ type: 'confirmation.refused' })
      case 'confirmSwitch':
        return this.#tellSwitch(sndSwitchOf(this.#state, this.#connection), { type: 'key.sent' })
      case 'completeSwitch':
        return this.#tellSwitch(sndSwitchTo(this.#state, this.#connection, this.#queue), { type: 'test.sent' })
      case 'helloSent':
        return this.#tellConnection({ type: 'hello.sent' })
      case 'refuseHello':
        return this.#tellConnection({ type: 'hello.refused' })
      default:
        throw new InternalError(`nobody follows the intent ${type}`, { field: type })
    }
  }

  // What a call has sent keeps its row, for the receipt and for repeated calls under its idempotency key; its body is not needed any more.
  #finish({ delivery, message }: QueuedDelivery | Expired): void {
    const other = this.#elsewhere.waiting.get(delivery.messageId)
    const isSent = this.#error === undefined
    // What the new queue has delivered, the old one need not; the other way round it does, since the old one may go with its messages.
    const waitsElsewhere = other !== undefined && !(isSent && this.#queue.replaces !== null)
    if (other !== undefined) {
      const key = { queueId: other.queueId, messageId: other.messageId }
      if (!waitsElsewhere) this.changes.push(remove(deliveries, key))
      else if (isSent) this.changes.push(patch(deliveries, key, { sent: true }))
    }
    this.changes.push(...deliveryGone(delivery, message, { keepRow: keepsRow(message), waitsElsewhere }))
  }

  #dropExpired(): void {
    const behind = this.#expired.filter(({ delivery }) => delivery.messageId !== this.#item.delivery.messageId)
    for (const one of behind) this.#finish(one)
    this.#failed(behind, true)
  }

  // Once for each kind of error of a message, also across restarts: attempts go on for days.
  #warn(): void {
    const { code } = asDuologueError(this.#error)
    const told = this.#warned?.split(' ') ?? []
    if (told.includes(code)) return
    this.#warned = [...told, code].join(' ')
    const { queueId, messageId } = this.#item.delivery
    this.changes.push(patch(deliveries, { queueId, messageId }, { warned: this.#warned }))
    this.#notify('MWARN', { ...messageTypeFact(this.#item.message.type), error: errorFact(this.#error) })
  }

  #failed(failed: ReadonlyArray<QueuedDelivery | Expired>, bulk: boolean): void {
    const lost = failed.filter(one => !this.#isElsewhere(one))
    const messages = lost.map(({ delivery, message }) => ({ messageId: delivery.messageId, type: message.type }))
    this.events.push(...failedEvents(this.#connection, messages, this.#error, bulk))
  }

  // The other queue of a rotation has it too: it was delivered there, or is still tried.
  #isElsewhere({ delivery: { messageId } }: QueuedDelivery | Expired): boolean {
    const { waiting, sent } = this.#elsewhere
    return waiting.has(messageId) || sent.has(messageId)
  }

  #tellSwitch(rotation: SndSwitch | undefined, event: SndQueueSwitchEvent): void {
    if (rotation === undefined) return
    const { changes = [], events = [], wakes = [] } = decideSndSwitch(this.#state, rotation, event)
    this.changes.push(...changes)
    this.events.push(...events)
    this.wakes.push(...wakes)
  }

  #tellConnection(event: ConnectionEvent): void {
    const { connectionId } = this.#connection
    const decision = decideConnection(this.#state, this.#connection, event)
    const effects = follow(decision, {
      notifyCon: () => complete(this.#connection, this.#item.message.pqEncryption),
      ...ended(this.#connection),
    })
    this.changes.push(...statusChange(connectionId, decision), ...effects.changes)
    this.events.push(...effects.events)
  }

  #notify(type: string, payload: Json): void {
    const { messageId } = this.#item.delivery
    this.events.push(eventOf(this.#connection, type, payload, { messageId }))
  }
}
