/** Commands, deletion and inspection again where the agent lives: Postgres, TLS, the system's clock. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentEvent } from '../../src/agent/index.js'
import { noPostgres } from '../store/postgres.js'
import { type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'

const skipped = await noPostgres()

describe.skipIf(skipped !== undefined)('commands on Postgres and TLS', { timeout: 60_000 }, () => {
  let world: TlsWorld
  let alice: TlsAgent
  let bob: TlsAgent
  beforeEach(async () => {
    world = await tlsWorld()
    alice = await world.startAgent()
    bob = await world.startAgent()
  })
  afterEach(() => world.close())

  const answerTo = async (agent: TlsAgent, correlationId: string): Promise<Extract<AgentEvent, { type: 'OK' }>> => {
    for (;;) {
      const event = await agent.next('OK')
      if (event.correlationId === correlationId) return event
    }
  }
  const told = (agent: TlsAgent, ...types: string[]) => agent.events.filter(({ type }) => types.includes(type))

  it('B21 ★ every step of a connection by asynchronous calls, with the agents restarted in between', async () => {
    await alice.agent.createConnectionAsync({ correlationId: 'create' })
    alice = await alice.restart()
    const created = (await answerTo(alice, 'create')).result as { connectionId: string; link: string }
    await bob.agent.joinConnectionAsync({ link: created.link, info: 'bob', correlationId: 'join' })
    bob = await bob.restart()
    const joined = (await answerTo(bob, 'join')).result as { connectionId: string }
    await alice.agent.subscribeAsync({ correlationId: 'subscribe' })
    await answerTo(alice, 'subscribe')
    const { connectionId, confirmationId } = await alice.next('CONF')
    await alice.agent.allowConnectionAsync({ connectionId, confirmationId, correlationId: 'allow' })
    alice = await alice.restart()
    await answerTo(alice, 'allow')
    await bob.agent.subscribe({})
    await Promise.all([alice.next('CON'), bob.next('CON')])
    await alice.agent.sendMessageAsync({ connectionId, body: 'hi', correlationId: 'send' })
    alice = await alice.restart()
    const { messageId } = (await answerTo(alice, 'send')).result as { messageId: number }
    expect((await alice.next('SENT')).messageId).toBe(messageId)
    const message = await bob.next('MSG', joined.connectionId)
    await bob.agent.ackMessageAsync({
      connectionId: joined.connectionId,
      messageId: message.messageId,
      correlationId: 'ack',
    })
    await answerTo(bob, 'ack')
    await alice.agent.deleteConnectionsAsync({
      connectionIds: [connectionId],
      waitDelivery: true,
      correlationId: 'delete',
    })
    await answerTo(alice, 'delete')
    await alice.next('DEL_CONN')
    expect(await alice.agent.listConnections({})).toEqual({ connections: [] })
    expect(told(alice, 'ERR')).toEqual([])
    for (const id of ['create', 'subscribe', 'allow', 'send', 'delete']) {
      expect([id, alice.events.filter(({ correlationId }) => correlationId === id).length]).toEqual([id, 1])
    }
  })

  it('B53 B90 ★ a router that is away: calls, messages and a deletion wait, are shown, and end when it is back', async () => {
    const { initiatorId: connectionId, joinerId } = await world.connect(alice, bob)
    await world.stopRouter()
    await Promise.all([alice.next('DOWN'), bob.next('DOWN')])
    const { messageId } = await alice.agent.sendMessage({ connectionId, body: 'last words' })
    await alice.agent.createConnectionAsync({ correlationId: 'create' })
    await alice.next('ERR')
    const waiting = await alice.agent.inspectConnection({ connectionId })
    expect(waiting.sndQueues).toMatchObject([{ waiting: 1, lastError: { code: 'TRANSPORT_CONNECT' } }])
    await alice.agent.deleteConnection({ connectionId, waitDelivery: true })
    alice = await alice.restart()
    await world.startRouter()
    expect((await alice.next('SENT')).messageId).toBe(messageId)
    await alice.next('DEL_CONN')
    await answerTo(alice, 'create')
    expect((await bob.next('MSG', joinerId)).body).toEqual(Buffer.from('last words'))
    const { connections } = await alice.agent.listConnections({})
    expect(connections).toMatchObject([{ status: 'rcv' }])
  })

  it('B90 ★ a router that never comes back is given up: everything that waited ends', async () => {
    const { initiatorId: connectionId } = await world.connect(alice, bob)
    const { connectionId: other } = await alice.agent.createConnection({})
    await world.stopRouter()
    const { messageId } = await alice.agent.sendMessage({ connectionId, body: 'x' })
    await alice.agent.createConnectionAsync({ correlationId: 'create' })
    await alice.agent.deleteConnection({ connectionId: other })
    await alice.next('ERR')
    const given = await alice.agent.abandonRouter({ address: world.address })
    expect(given).toMatchObject({ messages: 1 })
    expect(await alice.next('MERR')).toMatchObject({ messageId, error: { code: 'SMP_ABANDONED' } })
    await alice.next('DEL_CONN', other)
    const { error } = await alice.next('ERR')
    expect(error.code).toBe('SMP_ABANDONED')
    expect((await alice.agent.inspectConnection({ connectionId })).sndQueues).toMatchObject([{ waiting: 0 }])
  })

  it('B91 a suspended connection takes no more messages and stays', async () => {
    const { initiatorId: connectionId, joinerId } = await world.connect(alice, bob)
    await alice.agent.suspendConnection({ connectionId })
    const { messageId } = await bob.agent.sendMessage({ connectionId: joinerId, body: 'x' })
    expect(await bob.next('MERR')).toMatchObject({ messageId, error: { code: 'AUTH' } })
    alice = await alice.restart()
    expect((await alice.agent.inspectConnection({ connectionId })).rcvQueues).toMatchObject([{ suspended: true }])
    await alice.agent.sendMessage({ connectionId, body: 'still here' })
    await alice.next('SENT')
  })

  it('B90 a hundred connections at once', async () => {
    const keys = Array.from({ length: 100 }, (_, index) => `${index}`)
    const made = await Promise.all(keys.map(idempotencyKey => alice.agent.createConnection({ idempotencyKey })))
    const connectionIds = made.map(({ connectionId }) => connectionId)
    const { results } = await alice.agent.deleteConnections({ connectionIds })
    expect(results.every(({ ok }) => ok)).toBe(true)
    for (const connectionId of connectionIds) await alice.next('DEL_CONN', connectionId)
    expect(told(alice, 'DEL_RCVQ').every(event => !('error' in event))).toBe(true)
  })
})
