import type { Clock } from '../../src/runtime/clock.js'
import { type MemoryNetwork, memoryNetwork } from '../../src/smp/transport/memory.js'
import type { Dialer } from '../../src/smp/transport/port.js'
import { type Effects, never, watchedChannel } from './effects.js'
import type { Seeded } from './seeded.js'

/** A connection that was made twice and that nobody uses lives so long, ms. */
const spareMs = 20_000

/** The network of a simulated world: its delays, its partitions, its duplicates. */
export class SimulatedNetwork {
  readonly memory: MemoryNetwork
  readonly #clock: Clock
  readonly #duplicates = new Map<string, number>()

  constructor(clock: Clock, random: Seeded, latency: { readonly min: number; readonly max: number }) {
    this.#clock = clock
    this.memory = memoryNetwork({ clock })
    this.#random = random
    this.setLatency(latency)
  }

  readonly #random: Seeded

  setLatency({ min, max }: { readonly min: number; readonly max: number }): void {
    this.memory.setLatency(max === 0 ? 0 : () => this.#random.int(min, max))
  }

  /** A dialer of one process: nothing comes from it any more when the process is gone. */
  dialer(from: string, effects: Effects): Dialer {
    const dialer = this.memory.dialer(from)
    return {
      dial: async (router, options) => {
        if (!effects.alive) return never()
        if (this.#takeDuplicate(from)) {
          void dialer.dial(router, options).then(
            spare => this.#clock.setTimeout(() => spare.destroy(), spareMs),
            () => {},
          )
        }
        const channel = await dialer.dial(router, options)
        if (effects.alive) return watchedChannel(channel, effects)
        channel.destroy()
        return never()
      },
    }
  }

  duplicate(from: string, count: number): void {
    this.#duplicates.set(from, (this.#duplicates.get(from) ?? 0) + count)
  }

  #takeDuplicate(from: string): boolean {
    const left = this.#duplicates.get(from) ?? 0
    if (left > 0) this.#duplicates.set(from, left - 1)
    return left > 0
  }

  /** Nothing passes between two any more; nobody is told but those who try to connect. */
  part(from: string, place: string, how: 'refuses' | 'silent'): void {
    this.memory.setReachable(place, how, from)
    for (const link of this.memory.links({ from, place })) link.halt()
  }

  join(from: string, place: string): void {
    this.memory.setReachable(place, 'answers', from)
  }

  /** Ends every connection of a process at once. */
  cutAll(which: { readonly from?: string; readonly place?: string }): void {
    for (const link of this.memory.links(which)) link.cut()
  }
}
