import { agentTables } from '../../src/store/agent/tables.js'
import { insert, type Store } from '../../src/store/index.js'
import { type MemoryStore, openMemoryStore } from '../../src/store/memory.js'

/** A backup of an agent’s rows, as they are now; what it gives opens a store with them, as often as it is called. */
export const backupOf = async (store: Store): Promise<() => Promise<MemoryStore>> => {
  const rows = await Promise.all(agentTables.map(async table => ({ table, rows: await store.find(table, {}) })))
  return async () => {
    const restored = openMemoryStore()
    await restored.commit(rows.flatMap(one => one.rows.map(row => insert(one.table, row as never))))
    // A backup has the epoch of its owner, and opening it raises that.
    let opened = restored
    while (opened.epoch <= store.epoch) opened = opened.reopen()
    return opened
  }
}
