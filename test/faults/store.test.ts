/**
 * Agents whose database fails while they talk: a Postgres of the test’s own behind a fault proxy. What must hold: a call that is answered
 * OK is durable and done once, one that is refused says so with its code and may be repeated, and the talk goes on by itself.
 */
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { fileURLToPath } from 'node:url'
import { insert } from '../../src/store/index.js'
import { openStore } from '../../src/store/open.js'
import { type FaultProxy, startFaultProxy } from '../../src/testing/index.js'
import { urlBehind } from '../store/postgres.js'
import { pairs } from '../store/tables.js'
import { type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'
import { Exchange, kept } from './exchange.js'
import { pause } from './killer.js'
import { type PrivatePostgres, startPostgres } from './privatePostgres.js'
import { report } from './report.js'

let postgres: PrivatePostgres
let world: TlsWorld
let proxy: FaultProxy
let alice: TlsAgent
let bob: TlsAgent
let ids: { initiatorId: string; joinerId: string }
beforeAll(async () => {
  postgres = await startPostgres({ max_connections: '20', superuser_reserved_connections: '0' })
  proxy = await startFaultProxy({ port: postgres.port })
  world = await tlsWorld({ databaseUrl: urlBehind(proxy, postgres.url) })
  alice = await world.startAgent()
  bob = await world.startAgent()
  ids = await world.connect(alice, bob)
})
afterAll(async () => {
  await world?.close()
  await proxy?.close()
  await postgres?.remove()
})

afterEach(() => {
  proxy.set({ type: 'pass' })
  proxy.refuse(false)
})

interface StoreFault {
  readonly name: string
  /** Begins it and ends it again. */
  readonly happen: (exchange: Exchange) => Promise<void>
  /** What calls may be refused with, and are where it lasts: they are repeated. */
  readonly codes: readonly string[]
}

const faults: readonly StoreFault[] = [
  {
    name: 'kill -9 of Postgres, which is started again at once',
    happen: async () => {
      await postgres.kill()
      await postgres.start()
    },
    // A commit waits for Postgres; a read whose new connection is refused does not.
    codes: ['STORE_UNAVAILABLE'],
  },
  {
    name: 'kill -9 of Postgres, away until calls are refused',
    happen: async exchange => {
      await postgres.kill()
      await exchange.until('calls are refused', () => exchange.refused.length > 0)
      await postgres.start()
    },
    codes: ['STORE_UNAVAILABLE'],
  },
  {
    name: 'Postgres is blackholed for a second',
    happen: async () => {
      proxy.set({ type: 'blackhole' })
      await pause(1_000)
    },
    codes: [],
  },
  {
    name: 'Postgres stalls in the middle of an answer',
    happen: async () => {
      proxy.set({ type: 'stall', after: 1_003 }, 'toClient')
      await pause(1_000)
    },
    codes: [],
  },
  {
    name: 'Postgres has no connection left when the agents need new ones',
    happen: async exchange => {
      proxy.refuse(true)
      proxy.break('reset')
      const taken = await takeAllConnections()
      proxy.refuse(false)
      await exchange.until('calls are refused', () => exchange.refused.length > 0)
      for (const client of taken) await client.end()
    },
    codes: ['STORE_UNAVAILABLE'],
  },
  {
    name: 'the disk of Postgres is full (its error, raised by a trigger)',
    happen: async exchange => {
      const full = (schema: string, table: string) =>
        `CREATE TRIGGER full_disk BEFORE INSERT ON "${schema}"."${table}" EXECUTE FUNCTION public.full_disk()`
      await postgres.sql(`CREATE OR REPLACE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$`)
      const places = [alice, bob].flatMap(({ schema }) =>
        ['snd_messages', 'events'].map(table => [schema, table] as const),
      )
      for (const [schema, table] of places) await postgres.sql(full(schema, table))
      await exchange.until('calls are refused', () => exchange.refused.length > 0)
      await pause(300)
      for (const [schema, table] of places) await postgres.sql(`DROP TRIGGER full_disk ON "${schema}"."${table}"`)
    },
    codes: ['STORE_FULL'],
  },
]

/** Every connection that the server has. */
const takeAllConnections = async (): Promise<Client[]> => {
  const taken: Client[] = []
  for (;;) {
    const client = new Client({ connectionString: postgres.url })
    client.on('error', () => {})
    try {
      await client.connect()
      taken.push(client)
    } catch (error) {
      expect(error).toMatchObject({ code: '53300' })
      return taken
    }
  }
}

describe('a database that fails while two agents talk', { timeout: 180_000 }, () => {
  it.each(faults.map(fault => [fault.name, fault] as const))('B32 B34 %s', async (name, { happen, codes }) => {
    const exchange = new Exchange([alice, bob], [ids.initiatorId, ids.joinerId])
    await exchange.moved()
    await happen(exchange)
    proxy.set({ type: 'pass' })
    const recovered = await exchange.moved()
    const [ofAlice, ofBob] = await exchange.finish()
    expect(ofAlice).toEqual(kept(ofAlice.sent))
    expect(ofBob).toEqual(kept(ofBob.sent))
    expect(codes).toEqual(expect.arrayContaining(exchange.refused))
    report(name, {
      recovered,
      messages: ofAlice.sent + ofBob.sent,
      told: exchange.refused.join(', ') || 'nothing',
    })
  })
})

describe('a connection to the database that is dead and does not know', () => {
  const migrations = fileURLToPath(new URL('../store/migrations', import.meta.url))
  const deadlineMs = 45_000
  let own: FaultProxy
  beforeEach(async () => {
    own = await startFaultProxy({ port: postgres.port })
  })
  afterEach(async () => {
    vi.useRealTimers()
    await own.close()
  })

  it.each([
    ['before it has arrived', 'toServer'],
    ['after it has arrived', 'toClient'],
  ] as const)('B32 half-open, %s: given up after 45 s, and the commit is made once', async (_when, lost) => {
    const schema = `half_open_${lost.toLowerCase()}`
    const store = await openStore({ databaseUrl: urlBehind(own, postgres.url), schema, scope: 'agent', migrations })
    const rows = async () =>
      (await postgres.sql(`SELECT "left" FROM "${schema}".pairs ORDER BY 1`)).map(({ left }) => Number(left))
    await store.commit([insert(pairs, { left: 1, right: 'x' })])
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    own.set({ type: 'blackhole' }, lost)
    const committed = store.commit([insert(pairs, { left: 2, right: 'x' })])
    const made = lost === 'toClient' ? 2 : 1
    let answered = false
    const answer = committed.finally(() => {
      answered = true
    })
    // It has left the process, and where the answer is what is lost it has been made.
    await turns(async () => (await rows()).length === made)
    own.halfOpen('client')
    own.set({ type: 'pass' })
    vi.advanceTimersByTime(deadlineMs - 1)
    await turns(async () => (await rows()).length === made)
    expect(answered).toBe(false)
    vi.advanceTimersByTime(1)
    vi.useRealTimers()
    await answer
    expect(await rows()).toEqual([1, 2])
    await store.commit([insert(pairs, { left: 3, right: 'x' })])
    expect(await rows()).toEqual([1, 2, 3])
    await store.close()
  })
})

/** Waits without the timers, which are the test’s. */
const turns = async (holds: () => Promise<boolean>): Promise<void> => {
  while (!(await holds())) await new Promise(resolve => setImmediate(resolve))
}
