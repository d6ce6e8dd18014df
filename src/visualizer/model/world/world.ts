/** Two parties, a router and what is on its way between them, moved step by step by a reader. */
import type { Step } from '../simulate.js'
import { intentNames, nameOf } from './actors.js'
import { Party } from './party.js'
import { type Answer, ModelRouter, type QueuedMessage, type Request } from './router.js'
import {
  type ActorView,
  type Cue,
  type Entry,
  type Input,
  type LinkKind,
  otherSide,
  type Place,
  type Scenario,
  type SideName,
  type Wire,
} from './types.js'

interface Timer {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** A request waits so long for its answer, in ms. */
const requestTimeoutMs = 30_000
const defaultQuota = 128
/** Steps that a scenario may take before its first row. */
const mostBefore = 500

export class World {
  readonly scenario: Scenario
  readonly alice: Party
  readonly bob: Party
  entries: Entry[] = []
  now = 0
  #wires: Wire[] = []
  #timers: Timer[] = []
  #cues: readonly Cue[]
  readonly #router: ModelRouter
  #lastWire = 0
  #lastHash = 0
  #lastTimer = 0
  readonly #told = new Set<string>()

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.#router = new ModelRouter({
      quota: scenario.quota ?? defaultQuota,
      deliver: (recipient, queue, message) => this.#deliver(recipient, queue, message),
    })
    const surroundings = {
      securable: scenario.legacy !== true,
      request: this.#request.bind(this),
      handOver: this.#handOver.bind(this),
      setTimer: this.#setTimer.bind(this),
      nextHash: () => ++this.#lastHash,
      told: (side: SideName, word: string, about: string) => {
        this.entries.push({ kind: 'told', side, word, about })
        this.#told.add(`${side} ${word}`).add(`${side} ${word} ${about}`)
      },
      noted: (side: SideName, text: string) => {
        this.entries.push({ kind: 'does', side, text })
      },
      stepped: this.#stepped.bind(this),
    }
    this.alice = new Party('alice', surroundings)
    this.bob = new Party('bob', surroundings)
    this.#cues = scenario.before ?? []
    for (let steps = 0; steps < mostBefore && (this.#wires.length > 0 || this.#cues.length > 0); steps++) this.step()
    this.entries = []
    this.now = 0
    this.#cues = scenario.cues
  }

  get wires(): readonly Wire[] {
    return this.#wires
  }

  get actors(): readonly ActorView[] {
    return [...this.alice.views, ...this.bob.views]
  }

  /** What the next step would do, in words; undefined when nothing is left. */
  get next(): string | undefined {
    const cue = this.#nextCue()
    if (cue !== undefined) return `${cue.side === 'router' ? 'the router' : nameOf(cue.side)}: ${cue.text}`
    const wire = this.#nextWire()
    if (wire !== undefined) return `${wire.word} arrives`
    const timer = this.#nextTimer()
    return timer === undefined ? undefined : `time passes: ${durationText(timer.at - this.now)}`
  }

  apply(input: Input): void {
    if (input.do === 'step') return this.step()
    const wire = this.#wires.find(({ id }) => id === input.wire)
    if (wire === undefined) return
    switch (input.do) {
      case 'deliver':
        return this.#arrive(wire)
      case 'drop':
        return this.#lose(wire)
      case 'duplicate':
        this.#wires.push({ ...wire, id: ++this.#lastWire, held: false })
        this.#note(wire, 'copied')
        return
      case 'hold':
        wire.held = !wire.held
        if (wire.held) this.#note(wire, 'held')
    }
  }

  /** The next line of the script, else the oldest message that is on its way, else the next timer. */
  step(): void {
    const cue = this.#nextCue()
    if (cue !== undefined) {
      this.#cues = this.#cues.filter(one => one !== cue)
      this.entries.push({ kind: 'does', side: cue.side, text: cue.text })
      cue.run(this)
      return
    }
    const wire = this.#nextWire()
    if (wire !== undefined) return this.#arrive(wire)
    const timer = this.#nextTimer()
    if (timer === undefined) return
    this.#timers = this.#timers.filter(one => one !== timer)
    this.entries.push({ kind: 'time', ms: timer.at - this.now })
    this.now = timer.at
    timer.run()
  }

  wasTold(side: SideName, word: string, about?: string): boolean {
    return this.#told.has(about === undefined ? `${side} ${word}` : `${side} ${word} ${about}`)
  }

  removeQueue(recipient: SideName): void {
    this.#router.remove(recipient)
  }

  #nextCue(): Cue | undefined {
    const due = this.#cues.find(({ when }) => when?.(this) === true)
    if (due !== undefined) return due
    const first = this.#cues.find(({ when }) => when === undefined)
    const isReady = first?.after?.(this) ?? true
    return isReady && this.#nextWire() === undefined ? first : undefined
  }

  #nextWire(): Wire | undefined {
    return this.#wires.find(({ held }) => !held)
  }

  // Time passes only for those who wait: deadlines of answered requests are gone.
  #nextTimer(): Timer | undefined {
    return [...this.#timers].sort((a, b) => a.at - b.at || a.order - b.order)[0]
  }

  #setTimer(run: () => void, ms: number): () => void {
    const timer = { at: this.now + ms, order: ++this.#lastTimer, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter(one => one !== timer)
    }
  }

  #post(wire: Omit<Wire, 'id' | 'held'>): void {
    this.#wires.push({ ...wire, id: ++this.#lastWire, held: false })
  }

  #arrive(wire: Wire): void {
    this.#wires = this.#wires.filter(one => one !== wire)
    this.#note(wire, 'arrived')
    wire.arrive()
  }

  #lose(wire: Wire): void {
    this.#wires = this.#wires.filter(one => one !== wire)
    this.#note(wire, 'lost')
    // What a router pushes is lost with the session that it was on.
    if (wire.word === 'MSG' && wire.to !== 'router') this[wire.to].sessionLost()
  }

  #note({ id, from, to, word, about, outside = false }: Wire, fate: 'arrived' | 'lost' | 'copied' | 'held'): void {
    this.entries.push({ kind: 'wire', wire: { id, from, to, word, about, outside }, fate })
  }

  #request(
    side: SideName,
    request: Request,
    about: string,
    answered: (answer: Answer) => void,
    failed: () => void,
  ): void {
    let settled = false
    const settle = (then: () => void): void => {
      if (settled) return
      settled = true
      cancel()
      then()
    }
    const cancel = this.#setTimer(() => {
      this.entries.push({ kind: 'does', side, text: `${request.word} got no answer` })
      settle(failed)
    }, requestTimeoutMs)
    const answer = (): void => {
      const reply = this.#router.answer(request)
      const post = { from: 'router' as Place, to: side as Place, word: reply.word, about: `to ${request.word}` }
      this.#post({ ...post, arrive: () => settle(() => answered(reply)) })
    }
    const carries = request.word === 'SEND' ? { carries: request.content.messageType } : {}
    this.#post({ from: side, to: 'router', word: request.word, about, ...carries, arrive: answer })
  }

  #deliver(recipient: SideName, queue: string, message: QueuedMessage): void {
    const { content } = message
    const about =
      content === undefined
        ? 'the queue was full'
        : content.messageType === 'A_MSG'
          ? content.text
          : content.messageType
    this.#post({
      from: 'router',
      to: recipient,
      word: 'MSG',
      about,
      arrive: () => this[recipient].arrived(queue, message),
    })
  }

  #handOver(from: SideName, word: string, about: string, queue: string, kind: LinkKind): void {
    const to = otherSide(from)
    this.#post({ from, to, word, about, outside: true, arrive: () => this[to].linked(queue, kind) })
  }

  #stepped(side: SideName, machine: string, actor: string, done: Step, ignored: string | undefined): void {
    const { event, from, to, taken } = done
    this.entries.push({
      kind: 'machine',
      side,
      machine,
      actor,
      event: event.type,
      from,
      to,
      taken,
      intents: intentNames(done),
      ...(ignored === undefined ? {} : { ignored }),
    })
  }
}

