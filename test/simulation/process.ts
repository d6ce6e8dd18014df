import { type Agent, type AgentOptions, openAgent } from '../../src/index.js'
import type { Clock } from '../../src/runtime/clock.js'
import type { OwnedClock } from '../../src/runtime/ownedClock.js'
import type { TraceRecord } from '../../src/runtime/ports.js'
import type { Store } from '../../src/store/index.js'
import { toyKemFrom } from '../ratchet/toyKem.js'
import { processClock, SettableClock } from './clocks.js'
import { type Disk, type DiskFault, watchedStore } from './disk.js'
import { Effects } from './effects.js'
import type { SimulatedNetwork } from './network.js'
import type { Seeded } from './seeded.js'

export interface AgentProcessOptions {
  readonly name: string
  readonly world: Clock
  readonly network: SimulatedNetwork
  readonly random: Seeded
  readonly disk: Disk
  readonly routers: readonly string[]
  readonly config: NonNullable<AgentOptions['config']>
  readonly trace?: (record: TraceRecord) => void
}

interface Running {
  readonly effects: Effects
  readonly clock: OwnedClock
}

/** An agent in a process of its own, which ends and starts again on the same rows. */
export class AgentProcess {
  readonly name: string
  readonly clock: SettableClock
  /** The agent that runs now. */
  agent: Agent | undefined
  readonly #options: AgentProcessOptions
  #running: Running | undefined
  #starts = 0
  #starting = false
  #faults: Array<{ left: number; readonly fault: DiskFault }> = []
  #waiting: Array<(agent: Agent) => void> = []
  readonly #started: (agent: Agent) => void

  constructor(options: AgentProcessOptions, started: (agent: Agent) => void) {
    this.#options = options
    this.#started = started
    this.name = options.name
    this.clock = new SettableClock(options.world)
  }

  get rows(): Store {
    return this.#options.disk.look()
  }

  /** The agent that runs now or next. */
  ready(): Promise<Agent> {
    return this.agent === undefined ? new Promise(resolve => this.#waiting.push(resolve)) : Promise.resolve(this.agent)
  }

  async start(): Promise<void> {
    if (this.#running !== undefined || this.#starting) return
    this.#starting = true
    const { name, network, random, disk, routers, config, trace } = this.#options
    const own = random.branch(`${name} ${this.#starts++}`).bytes
    const effects = new Effects()
    const clock = processClock(this.clock)
    const store = await disk.open()
    this.#running = { effects, clock }
    this.#starting = false
    let agent: Agent
    try {
      agent = await openAgent({
        store: { open: watchedStore(store, effects, () => this.#takeFault()) },
        routers,
        dialer: network.dialer(name, effects),
        clock,
        random: own,
        kem: toyKemFrom(own),
        config,
        ...(trace === undefined ? {} : { trace }),
      })
    } catch {
      // A disk that fails while it is opened: whoever starts processes tries again.
      if (effects.alive) this.#end(1_000)
      return
    }
    if (!effects.alive) return
    this.agent = agent
    this.#started(agent)
    for (const resolve of this.#waiting.splice(0)) resolve(agent)
  }

  /** Ends it as kill -9 does, before one of its next effects, and starts it again later. */
  crash(after: number, downMs: number): void {
    const running = this.#running
    running?.effects.plan(after, () => {
      if (this.#running === running) this.#end(downMs)
    })
  }

  /** One of the next commits fails. */
  failCommit(after: number, fault: DiskFault): void {
    this.#faults.push({ left: after, fault })
  }

  forgetPlans(): void {
    this.#running?.effects.forgetPlans()
    this.#faults = []
  }

  /** Ends it in order. */
  async close(): Promise<void> {
    await this.agent?.close()
    this.stop()
  }

  stop(): void {
    const running = this.#running
    this.#running = undefined
    this.agent = undefined
    running?.effects.end()
    running?.clock.close()
    this.#options.network.cutAll({ from: this.name })
  }

  #end(downMs: number): void {
    this.stop()
    this.#options.world.setTimeout(() => void this.start(), downMs)
  }

  #takeFault(): DiskFault | undefined {
    const due = this.#faults.filter(one => one.left-- <= 0)
    this.#faults = this.#faults.filter(one => !due.includes(one))
    return due[0]?.fault
  }
}
