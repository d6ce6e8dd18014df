/** The delivery rows that depend most on races, once more on real sockets and a real database. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Agent, type AgentEvent, openAgent } from '../../src/index.js'
import { generateCertificates, identityOf, type RouterIdentity } from '../../src/router/certificates.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import { type Router, startRouter } from '../../src/router/router.js'
import { listenTls } from '../../src/smp/transport/tls.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { asAdmin, dropSchema, newSchema, noPostgres, testDatabaseUrl } from '../store/postgres.js'
import { textOf } from '../support/agentWorld.js'

const missing = await noPostgres()

type Of<T extends AgentEvent['type']> = Extract<AgentEvent, { type: T }>

/** An agent on a schema of Postgres that can be opened again, with its events. */
class Party {
  readonly schema = newSchema()
  agent: Agent | undefined
  #events: AgentEvent[] = []
  #waiting: Array<() => void> = []
  readonly #address: string

  constructor(address: string) {
    this.#address = address
  }

  get calls(): Agent {
    if (this.agent === undefined) throw new Error('not open')
    return this.agent
  }

  async open(): Promise<void> {
    const fastRetry = { initial: 100, growAfter: 1_000, max: 1_000 }
    const config = { fastRetry, reconnect: fastRetry, failedConnectMs: 50 }
    const store = { databaseUrl: testDatabaseUrl, schema: this.schema }
    const agent = await openAgent({ store, routers: [this.#address], config })
    this.agent = agent
    this.#events = []
    void (async () => {
      for await (const event of agent.events()) {
        this.#events.push(event)
        for (const wake of this.#waiting.splice(0)) wake()
      }
    })()
    await agent.subscribe({})
  }

  async close(): Promise<void> {
    const { agent } = this
    this.agent = undefined
    await agent?.close()
  }

  /** The next event of a type that was not taken before. */
  async next<T extends AgentEvent['type']>(type: T): Promise<Of<T>> {
    for (;;) {
      const at = this.#events.findIndex(event => event.type === type)
      if (at >= 0) return this.#events.splice(at, 1)[0] as Of<T>
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  async rows(sql: string): Promise<Array<Record<string, unknown>>> {
    return (await asAdmin(sql.replaceAll('$', `"${this.schema}".`))).rows
  }
}

describe.skipIf(missing !== undefined)(
  `delivery over TLS on Postgres${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let identity: RouterIdentity
    let router: Router
    let alice: Party
    let bob: Party
    const schemas: string[] = []
    let queues = openMemoryStore()
    const messages = memoryLog()
    const start = async (port = 0): Promise<void> => {
      queues = queues.reopen()
      const listener = { listen: listenTls, host: '127.0.0.1', port }
      router = await startRouter({ identity, listeners: [listener], queues, messages, settings: { messageQuota: 4 } })
    }

    beforeEach(async () => {
      identity ??= identityOf(await generateCertificates({ host: '127.0.0.1', now: Date.now() }))
      await start()
      alice = new Party(router.address)
      bob = new Party(router.address)
      schemas.push(alice.schema, bob.schema)
      await Promise.all([alice.open(), bob.open()])
    }, 60_000)
    afterEach(async () => {
      await Promise.all([alice.close(), bob.close()])
      await router.close()
    })
    afterAll(async () => {
      for (const schema of schemas) await dropSchema(schema)
    })

    const connect = async (): Promise<[atAlice: string, atBob: string]> => {
      const { connectionId, link } = await alice.calls.createConnection({})
      const { connectionId: atBob } = await bob.calls.joinConnection({ link })
      const { confirmationId } = await alice.next('CONF')
      await alice.calls.allowConnection({ connectionId, confirmationId })
      await Promise.all([alice.next('CON'), bob.next('CON')])
      return [connectionId, atBob]
    }
    const readAtBob = async (connectionId: string, receipt?: string): Promise<string> => {
      const { messageId, body, integrity } = await bob.next('MSG')
      expect(integrity).toEqual({ result: 'ok' })
      await bob.calls.ackMessage({ connectionId, messageId, ...(receipt === undefined ? {} : { receipt }) })
      return textOf(body)
    }

    it('B40 B67 a message that waits through a restart goes out with the header and body that it was stored with', async () => {
      const [toBob, atBob] = await connect()
      const { port } = router
      await router.close()
      await alice.calls.sendMessage({ connectionId: toBob, body: 'one' })
      const stored = () => alice.rows('SELECT header, body, hash FROM $snd_messages')
      const before = await stored()
      expect(before).toMatchObject([{ header: expect.any(Buffer), body: expect.any(Buffer) }])
      await alice.close()
      await alice.open()
      expect(await stored()).toEqual(before)
      await start(port)
      expect(await readAtBob(atBob)).toBe('one')
      await alice.next('SENT')
      expect(await stored()).toMatchObject([{ header: null, body: null }])
    })

    it('B41 B45 past the quota a sender waits, and goes on at once when the other party reads', async () => {
      const [toBob, atBob] = await connect()
      const bodies = Array.from({ length: 10 }, (_, index) => `${index}`)
      for (const body of bodies) await alice.calls.sendMessage({ connectionId: toBob, body })
      expect((await alice.next('MWARN')).error.code).toBe('QUOTA')
      expect(await alice.rows("SELECT 1 FROM $deliveries WHERE warned = 'QUOTA'")).toHaveLength(1)
      const read: string[] = []
      while (read.length < bodies.length) read.push(await readAtBob(atBob))
      expect(read).toEqual(bodies)
      await alice.next('QCONT')
    })

    it('B42 AUTH: a message to a queue that its recipient has deleted fails at once', async () => {
      const [toBob, atBob] = await connect()
      await bob.calls.deleteConnection({ connectionId: atBob })
      await bob.next('DEL_CONN')
      const { messageId } = await alice.calls.sendMessage({ connectionId: toBob, body: 'one' })
      expect(await alice.next('MERR')).toMatchObject({ messageId, error: { code: 'AUTH' } })
      expect(await alice.rows('SELECT 1 FROM $deliveries')).toEqual([])
    })

    it('B38 a receipt: RCVD, and the row of the sent message goes with its acknowledgement', async () => {
      const [toBob, atBob] = await connect()
      const { messageId } = await alice.calls.sendMessage({ connectionId: toBob, body: 'one' })
      await readAtBob(atBob, 'read it')
      const event = await alice.next('RCVD')
      expect(event.receipts).toEqual([{ messageId, result: 'ok', info: Buffer.from('read it') }])
      expect(await alice.rows('SELECT receipt FROM $snd_messages')).toEqual([{ receipt: 'ok' }])
      await alice.calls.ackMessage({ connectionId: toBob, messageId: event.messageId })
      expect(await alice.rows('SELECT 1 FROM $snd_messages')).toEqual([])
    })

    it('B46 a body for many: stored once until the last has it, also over a restart; a bad connection answers for itself', async () => {
      const ends = [await connect(), await connect(), await connect()]
      const { port } = router
      await router.close()
      const items = [
        { connectionId: 'nobody', body: 'for all', ref: 'all', idempotencyKey: 'k' },
        ...ends.map(([connectionId]) => ({ connectionId, ref: 'all', idempotencyKey: 'k' })),
      ]
      const { results } = await alice.calls.sendMessages({ items })
      expect(results).toMatchObject([{ error: { code: 'CONN_NOT_FOUND' } }, ...ends.map(() => ({ messageId: 2 }))])
      const bodies = () => alice.rows('SELECT body_id FROM $snd_bodies')
      expect(await bodies()).toHaveLength(1)
      await alice.close()
      await alice.open()
      expect((await alice.calls.sendMessages({ items })).results).toEqual(results)
      expect(await bodies()).toHaveLength(1)
      await start(port)
      for (let count = 0; count < ends.length; count++) {
        const { connectionId, messageId, body } = await bob.next('MSG')
        expect(textOf(body)).toBe('for all')
        expect(ends.map(([, id]) => id)).toContain(connectionId)
        await bob.calls.ackMessage({ connectionId, messageId })
        await alice.next('SENT')
      }
      expect(await bodies()).toEqual([])
      expect(await alice.rows('SELECT 1 FROM $snd_messages WHERE body_id IS NOT NULL')).toEqual([])
    })
  },
)
