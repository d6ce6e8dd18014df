/**
 * The router's queues over a store: a bounded cache of rows and one writer that merges the changes of all sessions. Rows of
 * a queue change one at a time; what waits for a change sees its result.
 */
import type { Bytes } from '../encoding/index.js'
import { StoreError } from '../errors.js'
import { nextTurn } from '../runtime/nextTurn.js'
import type { LinkData } from '../smp/protocol/fields.js'
import { type Change, insert, patch, put, remove, type Store } from '../store/index.js'
import { routerLinks, routerQueues } from '../store/router/tables.js'
import { keyOf, type QueueKey } from './messageLog.js'
import { detached, fromRow, idOfParty, type QueueParty, type QueueRecord, toRow } from './queue.js'

/** A queue in memory. One object a queue, as long as somebody needs it. */
export interface Queue {
  readonly key: QueueKey
  /** Undefined once the queue is deleted. */
  record: QueueRecord | undefined
  /** Set while a change is being committed; never rejects. */
  changing: Promise<unknown> | undefined
  /** Subscriptions: a queue with any stays in memory. */
  pins: number
}

export interface Queues {
  /** The queue that a party names by this id, if it is in memory. */
  get(party: QueueParty, id: Bytes): Queue | undefined
  /** Loads the queues of these ids that are not in memory, one query a party. Undefined: there is nothing to wait for. */
  load(wanted: ReadonlyArray<readonly [QueueParty, Bytes]>): Promise<void> | undefined
  /** Adds a queue, with the data of its link if it has one. Undefined when one of its ids is taken. Rejects with StoreError. */
  create(record: QueueRecord, linkData?: LinkData): Promise<Queue | undefined>
  /**
   * Changes a queue after the change before it: `decide` sees the newest record and answers the next one, or what kept
   * it from that. Rejects with StoreError when the store failed; the record is then as it was.
   */
  change<T>(queue: Queue, decide: (record: QueueRecord | undefined) => Decision<T>): Promise<T>
  /** The data of a link; undefined when there is none. Rejects with StoreError. */
  linkData(linkId: Bytes): Promise<LinkData | undefined>
  readonly cached: number
  close(): Promise<void>
}

/** A decision without `record` changes nothing. */
export type Decision<T> = { readonly answer: T } | ChangeDecision<T>

export interface ChangeDecision<T> {
  readonly answer: T
  /** Undefined deletes the queue. A link that it no longer has goes with its data. */
  readonly record: QueueRecord | undefined
  /** New data for its link. */
  readonly linkData?: LinkData
  /** The answer when a new id of the record is taken; without it that is an error. */
  readonly taken?: T
}

const parties: readonly QueueParty[] = ['recipient', 'sender', 'notifier', 'link']
const columns = { recipient: 'recipientId', sender: 'senderId', notifier: 'notifierId', link: 'linkId' } as const
/** Rows that a query asks for at once. */
const idsPerQuery = 500
/** Changes that share a commit. */
const changesPerCommit = 200

