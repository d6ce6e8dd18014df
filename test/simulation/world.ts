/** A whole world of one plan: agents and their applications, routers, and a network on one virtual clock. */
import type { TraceRecord } from '../../src/runtime/ports.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'
import { Application } from './application.js'
import { type Disk, memoryDisk } from './disk.js'
import { Ledger } from './ledger.js'
import { SimulatedNetwork } from './network.js'
import { Pair } from './pair.js'
import type { Plan, Step } from './plan.js'
import { AgentProcess } from './process.js'
import { SimulatedRouter } from './router.js'
import { seeded } from './seeded.js'
import { quiet } from './settle.js'

export interface WorldOptions {
  /** Hears of every unit and transition of every agent. */
  readonly trace?: (agent: string, record: TraceRecord) => void
  /** Where the rows of an agent are. */
  readonly disk?: (agent: string) => Disk
  /** Waits for what one moment sets off. */
  readonly settle?: () => Promise<void>
}

export class World {
  readonly plan: Plan
  readonly clock: VirtualClock
  readonly ledger = new Ledger()
  readonly network: SimulatedNetwork
  readonly routers: readonly SimulatedRouter[]
  readonly pairs = new Map<number, Pair>()
  applications: readonly Application[] = []
  readonly #options: WorldOptions

  constructor(plan: Plan, options: WorldOptions = {}) {
    this.plan = plan
    this.#options = options
    this.clock = virtualClock(undefined, options.settle ?? quiet)
    const random = seeded(plan.seed)
    this.network = new SimulatedNetwork(this.clock, random.branch('network'), plan.latency)
    this.routers = Array.from(
      { length: plan.routers },
      (_, index) =>
        new SimulatedRouter({
          name: `router${index}`,
          world: this.clock,
          network: this.network,
          random: random.branch(`router${index}`),
          quota: plan.quota,
        }),
    )
  }

  async start(): Promise<void> {
    for (const router of this.routers) await router.start()
    const routers = this.routers.map(({ address }) => address)
    const { agents, seed, cleanupIntervalMs } = this.plan
    this.applications = Array.from({ length: agents }, (_, index) => {
      const name = `agent${index}`
      const { trace, disk = () => memoryDisk() } = this.#options
      const process = new AgentProcess(
        {
          name,
          world: this.clock,
          network: this.network,
          random: seeded(`${seed}/${name}`),
          disk: disk(name),
          routers,
          // Over days an agent need not look after itself every five minutes.
          config: { cleanupIntervalMs, idleSessionMs: cleanupIntervalMs },
          ...(trace === undefined ? {} : { trace: record => trace(name, record) }),
        },
        agent => application.started(agent),
      )
      const application: Application = new Application(process, this.clock, this.ledger, this.pairs)
      return application
    })
    for (const { process } of this.applications) await process.start()
  }

