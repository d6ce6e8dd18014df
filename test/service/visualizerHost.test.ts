import { once } from 'node:events'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createLiveFeed, type LiveFeed } from '../../src/service/liveFeed.js'
import { closeCodes } from '../../src/service/liveSocket.js'
import { openVisualizerHost, readPage, type VisualizerHost } from '../../src/service/visualizerHost.js'
import * as agentTables from '../../src/store/agent/tables.js'
import type { Table } from '../../src/store/index.js'
import { type AgentWorld, agentWorld, type TestAgent } from '../support/agentWorld.js'
import { FakeAgent } from '../support/fakeAgent.js'

const token = 'the-token'
let host: VisualizerHost
let feed: LiveFeed
beforeEach(async () => {
  feed = createLiveFeed()
  const agent = new FakeAgent('alice')
  await agent.createConnection()
  host = await openVisualizerHost({ live: { agent, feed, token } })
})
afterEach(() => host.close())

/** A reader of the live view with everything that it was told. */
const connect = (hello: unknown = { type: 'hello', token }, path = 'live') => {
  const socket = new WebSocket(`${host.url.replace('http', 'ws')}${path}`)
  const messages: Array<Record<string, unknown>> = []
  const waiting: Array<() => void> = []
  socket.on('message', data => {
    messages.push(JSON.parse(String(data)))
    for (const wake of waiting.splice(0)) wake()
  })
  socket.on('open', () => {
    if (hello !== undefined) socket.send(typeof hello === 'string' ? hello : JSON.stringify(hello))
  })
  const next = async (type: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const index = messages.findIndex(message => message['type'] === type)
      if (index >= 0) return messages.splice(index, 1)[0] as Record<string, unknown>
      await new Promise<void>(resolve => waiting.push(resolve))
    }
  }
  const closed = once(socket, 'close').then(([code]) => code as number)
  return { socket, next, closed, ask: (question: unknown) => socket.send(JSON.stringify(question)) }
}