/** The queues of a store that this process owns. `maxCached` bounds the rows in memory that nobody is subscribed to. */
export const createQueues = (store: Store, maxCached: number): Queues => {
  const byParty: Record<QueueParty, Map<string, Queue>> = {
    recipient: new Map(),
    sender: new Map(),
    notifier: new Map(),
    link: new Map(),
  }
  const loads = new Map<string, Promise<void>>()
  const commits = mergedCommits(store)

  const index = (queue: Queue, record: QueueRecord): void => {
    for (const party of parties) {
      const id = idOfParty(record, party)
      if (id !== undefined) byParty[party].set(keyOf(id), queue)
    }
  }

  const unindex = (queue: Queue, record: QueueRecord): void => {
    for (const party of parties) {
      const id = idOfParty(record, party)
      if (id !== undefined && byParty[party].get(keyOf(id)) === queue) byParty[party].delete(keyOf(id))
    }
  }

  /** The oldest queues leave; those in use are passed over. A few looks an addition keep up with any number of pins. */
  const evict = (): void => {
    const queues = byParty.recipient
    for (let looks = 0; queues.size > maxCached && looks < 8; looks++) {
      const [oldest] = queues.values()
      if (oldest === undefined) return
      queues.delete(oldest.key)
      if (oldest.pins > 0 || oldest.changing !== undefined) queues.set(oldest.key, oldest)
      else if (oldest.record !== undefined) unindex(oldest, oldest.record)
    }
  }

  const adopt = (record: QueueRecord): Queue => {
    const key = keyOf(record.recipientId)
    const known = byParty.recipient.get(key)
    // What is in memory is newer, a deleted queue included.
    if (known !== undefined) return known
    const queue: Queue = { key, record, changing: undefined, pins: 0 }
    index(queue, record)
    evict()
    return queue
  }

  const fetch = async (party: QueueParty, ids: readonly Bytes[]): Promise<void> => {
    for (let i = 0; i < ids.length; i += idsPerQuery) {
      const where = { [columns[party]]: { in: ids.slice(i, i + idsPerQuery) } }
      for (const row of await store.find(routerQueues, { where })) adopt(fromRow(row))
    }
  }

  const loadParty = (party: QueueParty, ids: readonly Bytes[]): Promise<void>[] => {
    const missing = new Map<string, Bytes>()
    const running = new Set<Promise<void>>()
    for (const id of ids) {
      const key = keyOf(id)
      if (byParty[party].has(key)) continue
      const load = loads.get(party + key)
      if (load === undefined) missing.set(key, id)
      else running.add(load)
    }
    if (missing.size === 0) return [...running]
    const load = fetch(party, [...missing.values()]).finally(() => {
      for (const key of missing.keys()) loads.delete(party + key)
    })
    for (const key of missing.keys()) loads.set(party + key, load)
    return [...running, load]
  }

  return {
    get: (party, id) => {
      const queue = byParty[party].get(keyOf(id))
      if (queue?.record === undefined) return undefined
      // Used now, so it leaves last.
      byParty.recipient.delete(queue.key)
      byParty.recipient.set(queue.key, queue)
      return queue
    },
    load: wanted => {
      const waits = parties.flatMap(party =>
        loadParty(
          party,
          wanted.filter(([wantedParty]) => wantedParty === party).map(([, id]) => id),
        ),
      )
      return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined)
    },
    create: async (record, linkData) => {
      const taken = parties.some(party => {
        const id = idOfParty(record, party)
        return id !== undefined && byParty[party].has(keyOf(id))
      })
      const changes = [insert(routerQueues, toRow(record)), ...linkChanges(undefined, record, linkData)]
      if (taken || !(await commits.commit(changes))) return undefined
      return adopt(detached(record))
    },
    change: async (queue, decide) => {
      while (queue.changing !== undefined) await queue.changing
      const before = queue.record
      const decision = decide(before)
      if (before === undefined || !('record' in decision)) return decision.answer
      const { answer, record, linkData, taken } = decision
      const committed = commits.commit([changeOf(before, record), ...linkChanges(before, record, linkData)])
      queue.changing = committed.catch(() => undefined)
      try {
        if (!(await committed)) {
          if (taken !== undefined) return taken
          throw new StoreError('STORE_CONFLICT', 'an id is taken', { field: 'queue' })
        }
        unindex(queue, before)
        queue.record = record === undefined ? undefined : detached(record)
        // A deleted queue keeps its place for a while, so that a row that is just being loaded does not bring it back.
        if (record === undefined) byParty.recipient.set(queue.key, queue)
        else index(queue, record)
      } finally {
        queue.changing = undefined
      }
      return answer
    },
    linkData: async linkId => {
      const [row] = await store.find(routerLinks, { where: { linkId } })
      return row === undefined ? undefined : { fixedData: row.fixedData, userData: row.userData }
    },
    get cached() {
      return byParty.recipient.size
    },
    close: () => commits.close(),
  }
}

const changeOf = (before: QueueRecord, after: QueueRecord | undefined): Change => {
  const key = { recipientId: before.recipientId }
  if (after === undefined) return remove(routerQueues, key)
  const { recipientId: _, ...set } = toRow(after)
  return patch(routerQueues, key, set)
}

/** What becomes of the rows of link data. The unique link id of the queue's row keeps one queue from another one's. */
const linkChanges = (
  before: QueueRecord | undefined,
  after: QueueRecord | undefined,
  linkData: LinkData | undefined,
): Change[] => {
  const [old, now] = [before?.link?.linkId, after?.link?.linkId]
  const stays = old !== undefined && now !== undefined && keyOf(old) === keyOf(now)
  const changes = old === undefined || stays ? [] : [remove(routerLinks, { linkId: old })]
  if (now === undefined || linkData === undefined) return changes
  const row = { linkId: now, fixedData: linkData.fixedData, userData: linkData.userData }
  return [...changes, stays ? put(routerLinks, row) : insert(routerLinks, row)]
}

/**
 * Merges changes that are ready at the same time into one commit. When one of them conflicts, all are done again alone, so
 * that it harms nobody else. Resolves false for the one that conflicts.
 */
const mergedCommits = (store: Store): { commit(changes: Change[]): Promise<boolean>; close(): Promise<void> } => {
  interface Waiting {
    readonly changes: Change[]
    readonly resolve: (committed: boolean) => void
    readonly reject: (error: unknown) => void
  }
  let waiting: Waiting[] = []
  let running: Promise<void> | undefined

  const run = async (): Promise<void> => {
    await nextTurn()
    while (waiting.length > 0) {
      const group = waiting.slice(0, changesPerCommit)
      waiting = waiting.slice(changesPerCommit)
      await commitGroup(group)
    }
    running = undefined
  }

  const commitGroup = async (group: readonly Waiting[]): Promise<void> => {
    try {
      await store.commit(group.flatMap(({ changes }) => changes))
      for (const { resolve } of group) resolve(true)
    } catch (error) {
      const conflict = error instanceof StoreError && error.code === 'STORE_CONFLICT'
      if (conflict && group.length > 1) {
        for (const item of group) await commitGroup([item])
      } else {
        for (const { resolve, reject } of group) {
          if (conflict) resolve(false)
          else reject(error)
        }
      }
    }
  }

  return {
    commit: changes =>
      new Promise((resolve, reject) => {
        waiting.push({ changes, resolve, reject })
        running ??= run()
      }),
    close: async () => {
      await running
    },
  }
}
