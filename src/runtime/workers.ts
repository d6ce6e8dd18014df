import {
  type Actor,
  type AnyStateMachine,
  type ContextFrom,
  createActor,
  type EventFrom,
  type InputFrom,
  type StateValue,
} from 'xstate'
import type { Clock } from './clock.js'
import { stateName } from './decide.js'
import { tracing } from './tracing.js'

interface Worker<M extends AnyStateMachine> {
  readonly actor: Actor<M>
  /** Work came while the worker was running: it may have looked already. */
  more: boolean
  /** Whether an attempt is under way and was counted. */
  working: boolean
}

/** A state of a worker machine in which an attempt is under way, and who counts those. */
export interface Attempts {
  readonly state: string
  began(): void
  ended(): void
}

export interface WorkersOptions<M extends AnyStateMachine> {
  /** The worker machine with everything provided. */
  readonly machine: M
  readonly clock: Clock
  readonly input: (key: string) => InputFrom<M>
  /** Tells a worker that there is (more) work; its state `idle` says that there is none. */
  readonly workAdded: EventFrom<M>
  /** Hears of every event that a worker has got and of the states before and after, for traces. */
  readonly traced?: (key: string, event: string, from: string, to: string) => void
  /** Called when a worker has been thrown away. */
  readonly idle?: (key: string) => void
  /** Counts attempts: one begins before its worker starts (B05). */
  readonly attempts?: Attempts
  /** What a worker hears when all are paused and resumed. */
  readonly pausing?: { readonly paused: EventFrom<M>; readonly resumed: EventFrom<M> }
  /**
   * Called when a worker's machine has thrown, which is a bug. Answers whether the worker is started again at once; if not, its next
   * wake starts it.
   */
  readonly crashed?: (key: string, error: unknown) => boolean
}

/**
 * Live workers by key: one starts when there is work and is thrown away when its machine is idle. What must survive is in rows,
 * so a worker can always be started again.
 */
export class Workers<M extends AnyStateMachine> {
  readonly #options: WorkersOptions<M>
  readonly #workers = new Map<string, Worker<M>>()
  /** Keys that were woken while all workers are paused. */
  #held: Set<string> | undefined
  #stopped = false

  constructor(options: WorkersOptions<M>) {
    this.#options = options
  }

  get size(): number {
    return this.#workers.size
  }

  /** Starts the worker of a key, or tells the one that runs. */
  wake(key: string): void {
    if (this.#stopped) return
    const worker = this.#workers.get(key)
    if (worker === undefined && this.#held !== undefined) this.#held.add(key)
    else if (worker === undefined) this.#start(key)
    else {
      worker.more = true
      worker.actor.send(this.#options.workAdded)
    }
  }

  /** Sends an event to a worker if it runs. */
  send(key: string, event: EventFrom<M>): void {
    this.#workers.get(key)?.actor.send(event)
  }

  /** The workers that run, with the states of their machines. */
  *states(): Iterable<readonly [key: string, state: string]> {
    for (const [key, { actor }] of this.#workers) yield [key, stateName(stateValueOf(actor))]
  }

  sendAll(event: EventFrom<M>): void {
    for (const { actor } of this.#workers.values()) actor.send(event)
  }

  /** No attempt begins from now on; those under way are finished. May be repeated. */
  pause(): void {
    if (this.#held !== undefined) return
    this.#held = new Set()
    if (this.#options.pausing !== undefined) this.sendAll(this.#options.pausing.paused)
  }

  /** Ends a pause; who was woken meanwhile starts now. */
  resume(): void {
    const held = this.#held
    if (held === undefined) return
    this.#held = undefined
    if (this.#options.pausing !== undefined) this.sendAll(this.#options.pausing.resumed)
    for (const key of held) this.wake(key)
  }

  /** The state of a worker's machine, or undefined when none runs. */
  stateOf(key: string): string | undefined {
    return this.snapshotOf(key)?.state
  }

  /** State and context of a worker's machine, or undefined when none runs. */
  snapshotOf(key: string): { readonly state: string; readonly context: ContextFrom<M> } | undefined {
    const worker = this.#workers.get(key)
    if (worker === undefined) return undefined
    const { context } = worker.actor.getSnapshot() as { context: ContextFrom<M> }
    return { state: stateName(stateValueOf(worker.actor)), context }
  }

  /** Throws all workers away. Work under way notices it when it comes back. */
  stop(): void {
    this.#stopped = true
    for (const worker of this.#workers.values()) this.#end(worker)
    this.#workers.clear()
  }

  #start(key: string): void {
    const { machine, clock, input, traced } = this.#options
    const actor = createActor(machine, {
      input: input(key),
      clock: {
        setTimeout: (run: (...args: unknown[]) => void, ms: number) => clock.setTimeout(run as () => void, ms),
        clearTimeout: (handle: unknown) => clock.clearTimeout(handle as number),
      },
      ...tracing(() => actor, traced === undefined ? undefined : (...step) => traced(key, ...step)),
    } as never) as Actor<M>
    const worker: Worker<M> = { actor, more: false, working: false }
    this.#workers.set(key, worker)
    this.#count(worker, true)
    actor.subscribe({
      next: () => {
        const state = stateValueOf(actor)
        this.#count(worker, state === this.#options.attempts?.state)
        if (state === 'idle') queueMicrotask(() => this.#settle(key, worker))
      },
      error: error => this.#crashed(key, worker, error),
    })
    actor.start()
  }

  // A machine never throws by itself: a failing worker is thrown away, and started again as long as that may help.
  #crashed(key: string, worker: Worker<M>, error: unknown): void {
    this.#count(worker, false)
    if (this.#workers.get(key) !== worker) return
    this.#workers.delete(key)
    if (this.#options.crashed?.(key, error) === true) this.wake(key)
  }

  #count(worker: Worker<M>, working: boolean): void {
    const { attempts } = this.#options
    if (attempts === undefined || worker.working === working) return
    worker.working = working
    if (working) attempts.began()
    else attempts.ended()
  }

  #end(worker: Worker<M>): void {
    worker.actor.stop()
    this.#count(worker, false)
  }

  #settle(key: string, worker: Worker<M>): void {
    if (this.#workers.get(key) !== worker || stateValueOf(worker.actor) !== 'idle') return
    if (worker.more) {
      worker.more = false
      worker.actor.send(this.#options.workAdded)
      return
    }
    this.#workers.delete(key)
    this.#end(worker)
    this.#options.idle?.(key)
  }
}

const stateValueOf = (actor: Actor<AnyStateMachine>): StateValue => (actor.getSnapshot() as { value: StateValue }).value
