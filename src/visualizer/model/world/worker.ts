/** A worker machine that lives in the model: its work and its timers are the model’s. */
import type { AnyEventObject, AnyMachineSnapshot } from 'xstate'
import { ancestry, type ChartTransition } from '../chart.js'
import type { NamedMachine } from '../machines.js'
import { begin, type Simulation, statePath, type Step, step } from '../simulate.js'
import type { Chart } from '../chart.js'

export interface ModelWorkerOptions {
  readonly named: NamedMachine
  readonly chart: Chart
  /** Work by its name: it calls `done` with its outcome, or `failed`. */
  readonly works: Readonly<Record<string, (done: (output: unknown) => void, failed: () => void) => void>>
  /** Returns how to call it off. */
  readonly setTimer: (run: () => void, ms: number) => () => void
  readonly stepped: (done: Step) => void
}

export class ModelWorker {
  readonly #options: ModelWorkerOptions
  #simulation: Simulation
  /** Rises with each entered state, so that old timers and work are known. */
  #turn = 0
  #timers: Array<() => void> = []

  constructor(options: ModelWorkerOptions) {
    this.#options = options
    this.#simulation = begin(options.named, options.chart)
  }

  get state(): string {
    return statePath(this.#simulation.snapshot)
  }

  get lastTaken(): readonly string[] {
    return this.#simulation.steps.at(-1)?.taken ?? []
  }

  start(): void {
    this.#entered()
  }

  send(event: AnyEventObject): void {
    const before = this.state
    this.#simulation = step(this.#simulation, event)
    const done = this.#simulation.steps.at(-1)
    if (done === undefined) return
    this.#options.stepped(done)
    const reentered = this.#transitions().some(({ id, reenter }) => reenter && done.taken.includes(id))
    if (this.state !== before || reentered) this.#entered()
  }

  #transitions(): readonly ChartTransition[] {
    return this.#options.chart.transitions
  }

  #entered(): void {
    const turn = ++this.#turn
    for (const callOff of this.#timers.splice(0)) callOff()
    const { chart, works, setTimer } = this.#options
    const entered = new Set(ancestry(this.state))
    const here = this.#transitions().filter(({ source }) => entered.has(source))
    const later = (event: AnyEventObject): void => {
      if (turn === this.#turn) this.send(event)
    }
    for (const { event, kind, label } of here) {
      if (kind !== 'after') continue
      this.#timers.push(setTimer(() => later({ type: event }), this.#delay(label.replace(/^after /, ''))))
    }
    for (const state of chart.states.filter(({ path }) => entered.has(path))) {
      for (const src of state.invokes) {
        const ends = (kind: 'done' | 'error'): string =>
          here.find(transition => transition.source === state.path && transition.kind === kind)?.event ??
          `xstate.${kind}`
        works[src]?.(
          output => later({ type: ends('done'), output }),
          () => later({ type: ends('error'), error: new Error('failed') }),
        )
      }
    }
  }

  #delay(name: string): number {
    const { machine, snapshot } = this.#simulation
    const delay = machine.implementations.delays[name]
    if (typeof delay === 'function') {
      const { context } = snapshot as AnyMachineSnapshot
      return Number((delay as (args: { context: unknown }) => unknown)({ context }))
    }
    return typeof delay === 'number' ? delay : Number.parseInt(name, 10) || 0
  }
}
