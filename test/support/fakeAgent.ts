/**
 * An in-memory double of the agent for tests of what stands above it: two or more of them on one fake network connect by
 * links and exchange messages at once, with an event log that is acknowledged as the real one is. It can be told to
 * lose, repeat or swap messages, which the real one must never do.
 */
import type { Agent } from '../../src/agent/api/agent.js'
import { calls, type ParamsOf } from '../../src/agent/api/calls.js'
import type { AgentEvent, EventPayload } from '../../src/agent/api/events.js'
import { bodySchema } from '../../src/agent/api/schemas.js'
import { defaultNetworkConfig } from '../../src/agent/network.js'
import { withSet } from '../../src/agent/options.js'
import { CallError } from '../../src/errors.js'

export interface FakeNetwork {
  /** Agents by the link of a connection that waits to be joined. */
  readonly links: Map<string, { agent: PlayedAgent; connectionId: string }>
  /** What happens to the n-th message of the network (from 0): how often it arrives, and whether after the next one. */
  readonly fate: (n: number) => { copies: number; late?: boolean }
  sent: number
}

export const fakeNetwork = (fate: FakeNetwork['fate'] = () => ({ copies: 1 })): FakeNetwork => ({
  links: new Map(),
  fate,
  sent: 0,
})

interface Connection {
  peer?: { agent: PlayedAgent; connectionId: string }
  nextMessageId: number
  late: Uint8Array[]
}

class PlayedAgent {
  readonly connections = new Map<string, Connection>()
  /** The event log: acknowledged events leave it. */
  log: AgentEvent[] = []
  /** Names of the calls in their order. */
  readonly called: string[] = []
  closed = false
  #cursor = 0
  #failure: Error | undefined
  #wakers = new Set<() => void>()
  readonly name: string
  readonly network: FakeNetwork

  constructor(name: string, network: FakeNetwork = fakeNetwork()) {
    this.name = name
    this.network = network
  }

