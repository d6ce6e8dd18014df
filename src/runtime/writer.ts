import { asDuologueError, StoreError } from '../errors.js'
import { counters, events } from '../store/eventLog.js'
import { type Change, insert, put, type Row, type Store } from '../store/index.js'
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
 * fails is rolled back and its submissions are committed one by one, so that one bad submission cannot fail another. The
 * writer gives events their cursors: commit order, without gaps.
 */
export class Writer {
  readonly #store: Store
  readonly #now: () => number
  readonly #published: (rows: readonly EventRow[]) => void
  #queue: Pending[] = []
  #running: Promise<void> | undefined
  #lastCursor: number

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

  /** `published` hears of every committed event, in cursor order, before the submitting unit goes on. */
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
    const [first] = batch
    if (batch.length === 1) first?.reject(error)
    else for (const pending of batch) await this.#commitMerged([pending])
  }

  async #commit(batch: readonly Pending[]): Promise<StoreError | undefined> {
    let cursor = this.#lastCursor
    const at = this.#now()
    const rows = batch.map(({ submission }) => submission.events.map(event => eventRow(event, ++cursor, at)))
    const changes = batch.flatMap(({ submission }) => submission.changes as Change[])
    for (const row of rows.flat()) changes.push(insert(events, row))
    if (cursor !== this.#lastCursor) changes.push(put(counters, { name: 'lastCursor', value: cursor }))
    try {
      if (changes.length > 0) await this.#store.commit(changes)
    } catch (error) {
      return asStoreError(error)
    }
    this.#lastCursor = cursor
    const all = rows.flat()
    if (all.length > 0) this.#published(all)
    batch.forEach((pending, index) => pending.resolve(rows[index] ?? []))
    return undefined
  }
}

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
  body: event.body ?? null,
})
