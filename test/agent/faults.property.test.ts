/**
 * Two agents talk while everything breaks under a random schedule: connections, the router, the agents, their disks. Whatever
 * happens, no message is lost, none is told again after its acknowledgement was answered, and their order stands.
 */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { StoreError, TransportError } from '../../src/errors.js'
import type { AgentEvent } from '../../src/agent/index.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { events } from '../../src/store/eventLog.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { type DurableRouter, durableRouter } from '../support/durableRouter.js'
import { legacyLink } from '../support/legacyLink.js'
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

/** What the two parties know of each other outside of the network. */
interface Meeting {
  /** By an invitation, by one of the legacy form, or by a contact address of alice’s. */
  readonly kind: 'fast' | 'legacy' | 'contact'
  link?: string
}

/** An application: repeats calls that got no answer under their key, in order; acknowledges what it has noted. */
class App {
  readonly name: Side
  readonly wanted: string[] = []
  accepted = 0
  readonly received: string[] = []
  /** Messages of this side that the other has sent a receipt of, in the order of the receipts. */
  readonly receipted: string[] = []
  readonly wrong: string[] = []
  readonly #noted = new Set<number>()
  readonly #acknowledged = new Set<number>()
  /** Received messages that get a receipt. */
  readonly #owed = new Set<number>()
  readonly #sentAs = new Map<number, string>()
  connectionId = ''
  readonly #meeting: Meeting
  #allowed = false
  #connected = false
  #meetingNow: TestAgent | undefined
  agent: TestAgent | undefined
  readonly #world: AgentWorld
  readonly #router: DurableRouter
  #starting: Promise<void> | undefined
  #rows = openMemoryStore()
  #commits = 0
  #plan: { at: number; behind: boolean; crash: boolean } | undefined

  constructor(name: Side, meeting: Meeting, world: AgentWorld, router: DurableRouter) {
    this.name = name
    this.#meeting = meeting
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
    void this.meet()
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

  /** No more planned faults: an agent that is closed must not die at its last commit. */
  calm(): void {
    this.#plan = undefined
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

  /** Whether this side has done its part, or waits for a request. */
  get #hasMet(): boolean {
    return this.name === 'alice' ? this.#meeting.link !== undefined : this.connectionId !== ''
  }

  /** Alice makes the link, bob joins by it: each call is repeated under its key until it is answered. */
  async meet(): Promise<void> {
    const { agent } = this
    if (agent === undefined || this.#meetingNow === agent) return
    this.#meetingNow = agent
    const { kind } = this.#meeting
    while (this.agent === agent && !this.#hasMet) {
      try {
        if (this.name === 'alice') {
          const mode = kind === 'contact' ? 'contact' : 'invitation'
          const { connectionId, link } = await agent.agent.createConnection({ mode, idempotencyKey: 'meet' })
          if (kind !== 'contact') this.connectionId = connectionId
          this.#meeting.link = kind === 'legacy' ? legacyLink(link) : link
        } else if (this.#meeting.link !== undefined) {
          const params = { link: this.#meeting.link, idempotencyKey: 'meet' }
          this.connectionId = (await agent.agent.joinConnection(params)).connectionId
        } else break
      } catch (error) {
        this.#blame(agent, 'meet', error)
        // Tried again at the next step of the schedule, when time has passed.
        break
      }
    }
    this.#meetingNow = undefined
  }

  async #allow(agent: TestAgent, connectionId: string, confirmationId: string): Promise<void> {
    while (this.agent === agent && !this.#allowed) {
      try {
        await agent.agent.allowConnection({ connectionId, confirmationId })
        this.#allowed = true
      } catch (error) {
        this.#blame(agent, 'allowConnection', error)
      }
    }
  }

  async #accept(agent: TestAgent, invitationId: string): Promise<void> {
    while (this.agent === agent && this.connectionId === '') {
      try {
        const { connectionId } = await agent.agent.acceptContact({ invitationId, idempotencyKey: 'accept' })
        this.connectionId = connectionId
      } catch (error) {
        this.#blame(agent, 'acceptContact', error)
      }
    }
  }

  // Disks, networks and ends of the process are what callers must expect.
  #blame(agent: TestAgent, call: string, error: unknown): void {
    if (this.wrong.length > 100) throw error
    const expected = error instanceof StoreError || error instanceof TransportError || this.agent !== agent
    if (!expected) this.wrong.push(`${call}: ${String(error)}`)
  }

  #speaking: TestAgent | undefined

  async #speak(agent: TestAgent): Promise<void> {
    if (!this.#connected || this.#speaking === agent) return
    this.#speaking = agent
    while (this.agent === agent && this.accepted < this.wanted.length) {
      // Every other time several at once.
      const bodies = this.wanted.slice(this.accepted, this.accepted + (this.accepted % 2 === 0 ? 1 : 3))
      try {
        for (const [index, messageId] of (await this.#send(agent, bodies)).entries()) {
          this.#sentAs.set(messageId, bodies[index] as string)
        }
        this.accepted += bodies.length
      } catch (error) {
        this.#blame(agent, 'sendMessage', error)
      }
    }
    this.#speaking = undefined
  }

  async #send({ agent }: TestAgent, bodies: readonly string[]): Promise<number[]> {
    const { connectionId } = this
    const items = bodies.map(body => ({ connectionId, body, idempotencyKey: body }))
    const [only, ...more] = items
    if (only !== undefined && more.length === 0) return [(await agent.sendMessage(only)).messageId]
    const { results } = await agent.sendMessages({ items })
    return results.map(({ messageId, error }) => {
      if (messageId === undefined) throw new Error(`sendMessages: ${JSON.stringify(error)}`)
      return messageId
    })
  }

