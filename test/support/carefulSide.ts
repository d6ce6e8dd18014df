/**
 * One side of a handshake as a careful application plays it: it answers REQ and CONF, acknowledges every event, and repeats after a kill
 * every call that got no answer, under the same key; also one that was told of a router that cannot be reached.
 */
import type { Agent, AgentEvent } from '../../src/index.js'
import type { MemoryStore } from '../../src/store/memory.js'
import type { TestAgent } from './agentWorld.js'

type Call = (agent: Agent) => Promise<unknown>

export class CarefulSide {
  agent: TestAgent
  /** Types of events in their order, each once. */
  readonly told: string[] = []
  readonly messages: string[] = []
  readonly errors: unknown[] = []
  /** Ids of the connections that have told CON. */
  readonly complete: string[] = []
  kills = 0
  readonly #start: (store?: MemoryStore) => Promise<TestAgent>
  readonly #asked = new Map<string, Call>()
  readonly #answers = new Map<string, unknown>()
  readonly #seen = new Set<number>()
  #rows: MemoryStore | undefined
  #starting = false

  private constructor(agent: TestAgent, start: (store?: MemoryStore) => Promise<TestAgent>) {
    this.agent = agent
    this.#start = start
  }

  static async open(start: (store?: MemoryStore) => Promise<TestAgent>): Promise<CarefulSide> {
    return new CarefulSide(await start(), start)
  }

  /** Whether it runs: not killed, nor being started again. */
  get alive(): boolean {
    return this.#rows === undefined && !this.#starting
  }

  /** Calls, and calls again after each kill until there is an answer. */
  ask(key: string, call: Call): void {
    this.#asked.set(key, call)
    this.#call(key)
  }

  answer<T>(key: string): T | undefined {
    return this.#answers.get(key) as T | undefined
  }

  /** The agent is gone from this moment on; `goOn` starts the next one on its rows. */
  kill(): void {
    this.kills++
    this.#rows = this.agent.crash()
  }

  /** Starts what was killed, and answers what has come. */
  async goOn(): Promise<void> {
    if (this.#starting) return
    if (this.#rows !== undefined) {
      this.#starting = true
      this.agent = await this.#start(this.#rows)
      this.#rows = undefined
      this.#starting = false
      for (const key of this.#asked.keys()) if (!this.#answers.has(key)) this.#call(key)
      this.ask(`subscribe ${this.kills}`, agent => agent.subscribe({}))
    }
    for (const event of this.agent.events) this.#handle(event)
  }

  #call(key: string): void {
    const { agent } = this.agent
    const call = this.#asked.get(key) as Call
    call(agent).then(
      answer => this.#answers.set(key, answer),
      (error: { readonly code?: string }) => {
        // A killed one fails its calls in any way.
        if (agent !== this.agent.agent || this.#rows !== undefined) return
        // The router could not be reached in time, which only createConnection waits for.
        if (error.code?.startsWith('TRANSPORT_') === true) this.#call(key)
        else this.errors.push(error)
      },
    )
  }

  #handle(event: AgentEvent): void {
    const { cursor, connectionId, type } = event
    if (this.#seen.has(cursor)) return
    this.#seen.add(cursor)
    if (type !== 'UP' && type !== 'DOWN') this.told.push(type)
    if (type === 'CON') this.complete.push(connectionId)
    if (type === 'REQ') {
      const { invitationId } = event
      this.ask(`accept ${cursor}`, agent =>
        agent.acceptContact({ invitationId, info: 'accepted', idempotencyKey: invitationId }),
      )
    } else if (type === 'CONF') {
      const { confirmationId } = event
      this.ask(`allow ${cursor}`, agent => agent.allowConnection({ connectionId, confirmationId, info: 'allowed' }))
    } else if (type === 'MSG') this.messages.push(Buffer.from(event.body).toString())
    this.ask(`ack ${cursor}`, agent => agent.ackEvents({ cursor }))
  }
}
