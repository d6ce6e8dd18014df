import { CallError, type DuologueError } from '../errors.js'
import { eventAcks, eventConsumers, events } from '../store/eventLog.js'
import { type Change, insert, put, remove, removeWhere, type Store } from '../store/index.js'
import type { Clock } from './clock.js'
import type { Read } from './unit.js'
import type { EventRow } from './writer.js'

/** Events kept in memory for readers that keep up; slower ones read from the store. */
const tailLength = 2048
const pageLength = 200

export interface EventLogOptions {
  readonly clock: Clock
  readonly lastCursor: number
  /** So many events may wait unread before `isFull` says so. */
  readonly maxUnread: number
  /** So old, in ms, the oldest unread event may become before `isFull` says so; no limit when absent. */
  readonly maxUnreadAgeMs?: number | undefined
  /** Told once when the log becomes full, and again only after it was half empty. */
  readonly becameFull?: (unread: number) => void
}

/**
 * The durable event log as readers see it. Rows come in by `publish`, in cursor order; a row leaves the store, and this tail,
 * when every consumer has acknowledged it. Readers never hold anybody up: they read pages, from memory or from the store.
 */
export class EventLog {
  readonly #store: Store
  readonly #clock: Clock
  readonly #tail = new Map<number, EventRow>()
  /** The events up to this cursor may be missing from the tail. */
  #tailFrom: number
  #lastCursor: number
  #waiting = new Set<() => void>()
  readonly #consumers = new Map<string, number>()
  /** Up to where each consumer has acknowledged everything, as far as it was looked at: nothing is ever added there. */
  readonly #done = new Map<string, number>()
  readonly #options: EventLogOptions
  #unread: number
  #toldFull = false
  /** The oldest unread event, as far as known. */
  #oldest: Pick<EventRow, 'cursor' | 'at'> | undefined
  readonly #messageCursors = new Map<string, number>()
  readonly #watches = new Set<{ readonly consumer: string; readonly cursors: Set<number> }>()
  readonly #roomListeners: Array<() => void> = []
  #closed = false
  #failure: DuologueError | undefined

  private constructor(
    store: Store,
    options: EventLogOptions,
    consumers: ReadonlyArray<{ readonly consumer: string; readonly fromCursor: number }>,
    unread: number,
    oldest: EventRow | undefined,
  ) {
    this.#store = store
    this.#clock = options.clock
    this.#tailFrom = options.lastCursor
    this.#lastCursor = options.lastCursor
    this.#options = options
    this.#unread = unread
    this.#oldest = oldest
    for (const { consumer, fromCursor } of consumers) this.#consumers.set(consumer, fromCursor)
  }

  static async open(store: Store, options: EventLogOptions): Promise<EventLog> {
    const [consumers, unread, [oldest]] = await Promise.all([
      store.find(eventConsumers, {}),
      store.count(events),
      store.find(events, { orderBy: ['cursor'], limit: 1 }),
    ])
    return new EventLog(store, options, consumers, unread, oldest)
  }