describe('the page', () => {
  it('is served on loopback at /visualizer/, with a policy that lets nothing but itself run', async () => {
    expect(host.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/visualizer\/$/)
    const response = await fetch(host.url)
    expect(await response.text()).toBe((await readPage()).html)
    const policy = response.headers.get('content-security-policy') ?? ''
    expect(policy).toMatch(/default-src 'none'; script-src 'sha256-[^' ]+'/)
    expect(policy).not.toMatch(/script-src[^;]*unsafe/)
    expect((await fetch(new URL('/', host.url))).url).toBe(host.url)
  })

  it('is all there is: no other path, no other method', async () => {
    expect((await fetch(`${host.url}../../etc/passwd`)).status).toBe(404)
    expect((await fetch(`${host.url}live`)).status).toBe(404)
    expect((await fetch(host.url, { method: 'POST' })).status).toBe(405)
    const head = await fetch(host.url, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  it('a port that is taken is a typed error', async () => {
    const port = Number(new URL(host.url).port)
    await expect(openVisualizerHost({ port })).rejects.toMatchObject({ code: 'CONFIG_PORT', field: String(port) })
  })

  it('has no live view without an agent', async () => {
    const alone = await openVisualizerHost()
    const socket = new WebSocket(`${alone.url.replace('http', 'ws')}live`)
    const [error] = (await once(socket, 'error')) as [Error]
    expect(error.message).toContain('404')
    await alone.close()
  })
})

describe('the live view', () => {
  it.each([
    ['no token', { type: 'hello' }],
    ['a wrong token', { type: 'hello', token: 'the-tokem' }],
    ['an empty token', { type: 'hello', token: '' }],
    ['a question before the token', { type: 'counts' }],
    ['no JSON', 'hello'],
  ])('is closed to %s', async (_what, hello) => {
    expect(await connect(hello).closed).toBe(closeCodes.token)
  })

  it('tells what happened lately, then everything as it happens', async () => {
    feed.trace({ at: 1, traceId: 't', unit: 'before' })
    const reader = connect()
    expect(await reader.next('welcome')).toMatchObject({ records: [{ unit: 'before' }] })
    feed.trace({ at: 2, traceId: 't', unit: 'after' })
    expect(await reader.next('records')).toMatchObject({ records: [{ unit: 'after' }], leftOut: 0 })
    reader.socket.close()
  })

  it('answers who is in which state, and the history of one actor', async () => {
    const reader = connect()
    await reader.next('welcome')
    reader.ask({ type: 'counts' })
    expect(await reader.next('counts')).toMatchObject({
      counts: [{ machine: 'connection', state: 'connected', count: 1 }],
    })
    reader.ask({ type: 'actors', machine: 'connection' })
    expect(await reader.next('actors')).toMatchObject({
      machine: 'connection',
      actors: [{ id: 'alice-1', state: 'connected' }],
    })
    feed.trace({ at: 3, traceId: '', unit: 'u', machine: 'connection', id: 'alice-1', event: 'e', from: 'a', to: 'b' })
    reader.ask({ type: 'actor', machine: 'connection', id: 'alice-1' })
    expect(await reader.next('actor')).toMatchObject({ id: 'alice-1', records: [{ to: 'b' }] })
    reader.socket.close()
  })

  it('tells a record of a history before the history, never after it too', async () => {
    const reader = connect()
    await reader.next('welcome')
    reader.ask({ type: 'actor', machine: 'm', id: 'x' })
    expect(await reader.next('actor')).toMatchObject({ records: [] })
    const order: string[] = []
    reader.socket.on('message', data => order.push((JSON.parse(String(data)) as { type: string }).type))
    // Both before the next flush.
    feed.trace({ at: 3, traceId: '', unit: 'u', machine: 'm', id: 'x', event: 'e', from: 'a', to: 'b' })
    reader.ask({ type: 'actor', machine: 'm', id: 'x' })
    await reader.next('actor')
    feed.trace({ at: 4, traceId: '', unit: 'last' })
    while (order.length < 3) await once(reader.socket, 'message')
    expect(order).toEqual(['records', 'actor', 'records'])
    reader.socket.close()
  })

  it('lists actors page by page, of one state and one connection', async () => {
    const reader = connect()
    await reader.next('welcome')
    reader.ask({ type: 'actors', machine: 'connection', state: 'connected', connectionId: 'alice-1' })
    expect(await reader.next('actors')).toEqual({
      type: 'actors',
      machine: 'connection',
      state: 'connected',
      connectionId: 'alice-1',
      more: false,
      actors: [{ id: 'alice-1', connectionId: 'alice-1', state: 'connected' }],
    })
    reader.ask({ type: 'actors', machine: 'connection', after: 'alice-1' })
    expect(await reader.next('actors')).toMatchObject({ after: 'alice-1', actors: [] })
    reader.socket.close()
  })

  it.each([
    ['a call of the agent', { type: 'deleteConnection', connectionId: 'alice-1' }],
    ['more than a question holds', { type: 'counts', and: 'more' }],
    ['no question', 'x'],
  ])('is read-only: %s ends it', async (_what, question) => {
    const reader = connect()
    await reader.next('welcome')
    reader.ask(question)
    expect(await reader.closed).toBe(closeCodes.question)
  })

  it('takes no long messages and no more than 16 readers', async () => {
    const long = connect()
    await long.next('welcome')
    long.socket.on('error', () => {})
    long.ask({ type: 'counts', text: 'x'.repeat(4_000) })
    expect(await long.closed).toBe(1009)
    const readers = Array.from({ length: 16 }, () => connect())
    await Promise.all(readers.map(reader => reader.next('welcome')))
    const [error] = (await once(new WebSocket(`${host.url.replace('http', 'ws')}live`), 'error')) as [Error]
    expect(error.message).toContain('404')
  })

  it('leaves records out, and says how many, when there are more than a reader can take', async () => {
    const reader = connect()
    await reader.next('welcome')
    for (let n = 0; n < 700; n++) feed.trace({ at: n, traceId: 't', unit: 'u' })
    const { records, leftOut } = (await reader.next('records')) as { records: unknown[]; leftOut: number }
    expect(records.length + leftOut).toBe(700)
    expect(records).toHaveLength(500)
    reader.socket.close()
  })
})

describe('secrets', () => {
  let world: AgentWorld
  let alice: TestAgent
  let bob: TestAgent
  beforeAll(() => {
    world = agentWorld()
    return () => world.close()
  })

  /** Every value of bytes in the rows of a store, in the forms in which text could hold it. */
  const secretsIn = async ({ store }: TestAgent): Promise<string[]> => {
    const tables = Object.values(agentTables).flatMap(value => (Array.isArray(value) ? (value as Table[]) : []))
    expect(tables.length).toBeGreaterThan(4)
    const rows = (await Promise.all(tables.map(table => store.find(table, {})))).flat()
    const bytes = rows.flatMap(row => Object.values(row)).filter(value => value instanceof Uint8Array)
    return bytes
      .filter(value => value.length >= 8)
      .flatMap(value =>
        (['base64', 'base64url', 'hex', 'latin1'] as const).map(form => Buffer.from(value).toString(form)),
      )
  }

  it('keys, bodies and links never leave the agent, from the first step to the last', async () => {
    const feed = createLiveFeed()
    const router = await world.startRouter()
    alice = await world.startAgent('alice', [router], { trace: feed.trace })
    bob = await world.startAgent('bob', [router], { trace: feed.trace })
    const live = await openVisualizerHost({ live: { agent: alice.agent, feed, token } })
    const socket = new WebSocket(`${live.url.replace('http', 'ws')}live`)
    let told = ''
    socket.on('message', data => {
      told += String(data)
    })
    await once(socket, 'open')
    socket.send(JSON.stringify({ type: 'hello', token }))

    const secrets = new Set<string>()
    const look = async (): Promise<void> => {
      for (const agent of [alice, bob]) for (const secret of await secretsIn(agent)) secrets.add(secret)
    }
    const { link } = await alice.agent.createConnection({})
    await look()
    await bob.agent.joinConnection({ link, info: 'I am Bob the builder' })
    const conf = await alice.next('CONF')
    await look()
    const { connectionId, confirmationId } = conf
    await alice.agent.allowConnection({ connectionId, confirmationId, info: 'I am Alice in wonderland' })
    await alice.next('CON')
    await bob.next('CON')
    await look()
    await alice.agent.sendMessage({ connectionId, body: 'a body that nobody else may read' })
    await bob.next('MSG')
    await alice.next('SENT')
    await look()
    for (const machine of ['connection', 'rcvQueue', 'sndQueue', 'subscription', 'routerSession', 'agentOperations']) {
      socket.send(JSON.stringify({ type: 'actors', machine }))
    }
    socket.send(JSON.stringify({ type: 'counts' }))
    // The answers come in the order of the questions, and records at the latest with the next flush.
    while (!told.includes('"type":"counts"') || !told.includes('SENT')) await once(socket, 'message')
    socket.close()
    await live.close()

    expect(told).toContain('message.received')
    expect(told).toContain(connectionId)
    expect(secrets.size).toBeGreaterThan(100)
    const parts = link.split(/[?&=#]/).filter(part => part.length > 20)
    expect(parts.length).toBeGreaterThan(0)
    const words = ['I am Bob the builder', 'I am Alice in wonderland', 'a body that nobody', link, ...parts]
    for (const secret of [...secrets, ...words]) expect(told).not.toContain(secret)
  })
})
