import type { z } from 'zod'
import type { Clock } from '../runtime/clock.js'
import type { networkConfigSchema } from './api/schemas.js'

/** What can be changed about the use of the network while the agent runs. */
export type NetworkConfig = Readonly<z.output<typeof networkConfigSchema>>

export const defaultNetworkConfig: NetworkConfig = {
  sessionMode: 'session',
  proxyMode: 'never',
  proxyFallback: 'allow',
}

export interface NetworkOptions {
  readonly clock: Clock
  readonly config: NetworkConfig
  /** An offline that comes within so many ms after the last change is taken for a flicker. */
  readonly offlineDelayMs: number
}

export interface NetworkListener {
  /** The device was offline and is online again. */
  online?(): void
  /** The configuration has changed; `before` is the old one. */
  configured?(before: NetworkConfig): void
}

/** What the agent knows of its network: whether there is one, and how it is to be used (B68). */
export class Network {
  readonly #options: NetworkOptions
  readonly #listeners: NetworkListener[] = []
  #config: NetworkConfig
  #online = true
  #changedAt = Number.NEGATIVE_INFINITY

  constructor(options: NetworkOptions) {
    this.#options = options
    this.#config = options.config
  }

  get config(): NetworkConfig {
    return this.#config
  }

  get online(): boolean {
    return this.#online
  }

  listen(listener: NetworkListener): void {
    this.#listeners.push(listener)
  }

  /** Takes the device's word; answers what holds then, since an offline right after a change is ignored. */
  setOnline(online: boolean): boolean {
    const now = this.#options.clock.elapsed()
    if (!online && now - this.#changedAt <= this.#options.offlineDelayMs) return this.#online
    const cameBack = online && !this.#online
    this.#online = online
    this.#changedAt = now
    if (cameBack) {
      for (const listener of this.#listeners) listener.online?.()
    }
    return online
  }

  /** Changes the configuration; one that says nothing new changes nothing. */
  configure(config: NetworkConfig): void {
    const before = this.#config
    this.#config = config
    if (JSON.stringify(before) === JSON.stringify(config)) return
    for (const listener of this.#listeners) listener.configured?.(before)
  }
}
