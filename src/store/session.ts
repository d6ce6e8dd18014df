import type { Client } from 'pg'
import { StoreError } from '../errors.js'
import type { Param, Statement } from './sql.js'
import { type DatabaseMessage, databaseError, unavailableError } from './sqlErrors.js'

/** What a statement answered: its rows in text form. */
export type Rows = ReadonlyArray<ReadonlyArray<string | null>>

/** Milliseconds that a database may take to end a connection; the embedded one shuts down with it. */
const endMs = 20_000
/** Statements that one connection keeps prepared; further texts are parsed each time. */
const maxPrepared = 1000
/** Transactions that may wait for one connection. */
const maxWaiting = 10_000

/** What the store asks of a database connection. */
export interface SqlSession {
  /** Set once the connection is gone; every call then fails with it. */
  readonly broken: StoreError | undefined
  /** Calls back once when the connection is lost, also while nothing is asked of it. */
  whenBroken(listener: (error: StoreError) => void): void
  /**
   * Runs statements as one transaction and answers the rows of each. Throws StoreError: of the first statement that failed
   * (nothing has been written then), or STORE_UNAVAILABLE when the connection broke (it may have been written).
   */
  transaction(statements: readonly Statement[]): Promise<Rows[]>
  /** Runs SQL text of any number of statements, without parameters, as one transaction. Throws as `transaction`. */
  script(text: string): Promise<void>
  /** Ends the connection, after what is running. */
  end(): Promise<void>
}

/**
 * One database connection. A transaction travels as one write and one answer: every statement is bound to its prepared text
 * and one Sync ends them all, which is what makes them one transaction that commits or rolls back as a whole. (Measured
 * against BEGIN … COMMIT, one statement of CTEs and single-row statements: the fastest of them on Postgres and PGlite.)
 */
export class Session implements SqlSession {
  readonly #client: Client
  readonly #field: string
  readonly #deadlineMs: number
  readonly #prepared = new Map<string, string>()
  /** Names whose Parse may or may not have arrived when a transaction failed. */
  readonly #unsure = new Set<string>()
  readonly #waiting: Transaction[] = []
  #running: Transaction | undefined
  #deadline: NodeJS.Timeout | undefined
  #broken: StoreError | undefined
  #onBroken: (error: StoreError) => void = () => {}

