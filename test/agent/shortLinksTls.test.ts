/** Short links where the agent lives: Postgres, TLS, the KEM in its own thread, with restarts in between. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noPostgres } from '../store/postgres.js'
import { textOf } from '../support/agentWorld.js'
import { resumed, type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'

const skipped = await noPostgres()

describe.skipIf(skipped !== undefined)('short links on Postgres and TLS', { timeout: 60_000 }, () => {
  let world: TlsWorld
  let alice: TlsAgent
  let bob: TlsAgent
  beforeEach(async () => {
    world = await tlsWorld()
    alice = await world.startAgent()
    bob = await world.startAgent()
  })
  afterEach(() => world.close())

  it('B10 B15 an invitation: set, read, restarted and joined by; post-quantum from the first message on', async () => {
    const { connectionId: aliceId, shortLink } = await alice.agent.createConnection({ linkData: { userData: 'first' } })
    if (shortLink === undefined) throw new Error('no short link')
    alice = await resumed(alice)
    await alice.agent.setShortLink({ connectionId: aliceId, linkData: { userData: 'Alice' } })
    expect(textOf((await bob.agent.getShortLink({ link: shortLink })).userData)).toBe('Alice')
    bob = await resumed(bob)
    const { connectionId: bobId } = await bob.agent.joinConnection({ link: shortLink, info: 'bob' })
    const { confirmationId } = await alice.next('CONF', aliceId)
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    expect((await alice.next('CON', aliceId)).pqEncryption).toBe(true)
    expect((await bob.next('CON', bobId)).pqEncryption).toBe(true)
    await bob.agent.sendMessage({ connectionId: bobId, body: 'hello' })
    expect(textOf((await alice.next('MSG', aliceId)).body)).toBe('hello')
    await expect(bob.agent.getShortLink({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
  })

  it('B10 a prepared link: published, restarted, created, changed, joined by and deleted', async () => {
    const { connectionId, shortLink } = await alice.agent.prepareConnectionLink({ entityId: 'club' })
    alice = await resumed(alice)
    await alice.agent.createConnectionForLink({ connectionId, linkData: { userData: 'the club' } })
    const { connectionId: bobId } = await bob.agent.joinConnection({ link: shortLink, info: 'bob' })
    const { invitationId } = await alice.next('REQ', connectionId)
    const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId })
    const { confirmationId } = await bob.next('CONF', bobId)
    await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
    await Promise.all([alice.next('CON', aliceId), bob.next('CON', bobId)])
    await alice.agent.setShortLinkAsync({ connectionId, linkData: { userData: 'closed' }, correlationId: 'set' })
    expect((await alice.next('OK')).result).toEqual({ shortLink })
    await bob.agent.getShortLinkAsync({ link: shortLink, correlationId: 'get' })
    expect((await bob.next('OK')).result).toMatchObject({
      userData: { base64: Buffer.from('closed').toString('base64') },
      entityId: { base64: Buffer.from('club').toString('base64') },
    })
    await alice.agent.deleteShortLink({ connectionId })
    await expect(bob.agent.getShortLink({ link: shortLink })).rejects.toMatchObject({ code: 'AUTH' })
    const unused = await alice.agent.prepareConnectionLink({})
    for (const gone of [unused.connectionId, connectionId]) {
      await alice.agent.deleteConnection({ connectionId: gone })
      await alice.next('DEL_CONN', gone)
      await expect(alice.agent.setShortLink({ connectionId: gone, linkData: { userData: '' } })).rejects.toMatchObject({
        code: 'CONN_NOT_FOUND',
      })
    }
  })
})
