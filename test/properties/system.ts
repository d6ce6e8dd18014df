/** Two agents with their readers, as the commands of the properties see them. */
import type { Agent, AgentEvent } from '../../src/index.js'
import { agentTables } from '../../src/store/agent/tables.js'
import { type AgentWorld, agentWorld, textOf } from '../support/agentWorld.js'
import { openMemoryStore, type MemoryStore } from '../../src/store/memory.js'
import { openAgent } from '../../src/index.js'
import type { Router } from '../../src/router/router.js'
import { toyKem } from '../ratchet/toyKem.js'
import { type Name, other } from './model.js'

/** What a side knows of a connection. */
export interface RealConnection {
  readonly ids: Partial<Record<Name, string>>
  link: string
  readonly heard: Record<Name, string[]>
  readonly failed: string[]
  readonly complete: Set<Name>
  readonly syncing: Set<Name>
}

export interface Party {
  readonly name: Name
  readonly agent: Agent
  readonly store: MemoryStore
}

const floor = new Set(['users', 'user_routers', 'statistics', 'event_consumers', 'counters'])

/** The real thing. Its readers take one event at a time, and call back into its connection before they take the next one. */
export class System {
  readonly world: AgentWorld
  readonly connections: RealConnection[] = []
  readonly users = new Map<number, number>([[0, 1]])
  readonly wrong: string[] = []
  readonly parties: Record<Name, Party>
  #reading = true

  private constructor(world: AgentWorld, parties: Record<Name, Party>) {
    this.world = world
    this.parties = parties
    for (const party of Object.values(parties)) void this.#read(party)
  }

  /** `wrap`: stands between the agents and their rows. */
  static async open(wrap: (store: MemoryStore, name: Name) => void = () => {}): Promise<System> {
    const world = agentWorld()
    const routers = [await world.startRouter(), await world.startRouter()]
    const party = async (name: Name): Promise<Party> => {
      const store = openMemoryStore()
      wrap(store, name)
      const agent = await openAgent({
        store: { open: store },
        routers: routers.map(({ address }: Router) => address),
        dialer: world.network.dialer(name),
        clock: world.clock,
        kem: toyKem,
        config: { storedDataMs: 3_600_000 },
      })
      await agent.registerConsumer({})
      return { name, agent, store }
    }
    return new System(world, { alice: await party('alice'), bob: await party('bob') })
  }

  agent(name: Name): Agent {
    return this.parties[name].agent
  }

  /** Lets a moment pass. */
  pass(ms: number): Promise<void> {
    return this.world.clock.advance(ms)
  }

  until(done: () => boolean, what: string): Promise<void> {
    return this.world.until(() => this.wrong.length > 0 || done(), what)
  }

  async #read({ name, agent }: Party): Promise<void> {
    let after = 0
    while (this.#reading) {
      const events = await agent.readEvents({ after, limit: 1, waitMs: 30_000 }).then(
        answer => answer.events as AgentEvent[],
        () => [],
      )
      const [event] = events
      if (event === undefined) {
        if (!this.#reading) return
        await new Promise<void>(resolve => void this.world.clock.setTimeout(resolve, 100))
        continue
      }
      if (event.cursor <= after) this.wrong.push(`${name}: event ${event.cursor} after ${after}`)
      after = event.cursor
      await this.#take(name, event)
    }
  }

  async #take(name: Name, event: AgentEvent): Promise<void> {
    const real = this.connections.find(({ ids }) => ids[name] === event.connectionId)
    const { connectionId } = event
    if (event.type === 'CON') real?.complete.add(name)
    if (event.type === 'RSYNC' && event.state === 'ok') real?.syncing.delete(name)
    if (event.type === 'MERR' || event.type === 'MERRS') real?.failed.push(event.error.code)
    if (event.type === 'CONF') {
      const { confirmationId } = event
      await this.#insist(name, agent => agent.allowConnection({ connectionId, confirmationId }))
    }
    if (event.type === 'MSG') {
      const body = textOf(event.body)
      if (real?.heard[name].includes(body) === true) this.wrong.push(`${body} twice`)
      if (event.integrity.result !== 'ok') this.wrong.push(`${body}: ${JSON.stringify(event.integrity)}`)
      real?.heard[name].push(body)
    }
    const receipt = event.type === 'MSG' && event.messageId % 2 === 0 ? { receipt: '' } : {}
    const isMessage = event.type === 'MSG' || event.type === 'RCVD'
    await this.#insist(name, agent =>
      isMessage
        ? agent.ackMessage({ connectionId, messageId: event.messageId, ...receipt }).catch(refused => {
            // While the ratchet is made anew no receipt can be sent; a deleted connection has no messages.
            if (codeOf(refused) === 'AGENT_SUSPENDED') throw refused
            return agent.ackEvents({ cursor: event.cursor })
          })
        : agent.ackEvents({ cursor: event.cursor }),
    )
  }

  // Refused while the agent is suspended, and made again until it is not.
  async #insist(name: Name, call: (agent: Agent) => Promise<unknown>): Promise<void> {
    for (;;) {
      const code = await call(this.agent(name)).then(
        () => undefined,
        (error: unknown) => codeOf(error),
      )
      if (code !== 'AGENT_SUSPENDED' || !this.#reading) {
        if (code !== undefined && code !== 'AGENT_CLOSED' && code !== 'CONN_NOT_FOUND')
          this.wrong.push(`${name}: ${code}`)
        return
      }
      await new Promise<void>(resolve => void this.world.clock.setTimeout(resolve, 100))
    }
  }

  /** Rows that are left when everything was deleted and has aged. */
  async leftovers(): Promise<string[]> {
    const left: string[] = []
    for (const { name, store } of Object.values(this.parties)) {
      for (const table of agentTables) {
        const count = floor.has(table.name) ? 0 : await store.count(table)
        if (count > 0) left.push(`${name}: ${count} rows of ${table.name}`)
      }
    }
    return left
  }

  newConnection(alice: string, link: string): RealConnection {
    const connection: RealConnection = {
      ids: { alice },
      link,
      heard: { alice: [], bob: [] },
      failed: [],
      complete: new Set(),
      syncing: new Set(),
    }
    this.connections.push(connection)
    return connection
  }

  /** Where messages of one side arrive. */
  heardFrom(connection: RealConnection, name: Name): readonly string[] {
    return connection.heard[other(name)]
  }

  async close(): Promise<void> {
    this.#reading = false
    for (const { agent } of Object.values(this.parties)) await agent.close()
    await this.world.close()
  }
}

export const codeOf = (error: unknown): string => String((error as { code?: unknown }).code ?? error)