  /** Takes over a connected client. `field` names the database in errors; `deadlineMs` is for one transaction. */
  constructor(client: Client, field: string, deadlineMs: number) {
    this.#client = client
    this.#field = field
    this.#deadlineMs = deadlineMs
    client.on('error', cause => this.#break(cause))
    client.on('end', () => this.#break(new Error('the connection ended')))
  }

  get broken(): StoreError | undefined {
    return this.#broken
  }

  whenBroken(listener: (error: StoreError) => void): void {
    this.#onBroken = listener
  }

  transaction(statements: readonly Statement[]): Promise<Rows[]> {
    return this.#enqueue({ statements })
  }

  async script(text: string): Promise<void> {
    await this.#enqueue({ script: text })
  }

  async end(): Promise<void> {
    this.#onBroken = () => {}
    const deadline = setTimeout(() => destroyConnection(this.#client), endMs)
    try {
      await this.#client.end()
    } catch {
      // It is gone either way.
    } finally {
      clearTimeout(deadline)
      this.#break(new StoreError('STORE_CLOSED', 'the store is closed'))
    }
  }

  #enqueue(work: Work): Promise<Rows[]> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken)
    if (this.#waiting.length >= maxWaiting) {
      return Promise.reject(new StoreError('STORE_BUSY', 'too much waits for the database', { field: this.#field }))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push(new Transaction(work, resolve, reject))
      if (this.#running === undefined) this.#next()
    })
  }

  #next(): void {
    const transaction = this.#waiting.shift()
    this.#running = transaction
    if (transaction === undefined) {
      clearTimeout(this.#deadline)
      this.#deadline = undefined
      return
    }
    if (this.#deadline === undefined) this.#deadline = setTimeout(() => this.#expire(), this.#deadlineMs)
    else this.#deadline.refresh()
    this.#client.query(new Submission(transaction, this.#write, this.#done))
  }

  readonly #write = (transaction: Transaction, connection: Connection): void => {
    if (transaction.work.script !== undefined) {
      connection.query(transaction.work.script)
      return
    }
    connection.stream.cork()
    for (const { text, types, params } of transaction.work.statements) {
      const name = this.#prepare(transaction, text, types, connection)
      connection.bind({ statement: name, values: params })
      connection.execute()
    }
    connection.sync()
    connection.stream.uncork()
  }

  /** The name of the statement with this text, parsing it unless it is there already. */
  #prepare(transaction: Transaction, text: string, types: readonly number[], connection: Connection): string {
    let name = this.#prepared.get(text)
    if (name === undefined) {
      name = this.#prepared.size < maxPrepared ? `s${this.#prepared.size}` : ''
      if (name !== '') this.#prepared.set(text, name)
      transaction.parsed.push(name)
      connection.parse({ name, text, types })
    } else if (this.#unsure.delete(name)) {
      transaction.parsed.push(name)
      connection.close({ type: 'S', name })
      connection.parse({ name, text, types })
    } else transaction.parsed.push('')
    return name
  }

  readonly #done = (transaction: Transaction, failure: unknown): void => {
    if (failure === undefined) {
      transaction.succeed(this.#field)
      if (this.#running === transaction) this.#next()
      return
    }
    if (!isDatabaseMessage(failure)) return this.#break(failure)
    for (const name of transaction.parsed.slice(transaction.completed)) if (name !== '') this.#unsure.add(name)
    transaction.reject(databaseError(failure, transaction.completed))
    if (failure.severity === 'FATAL' || failure.severity === 'PANIC') return this.#break(failure)
    if (this.#running === transaction) this.#next()
  }

  #expire(): void {
    this.#break(new StoreError('STORE_UNAVAILABLE', 'the database did not answer in time', { field: this.#field }))
    destroyConnection(this.#client)
  }

  #break(cause: unknown): void {
    if (this.#broken !== undefined) return
    const error = unavailableError(this.#field, cause)
    this.#broken = error
    clearTimeout(this.#deadline)
    const lost = [...(this.#running === undefined ? [] : [this.#running]), ...this.#waiting.splice(0)]
    this.#running = undefined
    for (const transaction of lost) transaction.reject(error)
    this.#onBroken(error)
    this.#onBroken = () => {}
  }
}

/** Ends a client's connection at once, whatever the other side does. */
export const destroyConnection = (client: Client): void => {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } }
  connection.stream.destroy()
}

type Work =
  | { readonly statements: readonly Statement[]; readonly script?: undefined }
  | { readonly script: string; readonly statements?: undefined }

/** One transaction on its way, with what has come back of it. */
class Transaction {
  readonly work: Work
  readonly reject: (error: StoreError) => void
  readonly #resolve: (rows: Rows[]) => void
  readonly #answers: Array<Array<ReadonlyArray<string | null>>> = []
  #rows: Array<ReadonlyArray<string | null>> = []
  /** The name that each statement parsed, '' when it was there already. */
  readonly parsed: string[] = []

  constructor(work: Work, resolve: (rows: Rows[]) => void, reject: (error: StoreError) => void) {
    this.work = work
    this.#resolve = resolve
    this.reject = reject
  }

  /** How many statements have been answered. */
  get completed(): number {
    return this.#answers.length
  }

  row(fields: ReadonlyArray<string | null>): void {
    this.#rows.push(fields)
  }

  complete(): void {
    this.#answers.push(this.#rows)
    this.#rows = []
  }

  /** An answer counts only when every statement has its own: a database that died half-way may say "ready" all the same. */
  succeed(field: string): void {
    if (this.work.statements === undefined || this.#answers.length === this.work.statements.length) {
      this.#resolve(this.#answers)
    } else this.reject(new StoreError('STORE_UNAVAILABLE', 'the database left a transaction unanswered', { field }))
  }
}

/** The part of pg's connection that writes protocol messages. */
interface Connection {
  readonly stream: { cork(): void; uncork(): void }
  query(text: string): void
  parse(statement: { name: string; text: string; types: readonly number[] }): void
  bind(portal: { statement: string; values: readonly Param[] }): void
  execute(): void
  close(target: { type: 'S'; name: string }): void
  sync(): void
}

/** A transaction in the form that pg's client runs (its "submittable", as pg-cursor is one). */
class Submission {
  readonly #transaction: Transaction
  readonly #write: (transaction: Transaction, connection: Connection) => void
  readonly #done: (transaction: Transaction, failure: unknown) => void

  constructor(
    transaction: Transaction,
    write: (transaction: Transaction, connection: Connection) => void,
    done: (transaction: Transaction, failure: unknown) => void,
  ) {
    this.#transaction = transaction
    this.#write = write
    this.#done = done
  }

  submit(connection: unknown): void {
    this.#write(this.#transaction, connection as Connection)
  }

  handleDataRow(message: { readonly fields: ReadonlyArray<string | null> }): void {
    this.#transaction.row(message.fields)
  }

  handleCommandComplete(): void {
    this.#transaction.complete()
  }

  handleReadyForQuery(): void {
    this.#done(this.#transaction, undefined)
  }

  handleError(error: unknown): void {
    this.#done(this.#transaction, error)
  }

  handleEmptyQuery(): void {
    this.#transaction.complete()
  }

  handleRowDescription(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}

const isDatabaseMessage = (error: unknown): error is DatabaseMessage =>
  typeof error === 'object' && error !== null && 'severity' in error && 'code' in error
