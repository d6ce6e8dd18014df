/**
 * Two agents talk while everything breaks under a random schedule: connections, the router, the agents, their disks. Whatever
 * happens, no message is lost, none is told again after its acknowledgement was answered, and their order stands.
 */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import type { AgentEvent } from '../../src/agent/index.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { events } from '../../src/store/eventLog.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { type DurableRouter, durableRouter } from '../support/durableRouter.js'
import { brokenDisk } from '../support/storeFaults.js'

type Side = 'alice' | 'bob'
type Fault =
  | { readonly type: 'say'; readonly side: Side; readonly count: number }
  | { readonly type: 'cut' | 'halt' | 'crash'; readonly side: Side }
  /** Kills the agent at one of its next commits, before or behind it. */
  | { readonly type: 'crashAtCommit'; readonly side: Side; readonly at: number; readonly behind: boolean }
  /** One of the next commits fails: not made, or made without an answer. */
  | { readonly type: 'failCommit'; readonly side: Side; readonly at: number; readonly behind: boolean }
  | { readonly type: 'stopRouter' | 'startRouter' }
  | { readonly type: 'reach'; readonly how: 'refuses' | 'silent' | 'answers' }
  | { readonly type: 'latency'; readonly ms: number }
  | { readonly type: 'pass'; readonly ms: number }

const side = fc.constantFrom<Side>('alice', 'bob')
const at = fc.integer({ min: 0, max: 6 })
const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('say'), side, count: fc.integer({ min: 1, max: 6 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('pass'), ms: fc.constantFrom(0, 1, 20, 500, 2_500, 20_000, 70_000) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('cut', 'halt', 'crash'), side }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('crashAtCommit'), side, at, behind: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('failCommit'), side, at, behind: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constantFrom('stopRouter', 'startRouter') }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('reach'), how: fc.constantFrom('refuses', 'silent', 'answers') }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('latency'), ms: fc.constantFrom(0, 5, 300) }) },
) as fc.Arbitrary<Fault>

/** An application: repeats calls that got no answer under their key, in order; acknowledges what it has noted. */
class App {
  readonly name: Side
  readonly wanted: string[] = []
  accepted = 0
  readonly received: string[] = []
  readonly wrong: string[] = []
  readonly #noted = new Set<number>()
  readonly #acknowledged = new Set<number>()
  connectionId = ''
  agent: TestAgent | undefined
  readonly #world: AgentWorld
  readonly #router: DurableRouter
  #starting: Promise<void> | undefined
  #rows = openMemoryStore()
  #commits = 0
  #plan: { at: number; behind: boolean; crash: boolean } | undefined

  constructor(name: Side, world: AgentWorld, router: DurableRouter) {
    this.name = name
    this.#world = world
    this.#router = router
  }

  async start(): Promise<void> {
    if (this.agent !== undefined) return
    await (this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined
    }))
  }

  async #start(): Promise<void> {
    const store = this.#rows
    const commit = store.commit.bind(store)
    store.commit = async changes => {
      const plan =
        this.#rows === store && this.#plan !== undefined && this.#commits++ === this.#plan.at ? this.#plan : undefined
      if (plan === undefined) return commit(changes)
      this.#plan = undefined
      if (plan.behind) await commit(changes)
      if (plan.crash) this.crash()
      else throw plan.behind ? new StoreError('STORE_UNAVAILABLE', 'the answer was lost') : brokenDisk()
      // Whoever waits for this commit is gone.
      return new Promise(() => {})
    }
    const agent = await this.#world.startAgent(this.name, [this.#router.router], { store: { open: store } })
    this.agent = agent
    void agent.agent.subscribe({}).catch(() => {})
    for (const messageId of this.#noted) void this.#acknowledge(agent, messageId)
    void this.#listen(agent)
    void this.#speak(agent)
  }

  crash(): void {
    const { agent } = this
    if (agent === undefined) return
    this.agent = undefined
    this.#plan = undefined
    this.#rows = agent.crash()
  }

  plan(plan: { at: number; behind: boolean; crash: boolean }): void {
    this.#commits = 0
    this.#plan = plan
  }

  say(count: number): void {
    for (let index = 0; index < count; index++) this.wanted.push(`${this.name} ${this.wanted.length}`)
    if (this.agent !== undefined) void this.#speak(this.agent)
  }

  get quiet(): boolean {
    return (
      this.agent !== undefined && this.accepted === this.wanted.length && this.#noted.size === this.#acknowledged.size
    )
  }

  #speaking: TestAgent | undefined

  async #speak(agent: TestAgent): Promise<void> {
    if (this.connectionId === '' || this.#speaking === agent) return
    this.#speaking = agent
    while (this.agent === agent && this.accepted < this.wanted.length) {
      const body = this.wanted[this.accepted] as string
      try {
        await agent.agent.sendMessage({ connectionId: this.connectionId, body, idempotencyKey: body })
        this.accepted++
      } catch (error) {
        if (!(error instanceof StoreError)) this.wrong.push(`sendMessage: ${String(error)}`)
      }
    }
    this.#speaking = undefined
  }

  async #listen(agent: TestAgent): Promise<void> {
    try {
      for await (const event of agent.agent.events()) {
        if (this.agent !== agent) return
        await this.#hear(agent, event)
      }
    } catch (error) {
      if (this.agent === agent) this.wrong.push(`events: ${String(error)}`)
    }
  }

  async #hear(agent: TestAgent, event: AgentEvent): Promise<void> {
    if (['ERR', 'MERR', 'MERRS', 'END'].includes(event.type)) this.wrong.push(JSON.stringify(event))
    if (event.type !== 'MSG') return
    if (this.#acknowledged.has(event.messageId)) this.wrong.push(`twice: ${textOf(event.body)}`)
    if (event.integrity.result !== 'ok') this.wrong.push(JSON.stringify(event.integrity))
    if (!this.#noted.has(event.messageId)) this.received.push(textOf(event.body))
    this.#noted.add(event.messageId)
    await this.#acknowledge(agent, event.messageId)
  }

  async #acknowledge(agent: TestAgent, messageId: number): Promise<void> {
    const { connectionId } = this
    while (this.agent === agent && !this.#acknowledged.has(messageId)) {
      try {
        await agent.agent.ackMessage({ connectionId, messageId })
        this.#acknowledged.add(messageId)
      } catch (error) {
        if (!(error instanceof StoreError)) this.wrong.push(`ackMessage: ${String(error)}`)
      }
    }
  }
}

