/** Whether a connection is post-quantum (B19): the wishes and versions of both parties, in each role and each form of the handshake. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { inlineKem, KEM_BYTES } from '../../src/crypto/index.js'
import type { AgentOptions, ParamsOf } from '../../src/index.js'
import { decodeE2ePrivateKeys } from '../../src/ratchet/index.js'
import { parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import { connections, handshakes } from '../../src/store/agent/connections.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { barePeer } from '../support/barePeer.js'
import { handshakeKinds, legacyLink } from '../support/legacyLink.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
beforeEach(async () => {
  world = await scriptedWorld()
})
afterEach(() => world.close())

interface Party {
  readonly name: string
  readonly wish: boolean
  /** In the link too, where the party makes one. */
  readonly inLink?: boolean
  readonly agentVersion?: number
  readonly e2eVersion?: number
}

const off: Party = { name: 'off', wish: false }
const on: Party = { name: 'on', wish: true }
const inLink: Party = { name: 'on in the link', wish: true, inLink: true }
const oldAgent: Party = { name: 'on, of agent version 4', wish: true, agentVersion: 4 }
const oldRatchet: Party = { name: 'on, of e2e version 2', wish: true, e2eVersion: 2 }
const parties: readonly Party[] = [off, on, oldAgent, oldRatchet]

const pairs = (first: readonly Party[], second: readonly Party[]) =>
  first.flatMap(a => second.map(b => ({ a, b, first: a.name, second: b.name })))
const allowed = (...both: readonly Party[]): boolean =>
  both.every(({ agentVersion = 7, e2eVersion = 3 }) => agentVersion >= 5 && e2eVersion >= 3)

const start = (name: string, { agentVersion = 7, e2eVersion = 3 }: Party, more: Partial<AgentOptions> = {}) =>
  world.start(name, {
    kem: inlineKem(),
    config: { agentVersions: { min: 2, max: agentVersion }, e2eVersions: { min: 2, max: e2eVersion } },
    ...more,
  })

/** Each of two messages in each direction, and whether it was encrypted post-quantum for its sender and its recipient. */
const converse = async (
  alice: TestAgent,
  aliceId: string,
  bob: TestAgent,
  bobId: string,
  pq: Pick<ParamsOf<'sendMessage'>, 'pq'> = {},
): Promise<boolean[]> => {
  const flags: boolean[] = []
  for (let turn = 0; turn < 2; turn++) {
    for (const [from, fromId, to, toId] of [
      [alice, aliceId, bob, bobId],
      [bob, bobId, alice, aliceId],
    ] as const) {
      const body = `${from.name} ${turn}`
      const sent = await from.agent.sendMessage({ connectionId: fromId, body, ...pq })
      const told = await from.next('SENT', fromId)
      const message = await to.next('MSG', toId)
      expect([textOf(message.body), message.integrity, told.messageId]).toEqual([
        body,
        { result: 'ok' },
        sent.messageId,
      ])
      expect(told.pqEncryption).toBe(sent.pqEncryption)
      flags.push(sent.pqEncryption, message.pqEncryption)
      await to.agent.ackMessage({ connectionId: toId, messageId: message.messageId })
    }
  }
  return flags
}

const supportOf = async ({ store }: TestAgent, connectionId: string) =>
  (await store.find(connections, { where: { connectionId } }))[0]?.pqSupport

