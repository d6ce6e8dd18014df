/** The keys of a ratchet synchronisation as a peer may send them, and what is said to them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateE2eParams } from '../../src/ratchet/index.js'
import { encodeAgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import { connections, ratchetKeyHashes } from '../../src/store/agent/connections.js'
import { sndMessages } from '../../src/store/agent/messages.js'
import type { Change } from '../../src/store/index.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import type { Invited, ScriptedWorld } from '../support/scriptedWorld.js'
import { scriptedWorld } from '../support/scriptedWorld.js'
import { recordCommits } from '../support/storeFaults.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

const sendKey = async ({ peer }: Invited, version: number): Promise<void> => {
  const info = peer.plain({ type: 'ratchetInfo', info: Buffer.alloc(0) })
  const e2e = { ...generateE2eParams(3).params, version }
  await peer.send(peer.seal(encodeAgentEnvelope({ type: 'ratchetKey', agentVersion: 7, e2e, info })))
  await world.clock.settle()
}
const nothingChanged = async ({ connectionId, peer }: Invited, before: unknown): Promise<void> => {
  expect(await alice.store.find(connections, {})).toEqual(before)
  expect(await alice.store.find(ratchetKeyHashes, {})).toEqual([])
  await peer.say('still readable')
  expect(textOf((await alice.next('MSG', connectionId)).body)).toBe('still readable')
}

describe('a ratchet key that is not taken', () => {
  it.each([1, 99])('B80 of version %d, which is not spoken here, is an error and changes nothing', async version => {
    const friend = await world.befriend(alice)
    await world.clock.settle()
    const before = await alice.store.find(connections, {})
    await sendKey(friend, version)
    expect((await alice.next('ERR')).error.code).toMatch(/^(AGENT_VERSION|DECODE_.*)$/)
    await nothingChanged(friend, before)
  })

  it('B80 before the connection is complete is an error and changes nothing', async () => {
    const invited = await world.invite(alice)
    await world.clock.settle()
    const before = await alice.store.find(connections, {})
    await sendKey(invited, 3)
    expect((await alice.next('ERR')).error.code).toBe('AGENT_PROHIBITED')
    await nothingChanged(invited, before)
  })
})

describe('EREADY', () => {
  const said = (commits: ReadonlyArray<readonly Change[]>): number =>
    commits
      .flat()
      .filter(change => change.op === 'insert' && change.table.name === sndMessages.name)
      .filter(change => 'row' in change && (change.row as { type?: string }).type === 'EREADY').length

  it('B81 B83 is said once by each side, whoever starts and whichever role comes out', async () => {
    const bob = await world.start('bob')
    const { initiatorId, joinerId } = await world.connect(alice, bob)
    const commits = { alice: recordCommits(alice.store), bob: recordCommits(bob.store) }
    const isOk = ({ events }: TestAgent, times: number): boolean =>
      events.filter(event => event.type === 'RSYNC' && event.state === 'ok').length === times
    for (let n = 1; n <= 6; n++) {
      if (n % 2 === 0) await alice.agent.synchronizeRatchet({ connectionId: initiatorId, force: true })
      else await bob.agent.synchronizeRatchet({ connectionId: joinerId, force: true })
      await world.until(() => isOk(alice, n) && isOk(bob, n), 'ok at both')
      await world.clock.settle()
      expect([said(commits.alice), said(commits.bob)]).toEqual([n, n])
    }
  })
})