const applyFault = async (
  fault: Fault,
  world: AgentWorld,
  router: DurableRouter,
  apps: Record<Side, App>,
): Promise<void> => {
  switch (fault.type) {
    case 'say':
      return apps[fault.side].say(fault.count)
    case 'pass':
      return world.clock.advance(fault.ms)
    case 'cut':
    case 'halt':
      for (const link of world.network.links({ from: fault.side })) link[fault.type]()
      return
    case 'crash':
      apps[fault.side].crash()
      await world.clock.advance(100)
      return apps[fault.side].start()
    case 'crashAtCommit':
      return apps[fault.side].plan({ ...fault, crash: true })
    case 'failCommit':
      return apps[fault.side].plan({ ...fault, crash: false })
    case 'stopRouter':
      return router.stop()
    case 'startRouter':
      return router.start()
    case 'reach':
      return world.network.setReachable(router.place, fault.how)
    case 'latency':
      return world.network.setLatency(fault.ms)
  }
}

const heal = async (world: AgentWorld, router: DurableRouter, apps: readonly App[]): Promise<void> => {
  await router.start()
  world.network.setReachable(router.place, 'answers')
  world.network.setLatency(0)
  for (const app of apps) await app.start()
}

const talk = async (faults: readonly Fault[]): Promise<void> => {
  const world = agentWorld()
  const router = await durableRouter(world)
  const apps = { alice: new App('alice', world, router), bob: new App('bob', world, router) }
  const both = [apps.alice, apps.bob]
  try {
    for (const app of both) await app.start()
    const { initiatorId, joinerId } = await world.connect(apps.alice.agent as TestAgent, apps.bob.agent as TestAgent)
    apps.alice.connectionId = initiatorId
    apps.bob.connectionId = joinerId
    for (const app of both) app.say(2)
    for (const fault of faults) {
      await applyFault(fault, world, router, apps)
      // A crash at a commit comes when it comes: the next start is a step of the schedule.
      if (fault.type === 'pass') for (const app of both) await app.start()
    }
    await heal(world, router, both)
    for (const app of both) app.say(1)
    const report = () =>
      both
        .map(
          ({ name, accepted, wanted, received, wrong }) =>
            `${name} accepted ${accepted}/${wanted.length}, got ${received.length}, ${wrong.join()}`,
        )
        .join('; ')
    await world
      .until(() => {
        const { alice, bob } = apps
        const all = alice.received.length >= bob.wanted.length && bob.received.length >= alice.wanted.length
        for (const app of both) void app.start()
        return all && both.every(app => app.quiet)
      }, 'everything delivered')
      .catch((error: Error) => {
        throw new Error(`${error.message}: ${report()}`)
      })
    await world.clock.advance(300_000)
    for (const app of both) expect(app.wrong).toEqual([])
    expect(apps.bob.received).toEqual(apps.alice.wanted)
    expect(apps.alice.received).toEqual(apps.bob.wanted)
    for (const { agent } of both) {
      expect(await agent?.store.find(deliveries, {})).toEqual([])
      expect(await agent?.store.find(events, { where: { type: 'MSG' } })).toEqual([])
    }
  } finally {
    await world.close()
    await router.stop()
  }
}

it('nothing lost, nothing twice, everything in order, under any schedule of faults', { timeout: 300_000 }, async () => {
  const numRuns = Number(process.env['FAULT_RUNS'] ?? 25)
  await fc.assert(fc.asyncProperty(fc.array(fault, { minLength: 5, maxLength: 40 }), talk), { numRuns })
})
