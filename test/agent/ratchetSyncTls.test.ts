/** Ratchet synchronisation where the agent lives: Postgres, TLS, the KEM in its own thread, under a running exchange. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noPostgres } from '../store/postgres.js'
import { textOf } from '../support/agentWorld.js'
import { type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'

const skipped = await noPostgres()

describe.skipIf(skipped !== undefined)('ratchet synchronisation on Postgres and TLS', { timeout: 120_000 }, () => {
  let world: TlsWorld
  let alice: TlsAgent
  let bob: TlsAgent
  let ids: { initiatorId: string; joinerId: string }
  beforeEach(async () => {
    world = await tlsWorld()
    alice = await world.startAgent()
    bob = await world.startAgent()
    ids = await world.connect(alice, bob)
  })
  afterEach(() => world.close())

  const idOf = (side: TlsAgent): string => (side.schema === alice.schema ? ids.initiatorId : ids.joinerId)
  const restart = async (side: TlsAgent): Promise<void> => {
    const started = await side.restart()
    await started.agent.subscribe({})
    if (side === alice) alice = started
    else bob = started
  }
  /** The next RSYNC that tells of an end. */
  const synchronized = async (side: TlsAgent): Promise<void> => {
    while ((await side.next('RSYNC', idOf(side))).state !== 'ok');
  }
  const say = (side: TlsAgent, body: string) => side.agent.sendMessage({ connectionId: idOf(side), body })
  const hear = async (side: TlsAgent): Promise<string> => {
    const { connectionId, messageId, body, integrity } = await side.next('MSG', idOf(side))
    await side.agent.ackMessage({ connectionId, messageId })
    expect(integrity).toEqual({ result: 'ok' })
    return textOf(body)
  }

  it('B80 B81 B83 started by either side, with messages before and after: nothing is lost or out of order', async () => {
    for (const [round, starters] of [[alice], [bob]].entries()) {
      await Promise.all([say(alice, `a${round}`), say(bob, `b${round}`)])
      await Promise.all(starters.map(side => side.agent.synchronizeRatchet({ connectionId: idOf(side), force: true })))
      // The keys come behind the messages.
      expect(await Promise.all([hear(alice), hear(bob)])).toEqual([`b${round}`, `a${round}`])
      await Promise.all([synchronized(alice), synchronized(bob)])
      await Promise.all([say(alice, `A${round}`), say(bob, `B${round}`)])
      expect(await Promise.all([hear(alice), hear(bob)])).toEqual([`B${round}`, `A${round}`])
    }
    for (const side of [alice, bob]) expect(side.events.filter(({ type }) => type === 'ERR')).toEqual([])
  })

  it('B80 B82 B85 either side restarted and the router stopped in the middle: it goes on with the same keys', async () => {
    await world.stopRouter()
    await alice.agent.synchronizeRatchet({ connectionId: ids.initiatorId, force: true })
    await expect(say(alice, 'not now')).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    await restart(alice)
    await restart(bob)
    await world.startRouter()
    await Promise.all([synchronized(alice), synchronized(bob)])
    await restart(bob)
    await Promise.all([say(alice, 'to bob'), say(bob, 'to alice')])
    expect([await hear(bob), await hear(alice)]).toEqual(['to bob', 'to alice'])
  })
})