  /** Whether more events wait unread than may, or for longer: then receiving stops, no event is ever dropped. */
  get isFull(): boolean {
    const { maxUnread, maxUnreadAgeMs = Number.POSITIVE_INFINITY } = this.#options
    if (this.#unread >= maxUnread) return true
    return this.#oldest !== undefined && this.#clock.now() - this.#oldest.at > maxUnreadAgeMs
  }

  get lastCursor(): number {
    return this.#lastCursor
  }

  /** The cursor from which a registered consumer reads; undefined for an unknown one. */
  registeredFrom(consumer: string): number | undefined {
    return this.#consumers.get(consumer)
  }

  /** Whether nobody but this consumer reads the log: what it acknowledges is gone. */
  isOnlyConsumer(consumer: string): boolean {
    return this.#consumers.size === 1 && this.#consumers.has(consumer)
  }

  /** The change that registers a consumer, to be committed by the caller and then told to `registered`. */
  registration(consumer: string, fromCursor: number): Change {
    return put(eventConsumers, { consumer, fromCursor })
  }

  registered(consumer: string, fromCursor: number): void {
    this.#consumers.set(consumer, fromCursor)
  }

  /** The changes that forget a consumer, to be committed by the caller after `unregistered`. */
  unregistration(consumer: string): Change[] {
    return [remove(eventConsumers, { consumer }), removeWhere(eventAcks, { consumer })]
  }

  /** From now on nothing waits for this consumer; its readers end with CONSUMER_UNKNOWN. */
  unregistered(consumer: string): void {
    this.#consumers.delete(consumer)
    this.#done.delete(consumer)
    this.#wakeReaders()
  }

  /** The registered consumers, with the cursors from which they read. */
  get consumers(): ReadonlyArray<{ readonly consumer: string; readonly from: number }> {
    return [...this.#consumers].map(([consumer, from]) => ({ consumer, from }))
  }

  /** Events that a consumer has not acknowledged. */
  async unreadBy(consumer: string): Promise<number> {
    const cursor = { gt: this.#requireConsumer(consumer) }
    const [there, acknowledged] = await Promise.all([
      this.#store.count(events, { cursor }),
      this.#store.count(eventAcks, { cursor, consumer }),
    ])
    return Math.max(0, there - acknowledged)
  }

  /** A cursor up to which this consumer has acknowledged everything. */
  doneUpTo(consumer: string): number {
    return this.#done.get(consumer) ?? 0
  }

  /** Notes that a consumer has acknowledged everything up to a cursor that the log has come to. */
  noteDone(consumer: string, cursor: number): void {
    const reached = Math.min(cursor, this.#lastCursor)
    if (this.#consumers.has(consumer) && reached > this.doneUpTo(consumer)) this.#done.set(consumer, reached)
  }

  /** Takes committed events, in cursor order. Readers are told in a later microtask: the committer may still hold locks. */
  publish(rows: readonly EventRow[]): void {
    this.#unread += rows.length
    this.#oldest ??= rows[0]
    if (this.isFull && !this.#toldFull) {
      this.#toldFull = true
      this.#options.becameFull?.(this.#unread)
    }
    for (const row of rows) {
      this.#tail.set(row.cursor, row)
      if (row.messageId !== null) this.#messageCursors.set(messageKey(row), row.cursor)
      this.#lastCursor = row.cursor
    }
    for (const row of this.#tail.values()) {
      if (this.#tail.size <= tailLength) break
      this.#tailFrom = row.cursor
      this.#forget(row)
    }
    queueMicrotask(() => this.#wakeReaders())
  }

  /**
   * Takes acknowledged events out of memory, after the commit that took them out of the store. `by`: what a consumer has acknowledged,
   * whether others still need it or not.
   */
  acknowledged(
    rows: readonly EventRow[],
    by?: { readonly consumer: string; readonly rows: readonly EventRow[] },
  ): void {
    for (const watch of this.#watches) {
      for (const { cursor } of watch.consumer === by?.consumer ? by.rows : rows) watch.cursors.add(cursor)
    }
    for (const row of rows) {
      // A repeated acknowledgement of an event of this run is not counted twice.
      if (row.cursor <= this.#tailFrom || this.#tail.has(row.cursor)) this.#unread = Math.max(0, this.#unread - 1)
      this.#forget(row)
      if (row.cursor === this.#oldest?.cursor) this.#findOldest()
    }
    // Room for one event does not make it worth telling again.
    if (this.#unread < this.#options.maxUnread / 2 && !this.isFull) this.#toldFull = false
    if (!this.isFull) for (const listener of this.#roomListeners) queueMicrotask(listener)
  }

  /** Calls a listener after acknowledgements that leave room for events: whoever has stopped receiving goes on. */
  onRoom(listener: () => void): void {
    this.#roomListeners.push(listener)
  }

  // The next oldest is in memory, unless older ones are in the store only.
  #findOldest(): void {
    const [first] = this.#tail.values()
    this.#oldest = first
    if (this.#options.maxUnreadAgeMs === undefined || this.#unread <= this.#tail.size) return
    void this.#store.find(events, { orderBy: ['cursor'], limit: 1 }).then(
      ([oldest]) => {
        this.#oldest = oldest
      },
      () => {
        // The store has failed: everybody hears of that elsewhere.
      },
    )
  }

  /** The unacknowledged event of a message that is of one of these types, or undefined. */
  async messageEvent(connectionId: string, messageId: number, types: readonly string[]): Promise<EventRow | undefined> {
    const known = this.#tail.get(this.#messageCursors.get(messageKey({ connectionId, messageId })) ?? -1)
    if (known !== undefined && types.includes(known.type)) return known
    const rows = await this.#store.find(events, { where: { connectionId, messageId, type: { in: types } } })
    return rows[0]
  }

  /** Events of the log by cursor: one, or all up to one, oldest first, a page at a time. */
  async page(
    which: { readonly cursor: number } | { readonly upTo: number; readonly after: number },
  ): Promise<EventRow[]> {
    if ('cursor' in which) {
      const known = this.#tail.get(which.cursor)
      return known === undefined ? this.#store.find(events, { where: { cursor: which.cursor } }) : [known]
    }
    const rows = await this.#read(which.after, pageLength)
    return rows.filter(row => row.cursor <= which.upTo)
  }

  /**
   * The changes that acknowledge events for one consumer, or for one that is not registered any more (undefined). An event that every
   * other consumer has acknowledged leaves the log; `gone` are those. To be called in the load phase of a unit that locks the events'
   * connection, with its `read`: two consumers that acknowledge at the same moment must see each other.
   */
  async acknowledgement(
    consumer: string | undefined,
    rows: readonly EventRow[],
    read: Read = (table, query) => this.#store.find(table, query),
  ): Promise<{ readonly changes: Change[]; readonly gone: EventRow[] }> {
    if (consumer !== undefined) this.#requireConsumer(consumer)
    const others = [...this.#consumers].filter(([name]) => name !== consumer)
    if (others.length === 0) {
      // What nobody has read waits for the next consumer.
      if (consumer === undefined) return { changes: [], gone: [] }
      return { changes: rows.map(row => remove(events, { cursor: row.cursor })), gone: [...rows] }
    }
    const cursor = { in: rows.map(row => row.cursor) }
    const [there, acks] = await Promise.all([
      read(events, { where: { cursor } }),
      read(eventAcks, { where: { cursor } }),
    ])
    const changes: Change[] = []
    const gone: EventRow[] = []
    for (const row of there) {
      const ackedBy = new Set(acks.filter(ack => ack.cursor === row.cursor).map(ack => ack.consumer))
      const needed = others.some(([name, from]) => row.cursor > from && !ackedBy.has(name))
      if (needed) {
        if (consumer !== undefined && !ackedBy.has(consumer))
          changes.push(insert(eventAcks, { cursor: row.cursor, consumer }))
        continue
      }
      gone.push(row)
      changes.push(remove(events, { cursor: row.cursor }))
      for (const name of ackedBy) changes.push(remove(eventAcks, { cursor: row.cursor, consumer: name }))
    }
    return { changes, gone }
  }

  /**
   * Up to `limit` events after a cursor that this consumer has not acknowledged, in cursor order; waits up to `waitMs` for the
   * first one, or until `signal` aborts. Throws CallError `CONSUMER_UNKNOWN`,
   * and StoreError when another process has taken the store.
   */
  async read(
    consumer: string,
    after: number,
    limit: number,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<EventRow[]> {
    const done = Math.max(this.#requireConsumer(consumer), this.doneUpTo(consumer))
    const looksAtAll = after <= done
    const deadline = this.#clock.elapsed() + waitMs
    let position = Math.max(after, done)
    let left = waitMs
    while (!this.#closed && signal?.aborted !== true) {
      if (this.#failure !== undefined) throw this.#failure
      this.#requireConsumer(consumer)
      const seen = this.#lastCursor
      // Where others have acknowledged what this consumer has not, whole pages are looked through.
      const page = await this.#read(position, this.#consumers.size > 1 ? Math.max(limit, pageLength) : limit)
      const [first, ...rest] = await this.#withoutAcknowledged(consumer, page)
      if (looksAtAll) this.noteDone(consumer, (first?.cursor ?? (page.at(-1)?.cursor ?? position) + 1) - 1)
      if (first !== undefined) return [first, ...rest].slice(0, limit)
      const last = page.at(-1)
      if (last !== undefined) {
        position = last.cursor
        continue
      }
      left = Math.min(left, deadline - this.#clock.elapsed())
      if (left <= 0) return []
      // What was published while the page was read has woken nobody here.
      if (this.#lastCursor === seen && (await this.#nextEvent(left, signal)) === 'late') left = 0
    }
    return []
  }

  /**
   * Notes what a consumer acknowledges from now on, so that a reader can leave it out of what it has read before: no event is
   * delivered after its acknowledgement was answered.
   */
  watch(consumer: string): { has(cursor: number): boolean; end(): void } {
    const watch = { consumer, cursors: new Set<number>() }
    this.#watches.add(watch)
    return { has: cursor => watch.cursors.has(cursor), end: () => void this.#watches.delete(watch) }
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Ends every reader with an error: nothing can be stored any more. */
  fail(error: DuologueError): void {
    this.#failure = error
    this.#wakeReaders()
  }

  /** Ends every waiting reader. */
  close(): void {
    this.#closed = true
    this.#wakeReaders()
  }

  async #read(after: number, limit: number): Promise<EventRow[]> {
    if (after < this.#tailFrom) {
      return this.#store.find(events, { where: { cursor: { gt: after } }, orderBy: ['cursor'], limit })
    }
    const rows: EventRow[] = []
    // A reader that keeps up is near the end: no need to walk through what it has read and not acknowledged.
    const near = this.#lastCursor - after <= this.#tail.size
    for (const row of near ? this.#from(after + 1) : this.#tail.values()) {
      if (row.cursor <= after) continue
      rows.push(row)
      if (rows.length === limit) break
    }
    return rows
  }

  *#from(cursor: number): Generator<EventRow> {
    for (let next = cursor; next <= this.#lastCursor; next++) {
      const row = this.#tail.get(next)
      if (row !== undefined) yield row
    }
  }

  // With one consumer an acknowledged event is gone; only further consumers need the table of acknowledgements.
  async #withoutAcknowledged(consumer: string, rows: EventRow[]): Promise<EventRow[]> {
    if (this.#consumers.size <= 1 || rows.length === 0) return rows
    const acks = await this.#store.find(eventAcks, {
      where: { consumer, cursor: { in: rows.map(row => row.cursor) } },
    })
    const acked = new Set(acks.map(ack => ack.cursor))
    return rows.filter(row => !acked.has(row.cursor))
  }

  #nextEvent(ms: number, signal: AbortSignal | undefined): Promise<'late' | 'woken'> {
    if (this.#closed || this.#failure !== undefined || signal?.aborted === true) return Promise.resolve('woken')
    return new Promise(resolve => {
      const end = (how: 'late' | 'woken'): void => {
        this.#waiting.delete(wake)
        signal?.removeEventListener('abort', wake)
        this.#clock.clearTimeout(timer)
        resolve(how)
      }
      const wake = (): void => end('woken')
      const timer = this.#clock.setTimeout(() => end('late'), ms)
      this.#waiting.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  #wakeReaders(): void {
    for (const wake of this.#waiting) wake()
  }

  #forget(row: EventRow): void {
    this.#tail.delete(row.cursor)
    if (row.messageId !== null && this.#messageCursors.get(messageKey(row)) === row.cursor) {
      this.#messageCursors.delete(messageKey(row))
    }
  }

  #requireConsumer(consumer: string): number {
    const from = this.#consumers.get(consumer)
    if (from !== undefined) return from
    throw new CallError('CONSUMER_UNKNOWN', `no consumer ${consumer} is registered`, {
      field: 'consumer',
      hint: 'call registerConsumer first, or read events with events()',
    })
  }
}

const messageKey = (row: { readonly connectionId: string; readonly messageId: number | null }): string =>
  `${row.connectionId}/${row.messageId}`