describe('B19 PQ is the AND of both wishes and both versions', () => {
  it.each(pairs([...parties, inLink], parties))(
    'B19 by an invitation, initiator: $first, joiner: $second',
    async ({ a, b }) => {
      const [alice, bob] = [await start('alice', a), await start('bob', b)]
      const pq = a.inLink === true ? 'invitation' : a.wish
      const { connectionId: aliceId, link } = await alice.agent.createConnection({ pq })
      const { connectionId: bobId } = await bob.agent.joinConnection({ link, pq: b.wish })
      const conf = await alice.next('CONF', aliceId)
      await alice.agent.allowConnection({ connectionId: aliceId, confirmationId: conf.confirmationId })
      const expected = a.wish && b.wish && allowed(a, b)
      expect(conf.pqSupport).toBe(a.wish && allowed(a, b))
      expect((await bob.next('INFO', bobId)).pqSupport).toBe(b.wish && allowed(a, b))
      expect((await alice.next('CON', aliceId)).pqEncryption).toBe(expected)
      expect((await bob.next('CON', bobId)).pqEncryption).toBe(expected)
      expect(await supportOf(alice, aliceId)).toBe(a.wish && allowed(a, b))
      expect(await supportOf(bob, bobId)).toBe(b.wish && allowed(a, b))
      expect(new Set(await converse(alice, aliceId, bob, bobId))).toEqual(new Set([expected]))
    },
  )

  it.each(pairs(parties, parties))(
    'B18 B19 by a contact address, its owner: $first, the other: $second',
    async ({ a, b }) => {
      const [alice, bob] = [await start('alice', a), await start('bob', b)]
      const { link } = await alice.agent.createConnection({ mode: 'contact', pq: a.wish })
      const { connectionId: bobId } = await bob.agent.joinConnection({ link, pq: b.wish })
      const { invitationId, pqSupport } = await alice.next('REQ')
      expect(pqSupport).toBe(allowed(a, b))
      const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId, pq: a.wish })
      const conf = await bob.next('CONF', bobId)
      await bob.agent.allowConnection({ connectionId: bobId, confirmationId: conf.confirmationId })
      const expected = a.wish && b.wish && allowed(a, b)
      expect(conf.pqSupport).toBe(b.wish && allowed(a, b))
      expect((await alice.next('INFO', aliceId)).pqSupport).toBe(a.wish && allowed(a, b))
      expect((await alice.next('CON', aliceId)).pqEncryption).toBe(expected)
      expect((await bob.next('CON', bobId)).pqEncryption).toBe(expected)
      expect(new Set(await converse(alice, aliceId, bob, bobId))).toEqual(new Set([expected]))
    },
  )

  it.each(handshakeKinds)(
    'B12 B19 HELLO completes with the flag: invitation queue legacy $invitation, reply queue legacy $reply',
    async kind => {
      const [alice, bob] = [await start('alice', on), await start('bob', on)]
      const { connectionId: aliceId, link } = await alice.agent.createConnection({ pq: true })
      const { connectionId: bobId } = await bob.agent.joinConnection({ link: legacyLink(link, kind), pq: true })
      const { confirmationId } = await alice.next('CONF', aliceId)
      await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
      expect((await alice.next('CON', aliceId)).pqEncryption).toBe(true)
      expect((await bob.next('CON', bobId)).pqEncryption).toBe(true)
      expect(new Set(await converse(alice, aliceId, bob, bobId))).toEqual(new Set([true]))
    },
  )

  it('B19 on is the default of every call, and a prepared connection gets the wish of the call that joins', async () => {
    const [alice, bob] = [await start('alice', on), await start('bob', on)]
    const { link } = await alice.agent.createConnection({ mode: 'contact' })
    const { connectionId: bobId } = await bob.agent.prepareConnectionToJoin({ link })
    await bob.agent.joinConnection({ connectionId: bobId, link })
    const { invitationId } = await alice.next('REQ')
    const { connectionId: aliceId } = await alice.agent.acceptContact({ invitationId })
    const { confirmationId } = await bob.next('CONF', bobId)
    await bob.agent.allowConnection({ connectionId: bobId, confirmationId })
    expect((await alice.next('CON', aliceId)).pqEncryption).toBe(true)
    const invitation = await alice.agent.createConnection({})
    await bob.agent.joinConnection({ link: invitation.link })
    expect((await alice.next('CONF', invitation.connectionId)).pqSupport).toBe(true)
  })

  it('B19 a joiner whose version of the agent protocol has no KEM: the initiator’s support falls with its confirmation', async () => {
    const alice = await start('alice', on)
    const { connectionId, link } = await alice.agent.createConnection({ pq: true })
    expect(await supportOf(alice, connectionId)).toBe(true)
    const peer = await barePeer({ ...world, router: world.router.address, link, agentVersion: 4 })
    await peer.join()
    expect((await alice.next('CONF', connectionId)).pqSupport).toBe(false)
    expect(await supportOf(alice, connectionId)).toBe(false)
    peer.close()
  })
})

describe('B15 B19 KEM keys of links and handshakes', () => {
  const kemKeyOf = (link: string): Uint8Array | undefined => {
    const request = parseConnectionRequest(link)
    return request.mode === 'invitation' ? request.e2e.kem?.publicKey : undefined
  }

  it('B19 only a link that was asked to has a KEM key; an address has none to give', async () => {
    const alice = await start('alice', on)
    const make = async (params: ParamsOf<'createConnection'>) => (await alice.agent.createConnection(params)).link
    expect(kemKeyOf(await make({ pq: 'invitation' }))).toHaveLength(KEM_BYTES.publicKey)
    expect(kemKeyOf(await make({ pq: true }))).toBeUndefined()
    expect(kemKeyOf(await make({ pq: false }))).toBeUndefined()
    const rows = await alice.store.count(connections)
    await expect(make({ mode: 'contact', pq: 'invitation' })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
      field: 'pq',
    })
    expect(await alice.store.count(connections)).toBe(rows)
  })

  it('B15 B19 a link keeps its KEM key when its call is repeated after a failure', async () => {
    const alice = await start('alice', on)
    const call = { pq: 'invitation', idempotencyKey: 'invite' } as const
    world.router.react = ({ command }) =>
      command.type === 'NEW' ? { type: 'ERR', error: { type: 'INTERNAL' } } : undefined
    await expect(alice.agent.createConnection(call)).rejects.toThrow()
    const [row] = await alice.store.find(connections, {})
    world.router.react = () => undefined
    const { link } = await alice.agent.createConnection(call)
    expect(kemKeyOf(link)).toEqual(decodeE2ePrivateKeys(row?.x3dhKeys ?? Buffer.alloc(0)).kem?.own.publicKey)
    expect(await alice.agent.createConnection(call)).toMatchObject({ link })
  })

  it('B15 B19 a joiner keeps the answer to the offered KEM key when its call is repeated, whatever it wishes then', async () => {
    const [alice, bob] = [await start('alice', on), await start('bob', on)]
    const { link, connectionId: aliceId } = await alice.agent.createConnection({ pq: 'invitation' })
    world.router.react = ({ command }) =>
      command.type === 'SKEY' ? { type: 'ERR', error: { type: 'AUTH' } } : undefined
    const { connectionId } = await bob.agent.joinConnection({ link, pq: true, idempotencyKey: 'join' })
    await bob.next('ERR', connectionId)
    const read = async () => [
      (await bob.store.find(handshakes, {}))[0]?.e2eParams,
      (await bob.store.find(connections, {}))[0]?.ratchet,
    ]
    const before = await read()
    world.router.react = () => undefined
    await bob.agent.joinConnection({ link, pq: false, idempotencyKey: 'join' })
    expect(await read()).toEqual(before)
    const { confirmationId } = await alice.next('CONF', aliceId)
    await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
    expect((await bob.next('CON', connectionId)).pqEncryption).toBe(true)
  })
})
