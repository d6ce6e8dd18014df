/** Each handshake over TLS, through the bundled router, with the rows in Postgres, and with restarts in between. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Agent, type AgentEvent, openAgent, openRouter } from '../../src/index.js'
import { handshakeKinds, legacyLink } from '../support/legacyLink.js'
import { dropSchema, newSchema, noPostgres, testDatabaseUrl } from '../store/postgres.js'

const missing = await noPostgres()
type Router = Awaited<ReturnType<typeof openRouter>>

/** An agent on its own schema that can be closed and opened again. */
class Party {
  agent!: Agent
  readonly told: string[] = []
  readonly schema = newSchema()
  readonly #router: Router
  #cursor = 0

  constructor(router: Router) {
    this.#router = router
  }

  async open(): Promise<this> {
    await this.agent?.close()
    const store = { databaseUrl: testDatabaseUrl, schema: this.schema }
    this.agent = await openAgent({ store, routers: [this.#router.address] })
    await this.agent.registerConsumer({})
    await this.agent.subscribe({})
    return this
  }

  /** The next event of a type; the others before it are passed over. */
  async next<T extends AgentEvent['type']>(type: T): Promise<Extract<AgentEvent, { type: T }>> {
    for (;;) {
      const { events } = await this.agent.readEvents({ after: this.#cursor, waitMs: 10_000 })
      const [event] = events as AgentEvent[]
      if (event === undefined) throw new Error(`no ${type}; told: ${this.told.join()}`)
      this.#cursor = event.cursor
      if (!['UP', 'DOWN', 'SENT'].includes(event.type)) this.told.push(event.type)
      if (event.type === type) return event as never
    }
  }
}

describe.skipIf(missing !== undefined)(
  `handshakes on Postgres and TLS${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  { timeout: 60_000 },
  () => {
    let directory: string
    let router: Router
    let alice: Party
    let bob: Party
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'duologue-handshakes-'))
      router = await openRouter({ directory, host: 'localhost', port: 0 })
      alice = await new Party(router).open()
      bob = await new Party(router).open()
    })
    afterAll(async () => {
      for (const party of [alice, bob]) {
        await party?.agent.close()
        if (party !== undefined) await dropSchema(party.schema)
      }
      await router?.close()
      await rm(directory, { recursive: true, force: true })
    })

    const converse = async (aliceId: string, bobId: string, first: number): Promise<void> => {
      expect(await alice.agent.sendMessage({ connectionId: aliceId, body: 'hi bob' })).toEqual({ messageId: first })
      const atBob = await bob.next('MSG')
      expect([Buffer.from(atBob.body).toString(), atBob.integrity]).toEqual(['hi bob', { result: 'ok' }])
      await bob.agent.ackMessage({ connectionId: bobId, messageId: atBob.messageId })
      await bob.agent.sendMessage({ connectionId: bobId, body: 'hi alice' })
      const atAlice = await alice.next('MSG')
      expect([Buffer.from(atAlice.body).toString(), atAlice.integrity]).toEqual(['hi alice', { result: 'ok' }])
      await alice.agent.ackMessage({ connectionId: aliceId, messageId: atAlice.messageId })
    }

    it.each(handshakeKinds)(
      'B11 B12 B15 invitation queue legacy: $invitation, reply queue legacy: $reply',
      async kind => {
        for (const party of [alice, bob]) party.told.length = 0
        const { connectionId: aliceId, link } = await alice.agent.createConnection({})
        await alice.open()
        const { connectionId: bobId } = await bob.agent.joinConnection({ link: legacyLink(link, kind), info: 'bob' })
        await bob.open()
        const { confirmationId } = await alice.next('CONF')
        await alice.agent.allowConnection({ connectionId: aliceId, confirmationId, info: 'alice' })
        await alice.open()
        await alice.next('CON')
        await bob.next('CON')
        expect(alice.told).toEqual(['CONF', 'CON'])
        expect(bob.told).toEqual(['INFO', 'CON'])
        await converse(aliceId, bobId, kind.reply ? 4 : 2)
      },
    )

    it('B16 B18 a contact address', async () => {
      for (const party of [alice, bob]) party.told.length = 0
      const { link } = await alice.agent.createConnection({ mode: 'contact' })
      const { connectionId: bobId } = await bob.agent.prepareConnectionToJoin({ link })
      await bob.agent.joinConnection({ connectionId: bobId, link, info: 'bob' })
      await bob.open()
      const { invitationId, pqSupport } = await alice.next('REQ')
      expect(pqSupport).toBe(true)
      await alice.open()
      const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
      await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({ code: 'INVITATION_ACCEPTED' })
      await alice.open()
      const { confirmationId } = await bob.next('CONF')
      await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
      await bob.next('CON')
      await alice.next('CON')
      expect(alice.told).toEqual(['REQ', 'INFO', 'CON'])
      expect(bob.told).toEqual(['CONF', 'CON'])
      await converse(aliceId, bobId, 2)
    })
  },
)
