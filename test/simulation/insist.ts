import { asDuologueError, CallError, KemError, StoreError, TransportError } from '../../src/errors.js'
import type { Agent } from '../../src/index.js'
import type { Clock } from '../../src/runtime/clock.js'
import { never } from './effects.js'
import type { AgentProcess } from './process.js'

const ownReasons = new Set(['AGENT_CLOSED', 'AGENT_SUSPENDED', 'AGENT_OVERLOADED'])

/** Whether a careful application makes the same call again. */
const isTemporary = (error: unknown): boolean =>
  error instanceof StoreError ||
  error instanceof TransportError ||
  error instanceof KemError ||
  (error instanceof CallError && ownReasons.has(error.code))

export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: string; readonly message: string }

/** Calls of one application that are repeated until they are answered, over restarts of its agent. */
export class Insistence {
  readonly #process: AgentProcess
  readonly #world: Clock
  readonly #pending = new Map<string, number>()
  readonly #impatient = new Set<() => void>()
  readonly #gone = new Set<() => void>()

  constructor(process: AgentProcess, world: Clock) {
    this.#process = process
    this.#world = world
  }

  /** The calls that have no answer yet. */
  get pending(): string[] {
    return [...this.#pending.keys()]
  }

  /** A new process runs: calls to the old one are made again. */
  restarted(): void {
    for (const tell of this.#gone) tell()
    this.#gone.clear()
  }

  /** Whoever waits between two attempts waits no more. */
  hurry(): void {
    for (const wake of this.#impatient) wake()
  }

  async call<T>(what: string, make: (agent: Agent) => Promise<T>): Promise<Answer<T>> {
    this.#pending.set(what, (this.#pending.get(what) ?? 0) + 1)
    try {
      for (let delay = 1_000; ; delay = Math.min(delay * 2, 60_000)) {
        const agent = await this.#process.ready()
        const answer = await this.#whileRuns(this.#attempt(agent, make))
        if (answer === 'gone') continue
        if (answer !== 'again') return answer
        await this.sleep(delay)
      }
    } finally {
      const left = (this.#pending.get(what) ?? 1) - 1
      if (left > 0) this.#pending.set(what, left)
      else this.#pending.delete(what)
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        this.#world.clearTimeout(timer)
        this.#impatient.delete(wake)
        resolve()
      }
      const timer = this.#world.setTimeout(wake, ms)
      this.#impatient.add(wake)
    })
  }

  #whileRuns<T>(attempt: Promise<T>): Promise<T | 'gone'> {
    return new Promise((resolve, reject) => {
      const tell = (): void => resolve('gone')
      this.#gone.add(tell)
      void attempt.then(resolve, reject).finally(() => this.#gone.delete(tell))
    })
  }

  async #attempt<T>(agent: Agent, make: (agent: Agent) => Promise<T>): Promise<Answer<T> | 'again'> {
    try {
      const value = await make(agent)
      return this.#process.agent === agent ? { ok: true, value } : never()
    } catch (error) {
      // What a process that is gone still answers is heard by nobody.
      if (this.#process.agent !== agent) return never()
      if (isTemporary(error)) return 'again'
      const { code, message } = asDuologueError(error)
      return { ok: false, code, message }
    }
  }
}
