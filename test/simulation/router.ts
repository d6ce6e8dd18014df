import { generateCertificates, identityOf, type RouterIdentity } from '../../src/router/certificates.js'
import type { MessageEntry, MessageLog } from '../../src/router/messageLog.js'
import { startRouter } from '../../src/router/router.js'
import type { Clock } from '../../src/runtime/clock.js'
import type { OwnedClock } from '../../src/runtime/ownedClock.js'
import type { Listen, Listener } from '../../src/smp/transport/port.js'
import { routerQueues } from '../../src/store/router/tables.js'
import { virtualEpoch } from '../../src/testing/virtualClock.js'
import { processClock, SettableClock } from './clocks.js'
import { type Disk, memoryDisk, watchedStore } from './disk.js'
import { Effects, never, watchedChannel } from './effects.js'
import type { SimulatedNetwork } from './network.js'
import type { Seeded } from './seeded.js'

interface Running {
  readonly effects: Effects
  readonly clock: OwnedClock
  readonly listener: Listener
}

interface Kept {
  readonly entry: MessageEntry
  readonly body: Uint8Array
}

export interface SimulatedRouterOptions {
  readonly name: string
  readonly world: Clock
  readonly network: SimulatedNetwork
  readonly random: Seeded
  readonly quota: number
}

const port = 5223

/** A router of the bundled kind, on rows and messages that outlive it. */
export class SimulatedRouter {
  readonly name: string
  readonly place: string
  address = ''
  readonly clock: SettableClock
  readonly #options: SimulatedRouterOptions
  readonly #disk: Disk = memoryDisk()
  #identity: RouterIdentity | undefined
  #running: Running | undefined
  #starts = 0
  #starting = false
  readonly #kept = new Map<number, Kept>()
  /** What was removed lately: a crash may bring it back. */
  #removed: Array<Kept & { readonly at: number }> = []
  #lastSeq = 0

  constructor(options: SimulatedRouterOptions) {
    this.#options = options
    this.name = options.name
    this.place = `${options.name}:${port}`
    this.clock = new SettableClock(options.world)
  }

  get running(): boolean {
    return this.#running !== undefined
  }

  async start(): Promise<void> {
    if (this.#running !== undefined || this.#starting) return
    this.#starting = true
    const { name, network, random, quota } = this.#options
    const own = random.branch(`${name} ${this.#starts++}`).bytes
    // Old ones: clocks of agents are set back by days.
    const now = virtualEpoch - 60 * 24 * 3_600_000
    this.#identity ??= identityOf(await generateCertificates({ host: name, now, random: own }))
    const effects = new Effects()
    const clock = processClock(this.clock)
    let listener: Listener | undefined
    const listen: Listen = async (options, onChannel) =>
      (listener = await network.memory.listen(options, channel => onChannel(watchedChannel(channel, effects))))
    const router = await startRouter({
      identity: this.#identity,
      listeners: [{ listen, host: name, port }],
      queues: watchedStore(await this.#disk.open(), effects, () => undefined),
      messages: this.#log(effects),
      dialer: network.dialer(name, effects),
      clock,
      random: own,
      settings: { messageQuota: quota, proxy: { privateAddresses: true } },
    })
    this.address = router.address
    this.#running = { effects, clock, listener: listener as Listener }
    this.#starting = false
  }

  /** Ends it as kill -9 does, before one of its next effects, and starts it again later. */
  crash(after: number, downMs: number): void {
    const running = this.#running
    running?.effects.plan(after, () => {
      if (this.#running !== running) return
      this.#end(running)
      this.#options.world.setTimeout(() => void this.start(), downMs)
    })
  }

  forgetPlans(): void {
    this.#running?.effects.forgetPlans()
  }

  #end({ effects, clock, listener }: Running): void {
    this.#running = undefined
    effects.end()
    clock.close()
    const { network, random, world, name } = this.#options
    network.cutAll({ place: this.place })
    network.cutAll({ from: name })
    void listener.close()
    for (const { entry, body, at } of this.#removed) {
      if (world.now() - at < 1_000 && random.chance(0.5)) this.#kept.set(entry.seq, { entry, body })
    }
    this.#removed = []
  }

  /** What is left at this router: rows of queues, and messages. */
  async left(): Promise<{ readonly queues: number; readonly messages: number }> {
    return { queues: await this.#disk.look().count(routerQueues), messages: this.#kept.size }
  }

  stop(): void {
    if (this.#running !== undefined) this.#end(this.#running)
  }

  #log(effects: Effects): MessageLog {
    const kept = this.#kept
    const now = (): number => this.#options.world.now()
    return {
      lastSeq: this.#lastSeq,
      recovered: () =>
        [...kept.values()]
          .sort((one, other) => one.entry.seq - other.entry.seq)
          .map(({ entry, body }) => {
            const again = { ...entry, committed: true, live: true }
            kept.set(entry.seq, { entry: again, body })
            return again
          }),
      write: async (entry, body) => {
        if (!effects.next()) return never()
        kept.set(entry.seq, { entry, body: Uint8Array.from(body) })
        this.#lastSeq = Math.max(this.#lastSeq, entry.seq)
        if (!effects.next()) return never()
      },
      remove: entry => {
        const known = kept.get(entry.seq)
        if (!effects.alive || known === undefined) return
        kept.delete(entry.seq)
        this.#removed = [...this.#removed.filter(({ at }) => now() - at < 1_000), { ...known, at: now() }]
      },
      read: entry => kept.get(entry.seq)?.body ?? Buffer.alloc(0),
      room: () => undefined,
      stats: () => ({ liveBytes: 0, totalBytes: 0, cachedBytes: 0, groups: 0, segments: 0 }),
      close: async () => {},
    }
  }
}
