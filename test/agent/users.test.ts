import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Router } from '../../src/router/router.js'
import { connections } from '../../src/store/agent/connections.js'
import { users } from '../../src/store/agent/users.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { heldKem } from '../support/heldKem.js'
import { beforeCommits, brokenDisk, recordCommits, touches } from '../support/storeFaults.js'

let world: AgentWorld
let router: Router
let alice: TestAgent
let bob: TestAgent

beforeEach(async () => {
  world = agentWorld()
  router = await world.startRouter()
  alice = await world.startAgent('alice', [router])
  bob = await world.startAgent('bob', [router])
})
afterEach(() => world.close())

const connectAs = async (userId: number): Promise<{ aliceId: string; bobId: string }> => {
  const { connectionId: aliceId, link } = await alice.agent.createConnection({ userId })
  const { connectionId: bobId } = await bob.agent.joinConnection({ link })
  const { confirmationId } = await alice.next('CONF', aliceId)
  await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
  await alice.next('CON', aliceId)
  return { aliceId, bobId }
}

describe('users', () => {
  it('B22 a user that does not exist is refused, by every call that names one', async () => {
    const { link } = await bob.agent.createConnection({})
    const refused = { code: 'USER_NOT_FOUND', field: 'userId' }
    await expect(alice.agent.createConnection({ userId: 7 })).rejects.toMatchObject(refused)
    await expect(alice.agent.joinConnection({ userId: 7, link })).rejects.toMatchObject(refused)
    await expect(alice.agent.setRouters({ userId: 7, routers: [] })).rejects.toMatchObject(refused)
    await expect(alice.agent.setUserHidden({ userId: 7, hidden: true })).rejects.toMatchObject(refused)
    expect(await alice.agent.deleteUser({ userId: 7 })).toEqual({})
  })

  it('B22 users are listed with their connections, and are there after a restart', async () => {
    const made = await Promise.all([alice.agent.createUser({ name: 'sales' }), alice.agent.createUser({})])
    expect(made.map(user => user.userId).toSorted()).toEqual([2, 3])
    await alice.agent.createConnection({ userId: 2 })
    await alice.agent.close()
    const again = await world.startAgent('alice', [router], { store: { open: alice.store.reopen() } })
    const { users } = await again.agent.listUsers({})
    expect(users.map(({ userId, name, connections }) => [userId, name, connections])).toEqual([
      [1, '', 0],
      [2, 'sales', 1],
      [3, '', 0],
    ])
  })

  it('B22 a new connection moves to another user, with its session; an established one does not', async () => {
    const { userId } = await alice.agent.createUser({})
    const { connectionId, link } = await alice.agent.createConnection({})
    await alice.agent.setConnectionUser({ connectionId, userId })
    await world.clock.settle()
    const [summary] = (await alice.agent.listConnections({ userId })).connections
    expect(summary).toMatchObject({ connectionId, userId, subscribed: true })
    await bob.agent.joinConnection({ link })
    const conf = await alice.next('CONF', connectionId)
    expect(conf.userId).toBe(userId)
    await alice.agent.allowConnection({ connectionId, confirmationId: conf.confirmationId })
    await alice.next('CON')
    await expect(alice.agent.setConnectionUser({ connectionId, userId: 1 })).rejects.toMatchObject({
      code: 'CMD_PROHIBITED',
    })
  })

  it('B22 a hidden user is not listed and receives nothing until it is shown and subscribed; what it sends is delivered', async () => {
    const { userId } = await alice.agent.createUser({})
    const { aliceId, bobId } = await connectAs(userId)
    await alice.agent.setUserHidden({ userId, hidden: true })
    expect((await alice.agent.listUsers({})).users.map(user => user.userId)).toEqual([1])
    expect((await alice.agent.listUsers({ includeHidden: true })).users).toHaveLength(2)
    await bob.agent.sendMessage({ connectionId: bobId, body: 'unseen' })
    await alice.agent.sendMessage({ connectionId: aliceId, body: 'from hiding' })
    expect(textOf((await bob.next('MSG')).body)).toBe('from hiding')
    await alice.agent.subscribe({})
    await world.clock.advance(60_000)
    expect(alice.events.filter(event => event.type === 'MSG')).toEqual([])
    await alice.agent.setUserHidden({ userId, hidden: false })
    await alice.agent.subscribe({})
    expect(textOf((await alice.next('MSG')).body)).toBe('unseen')
  })

  it('B21 B22 the answer to an asynchronous call is the user’s whose connection it names', async () => {
    const { userId } = await alice.agent.createUser({})
    const { aliceId } = await connectAs(userId)
    await alice.agent.sendMessageAsync({ connectionId: aliceId, body: 'later', correlationId: 'c' })
    expect(await alice.next('OK')).toMatchObject({ correlationId: 'c', userId, connectionId: aliceId })
  })

  it('B22 a deleted user goes with its connections: DEL_USER comes after the last DEL_CONN, and nothing is left of it', async () => {
    const { userId } = await alice.agent.createUser({ routers: [{ address: router.address }] })
    await connectAs(userId)
    await connectAs(userId)
    await alice.agent.deleteUser({ userId })
    const gone = await alice.next('DEL_USER')
    expect(gone).toMatchObject({ deletedUserId: userId, userId })
    const types = alice.events.map(event => event.type)
    expect(types.filter(type => type === 'DEL_CONN')).toHaveLength(2)
    expect(types.lastIndexOf('DEL_CONN')).toBeLessThan(types.indexOf('DEL_USER'))
    expect((await alice.agent.listConnections({ userId })).connections).toEqual([])
    expect((await alice.agent.listUsers({ includeHidden: true })).users.map(user => user.userId)).toEqual([1])
    await expect(alice.agent.createConnection({ userId })).rejects.toMatchObject({ code: 'USER_NOT_FOUND' })
    expect((await alice.agent.getStatistics({ userId })).statistics).toEqual([])
  })

  it('B22 a user that is deleted without its queues is forgotten at once', async () => {
    const { userId } = await alice.agent.createUser({})
    await connectAs(userId)
    world.network.setReachable(placeOf(router), 'refuses')
    await alice.agent.deleteUser({ userId, deleteQueues: false })
    await alice.next('DEL_USER')
    expect((await alice.agent.listConnections({})).connections).toEqual([])
    expect(alice.events.map(event => event.type)).not.toContain('DEL_CONN')
  })

  it('B22 the end of a user that the disk refuses is tried again with the next cleanup, and told once', async () => {
    const { userId } = await alice.agent.createUser({})
    let fails = true
    beforeCommits(alice.store, changes => {
      if (fails && touches(changes, users, 'remove')) throw brokenDisk()
    })
    await expect(alice.agent.deleteUser({ userId })).rejects.toMatchObject({ code: 'STORE_WRITE' })
    fails = false
    await alice.next('DEL_USER')
    await world.clock.advance(1_000_000)
    expect(alice.events.filter(({ type }) => type === 'DEL_USER')).toHaveLength(1)
    expect(await alice.store.count(users, { userId })).toBe(0)
  })

  it('B22 a connection that is being made for a user while that is deleted is not made any more', async () => {
    const kem = heldKem()
    const carol = await world.startAgent('carol', [router], { kem })
    const { userId } = await carol.agent.createUser({})
    const { link } = await bob.agent.createConnection({ pq: 'invitation' })
    const release = kem.hold()
    const making = [
      carol.agent.createConnection({ userId, pq: 'invitation' }),
      carol.agent.joinConnection({ userId, link }),
    ].map(call => call.catch(({ code }) => code))
    await world.clock.settle()
    await carol.agent.deleteUser({ userId })
    await carol.next('DEL_USER')
    release()
    expect(await Promise.all(making)).toEqual(['USER_NOT_FOUND', 'USER_NOT_FOUND'])
    expect(await carol.store.count(connections)).toBe(0)
  })

  it('B22 a user with many connections is deleted in few commits', async () => {
    const { userId } = await alice.agent.createUser({})
    const { link } = await bob.agent.createConnection({})
    for (let index = 0; index < 50; index++) await alice.agent.prepareConnectionToJoin({ userId, link })
    const commits = recordCommits(alice.store)
    await alice.agent.deleteUser({ userId })
    expect(commits.length).toBeLessThan(10)
    await alice.next('DEL_USER')
    expect(alice.events.filter(({ type }) => type === 'DEL_CONN')).toHaveLength(50)
  })

  it('B22 a deletion that a kill has interrupted goes on after the restart', async () => {
    const { userId } = await alice.agent.createUser({})
    await connectAs(userId)
    world.network.setReachable(placeOf(router), 'refuses')
    for (const link of world.network.links({ from: 'alice' })) link.cut()
    await alice.agent.deleteUser({ userId })
    const rows = alice.crash()
    world.network.setReachable(placeOf(router), 'answers')
    const again = await world.startAgent('alice again', [router], { store: { open: rows } })
    expect(await again.next('DEL_USER')).toMatchObject({ deletedUserId: userId })
  })
})

