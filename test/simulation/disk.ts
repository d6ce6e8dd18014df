import { StoreError } from '../../src/errors.js'
import { openMemoryStore } from '../../src/store/memory.js'
import type { Change, Query, Row, Store, Table, Where } from '../../src/store/index.js'
import { brokenDisk } from '../support/storeFaults.js'
import { type Effects, never } from './effects.js'

/** Rows that outlive the processes which open them. */
export interface Disk {
  /** Opens the rows for the next process; what an earlier one has open can write no more. */
  open(): Promise<Store>
  /** Looks at the rows without opening them. */
  look(): Store
  close(): Promise<void>
}

export const memoryDisk = (): Disk => {
  let rows = openMemoryStore()
  return {
    open: async () => (rows = rows.reopen()),
    look: () => rows,
    close: async () => {},
  }
}

/** How a commit fails: it is refused, or there is no answer though it was made, or not. */
export type DiskFault = 'refused' | 'lost' | 'applied'

/** A store whose commits are effects of a process; `faults` names what is wrong with the next commits. */
export const watchedStore = (store: Store, effects: Effects, faults: () => DiskFault | undefined): Store => ({
  kind: store.kind,
  epoch: store.epoch,
  find: <T extends Table>(table: T, query: Query<T>): Promise<Array<Row<T>>> =>
    effects.alive ? store.find(table, query) : never(),
  count: <T extends Table>(table: T, where?: Where<T>): Promise<number> =>
    effects.alive ? store.count(table, where) : never(),
  countBy: (table, column) => (effects.alive ? store.countBy(table, column) : never()),
  commit: async (changes: readonly Change[]): Promise<void> => {
    if (!effects.next()) return never()
    const fault = faults()
    if (fault === 'refused') throw brokenDisk()
    if (fault === 'lost') throw unanswered()
    await store.commit(changes)
    if (!effects.next()) return never()
    if (fault === 'applied') throw unanswered()
  },
  close: () => store.close(),
})

const unanswered = (): StoreError => new StoreError('STORE_UNAVAILABLE', 'the answer was lost')
