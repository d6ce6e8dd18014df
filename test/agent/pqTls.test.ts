/** Post-quantum connections where the agent lives: Postgres, TLS, the KEM in its own thread, with restarts in between. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { maxMessageLengthOf } from '../../src/agent/limits.js'
import { noPostgres } from '../store/postgres.js'
import { resumed, type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'

const skipped = await noPostgres()

describe.skipIf(skipped !== undefined)('post-quantum on Postgres and TLS', { timeout: 60_000 }, () => {
  let world: TlsWorld
  let alice: TlsAgent
  let bob: TlsAgent
  beforeEach(async () => {
    world = await tlsWorld()
    alice = await world.startAgent()
    bob = await world.startAgent()
  })
  afterEach(() => world.close())

  const limit = maxMessageLengthOf({ agentVersion: 7, pqSupport: true })
  const converse = async (aliceId: string, bobId: string, pq?: boolean): Promise<boolean[]> => {
    const flags: boolean[] = []
    for (const isAlice of [true, false, true, false]) {
      const [from, fromId, to, toId] = isAlice ? [alice, aliceId, bob, bobId] : [bob, bobId, alice, aliceId]
      const body = randomBytes(limit)
      const wish = pq === undefined ? {} : { pq }
      const { pqEncryption } = await from.agent.sendMessage({ connectionId: fromId, body, ...wish })
      const message = await to.next('MSG', toId)
      expect([Buffer.compare(message.body, body), message.integrity]).toEqual([0, { result: 'ok' }])
      expect(message.pqEncryption).toBe(pqEncryption)
      await to.agent.ackMessage({ connectionId: toId, messageId: message.messageId })
      flags.push(pqEncryption)
    }
    return flags
  }

  it('B15 B19 a handshake with a KEM key in the link, and a conversation, with restarts at every step', async () => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({ pq: 'invitation' })
    alice = await resumed(alice)
    const { connectionId: bobId } = await bob.agent.joinConnection({ link })
    bob = await resumed(bob)
    const { confirmationId, pqSupport } = await alice.next('CONF', aliceId)
    expect(pqSupport).toBe(true)
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    alice = await resumed(alice)
    expect((await alice.next('CON', aliceId)).pqEncryption).toBe(true)
    expect((await bob.next('CON', bobId)).pqEncryption).toBe(true)
    expect(await converse(aliceId, bobId)).toEqual([true, true, true, true])
    bob = await resumed(bob)
    expect(await converse(aliceId, bobId)).toEqual([true, true, true, true])
  })

  it('B18 B19 by a contact address; disabled and enabled again', async () => {
    const { link } = await alice.agent.createConnection({ mode: 'contact' })
    const { connectionId: bobId } = await bob.agent.joinConnection({ link, info: 'bob' })
    const { invitationId } = await alice.next('REQ')
    const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId })
    const { confirmationId } = await bob.next('CONF', bobId)
    await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
    expect((await alice.next('CON', aliceId)).pqEncryption).toBe(true)
    expect((await bob.next('CON', bobId)).pqEncryption).toBe(true)
    expect(await converse(aliceId, bobId)).toEqual([true, true, true, true])
    expect((await converse(aliceId, bobId, false)).slice(-2)).toEqual([false, false])
    await converse(aliceId, bobId, true)
    expect(await converse(aliceId, bobId, true)).toEqual([true, true, true, true])
  })
})
