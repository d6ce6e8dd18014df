/** Kills processes at random moments, and starts again what was killed. */
import type { RestartedProcess } from './harness.js'

export interface Target {
  readonly process: RestartedProcess
  /** Its share of the kills. */
  readonly share: number
}

export interface KillerOptions {
  /** How many kills there will be: the shares are of this number, their order is random. */
  readonly kills: number
  readonly targets: readonly Target[]
  readonly random: () => number
  /** Longest time between progress and the kill after it, in milliseconds; half of the kills come within `thickMs`. */
  readonly spreadMs: number
  /** Share of kills that come without waiting for any progress since the one before. */
  readonly hasty: number
  /** Longest wait for progress, in milliseconds: then the world is stuck. */
  readonly stuckMs: number
}

/** So soon after a sign of progress there is always something on its way. */
const thickMs = 40

export class Killer {
  kills = 0
  readonly #options: KillerOptions
  readonly #plan: RestartedProcess[]
  #progressed: () => void = () => {}

  constructor(options: KillerOptions) {
    this.#options = options
    this.#plan = shuffled(options)
  }

  /** Tells that something moved: a call was answered, an event came. */
  progress(): void {
    this.#progressed()
  }

  /** Kills one process, after progress or without, and starts it again a moment later. Throws when nothing moves. */
  async killOne(): Promise<void> {
    const { random, spreadMs, hasty } = this.#options
    if (random() >= hasty) await this.#untilProgress()
    await pause(random() * (random() < 0.5 ? thickMs : spreadMs))
    const process = this.#plan[this.kills % this.#plan.length] as RestartedProcess
    await process.kill()
    this.kills += 1
    await pause(random() * 100)
    process.start()
  }

  async #untilProgress(): Promise<void> {
    const moved = new Promise<'moved'>(resolve => {
      this.#progressed = () => resolve('moved')
    })
    const stuck = await Promise.race([moved, pause(this.#options.stuckMs)])
    if (stuck === 'moved') return
    const last = this.#options.targets.map(({ process }) => `${process.name}: ${process.stderr}`)
    throw new Error(`nothing moved for ${this.#options.stuckMs} ms\n${last.join('\n')}`)
  }
}

const shuffled = ({ kills, targets, random }: KillerOptions): RestartedProcess[] => {
  const total = targets.reduce((sum, { share }) => sum + share, 0)
  const plan = targets.flatMap(({ process, share }) =>
    Array.from({ length: Math.ceil((kills * share) / total) }, () => ({ process, place: random() })),
  )
  return plan.sort((a, b) => a.place - b.place).map(({ process }) => process)
}

export const pause = (ms: number): Promise<void> =>
  new Promise(resolve => {
    setTimeout(resolve, ms)
  })
