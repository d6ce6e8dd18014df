/** Kills processes at random moments, and starts again what was killed. */
import type { RestartedProcess } from './harness.js'

export interface Target {
  readonly process: RestartedProcess
  /** How often it is chosen, relative to the others. */
  readonly weight: number
}

export interface KillerOptions {
  readonly targets: readonly Target[]
  readonly random: () => number
  /** Longest time between the moment from which a kill may come and the kill, in milliseconds. */
  readonly spreadMs: number
  /** Share of kills that come without waiting for any progress since the one before. */
  readonly hasty: number
  /** Longest wait for progress, in milliseconds: then the world is stuck. */
  readonly stuckMs: number
}

export class Killer {
  kills = 0
  readonly #options: KillerOptions
  #progressed: () => void = () => {}

  constructor(options: KillerOptions) {
    this.#options = options
  }

  /** Tells that something moved: a call was answered, an event came. */
  progress(): void {
    this.#progressed()
  }

  /** Kills one process, after progress or without, and starts it again a moment later. Throws when nothing moves. */
  async killOne(): Promise<void> {
    const { random, spreadMs, hasty, targets } = this.#options
    if (random() >= hasty) await this.#untilProgress()
    await pause(random() * spreadMs)
    const { process } = choose(targets, random)
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

const choose = (targets: readonly Target[], random: () => number): Target => {
  let left = random() * targets.reduce((sum, { weight }) => sum + weight, 0)
  const chosen = targets.find(({ weight }) => {
    left -= weight
    return left < 0
  })
  return chosen ?? (targets[0] as Target)
}

export const pause = (ms: number): Promise<void> =>
  new Promise(resolve => {
    setTimeout(resolve, ms)
  })
