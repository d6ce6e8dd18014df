import { nextTurn } from '../../src/runtime/nextTurn.js'
import { openStore } from '../../src/store/open.js'
import type { Change, Query, Row, Store, Table, Where } from '../../src/store/index.js'
import { dropSchema, newSchema, testDatabaseUrl } from '../store/postgres.js'
import type { Disk } from './disk.js'
import { quiet } from './settle.js'

/**
 * Disks on a real Postgres, for a world on virtual time: answers of a database come at moments of their own, so they are handed on one
 * after the other in the order of the questions, and time stands still until all are there.
 */
export class PostgresDisks {
  readonly #disks: PostgresDisk[] = []
  #last: Promise<unknown> = Promise.resolve()
  #unanswered = 0

  readonly disk = (): Disk => {
    const disk = new PostgresDisk(this)
    this.#disks.push(disk)
    return disk
  }

  /** Waits for what one moment sets off, with all that the databases are asked. */
  readonly settle = async (): Promise<void> => {
    do {
      await this.#last
      await quiet()
    } while (this.#unanswered > 0)
  }

  /** Hands on the answer when all earlier ones have been taken. */
  async inTurn<T>(answer: Promise<T>): Promise<T> {
    const before = this.#last
    this.#unanswered++
    const turn = Promise.allSettled([answer, before]).then(nextTurn)
    this.#last = turn
    await turn
    this.#unanswered--
    return answer
  }

  async close(): Promise<void> {
    await Promise.all(this.#disks.map(disk => disk.close()))
  }
}

/** A schema of its own. */
class PostgresDisk implements Disk {
  readonly #disks: PostgresDisks
  readonly #schema = newSchema()
  #store: Store | undefined

  constructor(disks: PostgresDisks) {
    this.#disks = disks
  }

  open(): Promise<Store> {
    return this.#disks.inTurn(this.#open())
  }

  look(): Store {
    if (this.#store === undefined) throw new Error('nothing was opened')
    return this.#store
  }

  async close(): Promise<void> {
    await this.#store?.close()
    await dropSchema(this.#schema)
  }

  async #open(): Promise<Store> {
    await this.#store?.close()
    const store = await openStore({ databaseUrl: testDatabaseUrl, schema: this.#schema, scope: 'agent' })
    this.#store = store
    const disks = this.#disks
    return {
      kind: store.kind,
      epoch: store.epoch,
      find: <T extends Table>(table: T, query: Query<T>): Promise<Array<Row<T>>> =>
        disks.inTurn(store.find(table, query)),
      count: <T extends Table>(table: T, where?: Where<T>): Promise<number> => disks.inTurn(store.count(table, where)),
      countBy: (table, column) => disks.inTurn(store.countBy(table, column)),
      commit: (changes: readonly Change[]) => disks.inTurn(store.commit(changes)),
      close: () => store.close(),
    }
  }
}
