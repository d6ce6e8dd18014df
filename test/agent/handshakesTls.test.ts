/** Each handshake again where the agent lives: Postgres, TLS, the system's clock, with restarts in between. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noPostgres } from '../store/postgres.js'
import { textOf } from '../support/agentWorld.js'
import { handshakeKinds, legacyLink } from '../support/legacyLink.js'
import { resumed, type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'

const skipped = await noPostgres()

describe.skipIf(skipped !== undefined)('handshakes on Postgres and TLS', { timeout: 60_000 }, () => {
  let world: TlsWorld
  let alice: TlsAgent
  let bob: TlsAgent
  beforeEach(async () => {
    world = await tlsWorld()
    alice = await world.startAgent()
    bob = await world.startAgent()
  })
  afterEach(() => world.close())

  /** What the log holds of handshakes: nothing was acknowledged, so each start tells all of it. */
  const told = ({ events }: TlsAgent): string[] =>
    events.map(({ type }) => type).filter(type => ['REQ', 'CONF', 'INFO', 'CON', 'ERR', 'MERR'].includes(type))

  const converse = async (aliceId: string, bobId: string, first: number): Promise<void> => {
    expect(await alice.agent.sendMessage({ connectionId: aliceId, body: 'hi bob' })).toMatchObject({ messageId: first })
    const atBob = await bob.next('MSG', bobId)
    expect([textOf(atBob.body), atBob.integrity]).toEqual(['hi bob', { result: 'ok' }])
    expect(await bob.agent.sendMessage({ connectionId: bobId, body: 'hi alice' })).toMatchObject({
      messageId: first + 1,
    })
    const atAlice = await alice.next('MSG', aliceId)
    expect([textOf(atAlice.body), atAlice.integrity]).toEqual(['hi alice', { result: 'ok' }])
  }

  it.each(handshakeKinds)(
    'B11 B12 B15 invitation queue legacy: $invitation, reply queue legacy: $reply',
    async kind => {
      const { connectionId: aliceId, link } = await alice.agent.createConnection({})
      alice = await resumed(alice)
      const { connectionId: bobId } = await bob.agent.joinConnection({ link: legacyLink(link, kind), info: 'bob' })
      bob = await resumed(bob)
      const { confirmationId } = await alice.next('CONF', aliceId)
      await alice.agent.allowConnection({ connectionId: aliceId, confirmationId, info: 'alice' })
      alice = await resumed(alice)
      bob = await resumed(bob)
      await Promise.all([alice.next('CON', aliceId), bob.next('CON', bobId)])
      await converse(aliceId, bobId, kind.reply ? 4 : 2)
      expect(told(alice)).toEqual(['CONF', 'CON'])
      expect(told(bob)).toEqual(['INFO', 'CON'])
    },
  )

  it('B16 B18 a contact address, with the router away when it is accepted', async () => {
    const { link } = await alice.agent.createConnection({ mode: 'contact' })
    const { connectionId: bobId } = await bob.agent.prepareConnectionToJoin({ link })
    await bob.agent.joinConnection({ connectionId: bobId, link, info: 'bob' })
    bob = await resumed(bob)
    const { invitationId, pqSupport } = await alice.next('REQ')
    expect(pqSupport).toBe(true)
    await world.stopRouter()
    const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId, info: 'alice' })
    await expect(alice.agent.acceptContact({ invitationId })).rejects.toMatchObject({ code: 'INVITATION_ACCEPTED' })
    alice = await alice.restart()
    await world.startRouter()
    await alice.agent.subscribe({})
    const { confirmationId } = await bob.next('CONF', bobId)
    await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
    await Promise.all([alice.next('CON', aliceId), bob.next('CON', bobId)])
    await converse(aliceId, bobId, 2)
    expect(told(alice).filter(type => type !== 'ERR')).toEqual(['REQ', 'INFO', 'CON'])
    expect(told(bob)).toEqual(['CONF', 'CON'])
  })
})
