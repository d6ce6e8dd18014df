/** Versions of the agent protocol and of SMP clients in handshakes: what is accepted (B17), and how the agreed one moves (B20). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentConfig } from '../../src/index.js'
import { connections, rcvQueues } from '../../src/store/agent/connections.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { barePeer } from '../support/barePeer.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

const only = (version: number) => ({ min: version, max: version })
const start = (name: string, config: Partial<AgentConfig> = {}): Promise<TestAgent> => world.start(name, { config })
const restart = (agent: TestAgent, config: Partial<AgentConfig>): Promise<TestAgent> =>
  world.start(agent.name, { store: { open: agent.crash() }, config })
const agreed = async ({ store }: TestAgent): Promise<number | undefined> =>
  (await store.find(connections, {}))[0]?.agentVersion

describe('B17 confirmations of downgraded parties', () => {
  it.each([
    [7, 7],
    [6, 6],
    [5, 5],
    [2, 2],
  ])(
    'B17 ★ a joiner that confirms with version %i, in range or below what was offered, can finish',
    async (version, expected) => {
      const alice = await start('alice')
      const { peer, connectionId, confirmationId } = await world.invite(alice, { agentVersion: version })
      expect(await agreed(alice)).toBe(expected)
      await alice.agent.allowConnection({ connectionId, confirmationId })
      await alice.next('CON', connectionId)
      await peer.say('hi')
      expect(textOf((await alice.next('MSG')).body)).toBe('hi')
    },
  )

  it('B17 a joiner that confirms with a version which was never offered is refused, and the invitation stays good', async () => {
    const alice = await start('alice')
    const { connectionId, link } = await alice.agent.createConnection({})
    const peer = await barePeer({ ...world, router: world.router.address, link, agentVersion: 8 })
    await peer.join()
    expect((await alice.next('ERR', connectionId)).error).toMatchObject({ code: 'AGENT_VERSION', field: connectionId })
    expect((await alice.store.find(connections, {}))[0]).toMatchObject({ status: 'rcv', agentVersion: 7 })
    peer.close()
  })

  it.each([undefined, only(7)])(
    'B17 ★ a joiner that confirms with a version above what was offered, in range since the initiator was updated, can finish: range now %o',
    async agentVersions => {
      let alice = await start('alice', { agentVersions: only(6) })
      const { connectionId, link } = await alice.agent.createConnection({})
      alice = await restart(alice, agentVersions === undefined ? {} : { agentVersions })
      await alice.agent.subscribe({})
      const peer = await barePeer({ ...world, router: world.router.address, link, agentVersion: 7 })
      await peer.join()
      const { confirmationId } = await alice.next('CONF', connectionId)
      expect(await agreed(alice)).toBe(7)
      await alice.agent.allowConnection({ connectionId, confirmationId })
      await alice.next('CON', connectionId)
      peer.close()
    },
  )

  it('B17 ★ a version above what was offered, which the updated initiator does not speak any more, is refused', async () => {
    let alice = await start('alice', { agentVersions: only(5) })
    const { connectionId, link } = await alice.agent.createConnection({})
    alice = await restart(alice, { agentVersions: only(7) })
    await alice.agent.subscribe({})
    const peer = await barePeer({ ...world, router: world.router.address, link, agentVersion: 6 })
    await peer.join()
    expect((await alice.next('ERR', connectionId)).error).toMatchObject({ code: 'AGENT_VERSION', field: connectionId })
    expect(alice.events.map(({ type }) => type)).not.toContain('CONF')
    peer.close()
  })

  it('B17 ★ an initiator that was downgraded after it had offered version 7 still takes the confirmation', async () => {
    let alice = await start('alice')
    const bob = await start('bob')
    const { connectionId, link } = await alice.agent.createConnection({})
    const rows = alice
    for (const open of world.network.links({ from: 'alice' })) open.cut()
    alice = await restart(rows, { agentVersions: only(6) })
    await bob.agent.joinConnection({ link })
    await alice.agent.subscribe({})
    const { confirmationId } = await alice.next('CONF', connectionId)
    expect(await agreed(alice)).toBe(6)
    await alice.agent.allowConnection({ connectionId, confirmationId })
    await alice.next('CON', connectionId)
    await bob.next('CON')
  })

  it('B17 ★ a joiner that was downgraded after it had joined with version 7 still takes the confirmation', async () => {
    const alice = await start('alice')
    let bob = await start('bob')
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const { connectionId } = await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    bob = await restart(bob, { agentVersions: only(6) })
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    await bob.agent.subscribe({})
    await bob.next('CON', connectionId)
    await alice.next('CON', aliceId)
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'hi' })
    expect(textOf((await bob.next('MSG')).body)).toBe('hi')
  })

  it('B17 ★ the same for versions of SMP clients: at most the one of the queue, also when that is out of range now', async () => {
    let alice = await start('alice')
    const { connectionId, link } = await alice.agent.createConnection({})
    alice = await restart(alice, { clientVersions: { min: 1, max: 2 } })
    await alice.agent.subscribe({})
    const peer = await barePeer({ ...world, router: world.router.address, link })
    await peer.join()
    const { confirmationId } = await alice.next('CONF', connectionId)
    expect(confirmationId).not.toBe('')
    peer.close()
  })

  it('B17 ★ a client version above the one of the queue, in range since an update, is taken, and the queue keeps its own', async () => {
    let alice = await start('alice', { clientVersions: { min: 1, max: 3 } })
    const { connectionId, link } = await alice.agent.createConnection({})
    alice = await restart(alice, {})
    await alice.agent.subscribe({})
    const peer = await barePeer({ ...world, router: world.router.address, link })
    await peer.join()
    await alice.next('CONF', connectionId)
    expect(await alice.store.find(rcvQueues, {})).toMatchObject([{ clientVersion: 3 }])
    peer.close()
  })

  it('B17 a client version that was never offered is refused', async () => {
    const alice = await start('alice', { clientVersions: { min: 1, max: 3 } })
    const { connectionId, link } = await alice.agent.createConnection({})
    const peer = await barePeer({ ...world, router: world.router.address, link })
    await peer.join()
    expect((await alice.next('ERR', connectionId)).error.code).toBe('AGENT_VERSION')
    expect(alice.events.map(({ type }) => type)).toEqual(['ERR'])
    peer.close()
  })

  it('B17 a reply queue of a client version that this agent does not speak: allowConnection is refused, nothing is stored', async () => {
    let alice = await start('alice')
    const { connectionId, confirmationId } = await world.invite(alice)
    alice = await restart(alice, { clientVersions: { min: 1, max: 3 } })
    await expect(alice.agent.allowConnection({ connectionId, confirmationId })).rejects.toMatchObject({
      code: 'AGENT_VERSION',
      field: 'confirmationId',
    })
    expect((await alice.store.find(connections, {}))[0]?.status).toBe('confirmed')
  })

  it.each([2, 4])(
    'B17 a confirmation of another ratchet version than %d, the only one here, is refused',
    async version => {
      const alice = await start('alice', { e2eVersions: only(version) })
      const { connectionId, link } = await alice.agent.createConnection({})
      const peer = await barePeer({ ...world, router: world.router.address, link })
      await peer.join()
      expect((await alice.next('ERR', connectionId)).error.code).toBe('AGENT_VERSION')
      peer.close()
    },
  )
})

describe('B20 the agreed version', () => {
  const connect = async (alice: TestAgent, bob: TestAgent) => {
    const { connectionId: aliceId, link } = await alice.agent.createConnection({})
    const { connectionId: bobId } = await bob.agent.joinConnection({ link })
    const { confirmationId } = await alice.next('CONF', aliceId)
    const early = await bob.agent.sendMessage({ connectionId: bobId, body: 'early' }).then(
      () => true,
      () => false,
    )
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    await alice.next('CON', aliceId)
    await bob.next('CON', bobId)
    return { aliceId, bobId, early }
  }

  it.each([
    [7, 7, 7, true],
    [6, 7, 6, false],
    [7, 6, 6, false],
    [6, 6, 6, false],
  ])(
    'B20 initiator up to %i, joiner up to %i: both agree on %i; messages before the connection is allowed: %s',
    async (a, b, version, early) => {
      // An initiator of version 6 makes its ratchet when it allows, so nothing may be sent to it before (B13).
      const alice = await start('alice', { agentVersions: { min: 6, max: a } })
      const bob = await start('bob', { agentVersions: { min: 6, max: b } })
      const connected = await connect(alice, bob)
      expect(connected.early).toBe(early)
      expect([await agreed(alice), await agreed(bob)]).toEqual([version, version])
    },
  )

  it('B20 ★ it rises on both sides after an update, with the first message of the other party, and never falls', async () => {
    let alice = await start('alice', { agentVersions: only(6) })
    let bob = await start('bob', { agentVersions: only(6) })
    const { aliceId, bobId } = await connect(alice, bob)
    alice = await restart(alice, {})
    bob = await restart(bob, {})
    await alice.agent.subscribe({})
    await bob.agent.subscribe({})
    expect([await agreed(alice), await agreed(bob)]).toEqual([6, 6])
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'one' })
    await bob.next('MSG', bobId)
    expect([await agreed(alice), await agreed(bob)]).toEqual([6, 7])
    await bob.agent.sendMessage({ connectionId: bobId, body: 'two' })
    await alice.next('MSG', aliceId)
    expect([await agreed(alice), await agreed(bob)]).toEqual([7, 7])
  })

  it('B20 by a contact address: what the address and both parties have in common', async () => {
    const alice = await start('alice', { agentVersions: { min: 6, max: 7 } })
    const bob = await start('bob', { agentVersions: only(6) })
    const { link } = await alice.agent.createConnection({ mode: 'contact' })
    await bob.agent.joinConnection({ link })
    expect(await agreed(bob)).toBe(6)
    const { invitationId } = await alice.next('REQ')
    const { connectionId } = await alice.agent.acceptContact({ invitationId })
    const [row] = await alice.store.find(connections, { where: { connectionId } })
    expect(row?.agentVersion).toBe(6)
    await bob.next('CONF')
    expect(await agreed(bob)).toBe(6)
  })
})
