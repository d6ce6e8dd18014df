import { createHash } from 'node:crypto'
import { open, readFile, rename } from 'node:fs/promises'
import { asDuologueError, ConfigError } from '../errors.js'
import { counters } from '../store/eventLog.js'
import { type Change, put, type Store } from '../store/index.js'
import type { Logger } from './context.js'

/** Why the rows are believed to be older than what this agent has done. */
export type RestoredReason =
  /** The file beside the database is ahead of it. */
  | 'sidecar'
  /** The rows were moved to another Postgres, or Postgres was recovered to another timeline. */
  | 'systemId'
  | 'timeline'

/** How far a database has come: openings and events. It never goes back, unless a backup is restored. */
interface Position {
  readonly epoch: number
  readonly cursor: number
}

/**
 * Finds out whether the database is a restored backup (B85): its ratchets are old, and with them nothing that is sent could be read. A file
 * outside the database (the sidecar) holds how far it had come; a Postgres has an identity too. Without either, the first
 * message that does not decrypt is the first evidence.
 */
export class BackupWatch {
  readonly #path: string | undefined
  readonly #epoch: number
  readonly #log: Logger
  #written = -1

  constructor(path: string | undefined, epoch: number, log: Logger) {
    this.#path = path
    this.#epoch = epoch
    this.#log = log
  }

  /**
   * Compares the database with what is known of it, and writes nothing: the changes note its identity for the next time. Throws ConfigError
   * `CONFIG_SIDECAR` for a file that cannot be read or is none of this kind.
   */
  async check(store: Store, cursor: number): Promise<{ reason: RestoredReason | undefined; changes: Change[] }> {
    const [before, identity] = await Promise.all([this.#read(), this.#identity(store)])
    // Opening has raised the epoch by one.
    const now = { epoch: this.#epoch - 1, cursor }
    // A database that is opened for the first time is a new one, whatever was there before.
    const isOld = now.epoch > 0 && before !== undefined && isBehind(now, before)
    const reason = isOld ? 'sidecar' : identity.reason
    return { reason, changes: identity.changes }
  }

  /** Writes down how far the database has come. A failure is logged: the file is then behind, which tells less but nothing wrong. */
  async note(cursor: number): Promise<void> {
    if (this.#path === undefined || cursor === this.#written) return
    const text = JSON.stringify({ epoch: this.#epoch, cursor } satisfies Position)
    try {
      const file = await open(`${this.#path}.new`, 'w', 0o600)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(`${this.#path}.new`, this.#path)
      this.#written = cursor
    } catch (error) {
      this.#log.warn({ file: this.#path, code: asDuologueError(error).code }, 'the sidecar could not be written')
    }
  }

  async #read(): Promise<Position | undefined> {
    if (this.#path === undefined) return undefined
    try {
      const { epoch, cursor } = JSON.parse(await readFile(this.#path, 'utf8')) as Partial<Position>
      if (Number.isSafeInteger(epoch) && Number.isSafeInteger(cursor)) {
        return { epoch: epoch as number, cursor: cursor as number }
      }
      throw new Error('not a position')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new ConfigError('CONFIG_SIDECAR', 'the file that tells how far the database has come cannot be read', {
        field: this.#path,
        hint: 'name another file, or remove it: then a restored backup is not noticed at this start',
        cause,
      })
    }
  }

  async #identity(store: Store): Promise<{ reason: RestoredReason | undefined; changes: Change[] }> {
    const identity = await store.identity?.()
    if (identity === undefined) return { reason: undefined, changes: [] }
    const rows = await store.find(counters, { where: { name: { in: [systemIdCounter, timelineCounter] } } })
    const known = new Map(rows.map(({ name, value }) => [name, value]))
    const systemId = numberOf(identity.systemId)
    const { timeline } = identity
    const differs = (name: string, value: number): boolean => known.has(name) && known.get(name) !== value
    const reason = differs(systemIdCounter, systemId)
      ? 'systemId'
      : differs(timelineCounter, timeline)
        ? 'timeline'
        : undefined
    return {
      reason,
      changes: [
        put(counters, { name: systemIdCounter, value: systemId }),
        put(counters, { name: timelineCounter, value: timeline }),
      ],
    }
  }
}

const systemIdCounter = 'postgresSystemId'
const timelineCounter = 'postgresTimeline'

const isBehind = (now: Position, before: Position): boolean =>
  now.epoch < before.epoch || (now.epoch === before.epoch && now.cursor < before.cursor)

// A system identifier has 64 bits, a counter 53.
const numberOf = (systemId: string): number => createHash('sha256').update(systemId).digest().readUIntBE(0, 6)