  emit(connectionId: string, payload: EventPayload): void {
    this.#cursor += 1
    const envelope = { cursor: this.#cursor, at: 0, network: 'simplex', userId: 1, connectionId, traceId: 't' } as const
    this.log.push({ ...envelope, ...payload })
    for (const wake of this.#wakers) wake()
  }

  /** Whoever reads events meets this error. */
  fail(error: Error): void {
    this.#failure = error
    for (const wake of this.#wakers) wake()
  }

  async createConnection() {
    this.called.push('createConnection')
    const connectionId = `${this.name}-${this.connections.size + 1}`
    this.connections.set(connectionId, { nextMessageId: 1, late: [] })
    const link = `simplex:/invitation#/?fake=${connectionId}`
    this.network.links.set(link, { agent: this, connectionId })
    return { connectionId, link }
  }

  async joinConnection({ link, info }: ParamsOf<'joinConnection'>) {
    this.called.push('joinConnection')
    const peer = this.network.links.get(link)
    if (peer === undefined) {
      throw new CallError('CONN_LINK', 'the link is not an invitation', { field: 'link', hint: 'ask for a new one' })
    }
    const { connectionId } = await this.createConnection()
    this.#connection(connectionId).peer = peer
    peer.agent.#connection(peer.connectionId).peer = { agent: this, connectionId }
    const confirmation = { confirmationId: 'c1', pqSupport: false, info: bodySchema.parse(info ?? ''), routers: [] }
    peer.agent.emit(peer.connectionId, { type: 'CONF', ...confirmation })
    return { connectionId }
  }

  async allowConnection({ connectionId, info }: ParamsOf<'allowConnection'>) {
    this.called.push('allowConnection')
    const { peer } = this.#connection(connectionId)
    if (peer === undefined) throw new CallError('CONN_STATE', 'nobody has joined', { field: connectionId })
    peer.agent.emit(peer.connectionId, { type: 'INFO', pqSupport: false, info: bodySchema.parse(info ?? '') })
    peer.agent.emit(peer.connectionId, { type: 'CON', pqEncryption: false })
    this.emit(connectionId, { type: 'CON', pqEncryption: false })
    return {}
  }

  async sendMessage({ connectionId, body }: ParamsOf<'sendMessage'>) {
    this.called.push('sendMessage')
    const connection = this.#connection(connectionId)
    const { peer } = connection
    if (peer === undefined) throw new CallError('CONN_STATE', 'the connection is not complete', { field: connectionId })
    const messageId = connection.nextMessageId++
    const { copies, late = false } = this.network.fate(this.network.sent++)
    const bytes = bodySchema.parse(body)
    const arrived = [...Array.from({ length: copies }, () => bytes), ...connection.late.splice(0)]
    if (late) connection.late.push(...arrived)
    else for (const one of arrived) peer.agent.#receive(peer.connectionId, one)
    this.emit(connectionId, { type: 'SENT', messageId, pqEncryption: false })
    return { messageId, pqEncryption: false }
  }

  async sendMessages({ items }: ParamsOf<'sendMessages'>) {
    const bodies = new Map<string, NonNullable<(typeof items)[number]['body']>>()
    const results = []
    for (const { connectionId, body, ref } of items) {
      if (ref !== undefined && body !== undefined) bodies.set(ref, body)
      const { messageId } = await this.sendMessage({ connectionId, body: body ?? bodies.get(ref ?? '') ?? '' })
      results.push({ connectionId, messageId })
    }
    return { results }
  }

  async ackMessage({ connectionId, messageId }: ParamsOf<'ackMessage'>) {
    this.called.push('ackMessage')
    this.log = this.log.filter(
      event => event.type !== 'MSG' || event.connectionId !== connectionId || event.messageId !== messageId,
    )
    return {}
  }

  async subscribe({ connectionIds = [...this.connections.keys()] }: ParamsOf<'subscribe'>) {
    this.called.push('subscribe')
    return { results: connectionIds.map(connectionId => ({ connectionId, ok: this.connections.has(connectionId) })) }
  }

  async getMessages({ connectionIds }: ParamsOf<'getMessages'>) {
    this.called.push('getMessages')
    return { results: connectionIds.map(connectionId => ({ connectionId, ok: this.connections.has(connectionId) })) }
  }

  async setNetwork({ online }: ParamsOf<'setNetwork'>) {
    this.called.push('setNetwork')
    return { online }
  }

  async setNetworkConfig(changes: ParamsOf<'setNetworkConfig'>) {
    this.called.push('setNetworkConfig')
    return withSet(defaultNetworkConfig, changes)
  }

  async deleteConnection({ connectionId }: ParamsOf<'deleteConnection'>) {
    this.called.push('deleteConnection')
    this.connections.delete(connectionId)
    return {}
  }

  async countActors() {
    this.called.push('countActors')
    return { counts: [{ machine: 'connection', state: 'connected', count: this.connections.size }] }
  }

  async listActors({ machine, after = '' }: ParamsOf<'listActors'>) {
    this.called.push('listActors')
    const ids = machine === 'connection' ? [...this.connections.keys()].filter(id => id > after) : []
    return { actors: ids.map(id => ({ id, connectionId: id, state: 'connected' })) }
  }

  async listConnections() {
    this.called.push('listConnections')
    const facts = { userId: 1, rcvRouters: [], sndRouters: [], subscribed: true } as const
    const connections = [...this.connections].map(([connectionId, { peer }]) => ({
      connectionId,
      status: peer === undefined ? ('rcv' as const) : ('connected' as const),
      ready: peer !== undefined,
      ...facts,
      rcvRouters: [],
      sndRouters: [],
    }))
    return { connections }
  }

  async registerConsumer({ consumer = 'default' }: ParamsOf<'registerConsumer'>) {
    this.called.push('registerConsumer')
    return { consumer, from: 0 }
  }

  async unregisterConsumer() {
    this.called.push('unregisterConsumer')
    return {}
  }

  async listConsumers() {
    this.called.push('listConsumers')
    return { consumers: [{ consumer: 'default', from: 0, unread: this.log.length }] }
  }

  async readEvents({ after = 0, limit = 100 }: ParamsOf<'readEvents'>) {
    this.called.push('readEvents')
    return { events: this.log.filter(event => event.cursor > after).slice(0, limit) }
  }

  async ackEvents({ cursor, upTo = 0 }: ParamsOf<'ackEvents'>) {
    this.called.push('ackEvents')
    this.log = this.log.filter(event => event.cursor !== cursor && event.cursor > upTo)
    return {}
  }

  async *events({ after = 0, signal }: { after?: number; signal?: AbortSignal } = {}): AsyncGenerator<AgentEvent> {
    let cursor = after
    for (;;) {
      if (this.closed || signal?.aborted === true) return
      const failure = this.#failure
      this.#failure = undefined
      if (failure !== undefined) throw failure
      const next = this.log.find(event => event.cursor > cursor)
      if (next === undefined) await this.#changed(signal)
      else {
        cursor = next.cursor
        yield next
      }
    }
  }

  async close(): Promise<void> {
    this.closed = true
    for (const wake of this.#wakers) wake()
  }

  #receive(connectionId: string, body: Uint8Array): void {
    const connection = this.#connection(connectionId)
    const messageId = connection.nextMessageId++
    const facts = {
      integrity: { result: 'ok' },
      brokerId: 'b',
      brokerAt: 0,
      senderMessageId: 1,
      notify: true,
      pqEncryption: false,
    } as const
    this.emit(connectionId, { type: 'MSG', messageId, body, ...facts })
  }

  #connection(connectionId: string): Connection {
    const connection = this.connections.get(connectionId)
    if (connection === undefined) {
      throw new CallError('CONN_NOT_FOUND', 'there is no such connection', {
        field: connectionId,
        hint: 'listConnections names those there are',
        facts: { known: this.connections.size },
      })
    }
    return connection
  }

  /** Resolves with the next event, the end of the agent or the abort. */
  #changed(signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        this.#wakers.delete(wake)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      this.#wakers.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }
}

// A call that this double does not play fails by its name.
for (const name of Object.keys(calls)) {
  if (name in PlayedAgent.prototype) continue
  Object.defineProperty(PlayedAgent.prototype, name, {
    value: () => Promise.reject(new CallError('CMD_PROHIBITED', `the double does not play ${name}`, { field: name })),
  })
}

export type FakeAgent = PlayedAgent & Agent
export const FakeAgent = PlayedAgent as unknown as new (name: string, network?: FakeNetwork) => FakeAgent