/** The world after a list of inputs: the same list gives the same world. */
export const worldAfter = (scenario: Scenario, inputs: readonly Input[]): World => {
  const world = new World(scenario)
  for (const input of inputs) world.apply(input)
  return world
}

export const durationText = (ms: number): string => {
  if (ms < 1_000) return `${ms} ms`
  if (ms < 60_000) return `${ms / 1_000} s`
  return ms < 3_600_000 ? `${Math.round(ms / 6_000) / 10} min` : `${Math.round(ms / 360_000) / 10} h`
}

const letters = { step: 's', deliver: 'v', drop: 'x', duplicate: 'd', hold: 'h' } as const

/** Inputs as a short text for a link: `s.s.x3`. */
export const inputsText = (inputs: readonly Input[]): string =>
  inputs.map(input => (input.do === 'step' ? letters.step : `${letters[input.do]}${input.wire}`)).join('.')

/** Inputs of such a text; parts that are none are left out. */
export const readInputs = (text: string): Input[] =>
  text
    .slice(0, 20_000)
    .split('.')
    .flatMap((part): Input[] => {
      if (part === letters.step) return [{ do: 'step' }]
      const [, letter, wire] = /^([vxdh])(\d{1,6})$/.exec(part) ?? []
      const found = (['deliver', 'drop', 'duplicate', 'hold'] as const).find(name => letters[name] === letter)
      return found === undefined ? [] : [{ do: found, wire: Number(wire) }]
    })