describe('routers', () => {
  it('B23 a user has routers of its own: new queues are made on those that may store, with their passwords', async () => {
    const closed = await world.startRouter({ password: 'sesame' })
    const { userId } = await alice.agent.createUser({
      routers: [
        { address: router.address, storage: false },
        { address: closed.address },
        { address: router.address, enabled: false },
      ],
    })
    const { link } = await alice.agent.createConnection({ userId })
    expect(decodeURIComponent(link)).toContain(placeOf(closed))
    const own = (await alice.agent.listUsers({})).users.find(user => user.userId === userId)
    expect(own?.routers.map(({ password, storage, enabled }) => ({ password, storage, enabled }))).toEqual([
      { password: false, storage: false, enabled: true },
      { password: true, storage: true, enabled: true },
      { password: false, storage: true, enabled: false },
    ])
    expect(JSON.stringify(await alice.agent.listUsers({}))).not.toContain('sesame')
    await alice.agent.setRouters({ userId, routers: [{ address: withPassword(closed.address, 'wrong') }] })
    await expect(alice.agent.createConnection({ userId })).rejects.toMatchObject({ code: 'AUTH' })
    await alice.agent.setRouters({ userId, routers: [] })
    expect(decodeURIComponent((await alice.agent.createConnection({ userId })).link)).toContain(placeOf(router))
  })

  it('B23 routers of a user are there after a restart; one that may not store gives CONFIG_NO_ROUTERS', async () => {
    await alice.agent.setRouters({ routers: [{ address: router.address, storage: false }] })
    await alice.agent.close()
    const again = await world.startAgent('alice', [router], { store: { open: alice.store.reopen() } })
    await expect(again.agent.createConnection({})).rejects.toMatchObject({ code: 'CONFIG_NO_ROUTERS' })
  })

  it('B23 the staged test of a router names the step that fails', async () => {
    const closed = await world.startRouter({ password: 'sesame' })
    expect(await alice.agent.testRouter({ address: router.address })).toEqual({ ok: true })
    expect(await alice.agent.testRouter({ address: withPassword(closed.address, '') })).toMatchObject({
      ok: false,
      step: 'create',
      error: { code: 'AUTH' },
    })
    expect(await alice.agent.testRouter({ address: closed.address })).toEqual({ ok: true })
    world.network.setReachable(placeOf(router), 'refuses')
    expect(await alice.agent.testRouter({ address: router.address })).toMatchObject({ ok: false, step: 'connect' })
    await expect(alice.agent.testRouter({ address: 'https://example.org' })).rejects.toMatchObject({
      code: 'DECODE_INVALID',
    })
  })
})

const placeOf = ({ address }: Router): string => `localhost:${/:(\d+)$/.exec(address)?.[1]}`
const withPassword = (address: string, password: string): string =>
  address.replace(/(:[^:@/]+)?@/, password === '' ? '@' : `:${password}@`)