  async #listen(agent: TestAgent): Promise<void> {
    while (this.agent === agent) {
      try {
        for await (const event of agent.agent.events()) {
          if (this.agent !== agent) return
          await this.#hear(agent, event)
        }
        return
      } catch (error) {
        this.#blame(agent, 'events', error)
      }
    }
  }

  async #hear(agent: TestAgent, event: AgentEvent): Promise<void> {
    // A join that meets a router that is away says so, and goes on.
    const goesOn = event.type === 'ERR' && event.temporary === true
    if (['ERR', 'MERR', 'MERRS', 'END'].includes(event.type) && !goesOn) this.wrong.push(JSON.stringify(event))
    if (event.type === 'REQ') await this.#accept(agent, event.invitationId)
    if (event.type === 'CONF') await this.#allow(agent, event.connectionId, event.confirmationId)
    if (event.type === 'CON') {
      // A join whose answer was lost has had its effect.
      if (this.connectionId === '') this.connectionId = event.connectionId
      if (this.connectionId !== event.connectionId) this.wrong.push('CON of another connection')
      this.#connected = true
      void this.#speak(agent)
    }
    if (event.type === 'RCVD') await this.#hearReceipts(agent, event)
    if (event.type !== 'MSG') return
    if (this.#acknowledged.has(event.messageId)) this.wrong.push(`twice: ${textOf(event.body)}`)
    if (event.integrity.result !== 'ok') this.wrong.push(JSON.stringify(event.integrity))
    if (!this.#noted.has(event.messageId)) this.received.push(textOf(event.body))
    this.#noted.add(event.messageId)
    if (isOwedReceipt(textOf(event.body))) this.#owed.add(event.messageId)
    await this.#acknowledge(agent, event.messageId)
  }

  // An answer that was lost may have left the message without a number here: its receipt is none of a wrong message.
  async #hearReceipts(agent: TestAgent, event: Extract<AgentEvent, { type: 'RCVD' }>): Promise<void> {
    if (this.#acknowledged.has(event.messageId)) this.wrong.push(`receipt twice: ${event.messageId}`)
    if (!this.#noted.has(event.messageId)) {
      for (const { messageId, result } of event.receipts) {
        if (result !== 'ok') this.wrong.push(`receipt of ${messageId}: ${result}`)
        this.receipted.push(this.#sentAs.get(messageId) ?? '')
      }
    }
    this.#noted.add(event.messageId)
    await this.#acknowledge(agent, event.messageId)
  }

  async #acknowledge(agent: TestAgent, messageId: number): Promise<void> {
    const { connectionId } = this
    while (this.agent === agent && !this.#acknowledged.has(messageId)) {
      try {
        await agent.agent.ackMessage({ connectionId, messageId, ...(this.#owed.has(messageId) ? { receipt: '' } : {}) })
        this.#acknowledged.add(messageId)
      } catch (error) {
        this.#blame(agent, 'ackMessage', error)
      }
    }
  }
}

/** Every third message gets a receipt. */
const isOwedReceipt = (body: string): boolean => Number(body.split(' ')[1]) % 3 === 0

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

const talk = async (settled: boolean, faults: readonly Fault[], kind: Meeting['kind'] = 'fast'): Promise<void> => {
  const world = agentWorld()
  const router = await durableRouter(world)
  const meeting: Meeting = { kind }
  const apps = { alice: new App('alice', meeting, world, router), bob: new App('bob', meeting, world, router) }
  const both = [apps.alice, apps.bob]
  try {
    for (const app of both) await app.start()
    for (const app of both) app.say(2)
    if (settled) {
      const met = () => {
        for (const app of both) void app.meet()
        return both.every(app => app.quiet && app.received.length === 2)
      }
      await world.until(met, 'connected')
    }
    for (const fault of faults) {
      for (const app of both) void app.meet()
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
        for (const app of both) void app.meet()
        return all && both.every(app => app.quiet)
      }, 'everything delivered')
      .catch((error: Error) => {
        throw new Error(`${error.message}: ${report()}`)
      })
    await world.clock.advance(300_000)
    // A crash may have waited for the commit of the cleanup.
    for (const app of both) await app.start()
    for (const app of both) expect(app.wrong).toEqual([])
    expect(apps.bob.received).toEqual(apps.alice.wanted)
    expect(apps.alice.received).toEqual(apps.bob.wanted)
    for (const { agent, wanted, receipted } of both) {
      expect(await agent?.store.find(deliveries, {})).toEqual([])
      expect(await agent?.store.find(events, { where: { type: { in: ['MSG', 'RCVD'] } } })).toEqual([])
      // A message that comes before the connection is complete gets none.
      const owed = wanted.filter(isOwedReceipt)
      if (settled) expect(receipted).toHaveLength(owed.length)
      else expect(receipted.length).toBeLessThanOrEqual(owed.length)
    }
  } finally {
    for (const app of both) app.calm()
    await world.close()
    await router.stop()
  }
}

const numRuns = Number(process.env['FAULT_RUNS'] ?? 20)
const schedule = fc.array(fault, { minLength: 5, maxLength: 40 })

it('nothing lost, nothing twice, everything in order, under any schedule of faults', { timeout: 600_000 }, () =>
  fc.assert(
    fc.asyncProperty(schedule, faults => talk(true, faults)),
    { numRuns },
  ),
)

it('the same when the faults begin before the two are connected', { timeout: 600_000 }, () =>
  fc.assert(
    fc.asyncProperty(schedule, faults => talk(false, faults)),
    { numRuns },
  ),
)

it.each(['legacy', 'contact'] as const)(
  'B12 B15 B18 the same in the other handshakes: %s',
  { timeout: 600_000 },
  kind =>
    fc.assert(
      fc.asyncProperty(schedule, faults => talk(false, faults, kind)),
      { numRuns },
    ),
)
