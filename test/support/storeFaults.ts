/** Looks into a memory store's commits, holds them back, or ends them as a crash or a broken disk does. */
import { StoreError } from '../../src/errors.js'
import type { MemoryStore } from '../../src/store/memory.js'
import type { Change } from '../../src/store/index.js'

/** `before` runs before each commit takes effect; it may wait, and what it throws fails the commit, which then changes nothing. */
export const beforeCommits = (
  store: MemoryStore,
  before: (changes: readonly Change[]) => void | Promise<void>,
): void => {
  const commit = store.commit.bind(store)
  store.commit = async changes => {
    await before(changes)
    return commit(changes)
  }
}

/** Runs `then` after each commit that has taken effect, before its caller knows of it. */
export const afterCommits = (store: MemoryStore, after: (changes: readonly Change[]) => void): void => {
  const commit = store.commit.bind(store)
  store.commit = async changes => {
    await commit(changes)
    after(changes)
  }
}

/** Every commit so far, as lists of changes. */
export const recordCommits = (store: MemoryStore): ReadonlyArray<readonly Change[]> => {
  const commits: Array<readonly Change[]> = []
  afterCommits(store, changes => commits.push(changes))
  return commits
}

/** Whether a commit touches a table, in one of the named ways. */
export const touches = (changes: readonly Change[], table: { readonly name: string }, op?: Change['op']): boolean =>
  changes.some(change => change.table.name === table.name && (op === undefined || change.op === op))

/** Holds commits back until it is opened. */
export const commitGate = (
  store: MemoryStore,
): { close(): void; open(): void; step(): void; readonly waiting: number } => {
  let closed = false
  const held: Array<() => void> = []
  beforeCommits(store, () => (closed ? new Promise<void>(resolve => held.push(resolve)) : undefined))
  return {
    close: () => {
      closed = true
    },
    open: () => {
      closed = false
      for (const resolve of held.splice(0)) resolve()
    },
    step: () => held.shift()?.(),
    get waiting() {
      return held.length
    },
  }
}

export const brokenDisk = (): StoreError => new StoreError('STORE_WRITE', 'the disk failed')