  /** Sets off what a step says; nobody waits for its end. */
  apply(step: Step): void {
    switch (step.do) {
      case 'meet':
        return this.#meet(step)
      case 'say': {
        const end = this.#end(step)
        return end?.app.say(end, step.count, step.how)
      }
      case 'switch':
      case 'abort':
      case 'sync':
        return this.#command(step)
      case 'delete': {
        const end = this.#end(step)
        return void end?.app.delete(end, step.wait)
      }
      case 'stall':
        return this.#application(step)?.stall(step.ms)
      case 'suspend':
        return this.#during(
          step,
          agent => agent.suspendAgent({ maxDelayMs: step.graceMs }),
          agent => agent.foregroundAgent({}),
        )
      case 'offline':
        return this.#during(
          step,
          agent => agent.setNetwork({ online: false }),
          agent => agent.setNetwork({ online: true }),
        )
      case 'configure': {
        const { sessionMode, proxyMode } = step
        return void this.#application(step)?.may('setNetworkConfig', agent =>
          agent.setNetworkConfig({ sessionMode, proxyMode }),
        )
      }
      default:
        return this.#fault(step)
    }
  }

  #fault(step: Step): void {
    const process = 'agent' in step ? this.#application(step)?.process : undefined
    const router = 'router' in step ? this.routers[step.router] : undefined
    switch (step.do) {
      case 'crash':
        return process?.crash(step.after, step.downMs)
      case 'disk':
        return process?.failCommit(step.after, step.how)
      case 'jump':
        return process?.clock.jump(step.ms)
      case 'crashRouter':
        return router?.crash(step.after, step.downMs)
      case 'jumpRouter':
        return router?.clock.jump(step.ms)
      case 'duplicate':
        return process && this.network.duplicate(process.name, step.count)
      case 'latency':
        return this.network.setLatency(step)
      case 'cut':
      case 'halt':
      case 'halfOpen':
        if (process === undefined || router === undefined) return
        for (const link of this.network.memory.links({ from: process.name, place: router.place })) {
          if (step.do === 'cut') link.cut()
          else link.halt(step.do === 'halfOpen' ? step.direction : 'both')
        }
        return
      case 'partition':
        if (process === undefined || router === undefined) return
        this.network.part(process.name, router.place, step.how)
        this.clock.setTimeout(() => this.network.join(process.name, router.place), step.ms)
        return
      default:
        throw new Error(`nobody does ${step.do}`)
    }
  }

  /** Nothing is broken or held back from here on. */
  async heal(): Promise<void> {
    this.network.setLatency({ min: 1, max: 20 })
    for (const router of this.routers) {
      router.forgetPlans()
      await router.start()
    }
    for (const app of this.applications) {
      app.process.forgetPlans()
      for (const { place } of this.routers) this.network.join(app.name, place)
      await app.process.start()
      app.heal()
      void app.may('foregroundAgent', agent => agent.foregroundAgent({}))
      void app.may('setNetwork', agent => agent.setNetwork({ online: true }))
      app.calls.hurry()
    }
  }

  async close(): Promise<void> {
    for (const { process } of this.applications) process.stop()
    for (const router of this.routers) router.stop()
  }

  #application({ agent }: { readonly agent: number }): Application | undefined {
    return this.applications[agent]
  }

  #end({ pair, side }: { readonly pair: number; readonly side: 'a' | 'b' }) {
    return this.pairs.get(pair)?.end(side)
  }

  #meet(step: Extract<Step, { do: 'meet' }>): void {
    const [a, b] = [this.applications[step.a], this.applications[step.b]]
    if (a === undefined || b === undefined || a === b || this.pairs.has(step.pair)) return
    const pair = new Pair(step.pair, step, a, b)
    this.pairs.set(step.pair, pair)
    void a.meet(pair)
  }

  #command(step: Extract<Step, { do: 'switch' | 'abort' | 'sync' }>): void {
    const end = this.#end(step)
    const connectionId = end?.connectionId
    if (end === undefined || connectionId === undefined || !end.connected || end.pair.over) return
    if (step.do === 'sync') return end.app.synchronize(end)
    // The answer to a QADD that comes behind the abort is an error (B72).
    if (step.do === 'abort') end.pair.aborted = true
    else end.pair.switched = true
    void end.app.may(`${step.do} ${step.pair}.${step.side}`, agent =>
      step.do === 'switch' ? agent.switchConnection({ connectionId }) : agent.abortSwitch({ connectionId }),
    )
  }

  #during(
    step: { readonly agent: number; readonly ms: number; readonly do: string },
    begin: (agent: Parameters<Parameters<Application['may']>[1]>[0]) => Promise<unknown>,
    end: (agent: Parameters<Parameters<Application['may']>[1]>[0]) => Promise<unknown>,
  ): void {
    const app = this.#application(step)
    if (app === undefined) return
    void app.may(step.do, begin)
    this.clock.setTimeout(() => void app.may(`end of ${step.do}`, end), step.ms)
  }
}
