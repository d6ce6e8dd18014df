import { asDuologueError, StoreError } from '../errors.js'
import { counters, events } from '../store/eventLog.js'
import { type Change, insert, put, type Row, type Store } from '../store/index.js'
import { ownedBytes } from './rows.js'
import type { NewEvent } from './unit.js'

export type EventRow = Row<typeof events>

/** What a group of units wants committed: as one whole, or not at all. */
export interface Submission {
  readonly changes: readonly Change[]
  readonly events: ReadonlyArray<NewEvent & { readonly traceId: string }>
}

interface Pending {
  readonly submission: Submission
  readonly resolve: (rows: readonly EventRow[]) => void
  readonly reject: (error: unknown) => void
}

/** A merged transaction never holds more changes than this. */
const maxChangesPerCommit = 1000

/**
 * The one writer of a store. Submissions that are ready at the same moment share one transaction; a merged transaction that
 * is refused for what it holds is rolled back and its submissions are committed one by one, so that one bad submission cannot
 * fail another. Where the store itself failed nothing is repeated: the commit may have taken place. The writer gives events
 * their cursors: commit order, without gaps.
 */
export class Writer {
  readonly #store: Store
  readonly #now: () => number
  readonly #published: (rows: readonly EventRow[]) => void
  #queue: Pending[] = []
  #running: Promise<void> | undefined
  #lastCursor: number
  /** A commit has failed: whether it took place after all, the store must tell before the next one. */
  #unsure = false

  private constructor(
    store: Store,
    now: () => number,
    lastCursor: number,
    published: (rows: readonly EventRow[]) => void,
  ) {
    this.#store = store
    this.#now = now
    this.#lastCursor = lastCursor
    this.#published = published
  }

  /** `published` hears of every committed event, in cursor order, before the submitting unit goes on. It must not throw. */
  static async open(
    store: Store,
    options: { readonly now: () => number; readonly published: (rows: readonly EventRow[]) => void },
  ): Promise<Writer> {
    const [counter] = await store.find(counters, { where: { name: 'lastCursor' } })
    return new Writer(store, options.now, counter?.value ?? 0, options.published)
  }

  get lastCursor(): number {
    return this.#lastCursor
  }

  /** Commits a submission; resolves with its events when they are durable. Rejects with StoreError. */
  submit(submission: Submission): Promise<readonly EventRow[]> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ submission, resolve, reject })
      this.#running ??= this.#drain()
    })
  }

  /** Waits for everything submitted so far. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #drain(): Promise<void> {
    // Submissions made in this same turn of the event loop join the first transaction.
    await Promise.resolve()
    while (this.#queue.length > 0) await this.#commitMerged(this.#take())
    this.#running = undefined
  }

  #take(): Pending[] {
    let count = 0
    let changes = 0
    for (const { submission } of this.#queue) {
      changes += submission.changes.length + submission.events.length
      if (count > 0 && changes > maxChangesPerCommit) break
      count++
    }
    return this.#queue.splice(0, count)
  }

  async #commitMerged(batch: readonly Pending[]): Promise<void> {
    const error = await this.#commit(batch)
    if (error === undefined) return
    if (batch.length > 1 && !storeFailures.has(error.code)) {
      for (const pending of batch) await this.#commitMerged([pending])
      return
    }
    for (const pending of batch) pending.reject(error)
  }

  async #commit(batch: readonly Pending[]): Promise<StoreError | undefined> {
    let rows: EventRow[][]
    try {
      if (this.#unsure) await this.#catchUp()
      let cursor = this.#lastCursor
      const at = this.#now()
      rows = batch.map(({ submission }) => submission.events.map(event => eventRow(event, ++cursor, at)))
      const changes = batch.flatMap(({ submission }) => submission.changes as Change[])
      for (const row of rows.flat()) changes.push(insert(events, row))
      if (cursor !== this.#lastCursor) changes.push(put(counters, { name: 'lastCursor', value: cursor }))
      if (changes.length > 0) await this.#store.commit(changes)
    } catch (error) {
      this.#unsure = true
      return asStoreError(error)
    }
    this.#publish(rows.flat())
    batch.forEach((pending, index) => pending.resolve(rows[index] ?? []))
    return undefined
  }

  // After a failure: events whose commit took place without an answer get known, and no cursor is given twice.
  async #catchUp(): Promise<void> {
    const after = this.#lastCursor
    const [counter] = await this.#store.find(counters, { where: { name: 'lastCursor' } })
    if (counter !== undefined && counter.value > after) {
      this.#publish(await this.#store.find(events, { where: { cursor: { gt: after } }, orderBy: ['cursor'] }))
      this.#lastCursor = counter.value
    }
    this.#unsure = false
  }

  #publish(rows: readonly EventRow[]): void {
    const last = rows.at(-1)
    if (last === undefined) return
    this.#lastCursor = last.cursor
    this.#published(rows)
  }
}

/** Failures of the store itself: no submission is to blame, and the next one would meet the same. */
const storeFailures: ReadonlySet<string> = new Set([
  'STORE_UNAVAILABLE',
  'STORE_NOT_OWNER',
  'STORE_CLOSED',
  'STORE_BUSY',
  'STORE_LOCKED',
])

const asStoreError = (error: unknown): StoreError =>
  error instanceof StoreError
    ? error
    : new StoreError('STORE_FAILED', `commit failed: ${asDuologueError(error).message}`, { cause: error })

const eventRow = (event: NewEvent & { traceId: string }, cursor: number, at: number): EventRow => ({
  cursor,
  at,
  network: event.network,
  userId: event.userId,
  connectionId: event.connectionId,
  messageId: event.messageId ?? null,
  correlationId: event.correlationId ?? null,
  traceId: event.traceId,
  type: event.type,
  payload: event.payload,
  body: event.body === undefined ? null : ownedBytes(event.body),
})
