import type { Step } from './coalesce.js'
import { quoted } from './names.js'
import type { SqlSession } from './session.js'

/** Commits between two looks at the length of the WAL, and the length (bytes) at which a checkpoint cuts it. */
const lookEvery = 16
const maxWal = 48 * 1024 * 1024
/** As Postgres's own autovacuum: a table is vacuumed when this many rows are dead, and this share of those that live. */
const minDead = 5_000
const deadShare = 0.2

/**
 * What the background processes of Postgres do elsewhere: PGlite has none, so without this the WAL and dead rows would grow
 * for ever. Upkeep goes through the store's connection between commits; its failures are no failures of the store, since a
 * broken connection shows itself and anything else comes around again.
 */
export class Upkeep {
  readonly #tables = new Map<string, { dead: number; due: number }>()
  #commits = 0
  #checkpoint: string | undefined
  #busy = false

  /** Tells of a commit. */
  committed(session: SqlSession, steps: readonly Step[]): void {
    for (const step of steps) this.#count(step)
    this.#commits++
    if (this.#busy || this.#commits % lookEvery !== 0) return
    this.#busy = true
    this.#work(session)
      .catch(() => {})
      .finally(() => {
        this.#busy = false
      })
  }

  #count(step: Step): void {
    const { name } = step.table
    const entry = this.#tables.get(name) ?? { dead: 0, due: minDead }
    this.#tables.set(name, entry)
    // How many rows a removeWhere or removeUnused takes is not known here: guesses on the high side.
    if (step.op === 'patch') entry.dead += step.patches.length
    else if (step.op === 'put') entry.dead += step.rows.length
    else if (step.op === 'remove' || step.op === 'removeUnused') entry.dead += step.keys.length
    else if (step.op === 'removeWhere') entry.dead += 50
  }

  async #work(session: SqlSession): Promise<void> {
    for (const [name, entry] of this.#tables) if (entry.dead >= entry.due) await vacuum(session, name, entry)
    const [[[position, length] = []] = []] = await session.transaction([
      {
        text: "SELECT pg_current_wal_lsn(), pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce($1, '0/0')::pg_lsn)::bigint",
        types: [25],
        params: [this.#checkpoint ?? null],
      },
    ])
    if (this.#checkpoint !== undefined && Number(length) < maxWal) return
    this.#checkpoint = position ?? undefined
    await session.script('VACUUM store_owner')
    await session.script('CHECKPOINT')
  }
}

const vacuum = async (session: SqlSession, name: string, entry: { dead: number; due: number }): Promise<void> => {
  entry.dead = 0
  await session.script(`VACUUM ${quoted(name)}`)
  const [[[live] = []] = []] = await session.transaction([
    {
      text: 'SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = $1::regclass',
      types: [25],
      params: [quoted(name)],
    },
  ])
  entry.due = minDead + Number(live) * deadShare
}
